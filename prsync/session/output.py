"""What a client says: rsync's log codes to stdout, stderr and the log file, escaped as rsync does (log.c:rwrite)."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable

from prsync.errors import ExitCode, PrsyncError
from prsync.options import Options

# rsync.h:enum logcode (api/base_api.h: PS_LOG_*)
ERROR_XFER, INFO, ERROR, WARNING, ERROR_SOCKET, LOG, CLIENT, ERROR_UTF8 = range(1, 9)
TO_STDERR = frozenset((ERROR_XFER, ERROR, WARNING, ERROR_SOCKET, ERROR_UTF8))

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f]|\\(?=#[0-9]{3})")
_CONTROL_OR_HIGH = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f-\xff]|\\(?=#[0-9]{3})")
_HIGH = re.compile(rb"[\x80-\xff]")
_LOG_FILE = re.compile(rb"[\x00-\x08\x0a-\x1f\x80-\x9f]|\\(?=#[0-9]{3})")

EXIT_NAMES = {
    ExitCode.SYNTAX: "syntax or usage error",
    ExitCode.PROTOCOL: "protocol incompatibility",
    ExitCode.FILE_SELECT: "errors selecting input/output files, dirs",
    ExitCode.UNSUPPORTED: "requested action not supported",
    ExitCode.START_CLIENT: "error starting client-server protocol",
    ExitCode.SOCKET_IO: "error in socket IO",
    ExitCode.FILE_IO: "error in file IO",
    ExitCode.STREAM_IO: "error in rsync protocol data stream",
    ExitCode.MESSAGE_IO: "errors with program diagnostics",
    ExitCode.IPC: "error in IPC code",
    ExitCode.CRASHED: "sibling process crashed",
    ExitCode.TERMINATED: "sibling process terminated abnormally",
    ExitCode.SIGNAL1: "received SIGUSR1",
    ExitCode.SIGNAL: "received SIGINT, SIGTERM, or SIGHUP",
    ExitCode.WAIT_CHILD: "waitpid() failed",
    ExitCode.MEMORY: "error allocating core memory buffers",
    ExitCode.PARTIAL: "some files/attrs were not transferred (see previous errors)",
    ExitCode.VANISHED: "some files vanished before they could be transferred",
    ExitCode.DELETE_LIMIT: "the --max-delete limit stopped deletions",
    ExitCode.TIMEOUT: "timeout in data send/receive",
    ExitCode.CONNECT_TIMEOUT: "timeout waiting for daemon connection",
}


def _octal(match: re.Match[bytes]) -> bytes:
    return b"\\#%03o" % match[0][0]


class Escaper:
    """log.c:filtered_fwrite for the user's terminal. `charset`: of the locale, or None for plain ASCII; `raw`: -8."""

    def __init__(self, charset: str | None, raw: bool = False) -> None:
        self.charset, self.raw = charset, raw

    def __call__(self, text: bytes) -> bytes:
        if self.raw or text.isascii():
            return _CONTROL.sub(_octal, text)
        if self.charset is None:
            return _HIGH.sub(_octal, _CONTROL.sub(_octal, text))
        decoded = text.decode(self.charset, "surrogateescape")
        parts = [
            b"\\#%03o" % (ord(c) - 0xDC00) if "\udc80" <= c <= "\udcff" else c.encode(self.charset, "replace") for c in decoded
        ]
        return b"".join(_CONTROL.sub(_octal, part) if len(part) == 1 else part for part in parts)


class LogFile:
    """--log-file: a line for each message, with the time and the process."""

    def __init__(self, path: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._file = os.fdopen(descriptor, "ab", buffering=0)

    def write(self, message: bytes) -> None:
        text = message[:-1] if message.endswith((b"\n", b"\r")) else message
        stamp = time.strftime("%Y/%m/%d %H:%M:%S") + f" [{os.getpid()}] "
        self._file.write(stamp.encode() + _LOG_FILE.sub(_octal, text[:2047]) + b"\n")


class Output:
    """Takes messages with rsync's log codes."""

    def __init__(
        self, options: Options, charset: str | None, write_out: Callable[[bytes], None], write_err: Callable[[bytes], None]
    ) -> None:
        self._quiet = options.quiet > 0
        self._escape = Escaper(charset, bool(options.allow_8bit_chars))
        self._out = write_err if options.msgs2stderr == 1 else write_out
        self._err = write_err
        self._log: LogFile | None = None
        self.needs_newline = False  # a progress line stands unfinished on the terminal
        self.got_transfer_error = False

    def open_log(self, path: str) -> None:
        """Without one the run goes on, as rsync's does."""
        try:
            self._log = LogFile(path)
        except OSError as error:
            self.say(ERROR, f"rsync: [client] failed to open log-file {path}: {error.strerror} ({error.errno})\n")
            self.say(INFO, 'Ignoring "log file" setting.\n')

    def say(self, code: int, text: str) -> None:
        self.message(code, text.encode("utf-8", "surrogateescape"))

    def messages(self, records: Iterable[tuple[int, bytes]]) -> None:
        for code, raw in records:
            self.message(code, raw)

    def message(self, code: int, raw: bytes) -> None:
        """One message; only its last newline is one, others are escaped."""
        if code != CLIENT and self._log is not None:
            self._log.write(raw)
        if code == LOG:
            return
        if code == ERROR_XFER:
            self.got_transfer_error = True
        if code in TO_STDERR:
            self._put(self._err, raw)
        elif not self._quiet:
            self._put(self._out, raw)

    def _put(self, write: Callable[[bytes], None], raw: bytes) -> None:
        start = end = b""
        is_progress = raw.startswith(b"\r")
        if self.needs_newline and not is_progress:
            start = b"\n"
        self.needs_newline = is_progress and not raw.endswith(b"\n")
        if raw.endswith((b"\n", b"\r")):
            raw, end = raw[:-1], raw[-1:]
        if is_progress:
            start, raw = start + b"\r", raw[1:]
        write(start + self._escape(raw) + end)

    def error(self, error: PrsyncError) -> None:
        """The one line, or lines, of what ended the run; they may be empty where the line of `ended` says it all."""
        if error.text:
            for line in error.text.splitlines():
                self.say(ERROR, line + "\n")

    def ended(self, code: ExitCode, who: str, version: str) -> None:
        """log.c:log_exit for a run that failed."""
        name = EXIT_NAMES.get(code, "unexplained error")
        kind, level = ("warning", WARNING) if code == ExitCode.VANISHED else ("error", ERROR)
        self.say(level, f"rsync {kind}: {name} (code {int(code)}) at prsync [{who}={version}]\n")
