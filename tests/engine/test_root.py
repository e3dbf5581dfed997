"""Names beneath a root, as the lister sees them: with openat2, and walked component by component where the kernel lacks it."""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
import sys

import pytest

from prsync.engine.context import Context
from prsync.engine.flist import Root
from prsync.errors import EngineError, ExitCode

# Makes openat2 (437 everywhere) answer ENOSYS for this process, then lists what the arguments name.
WITHOUT_OPENAT2 = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = struct.pack("HBBIHBBIHBBIHBBI", 0x20, 0, 0, 0, 0x15, 0, 1, 437, 0x06, 0, 0, 0x00050000 | 38, 0x06, 0, 0, 0x7fff0000)
program = ctypes.create_string_buffer(code, len(code))
fprog = struct.pack("HxxxxxxP", 4, ctypes.addressof(program))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, fprog) == 0
assert libc.syscall(437, -1, b"/", None, 0) == -1 and ctypes.get_errno() == 38
from tests.engine.flist_tools import ARCHIVE, Sent
sent = Sent(sys.argv[1], [os.fsencode(a) for a in sys.argv[2:]], **ARCHIVE)
for entry in sent.entries():
    print(os.fsdecode(entry.path))
for line in sent.log():
    print(line.decode())
"""


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "top/a/b/c").mkdir(parents=True)
    (tmp_path / "top/a/b/c/deep").write_text("x")
    (tmp_path / "top/a/b/c" / ("n" * 255)).write_text("x")
    (tmp_path / "secret").write_text("x")
    os.symlink("../..", tmp_path / "top/a/out")
    os.symlink("b", tmp_path / "top/a/in")
    return tmp_path / "top"


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="seccomp by hand")
def test_walk_without_openat2_lists_and_refuses_to_leave(tree: pathlib.Path) -> None:
    arguments = [str(tree), "a/b", "a/out/secret", "a/../../secret", "a/in/c/deep"]
    result = subprocess.run([sys.executable, "-c", WITHOUT_OPENAT2, *arguments], capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert lines[:4] == ["b", "b/c", "b/c/deep", "b/c/" + "n" * 255]
    assert [line.split("failed")[0] for line in lines[4:]] == [
        'rsync: [sender] change_dir "a/out" ',
        'rsync: [sender] link_stat "secret" ',
        'rsync: [sender] change_dir "a/in/c" ',  # no symlink is followed there, not even one that stays inside
    ]


def test_root_open_missing_directory_fails_with_its_path(tmp_path: pathlib.Path) -> None:
    with pytest.raises(EngineError, match="change_dir") as caught:
        Root.open(Context(), os.fsencode(tmp_path / "none"))
    assert caught.value.code is ExitCode.FILE_SELECT


def test_root_open_create_makes_one_level_and_more_with_mkpath(tmp_path: pathlib.Path) -> None:
    Root.open(Context(), os.fsencode(tmp_path / "one"), create=True)
    assert (tmp_path / "one").is_dir()
    with pytest.raises(EngineError, match="mkdir") as caught:
        Root.open(Context(), os.fsencode(tmp_path / "x/y"), create=True)
    assert caught.value.code is ExitCode.FILE_IO
    context = Context()
    context.options.mkpath = 1
    Root.open(context, os.fsencode(tmp_path / "x/y"), create=True)
    assert (tmp_path / "x/y").is_dir()


def test_root_from_fd_takes_the_descriptor(tmp_path: pathlib.Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    root = Root.from_fd(Context(), fd)
    assert root.fileno() == fd
    del root
    with pytest.raises(OSError):
        os.fstat(fd)
