"""The sending side of a session, from the first file list to the goodbye. Wraps csrc/api/sending_api.h."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from prsync.engine.context import Context, Status
from prsync.engine.native import ffi, lib


class Handle(Protocol):
    """Whatever owns a handle of the core."""

    handle: Any


class Send:
    """Owns a ps_send: raw bytes of the socket in, raw bytes for it out. Keeps what it was made from alive.

    `lists`, `lister`, `root` and `rules` are those of prsync.engine.flist and prsync.engine.rules; the context's options are
    set and the lister knows its arguments. Every method but `out` may raise EngineError, with rsync's exit code and text.
    """

    def __init__(self, context: Context, lists: Handle, lister: Handle, root: Handle, rules: Handle | None = None) -> None:
        self.context = context
        self._parts = (context, lists, lister, root, rules)
        raw = lib.ps_send_new(
            context.handle, lists.handle, lister.handle, rules.handle if rules is not None else ffi.NULL, root.handle
        )
        if not raw:
            context.check(lib.PS_FAIL)
        # Freed before its parts, whatever the collector's order.
        self.handle: Any = ffi.gc(raw, lambda handle, _parts=self._parts: lib.ps_send_free(handle))
        self._size = ffi.new("size_t *")
        self._fed: Any = None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Bytes of the remote, only after a step has answered AGAIN; they are used in place until the next AGAIN."""
        fed = ffi.from_buffer("uint8_t[]", data)
        if lib.ps_send_feed(self.handle, fed, len(fed)) != lib.PS_OK:
            raise RuntimeError("the sender was fed before it had used up its input")
        self._fed = fed

    def step(self) -> Status:
        """Bounded work. OK: call again; AGAIN: feed it; FULL: take output, log and frames first; DONE: write the rest."""
        return self.context.check(lib.ps_send_step(self.handle))

    def out(self) -> memoryview:
        """What is to be written now; valid until the next call of another method than `sent`."""
        data = lib.ps_send_out(self.handle, self._size)
        return memoryview(ffi.buffer(data, self._size[0])) if self._size[0] else memoryview(b"")

    def sent(self, count: int) -> None:
        """So many bytes of `out` have been written."""
        lib.ps_send_sent(self.handle, count)

    def put(self, data: bytes) -> None:
        """Data of a client's own in the stream, before the lists: its filter rules."""
        self.context.check(lib.ps_send_put(self.handle, data, len(data)))

    def names_follow(self) -> None:
        """The remote sends the names of --files-from, before the lists."""
        self.context.check(lib.ps_send_names_follow(self.handle))

    def record(self, descriptor: int) -> None:
        """From now on all data goes to the descriptor too; --only-write-batch: files' data goes there alone."""
        self.context.check(lib.ps_send_record(self.handle, descriptor))

    def end_recording(self) -> None:
        self.context.check(lib.ps_send_end_recording(self.handle))

    def message(self, code: int, data: bytes = b"") -> None:
        """Puts a multiplexed message in the stream; code 0 without data is a keep-alive."""
        self.context.check(lib.ps_send_message(self.handle, code, data, len(data)))

    def frames(self) -> Iterator[bytes]:
        """Frames of the extension since the last call."""
        data = lib.ps_send_frames(self.handle, self._size)
        if not self._size[0]:
            return
        raw = bytes(ffi.buffer(data, self._size[0]))
        lib.ps_send_frames_clear(self.handle)
        at = 0
        while at < len(raw):
            length = int.from_bytes(raw[at : at + 4], "little")
            yield raw[at + 4 : at + 4 + length]
            at += 4 + length

    @property
    def remote_exit(self) -> int | None:
        """The exit code that the remote announced when it gave up."""
        code = int(lib.ps_send_remote_exit(self.handle))
        return code if code >= 0 else None

    @property
    def phase(self) -> int:
        """0 while files are first asked for, 1 in the redo, 2 after it, 3 from the statistics on."""
        return int(lib.ps_send_phase(self.handle))
