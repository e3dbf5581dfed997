"""Filter rules as text: what rsync's exclude.c parses from options, files, the daemon's parameters and the wire.

Files are read by a callable, so that nothing here touches the system. The result is a list of `Rule`, which
prsync/engine/rules.py hands to the matcher and prsync/protocol/filter_list.py encodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prsync.errors import FileError, UsageError
from prsync.protocol.filter_syntax import (  # fmt: skip
    ABS_PATH,
    CLEAR,
    CVS,
    DEFAULT_CVS_IGNORE,
    DIRECTORY,
    EXCLUDE_SELF,
    FROM_CONTAINER,
    FROM_FILE,
    INCLUDE,
    KINDS,
    MAX_LINE,
    MAX_MERGE_DEPTH,
    MAX_PATTERN,
    MERGE,
    NEGATE,
    NO_INHERIT,
    NO_PREFIXES,
    PER_DIR,
    PERISHABLE,
    RECEIVER,
    SENDER,
    SIDES,
    SPACE,
    WORD_SPLIT,
    XATTR,
    CvsSources,
    Rule,
    rule_lines,
    rule_name,
    skip_spaces,
)


class Parsed(NamedTuple):
    """A per-directory merge file: its rules, the rules of -C when it named that first, and messages for the user."""

    rules: list[Rule]
    cvs: list[Rule]
    warnings: list[bytes]


class _Mode(NamedTuple):
    old_prefixes: bool = False  # "+ " and "- " or nothing: --exclude, --include, the daemon's exclude and include
    daemon: bool = False  # any slash means the module's root; "dir/" takes what is below along
    per_dir: bool = False  # a per-directory merge file: rules for the other side are dropped
    emit: bool = False  # the matcher executes "!" and merges itself, in its own list


class _Place(NamedTuple):
    """Where a rule's text stands: nowhere (an argument), or in a file, whose text must never be shown to a remote."""

    in_file: bool = False
    name: bytes = b""
    line: int = -1
    named_at: str = ""  # where the file, whose name is a file's text itself, was named

    def show(self, text: bytes) -> str:
        return f"<rule from {self.where()}>" if self.in_file else text.decode("utf-8", "replace")

    def where(self) -> str:
        if not self.name:
            return f"a file named at {self.named_at}" if self.named_at else "a file read earlier"
        name = self.name.decode("utf-8", "replace")
        return f"{name} line {self.line}" if self.line >= 0 else name


