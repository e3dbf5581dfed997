"""The receiving side of a session as a pump over bytes. Wraps csrc/api/receiving_api.h."""

from __future__ import annotations

from typing import Any

from prsync.engine.context import Context, Status
from prsync.engine.flist import Root
from prsync.engine.native import ffi, lib
from prsync.errors import EngineError, ExitCode

IO_TIMEOUT = int(lib.PS_EV_IO_TIMEOUT)
FRAME = int(lib.PS_EV_FRAME)


class Receiving:
    """Generator and receiver over one byte stream; begins behind the handshake.

    `destination` is the command line's argument, as bytes; None only lists. Raises EngineError for every failure,
    with rsync's exit code; temporary files are gone by then, or kept as --partial demands.
    """

    def __init__(self, context: Context, destination: bytes | None, rules: Any = None, module: Root | None = None) -> None:
        """`module`: of a daemon, whose client reaches nothing outside of it; the destination lies beneath."""
        self.context = context
        parts = (context, rules, module)
        handle = lib.ps_receiving_new(
            context.handle,
            ffi.NULL if rules is None else rules,
            ffi.NULL if destination is None else destination,
            len(destination or b""),
        )
        if handle == ffi.NULL:
            context.check(lib.PS_FAIL)
            raise EngineError("out of memory", ExitCode.MEMORY)
        # Freed before its parts, whatever the collector's order.
        self.handle: Any = ffi.gc(handle, lambda owned, _parts=parts: lib.ps_receiving_free(owned))
        if module is not None:
            lib.ps_receiving_confine(self.handle, module.handle)
        self._size: Any = ffi.new("size_t *")
        room = lib.ps_receiving_buffer(self.handle, self._size)
        self.buffer = memoryview(ffi.buffer(room, self._size[0]))
        """The core's receive buffer: receive into it while `feed` last answered AGAIN."""

    def imply(self, argument: bytes, skip_module: bool) -> None:
        """A source argument as it was sent: the sender may only list what it names (rsync's implied arguments)."""
        self.context.check(
            lib.ps_flist_decoder_imply(lib.ps_receiving_decoder(self.handle), argument, len(argument), skip_module)
        )

    def feed(self, count: int) -> Status:
        """`count` bytes lie at the start of `buffer`; 0 goes on after FULL."""
        return self.context.check(lib.ps_receiving_feed(self.handle, count))

    def step(self) -> Status:
        """One slice of the generator's work; OK asks for another call."""
        return self.context.check(lib.ps_receiving_step(self.handle))

    def record(self, descriptor: int) -> None:
        """Before the first input: all data of the remote goes to the descriptor too."""
        self.context.check(lib.ps_receiving_record(self.handle, descriptor))

    def write_behind(self) -> None:
        """Before the first input: small files may be put in place by threads of the core. Then `settle` before each wait."""
        lib.ps_receiving_write_behind(self.handle)

    def settle(self) -> Status:
        """Waits for the files that those threads have. AGAIN: none; OK: they are settled, `step` may have more to do."""
        return self.context.check(lib.ps_receiving_settle(self.handle))

    def output(self) -> memoryview:
        """What is to be sent; valid until the next call on this object."""
        data = lib.ps_receiving_out(self.handle, self._size)
        return memoryview(ffi.buffer(data, self._size[0])) if self._size[0] else memoryview(b"")

    def sent(self, count: int) -> None:
        lib.ps_receiving_sent(self.handle, count)

    def put(self, data: bytes) -> None:
        """Data of our own in the stream: filter rules, names of --files-from."""
        self.context.check(lib.ps_receiving_put(self.handle, data, len(data)))

    def put_plain(self, data: bytes) -> None:
        """Bytes outside of the multiplexed stream, in their place in the output: names before protocol 31."""
        self.context.check(lib.ps_receiving_put_plain(self.handle, data, len(data)))

    def put_message(self, code: int, data: bytes) -> None:
        """A message beside the data: frames of the extension."""
        self.context.check(lib.ps_receiving_put_message(self.handle, code, data, len(data)))

    def keep_alive(self) -> None:
        """Something without meaning for the remote, where the protocol has it."""
        self.context.check(lib.ps_receiving_keep_alive(self.handle))

    def abort(self, code: ExitCode = ExitCode.OK) -> None:
        """Ends the run here: nothing incomplete stays under a final name, but where --partial asks for it."""
        lib.ps_receiving_abort(self.handle, int(code))

    @property
    def lists_complete(self) -> bool:
        return bool(lib.ps_receiving_lists_complete(self.handle))

    @property
    def entries(self) -> int:
        """File list entries received so far."""
        return int(lib.ps_receiving_entries(self.handle))
