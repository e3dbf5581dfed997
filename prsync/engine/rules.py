"""Compiled filter rules: the matcher of csrc/filter/rules.c, filled with rules and fed with per-directory merge files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from prsync.engine.context import Context
from prsync.engine.native import ffi, lib
from prsync.errors import PrsyncError

SENDER = 1
RECEIVER = 2

RuleLike = tuple[int, bytes]  # PS_RULE_* flags, pattern


class ParsedFile(Protocol):
    """What a parser answers; prsync.protocol.filters.Parsed is one."""

    @property
    def rules(self) -> Sequence[RuleLike]: ...
    @property
    def cvs(self) -> Sequence[RuleLike]: ...
    @property
    def warnings(self) -> Sequence[bytes]: ...


# (text, name for messages or b"", flags of the rule that named the file, of a dir-merge rule) → rules
MergeParser = Callable[[bytes, bytes, int, bool], ParsedFile]


def _put(handle: Any, which: int, rules: Iterable[RuleLike]) -> int:
    table = list(rules)
    operations = ffi.new("ps_rule_op[]", len(table) + 1)
    offset = 0
    for operation, (flags, pattern) in zip(operations, table, strict=False):
        operation.flags, operation.text_off, operation.text_len = flags, offset, len(pattern)
        offset += len(pattern)
    text = b"".join(pattern for _, pattern in table)
    return int(lib.ps_rules_put(handle, which, operations, len(table), text, len(text)))


class RuleSet:
    """Owns a ps_rules, to be given to the lister, the file-list decoder, the generator and the receiver.

    rules, cvs, daemon: in order, as prsync.protocol.filters makes them. parse: for merge files that are met during the
    transfer (FilterParser.merge_file); its PrsyncError ends the transfer with that error's exit code.
    """

    def __init__(
        self,
        context: Context,
        rules: Iterable[RuleLike] = (),
        *,
        cvs: Iterable[RuleLike] = (),
        daemon: Iterable[RuleLike] = (),
        parse: MergeParser | None = None,
        trust_sender: bool = False,
    ) -> None:
        self._context = context
        self.handle: Any = ffi.gc(lib.ps_rules_new(context.handle), lib.ps_rules_free)
        self._parser: Any = ffi.new_handle(parse) if parse else None  # must live as long as the matcher may call it
        if parse:
            lib.ps_rules_set_parser(self.handle, lib.ps_py_parse_rules, self._parser)
        for which, given in ((lib.PS_RULES_MAIN, rules), (lib.PS_RULES_CVS, cvs), (lib.PS_RULES_DAEMON, daemon)):
            context.check(_put(self.handle, which, given))
        if trust_sender:
            lib.ps_rules_trust_sender(self.handle)

    def set_base(self, path: bytes) -> None:
        """Where the transfer's directory stands within the module; for a client its absolute path."""
        self._context.check(lib.ps_rules_set_base(self.handle, path, len(path)))

    def check(self, path: bytes, is_dir: bool, side: int) -> int:
        """-1 excluded, 1 included, 0 no rule matched."""
        return int(lib.ps_rules_check(self.handle, path, len(path), is_dir, side))

    def check_many(self, names: Sequence[bytes], side: int) -> list[int]:
        """check() for names, of which those of directories end with a slash."""
        text = b"\0".join(names) + b"\0"
        answers = ffi.new("int8_t[]", len(names))
        lib.ps_rules_check_many(self.handle, text, len(text), side, answers, len(names))
        return list(answers)

    def daemon_excludes(self, path: bytes, is_dir: bool) -> bool:
        return bool(lib.ps_rules_check_daemon(self.handle, path, len(path), is_dir) < 0)

    def daemon_excludes_path(self, path: bytes, *, parents_only: bool = False) -> bool:
        """Is the path, or a directory that leads to it, excluded by the daemon's rules?"""
        return bool(lib.ps_rules_path_excluded(self.handle, path, len(path), parents_only))

    def enter(self, directory: int, path: bytes) -> int:
        """Reads the merge files of a directory beneath the open `directory`; the answer is for leave()."""
        token = int(lib.ps_rules_enter(self.handle, directory, path, len(path)))
        if token < 0:
            self._context.check(token)
        return token

    def leave(self, token: int) -> None:
        lib.ps_rules_leave(self.handle, token)


def wildmatch(pattern: bytes, text: bytes, *, fold: bool = False) -> bool:
    """rsync's lib/wildmatch.c: `*` and `?` do not match a slash, `**` does. fold: ASCII letters without their case."""
    return bool(lib.ps_wildmatch(pattern, len(pattern), text, len(text), fold))


@ffi.def_extern(name="ps_py_parse_rules", error=-1)  # type: ignore[untyped-decorator]
def _parse_rules(handle: Any, rules: Any, text: Any, size: int, name: Any, flags: int, per_dir: int) -> int:
    """Called by the matcher while it enters a directory that has a merge file."""
    parse: MergeParser = ffi.from_handle(handle)
    try:
        parsed = parse(bytes(ffi.buffer(text, size)) if size else b"", ffi.string(name), flags, bool(per_dir))
    except PrsyncError as error:
        return int(lib.ps_rules_parse_failed(rules, int(error.code), error.text.encode("utf-8", "replace")))
    for warning in parsed.warnings:
        lib.ps_rules_log(rules, lib.PS_LOG_ERROR, warning, len(warning))
    status = _put(rules, lib.PS_RULES_CVS, parsed.cvs)
    return status if status < 0 else _put(rules, lib.PS_RULES_PARSED, parsed.rules)
