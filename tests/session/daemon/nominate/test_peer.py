"""Peer connections of a running prsyncd: fetches, slots, rules, what is refused."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import pytest
from daemon_harness import Daemon
from peer_client import BUSY, MISSING, PeerClient, entry

from prsync.config.model import load_config
from prsync.engine.digests import digest_file
from prsync.engine.index import DigestIndex
from prsync.errors import PrsyncError
from prsync.protocol.frames import Lease, LeaseStep, Report, SourceReport, Verdict
from prsync.session.helpers.index_place import index_place
from prsync.session.helpers.opening import prepare

StartDaemon = Callable[..., Daemon]
MODULE = "[m]\npath = DIR/tree\nuse chroot = no\ndigest index = yes\n"
GREETING = b"@RSYNCD: 32.0 md5 nominate1\n"


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "tree"
    (root / "hidden").mkdir(parents=True)
    (root / "small").write_bytes(b"hello")
    (root / "big").write_bytes(os.urandom(3 << 20))
    (root / "hidden" / "file").write_bytes(b"secret")
    return root


def start(start_daemon: StartDaemon, tree: pathlib.Path, settings: str = "", world: str = "") -> Daemon:
    """A daemon over the tree whose index is complete."""
    state = f"state dir = {tree.parent}/state\n"
    return start_daemon(state + world + MODULE + settings, before=lambda conf: build_index(conf, tree))


def build_index(conf: pathlib.Path, tree: pathlib.Path) -> None:
    config = load_config(str(conf), {})
    module = config.module("m")
    assert module
    place = index_place(config, module, {})
    prepare(place, None, None)
    root = os.open(tree, os.O_RDONLY)
    with DigestIndex(place.index, writer=True) as index:
        index.hash_files(root, [os.fsencode(p.relative_to(tree)) for p in sorted(tree.rglob("*")) if p.is_file()])
    os.close(root)


def wanted(tree: pathlib.Path, name: str, offset: int = 0, length: int | None = None) -> bytes:
    path = tree / name
    size = path.stat().st_size
    return entry(name.encode(), digest_file(path).root, offset, size - offset if length is None else length)


def test_fetch_over_a_peer_connection_brings_the_bytes(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree)
    client = PeerClient(daemon.port, b"m")
    big = (tree / "big").read_bytes()
    assert client.hello.version == 1 and not client.hello.no_data
    assert client.fetch_all(wanted(tree, "small"), wanted(tree, "big")) == [b"hello", big]
    assert client.fetch_all(wanted(tree, "big", 1 << 20, 12345)) == [big[1 << 20 : (1 << 20) + 12345]]
    client.bye()
    daemon.wait_for_log("(peer: 3 ranges, 0 missing, 0 busy)")
    assert f"total size {len(big) + 5 + 12345} (peer" in daemon.log_text()
    assert "peer connection on m from" in daemon.log_text()


def test_fetch_of_what_the_daemons_rules_hide_is_missing(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree, "exclude = /hidden/\n")
    client = PeerClient(daemon.port, b"m")
    assert client.fetch_all(wanted(tree, "hidden/file"), wanted(tree, "small")) == [b"", b"hello"]
    assert (MISSING, 1, 0, 3) in client.notes


def test_slot_is_held_only_while_data_are_asked_for(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree, "max connections = 1\n")
    first, second = PeerClient(daemon.port, b"m"), PeerClient(daemon.port, b"m")
    assert first.fetch_all(wanted(tree, "small")) == [b"hello"]
    assert second.fetch_all(wanted(tree, "small")) == [b"hello"]
    # A stock client takes the slot: peers are told to come again.
    with daemon.connect() as stock:
        stock.sendall(b"@RSYNCD: 32.0 md5\nm\n")
        daemon.read_until(stock, b"@RSYNCD: OK\n")
        assert first.fetch_all(wanted(tree, "small")) == [b""]
        assert [note[0] for note in first.notes] == [2, BUSY] and first.notes[-1][3] == 5
    first.bye()
    second.bye()
    daemon.wait_for_log("(peer: 1 ranges, 0 missing, 1 busy)")


def test_peers_are_limited_by_their_own_limit(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree, "max connections = 1\nmax nominate connections = 1\n")
    client = PeerClient(daemon.port, b"m")
    with pytest.raises((PrsyncError, AssertionError)):
        PeerClient(daemon.port, b"m")
    daemon.wait_for_log("too many peer connections -- try again later")
    client.bye()


def test_lease_is_refused_and_a_report_is_logged_without_a_registry(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree)
    client = PeerClient(daemon.port, b"m")
    client.send(Lease(LeaseStep.REQUEST, "rsync:///m", 900, bytes(16)))
    client.read_until(lambda: client.frames)
    assert client.frames == [Lease(LeaseStep.REFUSED, reason="registration is off")]
    client.send(Report((SourceReport("rsync://mirror/m", 5, 10, bad_pieces=2, verdict=Verdict.CORRUPT),)))
    client.bye()
    daemon.wait_for_log("report from 127.0.0.1: rsync://mirror/m 5 bytes corrupt (2 bad pieces)")


@pytest.mark.parametrize(
    "greeting, arguments, settings",
    [
        (b"@RSYNCD: 32.0 md5\n", b"-e.LsfxCIvuQ", ""),
        (b"@RSYNCD: 30.0 md5 nominate1\n", b"-e.LsfxCIvuQ", ""),
        (GREETING, b"-e.LsfxCIvu", ""),
        (GREETING, b"-e.LsfxCIvuQ", "digest index = no\n"),
        (GREETING, b"-e.LsfxCIvuQ", "write only = yes\n"),
    ],
)
def test_peer_option_is_unknown_where_there_can_be_no_peer_connection(
    start_daemon: StartDaemon, tree: pathlib.Path, greeting: bytes, arguments: bytes, settings: str
) -> None:
    daemon = start(start_daemon, tree, settings)
    words = (b"--server", b"--sender", arguments, b"--prsync-peer", b".", b"m/", b"")
    # An empty list of names, and the end of it: enough for every protocol's negotiation.
    answer = daemon.talk(greeting + b"m\n" + b"\0".join(words) + b"\0" + b"\x06xxh128")
    assert b"--prsync-peer: unknown option" in answer


def test_fetch_before_hello_ends_the_connection(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree)
    body = b"\x05" + (7).to_bytes(4, "little") + b"\x01\x00" + b"\x05\x00small\x01" + bytes(32) + bytes(8) + b"\x05" + bytes(7)
    message = (len(body) | (7 + 117) << 24).to_bytes(4, "little") + body
    words = (b"--server", b"--sender", b"-e.LsfxCIvuQ", b"--prsync-peer", b".", b"m/", b"")
    daemon.talk(GREETING + b"m\n" + b"\0".join(words) + b"\0" + b"\x06xxh128" + message)
    daemon.wait_for_log("the peer sent a fetch frame before its hello")


def test_idle_peer_ends_with_the_daemon(start_daemon: StartDaemon, tree: pathlib.Path) -> None:
    daemon = start(start_daemon, tree)
    client = PeerClient(daemon.port, b"m")
    assert client.fetch_all(wanted(tree, "small")) == [b"hello"]
    assert daemon.stop()[0] == 0
    assert "(peer: 1 ranges" in daemon.log_text()
