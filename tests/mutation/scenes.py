"""A tree, its old copy, places to write into, and daemons over them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

from daemon_harness import Daemon
from servers import StockDaemon

PLACES = 60  # of a daemon that are written to, for as many pushes
GUARDED = b"not to be touched"
TEMPORARY = re.compile(r"\..+\.[A-Za-z0-9]{6}")
UNCHECKED = {"--inplace", "--partial"}  # with these a part of a file may stay under its name
DAEMON_HEAD = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""


def make_tree(root: pathlib.Path, old: bool) -> None:
    """The module's tree, or the copy of an older release that a client has."""
    rng = random.Random(7)
    (root / "docs" / "deep" / "er").mkdir(parents=True)
    large, middle = rng.randbytes(700_000), rng.randbytes(70_000)
    contents = {
        "large": large,
        "docs/middle": middle,
        "docs/text": b"a line of text\n" * 3000,
        "docs/deep/er/one": b"1",
        "docs/deep/two.o": b"22",
        "empty": b"",
        "line\nbreak \x01": b"odd",
    } | {f"many/{i:03}": rng.randbytes(i * 37) for i in range(40)}
    if old:
        contents["large"] = large[:200_000] + b"changed" + large[260_000:]
        contents["docs/text"] = contents["docs/text"][:20_000]
        contents |= {"extraneous/file": b"to be deleted", "docs/gone": b"gone"}
        for number in range(20):
            del contents[f"many/{number:03}"]
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1_600_000_000, 1_600_000_000 + (old and name in ("large", "docs/text"))))
    (root / "link").symlink_to("docs/text")
    if not old:
        os.link(root / "docs/middle", root / "docs/same")
        (root / "docs" / ".rsync-filter").write_bytes(b"- gone\n+ /text\n")
        (root / ".own").write_bytes(b"- *.bak\n")
        (root / "outside").mkdir()
        (root / "outside" / "file").write_bytes(b"what would lie outside")
        os.mkfifo(root / "fifo")


def place_name(number: int) -> str:
    return f"up-{number:02}"


class Scene:
    """Folder, trees, and places that are copies of them: `place` is a client's own, the others are a daemon's."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        os.chmod(folder, 0o755)
        self.tree, self.old = folder / "tree", folder / "old"
        make_tree(self.tree, old=False)
        make_tree(self.old, old=True)
        shutil.copytree(self.tree / "docs", folder / "alternate" / "docs")
        (folder / "names").write_bytes(b"docs/\nmany/03\nmany/030\nlarge\n")
        self.secrets = folder / "secrets"
        self.secrets.write_text("user:word\n")
        self.secrets.chmod(0o600)
        self.guarded = folder / "guarded"
        self.guarded.mkdir()
        (self.guarded / "file").write_bytes(GUARDED)
        self.place = folder / "place"
        self.whole = {hashlib.sha256(path.read_bytes()).digest() for path in self._files(self.tree, self.old)}

    @staticmethod
    def _files(*roots: pathlib.Path) -> Iterator[pathlib.Path]:
        for root in roots:
            for above, _, names in os.walk(root):
                found = (pathlib.Path(above) / name for name in names)
                yield from (path for path in found if path.is_file() and not path.is_symlink())

    def writable(self, number: int) -> pathlib.Path:
        return self.folder / place_name(number)

    def prepare(self, place: pathlib.Path, full: bool = False) -> None:
        """Makes it anew. Of the old tree, where a symlink leads outside under the name of a directory that will come; `full`:
        of the new one."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        source = self.tree if full else self.old
        subprocess.run(["cp", "-a", f"{source}/.", str(place)], check=True)
        if not full:
            (place / "outside").symlink_to(self.guarded)

    def damage(self, place: pathlib.Path, arguments: list[str]) -> str | None:
        """What a session, however it ended, may not have done."""
        if os.listdir(self.guarded) != ["file"] or (self.guarded / "file").read_bytes() != GUARDED:
            return "something outside of the destination was touched"
        for path in self._files(place):
            if {".b", ".p", ".~tmp~"} & set(path.parts):  # kept apart: backups of whatever --delete found, partial files
                continue
            if TEMPORARY.fullmatch(path.name):
                return f"a temporary file stays: {path}"
            if not UNCHECKED & set(arguments):
                digest = hashlib.sha256(path.read_bytes()).digest()
                if digest not in self.whole:
                    return f"neither old nor new: {path}"
        return None

    def start_daemon(self, name: str, mirror_port: int | None = None, writable: bool = False) -> Daemon:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "log").unlink(missing_ok=True)
        common = f"path = {self.tree}\nuse chroot = no\n{DAEMON_HEAD}digest index = yes\n"
        text = f"state dir = {folder}/state\n[m]\n{common}[a]\n{common}auth users = user\nsecrets file = {self.secrets}\n"
        text += f"[f]\n{common}exclude = /docs/deep\nfilter = - *.bak\n[full]\n{common}max connections = -1\n"
        if mirror_port:
            text += f"[n]\n{common}mirror = rsync://127.0.0.1:{mirror_port}/m\n"
        for number in range(PLACES if writable else 0):
            text += f"[{place_name(number)}]\npath = {self.writable(number)}\nuse chroot = no\n{DAEMON_HEAD}read only = no\n"
        daemon = Daemon(folder, text)
        end = time.monotonic() + 20
        while len(list(folder.glob("state/index/*/digests"))) < 3 and time.monotonic() < end:
            time.sleep(0.02)
        # The workers have the names hashed that sessions ask for.
        return daemon


@contextlib.contextmanager
def running(daemon: Daemon | StockDaemon) -> Iterator[Daemon | StockDaemon]:
    try:
        yield daemon
    finally:
        daemon.stop()


def clean_environment() -> dict[str, str]:
    """Without the sanitizers: they only slow down what is recorded, or is none of ours."""
    kept = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "PRSYNC_SANITIZED")}
    return {**kept, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}


@contextlib.contextmanager
def unsanitized() -> Iterator[None]:
    """Daemons that are started meanwhile are as the core is built for use."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(clean_environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def stock_pull_is_right(scene: Scene, port: int) -> bool:
    """Whether a valid pull by the real rsync still brings the tree."""
    destination = scene.folder / "valid"
    shutil.rmtree(destination, ignore_errors=True)
    source = f"rsync://127.0.0.1:{port}/m/"
    words = ["rsync", "-a", "--timeout=20", source, str(destination)]
    if subprocess.run(words, capture_output=True, env=clean_environment(), timeout=60).returncode:
        return False
    compared = ["diff", "-r", "--no-dereference", "--exclude=fifo", str(scene.tree), str(destination)]
    return subprocess.run(compared, capture_output=True).returncode == 0


def end_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)
