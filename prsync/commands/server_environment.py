"""What a server behind a remote shell takes from its process: standard input and output, the environment, its own log."""

from __future__ import annotations

import os
from collections.abc import Sequence

from prsync.commands.client_environment import cvs_sources
from prsync.net.streams import PipeStream
from prsync.options.model import Options
from prsync.privileges import read_umask
from prsync.session.client.output import LogFile
from prsync.session.server.session import Serving, check_arguments


def serving_of(words: Sequence[str], options: Options) -> Serving:
    """Raises UsageError, and FileError for a --log-file that cannot be opened."""
    if not options.protect_args:
        check_arguments(options)
    log_file = LogFile(options.logfile_name) if options.logfile_name else None

    def log(code: int, record: bytes) -> None:
        if log_file is not None:
            log_file.write(record)

    return Serving(
        stream=PipeStream(0, 1, keep_mode=True),
        words=words,
        directory=os.getcwdb,
        umask=read_umask(),
        environment=os.environ,
        cvs_sources=cvs_sources,
        log=log,
    )
