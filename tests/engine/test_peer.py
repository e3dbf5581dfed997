"""Both ends of a peer connection in one thread: what is fetched, what is missing, what breaks the protocol."""

from __future__ import annotations

import gc
import os
import pathlib
import struct

import pytest

from prsync.engine.context import Context, Status
from prsync.engine.digests import digest_file
from prsync.engine.fetch import Memory, PeerFetch
from prsync.engine.flist import Root
from prsync.engine.index import DigestIndex
from prsync.engine.serve import Peer
from prsync.errors import EngineError

RECORD = struct.Struct("<IIIIIIQ")
DATA, MISSING, DONE, BUSY = range(4)
SLOT = 64 << 10


def entry(path: bytes, digest: bytes, offset: int, length: int) -> bytes:
    return struct.pack("<H", len(path)) + path + struct.pack("<Qq", 0, 0) + digest + struct.pack("<QQ", offset, length)


class Pair:
    """A peer daemon over a tree, and a fetcher with a few slots of memory."""

    def __init__(self, tree: pathlib.Path, state: pathlib.Path, slots: int = 4) -> None:
        self.tree = tree
        self.context = Context()
        self.root = Root.open(self.context, bytes(tree))
        names = [bytes(p.relative_to(tree)) for p in sorted(tree.rglob("*")) if p.is_file()]
        state.mkdir(exist_ok=True)
        with DigestIndex(state / "index", writer=True) as writer:
            writer.hash_files(self.root.fileno(), names)
        self.index = DigestIndex(state / "index")
        self.peer = Peer(self.context, self.root.handle, self.index)
        self.buffer = bytearray(SLOT * slots)
        self.memory = Memory(self.buffer, SLOT)
        self.fetch = PeerFetch(Context(), self.memory)
        self.received: dict[tuple[int, int], bytearray] = {}
        self.notes: list[tuple[int, int, int, int]] = []
        self.kept: list[bytes] = []
        self.in_place = False

    def collect(self) -> None:
        records = self.memory.take_records()
        for slot, offset, length, request, number, kind, _ in RECORD.iter_unpack(records):
            if kind != DATA:
                self.notes.append((kind, request, number, length))
                continue
            got = self.received.setdefault((request, number), bytearray())
            start = slot * SLOT + offset
            got += self.buffer[start : start + length]
        self.memory.consumed(len(records) // RECORD.size)

    def run(self, chunk: int = 1 << 20) -> None:
        """Moves bytes to and fro until nothing happens any more."""
        quiet = 0
        while quiet < 2:
            quiet += 1
            for sender, receiver in ((self.fetch, self.peer), (self.peer, self.fetch)):
                data = bytes(sender.output()[:chunk])
                if self.settle(receiver) is Status.AGAIN and data:
                    quiet = 0
                    sender.sent(self.hand_over(data, receiver))
                    self.settle(receiver)

    def hand_over(self, data: bytes, receiver: Peer | PeerFetch) -> int:
        if receiver is self.fetch and self.in_place:
            room = self.fetch.room()
            count = min(len(data), len(room))
            room[:count] = data[:count]
            self.fetch.placed(count)
            return count
        self.kept.append(data)
        receiver.feed(data)
        return len(data)

    def settle(self, side: Peer | PeerFetch) -> Status:
        """Works until it needs input, or its output must shrink."""
        while (status := side.step()) is not Status.AGAIN:
            self.collect()
            if side is self.peer and status is Status.FULL:
                break
        self.collect()
        return status


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "tree"
    (root / "d").mkdir(parents=True)
    (root / "small").write_bytes(b"hello")
    (root / "d" / "big").write_bytes(os.urandom(3 << 20))
    (root / "other").write_bytes(b"other")
    return root


def root_of(path: pathlib.Path) -> bytes:
    return digest_file(path).root


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("chunk", [1 << 20, 1000, 7])
def test_fetch_of_ranges_and_whole_files_brings_their_bytes(
    tree: pathlib.Path, tmp_path: pathlib.Path, chunk: int, in_place: bool
) -> None:
    pair = Pair(tree, tmp_path)
    pair.in_place = in_place
    big = (tree / "d" / "big").read_bytes()
    length = 400_000 if chunk > 7 else 3_000
    wanted = entry(b"small", root_of(tree / "small"), 0, 5) + entry(b"d/big", root_of(tree / "d" / "big"), 1000, length)
    pair.fetch.request(1, 2, wanted)
    pair.fetch.request(2, 1, entry(b"d/big", root_of(tree / "d" / "big"), 0, 10))
    pair.run(chunk)
    assert bytes(pair.received[1, 0]) == b"hello"
    assert bytes(pair.received[1, 1]) == big[1000 : 1000 + length]
    assert bytes(pair.received[2, 0]) == big[:10]
    assert [n for n in pair.notes if n[0] == DONE] == [(DONE, 1, 0, 0), (DONE, 2, 0, 0)]
    assert pair.fetch.open_requests == 0


def test_fetch_of_more_than_the_memory_waits_for_slots(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pair = Pair(tree, tmp_path, slots=1)
    pair.fetch.request(1, 1, entry(b"d/big", root_of(tree / "d" / "big"), 0, 3 << 20))
    pair.run()
    assert bytes(pair.received[1, 0]) == (tree / "d" / "big").read_bytes()
    assert pair.memory.free_slots <= 1


def test_memory_without_a_free_slot_has_no_room_until_records_are_consumed(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pair = Pair(tree, tmp_path, slots=1)
    pair.in_place = True
    pair.fetch.request(1, 1, entry(b"d/big", root_of(tree / "d" / "big"), 0, 200_000))
    pair.peer.feed(bytes(pair.fetch.output()))
    pair.settle(pair.peer)
    sent = pair.hand_over(bytes(pair.peer.output()), pair.fetch)
    assert pair.fetch.step() is Status.AGAIN
    assert pair.fetch.room() is None
    pair.collect()
    assert len(pair.received[1, 0]) > sent - 100
    assert pair.fetch.room() is not None


def test_fetch_refuses_bytes_beyond_the_room_that_there_was(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pair = Pair(tree, tmp_path)
    with pytest.raises(EngineError, match="room"):
        pair.fetch.placed(len(pair.fetch.room()) + 1)


def test_fetch_of_what_is_not_there_is_missing_with_its_reason(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pair = Pair(tree, tmp_path)
    (tree / "new").write_bytes(b"never indexed")
    wrong = bytes(32)
    pair.fetch.request(
        7,
        5,
        entry(b"absent", wrong, 0, 1)
        + entry(b"small", wrong, 0, 5)
        + entry(b"new", wrong, 0, 5)
        + entry(b"other", root_of(tree / "other"), 0, 5)
        + entry(b"other", root_of(tree / "other"), 3, 5),
    )
    pair.run()
    assert pair.notes == [(MISSING, 7, 0, 1), (MISSING, 7, 1, 2), (MISSING, 7, 2, 5), (MISSING, 7, 4, 2), (DONE, 7, 0, 0)]
    assert bytes(pair.received[7, 3]) == b"other"
    assert pair.peer.take_wanted() == b"\0new\0"


def test_fetch_of_a_file_that_changed_is_not_served(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pair = Pair(tree, tmp_path)
    digest = root_of(tree / "small")
    (tree / "small").write_bytes(b"HELLO")
    pair.fetch.request(1, 1, entry(b"small", digest, 0, 5))
    pair.run()
    assert pair.notes[0] == (MISSING, 1, 0, 5)
    assert not pair.received


def test_peer_without_a_slot_answers_busy(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pair = Pair(tree, tmp_path)
    pair.peer.set_busy(9)
    pair.fetch.request(1, 1, entry(b"small", root_of(tree / "small"), 0, 5))
    pair.run()
    assert pair.notes == [(BUSY, 1, 0, 9)]


def test_cancelled_request_makes_no_records(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pair = Pair(tree, tmp_path)
    pair.fetch.request(1, 1, entry(b"d/big", root_of(tree / "d" / "big"), 0, 1 << 20))
    pair.fetch.cancel(1)
    pair.run()
    assert not pair.received and not pair.notes
    assert pair.fetch.open_requests == 0


@pytest.mark.parametrize("path", [b"/etc/passwd", b"../x", b"d/../small", b"", b"d//big", b"./small", b"sm\0all"])
def test_fetch_of_a_path_that_is_not_clean_ends_the_connection(tree: pathlib.Path, tmp_path: pathlib.Path, path: bytes) -> None:
    pair = Pair(tree, tmp_path)
    pair.fetch.request(1, 1, entry(path, bytes(32), 0, 1))
    with pytest.raises(EngineError, match="malformed"):
        pair.run()


def test_fetch_never_follows_a_symlink_out_of_the_root(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tree / "link").symlink_to(tmp_path / "secret")
    (tree / "up").symlink_to("..")
    pair = Pair(tree, tmp_path)
    digest = root_of(tmp_path / "secret")
    pair.fetch.request(1, 2, entry(b"link", digest, 0, 6) + entry(b"up/secret", digest, 0, 6))
    pair.run()
    assert not pair.received


def test_mirror_that_sends_what_was_not_asked_for_is_found_out(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pair = Pair(tree, tmp_path)
    pair.fetch.request(1, 1, entry(b"small", root_of(tree / "small"), 0, 5))
    pair.run()
    answer = pair.kept[-1]
    pair.fetch.feed(answer)
    with pytest.raises(EngineError, match="broke the protocol"):
        pair.fetch.step()


def test_parts_may_be_freed_in_any_order(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for first in ("memory", "fetch", "index", "root"):
        pair = Pair(tree, tmp_path / first)
        pair.fetch.request(1, 1, entry(b"d/big", root_of(tree / "d" / "big"), 0, 1 << 20))
        pair.run()
        setattr(pair, first, pair)  # a cycle: the collector frees the parts, this one first
        del pair
        gc.collect()
