"""One contract for all sources, run against each of them: real daemons on 127.0.0.1."""

from __future__ import annotations

import os
import pathlib
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

import pytest
import trio
from daemon_harness import Daemon
from servers import StockDaemon

from prsync.config.model import load_config
from prsync.engine.digests import digest_file
from prsync.engine.fetch import Memory
from prsync.engine.index import DigestIndex
from prsync.errors import PrsyncError
from prsync.net.connect import Route
from prsync.protocol.frames import SourceKind
from prsync.session.helpers.index_place import index_place
from prsync.session.helpers.opening import prepare
from prsync.sources.addresses import parse_source_url
from prsync.sources.base import Entry, Source, SourceRefused, SourceSettings, encode_entry
from prsync.sources.factory import make_source
from prsync.sources.rsyncd import Part, RsyncdSource, parts_of

RECORD = struct.Struct("<IIIIIIQ")
DATA, MISSING, DONE, BUSY = range(4)
SLOT = 64 << 10


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "tree"
    (root / "d" / "e").mkdir(parents=True)
    (root / "small").write_bytes(b"hello")
    (root / "d" / "e" / "file").write_bytes(b"x" * 70_000)
    (root / "big").write_bytes(os.urandom(5 << 20))
    for path in root.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return root


@pytest.fixture
def rsyncd(tree: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[str]:
    daemon = StockDaemon(tmp_path, f"[m]\npath = {tree}\n[noappend]\npath = {tree}\nrefuse options = append\n")
    yield daemon.url()
    daemon.stop()


@pytest.fixture
def prsyncd(tree: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[str]:
    """A daemon whose digest index knows the tree, but for the file `unknown`."""
    world = f"uid = {os.getuid()}\ngid = {os.getgid()}\nstate dir = {tmp_path}/state\n"

    def build_index(conf: pathlib.Path) -> None:
        config = load_config(str(conf), {})
        module = next(m for m in config.modules if m.name == "m")
        place = index_place(config, module, {})
        prepare(place, os.getuid(), os.getgid())
        root = os.open(tree, os.O_RDONLY)
        with DigestIndex(place.index, writer=True) as index:
            index.hash_files(root, [os.fsencode(p.relative_to(tree)) for p in sorted(tree.rglob("*")) if p.is_file()])
        os.close(root)

    daemon = Daemon(tmp_path, world + f"[m]\npath = {tree}\nuse chroot = no\ndigest index = yes\n", before=build_index)
    yield daemon.url
    daemon.stop()


class Served(NamedTuple):
    url: str
    kind: int


@pytest.fixture(params=[SourceKind.RSYNCD, SourceKind.PEER], ids=["rsyncd", "peer"])
def served(request: pytest.FixtureRequest) -> Served:
    """The same tree behind every kind of source."""
    return Served(request.getfixturevalue("rsyncd" if request.param == SourceKind.RSYNCD else "prsyncd"), request.param)


class Bench:
    """A source with its memory; what arrives is put together by request and entry."""

    def __init__(self, url: str, kind: int, origin: str = "127.0.0.1", slots: int = 4) -> None:
        self.buffer = bytearray(SLOT * slots)
        self.memory = Memory(self.buffer, SLOT)
        self.data: dict[tuple[int, int], bytearray] = {}
        self.notes: list[tuple[int, int, int, int]] = []
        self.changed = trio.Event()
        settings = SourceSettings(parse_source_url(url), Route(timeout=5), origin)
        self.source: Source = make_source(kind, settings, self.memory, self.flush, self.slot_free)

    async def flush(self) -> None:
        records = self.memory.take_records()
        for slot, offset, length, request, entry, kind, _ in RECORD.iter_unpack(records):
            if kind == DATA:
                start = slot * SLOT + offset
                self.data.setdefault((request, entry), bytearray()).extend(self.buffer[start : start + length])
            else:
                self.notes.append((kind, request, entry, length))
        self.memory.consumed(len(records) // RECORD.size)
        self.changed.set()

    async def slot_free(self) -> None:
        assert self.data, "a slot is waited for though none has been filled"
        await trio.lowlevel.checkpoint()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed = trio.Event()
            await self.changed.wait()

    def ended(self, *requests: int) -> bool:
        return {note[1] for note in self.notes if note[0] == DONE} >= set(requests)


def entry_of(tree: pathlib.Path, name: str, offset: int = 0, length: int | None = None, mtime: int = 1_600_000_000) -> bytes:
    path = tree / name
    size = path.stat().st_size
    return encode_entry(Entry(name.encode(), size, mtime, digest_file(path).root, offset, size if length is None else length))


async def serve(bench: Bench, work: Callable[[], Awaitable[None]]) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            opened = trio.Event()

            async def run() -> None:
                await bench.source.run(opened.set)

            nursery.start_soon(run)
            await opened.wait()
            await work()
            nursery.cancel_scope.cancel()


async def test_source_whole_files_come_in_one_session(tree: pathlib.Path, served: Served) -> None:
    bench = Bench(served.url + "m", served.kind)

    async def work() -> None:
        bench.source.request(1, 2, entry_of(tree, "small") + entry_of(tree, "d/e/file"))
        await bench.until(lambda: bench.ended(1))

    await serve(bench, work)
    assert bytes(bench.data[1, 0]) == b"hello"
    assert bytes(bench.data[1, 1]) == b"x" * 70_000
    assert bench.notes == [(DONE, 1, 0, 0)]


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1000), (1, 1), (131_072, 300_000), (1_000_001, 2_000_000), (5 * (1 << 20) - 7, 7)]
)
async def test_source_range_is_what_the_file_has_there(tree: pathlib.Path, served: Served, offset: int, length: int) -> None:
    bench = Bench(served.url + "m", served.kind)

    async def work() -> None:
        bench.source.request(7, 1, entry_of(tree, "big", offset, length))
        await bench.until(lambda: bench.ended(7))

    await serve(bench, work)
    assert bytes(bench.data[7, 0]) == (tree / "big").read_bytes()[offset : offset + length]


