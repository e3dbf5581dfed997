"""A client's arguments and paths, as io.c:read_args and util1.c take them."""

import os
import pathlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.session.daemon.admission.text_phase import Hangup, Refusal, TextStream
from prsync.session.daemon.transfer.arguments import (
    Expander,
    clean_path,
    open_beneath,
    read_arguments,
    remove_backslashes,
    split_at_module,
)


def stream(data: bytes) -> TextStream:
    ours, theirs = socket.socketpair()
    theirs.sendall(data)
    theirs.close()
    return TextStream(ours)


def test_arguments_are_parted_at_the_dot() -> None:
    received = read_arguments(stream(b"--server\0--x=a\\*b\\\\\0.\0mod/a\\b\0mod/c\0\0rest"), unescape=True)
    assert received.options == (b"--server", b"--x=a*b\\")
    assert received.paths == (b"mod/a\\b", b"mod/c")
    assert received.request == b"mod/a\\b mod/c"


def test_second_batch_keeps_backslashes() -> None:
    assert read_arguments(stream(b"--x=\\*\0\0"), unescape=False).options == (b"--x=\\*",)


def test_too_many_arguments_are_refused() -> None:
    text = stream(b"")
    text.buffer += b"a\0" * 20000
    with pytest.raises(Refusal) as refused:
        read_arguments(text, unescape=True)
    assert (refused.value.text, refused.value.log) == ("too many daemon arguments",) * 2, "the operator hears of it too"


def test_end_within_the_arguments_is_a_hangup() -> None:
    with pytest.raises(Hangup):
        read_arguments(stream(b"--server\0--sen"), unescape=True)


def test_over_long_argument_is_a_hangup() -> None:
    with pytest.raises(Hangup):
        read_arguments(stream(b"a" * 6000 + b"\0\0"), unescape=True)


@given(st.binary(max_size=20).filter(lambda b: b"\0" not in b))
def test_backslashes_are_removed_once(word: bytes) -> None:
    escaped = b"".join(b"\\" + bytes([c]) for c in word)
    assert remove_backslashes(escaped) == word


SPLITS = [
    (b"mod/", False, [b"/"]),
    (b"mod", False, []),
    (b"mod/a b", False, [b"/a b"]),
    (b"mod/a mod/b mod/c", False, [b"/a", b"b", b"c"]),
    (b"mod/a mod/b", True, [b"/a mod/b"]),
    (b"other/a", False, [b"other/a"]),
    (b"mod/a[ ]mod/b", False, [b"/a[ ]mod/b"]),
]


@pytest.mark.parametrize(("argument", "secluded", "parts"), SPLITS)
def test_argument_is_split_at_the_modules_name(argument: bytes, secluded: bool, parts: list[bytes]) -> None:
    assert split_at_module(argument, b"mod", secluded) == parts


PATHS = [
    (b"/", b".", b"."),
    (b"", b".", b"."),
    (b"/a/", b"a/", b"a/"),
    (b"/a//b", b"a/b", b"a/b"),
    (b"/../../etc/passwd", b"etc/passwd", b"etc/passwd"),
    (b"/a/../..", b".", b"."),
    (b"/a/b/..", b"a/", b"a/"),
    (b"/a/.", b"a/", b"a/."),
    (b"/a/./b", b"a/b", b"a/./b"),
    (b"/a/./", b"a/", b"a/./"),
    (b"/./a", b"a", b"./a"),
    (b"/...", b"...", b"..."),
    (b"/a/..b/c..", b"a/..b/c..", b"a/..b/c.."),
]


@pytest.mark.parametrize(("path", "plain", "relative"), PATHS)
def test_path_is_kept_within_the_module(path: bytes, plain: bytes, relative: bytes) -> None:
    assert clean_path(path, keep_dot_dirs=False) == plain
    assert clean_path(path, keep_dot_dirs=True) == relative


@given(st.lists(st.sampled_from([b"a", b"..", b".", b"", b"b.."]), max_size=8), st.booleans())
def test_no_path_leads_out_of_the_module(parts: list[bytes], keep: bool) -> None:
    cleaned = clean_path(b"/".join(parts), keep)
    assert not cleaned.startswith(b"/") and b".." not in cleaned.split(b"/")


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> Iterator[int]:
    for name in ("a1/x", "a1/y", "a2/x", "b/z", ".hidden/x", "secret/x"):
        (tmp_path / "mod" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mod" / name).touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "o").touch()
    (tmp_path / "mod" / "link").symlink_to(tmp_path / "outside")
    number = os.open(tmp_path / "mod", os.O_RDONLY)
    yield number
    os.close(number)


EXPANSIONS = [
    (b"a*/x", [b"a1/x", b"a2/x"]),
    (b"a?", [b"a1", b"a2"]),
    (b"[ab]/*", [b"b/z"]),
    (b"*/", [b".hidden/", b"a1/", b"a2/", b"b/", b"link/"]),
    (b".h*/x", [b".hidden/x"]),
    (b"none*", [b"none*"]),
    (b"a1/none", [b"a1/none"]),
    (b"a*/./x", [b"a1/./x", b"a2/./x"]),
    (b"secret*", [b"secret*"]),
    (b"link/*", [b"link/*"]),
    (b"no/*", [b"no/*"]),
]


@pytest.mark.parametrize(("pattern", "names"), EXPANSIONS)
def test_wildcards_expand_beneath_the_module(tree: int, pattern: bytes, names: list[bytes]) -> None:
    expander = Expander(tree, lambda path, is_dir: path.startswith(b"secret"), confined=False)
    assert sorted(expander.expand(pattern)) == names


def test_confined_process_may_follow_links(tree: int) -> None:
    assert Expander(tree, None, confined=True).expand(b"link/*") == [b"link/o"]


@pytest.mark.parametrize("path", [b"link/o", b"../outside/o", b"a1/../../outside/o"])
def test_open_beneath_leaves_the_root_by_no_way(tree: int, path: bytes) -> None:
    with pytest.raises(OSError):
        open_beneath(tree, path, os.O_RDONLY)


def test_open_beneath_opens_a_file(tree: int) -> None:
    os.close(open_beneath(tree, b"a1/x", os.O_RDONLY))
