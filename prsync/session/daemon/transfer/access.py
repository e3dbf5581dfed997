"""What a client may do in a module: whether a pull may read and a push may write there (clientserver.c, main.c:do_server_recv).

Where within the module it may, its site says: `site.py` keeps paths beneath it and its rules hide names; the core holds both for
every name that it is sent (csrc/fs/option_paths.c, csrc/filelist/decode.c).
"""

from __future__ import annotations

from prsync.errors import ExitCode, PrsyncError
from prsync.options.model import Options
from prsync.session.daemon.connection import Entered


def access_refused(entered: Entered, options: Options) -> PrsyncError | None:
    """What the client is to be told instead of getting it; None: it may."""
    values = entered.module.values
    if not options.am_sender:
        if entered.read_only:
            return PrsyncError("ERROR: module is read only", ExitCode.SYNTAX)
        return None
    if options.peer:  # and not served as one: then we know it as little as rsync does
        return PrsyncError("rsync: on remote machine: --prsync-peer: unknown option", ExitCode.UNSUPPORTED)
    if values.flag("write only"):
        return PrsyncError("ERROR: module is write only", ExitCode.SYNTAX)
    if entered.read_only and options.remove_source_files:
        which = "source" if options.remove_source_files == 1 else "sent"
        return PrsyncError(f"ERROR: --remove-{which}-files cannot be used with a read-only module", ExitCode.SYNTAX)
    return None
