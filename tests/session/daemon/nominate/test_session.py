"""Sessions of a running prsyncd with clients that can take data from mirrors: nomination, digests, sessions without data."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from daemon_harness import Daemon
from peer_client import PeerClient, entry
from session_client import CHANGED, MSG_NO_SEND, NO, OK, SessionClient, message

from prsync.engine.digests import digest_file
from prsync.protocol.frames import Hello, Mirror, OriginPlace, SourceKind

StartDaemon = Callable[..., Daemon]
PRSYNCCTL = "from prsync.commands.main import control_main as run; import sys; sys.exit(run(sys.argv[1:]))"
PRSYNC = "from prsync.commands.main import main as run; import sys; sys.exit(run(sys.argv[1:]))"
MIRROR = "mirror = rsync://127.0.0.9:8730/m\n"

# After a worker has given up its privileges, an attempt to import is a failure.
NO_IMPORTS = """
import sys
from prsync.session.daemon.process import module as daemon_module
confine = daemon_module._confine
class Guard:
    def find_spec(self, name, path=None, target=None):
        raise AssertionError(f"import of {name} after the drop")
def confine_and_guard(*args):
    root = confine(*args)
    sys.meta_path.insert(0, Guard())
    return root
daemon_module._confine = confine_and_guard
"""


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "tree"
    root.mkdir()
    for name in ("a", "b", "c"):
        (root / name).write_bytes(name.encode() * 1000)
    (root / "big").write_bytes(os.urandom(3 << 20))
    return root


def start(start_daemon: StartDaemon, tree: pathlib.Path, settings: str = MIRROR) -> Daemon:
    """An origin with an indexer whose index is empty."""
    world = f"state dir = {tree.parent}/state\n"
    owner = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""
    daemon = start_daemon(f"{world}[m]\npath = DIR/tree\nuse chroot = no\n{owner}{settings}")
    wait_for_indexer(tree.parent)
    return daemon


def wait_for_indexer(folder: pathlib.Path) -> None:
    end = time.monotonic() + 10
    while not list(folder.glob("state/index/*/digests")):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_hello_is_answered_by_the_nomination_before_the_list(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    settings = MIRROR + "mirror = rsync://127.0.0.8/m stock\nnominate origin = equal\n"
    daemon = start(start_daemon, tree, settings)
    client = SessionClient(daemon.port, b"m")
    assert client.negotiated.nominate
    hello, nomination = client.begin()
    assert not hello.no_data and nomination.origin is OriginPlace.EQUAL
    assert set(nomination.mirrors) == {
        Mirror(SourceKind.PEER, "rsync://127.0.0.9:8730/m", True),
        Mirror(SourceKind.RSYNCD, "rsync://127.0.0.8/m", True),
    }
    client.sock.close()
    daemon.wait_for_log("nominated 2 mirrors to")


@pytest.mark.parametrize(
    "settings, arguments",
    [
        (MIRROR, b"-re.LsfxCIvu"),
        (MIRROR, b"-re.LsfxCIuQ"),
        (MIRROR + "nominate = off\ndigest index = yes\n", b"-re.LsfxCIvuQ"),
        ("digest index = yes\n", b"-re.LsfxCIvuQ"),
        ("nominate = registered\n", b"-re.LsfxCIvuQ"),
    ],
)
def test_bit_is_set_only_where_both_sides_have_use_for_it(
    start_daemon: StartDaemon, tree: pathlib.Path, settings: str, arguments: bytes
) -> None:
    daemon = start(start_daemon, tree, settings)
    assert not SessionClient(daemon.port, b"m", arguments).negotiated.nominate


def test_digests_are_pending_until_the_indexer_has_them_then_known(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree)
    client = SessionClient(daemon.port, b"m")
    client.begin()
    client.ask_digests(1, 1, 4)
    found = client.digests(4)
    names = ["a", "b", "big", "c"]
    assert found == {at: (OK, digest_file(tree / name).root) for at, name in enumerate(names)}
    assert client.pending == {0, 1, 2, 3}
    client.ask_digests(2, 0, 3, basis=0b110)  # the first is the directory
    assert client.digests(3)[0][0] == NO
    (tree / "a").write_bytes(b"changed")
    client.ask_digests(3, 1, 1)
    assert client.digests(1)[0][0] in (CHANGED, OK)
    client.sock.close()
    daemon.wait_for_log("nominated 1 mirrors to")
    assert "digests of " in daemon.log_text()


def test_frames_without_an_agreement_end_the_session(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree)
    plain = SessionClient(daemon.port, b"m", b"-re.LsfxCIvu")
    plain.sock.sendall(message(117, b"\x0b") + message(0, bytes(4)))
    daemon.wait_for_log("unexpected tag 117")
    silent = SessionClient(daemon.port, b"m")
    silent.sock.sendall(message(0, bytes(4)))
    daemon.wait_for_log("sent no hello before its filter list")
    early = SessionClient(daemon.port, b"m")
    early.sock.sendall(message(117, b"\x03" + bytes(6)) + message(0, bytes(4)))
    daemon.wait_for_log("a digests_request frame that is not allowed")


def test_without_a_free_slot_the_session_has_no_data(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree, MIRROR + "max connections = 1\nmax nominate connections = 1\n")
    with daemon.connect() as stock:
        stock.sendall(b"@RSYNCD: 32.0 md5\nm\n")
        daemon.read_until(stock, b"@RSYNCD: OK\n")
        client = SessionClient(daemon.port, b"m")
        assert client.begin(Hello())[0].no_data
        client.ask_digests(1, 1, 1)
        assert client.digests(1)[0] == (OK, digest_file(tree / "a").root)
        client.request_file(2)
        client.request_file(2)
        assert [client.wait_for(MSG_NO_SEND) for _ in range(2)] == [b"\1\0\0\0", b"\3\0\0\0"]
        # The other limit is reached, too; and stock clients are refused as ever.
        for greeting in (b"@RSYNCD: 32.0 md5 nominate1\n", b"@RSYNCD: 32.0 md5\n"):
            answer = daemon.talk(greeting + b"m\n")
            assert answer.endswith(b"@ERROR: max connections (1) reached -- try again later\n")
        client.sock.close()
        daemon.wait_for_log(", no data: digests of 1 files, 1000 bytes")


def test_client_without_the_letter_is_refused_after_its_arguments(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree, MIRROR + "max connections = -1\n")
    client = SessionClient(daemon.port, b"m", b"-re.LsfxCIvu")
    assert client.wait_for(3) == b"@ERROR: max connections (-1) reached -- try again later\n"
    assert client.wait_for(86) == (5).to_bytes(4, "little")


def test_ranges_come_from_the_nominated_mirror(start_daemon: StartDaemon, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    owner = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""
    (tmp_path / "mirror").mkdir()
    settings = f"state dir = DIR/state\n[m]\npath = {tree}\nuse chroot = no\ndigest index = yes\n{owner}"
    mirror = Daemon(tmp_path / "mirror", settings)
    try:
        daemon = start(start_daemon, tree, f"mirror = {mirror.url}m\n")
        wait_for_indexer(tmp_path / "mirror")
        for conf in (mirror.conf, daemon.conf):
            subprocess.run([sys.executable, "-c", PRSYNCCTL, "index", "m", f"--config={conf}"], check=True, timeout=60)
        client = SessionClient(daemon.port, b"m")
        _, nomination = client.begin()
        client.ask_digests(1, 1, 4)
        digests = client.digests(4)
        assert not client.pending
        port = int(nomination.mirrors[0].url.split(":")[2].split("/")[0])
        names = [b"a", b"b", b"big", b"c"]
        sizes = [(tree / os.fsdecode(name)).stat().st_size for name in names]
        wanted = [entry(name, digests[at][1], 0, size) for at, (name, size) in enumerate(zip(names, sizes, strict=True))]
        for number in (port, daemon.port):
            peer = PeerClient(number, b"m")
            assert peer.fetch_all(*wanted) == [(tree / os.fsdecode(name)).read_bytes() for name in names]
            peer.bye()
        mirror.wait_for_log("total size 3148728 (peer: 4 ranges, 0 missing, 0 busy)")
    finally:
        mirror.stop()


def test_prsync_pulls_through_a_full_origin_from_its_mirror(
    start_daemon: StartDaemon, tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    owner = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""
    (tmp_path / "mirror").mkdir()
    settings = f"state dir = DIR/state\n[m]\npath = {tree}\nuse chroot = no\ndigest index = yes\n{owner}"
    mirror = Daemon(tmp_path / "mirror", settings)
    try:
        daemon = start(start_daemon, tree, f"mirror = {mirror.url}m\nmax connections = 1\n")
        wait_for_indexer(tmp_path / "mirror")
        subprocess.run([sys.executable, "-c", PRSYNCCTL, "index", "m", f"--config={mirror.conf}"], check=True, timeout=60)
        with daemon.connect() as stock:
            stock.sendall(b"@RSYNCD: 32.0 md5\nm\n")
            daemon.read_until(stock, b"@RSYNCD: OK\n")
            target = tmp_path / "target"
            command = [sys.executable, "-c", PRSYNC, "-a", f"{daemon.url}m/", f"{target}/"]
            result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        for path in tree.iterdir():
            assert (target / path.name).read_bytes() == path.read_bytes()
        mirror.wait_for_log("total size 3148728 (peer: ")
        daemon.wait_for_log(", no data: digests of 4 files, 3148728 bytes")
    finally:
        mirror.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_all_of_it_works_in_a_chroot_without_privileges(
    start_daemon: StartDaemon, tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    limits = "max connections = 2\nmax nominate connections = 2\n"
    module = f"[m]\npath = DIR/tree\nuse chroot = yes\nuid = nobody\n{MIRROR}{limits}"
    daemon = start_daemon(f"state dir = DIR/state\n{module}", NO_IMPORTS)
    wait_for_indexer(tmp_path)
    client = SessionClient(daemon.port, b"m")
    assert len(client.begin()[1].mirrors) == 1
    client.ask_digests(1, 1, 4)
    found = client.digests(4)
    assert client.pending and found[0] == (OK, digest_file(tree / "a").root)
    peer = PeerClient(daemon.port, b"m")
    assert peer.fetch_all(entry(b"a", found[0][1], 0, 1000)) == [b"a" * 1000]
    (tree / "new").write_bytes(b"new")
    wanted = entry(b"new", digest_file(tree / "new").root, 0, 3)
    end = time.monotonic() + 10
    while peer.fetch_all(wanted) != [b"new"]:  # the first time it is not known yet
        assert time.monotonic() < end
    peer.bye()
    client.sock.close()
    daemon.wait_for_log("nominated 1 mirrors to")
    assert "worker failed" not in daemon.log_text()
