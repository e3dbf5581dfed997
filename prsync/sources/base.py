"""What every source offers the fetcher: one contract, whatever the protocol (design: sources)."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple, Protocol

from prsync.errors import PrsyncError, StartError
from prsync.net.connect import Route
from prsync.sources.addresses import SourceURL


class SourceRefused(StartError):
    """The source cannot be used in this run: another try would end the same way."""


class Entry(NamedTuple):
    """One range of a file. digest: of the whole file; offset and length: bytes."""

    path: bytes
    size: int
    mtime: int
    digest: bytes
    offset: int
    length: int


class SourceSettings(NamedTuple):
    """What a source is told of the run. origin: the origin's address, by which nominated addresses are judged."""

    url: SourceURL
    route: Route
    origin_address: str
    is_origin: bool = False
    connect_seconds: float = 10.0


Flush = Callable[[], Awaitable[None]]
"""Hands the records made so far to the main process."""
SlotFree = Callable[[], Awaitable[None]]
"""Returns once a slot of the shared memory may be free again."""


class Source(Protocol):
    """One source, owned by one task of the fetcher. Data go into shared memory, with records (csrc/api/fetch_api.h)."""

    async def run(self, opened: Callable[[], None]) -> None:
        """Connects, calls `opened`, serves requests until the connection ends.

        Raises SourceRefused, or another PrsyncError with the reason why it ended.
        """

    def request(self, request: int, count: int, entries: bytes) -> None:
        """Asks for entries (as Swarm.open_bundle gives them). Every request ends with a DONE or BUSY record unless the run of the
        source ends first."""

    def shrink(self, request: int, end: int) -> None:
        """Bytes of the file from offset `end` on are not wanted any more: a source that can stop early does."""

    def cancel(self, request: int) -> None:
        """No records of the request are wanted any more."""


REASON_CHARACTERS = 200
ENTRY_TAIL = struct.Struct("<Qq32sQQ")


def decode_entries(data: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "little")
        path = data[at + 2 : at + 2 + length]
        size, mtime, digest, offset, count = ENTRY_TAIL.unpack_from(data, at + 2 + length)
        yield Entry(path, size, mtime, digest, offset, count)
        at += 2 + length + ENTRY_TAIL.size


def encode_entry(entry: Entry) -> bytes:
    tail = ENTRY_TAIL.pack(entry.size, entry.mtime, entry.digest, entry.offset, entry.length)
    return len(entry.path).to_bytes(2, "little") + entry.path + tail


def below(entries: bytes, prefix: str) -> bytes:
    """The same entries with paths that begin with `prefix`, for a mirror whose tree lies below its module's root."""
    if not prefix:
        return entries
    start = prefix.encode("utf-8", "surrogateescape") + b"/"
    return b"".join(encode_entry(entry._replace(path=start + entry.path)) for entry in decode_entries(entries))


def reason_of(error: BaseException) -> str:
    """One line for warnings and statistics; parts of it may be a stranger's words."""
    text = error.text if isinstance(error, PrsyncError) else f"{type(error).__name__}: {error}"
    line = text.splitlines()[0] if text else type(error).__name__
    return line if len(line) <= REASON_CHARACTERS else line[: REASON_CHARACTERS - 1] + "…"
