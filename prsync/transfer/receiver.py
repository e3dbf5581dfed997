"""The receiving roles of a session, rsync's generator and receiver, as one pump (transfer/pump.py), at either end."""

from __future__ import annotations

from typing import Any

from prsync.engine.context import Context, Status
from prsync.engine.flist import Root
from prsync.engine.receiving import Receiving
from prsync.errors import ExitCode, PrsyncError, StreamError
from prsync.transfer.exit_code import exit_code
from prsync.transfer.messages import EventSink, LogSink, Records
from prsync.transfer.pump import Want

# A server's words to a client that does not read are bounded: then it takes nothing more from it.
OUTPUT_LIMIT = 4 << 20


class Receiver:
    """Takes files from a remote sender into a destination. `log` gets what belongs into this side's own log or output."""

    def __init__(
        self,
        context: Context,
        destination: bytes | None,
        log: LogSink,
        event: EventSink | None = None,
        rules: Any = None,
        module: Root | None = None,
    ) -> None:
        self.context = context
        self.core = Receiving(context, destination, rules, module)
        self.buffer = self.core.buffer
        self._records = Records(context, self.core.put_message, log)
        self._event = event
        self._ended = False

    @property
    def ended(self) -> bool:
        """The session's goodbye is over; local work, or a swarm's, may still be under way."""
        return self._ended

    def drain(self) -> None:
        self._records.hand_on()
        for event in self.context.drain_events():
            if self._event:
                self._event(event)

    def room(self) -> memoryview | None:
        if self._ended or (self.context.options.am_server and len(self.core.output()) >= OUTPUT_LIMIT):
            return None
        return self.buffer

    def received(self, count: int) -> None:
        if count == 0:
            if not self._ended:
                self.core.abort()
                total = self.context.stats.total_read
                raise StreamError(f"connection unexpectedly closed ({total} bytes received so far) [receiver]")
            return
        status = self._feed(count)
        while status is Status.FULL:
            status = self._feed(0)
        self._ended = self._ended or status is Status.DONE

    def _feed(self, count: int) -> Status:
        try:
            return self.core.feed(count)
        finally:
            self.drain()

    def run(self) -> Want:
        try:
            status = self.core.step()
        finally:
            self.drain()
        if status is Status.DONE:
            self._ended = True
            return Want.NOTHING
        return Want.INPUT if status is Status.AGAIN else Want.OUTPUT

    def settle(self) -> bool:
        try:
            return self.core.settle() is Status.OK
        finally:
            self.drain()

    def output(self) -> memoryview:
        return self.core.output()

    def sent(self, count: int) -> None:
        self.core.sent(count)

    def message(self, code: int, data: bytes) -> None:
        """Puts a multiplexed message in the output: a daemon's timeout."""
        self.core.put_message(code, data)

    def keep_alive(self) -> None:
        self.core.keep_alive()

    def abort(self, failure: PrsyncError | None) -> None:
        told = failure is not None and failure.told
        if failure is not None:
            self._records.last_words(failure, told)
        code = ExitCode.SIGNAL if failure is None else failure.code
        self.core.abort(ExitCode.OK if told else code)
        self.drain()

    def exit_code(self) -> ExitCode:
        return exit_code(self.context)
