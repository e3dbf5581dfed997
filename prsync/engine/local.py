"""What both sides of a local copy share. Wraps csrc/api/local_api.h."""

from __future__ import annotations

from typing import Any

from prsync.engine.context import Status
from prsync.engine.native import ffi, lib
from prsync.engine.receiving import Receiving
from prsync.engine.sending import Send
from prsync.errors import EngineError, ExitCode


class Local:
    """The streams between a Send and a Receiving, each driven by a thread of its own. `hand_over`: large files that need no delta
    are copied by the receiver itself; `bandwidth`: bytes a second that pass at most, 0 no limit."""

    def __init__(self, send: Send, core: Receiving, hand_over: bool, bandwidth: int = 0) -> None:
        handle = lib.ps_local_new(bandwidth)
        if not handle:
            raise EngineError("out of memory", ExitCode.MEMORY)
        self.handle: Any = ffi.gc(handle, lib.ps_local_free)
        self._send, self._core = send, core
        if hand_over:
            lib.ps_send_hands_over(send.handle, self.handle)
        lib.ps_receiving_takes_over(core.handle, self.handle)

    def drive_sender(self) -> Status:
        """Works and waits. OK: drain, then call again; DONE; AGAIN: the receiver has ended too early."""
        return self._send.context.check(lib.ps_send_drive(self._send.handle, self.handle))

    def drive_receiver(self) -> Status:
        """The same; it comes back every now and then, for signals."""
        return self._core.context.check(lib.ps_receiving_drive(self._core.handle, self.handle))

    def last_words(self) -> None:
        """What the receiver still has to say after a failure."""
        lib.ps_receiving_last_words(self._core.handle, self.handle)

    def sender_ended(self) -> None:
        lib.ps_local_sender_ended(self.handle)

    def receiver_ended(self) -> None:
        lib.ps_local_receiver_ended(self.handle)
