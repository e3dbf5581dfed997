"""What a process gives up for good, where the kernel knows how. Wraps csrc/core/confinement.c."""

from __future__ import annotations

import errno
import os

from prsync.engine.native import lib

UNKNOWN_TO_KERNEL = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def no_new_privileges() -> bool:
    """Programs run from now on gain no privileges. False where the kernel knows no such thing; raises OSError otherwise."""
    return _done(lib.ps_no_new_privs())


def forbid_writing() -> bool:
    """From now on nothing in the file system can be written, made or removed (Landlock). False where there is none."""
    return _done(lib.ps_landlock_read_only())


def _done(failed: int) -> bool:
    if failed and failed not in UNKNOWN_TO_KERNEL:
        raise OSError(failed, os.strerror(failed))
    return not failed
