"""Filter rules on the wire: exclude.c's send_filter_list and recv_filter_list, and what follows for the matcher.

A list is a run of (int32 length, rule text) ended by a zero int32.
"""

from __future__ import annotations

from typing import NamedTuple

from prsync.errors import ExitCode, ProtocolVersionError, StreamError
from prsync.protocol import filter_syntax as syntax
from prsync.protocol import limits
from prsync.protocol.filter_syntax import Rule
from prsync.protocol.filters import FilterParser

_MAX_PREFIX = 15


class FilterTraits(NamedTuple):
    """The options that decide which rules travel, named as rsync's variables. am_sender: of this side."""

    protocol: int = 32
    am_sender: bool = False
    delete_mode: bool = False
    delete_excluded: bool = False
    prune_empty_dirs: bool = False
    cvs_exclude: bool = False
    partial_dir: bytes = b""  # a client's relative --partial-dir, which is excluded

    @property
    def receiver_wants_list(self) -> bool:
        return self.prune_empty_dirs or (self.delete_mode and (not self.delete_excluded or self.protocol >= 29))


def client_filter_list(parser: FilterParser, traits: FilterTraits) -> bytes:
    """The bytes a client sends to the server: b"" where it sends no list at all.

    Completes the parser's rules for this side's matcher: marks those that are for one side only, adds those of -C.
    Raises ProtocolVersionError for rules that the remote's protocol cannot express.
    """
    parser.protocol = traits.protocol  # known only now; what -C adds depends on it
    if traits.partial_dir:
        perishable = 0 if traits.am_sender and traits.protocol < 30 else syntax.PERISHABLE
        parser.rules.append(Rule(syntax.DIRECTORY | perishable, traits.partial_dir))
    silent = traits.am_sender and not traits.receiver_wants_list
    if traits.cvs_exclude and traits.am_sender:
        if traits.protocol >= 29:
            parser.filter(b":C")
        parser.filter(b"-C")
    out = bytearray()
    cvs_marked = _send_rules(parser.rules, parser.cvs_rules, traits, out)
    parser.rules[:] = [_marked(rule, traits) for rule in parser.rules]
    if cvs_marked:
        parser.cvs_rules[:] = [_marked(rule, traits) for rule in parser.cvs_rules]
    if traits.cvs_exclude:
        if not traits.am_sender or traits.protocol < 29:
            parser.filter(b":C")
        if not traits.am_sender:
            parser.filter(b"-C")
    return b"" if silent else bytes(out) + bytes(4)


def server_filter_rules(parser: FilterParser, texts: list[bytes], traits: FilterTraits) -> None:
    """Fills the parser with a received list (empty where none was due) and the rules of -C. Raises as the parser does."""
    for text in texts:
        parser.received(text)
    if traits.cvs_exclude:
        if traits.am_sender or traits.protocol < 29:
            parser.filter(b":C")
        if traits.am_sender:
            parser.filter(b"-C")


def local_server_rules(parser: FilterParser, traits: FilterTraits) -> FilterParser:
    """The receiver's rules of a local copy: the client's, before `client_filter_list` has completed those for the sender."""
    traits = traits._replace(am_sender=False)
    parser.protocol = traits.protocol
    other = parser.for_receiver()
    if traits.cvs_exclude:
        other.filter(b":C")
        other.filter(b"-C")
    other.rules[:] = [_marked(rule, traits) for rule in other.rules]
    if any(rule.flags & syntax.CVS and not rule.flags & syntax.MERGE for rule in other.rules):
        other.cvs_rules[:] = [_marked(rule, traits) for rule in other.cvs_rules]
    return other


def list_is_due(traits: FilterTraits) -> bool:
    """Does the server read a list from the client? am_sender: of the server."""
    return traits.am_sender or traits.receiver_wants_list


