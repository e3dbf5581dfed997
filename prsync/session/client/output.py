"""What a client says: rsync's log codes to stdout, stderr and the log file, escaped as rsync does (log.c:rwrite)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from prsync.engine.output import Escape, escape, escape_for, messages
from prsync.errors import ExitCode, PrsyncError, end_line
from prsync.options.model import Options
from prsync.privileges import open_trusted

# rsync.h:enum logcode (api/context_api.h: PS_LOG_*)
ERROR_XFER, INFO, ERROR, WARNING, ERROR_SOCKET, LOG, CLIENT, ERROR_UTF8 = range(1, 9)
TO_STDERR = frozenset((ERROR_XFER, ERROR, WARNING, ERROR_SOCKET, ERROR_UTF8))


class LogFile:
    """--log-file: a line for each message, with the time and the process."""

    def __init__(self, path: str) -> None:
        descriptor = open_trusted(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._file = os.fdopen(descriptor, "ab", buffering=0)

    def write(self, record: bytes) -> None:
        stamp = (time.strftime("%Y/%m/%d %H:%M:%S") + f" [{os.getpid()}] ").encode()
        lines = [stamp + escape(_record(text[:2047]), Escape.LOG).rstrip(b"\n") + b"\n" for text in messages(record)]
        self._file.write(b"".join(lines))


def _record(message: bytes) -> bytes:
    """One message in the form of the core's log records: line ends within it are marked (csrc/core/context.h: PS_LOG_MARK)."""
    start = b"\r" if message.startswith(b"\r") else b""
    end = b"\n" if message.endswith(b"\n") else b""
    inner = message[len(start) : len(message) - len(end)]
    return start + inner.replace(b"\n", b"\0n").replace(b"\r", b"\0r") + end


class Output:
    """Takes messages with rsync's log codes."""

    def __init__(
        self, options: Options, charset: str, write_out: Callable[[bytes], None], write_err: Callable[[bytes], None]
    ) -> None:
        self._quiet = options.quiet > 0
        self._escape = escape_for(charset, bool(options.allow_8bit_chars))
        self._out = write_err if options.msgs2stderr == 1 else write_out
        self._err = write_err
        self._log: LogFile | None = None
        self.needs_newline = False  # a line stands unfinished on the terminal
        self.got_transfer_error = False
        self.got_error = False  # something has been said on standard error

    def open_log(self, path: str) -> None:
        """Without one the run goes on, as rsync's does."""
        try:
            self._log = LogFile(path)
        except OSError as error:
            self.say(ERROR, f"rsync: [client] failed to open log-file {path}: {error.strerror} ({error.errno})\n")
            self.say(INFO, 'Ignoring "log file" setting.\n')

    def say(self, code: int, text: str) -> None:
        """One message of our own; only a newline at its end is one."""
        self.record(code, _record(text.encode("utf-8", "surrogateescape")))

    def message(self, code: int, raw: bytes) -> None:
        self.record(code, _record(raw))

    def record(self, code: int, raw: bytes) -> None:
        """Messages as the core's log has them: one after the other, line ends within them marked."""
        if code != CLIENT and self._log is not None:
            self._log.write(raw)
        if code == LOG:
            return
        if code == ERROR_XFER:
            self.got_transfer_error = True
        if code in TO_STDERR:
            self.got_error = True
            self._put(self._err, raw)
        elif not self._quiet:
            self._put(self._out, raw)

    def _put(self, write: Callable[[bytes], None], raw: bytes) -> None:
        start = b"\n" if self.needs_newline and not raw.startswith(b"\r") else b""
        self.needs_newline = raw[raw.rfind(b"\n") + 1 :].startswith(b"\r")
        write(start + escape(raw, self._escape))

    def error(self, error: PrsyncError) -> None:
        """The one line, or lines, of what ended the run; they may be empty where the line of `ended` says it all."""
        if error.text:
            for line in error.text.splitlines():
                self.say(ERROR, line + "\n")

    def ended(self, code: int, role: str) -> None:
        """The last line of a run that failed."""
        self.say(WARNING if code == ExitCode.VANISHED else ERROR, end_line(code, "prsync", role) + "\n")
