"""The options of a local copy's receiver: the client's own, as rsync's forked server inherits them (pipe.c:local_child)."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from prsync.errors import UnsupportedError
from prsync.options import table
from prsync.options.model import Options
from prsync.options.read import REMOTE, Index, Reader, Words


def receiver_options(options: Options) -> Options:
    """Raises UsageError and UnsupportedError for what --remote-option says."""
    options = options.replace(
        am_server=True,
        am_sender=False,
        chmod=(),  # the sender has applied it
        munge_symlinks=0,
        logfile_name=None,  # the client's log is for both
        logfile_format=None,
        logfile_format_has_i=False,
        logfile_format_has_o_or_i=False,
    )
    return _changed(options, options.remote_options) if options.remote_options else options


def _changed(options: Options, remote_options: Sequence[str]) -> Options:
    reader = Reader({}, server=True)
    reader.values.update(options.__dict__)
    reader.lists = {name: list(getattr(options, name)) for name in reader.lists}
    reader.info.levels.update(options.info)
    words = Words(remote_options, Index(table.ROWS, table.SESSION_ROWS), REMOTE)
    while found := words.next():
        reader.take(*found, words)
    if reader.unsupported:
        raise UnsupportedError(f"prsync: {reader.unsupported.shown} is not supported by the prsync server yet")
    lists = {name: tuple(items) for name, items in reader.lists.items()}
    return Options(**{**reader.values, **lists, "info": MappingProxyType(dict(reader.info.levels))})