class FilterListDecoder:
    """Reads a filter list from spans of bytes; `texts` are the rules so far."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self._pending = b""
        self._total = 0

    def feed(self, data: bytes) -> bytes | None:
        """What follows the list once it has ended; None: more is needed. Raises StreamError beyond the limits."""
        data = self._pending + data
        at = 0
        while len(data) - at >= 4:
            length = int.from_bytes(data[at : at + 4], "little")
            if length == 0:
                self._pending = b""
                return data[at + 4 :]
            if length > limits.RULE_BYTES:  # exclude.c:recv_filter_list: BIGPATHBUFLEN
                raise StreamError("buffer overflow: recv_rules", ExitCode.MEMORY)
            if len(self.texts) >= limits.RULES or self._total + length > limits.RULES_BYTES:
                raise StreamError("the remote sends too many filter rules", ExitCode.MEMORY)
            if len(data) - at - 4 < length:
                break
            self.texts.append(data[at + 4 : at + 4 + length])
            self._total += length
            at += 4 + length
        self._pending = data[at:]
        return None


def _only_side(rule: Rule, traits: FilterTraits) -> int:
    """ONLY_SENDER, ONLY_RECEIVER or 0 (exclude.c:send_rules, elide)."""
    sides = rule.flags & syntax.SIDES
    if sides == syntax.SIDES:
        return 0
    if sides:
        return syntax.ONLY_SENDER if sides == syntax.SENDER else syntax.ONLY_RECEIVER
    per_dir = rule.flags & syntax.PER_DIR and not rule.flags & syntax.NO_PREFIXES
    return syntax.ONLY_SENDER if traits.delete_excluded and not per_dir else 0


def _marked(rule: Rule, traits: FilterTraits) -> Rule:
    return Rule(rule.flags | _only_side(rule, traits), rule.pattern)


def _send_rules(rules: list[Rule], cvs_rules: list[Rule], traits: FilterTraits, out: bytearray) -> bool:
    """Whether a rule stood for the list of -C."""
    ours = syntax.ONLY_SENDER if traits.am_sender else syntax.ONLY_RECEIVER
    cvs_met = False
    for rule in rules:
        if _only_side(rule, traits) == ours:
            continue
        if rule.flags & syntax.CVS and not rule.flags & syntax.MERGE:
            cvs_met = True
            if traits.am_sender or traits.protocol < 29:
                _send_rules(cvs_rules, [], traits, out)
                continue
        prefix = rule_prefix(rule, traits)
        if prefix is None:
            raise ProtocolVersionError("filter rules are too modern for remote rsync.")
        text = prefix + rule.pattern + (b"/" if rule.flags & syntax.DIRECTORY else b"")
        if text:
            out += len(text).to_bytes(4, "little") + text
    return cvs_met


def rule_prefix(rule: Rule, traits: FilterTraits) -> bytes | None:
    """exclude.c:get_rule_prefix for a transfer: b"- " and the like; None: the protocol cannot say it."""
    flags, old = rule.flags, traits.protocol < 29
    longest = 1 if old else _MAX_PREFIX
    if flags & syntax.PER_DIR:
        if old:
            return None
        out = b":"
    elif flags & syntax.INCLUDE:
        out = b"+"
    elif not old or rule.pattern[:2] in (b"- ", b"+ "):
        out = b"-"
    else:
        out, longest = b"", 0
    for flag, letter in ((syntax.ABS_PATH, b"/"), (syntax.NEGATE, b"!")):
        out += letter if flags & flag else b""
    if flags & syntax.CVS:
        out += b"C"
    else:
        for flag, letter in ((syntax.NO_INHERIT, b"n"), (syntax.WORD_SPLIT, b"w")):
            out += letter if flags & flag else b""
        if flags & syntax.NO_PREFIXES:
            out += b"+" if flags & syntax.INCLUDE else b"-"
    out += b"x" if flags & syntax.XATTR else b""
    out += b"s" if flags & syntax.SENDER and not old else b""
    out += b"r" if flags & syntax.RECEIVER and (not old or (traits.delete_excluded and traits.am_sender)) else b""
    if flags & syntax.PERISHABLE:
        if traits.protocol >= 30:
            out += b"p"
        elif traits.am_sender:
            return None
    if len(out) > longest:
        return None
    return out + b" " if longest else out
