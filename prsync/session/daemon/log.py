"""The daemon's log: rsync's lines, in a file or by syslog."""

from __future__ import annotations

import os
import syslog
import time

from prsync.engine.output import Escape, escape
from prsync.privileges import open_trusted

FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class DaemonLog:
    """Writes `YYYY/MM/DD HH:MM:SS [pid] text` to a file, or the text to syslog. One object per process; lines are atomic."""

    def __init__(self, path: str, tag: str, facility: int) -> None:
        """path "": syslog. A file that cannot be opened: syslog too, as rsync does, and a line that says so."""
        self.path = path
        self.tag = tag
        self.facility = facility
        self.file = -1
        self._open()

    def _open(self) -> None:
        time.localtime()  # the time zone is read now: a chroot has none
        failed: OSError | None = None
        if self.path:
            try:
                self.file = open_trusted(self.path, FLAGS, 0o644)
                return
            except OSError as error:
                failed = error
        syslog.openlog(self.tag, syslog.LOG_PID | syslog.LOG_NDELAY, self.facility)
        if failed:
            self.line(f'failed to open log-file {self.path}: {failed.strerror}: ignoring the "log file" setting', warning=True)

    def reopen(self) -> None:
        """After a rotation: the file of that name now. The old one stays in use where the new one cannot be opened."""
        if self.file >= 0:
            old, self.file = self.file, -1
            self._open()
            os.close(old)

    def is_like(self, path: str, tag: str, facility: int) -> bool:
        return (path, tag, facility) == (self.path, self.tag, self.facility)

    def close(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def line(self, text: str | bytes, warning: bool = False) -> None:
        """One line, without its newline. A log that cannot be written must not end a transfer: failures are ignored."""
        raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        if self.file < 0:
            safe = _one_line(raw).decode("utf-8", "replace")
            syslog.syslog(syslog.LOG_WARNING if warning else syslog.LOG_INFO, safe)
            return
        now = time.localtime()
        stamp = b"%04d/%02d/%02d %02d:%02d:%02d [%d] " % (*now[:6], os.getpid())
        try:
            os.write(self.file, stamp + _one_line(raw) + b"\n")
        except OSError:
            return

    def failure(self, text: str, error: OSError) -> None:
        """A failed system call, in the form of rsync's rsyserr."""
        self.line(f"rsync: [server] {text}: {os.strerror(error.errno or 0)} ({error.errno})", warning=True)


def _one_line(raw: bytes) -> bytes:
    """Control characters as \\#ooo, line ends too: no name may begin a line of its own."""
    return escape(raw, Escape.LOG).replace(b"\n", b"\\#012").replace(b"\r", b"\\#015")
