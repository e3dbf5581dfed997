"""Wildcards over names in text: the same answers as the core's matcher."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.engine.rules import wildmatch as core_wildmatch
from prsync.protocol.wildmatch import has_wildcard, wildmatch


@given(st.text("ab/*?[]!^-\\:", max_size=10), st.text("ab/-]", max_size=6))
def test_answer_is_the_cores(pattern: str, text: str) -> None:
    assert wildmatch(pattern, text) is core_wildmatch(pattern.encode(), text.encode())


@pytest.mark.parametrize(("text", "expected"), [("a*", True), ("a?", True), ("[a]", True), ("a]", False), ("", False)])
def test_wildcards_are_seen(text: str, expected: bool) -> None:
    assert has_wildcard(text) is expected


def test_many_stars_cost_no_exponential_time() -> None:
    assert not wildmatch("*a" * 30 + "b", "a" * 250)
