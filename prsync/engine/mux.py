"""rsync's multiplex envelope where there is no pump: a reader, and frames to be sent. Wraps csrc/api/mux_api.h."""

from __future__ import annotations

from typing import Any, NamedTuple

from prsync.engine.context import Context, Status
from prsync.engine.native import ffi, lib

MSG_DATA = int(lib.PS_MSG_DATA)
MSG_ERROR = int(lib.PS_LOG_ERROR)  # codes below 9 are log codes
MSG_IO_TIMEOUT = int(lib.PS_MSG_IO_TIMEOUT)
MSG_ERROR_EXIT = int(lib.PS_MSG_ERROR_EXIT)
MSG_NOMINATE = int(lib.PS_MSG_NOMINATE)
DATA_FRAME_BYTES = int(lib.PS_MUX_OUT_FRAME)


class Piece(NamedTuple):
    """Some data (code MSG_DATA), or a whole message."""

    code: int
    data: bytes


class Demultiplexer:
    """Data and messages out of what it is fed, with the limits of every reader of the core's."""

    def __init__(self, context: Context) -> None:
        self._context = context  # must outlive the handle
        self._handle: Any = ffi.gc(lib.ps_demux_new(context.handle), lib.ps_demux_free)
        if not self._handle:
            raise MemoryError
        self._used, self._code = ffi.new("size_t *"), ffi.new("uint32_t *")
        self._found, self._length = ffi.new("const uint8_t **"), ffi.new("size_t *")
        self._bytes, self._at = b"", 0  # what was fed last, and how far that is read

    def feed(self, data: bytes) -> None:
        self._bytes, self._at = self.take_rest() + data, 0

    def next_piece(self) -> Piece | None:
        """None: more must be fed. Raises EngineError."""
        rest, length = ffi.from_buffer("uint8_t[]", self._bytes) + self._at, len(self._bytes) - self._at
        status = lib.ps_demux_next(self._handle, rest, length, self._used, self._code, self._found, self._length)
        found = None
        if self._context.check(status) is Status.OK:
            found = Piece(self._code[0], bytes(ffi.buffer(self._found[0], self._length[0])) if self._length[0] else b"")
        self._at += self._used[0]
        return found

    def take_rest(self) -> bytes:
        """What was fed and is not read."""
        rest = self._bytes[self._at :]
        self._bytes, self._at = b"", 0
        return rest

    @property
    def frame_left(self) -> int:
        """Bytes to come of a frame of data whose header has been read."""
        return int(lib.ps_demux_frame_left(self._handle))


def frame_header(code: int, length: int) -> bytes:
    head = ffi.new("uint8_t[4]")
    lib.ps_mux_head(code, length, head)
    return bytes(ffi.buffer(head))


def message_frame(code: int, data: bytes) -> bytes:
    """One frame with all of a message, which is short."""
    return frame_header(code, len(data)) + data


def data_frames(data: bytes) -> bytes:
    """Data in frames as the core makes them."""
    parts = [data[at : at + DATA_FRAME_BYTES] for at in range(0, len(data), DATA_FRAME_BYTES)]
    return b"".join(message_frame(MSG_DATA, part) for part in parts)
