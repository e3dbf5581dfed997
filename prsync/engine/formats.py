"""Output formats (--out-format, --log-file-format, the daemon's `log format`), compiled for csrc/render.c."""

from __future__ import annotations

import re
from typing import NamedTuple

from prsync.engine.context import Context
from prsync.engine.native import ffi, lib

STDOUT = lib.PS_FORMAT_STDOUT
LOG = lib.PS_FORMAT_LOG

MAX_FORMAT = 4095  # bytes; rsync refuses more ("log-format string is WAY too long!")
_LETTERS = b"haloUGpMBofnLmtPubcCi%"
# log.c:log_formatted: quotes, a minus, at most 23 characters of minus and digits, quotes, the letter.
_ESCAPE = re.compile(rb"%('*)(-?)([0-9]{0,23})('*)(.)", re.DOTALL)


class Operation(NamedTuple):
    """One part: letter 0 is literal text; width -1 is no width. Field names as ps_format_op's."""

    letter: int
    width: int
    left: bool
    zero: bool
    human: int
    text: bytes


def compile_format(text: bytes) -> list[Operation]:
    """The parts of a format. What is no escape, or an unknown one, stands for itself."""
    parts: list[Operation] = []
    at = 0
    while at < len(text):
        percent = text.find(b"%", at)
        found = _ESCAPE.match(text, percent) if percent >= 0 else None
        if found is None:
            _literal(parts, text[at:])
            break
        before, minus, digits, after, letter = found.groups()
        if minus and len(digits) == 23:
            digits, after, letter = digits[:22], b"", digits[22:]
        end = found.end(5) if letter == found[5] else found.start(3) + 23
        _literal(parts, text[at:percent])
        if letter in _LETTERS:
            width = min(int(digits or b"0"), MAX_FORMAT) if digits or minus else -1
            quotes = len(before) + len(after)
            parts.append(Operation(letter[0], width, bool(minus), digits.startswith(b"0"), quotes, text[percent:end]))
            at = end
        else:
            at = end - 1  # the letter is looked at again: it may be a per cent sign's neighbour
            _literal(parts, text[percent:at])
    return parts


def _literal(parts: list[Operation], text: bytes) -> None:
    if not text:
        return
    if parts and not parts[-1].letter:
        text = parts.pop().text + text
    parts.append(Operation(0, -1, False, False, 0, text))


def format_has(text: bytes | None, letters: bytes) -> bool:
    """log.c:log_format_has, for any of the letters."""
    return text is not None and any(part.letter and part.letter in letters for part in compile_format(text))


def set_format(context: Context, which: int, text: bytes | None) -> None:
    """Installs a format for STDOUT or LOG; None or empty: none.

    An empty --out-format prints empty lines in rsync; callers pass b"" for the log alone.
    """
    parts = compile_format(text) if text is not None else []
    if text == b"" and which == STDOUT:
        parts = [Operation(0, -1, False, False, 0, b"")]
    operations = ffi.new("ps_format_op[]", len(parts) + 1)
    offset = 0
    for operation, part in zip(operations, parts, strict=False):
        operation.letter, operation.width = part.letter, part.width
        operation.left, operation.zero, operation.human = part.left, part.zero, part.human
        operation.text_off, operation.text_len = offset, len(part.text)
        offset += len(part.text)
    blob = b"".join(part.text for part in parts)
    context.check(lib.ps_ctx_set_format(context.handle, which, operations, len(parts), blob, len(blob)))


class OutputPlan(NamedTuple):
    """What the options mean for lines about files; the fields are rsync's variables of the same names."""

    stdout_format: bytes | None
    log_format: bytes | None
    stdout_format_has_i: int
    log_format_has_i: int
    stdout_format_has_o_or_i: bool
    log_before_transfer: bool
    name_level: int


def plan_output(
    *,
    out_format: bytes | None,
    itemize: int,
    name_level: int,
    progress: bool = False,
    log_file: bool = False,
    log_file_format: bytes | None = None,
    am_server: bool = False,
) -> OutputPlan:
    """options.c, end of parse_arguments: which formats apply and when lines are printed.

    itemize: number of -i; name_level: --info=name's level (-v gives 1, -vv 2). The daemon's formats come from its
    configuration instead: log_file_format is for a client's --log-file.
    """
    stdout, has_i, before = out_format, 0, False
    if out_format is not None:
        if am_server and format_has(out_format, b"I"):
            has_i = 2
        elif format_has(out_format, b"i"):
            has_i = itemize | 1
        before = not am_server and not format_has(out_format, b"bcC")
    elif itemize:
        stdout, has_i, before = b"%i %n%L", itemize, not am_server
    if progress and not am_server and not before and name_level == 0:
        name_level = 1
    if name_level >= 1 and stdout is None:
        stdout, before = b"%n%L", not am_server
    log = None
    if log_file:
        log = b"%i %n%L" if log_file_format is None else log_file_format
    return OutputPlan(
        stdout, log, has_i, int(format_has(log, b"i")), bool(has_i) or format_has(stdout, b"o"), before, name_level
    )


def apply_plan(context: Context, plan: OutputPlan) -> None:
    """Sets the context's options and formats as planned."""
    options = context.options
    options.stdout_format_has_i = plan.stdout_format_has_i
    options.log_format_has_i = plan.log_format_has_i
    options.log_before_transfer = plan.log_before_transfer
    options.info_name = plan.name_level
    set_format(context, STDOUT, plan.stdout_format)
    set_format(context, LOG, plan.log_format)
