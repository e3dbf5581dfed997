"""The receiving roles of a session, rsync's generator and receiver, as a synchronous pump.

The session moves bytes; this module says what to do next. Spans go in through `buffer` and `received`, come out through
`output` and `sent`; `Need` tells what the pump waits for. Log records and events are handed on in batches.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from prsync.engine.context import Context, Event, Status
from prsync.engine.native import lib
from prsync.engine.receiving import Receiving
from prsync.errors import ExitCode, StreamError

LogSink = Callable[[int, bytes], None]
"""Called with a log code (PS_LOG_*) and the text, newlines included, in order."""
EventSink = Callable[[Event], None]
"""Called with each event: `receiving.IO_TIMEOUT` (a: seconds), `receiving.FRAME` (text: a frame), and those of the generator."""


class Need(enum.Enum):
    """What the pump waits for once `run` returns."""

    INPUT = enum.auto()  # bytes of the remote; output may be there to be sent meanwhile
    OUTPUT = enum.auto()  # nothing, but output should be sent and input looked for before it goes on
    NOTHING = enum.auto()  # all is over; what is left of the output is to be sent


class Receiver:
    """Pulls from a remote sender into a destination. All methods raise EngineError when the session has failed."""

    def __init__(
        self, context: Context, destination: bytes | None, log: LogSink, event: EventSink | None = None, rules: Any = None
    ) -> None:
        self.context = context
        self.core = Receiving(context, destination, rules)
        self.buffer = self.core.buffer
        self._log = log
        self._event = event
        self._blocked = False  # input is left in the buffer
        self._ended = False  # the remote has said its last

    @property
    def ended(self) -> bool:
        """The session's goodbye is over; local work, or a swarm's, may still be under way."""
        return self._ended

    def drain(self) -> None:
        """Hands on what the core has to say. Called by the pump; needed by others only after an error."""
        for code, text in self.context.drain_log():
            self._log(code, text)
        for event in self.context.drain_events():
            if self._event:
                self._event(event)

    def received(self, count: int) -> None:
        """`count` bytes have been received into `buffer`; 0: the remote has closed the connection."""
        if count == 0:
            if not self._ended:
                self.core.abort()
                total = self.context.stats.total_read
                raise StreamError(f"connection unexpectedly closed ({total} bytes received so far) [receiver]")
            return
        self._feed(count)

    def _feed(self, count: int) -> None:
        try:
            status = self.core.feed(count)
        finally:
            self.drain()
        while status is Status.FULL:
            try:
                status = self.core.feed(0)
            finally:
                self.drain()
        self._ended = self._ended or status is Status.DONE

    def run(self) -> Need:
        """Works until it needs something, or for some milliseconds."""
        try:
            status = self.core.step()
        finally:
            self.drain()
        if status is Status.DONE:
            self._ended = True
            return Need.NOTHING
        return Need.INPUT if status is Status.AGAIN else Need.OUTPUT

    def settle(self) -> bool:
        """To be called before waiting for the remote: True when files were still being put in place, so that `run` may go on."""
        try:
            return self.core.settle() is Status.OK
        finally:
            self.drain()

    def output(self) -> memoryview:
        """Bytes to be sent, valid until the next call on this object."""
        return self.core.output()

    def sent(self, count: int) -> None:
        self.core.sent(count)

    def abort(self, code: ExitCode = ExitCode.OK) -> None:
        """An interruption, a timeout, a lost connection: ends the run, keeps nothing incomplete that was not asked for."""
        self.core.abort(code)
        self.drain()

    def exit_code(self) -> ExitCode:
        """What a run that came to its end exits with (cleanup.c:_exit_cleanup)."""
        return exit_code(self.context)


def exit_code(context: Context) -> ExitCode:
    """rsync's rule for a run that came to its end: errors weigh most, then vanished files, then stopped deletions."""
    errors = context.io_error
    if errors & lib.PS_IOERR_GENERAL or context.got_transfer_error:
        return ExitCode.PARTIAL
    if errors & lib.PS_IOERR_VANISHED:
        return ExitCode.VANISHED
    if errors & lib.PS_IOERR_DEL_LIMIT:
        return ExitCode.DELETE_LIMIT
    return ExitCode.OK
