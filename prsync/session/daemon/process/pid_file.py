"""The pid file: locked while the daemon lives, removed when it ends (clientserver.c:create_pid_file)."""

from __future__ import annotations

import fcntl
import os
import stat

from prsync.errors import FileError

LOCKED_BYTES = 4  # the range that rsyncd locks: neither starts where the other runs


class PidFile:
    """`path` "": there is none, and all methods do nothing."""

    def __init__(self, path: str) -> None:
        self.path = path and os.path.abspath(path)
        self.file = -1
        self.owner = 0

    def create(self) -> None:
        """Writes our pid. Raises FileError when another daemon holds the file, or it cannot be written."""
        if not self.path:
            return
        try:
            if not stat.S_ISREG(self._mode()):
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._failed("unlink", error) from error
        try:
            self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o664)
        except OSError as error:
            raise self._failed("create", error) from error
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, LOCKED_BYTES, 0)
        except OSError as error:
            raise self._failed("lock", error) from error
        try:
            os.ftruncate(self.file, 0)
            os.write(self.file, b"%d\n" % os.getpid())
        except OSError as error:
            raise self._failed("write", error) from error
        self.owner = os.getpid()

    def remove(self) -> None:
        """Only by the process that made it: a worker that ends must not."""
        if self.owner == os.getpid():
            self.owner = 0
            try:
                os.unlink(self.path)
            except OSError:
                return

    def _mode(self) -> int:
        return os.lstat(self.path).st_mode

    def _failed(self, what: str, error: OSError) -> FileError:
        hint = " (is another daemon running?)" if what == "lock" else ""
        return FileError(f"failed to {what} pid file {self.path}: {error.strerror}{hint}")
