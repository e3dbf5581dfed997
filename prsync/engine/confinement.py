"""What a process gives up for good, and its tie to its parent, where the kernel knows how. Wraps csrc/core/confinement.c."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence

from prsync.engine.native import ffi, lib
from prsync.privileges import drop

UNKNOWN_TO_KERNEL = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def no_new_privileges() -> bool:
    """Programs run from now on gain no privileges. False where the kernel knows no such thing; raises OSError otherwise."""
    return _done(lib.ps_no_new_privs())


def forbid_writing() -> bool:
    """From now on nothing in the file system can be written, made or removed (Landlock). False where there is none."""
    return _done(lib.ps_landlock_read_only())


def end_with_parent(parent: int, number: int) -> bool:
    """The signal comes once the process `parent`, by whose main thread this one was forked, is gone; at once where it is gone
    already. False where the kernel knows no such thing; raises OSError otherwise."""
    tied = _done(lib.ps_set_parent_end_signal(number))
    if tied and os.getppid() != parent:
        os.kill(os.getpid(), number)
    return tied


def end_with_pipe(pipe: int, number: int) -> None:
    """The same by a thread, for other kernels: the signal comes once nobody holds the pipe's other end."""

    def watch() -> None:
        os.read(pipe, 1)
        os.kill(os.getpid(), number)

    threading.Thread(target=watch, daemon=True).start()


def drop_rights(uid: int | None, groups: Sequence[int]) -> None:
    """Becomes the user and the groups for good, and gains no privileges by programs. Raises OSError as `drop` does.

    The kernel takes back `end_with_parent` from a process whose user changes: it is asked for again."""
    number = ffi.new("int *")
    tied, parent = _done(lib.ps_parent_end_signal(number)), os.getppid()
    drop(uid, groups, no_new_privileges)
    if tied and number[0]:
        end_with_parent(parent, number[0])


def _done(failed: int) -> bool:
    if failed and failed not in UNKNOWN_TO_KERNEL:
        raise OSError(failed, os.strerror(failed))
    return not failed
