"""One recorded session fed again: in any split, cut short, and with mutations. The receiver must end cleanly every time."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import stock

from prsync.engine.context import Context, Status
from prsync.engine.native import ffi
from prsync.engine.receiving import Receiving
from prsync.errors import PrsyncError

pytestmark = pytest.mark.skipif(not stock.RSYNC, reason="needs the real rsync")

MUTATIONS = int(os.environ.get("PRSYNC_MUTATIONS", "150"))


class Session:
    """What a stock sender said to a pull into an empty directory, and the options that were in force."""

    def __init__(self, base: Path, protocol: int, arguments: tuple[str, ...]) -> None:
        self.source = base / "src"
        (self.source / "a" / "b").mkdir(parents=True)
        (self.source / "a" / "one").write_bytes(b"one\n" * 500)
        (self.source / "a" / "b" / "two").write_bytes(random.Random(2).randbytes(70_000))
        (self.source / "empty").touch()
        (self.source / "link").symlink_to("a/one")
        self.chunks: list[bytes] = []  # as they came: none of them answers what had not been asked yet
        daemon = stock.serve(self.source, base)
        try:
            outcome = stock.pull(daemon, base / "first", protocol=protocol, arguments=arguments, change=self.note)
        finally:
            daemon.stop()
        assert outcome.code == 0
        self.options = bytes(ffi.buffer(outcome.context.options))

    def note(self, data: bytearray) -> None:
        self.chunks.append(bytes(data))

    def replay(self, chunks: list[bytes], sizes: list[int], destination: Path) -> tuple[int, str]:
        """Feeds each chunk in pieces of these sizes, in turn; the exit code and the error, or 12 when more was wanted."""
        pieces = split(chunks, sizes)
        context = Context()
        ffi.buffer(context.options)[:] = self.options
        pull = Receiving(context, str(destination).encode())
        try:
            while True:
                while (status := pull.step()) in (Status.OK, Status.FULL):
                    pull.sent(len(pull.output()))
                    drain(context)
                pull.sent(len(pull.output()))
                if status is Status.DONE:
                    return (23 if context.got_transfer_error else 0), ""
                part = next(pieces, b"")
                if not part:
                    return 12, "more input wanted"
                pull.buffer[: len(part)] = part
                status = pull.feed(len(part))
                while status is Status.FULL:
                    drain(context)
                    status = pull.feed(0)
        except PrsyncError as error:
            return int(error.code), error.text
        finally:
            drain(context)
            pull.abort()


def split(chunks: list[bytes], sizes: list[int]) -> Iterator[bytes]:
    turn = itertools.cycle(sizes)
    for chunk in chunks:
        at = 0
        while at < len(chunk):
            size = next(turn)
            yield chunk[at : at + size]
            at += size


def drain(context: Context) -> None:
    for _ in context.drain_log():
        pass
    context.drain_events()


@pytest.fixture(scope="module", params=[(30, ()), (32, ()), (32, ("--no-inc-recursive",))], ids=["30", "32", "32-one-list"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(tmp_path_factory.mktemp("recorded"), *request.param)


@pytest.mark.parametrize("sizes", [[1 << 19], [1], [2], [3], [7, 1, 64, 5], [4096]], ids=str)
def test_replay_in_any_split_gives_the_same_tree(session: Session, tmp_path: Path, sizes: list[int]) -> None:
    assert session.replay(session.chunks, sizes, tmp_path / "dst") == (0, "")
    assert stock.same_trees(session.source, tmp_path / "dst") == ""


def test_replay_with_trailing_data_still_ends(session: Session, tmp_path: Path) -> None:
    assert session.replay([*session.chunks, b"more"], [1 << 19], tmp_path / "dst") == (0, "")


def test_replay_cut_short_wants_more_and_leaves_no_temporary_files(session: Session, tmp_path: Path) -> None:
    chance = random.Random(5)
    for number in range(40):
        destination = tmp_path / str(number)
        *before, last = session.chunks[: chance.randrange(len(session.chunks)) + 1]
        chunks = [*before, last[: chance.randrange(len(last))]]
        code, _ = session.replay(chunks, [chance.choice([1 << 19, 1000])], destination)
        assert code == 12
        assert list(destination.rglob(".*.??????")) == []


def test_replay_with_mutations_ends_cleanly(session: Session, tmp_path: Path) -> None:
    chance = random.Random(7)
    for number in range(MUTATIONS):
        chunks = [bytearray(chunk) for chunk in session.chunks]
        for _ in range(chance.randrange(1, 4)):
            data = chance.choice([chunk for chunk in chunks if chunk])
            # Records are small beside the files' data: most mutations go to either end of a chunk.
            at = chance.choice([chance.randrange(len(data)), chance.randrange(min(len(data), 400)), len(data) - 1])
            kind = chance.randrange(4)
            if kind == 0:
                data[at] ^= 1 << chance.randrange(8)
            elif kind == 1:
                data[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF])
            elif kind == 2:
                del data[at : at + chance.randrange(1, 9)]
            else:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
        destination = tmp_path / "d" / str(number)
        destination.mkdir(parents=True)
        code, text = session.replay([bytes(chunk) for chunk in chunks], [1 << 19], destination)
        assert code in (0, 1, 2, 3, 4, 11, 12, 22, 23), text
        assert "\n" not in text
        assert list(destination.rglob(".*.??????")) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d"]
