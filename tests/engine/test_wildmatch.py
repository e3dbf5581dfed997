"""rsync's wildcards, by table and by comparing with a slow model."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.engine.rules import wildmatch

MATCHES = [
    ("", ""), ("a", "a"), ("?", "a"), ("*", ""), ("*", "abc"), ("a*c", "abbbc"), ("*.o", ".o"), ("a\\*b", "a*b"),
    ("**", "a/b/c"), ("a/**", "a/b/c"), ("**/c", "a/b/c"), ("a**c", "a/b/c"), ("***", "a/b"), ("a/*/c", "a/b/c"),
    ("[abc]", "b"), ("[a-c]", "b"), ("[!a]", "b"), ("[^a]", "b"), ("[]]", "]"), ("[]-]", "-"), ("[!]]", "a"), ("[\\]]", "]"),
    ("[a-\\c]", "b"), ("[[:digit:]]", "7"), ("[[:alpha:][:digit:]]", "x"), ("[^[:space:]]", "x"), ("[[:upper:]x-z]", "y"),
    ("[[:xdigit:]]", "f"), ("[a-c-e]", "-"), ("[-x]", "-"), ("[[]", "["), ("[[:x]", ":"), ("\\a", "a"), ("*\\\\", "a\\"),
    ("-*-*-*-*-*-*-12-*-*-*-m-*-*-*", "-adobe-courier-bold-o-normal--12-120-75-75-m-70-iso8859-1"), ("[,-.]", "-"),
    ("**/*a*b*g*n*t", "abcd/abcdefg/abcdefghijk/abcdefghijklmnop.txt"), ("*X*i", "abcXdefXghi"),
]
MISMATCHES = [
    ("a", ""), ("", "a"), ("?", "/"), ("?", ""), ("*", "a/b"), ("a*c", "a/c"), ("*/c", "a/b/c"), ("[a]", "b"), ("[!a]", "a"),
    ("[!a]", "/"), ("[^x]", "/"), ("[a-c", "b"), ("[", "["), ("a[", "a["), ("[[:nope:]]", "a"), ("\\", "\\"), ("a\\", "a"),
    ("a/*", "a/b/c"), ("**c", "a/b"), ("[[:digit:]]", "a"), ("[]", "]"), ("a?c", "a/c"), ("[a-", "a"), ("[\\", "\\"),
    ("-*-*-*-*-*-*-12-*-*-*-m-*-*-*", "-adobe-courier-bold-o-normal--12-120-75-75-X-70-iso8859-1"),
    ("**/*a*b*g*n*t", "abcd/abcdefg/abcdefghijk/abcdefghijklmnop.txz"), ("*/*/*", "a/b"), ("[!]a-]", "]"),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "text"), MATCHES)
def test_wildmatch_fitting_pattern_matches(pattern: str, text: str) -> None:
    assert wildmatch(pattern.encode(), text.encode())


@pytest.mark.parametrize(("pattern", "text"), MISMATCHES)
def test_wildmatch_other_pattern_does_not_match(pattern: str, text: str) -> None:
    assert not wildmatch(pattern.encode(), text.encode())


@pytest.mark.parametrize(("pattern", "text"), [("ABC", "abc"), ("[A-C]x", "Bx"), ("*.Example.ORG", "www.example.org")])
def test_wildmatch_folded_case_does_not_matter(pattern: str, text: str) -> None:
    assert wildmatch(pattern.encode(), text.encode(), fold=True)
    assert not wildmatch(pattern.encode(), text.lower().encode()) or pattern == text


def as_regex(pattern: str) -> re.Pattern[str]:
    """A pattern of letters, slashes, `?`, `*`, `**` as a regular expression."""
    out = re.sub(r"\*\*+", "\0", pattern)
    out = "".join({"\0": "(?s:.*)", "*": "[^/]*", "?": "[^/]"}.get(c, re.escape(c)) for c in out)
    return re.compile(out)


@given(st.text("ab/?*", max_size=9), st.text("ab/", max_size=9))
def test_wildmatch_stars_agree_with_a_regular_expression(pattern: str, text: str) -> None:
    assert wildmatch(pattern.encode(), text.encode()) == bool(as_regex(pattern).fullmatch(text))


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_wildmatch_any_bytes_give_an_answer(pattern: bytes, text: bytes) -> None:
    wildmatch(pattern, text)
    wildmatch(pattern, text, fold=True)


def test_wildmatch_many_stars_cost_no_exponential_time() -> None:
    assert not wildmatch(b"*a" * 30 + b"b", b"a" * 250)
