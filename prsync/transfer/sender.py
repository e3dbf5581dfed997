"""The sender's role as a pump (transfer/pump.py), at either end: rsync's sender.c around the core's step."""

from __future__ import annotations

from collections.abc import Callable

from prsync.engine.context import Status
from prsync.engine.native import lib
from prsync.engine.sending import Send
from prsync.errors import ExitCode, PrsyncError, StreamError
from prsync.transfer.exit_code import exit_code
from prsync.transfer.messages import UNANNOUNCED, EventSink, LogSink, Records
from prsync.transfer.pump import Want
from prsync.transfer.read_ahead import ReadAhead

# Output is worth a write once so much has gathered, even while the core could go on.
WRITE_CHUNK = 32 * 1024
# A scan or a search may go on for minutes without output; the caller is asked back after so many of its steps.
STEPS_AT_ONCE = 256


class Sender:
    """Drives one session's Send. `log` gets what belongs into this side's own log or output; `frame` each frame of the
    extension; `event` what the remote says of its timeout."""

    def __init__(
        self,
        send: Send,
        log: LogSink,
        *,
        frame: Callable[[bytes], None] | None = None,
        event: EventSink | None = None,
    ) -> None:
        self._send = self.core = send
        self._context = send.context
        self._records = Records(send.context, send.message, log)
        self._frame = frame
        self._event = event
        self._input = ReadAhead()
        self._over = False

    @property
    def ended(self) -> bool:
        return self._over

    def room(self) -> memoryview | None:
        return None if self._over else self._input.room()

    def received(self, count: int) -> None:
        self._input.received(count)

    def run(self) -> Want:
        """Goes on until something is wanted, or for so long that a keep-alive may be due."""
        for _ in range(STEPS_AT_ONCE):
            try:
                status = self._send.step()
            finally:
                self.drain()
            if status is Status.AGAIN:
                if not self._take_input():
                    return Want.INPUT
            elif status is Status.DONE:
                self._over = True
                return Want.NOTHING
            elif status is Status.FULL:
                break
            if len(self._send.out()) >= WRITE_CHUNK:
                break
        return Want.OUTPUT

    def _take_input(self) -> bool:
        """Gives the core what has been received; it has used up what it had."""
        data = self._input.take()
        if data is not None:
            self._send.feed(data)
            return True
        if self._input.closed:
            total = self._context.stats.total_read
            raise StreamError(f"connection unexpectedly closed ({total} bytes received so far) [sender]")
        return False

    def settle(self) -> bool:
        return False

    def output(self) -> memoryview:
        return self._send.out()

    def sent(self, count: int) -> None:
        self._send.sent(count)

    def message(self, code: int, data: bytes) -> None:
        """Puts a multiplexed message in the output: frames of the extension, a daemon's timeout."""
        self._send.message(code, data)

    def keep_alive(self) -> None:
        self._send.message(lib.PS_MSG_DATA)

    def drain(self) -> None:
        self._records.hand_on()
        for frame in self._send.frames():
            if self._frame is not None:
                self._frame(frame)
        for event in self._context.drain_events():
            if self._event is not None:
                self._event(event)

    def abort(self, failure: PrsyncError | None) -> None:
        self.drain()
        told = self._send.remote_exit is not None
        if failure is not None:
            self._records.last_words(failure, told)
        code = ExitCode.SIGNAL if failure is None else failure.code
        if not told and code not in UNANNOUNCED and self._context.options.protocol >= 31 and self._send.phase < 3:
            self._send.message(lib.PS_MSG_ERROR_EXIT, int(code).to_bytes(4, "little"))

    def exit_code(self) -> ExitCode:
        return exit_code(self._context)
