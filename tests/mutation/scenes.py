"""A tree, its old copy, daemons over it, and recordings of real programs pulling from them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from daemon_harness import Daemon
from peer_client import PeerClient, entry
from servers import StockDaemon
from session_client import SessionClient

from prsync.engine.digests import digest_file
from prsync.protocol.frames import (
    Bye,
    Hello,
    Lease,
    LeaseStep,
    Mirror,
    Nomination,
    Probe,
    Report,
    SourceReport,
    Verdict,
    encode_frame,
)

from .play import Proxy, Recording

STOCK = ["rsync"]
OURS = [sys.executable, "-m", "prsync"]
PULLS = [
    ["-a"],
    ["-aHi", "--delete", "--no-W"],
    ["-az", "--zc=zstd"],
    ["-az", "--zc=lz4", "--protocol=31"],
    ["-az", "--zc=zlibx"],
    ["-az", "--zc=zlib", "--protocol=30"],
    ["-ac", "--delete-after", "--cc=md5"],
    ["-aRv", "--stats", "--protocol=31"],
    ["-r", "--list-only"],
    ["-aH", "--protocol=30", "--partial-dir=.p"],
    ["-a", "-F", "--delete-excluded", "--filter=- *.o", "--filter=:e .own", "-v"],
    ["-nai", "--delete"],
    ["-aH", "--delay-updates", "--numeric-ids", "--no-inc-recursive", "--progress"],
    ["-a", "--link-dest=../alternate", "--max-size=1m"],
    ["-rlptS", "--files-from=FOLDER/names", "--protocol=31"],
]
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
        os.mkfifo(root / "fifo")


class Scene:
    """Folder, trees and running daemons."""

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
        self.mirror: Daemon | None = None
        self.daemon: Daemon | None = None

    def start_daemon(self, name: str, mirror_port: int | None = None) -> Daemon:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "log").unlink(missing_ok=True)
        common = f"path = {self.tree}\nuse chroot = no\n{DAEMON_HEAD}digest index = yes\n"
        text = f"state dir = {folder}/state\n[m]\n{common}[a]\n{common}auth users = user\nsecrets file = {self.secrets}\n"
        text += f"[f]\n{common}exclude = /docs/deep\nfilter = - *.bak\n[full]\n{common}max connections = -1\n"
        if mirror_port:
            text += f"[n]\n{common}mirror = rsync://127.0.0.1:{mirror_port}/m\n"
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


def command_words(scene: Scene, port: int, module: str, arguments: list[str], destination: pathlib.Path) -> list[str]:
    words = [word.replace("FOLDER", str(scene.folder)) for word in arguments]
    source = f"rsync://127.0.0.1:{port}/{module}"
    return [*words, source] if "--list-only" in words or not module else [*words, source + "/", str(destination)]


def record(scene: Scene, proxy: Proxy, program: list[str], module: str, arguments: list[str]) -> Recording:
    destination = scene.folder / "recorded"
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(scene.old, destination, symlinks=True)
    words = command_words(scene, proxy.ports[0], module, arguments, destination)
    environment = {**clean_environment(), "USER": "user"}
    outcome = subprocess.run([*program, *words], capture_output=True, timeout=60, env=environment, cwd=scene.folder)
    if outcome.returncode not in (0, 23):  # 23: a name that is asked for is not there
        raise AssertionError(f"{program} {words}: {outcome.returncode} {outcome.stderr!r}")
    return Recording(f"{module or 'list'} {' '.join(arguments)}", arguments, proxy.take())


def record_pulls(scene: Scene, most: int) -> list[Recording]:
    """Stock daemons and prsyncd's as they speak to prsync: what is played to the client."""
    found = []
    with running(StockDaemon(scene.folder, "[m]\npath = FOLDER/tree\n")) as stock:
        proxy = Proxy(stock.port)
        found += [record(scene, proxy, OURS, "m", arguments) for arguments in PULLS[:most]]
        found.append(record(scene, proxy, OURS, "", []))
        proxy.close()
    mirror = scene.start_daemon("mirror")
    with running(mirror):
        mirror_proxy = Proxy(mirror.port)
        daemon = scene.start_daemon("origin", mirror_proxy.ports[0])
        with running(daemon):
            proxy = Proxy(daemon.port)
            for arguments in PULLS[: max(most // 2, 1)]:
                found.append(record(scene, proxy, OURS, "m", [*arguments, "--mirrors=off"]))
            for arguments in (["-a"], ["-aH", "--delete", "--stats"], ["-a", "--partial", "--mirrors=auto"]):
                record(scene, proxy, OURS, "n", arguments)  # digests come to be known
                mirror_proxy.take()
                time.sleep(1)
                taken = record(scene, proxy, OURS, "n", arguments)
                found.append(taken._replace(scripts=taken.scripts + mirror_proxy.take()))
            proxy.close()
        mirror_proxy.close()
    return found


def record_requests(scene: Scene, daemon: Daemon, most: int) -> list[Recording]:
    """Clients of every kind as they speak to prsyncd: what is played to the daemon."""
    proxy = Proxy(daemon.port)
    found = []
    for arguments in PULLS[:most]:
        found.append(record(scene, proxy, STOCK, "m", arguments))
        found.append(record(scene, proxy, OURS, "f", arguments))
    found.append(record(scene, proxy, STOCK, "", []))
    found.append(record(scene, proxy, STOCK, "a", ["-a", f"--password-file={password_file(scene)}"]))
    found.append(record(scene, proxy, OURS, "n", ["-a"]))
    record_peer(scene, proxy.ports[0])
    found += [Recording("peer", [], proxy.take())] * 6
    record_session(proxy.ports[0])
    found += [Recording("nominate", [], proxy.take())] * 6
    proxy.close()
    return found


def password_file(scene: Scene) -> pathlib.Path:
    path = scene.folder / "password"
    path.write_text("word\n")
    path.chmod(0o600)
    return path


def record_peer(scene: Scene, port: int) -> None:
    client = PeerClient(port, b"m")

    def wanted(name: str, offset: int = 0, length: int | None = None) -> bytes:
        size = (scene.tree / name).stat().st_size
        return entry(name.encode(), digest_file(scene.tree / name).root, offset, size - offset if length is None else length)

    for _ in range(100):  # until the indexer has come to them
        if all(client.fetch_all(wanted("large"), wanted("docs/middle", 100, 1000))):
            break
        time.sleep(0.05)
    client.fetch_all(*(wanted(f"many/{i:03}") for i in range(1, 40)))
    client.fetch_all(wanted("large", 300_000, 100_000), entry(b"nothing", bytes(32), 0, 5), wanted("large", 0, 10))
    for frame in sample_controls():
        client.send(frame)
    client.bye()


def record_session(port: int) -> None:
    client = SessionClient(port, b"n")
    client.begin()
    client.ask_digests(1, 1, 30, 3)
    client.digests(30)
    for step in (3, 1, 2):  # .own, empty, large: rsync's order
        client.request_file(step)
    client.wait_for(0)
    client.sock.close()


def sample_controls() -> list[Lease | Report | Bye]:
    return [
        Lease(LeaseStep.REQUEST, "rsync:///m", 900, bytes(16), ("docs",), 5),
        Lease(LeaseStep.RENEW, "rsync:///m", 900, bytes(16)),
        Report((SourceReport("rsync://mirror/m", 5, 10, bad_pieces=2, verdict=Verdict.CORRUPT),)),
    ]


def sample_frames(port: int) -> list[bytes]:
    """One of each kind, to be thrown in."""
    mirror = Mirror(1, f"rsync://127.0.0.1:{port}/m", True, ("docs",))
    controls = [Hello(), Nomination(), Nomination(mirrors=(mirror,)), Probe(), Bye(), *sample_controls()]
    number = (1).to_bytes(4, "little")
    head = b"\1" + bytes(4) + b"\0" + (5).to_bytes(8, "little") + bytes(12) + b"\1" + bytes(32)
    return [
        *(encode_frame(frame) for frame in controls),
        b"\3" + number + b"\1\0" + number + b"\5\0\0",
        b"\4" + number + head,
        b"\4" + number + b"\2" + bytes(8) + b"\1\0" + bytes(32),
        b"\5" + number + b"\1\0" + b"\5large\1" + bytes(32) + bytes(8) + number + bytes(4),
        b"\6" + number + bytes(10) + b"data",
        b"\7" + number + b"\0\0\2",
        b"\x08" + number + b"\5\0",
        b"\xf0unknown",
    ]


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
