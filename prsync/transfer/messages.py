"""Where a role's log records go (log.c:rwrite), and its last words (cleanup.c): the same for all roles.

A server tells its client in messages and keeps what is for its own log; at the client's end all of them are for its output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prsync.engine.context import Context, Event
from prsync.engine.native import lib
from prsync.engine.output import messages
from prsync.errors import ExitCode, PrsyncError

LogSink = Callable[[int, bytes], None]
"""Called with a log code (PS_LOG_*) and the text, newlines included, in order."""
EventSink = Callable[[Event], None]
"""Called with each event: `receiving.IO_TIMEOUT` (a: seconds), `receiving.FRAME` (text: a frame), and those of the generator."""

# What a stock peer takes in one message (BIGPATHBUFLEN in rsync.h, less its last byte).
MESSAGE_LIMIT = 5119
# The connection is of no use any more, or the remote knows already (cleanup.c:_exit_cleanup).
UNANNOUNCED = frozenset({ExitCode.SOCKET_IO, ExitCode.STREAM_IO, ExitCode.SIGNAL1, ExitCode.TIMEOUT})


def pieces(message: bytes) -> Iterator[bytes]:
    """Splits a message that is longer than one may be."""
    for at in range(0, len(message), MESSAGE_LIMIT):
        yield message[at : at + MESSAGE_LIMIT]


# Before protocol 30 a client knows two kinds of messages only.
OLD_CODES = {lib.PS_LOG_ERROR: lib.PS_LOG_ERROR_XFER, lib.PS_LOG_WARNING: lib.PS_LOG_INFO}


def message_code(code: int, protocol: int) -> int:
    """The message by which a log record reaches the client (log.c:rwrite); those for the log alone do not."""
    if code == lib.PS_LOG_CLIENT:
        code = lib.PS_LOG_INFO
    elif code in (lib.PS_LOG_ERROR_SOCKET, lib.PS_LOG_ERROR_UTF8):
        code = lib.PS_LOG_ERROR
    return int(OLD_CODES.get(code, code) if protocol < 30 else code)


class Records:
    """Hands on what the context's log holds. `put`: puts a message in the role's output; `log`: this side's own log, or at a
    client's end its output. Whether this is a server is the context's am_server."""

    def __init__(self, context: Context, put: Callable[[int, bytes], None], log: LogSink) -> None:
        self._context = context
        self._put = put
        self._log = log

    def hand_on(self) -> None:
        for code, text in self._context.drain_log():
            if not self._context.options.am_server:
                self._log(code, text)
                continue
            if code != lib.PS_LOG_LOG:
                self._tell(code, text)
            if code != lib.PS_LOG_CLIENT:
                self._log(code, text)

    def last_words(self, failure: PrsyncError, told: bool) -> None:
        """A server's reason for its end; `told`: it is the remote that has ended the run, and knows why."""
        if told or not self._context.options.am_server:
            return
        text = failure.text.encode("utf-8", "surrogateescape") + b"\n"
        self._log(lib.PS_LOG_ERROR, text)
        if failure.code not in UNANNOUNCED:
            self._tell(lib.PS_LOG_ERROR, text)

    def _tell(self, code: int, text: bytes) -> None:
        code = message_code(code, self._context.options.protocol)
        for message in messages(text):
            for piece in pieces(message):
                self._put(code, piece)
