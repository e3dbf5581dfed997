"""The sender's role as a synchronous pump: spans in, spans out, "need more" (rsync's sender.c around the core's step).

The core reads the files and speaks the protocol; here its log records find their way to the client or to the daemon's log
(log.c:rwrite), and its end becomes an exit code (cleanup.c).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator

from prsync.engine.context import Status
from prsync.engine.native import lib
from prsync.engine.output import messages
from prsync.engine.sending import Send
from prsync.errors import EngineError, ExitCode

# What a stock peer takes in one message (BIGPATHBUFLEN in rsync.h, less its last byte).
MESSAGE_LIMIT = 5119
# Output is worth a write once so much has gathered, even while the core could go on.
WRITE_CHUNK = 32 * 1024
# A scan or a search may go on for minutes without output; the caller is asked back after so many of its steps.
STEPS_AT_ONCE = 256
# The connection is of no use any more, or the remote knows already (cleanup.c:_exit_cleanup).
UNANNOUNCED = frozenset({ExitCode.SOCKET_IO, ExitCode.STREAM_IO, ExitCode.SIGNAL1, ExitCode.TIMEOUT})


class Want(enum.Enum):
    """What the pump needs before it can go on."""

    INPUT = "input"  # write all output, then feed what the remote sends
    OUTPUT = "output"  # write output; then run again, without input
    NOTHING = "nothing"  # write all output: the session is over


def pieces(message: bytes) -> Iterator[bytes]:
    """Splits a message that is longer than one may be."""
    for at in range(0, len(message), MESSAGE_LIMIT):
        yield message[at : at + MESSAGE_LIMIT]


def message_code(code: int) -> int | None:
    """The message by which a log record reaches the client, None when it stays here (log.c:rwrite)."""
    if code == lib.PS_LOG_LOG:
        return None
    if code == lib.PS_LOG_CLIENT:
        return int(lib.PS_LOG_INFO)
    if code in (lib.PS_LOG_ERROR_SOCKET, lib.PS_LOG_ERROR_UTF8):
        return int(lib.PS_LOG_ERROR)
    return code


class Sender:
    """Drives one session's Send.

    `log` is called with (PS_LOG_* code, a record's text) for what belongs into this side's own log; `frame` with each frame
    of the extension. A server sends its messages to the client; elsewhere (`server` false) `log` gets all of them.
    Raises EngineError when the session cannot go on: then `abort` puts the reason in the output.
    """

    def __init__(
        self, send: Send, log: Callable[[int, bytes], None], *, server: bool = True, frame: Callable[[bytes], None] | None = None
    ) -> None:
        self._send = send
        self._context = send.context
        self._log = log
        self._frame = frame
        self._server = server

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Bytes of the remote; only after `run` wanted INPUT. They must not change before it wants INPUT again."""
        self._send.feed(data)

    def run(self) -> Want:
        """Goes on until something is wanted, or for so long that a keep-alive may be due. Raises EngineError."""
        for _ in range(STEPS_AT_ONCE):
            try:
                status = self._send.step()
            finally:
                self._hand_on()
            if status is Status.AGAIN:
                return Want.INPUT
            if status is Status.DONE:
                return Want.NOTHING
            if status is Status.FULL or len(self._send.out()) >= WRITE_CHUNK:
                break
        return Want.OUTPUT

    def output(self) -> memoryview:
        """What is to be written; valid until `run` or `message`."""
        return self._send.out()

    def wrote(self, count: int) -> None:
        self._send.sent(count)

    def message(self, code: int, data: bytes = b"") -> None:
        """Sends a multiplexed message; code 0 without data is a keep-alive."""
        self._send.message(code, data)

    def abort(self, error: EngineError) -> None:
        """Puts the reason of a failure in the output, as rsync's server does, for the client to show and to exit with."""
        if self._send.remote_exit is not None:
            return
        text = error.text.encode("utf-8", "surrogateescape") + b"\n"
        self._log(lib.PS_LOG_ERROR, text)
        if not self._server or error.code in UNANNOUNCED:
            return
        self._tell(lib.PS_LOG_ERROR, text)
        if self._context.options.protocol >= 31 and self._send.phase < 3:
            self._send.message(lib.PS_MSG_ERROR_EXIT, int(error.code).to_bytes(4, "little"))

    @property
    def exit_code(self) -> ExitCode:
        """What a session that came to its end comes to (cleanup.c): partial, vanished, delete limit, or success."""
        bits = self._context.io_error
        if bits & lib.PS_IOERR_GENERAL or self._context.got_transfer_error:
            return ExitCode.PARTIAL
        if bits & lib.PS_IOERR_VANISHED:
            return ExitCode.VANISHED
        return ExitCode.DELETE_LIMIT if bits & lib.PS_IOERR_DEL_LIMIT else ExitCode.OK

    def _tell(self, code: int, text: bytes) -> None:
        for message in messages(text):
            for piece in pieces(message):
                self._send.message(code, piece)

    def _hand_on(self) -> None:
        for code, text in self._context.drain_log():
            told = message_code(code) if self._server else None
            if told is not None:
                self._tell(told, text)
            if code != lib.PS_LOG_CLIENT or not self._server:
                self._log(code, text)
        for frame in self._send.frames():
            if self._frame is not None:
                self._frame(frame)
