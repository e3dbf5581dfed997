"""The filter options of a pull: what prsync and rsync do with them against the same stock daemon must be equal."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

RSYNC = shutil.which("rsync")
pytestmark = pytest.mark.skipif(RSYNC is None, reason="needs rsync")

TREE = {
    "a/x.o": "1", "a/x.c": "2", "a/b/y.o": "3", "a/b/core": "4", "c/z": "5", "k/q": "6", ".hidden": "7", "empty/sub/n.o": "8",
    "a/b/.r": "- y.o\n", "a/.cvsignore": "x.c", "k/.rsync-filter": "- q\n",
}  # fmt: skip
OLD = {
    "a/x.o": "old", "a/extra": "", "a/b/keep.me": "", "old/deep/1": "", "old/2": "", "k/stale": "", "gone": "", "core": "",
    ".r": "P /gone\n", "a/b/.r": "- keep.me\n", "k/.rsync-filter": "- stale\n",
}  # fmt: skip


def write(root: pathlib.Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    for path in [root, *root.rglob("*/")]:
        os.utime(path, (1_500_000_000 + len(files),) * 2)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[pathlib.Path, str]]:
    """A folder with the module's tree and rule files, and the URL of the stock daemon that serves it."""
    folder = tmp_path_factory.mktemp("stock")
    write(folder / "mod", TREE)
    write(folder, {".r": "- /old\n", "ex": "*.o\n# c\n+ z\n", "nul": "*.o\0+ z\0", "words": "bak *.c", "home/.cvsignore": "q"})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    identity = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""
    (folder / "conf").write_text(
        f"use chroot = no\n{identity}log file = {folder}/log\nport = {port}\naddress = 127.0.0.1\n[m]\npath = {folder}/mod\n"
    )
    process = subprocess.Popen([str(RSYNC), "--daemon", "--no-detach", f"--config={folder}/conf"], stdin=subprocess.DEVNULL)
    for _ in range(300):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.01)
    yield folder, f"rsync://127.0.0.1:{port}/m/"
    process.terminate()
    process.wait()


def outcome(program: list[str], words: list[str], folder: pathlib.Path, url: str) -> tuple[int, list[str], list[str], list[str]]:
    """Exit code, sorted lines of stdout (rsync's order between deletions and items is a race), tree, messages."""
    target = folder / "dst"
    shutil.rmtree(target, ignore_errors=True)
    write(target, OLD)
    environment = {**os.environ, "HOME": str(folder / "home"), "CVSIGNORE": "gone"}
    environment["PYTHONPATH"] = str(pathlib.Path(__file__).parents[3])
    result = subprocess.run([*program, *words, url, "dst/"], capture_output=True, text=True, cwd=folder, env=environment)
    tree = sorted(str(path.relative_to(target)) for path in target.rglob("*"))
    lines = sorted(line for line in result.stdout.splitlines() if not line.startswith("sent "))
    said = [re.sub(r"^rsync: (\[\w+\] )?| at .*$", "", line) for line in result.stderr.splitlines()]
    return result.returncode, lines, tree, said


CASES = [
    ["--exclude=*.o"],
    ["--delete", "--exclude=core"],
    ["--delete", "--delete-excluded", "--exclude=*.o", "--filter=P core"],
    ["--delete", "--filter=: .r"],
    ["--delete", "--filter=:n .r"],
    ["--delete", "--filter=: FOLDER/.r"],
    ["--delete", "-F"],
    ["--delete", "-FF"],
    ["--delete", "-C"],
    ["--delete", "--filter=:C"],
    ["--delete", "--exclude-from=ex"],
    ["--delete", "--include-from=ex", "--exclude=*.c"],
    ["--delete", "--from0", "--exclude-from=nul"],
    ["--delete", "--filter=merge,w- words"],
    ["--delete", "-f", "H b/", "-f", "R **"],
    ["--delete", "-f", "-/ FOLDER/dst/gone"],
    ["--delete", "-f", "-/ /a"],
    ["--delete-after", "-f", ":e .r"],
    ["--delete-before", "--filter=dir-merge,- .r"],
    ["-m", "--include=*/", "--include=*.c", "--exclude=*"],
    ["-n", "--delete", "--exclude=k", "--out-format=%o %i %n"],
    ["-H", "--out-format=%f|%n%L|%l|%B|%M|%'10l|%C"],
    ["-v", "--exclude=a"],
    ["-f", "x foo"],
    ["-f", "-q foo"],
    ["-f", ". /nope"],
    ["--exclude-from=/nope"],
]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_pull_with_filters_is_as_rsync_s(words: list[str], stock: tuple[pathlib.Path, str]) -> None:
    folder, url = stock
    words = [("-ai" if words[0] != "-v" else "-a"), *(word.replace("FOLDER", str(folder)) for word in words)]
    theirs = outcome([str(RSYNC)], words, folder, url)
    assert outcome([sys.executable, "-m", "prsync"], words, folder, url) == theirs