async def test_source_several_ranges_of_a_file_come_over_one_connection(tree: pathlib.Path, served: Served) -> None:
    bench = Bench(served.url + "m", served.kind)
    ranges = [(10, 20), (100_000, 65_000), (400_000, 1)]

    async def work() -> None:
        bench.source.request(1, 3, b"".join(entry_of(tree, "big", at, n) for at, n in ranges))
        bench.source.request(2, 1, entry_of(tree, "big", 5, 5))
        await bench.until(lambda: bench.ended(1, 2))

    await serve(bench, work)
    big = (tree / "big").read_bytes()
    assert [bytes(bench.data[1, i]) for i in range(3)] == [big[at : at + n] for at, n in ranges]
    assert bytes(bench.data[2, 0]) == big[5:10]


async def test_source_gaps_of_several_files_come_with_the_entries_numbers(tree: pathlib.Path, served: Served) -> None:
    bench = Bench(served.url + "m", served.kind)
    wanted = [("big", 10, 20), ("big", 3_000_000, 65_000), ("d/e/file", 0, 7), ("d/e/file", 69_000, 1000), ("small", 0, 5)]

    async def work() -> None:
        bench.source.request(1, len(wanted), b"".join(entry_of(tree, *each) for each in wanted))
        bench.source.request(2, 1, entry_of(tree, "small", 1, 2))
        await bench.until(lambda: bench.ended(1, 2))

    await serve(bench, work)
    got = [bytes(bench.data[1, number]) for number in range(len(wanted))]
    assert got == [(tree / name).read_bytes()[at : at + length] for name, at, length in wanted]
    assert bytes(bench.data[2, 0]) == b"el" and sorted(bench.notes) == [(DONE, 1, 0, 0), (DONE, 2, 0, 0)]


async def test_source_gaps_that_lie_far_apart_come_with_the_entries_numbers(tree: pathlib.Path, served: Served) -> None:
    bench = Bench(served.url + "m", served.kind)
    ranges = [(10, 20), (100_000, 65_000), (3_000_000, 7), (5_000_000, 1000)]

    async def work() -> None:
        bench.source.request(1, len(ranges), b"".join(entry_of(tree, "big", at, n) for at, n in ranges))
        await bench.until(lambda: bench.ended(1))

    await serve(bench, work)
    big = (tree / "big").read_bytes()
    assert [bytes(bench.data[1, i]) for i in range(len(ranges))] == [big[at : at + n] for at, n in ranges]
    assert bench.notes == [(DONE, 1, 0, 0)]


