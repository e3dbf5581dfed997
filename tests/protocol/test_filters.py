"""Filter rules as text and on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.engine.native import lib
from prsync.errors import FileError, ProtocolVersionError, PrsyncError, StreamError, UsageError
from prsync.protocol import filter_syntax as syntax
from prsync.protocol import limits
from prsync.protocol.filter_list import FilterListDecoder, FilterTraits, client_filter_list, list_is_due, server_filter_rules
from prsync.protocol.filter_syntax import CvsSources, Rule
from prsync.protocol.filters import FilterParser, daemon_rules

INC, D, S, R, M, P = syntax.INCLUDE, syntax.DIRECTORY, syntax.SENDER, syntax.RECEIVER, syntax.MERGE, syntax.PER_DIR
FROM = syntax.FROM_FILE
CVS_FLAGS = syntax.NO_PREFIXES | syntax.WORD_SPLIT | syntax.NO_INHERIT | syntax.CVS


def parser(files: dict[bytes, bytes] | None = None, **options: object) -> FilterParser:
    def read(name: bytes) -> bytes:
        if files is None or name not in files:
            raise FileNotFoundError(2, "No such file or directory", name)
        return files[name]

    return FilterParser(read, **options)  # type: ignore[arg-type]


def test_flags_have_the_core_s_numbers() -> None:
    names = [n for n in dir(syntax) if n.isupper() and isinstance(getattr(syntax, n), int) and hasattr(lib, f"PS_RULE_{n}")]
    assert len(names) >= 18
    assert {n: getattr(syntax, n) for n in names} == {n: getattr(lib, f"PS_RULE_{n}") for n in names}


FILTERS = [
    ("- *.o", [(0, "*.o")]),
    ("-_*.o", [(0, "*.o")]),
    ("+ a b", [(INC, "a b")]),
    ("exclude *.o", [(0, "*.o")]),
    ("include,! x", [(INC | syntax.NEGATE, "x")]),
    ("hide secret/", [(S | D, "secret")]),
    ("H,p x", [(S | syntax.PERISHABLE, "x")]),
    ("show x", [(INC | S, "x")]),
    ("protect_x", [(R, "x")]),
    ("risk x", [(INC | R, "x")]),
    ("-/ /srv/x", [(syntax.ABS_PATH, "/srv/x")]),
    ("-!rs x", [(syntax.NEGATE | R | S, "x")]),
    ("-x user.*", [(syntax.XATTR, "user.*")]),
    ("- /", [(0, "/")]),
    (": .rules", [(P | M, ".rules")]),
    ("dir-merge,n- .rules", [(P | M | syntax.NO_INHERIT | syntax.NO_PREFIXES, ".rules")]),
    (":e .rules", [(0, ".rules"), (P | M, ".rules")]),
    (":ew+ sub/.rules", [(0, ".rules"), (P | M | syntax.WORD_SPLIT | syntax.NO_PREFIXES | INC, "sub/.rules")]),
    (":C", [(P | M | CVS_FLAGS, ".cvsignore")]),
    (":/ r", [(P | M | syntax.ABS_PATH, "r")]),
    ("", []),
]


@pytest.mark.parametrize(("text", "rules"), FILTERS)
def test_filter_valid_rule_gives_flags_and_pattern(text: str, rules: list[tuple[int, str]]) -> None:
    p = parser()
    p.filter(text.encode())
    assert p.rules == [Rule(flags, pattern.encode()) for flags, pattern in rules]


ERRORS = [
    ("x y", "Unknown filter rule: x y"),
    ("excluded y", "Unknown filter rule: excluded y"),
    ("-q y", "invalid modifier 'q' at position 1 in filter rule: -q y"),
    ("- ", "unexpected end of filter rule: - "),
    ("-", "unexpected end of filter rule: -"),
    ("! x", "'!' rule has trailing characters: ! x"),
    ("-n x", "invalid modifier 'n' at position 1 in filter rule: -n x"),
    (":! x", "invalid modifier '!' at position 1 in filter rule: :! x"),
    ("Hs x", "invalid modifier 's' at position 1 in filter rule: Hs x"),
    (":+- x", "invalid modifier '-' at position 2 in filter rule: :+- x"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_filter_bad_rule_is_refused_in_rsync_s_words(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parser().filter(text.encode())
    assert caught.value.text == message


def test_exclude_and_include_know_old_prefixes_only() -> None:
    p = parser()
    p.exclude(b"*.o")
    p.exclude(b"+ keep")
    p.include(b"- drop/")
    p.include(b"merge x")
    assert p.rules == [Rule(0, b"*.o"), Rule(INC, b"keep"), Rule(D, b"drop"), Rule(INC, b"merge x")]
    p.exclude(b"!")
    p.exclude(b"!x")
    assert p.rules == [Rule(0, b"!x")]


def test_exclude_from_skips_comments_and_takes_every_line_end() -> None:
    p = parser({b"f": b"# c\n; d\n\n*.o\r\n+ b\r- c/\n"})
    p.exclude_from(b"f")
    assert p.rules == [Rule(FROM, b"*.o"), Rule(FROM | INC, b"b"), Rule(FROM | D, b"c")]


def test_include_from_with_from0_splits_at_nul_alone() -> None:
    p = parser({b"f": b"a\nb\0c\0"}, null_lines=True)
    p.include_from(b"f")
    assert p.rules == [Rule(FROM | INC, b"a\nb"), Rule(FROM | INC, b"c")]


def test_exclude_from_missing_file_ends_with_file_error() -> None:
    with pytest.raises(FileError) as caught:
        parser().include_from(b"nope")
    assert caught.value.text == "failed to open include file nope: No such file or directory (2)"


def test_merge_error_within_file_hides_its_text() -> None:
    p = parser({b"f": b"- a\nsecret: x\n"})
    with pytest.raises(UsageError) as caught:
        p.filter(b". f")
    assert caught.value.text == "Unknown filter rule: <rule from f line 2>"


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({b"f": b"- a\n. secret", b"secret": b"x: y\n"}, "Unknown filter rule: <rule from a file named at f line 2>"),
        ({b"f": b"\n. g", b"g": b". h", b"h": b"x"}, "Unknown filter rule: <rule from a file named at a file named at f line 2>"),
        ({b"f": b". none"}, "failed to open exclude file <rule from f line 1>"),
    ],
)
def test_merge_error_within_a_file_that_a_file_names_hides_the_name(files: dict[bytes, bytes], text: str) -> None:
    with pytest.raises(PrsyncError) as caught:
        parser(files).filter(b". f")
    assert caught.value.text == text


def test_merge_words_and_nesting_keep_the_order() -> None:
    p = parser({b"f": b"- a\n. g\n- d", b"g": b"- b\n- c\n", b"w": b"x y\n z"})
    p.filter(b"merge f")
    p.filter(b".w- w")
    assert [r.pattern for r in p.rules] == [b"a", b"b", b"c", b"d", b"x", b"y", b"z"]


def test_merge_of_itself_ends_at_the_depth_limit() -> None:
    with pytest.raises(FileError, match="depth limit"):
        parser({b"f": b". f\n"}).filter(b". f")


def test_clear_empties_the_list() -> None:
    p = parser()
    for text in (b"- a", b"clear", b"- b"):
        p.filter(text)
    assert p.rules == [Rule(0, b"b")]


def test_per_directory_option_given_twice_hides_the_file() -> None:
    p = parser()
    for _ in range(3):
        p.per_directory()
    assert p.rules == [Rule(P | M, b"/.rsync-filter"), Rule(0, b".rsync-filter")]
    assert p.trust_sender


def test_per_dir_rule_with_a_known_name_is_dropped() -> None:
    p = parser()
    p.filter(b": .r")
    p.filter(b":n x/.r")
    assert p.rules == [Rule(P | M, b".r")]


def test_cvs_rule_loads_the_lists_once() -> None:
    p = parser(cvs=lambda: CvsSources(b"mine\n!\nours x", b"more"))
    p.filter(b"-C")
    p.filter(b":C")
    assert p.rules == [Rule(CVS_FLAGS, b""), Rule(P | M | CVS_FLAGS, b".cvsignore")]
    assert [r.pattern for r in p.cvs_rules] == [b"ours", b"x", b"more"]
    q = parser()
    q.filter(b"-C")
    assert len(q.cvs_rules) == 36
    assert q.cvs_rules[0] == Rule(syntax.PERISHABLE, b"RCS")
    assert q.cvs_rules[-1] == Rule(syntax.PERISHABLE | D, b".bzr")


def test_delete_excluded_makes_plain_rules_one_sided() -> None:
    p = parser(delete_excluded=True)
    for text in (b"- a", b"P b", b": c"):
        p.filter(text)
    assert p.rules == [Rule(S, b"a"), Rule(R, b"b"), Rule(P | M, b"c")]


def test_merge_file_leaves_clear_and_merges_to_the_matcher() -> None:
    p = parser()
    parsed = p.merge_file(b"- a\n!\n. other\n: more\nH b\nP c/\n", b"dir/.r", P | M, True)
    assert parsed.rules == [
        Rule(FROM, b"a"), Rule(syntax.CLEAR, b""), Rule(FROM | M, b"other"), Rule(FROM | P | M, b"more"), Rule(FROM | R | D, b"c")
    ]  # fmt: skip
    p.am_sender = True
    assert p.merge_file(b"H b\nP c/\n", b".r", P | M, True).rules == [Rule(FROM | S, b"b")]


def test_merge_file_of_a_sided_rule_refuses_sided_rules() -> None:
    with pytest.raises(UsageError, match="specified-side merge file contains specified-side filter: <rule from .r line 1>"):
        parser().merge_file(b"H b\n", b".r", P | M | S, True)


def test_daemon_rules_know_module_paths_and_take_directories_whole() -> None:
    files = {b"/etc/inc": b"keep/\n", b"/etc/exc": b"/a/b\n"}

    def read(name: bytes) -> bytes:
        return files[name]

    found = daemon_rules(
        read, filter=b"- x/ H,_h +_y", include_from=b"/etc/inc", include=b"*.c d/e", exclude_from=b"/etc/exc", exclude=b"tmp/ - z"
    )
    wild = syntax.ABS_PATH
    assert found.rules == [
        Rule(0, b"x/***"), Rule(INC, b"y"), Rule(FROM | INC | D, b"keep"),
        Rule(INC, b"*.c"), Rule(INC | wild, b"d/e"), Rule(FROM | wild, b"/a/b"),
        Rule(0, b"tmp/***"), Rule(0, b"z"),
    ]  # fmt: skip


# -- the wire -----------------------------------------------------------------------------------------------------------


def sent(rules: list[bytes], traits: FilterTraits, **options: object) -> list[bytes] | None:
    p = parser(protocol=traits.protocol, **options)
    for text in rules:
        p.filter(text)
    data = client_filter_list(p, traits)
    if not data:
        return None
    decoder = FilterListDecoder()
    assert decoder.feed(data) == b""
    return decoder.texts


PULL, PUSH = FilterTraits(), FilterTraits(am_sender=True)
WIRE = [
    ([b"- *.o", b"+ keep/", b": .r", b"hide x", b"-p y"], PULL, [b"- *.o", b"+ keep/", b": .r", b"-s x", b"-p y"]),
    ([b"P x", b"risk y", b"-rs z"], PULL, [b"-sr z"]),
    ([b"-/! a/", b":n-we .r"], PULL, [b"-/! a/", b"- .r", b":nw- .r"]),
    ([b"-C", b":C"], PULL, [b"-C ", b":C .cvsignore"]),
    ([b"- a"], PULL._replace(cvs_exclude=True), [b"- a"]),
    ([b"- a"], PULL._replace(delete_mode=True, delete_excluded=True), [b"- a"]),
    ([b"- a"], PUSH, None),
    ([b"- a", b"H b", b"P c"], PUSH._replace(delete_mode=True), [b"- a", b"-r c"]),
    ([b"- a", b": .r", b":- .q"], PUSH._replace(delete_mode=True, delete_excluded=True), [b": .r"]),
    ([b"- a", b"+ b", b"- - c"], PULL._replace(protocol=28), [b"a", b"+ b", b"- - c"]),
    ([b"-p a"], PULL._replace(protocol=29), [b"- a"]),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "traits", "expected"), WIRE)
def test_client_filter_list_sends_what_concerns_the_server(
    rules: list[bytes], traits: FilterTraits, expected: list[bytes] | None
) -> None:
    assert sent(rules, traits) == expected


def test_client_filter_list_old_protocol_refuses_modern_rules() -> None:
    with pytest.raises(ProtocolVersionError, match="filter rules are too modern for remote rsync."):
        sent([b": .r"], PULL._replace(protocol=28))


@pytest.mark.parametrize("protocol", [32, 30, 29, 28])
def test_client_filter_list_excludes_the_partial_directory(protocol: int) -> None:
    pulls, pushes = (
        client_filter_list(parser(), traits._replace(protocol=protocol, partial_dir=b".part", delete_mode=True))
        for traits in (PULL, PUSH)
    )
    rule = {True: b"-p .part/", False: b"- .part/"}[protocol >= 30] if protocol >= 29 else b".part/"
    assert pulls == pushes == len(rule).to_bytes(4, "little") + rule + bytes(4)


def test_client_filter_list_marks_one_sided_rules_for_the_matcher() -> None:
    p = parser(delete_excluded=False)
    for text in (b"- a", b"H b", b"P c", b"-rs d", b": .r", b":- .q"):
        p.filter(text)
    client_filter_list(p, PULL._replace(delete_mode=True, delete_excluded=True))
    only = [r.flags & (syntax.ONLY_SENDER | syntax.ONLY_RECEIVER) for r in p.rules]
    s, r = syntax.ONLY_SENDER, syntax.ONLY_RECEIVER
    assert only == [s, s, r, 0, 0, s]


def test_client_filter_list_with_cvs_adds_its_rules_after_sending() -> None:
    p = parser()
    client_filter_list(p, PULL._replace(cvs_exclude=True))
    assert [r.flags & M for r in p.rules] == [M, 0] and p.cvs_rules
    assert p.trust_sender


def test_server_filter_rules_parses_what_a_client_sends() -> None:
    p = parser()
    server_filter_rules(p, [b"- *.o", b"-C ", b": .r"], FilterTraits(am_sender=True))
    assert [r.pattern for r in p.rules] == [b"*.o", b"", b".r"]
    q = parser()
    server_filter_rules(q, [], FilterTraits(am_sender=True, cvs_exclude=True))
    assert [r.pattern for r in q.rules] == [b".cvsignore", b""]
    assert list_is_due(FilterTraits(am_sender=True)) and not list_is_due(FilterTraits())


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=5), st.integers(1, 7))
def test_filter_list_decoder_any_chunks_give_the_same_rules(texts: list[bytes], rest: bytes, step: int) -> None:
    data = b"".join(len(t).to_bytes(4, "little") + t for t in texts) + bytes(4)
    decoder = FilterListDecoder()
    for at in range(0, len(data), step):
        left = decoder.feed(data[at : at + step] if at + step < len(data) else data[at:] + rest)
        if at + step >= len(data):
            assert left == rest
        else:
            assert left is None
    assert decoder.texts == texts


def test_filter_list_decoder_more_text_than_the_limit_is_refused_however_it_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RULES_BYTES", 8)
    rule = (4).to_bytes(4, "little") + b"- ab"
    decoder = FilterListDecoder()
    for byte in rule * 2:
        assert decoder.feed(bytes((byte,))) is None
    assert decoder.texts == [b"- ab"] * 2
    with pytest.raises(StreamError, match="too many filter rules"):
        decoder.feed(rule)


def test_filter_list_decoder_over_long_rule_is_refused_before_it_is_read() -> None:
    with pytest.raises(StreamError, match="recv_rules") as caught:
        FilterListDecoder().feed((5120).to_bytes(4, "little"))
    assert caught.value.code == 22


@given(st.binary(max_size=30), st.sampled_from(["filter", "exclude", "include", "received"]))
def test_parser_any_text_gives_rules_or_one_error(text: bytes, method: str) -> None:
    try:
        getattr(parser(), method)(text)
    except PrsyncError as error:
        assert "\n" not in error.text or b"\n" in text
