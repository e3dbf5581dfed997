"""The ways from one tree to another: through a daemon, a remote shell, both, or neither; ours or stock at each end."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
from collections.abc import Callable, Sequence

from kinds_of_tree import snapshot
from pairs import PRSYNC, RSYNC, SOURCES, Result, Server, client, masked

DIRECT_WAYS = ("daemon-pull", "daemon-push", "shell-pull", "shell-push")
WAYS = (*DIRECT_WAYS, "shell-daemon-pull", "shell-daemon-push", "local")
MODULES = """
[one]
path = DIR/one
[two]
path = DIR/two
[work]
path = DIR/work
read only = no
munge symlinks = no
"""
Pair = tuple[str, str]


def needs(way: str, pair: Pair, protocol: int = 32) -> tuple[str, ...]:
    """What prsync must be able to do for a run of this kind: names of rows in not_yet.py."""
    if way == "local":
        return ("local",)
    ours = [role for role, kind in zip(("client", "remote"), pair, strict=True) if kind != "stock"]
    return tuple(f"{role} of {way}" for role in ours) + tuple(f"{role} of old protocols" for role in ours if protocol < 30)


def script(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def launcher(path: pathlib.Path, program: Sequence[str] = PRSYNC) -> pathlib.Path:
    """A command for prsync that works in any environment, as a remote shell gives one."""
    return script(path, f'PYTHONPATH={shlex.quote(str(SOURCES))} exec {shlex.join(program)} "$@"\n')


class Stage:
    """The two states of a tree, a daemon of either kind over them, and a stand-in for a remote shell.

    Runs take place in `work`, which is a module that takes uploads as well.
    """

    def __init__(self, folder: pathlib.Path, fill: Callable[[pathlib.Path], None], modules: str = MODULES) -> None:
        self.folder = folder
        fill(folder)
        (folder / "work").mkdir()
        self.servers = {kind: Server(kind, folder, modules) for kind in ("stock", "prsyncd")}
        self.programs = {"stock": RSYNC, "prsync": str(launcher(folder / "prsync"))}
        self.shell = str(script(folder / "shell", 'shift\nexec /bin/sh -c "$*"\n'))  # rsh HOST COMMAND …, here
        self.host = "there"

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()

    def place(self, name: str) -> pathlib.Path:
        """A folder for a run, in which `copy` is the destination."""
        made = self.folder / "work" / name
        (made / "tmp").mkdir(parents=True)
        return made

    def ends(self, way: str, remote: str, source: str, place: pathlib.Path) -> list[str]:
        """The words that name both ends, and how to get to the other one. `source`: of `one` or `two`, from the folder on."""
        here = f"{self.folder}/{source}"
        if way == "local":
            return [here, f"{place}/copy/"]
        server = self.servers["stock" if remote == "stock" else "prsyncd"]
        daemon_copy = f"{place.relative_to(self.folder)}/copy/"
        reached: list[str] = []
        if way.startswith("shell"):
            program = self.programs["stock" if remote == "stock" else "prsync"]
            reached = ["-e", self.shell, f"--rsync-path={program}{f' --config={server.config}' * way.startswith('shell-daemon')}"]
        there = {
            "daemon-pull": server.url + source,
            "daemon-push": server.url + daemon_copy,
            "shell-pull": f"{self.host}:{here}",
            "shell-push": f"{self.host}:{place}/copy/",
            "shell-daemon-pull": f"{self.host}::{source}",
            "shell-daemon-push": f"{self.host}::{daemon_copy}",
        }[way]
        return [*reached, there, "copy/"] if way.endswith("pull") else [*reached, here, there]

    def run(
        self,
        way: str,
        pair: Pair,
        words: Sequence[str],
        source: str,
        place: pathlib.Path,
        clean: Callable[[bytes], bytes | None] = lambda line: line,
        **more: str,
    ) -> Result:
        """One run of the client in `place`."""
        done = client(pair[0], [*words, *self.ends(way, pair[1], source, place)], place, **more)
        masks = {str(server.port): "PORT" for server in self.servers.values()} | {str(place): "HERE", place.name: "HERE"}
        return Result(
            done.returncode, masked(done.stdout, masks, clean), masked(done.stderr, masks, clean), snapshot(place / "copy")
        )


def copy_tree(source: pathlib.Path, copy: pathlib.Path) -> None:
    subprocess.run(["cp", "-a", source, copy], check=True)


def remove_tree(tree: pathlib.Path) -> None:
    subprocess.run(["rm", "-rf", tree], check=True)


def relative_names(folder: pathlib.Path) -> list[pathlib.Path]:
    return [path.relative_to(folder) for path in sorted(folder.iterdir()) if b"\n" not in os.fsencode(path)]
