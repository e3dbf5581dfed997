"""`max connections`: slots in rsync's own lock file, so that rsyncd and prsyncd can share it (connection.c).

Slot i is a write lock on the 4 bytes at offset 4 × i. The kernel frees it when the process ends, however it ends; so it is
taken by the worker itself, and the descriptor stays open. The slots of `max nominate connections` lie in the same file, at
offsets that no limit of rsync reaches.
"""

from __future__ import annotations

import fcntl
import os

from prsync.privileges import open_trusted

SLOT_BYTES = 4
NOMINATE_OFFSET = 1 << 40


class Slots:
    """The slots of one connection: at most one for file data, at most one as a connection without data.

    A limit of 0 is no limit (where `limit` is 0 no file is needed at all), a negative one lets nobody in. One object per
    process and file: closing any descriptor of the file would free all of the process's locks.
    """

    def __init__(self, path: str, limit: int, nominate_limit: int = 0) -> None:
        """Raises OSError when the file cannot be opened."""
        self.limit = limit
        self.nominate_limit = nominate_limit
        self.holds_data = False
        self._file = open_trusted(path, os.O_RDWR | os.O_CREAT, 0o600) if limit else -1
        self._data_at = -1

    def take(self) -> bool:
        """A slot for data. False: all are taken."""
        if not self.holds_data:
            self._data_at = self._lock(0, self.limit) if self.limit else -1
            self.holds_data = not self.limit or self._data_at >= 0
        return self.holds_data

    def release(self) -> None:
        """Gives the slot for data up; another may be taken later."""
        if self.holds_data and self._data_at >= 0:
            fcntl.lockf(self._file, fcntl.LOCK_UN, SLOT_BYTES, self._data_at)
        self.holds_data = False

    def take_nominate(self) -> bool:
        """A slot as a connection without data; it is held to the end. Unlimited where slots for data are."""
        if not self.limit or not self.nominate_limit:
            return True
        return self._lock(NOMINATE_OFFSET, self.nominate_limit) >= 0

    def _lock(self, start: int, limit: int) -> int:
        """The offset of the first free slot, now locked; -1: none is free."""
        for at in range(start, start + limit * SLOT_BYTES, SLOT_BYTES):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, SLOT_BYTES, at)
            except OSError:
                continue
            return at
        return -1
