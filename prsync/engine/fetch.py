"""The fetcher's side of sources in the core: shared memory, records, a peer connection. Wraps csrc/api/fetch_api.h."""

from __future__ import annotations

from typing import Any

from prsync.engine.context import Context, Status
from prsync.engine.native import ffi, lib
from prsync.engine.serve import split_frames

SLOT_BYTES = 256 << 10
SLOTS = 32


class Memory:
    """Slots of shared memory that sources fill, and the records that describe what lies where."""

    def __init__(self, buffer: Any, slot_size: int = SLOT_BYTES) -> None:
        """buffer: writable, a whole number of slots."""
        self._buffer = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        self.handle: Any = ffi.gc(
            lib.ps_fetch_memory_new(self._buffer, slot_size, len(self._buffer) // slot_size), lib.ps_fetch_memory_free
        )

    def take_records(self) -> bytes:
        count = ffi.new("uint32_t *")
        data = lib.ps_fetch_memory_records(self.handle, count)
        if not count[0]:
            return b""
        records = bytes(ffi.buffer(data, count[0] * lib.PS_RECORD_BYTES))
        lib.ps_fetch_memory_taken(self.handle)
        return records

    def consumed(self, records: int) -> None:
        """The main process is through with the oldest `records` records."""
        if lib.ps_fetch_memory_consumed(self.handle, records) != lib.PS_OK:
            raise ValueError("more records were given back than were handed out")

    @property
    def free_slots(self) -> int:
        return int(lib.ps_fetch_memory_free_slots(self.handle))


class PeerFetch:
    """One peer connection of the fetcher, after its handshake: bytes in, bytes out, data into shared memory."""

    def __init__(self, context: Context, memory: Memory) -> None:
        self.context = context
        self._memory = memory
        self._handle: Any = ffi.gc(lib.ps_fetch_new(context.handle, memory.handle), lib.ps_fetch_free)
        self._size: Any = ffi.new("size_t *")
        self._input: Any = None

    def close(self) -> None:
        """Gives the slot in use back; nothing more may be called."""
        ffi.release(self._handle)

    def request(self, request: int, count: int, entries: bytes) -> None:
        self.context.check(lib.ps_fetch_request(self._handle, request, entries, len(entries), count))

    def cancel(self, request: int) -> None:
        lib.ps_fetch_cancel(self._handle, request)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Only after a step that answered AGAIN; the data stay as they are until the next such answer."""
        self._input = ffi.from_buffer("uint8_t[]", data)
        self.context.check(lib.ps_fetch_feed(self._handle, self._input, len(self._input)))

    def room(self) -> Any:
        """A writable buffer in shared memory for the next bytes of the remote; None: no slot is free. Only after a step that
        answered AGAIN, and followed by `placed`."""
        data = lib.ps_fetch_room(self._handle, self._size)
        return None if data == ffi.NULL else ffi.buffer(data, self._size[0])

    def placed(self, count: int) -> None:
        """Feeds the `count` bytes that lie in `room` now."""
        self.context.check(lib.ps_fetch_placed(self._handle, count))

    def step(self) -> Status:
        """AGAIN: needs input. FULL: no slot is free, or frames are to be taken. DONE: the remote said bye."""
        return self.context.check(lib.ps_fetch_step(self._handle))

    def output(self) -> memoryview:
        data = lib.ps_fetch_out(self._handle, self._size)
        return memoryview(ffi.buffer(data, self._size[0])) if self._size[0] else memoryview(b"")

    def sent(self, count: int) -> None:
        lib.ps_fetch_sent(self._handle, count)

    def put_frame(self, frame: bytes) -> None:
        self.context.check(lib.ps_fetch_put_frame(self._handle, frame, len(frame)))

    def take_frames(self) -> list[bytes]:
        data = lib.ps_fetch_frames(self._handle, self._size)
        frames = split_frames(bytes(ffi.buffer(data, self._size[0]))) if self._size[0] else []
        lib.ps_fetch_frames_clear(self._handle)
        return frames

    @property
    def open_requests(self) -> int:
        return int(lib.ps_fetch_open_requests(self._handle))


class RsyncdFetch:
    """One session with a stock rsyncd, after its handshake; the context holds what was negotiated.

    append: ranges of the one file that the session lists; else files by --files-from, each from its first range to its end.
    """

    def __init__(self, context: Context, memory: Memory, request: int, count: int, entries: bytes, append: bool) -> None:
        self.context = context
        self._memory = memory
        handle = lib.ps_rsyncd_new(context.handle, memory.handle, request, entries, len(entries), count, append)
        if handle == ffi.NULL:
            raise ValueError("a request that cannot be read")
        self._handle: Any = ffi.gc(handle, lib.ps_rsyncd_free)
        self._size: Any = ffi.new("size_t *")
        self._input: Any = None

    def close(self) -> None:
        """Gives the slot in use back; nothing more may be called."""
        ffi.release(self._handle)

    def add(self, request: int, count: int, entries: bytes) -> None:
        """Another request for files by --files-from, before the first step."""
        if not lib.ps_rsyncd_add(self._handle, request, entries, len(entries), count):
            raise ValueError("a request that cannot be read")

    def part(self, first: int, last: bool) -> None:
        """The session serves a part of the request that begins with entry `first`; whether it is the last."""
        lib.ps_rsyncd_part(self._handle, first, last)

    def shrink(self, end: int) -> None:
        """Nothing from offset `end` of the file on is wanted any more."""
        lib.ps_rsyncd_shrink(self._handle, end)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Only after a step that answered AGAIN; the data stay as they are until the next such answer."""
        self._input = ffi.from_buffer("uint8_t[]", data)
        self.context.check(lib.ps_rsyncd_feed(self._handle, self._input, len(self._input)))

    def step(self) -> Status:
        """AGAIN: needs input. FULL: no slot is free. DONE: all has come or is missing."""
        return self.context.check(lib.ps_rsyncd_step(self._handle))

    def output(self) -> bytes:
        data = lib.ps_rsyncd_out(self._handle, self._size)
        return bytes(ffi.buffer(data, self._size[0])) if self._size[0] else b""

    def sent(self, count: int) -> None:
        lib.ps_rsyncd_sent(self._handle, count)
