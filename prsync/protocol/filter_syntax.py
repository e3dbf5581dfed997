"""The vocabulary of filter rules: flags, limits, the names and line ends that exclude.c knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

# csrc/api/rules_api.h has the same numbers as PS_RULE_*; a test compares them.
INCLUDE = 0x1
DIRECTORY = 0x2
ABS_PATH = 0x4
NEGATE = 0x8
PERISHABLE = 0x10
SENDER = 0x20
RECEIVER = 0x40
XATTR = 0x80
MERGE = 0x100
PER_DIR = 0x200
NO_INHERIT = 0x400
WORD_SPLIT = 0x800
NO_PREFIXES = 0x1000
EXCLUDE_SELF = 0x2000
CVS = 0x4000
CLEAR = 0x8000
FROM_FILE = 0x10000
ONLY_SENDER = 0x40000
ONLY_RECEIVER = 0x80000
SIDES = SENDER | RECEIVER
FROM_CONTAINER = ABS_PATH | INCLUDE | DIRECTORY | NEGATE | PERISHABLE

MAX_PATTERN = 4095  # bytes; MAXPATHLEN - 1
MAX_LINE = 5119  # bytes of a line of a rule file; BIGPATHBUFLEN - 1
MAX_MERGE_DEPTH = 32

DEFAULT_CVS_IGNORE = (
    b"RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state .nse_depinfo *~ #* .#* ,* _$* *$ *.old *.bak"
    b" *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so *.exe *.Z *.elc *.ln core .svn/ .git/ .hg/ .bzr/"
)

_LONG_NAMES = {
    b"c": (b"clear", b"!"),
    b"d": (b"dir-merge", b":"),
    b"e": (b"exclude", b"-"),
    b"h": (b"hide", b"H"),
    b"i": (b"include", b"+"),
    b"m": (b"merge", b"."),
    b"p": (b"protect", b"P"),
    b"r": (b"risk", b"R"),
    b"s": (b"show", b"S"),
}
KINDS = {
    b":": PER_DIR | MERGE,
    b".": MERGE,
    b"+": INCLUDE,
    b"-": 0,
    b"S": INCLUDE | SENDER,
    b"H": SENDER,
    b"R": INCLUDE | RECEIVER,
    b"P": RECEIVER,
    b"!": CLEAR,
}
SPACE = b" \t\n\v\f\r"


class Rule(NamedTuple):
    """One rule. The pattern has lost the slash at its end to DIRECTORY; CLEAR stands for "!" within a merge file."""

    flags: int
    pattern: bytes


class CvsSources(NamedTuple):
    """What -C reads besides the built-in list: the text of ~/.cvsignore and the variable CVSIGNORE."""

    file: bytes | None = None
    variable: bytes | None = None


def rule_lines(text: bytes, *, null_lines: bool, words: bool) -> Iterator[tuple[int, bytes]]:
    """(line number, line) of a rule file; CR, LF and CRLF end a line, or NUL with --from0."""
    if words:
        separators = SPACE + (b"\0" if null_lines else b"")
        for separator in separators[1:]:
            text = text.replace(bytes([separator]), separators[:1])
        for word in text.split(separators[:1]):
            yield -1, word
        return
    lines = text.split(b"\0") if null_lines else text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    yield from enumerate(lines, 1)


def skip_spaces(text: bytes, at: int) -> int:
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at


def rule_name(text: bytes, at: int) -> tuple[bytes, int]:
    """The rule's short name and the index of the last byte of the name it was given by; b"" when there is none."""
    first = text[at : at + 1]
    if first in _LONG_NAMES:
        word, short = _LONG_NAMES[first]
        end = at + len(word)
        after = text[end : end + 1]
        if text.startswith(word, at) and (not after or after in SPACE or after in b"_,"):
            return short, end if after == b"," else end - 1
        return b"", at
    return first, at + 1 if text[at + 1 : at + 2] == b"," else at
