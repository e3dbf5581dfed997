"""Output formats (--out-format, --log-file-format, the daemon's `log format`), compiled for csrc/render/render.c."""

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
