"""Every pairing of a client and a daemon, ours and stock, over the same modules; and what a run of one leaves."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import attrs
from kinds_of_tree import Snapshot, snapshot
from servers import RSYNC, await_answer, free_port

SOURCES = pathlib.Path(__file__).parents[1]
PRSYNC = (sys.executable, "-m", "prsync")
REFERENCE = ("stock", "stock")
PAIRS = (("prsync", "prsyncd"), ("prsync", "stock"), ("stock", "prsyncd"))
"""(client, daemon)"""


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), "LC_ALL": "C", "HOME": "/", **more}


class Server:
    """A daemon, ours or stock, with the modules of `text` (DIR stands for `folder`). Globals come first in `text`."""

    def __init__(self, kind: str, folder: pathlib.Path, text: str, **more: str) -> None:
        self.kind, self.port = kind, free_port()
        self.log = folder / f"{kind}.log"
        self.config = config = folder / f"{kind}.conf"
        head = f"port = {self.port}\naddress = 127.0.0.1\nlog file = {self.log}\nuse chroot = no\nreverse lookup = no\n"
        head += f"pid file = {folder}/{kind}.pid\nlock file = {folder}/{kind}.lock\n"
        if os.geteuid() == 0:
            head += "uid = 0\ngid = 0\n"
        config.write_text(head + text.replace("DIR", str(folder)))
        program = (RSYNC,) if kind == "stock" else PRSYNC
        command = [*program, "--daemon", "--no-detach", f"--config={config}"]
        self.process = subprocess.Popen(command, env=environment(**more), cwd="/")
        await_answer(self.process, self.port)

    @property
    def url(self) -> str:
        return f"rsync://127.0.0.1:{self.port}/"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@attrs.frozen
class Result:
    """What a run left: exit code, sorted lines, the destination's tree. Folders, ports and source lines are masked."""

    code: int
    lines: tuple[bytes, ...]
    errors: tuple[bytes, ...]
    tree: Snapshot = attrs.field(repr=False)


def client(
    kind: str, words: Sequence[str], folder: pathlib.Path, stdin: bytes = b"", **more: str
) -> subprocess.CompletedProcess[bytes]:
    program = (RSYNC,) if kind == "stock" else PRSYNC
    return subprocess.run(
        [*program, *words], cwd=folder, input=stdin, capture_output=True, check=False, timeout=60, env=environment(**more)
    )


def pull(
    kind: str,
    server: Server,
    words: Sequence[str],
    sources: Sequence[str],
    folder: pathlib.Path,
    *,
    copy: str = "copy/",
    stdin: bytes = b"",
    clean: Callable[[bytes], bytes | None] = lambda line: line,
    **more: str,
) -> Result:
    """Runs the client in `folder`; sources are relative to the daemon's URL. Its standard output is kept as sorted lines."""
    done = client(kind, [*words, *(server.url + source for source in sources), *([copy] if copy else [])], folder, stdin, **more)

    masks = {str(server.port): "PORT", str(folder): "HERE"}
    return Result(
        done.returncode, masked(done.stdout, masks, clean), masked(done.stderr, masks, clean), snapshot(folder / "copy")
    )


def masked(text: bytes, masks: Mapping[str, str], clean: Callable[[bytes], bytes | None]) -> tuple[bytes, ...]:
    """The sorted lines, with what differs from run to run replaced."""
    for name, mask in masks.items():
        text = text.replace(name.encode(), mask.encode())
    # rsync says Receiver until its receiver and generator are two processes
    text = re.sub(rb"\(code (\d+)\) at .*", rb"(code \1)", text.replace(b"[Receiver]", b"[receiver]"))
    lines = text.splitlines()
    return tuple(sorted(kept for line in lines if (kept := clean(line)) is not None))
