"""Options and batch files: flags there and back, what reading changes, and the command that reads."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.errors import UnsupportedError, UsageError
from prsync.options.model import Options, parse_arguments
from prsync.protocol.batch import StreamFlags
from prsync.session.client.batch_options import adjust, quote, replay_words, stream_flags

READABLE = int(~(StreamFlags.ICONV | StreamFlags.ACLS | StreamFlags.XATTRS | StreamFlags.APPEND) & StreamFlags(0x7FFF))


def options(*words: str) -> Options:
    return parse_arguments([*words, "a", "b"], {})


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ((), 0),
        (("-a",), 0x9F),
        (("-aHz",), 0x1BF),
        (("-c",), 0x40),
        (("-d",), 0x80),
        (("-r", "--inplace"), 0x1081),
        (("--append",), 0x3000),
        (("--append-verify",), 0x5000),
    ],
)
def test_stream_flags_are_those_of_the_options(words: tuple[str, ...], flags: int) -> None:
    assert stream_flags(options(*words)) == flags


@given(st.integers(0, 0x7FFF).map(lambda flags: StreamFlags(flags & READABLE)))
def test_adjust_gives_options_with_the_batchs_flags(flags: StreamFlags) -> None:
    adjusted, lines = adjust(options("-a"), flags, 32)
    assert stream_flags(adjusted) == flags
    assert len(lines) == (flags ^ stream_flags(options("-a"))).bit_count()


def test_adjust_says_what_it_changes() -> None:
    _, lines = adjust(options("-a"), StreamFlags.RECURSE | StreamFlags.DIRS | StreamFlags.HARD_LINKS, 29)
    assert lines[0] == "Clearing the --owner (-o) option to match the batchfile.\n"
    assert lines[-1] == "Setting the --hard-links (-H) option to match the batchfile.\n"


@pytest.mark.parametrize(("flag", "error"), [(StreamFlags.ICONV, UsageError), (StreamFlags.XATTRS, UnsupportedError)])
def test_adjust_refuses_what_cannot_be_read(flag: StreamFlags, error: type[Exception]) -> None:
    with pytest.raises(error):
        adjust(options(), flag, 32)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_quote_any_word_is_one_for_the_shell(word: str) -> None:
    assert shlex.split(quote(word)) == [word]


def test_replay_words_read_instead_of_writing() -> None:
    words = ["rsync", "-av", "--exclude", "x", "-f", "- y", "--write-batch=b", "src/", "--filter=P z", "host:dst"]
    assert replay_words(words, ["src/", "host:dst"]) == ["'-av'", "--read-batch='b'", "${1:-'dst'}"]
