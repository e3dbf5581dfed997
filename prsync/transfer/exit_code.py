"""How the exit code of a run that came to its end is chosen (cleanup.c:_exit_cleanup): the same for all roles."""

from __future__ import annotations

from prsync.engine.context import Context
from prsync.engine.native import lib
from prsync.errors import ExitCode


def exit_code(context: Context) -> ExitCode:
    """rsync's rule for a run that came to its end: errors weigh most, then vanished files, then stopped deletions."""
    errors = context.io_error
    if errors & lib.PS_IOERR_GENERAL or context.got_transfer_error:
        return ExitCode.PARTIAL
    if errors & lib.PS_IOERR_VANISHED:
        return ExitCode.VANISHED
    if errors & lib.PS_IOERR_DEL_LIMIT:
        return ExitCode.DELETE_LIMIT
    return ExitCode.OK
