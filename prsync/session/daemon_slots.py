"""`max connections`: slots in rsync's own lock file, so that rsyncd and prsyncd can share it (connection.c).

Slot i is a write lock on the 4 bytes at offset 4 × i. The kernel frees it when the process ends, however it ends; so it is
taken by the worker itself, and the descriptor stays open.
"""

from __future__ import annotations

import fcntl
import os

from prsync.privileges import open_trusted

SLOT_BYTES = 4


def claim_slot(path: str, limit: int) -> bool:
    """Takes a free slot of the module for the life of this process. limit 0: no limit, no file.

    False when all are taken (always for a negative limit). Raises OSError when the file cannot be opened.
    """
    if limit == 0:
        return True
    file = open_trusted(path, os.O_RDWR | os.O_CREAT, 0o600)
    for slot in range(limit):
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, SLOT_BYTES, slot * SLOT_BYTES)
        except OSError:
            continue
        return True
    os.close(file)
    return False