class FilterParser:
    """Collects the rules of one run in the order of their options.

    read: the text of a file by the name a rule or option gives it; raises OSError. cvs: called once when -C is met.
    Errors are UsageError (exit 1) or, for a file that cannot be read, FileError (exit 11), in rsync's words.
    """

    def __init__(
        self,
        read: Callable[[bytes], bytes],
        *,
        cvs: Callable[[], CvsSources] = CvsSources,
        protocol: int = 32,
        am_sender: bool = False,
        delete_excluded: bool = False,
        null_lines: bool = False,
    ) -> None:
        self.rules: list[Rule] = []
        self.cvs_rules: list[Rule] = []
        self.warnings: list[bytes] = []
        self.protocol = protocol
        self.am_sender = am_sender
        self.delete_excluded = delete_excluded
        self.null_lines = null_lines
        self.trust_sender = False  # a dir-merge rule was met: the sender's filtering cannot be checked
        self.saw_xattr = False
        self._read = read
        self._cvs = cvs
        self._cvs_known = False
        self._per_dir_options = 0
        self._depth = 0

    def for_receiver(self) -> FilterParser:
        """The rules so far, as the other process of a local copy has them: no rule is read twice."""
        other = FilterParser(
            self._read, cvs=self._cvs, protocol=self.protocol, delete_excluded=self.delete_excluded, null_lines=self.null_lines
        )
        other.rules, other.cvs_rules = list(self.rules), list(self.cvs_rules)
        other._cvs_known = self._cvs_known
        return other

    # -- options ------------------------------------------------------------------------------

    def filter(self, text: bytes) -> None:
        """--filter=RULE, -f."""
        self._parse(self.rules, text, 0, _Mode(), _Place())

    def exclude(self, pattern: bytes) -> None:
        self._parse(self.rules, pattern, 0, _Mode(old_prefixes=True), _Place())

    def include(self, pattern: bytes) -> None:
        self._parse(self.rules, pattern, INCLUDE, _Mode(old_prefixes=True), _Place())

    def exclude_from(self, name: bytes) -> None:
        self._merge(self.rules, name, 0, _Mode(old_prefixes=True), _Place())

    def include_from(self, name: bytes) -> None:
        self._merge(self.rules, name, INCLUDE, _Mode(old_prefixes=True), _Place())

    def per_directory(self) -> None:
        """One more -F."""
        self._per_dir_options += 1
        if self._per_dir_options == 1:
            self.filter(b": /.rsync-filter")
        elif self._per_dir_options == 2:
            self.filter(b"- .rsync-filter")

    def received(self, text: bytes) -> None:
        """One rule of a client's filter list, as the server parses it."""
        self._parse(self.rules, text.split(b"\0", 1)[0], 0, _Mode(old_prefixes=self.protocol < 29), _Place())

    def merge_file(self, text: bytes, name: bytes, flags: int, per_dir: bool) -> Parsed:
        """The text of a merge file that the matcher met in a directory; flags: of the rule that named the file.

        per_dir: the file of a dir-merge rule; else one that a rule within such a file merges. CLEAR and MERGE rules are
        left to the matcher.
        """
        rules: list[Rule] = []
        known = self._cvs_known
        self.warnings = []
        self._parse_file(rules, text, _Place(True, name), flags, _Mode(per_dir=per_dir, emit=True))
        fresh_cvs = self.cvs_rules if self._cvs_known and not known else []
        return Parsed(rules, fresh_cvs, self.warnings)

    # -- parsing ------------------------------------------------------------------------------

    def _parse(self, out: list[Rule], text: bytes, template: int, mode: _Mode, place: _Place) -> None:
        """exclude.c:parse_filter_str."""
        at = 0
        while True:
            if template & WORD_SPLIT:
                at = skip_spaces(text, at)
            if at >= len(text):
                return
            flags, start, end = self._next_rule(text, at, template, mode, place)
            at = end
            pattern = text[start:end]
            if len(pattern) > MAX_PATTERN:
                self.warnings.append(f"discarding over-long filter: {place.show(pattern)}\n".encode())
            elif flags & CLEAR:
                if mode.emit:
                    out.append(Rule(CLEAR, b""))
                else:
                    out.clear()
            elif flags & MERGE:
                self._merge_rule(out, flags, pattern or b".cvsignore", mode, place)
            else:
                self._add(out, flags, pattern, mode)
                if flags & CVS:
                    self._load_cvs(flags)

    def _merge_rule(self, out: list[Rule], flags: int, name: bytes, mode: _Mode, place: _Place) -> None:
        if flags & EXCLUDE_SELF:
            self._add(out, flags & FROM_FILE, name.rsplit(b"/", 1)[-1], _Mode(emit=mode.emit))
            flags &= ~EXCLUDE_SELF
        if flags & PER_DIR or mode.emit:
            self._add(out, flags, name, mode)
        else:
            self._merge(out, name, flags, _Mode(), place)

    def _next_rule(self, text: bytes, at: int, template: int, mode: _Mode, place: _Place) -> tuple[int, int, int]:
        """exclude.c:parse_rule_tok: flags of the rule at `at`, and where its pattern starts and ends."""
        flags = template & FROM_CONTAINER | (FROM_FILE if place.in_file else 0)
        start = at
        if template & NO_PREFIXES:
            if template & CVS and text[at : at + 1] == b"!":
                flags |= CLEAR
        elif mode.old_prefixes:
            prefix = text[at : at + 2]
            if prefix in (b"- ", b"+ "):
                flags = flags | INCLUDE if prefix == b"+ " else flags & ~INCLUDE
                start += 2
            elif text[at : at + 1] == b"!":
                flags |= CLEAR
        else:
            flags, start = self._prefix(text, at, flags, template, place)
        if template & SIDES:
            if flags & SIDES:
                raise UsageError(f"specified-side merge file contains specified-side filter: {place.show(text[at:])}")
            flags |= template & SIDES
        end = len(text)
        if template & WORD_SPLIT:
            end = start
            while end < len(text) and text[end] not in SPACE:
                end += 1
        if flags & CLEAR:
            if not template & NO_PREFIXES and not mode.old_prefixes and end > start:
                raise UsageError(f"'!' rule has trailing characters: {place.show(text[at:])}")
            if end - start > 1:
                flags &= ~CLEAR
        elif start == end and not flags & CVS:
            raise UsageError(f"unexpected end of filter rule: {place.show(text[at:])}")
        if self.delete_excluded and not flags & (SIDES | MERGE):
            flags |= SENDER
        return flags, start, end

    def _prefix(self, text: bytes, at: int, flags: int, template: int, place: _Place) -> tuple[int, int]:
        """A rule's name and modifiers: the flags they add, and where the pattern starts."""
        kind, last = rule_name(text, at)
        if kind not in KINDS or not kind:
            raise UsageError(f"Unknown filter rule: {place.show(text[at:])}")
        flags |= KINDS[kind]
        if kind == b":":
            self.trust_sender = True
        one_sided = kind in (b"S", b"H", b"R", b"P")
        position = last
        while kind != b"!":
            position += 1
            modifier = text[position : position + 1]
            if modifier in (b"", b" ", b"_"):
                break
            if template & WORD_SPLIT and modifier in SPACE:
                position -= 1
                break
            added = self._modifier(modifier, flags, one_sided)
            if not added:
                shown = modifier.decode("latin-1")
                where = "" if place.in_file else f" '{shown}' at position {position - at}"
                raise UsageError(f"invalid modifier{where} in filter rule: {place.show(text[at:])}")
            flags |= added
        return flags, min(position + 1, len(text))

    def _modifier(self, modifier: bytes, flags: int, one_sided: bool) -> int:
        """The flags that a modifier adds; 0: not allowed with this rule."""
        merges = flags & MERGE
        if modifier in (b"-", b"+"):
            return (NO_PREFIXES | (INCLUDE if modifier == b"+" else 0)) if merges and not flags & NO_PREFIXES else 0
        if modifier == b"C":
            return 0 if flags & NO_PREFIXES or one_sided else NO_PREFIXES | WORD_SPLIT | NO_INHERIT | CVS
        if modifier in (b"e", b"n", b"w"):
            return {b"e": EXCLUDE_SELF, b"n": NO_INHERIT, b"w": WORD_SPLIT}[modifier] if merges else 0
        if modifier in (b"r", b"s"):
            return 0 if one_sided else RECEIVER if modifier == b"r" else SENDER
        if modifier == b"!":
            return 0 if merges else NEGATE
        if modifier == b"x":
            self.saw_xattr = True
        return {b"/": ABS_PATH, b"p": PERISHABLE, b"x": XATTR}.get(modifier, 0)

    def _add(self, out: list[Rule], flags: int, pattern: bytes, mode: _Mode) -> None:
        """exclude.c:add_rule, as far as it does not depend on the directory."""
        other_side = RECEIVER if self.am_sender else SENDER
        if (mode.daemon or mode.per_dir) and flags & SIDES == other_side:
            return
        if len(pattern) > 1 and pattern.endswith(b"/"):
            pattern = pattern[:-1]
            flags |= DIRECTORY
        if mode.daemon:
            if not flags & (ABS_PATH | MERGE) and b"/" in pattern:
                flags |= ABS_PATH
            if flags & DIRECTORY and not flags & INCLUDE:
                flags &= ~DIRECTORY
                pattern += b"/***"
        if flags & PER_DIR and not mode.emit:
            name = pattern.rsplit(b"/", 1)[-1]
            if any(r.flags & PER_DIR and r.pattern.rsplit(b"/", 1)[-1] == name for r in out):
                return  # one list per file name; the first mention stands
        out.append(Rule(flags, pattern))

    # -- files --------------------------------------------------------------------------------

    def _merge(self, out: list[Rule], name: bytes, flags: int, mode: _Mode, place: _Place) -> None:
        """Reads a file whose absence ends the run."""
        if not name:
            return
        shown = place.show(name)
        if self._depth >= MAX_MERGE_DEPTH:
            raise FileError(f"merge-file include depth limit ({MAX_MERGE_DEPTH}) exceeded at {shown}")
        kind = "in" if flags & INCLUDE else "ex"
        try:
            text = self._read(name)
        except OSError as error:
            why = "" if place.in_file else f": {error.strerror} ({error.errno})"
            raise FileError(f"failed to open {kind}clude file {shown}{why}") from None
        self._depth += 1
        try:
            file = _Place(True, named_at=place.where()) if place.in_file else _Place(True, name)
            self._parse_file(out, text, file, flags, mode)
        finally:
            self._depth -= 1

    def _parse_file(self, out: list[Rule], text: bytes, file: _Place, flags: int, mode: _Mode) -> None:
        words = bool(flags & WORD_SPLIT)
        for number, line in rule_lines(text, null_lines=self.null_lines, words=words):
            place = file._replace(line=number)
            if len(line) > MAX_LINE:
                self.warnings.append(f"discarding over-long filter: {place.show(b'')}\n".encode())
                continue
            line = line.split(b"\0", 1)[0]
            if line and (words or line[0] not in b";#"):
                self._parse(out, line, flags, mode, place)

    def _load_cvs(self, flags: int) -> None:
        """exclude.c:get_cvs_excludes: once, whichever rule asks first."""
        if self._cvs_known:
            return
        self._cvs_known = True
        sources = self._cvs()
        built_in = flags | (PERISHABLE if self.protocol >= 30 else 0)
        self._parse(self.cvs_rules, DEFAULT_CVS_IGNORE, built_in, _Mode(), _Place())
        if sources.file is not None:
            self._parse_file(self.cvs_rules, sources.file, _Place(True, b".cvsignore"), flags, _Mode())
        if sources.variable is not None:
            self._parse(self.cvs_rules, sources.variable, flags, _Mode(), _Place())


def daemon_rules(
    read: Callable[[bytes], bytes],
    *,
    filter: bytes = b"",
    include_from: bytes = b"",
    include: bytes = b"",
    exclude_from: bytes = b"",
    exclude: bytes = b"",
    cvs: Callable[[], CvsSources] = CvsSources,
) -> FilterParser:
    """The rules of a module's parameters, in rsync's order (clientserver.c:rsync_module); empty: not set.

    Raises PrsyncError in rsync's words. Rules for the sending side alone are dropped, as rsync's daemon drops them.
    """
    parser = FilterParser(read, cvs=cvs)
    plain, old = _Mode(daemon=True), _Mode(daemon=True, old_prefixes=True)
    parser._parse(parser.rules, filter, WORD_SPLIT, plain, _Place())
    if include_from:
        parser._merge(parser.rules, include_from, INCLUDE, old, _Place())
    parser._parse(parser.rules, include, INCLUDE | WORD_SPLIT, old, _Place())
    if exclude_from:
        parser._merge(parser.rules, exclude_from, 0, old, _Place())
    parser._parse(parser.rules, exclude, WORD_SPLIT, old, _Place())
    return parser

