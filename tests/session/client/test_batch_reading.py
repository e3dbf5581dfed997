"""Batch files between prsync and stock rsync, in both directions: what one writes the other reads, onto the same old copy."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from client_harness import environment
from kinds_of_tree import change, fill, snapshot, tree_differences
from servers import RSYNC

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

PROGRAMS = {"stock": [str(RSYNC)], "prsync": [sys.executable, "-m", "prsync"]}
BASIC = ("-a", "--delete")
CASES = [
    ("pull", 32, (*BASIC, "-H")),
    ("push", 32, (*BASIC, "-H", "-z")),
    ("local", 32, (*BASIC, "-c")),
    ("pull", 31, (*BASIC, "-z", "--no-inc-recursive")),
    ("push", 31, ("-aH", "--inplace")),
    ("pull", 30, (*BASIC, "-H", "--delay-updates")),
    ("push", 30, (*BASIC, "--delete-after", "-b", "--suffix=.old")),
    ("pull", 29, (*BASIC, "-H")),
    ("push", 29, (*BASIC, "-z")),
    ("push", 28, (*BASIC, "-H")),
    ("pull", 27, BASIC),
]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """`old` and `new`, a remote shell and a prsync that it starts."""
    folder = tmp_path_factory.mktemp("batch")
    for name in ("old", "new"):
        fill(folder / name)
    change(folder / "new")
    shell = folder / "shell"
    shell.write_text('#!/bin/sh\nshift\nexec /bin/sh -c "$*"\n')
    shell.chmod(0o755)
    return folder


def run(program: str, *words: str, cwd: pathlib.Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAMS[program], *words], input=stdin, capture_output=True, check=False, timeout=30, cwd=cwd, env=environment()
    )


def copy_of_old(trees: pathlib.Path, place: pathlib.Path, name: str) -> str:
    subprocess.run([str(RSYNC), "-aHA", f"{trees}/old/", f"{place}/{name}/"], check=True)
    return name


def ends(way: str, trees: pathlib.Path, destination: str) -> list[str]:
    source = f"{trees}/new/"
    if way == "local":
        return [source, destination]
    shell = ["-e", f"{trees}/shell", f"--rsync-path={RSYNC}"]
    return [*shell, *((f"h:{source}", destination) if way == "pull" else (source, f"h:{os.getcwd()}/{destination}"))]


@pytest.mark.parametrize("writer", PROGRAMS)
@pytest.mark.parametrize(
    ("way", "protocol", "options"), CASES, ids=lambda value: "".join(value) if isinstance(value, tuple) else value
)
def test_batch_that_one_writes_gives_all_readers_the_writers_tree(
    trees: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    writer: str,
    way: str,
    protocol: int,
    options: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*options, f"--protocol={protocol}"]
    copy_of_old(trees, tmp_path, "written")
    made = run(writer, *words, "--write-batch=batch", *ends(way, trees, "written"), cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    for reader in PROGRAMS:
        copy_of_old(trees, tmp_path, reader)
        read = run(reader, *options, "--read-batch=batch", reader, cwd=tmp_path)
        assert (read.returncode, read.stderr) == (0, b"")
        assert not tree_differences(snapshot(tmp_path / "written"), snapshot(tmp_path / reader))


@pytest.mark.parametrize("writer", PROGRAMS)
@pytest.mark.parametrize("way", ["pull", "push", "local"])
def test_only_write_batch_changes_nothing_and_records_all(
    trees: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, writer: str, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path / copy_of_old(trees, tmp_path, "kept"))
    made = run(writer, *BASIC, "-v", "--only-write-batch=batch", *ends(way, trees, "kept"), cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert b"(BATCH ONLY)" in made.stdout
    assert not tree_differences(before, snapshot(tmp_path / "kept"))
    for reader in PROGRAMS:
        copy_of_old(trees, tmp_path, reader)
        assert (
            run(reader, *BASIC, "--read-batch=-", reader, cwd=tmp_path, stdin=(tmp_path / "batch").read_bytes()).returncode == 0
        )
        assert (tmp_path / reader / "big").read_bytes() == (trees / "new" / "big").read_bytes()


@pytest.mark.parametrize("way", ["pull", "push"])
def test_script_applies_the_batch_with_the_writers_rules(
    trees: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*BASIC, "--exclude=it's", "--filter", "P kept", "--write-batch=batch"]
    scripts = []
    for writer in PROGRAMS:
        copy_of_old(trees, tmp_path, "to")
        assert run(writer, *words, *ends(way, trees, "to"), cwd=tmp_path).returncode == 0
        shutil.rmtree(tmp_path / "to")
        scripts.append((tmp_path / "batch.sh").read_text().partition("' ")[2])
    assert scripts[0] == scripts[1]


def test_second_reading_skips_what_is_there(trees: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("stock", "-a", "--write-batch=batch", *ends("local", trees, "written"), cwd=tmp_path).returncode == 0
    for reader in PROGRAMS:
        first = run(reader, "-ai", "--read-batch=batch", reader, cwd=tmp_path)
        second = run(reader, "-ai", "--read-batch=batch", reader, cwd=tmp_path)
        assert (first.returncode, second.returncode) == (0, 0)
        assert b'(Skipping batched update for "big")\n' in second.stdout
    assert not tree_differences(snapshot(tmp_path / "stock"), snapshot(tmp_path / "prsync"))


def test_wanted_file_that_the_batch_lacks_is_an_error(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "from").mkdir(exist_ok=True)
        (tmp_path / "from" / name).write_text(name)
    assert run("stock", "-a", "from/b", "to/", cwd=tmp_path).returncode == 0
    assert run("prsync", "-a", "--no-inc-recursive", "--write-batch=batch", "from/", "to", cwd=tmp_path).returncode == 0
    for reader in PROGRAMS:
        read = run(reader, "-a", "--read-batch=batch", reader, cwd=tmp_path)
        assert read.returncode == 23
        assert b'(No batched update for "b")\n' in read.stderr
        assert sorted(os.listdir(tmp_path / reader)) == ["a", "c"]


def test_truncated_batch_leaves_whole_files_only(
    trees: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = run(
        "prsync", *BASIC, "--write-batch=batch", *ends("local", trees, copy_of_old(trees, tmp_path, "written")), cwd=tmp_path
    )
    assert made.returncode == 0
    whole = (tmp_path / "batch").read_bytes()
    texts = {data for side in ("old", "new") for data in contents(trees / side)}
    for part in range(8):
        copy_of_old(trees, tmp_path, "to")
        read = run("prsync", *BASIC, "--read-batch=-", "to", cwd=tmp_path, stdin=whole[: len(whole) * part // 8])
        assert read.returncode == 12, read.stderr
        assert b"connection unexpectedly closed" in read.stderr
        assert set(contents(tmp_path / "to")) <= texts
        shutil.rmtree(tmp_path / "to")


def contents(root: pathlib.Path) -> list[bytes]:
    return [path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink()]


REFUSED = [
    (("--read-batch=missing", "to"), 11, b"open error: No such file or directory (2)\n"),
    (("--read-batch=folder", "to"), 11, b"is neither a regular file nor a FIFO\n"),
    (("--read-batch=batch", "h:to"), 1, b"remote destination is not allowed with --read-batch\n"),
    (("--read-batch=batch", "--write-batch=other", "to"), 1, b"--write-batch and --read-batch can not be used together\n"),
    (("--read-batch=batch", "--files-from=x", "to"), 1, b"--read-batch cannot be used with --files-from\n"),
    (("--read-batch=batch", "--remove-source-files", "to"), 1, b"--read-batch cannot be used with --remove-source-files\n"),
    (("--read-batch=batch", "--protocol=31", "to"), 2, b"The protocol version in the batch file is too new (32 > 31).\n"),
    (("--read-batch=batch", "--delete-before", "to"), 1, b"Incompatible options specified for inc-recursive batch file.\n"),
    (("--write-batch=no/batch", "a", "b"), 3, b"no/batch.sh\" open error: No such file or directory (2)\n"),
    (("--write-batch=folder", "a", "b"), 11, b"folder\" open error: Is a directory (21)\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "line"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_refused_batch_has_rsyncs_words_and_code(tmp_path: pathlib.Path, words: tuple[str, ...], code: int, line: bytes) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").mkdir()
    assert run("stock", "-a", "--write-batch=batch", "a/", "made", cwd=tmp_path).returncode == 0
    for program in PROGRAMS:
        ended = run(program, "-a", *words, cwd=tmp_path)
        assert (ended.returncode, line in ended.stderr) == (code, True), (program, ended.stderr)
