"""The pump of a pull: what it does while a list is still on its way, and how far one step goes."""

from __future__ import annotations

import os
import pathlib
import struct
from typing import Any

import pytest

from prsync.engine.context import Context, Status
from prsync.engine.native import lib
from prsync.engine.receiving import Receiving
from tests.engine.flist_tools import ARCHIVE, Sent, make_context

WHEN = 1_600_000_000
MIB = 1 << 20


def frame(data: bytes) -> bytes:
    return struct.pack("<I", 7 << 24 | len(data)) + data


def write(path: pathlib.Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (WHEN, WHEN))


def feed(pull: Receiving, data: bytes) -> None:
    pull.buffer[: len(data)] = data
    assert pull.feed(len(data)) is Status.AGAIN


def settle(pull: Receiving) -> bytes:
    """Steps until the pull waits for input; what it has to say to the sender."""
    said = b""
    while True:
        status = pull.step()
        part = pull.output()
        said += bytes(part[4:])
        pull.sent(len(part))
        if status is Status.AGAIN:
            return said


def make_pull(destination: pathlib.Path, **options: Any) -> tuple[Receiving, Context]:
    context = make_context(lib.PS_ROLE_RECEIVER, **{"max_size": -1, "min_size": -1, "max_delete": -1, **options})
    return Receiving(context, os.fsencode(destination)), context


def bytes_read() -> int:
    """By this process, from files and the like."""
    lines = pathlib.Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar:"))


class EarlySums:
    """A list with checksums, of which a pull has all but the last byte."""

    options = {**ARCHIVE, "checksum": 1, "dry_run": 1}

    def __init__(self, base: pathlib.Path) -> None:
        self.source, self.dest = base / "source", base / "dest"
        for name in ("different", "late", "same", "stale"):
            write(self.source / name, name.encode() * (MIB // len(name)))
            write(self.dest / name, (self.source / name).read_bytes())
        for name in ("different", "late"):
            self.change(name)
        for top in (self.source, self.dest):
            os.utime(top, (WHEN, WHEN))
        self.list = Sent(self.source, [b""], **self.options).first
        self.pull, self.context = make_pull(self.dest, **self.options)
        feed(self.pull, frame(self.list[:-1]))

    def change(self, name: str) -> None:
        write(self.dest / name, b"x" + (self.source / name).read_bytes()[1:])


@pytest.fixture
def early(tmp_path: pathlib.Path) -> EarlySums:
    return EarlySums(tmp_path)


def requests(*ndx: int) -> bytes:
    """As the generator writes them in a dry run: the difference to the index before, and "transfer, another checksum"."""
    return b"".join(bytes([n - before]) + b"\x02\x80" for before, n in zip((-1, *ndx), ndx, strict=False))


def test_pull_reads_files_before_their_list_is_complete(early: EarlySums) -> None:
    before = bytes_read()
    assert early.pull.step() is Status.OK
    assert bytes_read() - before >= 4 * (MIB - 10)
    assert early.pull.step() is Status.AGAIN
    before = bytes_read()
    feed(early.pull, frame(early.list[-1:]))
    assert settle(early.pull).startswith(requests(1, 2))
    assert bytes_read() - before < MIB


def test_pull_reads_files_again_that_changed_since(early: EarlySums) -> None:
    assert settle(early.pull) == b""
    write(early.dest / "late", (early.source / "late").read_bytes())
    early.change("stale")
    feed(early.pull, frame(early.list[-1:]))
    assert settle(early.pull).startswith(requests(1, 4))


def test_pull_without_destination_reads_nothing_early(tmp_path: pathlib.Path) -> None:
    options = {**ARCHIVE, "checksum": 1}
    write(tmp_path / "source" / "file", b"data")
    pull, _ = make_pull(tmp_path / "none", **options)
    feed(pull, frame(Sent(tmp_path / "source", [b""], **options).first[:-1]))
    assert pull.step() is Status.AGAIN


def test_pull_step_ends_while_lists_are_left(tmp_path: pathlib.Path) -> None:
    """rsync's sender goes on once it hears that lists are through: it must hear of the first ones before all are."""
    for top in ("source", "dest"):
        for number in range(1000):
            write(tmp_path / top / f"dir{number // 100}" / f"file{number:03}", b"data")
    options = {**ARCHIVE, "inc_recurse": 1, "omit_dir_times": 1}
    sent = Sent(tmp_path / "source", [b""], **options)
    pull, _ = make_pull(tmp_path / "dest", **options)
    feed(pull, frame(sent.first + sent.more))
    steps = 0
    while pull.step() is Status.OK:
        steps += 1
        assert steps == 1 or len(pull.output())
        pull.sent(len(pull.output()))
    assert steps >= 3
