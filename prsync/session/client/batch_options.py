"""Options and batch files: the flags that a batch has of them, what reading one makes of them, the command that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prsync.errors import UnsupportedError, UsageError
from prsync.options.model import Options
from prsync.options.operands import host_and_path
from prsync.protocol.batch import StreamFlags, known_flags


class FlagOption(NamedTuple):
    """`field`: of Options; `name`: as messages have it."""

    field: str
    name: str


# in the order of the bits
FLAG_OPTIONS = (
    FlagOption("recurse", "--recurse (-r)"),
    FlagOption("preserve_uid", "--owner (-o)"),
    FlagOption("preserve_gid", "--group (-g)"),
    FlagOption("preserve_links", "--links (-l)"),
    FlagOption("preserve_devices", "--devices (-D)"),
    FlagOption("preserve_hard_links", "--hard-links (-H)"),
    FlagOption("always_checksum", "--checksum (-c)"),
    FlagOption("xfer_dirs", "--dirs (-d)"),
    FlagOption("do_compression", "--compress (-z)"),
    FlagOption("iconv", "--iconv"),
    FlagOption("preserve_acls", "--acls (-A)"),
    FlagOption("preserve_xattrs", "--xattrs (-X)"),
    FlagOption("inplace", "--inplace"),
    FlagOption("append", "--append"),
    FlagOption("append_verify", "--append-verify"),
)
ICONV_BIT = 9
APPEND_BITS = (13, 14)


def _value(options: Options, bit: int) -> int:
    if bit in APPEND_BITS:
        return int(options.append_mode == APPEND_BITS.index(bit) + 1)
    found = getattr(options, FLAG_OPTIONS[bit].field)
    return int(found is not None) if bit == ICONV_BIT else int(found)


def stream_flags(options: Options) -> StreamFlags:
    """batch.c:write_stream_flags."""
    return StreamFlags(sum(1 << bit for bit in range(len(FLAG_OPTIONS)) if _value(options, bit)))


def adjust(options: Options, flags: StreamFlags, protocol: int) -> tuple[Options, list[str]]:
    """batch.c:check_batch_flags: the options as the batch needs them, and what is to be said of it.

    Raises UsageError where --iconv does not fit, UnsupportedError for what prsync cannot read."""
    changes: dict[str, int] = {}
    lines: list[str] = []
    for bit in range(known_flags(protocol)):
        field, name = FLAG_OPTIONS[bit]
        wanted = flags >> bit & 1
        if _value(options, bit) == wanted:
            continue
        if bit == ICONV_BIT:
            raise UsageError(f"{'Please' if wanted else 'Do not'} specify the --iconv option to use this batch file.")
        lines.append(f"{'Sett' if wanted else 'Clear'}ing the {name} option to match the batchfile.\n")
        if bit not in APPEND_BITS:
            changes[field] = wanted
    if protocol < 29:
        depth = options.xfer_dirs
        changes["xfer_dirs"] = 1 if flags & StreamFlags.RECURSE else depth if depth >= 2 else 0
    if protocol >= 30:
        changes["append_mode"] = 1 if flags & StreamFlags.APPEND else 2 if flags & StreamFlags.APPEND_VERIFY else 0
        for bit in (10, 11):
            if flags >> bit & 1:
                raise UnsupportedError(f"prsync: the batch file was made with {FLAG_OPTIONS[bit].name}, not supported yet")
    return options.replace(**changes), lines


# ---- the command that reads it -------------------------------------------------------------------


def quote(word: str) -> str:
    """batch.c:write_arg: what the shell is to take as it is, but for the name of an option in front."""
    name, equals, rest = word.partition("=")
    plain = equals and word.startswith("-") and all(c in "-_" or (c.isascii() and c.isalnum()) for c in name)
    head, text = (name + "=", rest) if plain else ("", word)
    return head + "'" + text.replace("'", "'\\''") + "'"


def replay_words(words: Sequence[str], operands: Sequence[str]) -> list[str]:
    """The program and its options, without what names or filters files, reading instead of writing; then the destination
    (batch.c:write_batch_shell_file). `words`: the command as it was typed; `operands`: those of them that are no options."""
    left: list[str | None] = list(words)
    at = len(operands) - 1
    for i in range(len(left) - 1, 0, -1):
        if at >= 0 and left[i] == operands[at]:
            left[i] = None
            at -= 1
    out = []
    options = iter(left[1:])
    for word in options:
        if word is None:
            continue
        if word.startswith(("--files-from", "--filter", "--include", "--exclude")):
            if "=" not in word:
                next(options, None)
        elif word == "-f":
            next(options, None)
        elif word.startswith(("--write-batch", "--only-write-batch")):
            _, equals, name = word.partition("=")
            out.append(f"--read-batch={quote(name)}" if equals else "--read-batch")
        else:
            out.append(quote(word))
    remote = host_and_path(operands[-1])
    out.append("${1:-" + quote(remote.path if remote else operands[-1]) + "}")
    return out
