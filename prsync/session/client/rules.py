"""A client's filter rules and its list of names: from the options to what is sent and what the core matches."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from prsync.errors import UsageError
from prsync.options.model import Options, as_bytes
from prsync.privileges import open_trusted
from prsync.protocol.filter_list import FilterTraits
from prsync.protocol.filter_syntax import CvsSources
from prsync.protocol.filters import FilterParser
from prsync.session.client.run import Run


def parse_rules(options: Options, cvs: Callable[[], CvsSources]) -> FilterParser:
    """Raises UsageError and FileError for rules that rsync refuses too. `cvs`: what -C reads."""
    parser = FilterParser(
        read_named,
        cvs=cvs,
        delete_excluded=bool(options.delete_excluded),
        null_lines=bool(options.eol_nulls),
        protocol=options.protocol,
        am_sender=bool(options.am_sender),
    )
    for kind, text in options.rules:
        if kind != "partial_dir":
            getattr(parser, kind)(as_bytes(text))
    return parser


class Prepared(NamedTuple):
    """What is read before anything is connected: rules and names."""

    rules: FilterParser
    names: list[bytes] | None


def prepare(run: Run) -> Prepared:
    return Prepared(parse_rules(run.options, run.cvs_sources), read_names(run.options))


def traits(options: Options, protocol: int) -> FilterTraits:
    return FilterTraits(
        protocol=protocol,
        am_sender=bool(options.am_sender),
        delete_mode=bool(options.delete_mode),
        delete_excluded=bool(options.delete_excluded),
        prune_empty_dirs=bool(options.prune_empty_dirs),
        cvs_exclude=bool(options.cvs_exclude),
        partial_dir=b"".join(as_bytes(text).rstrip(b"/") for kind, text in options.rules if kind == "partial_dir"),
    )


def read_named(name: bytes) -> bytes:
    """A file that the user names; "-" is standard input. Raises OSError."""
    if name == b"-":
        return sys.stdin.buffer.read()
    with os.fdopen(open_trusted(os.fsdecode(name), os.O_RDONLY), "rb") as file:
        return file.read()


def read_names(options: Options) -> list[bytes] | None:
    """The names of a local --files-from; None where there is none, or the file is the daemon's. Comments are names for a remote
    sender, which gets all lines as they are."""
    if options.files_from is None or options.files_from_host is not None:
        return None
    try:
        text = read_named(as_bytes(options.files_from))
    except OSError as error:
        raise UsageError(f"rsync: failed to open files-from file {options.files_from}: {error.strerror}") from None
    if not options.eol_nulls:
        text = text.replace(b"\n", b"\0").replace(b"\r", b"\0")
    names = [name for name in text.split(b"\0") if name]
    return [name for name in names if name[:1] not in (b"#", b";")] if options.am_sender else names


def encode_names(names: list[bytes]) -> bytes:
    """io.c:forward_filesfrom_data: names that end with a NUL, then an empty one."""
    return b"".join(name + b"\0" for name in names) + b"\0"
