"""The multiplexed stream while a worker still reads it by itself: filter list, names of --files-from.

What is read ahead goes on to the role's pump: `rest` is a valid stream again.
"""

from __future__ import annotations

from typing import Protocol

from prsync.engine.context import Context
from prsync.engine.mux import MSG_DATA, MSG_ERROR_EXIT, MSG_NOMINATE, Demultiplexer, data_frames, frame_header, message_frame
from prsync.errors import StreamError
from prsync.protocol.filter_list import FilterListDecoder

RECEIVE_BYTES = 16 * 1024
FRAMES_HELD = 16  # of the extension, before the transfer
NAME_LIMIT = 4095  # bytes of one name of --files-from; longer ones are cut, as rsync does


class Text(Protocol):
    """What is below: a worker's TextStream, or Words of a channel."""

    def some(self, most: int) -> bytes: ...
    def word(self, limit: int) -> bytes: ...
    def give_back(self, data: bytes) -> None: ...
    def take_rest(self) -> bytes: ...


class MuxInput:
    """Data bytes out of the multiplexed stream. `frames` collects those of the extension; that the client ends the run, which
    overtakes its data, is kept for the role; other messages are dropped: nothing that a client may say here matters before the
    transfer. `plain`: by the context, a client of old, whose stream is all data."""

    def __init__(self, text: Text, context: Context) -> None:
        self.text = text
        self.plain = context.input_is_plain
        self._demux = Demultiplexer(context)
        self.ready = bytearray()
        self.ends = b""  # what says so
        self.frames: list[bytes] = []

    def rest(self) -> bytes:
        """What was received and not used, as a stream that begins with a frame's header."""
        unread = self._demux.take_rest() + self.text.take_rest()
        if self.plain:
            return bytes(self.ready) + unread
        left = self._demux.frame_left
        return self.ends + data_frames(bytes(self.ready)) + (frame_header(MSG_DATA, left) if left else b"") + unread

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
        if self._demux.frame_left or self.ready:
            raise StreamError("the client's names begin within a frame")
        self.text.give_back(self._demux.take_rest())
        return self.text.word(NAME_LIMIT)

    def take(self) -> bytes:
        """Some bytes, at least one."""
        if not self.ready:
            self._more()
        data = bytes(self.ready)
        self.ready.clear()
        return data

    def _more(self) -> None:
        while True:
            piece = self._demux.next_piece()
            if piece is None:
                self._demux.feed(self.text.some(RECEIVE_BYTES))
            elif piece.code == MSG_DATA:
                self.ready += piece.data
                return
            elif piece.code == MSG_ERROR_EXIT:
                self.ends = message_frame(*piece)
            elif piece.code == MSG_NOMINATE:
                if len(self.frames) == FRAMES_HELD:
                    raise StreamError("the client sends more frames than are answered before the transfer")
                self.frames.append(piece.data)


def read_filter_list(source: MuxInput) -> list[bytes]:
    """The rules of a client's filter list. Raises StreamError."""
    decoder = FilterListDecoder()
    while (rest := decoder.feed(source.take())) is None:
        pass
    source.ready += rest
    return decoder.texts