async def test_rsyncd_serves_requests_for_files_in_one_session(
    tree: pathlib.Path, rsyncd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    open_session = RsyncdSource._open
    monkeypatch.setattr(RsyncdSource, "_open", lambda self, part: opened.append(len(part.entries)) or open_session(self, part))
    bench = Bench(rsyncd + "m", SourceKind.RSYNCD)
    absent = encode_entry(Entry(b"gone", 3, 1_600_000_000, bytes(32), 0, 3))

    async def work() -> None:
        bench.source.request(1, 2, entry_of(tree, "small") + absent)
        bench.source.request(2, 2, entry_of(tree, "d/e/file", 5, 7) + entry_of(tree, "d/e/file", 90, 7))
        bench.source.request(3, 1, entry_of(tree, "big", 5, 5))
        bench.source.request(4, 1, entry_of(tree, "d/e/file"))
        await bench.until(lambda: bench.ended(1, 2, 3, 4))

    await serve(bench, work)
    assert opened == [2, 2, 1, 1] or opened == [4, 1, 1]
    assert bytes(bench.data[1, 0]) == b"hello" and (MISSING, 1, 1, 1) in bench.notes
    assert (bytes(bench.data[2, 0]), bytes(bench.data[2, 1])) == (b"x" * 7, b"x" * 7)
    assert bytes(bench.data[3, 0]) == (tree / "big").read_bytes()[5:10] and len(bench.data[4, 0]) == 70_000
    assert [note[1] for note in bench.notes if note[0] == DONE] in ([1, 2, 3, 4], [2, 1, 3, 4])


@pytest.mark.parametrize("ranges, parts", [
    ([(0, 50, 50)], [(0, 1, False, False)]),
    ([(0, 20, 50)], [(0, 1, True, True)]),
    ([(5, 5, 9 << 20), (1 << 20, 5, 9 << 20), (3 << 20, 5, 9 << 20)], [(0, 2, True, True), (2, 1, True, True)]),
])  # fmt: skip
def test_parts_of_a_request(ranges: list[tuple[int, int, int]], parts: list[tuple[int, int, bool, bool]]) -> None:
    entries = [Entry(b"f", size, 0, bytes(32), at, length) for at, length, size in ranges]
    found = parts_of(entries)
    assert [(p.first, len(p.entries), p.cut, p.append) for p in found] == parts
    assert [p.last for p in found] == [False] * (len(parts) - 1) + [True]


def test_parts_of_several_files_are_one() -> None:
    whole, gap = Entry(b"a", 9, 0, bytes(32), 0, 9), Entry(b"b", 9, 0, bytes(32), 3, 2)
    assert parts_of([whole, gap]) == [Part(0, [whole, gap], False, True)]
    assert parts_of([whole, gap])[0].append and not parts_of([whole, whole._replace(path=b"c")])[0].append


async def test_source_below_its_module_is_asked_for_the_right_paths(tree: pathlib.Path, served: Served) -> None:
    bench = Bench(served.url + "m/d", served.kind)
    size = 70_000
    digest = digest_file(tree / "d" / "e" / "file").root
    entry = encode_entry(Entry(b"e/file", size, 1_600_000_000, digest, 0, size))

    async def work() -> None:
        bench.source.request(1, 1, entry)
        await bench.until(lambda: bench.ended(1))

    await serve(bench, work)
    assert bytes(bench.data[1, 0]) == b"x" * size


async def test_source_that_has_another_version_is_stale_and_an_absent_file_missing(tree: pathlib.Path, served: Served) -> None:
    bench = Bench(served.url + "m", served.kind)
    # An rsyncd knows versions by size and time, a peer by digest.
    other = encode_entry(Entry(b"small", 5, 5, bytes(32), 0, 5))
    absent = encode_entry(Entry(b"gone", 3, 1_600_000_000, bytes(32), 0, 3))

    async def work() -> None:
        bench.source.request(1, 3, other + absent + entry_of(tree, "d/e/file"))
        await bench.until(lambda: bench.ended(1))

    await serve(bench, work)
    assert sorted(bench.notes) == [(MISSING, 1, 0, 2), (MISSING, 1, 1, 1), (DONE, 1, 0, 0)]
    assert bytes(bench.data[1, 2]) == b"x" * 70_000


async def test_source_request_that_is_cancelled_makes_way_for_the_next(tree: pathlib.Path, served: Served) -> None:
    bench = Bench(served.url + "m", served.kind)

    async def work() -> None:
        bench.source.request(1, 1, entry_of(tree, "big"))
        bench.source.request(2, 1, entry_of(tree, "small"))
        bench.source.cancel(1)
        await bench.until(lambda: bench.ended(2))

    await serve(bench, work)
    assert bytes(bench.data[2, 0]) == b"hello"


@pytest.mark.parametrize("module", ["nosuch", "noappend"])
async def test_rsyncd_that_refuses_ends_with_a_reason(tree: pathlib.Path, rsyncd: str, module: str) -> None:
    bench = Bench(rsyncd + module, SourceKind.RSYNCD)
    with pytest.raises((PrsyncError, BaseExceptionGroup)) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.source.run, lambda: None)
            bench.source.request(1, 1, entry_of(tree, "big", 5, 5))
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, PrsyncError) and error.text


@pytest.mark.parametrize("kind", [SourceKind.RSYNCD, SourceKind.PEER])
async def test_source_at_a_forbidden_address_is_never_contacted(rsyncd: str, kind: int) -> None:
    bench = Bench(rsyncd + "m", kind, origin="192.0.2.1")
    with pytest.raises((SourceRefused, BaseExceptionGroup)) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.source.run, lambda: None)
            if kind == SourceKind.RSYNCD:
                bench.source.request(1, 1, encode_entry(Entry(b"x", 9, 0, bytes(32), 1, 5)))
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, SourceRefused)
    assert "may not be contacted" in error.text


@pytest.mark.parametrize("early", [False, True], ids=["running", "waiting"])
async def test_rsyncd_range_that_shrinks_ends_early(tree: pathlib.Path, rsyncd: str, early: bool) -> None:
    bench = Bench(rsyncd + "m", SourceKind.RSYNCD, slots=1)

    async def work() -> None:
        bench.source.request(1, 1, entry_of(tree, "big", 1, 5_000_000))
        if not early:
            await bench.until(lambda: (1, 0) in bench.data)
        bench.source.shrink(1, 1_000_000)
        await bench.until(lambda: bench.ended(1))

    await serve(bench, work)
    got = bytes(bench.data[1, 0])
    assert got == (tree / "big").read_bytes()[1 : 1 + len(got)]
    assert 999_999 <= len(got) < 5_000_000
