"""The multiplexed stream while a worker still reads it by itself: filter list, names of --files-from; and messages to the client.

What is read ahead goes on to the sender's pump: `rest` is a valid stream again.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

from prsync.engine.native import lib
from prsync.errors import StreamError
from prsync.protocol.filter_list import FilterListDecoder
from prsync.protocol.limits import FRAME_BYTES

MSG_DATA: Final[int] = lib.PS_MSG_DATA
MSG_ERROR: Final[int] = lib.PS_LOG_ERROR  # codes below 9 are log codes
MSG_IO_TIMEOUT: Final[int] = lib.PS_MSG_IO_TIMEOUT
MSG_ERROR_EXIT: Final[int] = lib.PS_MSG_ERROR_EXIT
MSG_NOMINATE: Final[int] = lib.PS_MSG_NOMINATE
MPLEX_BASE: Final[int] = lib.PS_MUX_BASE
PLAIN_BYTES = 16 * 1024  # taken at once from a stream that is all data
FRAMES_HELD = 16  # of the extension, before the transfer
NAME_LIMIT = 4095  # bytes of one name of --files-from; longer ones are cut, as rsync does


def frame(code: int, data: bytes) -> bytes:
    return struct.pack("<I", (MPLEX_BASE + code) << 24 | len(data)) + data


class Text(Protocol):
    """What is below: a worker's TextStream, or Words of a channel."""

    def exactly(self, count: int) -> bytes: ...
    def some(self, most: int) -> bytes: ...
    def word(self, limit: int) -> bytes: ...
    def take_rest(self) -> bytes: ...


class MuxInput:
    """Data bytes out of the multiplexed stream. `frames` collects those of the extension; that the client ends the run, which
    overtakes its data, is kept for the role; other messages are dropped: nothing that a client may say here matters before the
    transfer. `plain`: a client of old, whose stream is all data."""

    def __init__(self, text: Text, plain: bool = False) -> None:
        self.text = text
        self.plain = plain
        self.left = 0  # data bytes of the frame at hand
        self.ready = bytearray()
        self.ends = b""  # what says so
        self.frames: list[bytes] = []

    def rest(self) -> bytes:
        """What was received and not used, as a stream that begins with a frame's header."""
        if self.plain:
            return bytes(self.ready) + self.text.take_rest()
        ready = frame(MSG_DATA, bytes(self.ready)) if self.ready else b""
        head = struct.pack("<I", MPLEX_BASE << 24 | self.left) if self.left else b""
        return self.ends + ready + head + self.text.take_rest()

    def exactly(self, count: int) -> bytes:
        while len(self.ready) < count:
            self._more()
        data = bytes(self.ready[:count])
        del self.ready[:count]
        return data

    def until_nul(self) -> bytes:
        """Bytes before the next NUL. However long the name, what is kept of it is bounded."""
        name = b""
        while True:
            if not self.ready:
                self._more()
            at = self.ready.find(b"\0")
            piece = bytes(self.ready[:at] if at >= 0 else self.ready)
            name += piece[: NAME_LIMIT - len(name)]
            del self.ready[: at + 1 if at >= 0 else len(self.ready)]
            if at >= 0:
                return name

    def until_nul_raw(self) -> bytes:
        """The same, where names are not multiplexed (protocol 30); no frame may be half read."""
        if self.left or self.ready:
            raise StreamError("the client's names begin within a frame")
        return self.text.word(NAME_LIMIT)

    def take(self) -> bytes:
        """Some bytes, at least one."""
        if not self.ready:
            self._more()
        data = bytes(self.ready)
        self.ready.clear()
        return data

    def _more(self) -> None:
        if self.plain:
            self.ready += self.text.some(PLAIN_BYTES)
            return
        while not self.left:
            word = struct.unpack("<I", self.text.exactly(4))[0]
            code, size = (word >> 24) - MPLEX_BASE, word & 0xFFFFFF
            if code == MSG_DATA:
                self.left = size
            elif code < 0:
                raise StreamError(f"unexpected tag {code} from the client")
            else:
                data = self.text.exactly(size)
                if code == MSG_ERROR_EXIT:
                    self.ends = frame(code, data)
                elif code == MSG_NOMINATE:
                    if size > FRAME_BYTES or len(self.frames) == FRAMES_HELD:
                        raise StreamError("the client sends more frames than are answered before the transfer")
                    self.frames.append(data)
        data = self.text.some(self.left)
        self.ready += data
        self.left -= len(data)


def read_filter_list(source: MuxInput) -> list[bytes]:
    """The rules of a client's filter list. Raises StreamError."""
    decoder = FilterListDecoder()
    while (rest := decoder.feed(source.take())) is None:
        pass
    source.ready += rest
    return decoder.texts
