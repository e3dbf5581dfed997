"""Local copies and listings: what stock rsync prints, leaves and exits with; nothing imported that they do not need."""

from __future__ import annotations

import os
import pathlib
import select
import signal
import subprocess

import client_harness as harness
import pytest
from client_harness import prsync, rsync, stable
from kinds_of_tree import snapshot, tree_differences
from servers import RSYNC

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

BIG = 1_500_000


def fill(place: pathlib.Path) -> None:
    (place / "src/d").mkdir(parents=True)
    (place / "full").mkdir()
    (place / "src/a").write_bytes(b"hello")
    (place / "src/d/b").write_bytes(b"b" * 5000)
    (place / "src/keep.o").write_bytes(b"o")
    (place / "src/.rules").write_text("- hidden\n")
    (place / "src/hidden").touch()
    (place / "src/l").symlink_to("a")
    (place / "full/q").write_bytes(b"q")
    (place / "full/x.o").write_bytes(b"x")
    (place / "dl").symlink_to("full")
    (place / "file").write_bytes(b"z")
    (place / "list").write_text("# comment\n/a\n; comment\nd/\n../src/a\n")
    for path in sorted(place.rglob("*"), reverse=True):
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)


CASES = (
    "-a nosuch dst/", "-a src/ nosuch/deep/", "-a src/ file", "-a src/a src/d file", "-a src/a file/", "-a src/a new/",
    "-av src dst", "-avn src/ dst/x/y", "-av --mkpath src/a a/b/c", "-a src/ dl/", "src/", "-r src", "src/a", "nosuch",
    "--list-only -r src full", "-ai --delete --filter=P*.o src/ full/", "-ai --delete-excluded --exclude=*.o src/ full/",
    "-aiC --delete src/ full/", "-ai --filter=:/.rules src/ dst/", "-ai --files-from=list src/ dst/",
    "-ai -b --backup-dir=../bk src/a file", "-ai --link-dest=../full -c src/ dst/",
    "-ai --max-delete=0 --delete src/ full/", "-ai --temp-dir=nosuch src/ dst/",
    "-ai --log-file=LOG --log-file-format=%o_%n src/ dst/", "-ai --stats --chmod=F600 src/ dst/",
    "-ai --remove-source-files src/ dst/", "-aiz --no-whole-file src/d/b file",
    "-ai --protocol=29 src/ dst/", "-ai -M-n src/ dst/", "-ai --bwlimit=1g src/ dst/", "-aP --info=progress0 src/ dst/",
    "-ai -R src/./d/b dst", "-v src dst",
)  # fmt: skip


@pytest.mark.parametrize("words", CASES)
def test_local_run_does_what_stock_does(tmp_path: pathlib.Path, words: str) -> None:
    results = []
    for name, program in (("ours", prsync), ("theirs", rsync)):
        place = tmp_path / name
        fill(place)
        result = program(*words.split(), cwd=place)
        log = place / "LOG"
        logged = [line.partition(b"] ")[2] for line in log.read_bytes().splitlines()] if log.exists() else []
        log.unlink(missing_ok=True)
        results.append((result.returncode, stable(result.stdout), stable(b"\n".join(logged)), snapshot(place)))
    ours, theirs = results
    assert ours[:3] == theirs[:3]
    assert tree_differences(ours[3], theirs[3]) == []


def test_source_that_is_the_destination_is_not_removed(tmp_path: pathlib.Path) -> None:
    fill(tmp_path)
    before = snapshot(tmp_path / "src")
    result = prsync("-a", "--remove-source-files", "src/", "src/", cwd=tmp_path)
    assert (result.returncode, snapshot(tmp_path / "src")) == (23, before)
    assert b"ERROR: Skipping sender remove of destination file: l\n" in result.stderr


@pytest.mark.parametrize(("words", "left"), [((), set()), (("--partial",), {"new"}), (("--partial-dir=.p",), {".p", ".p/new"})])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_copy_leaves_whole_files_only(
    tmp_path: pathlib.Path, number: signal.Signals, words: tuple[str, ...], left: set[str]
) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    (source / "new").write_bytes(os.urandom(BIG))
    command = harness.command("-a", "--bwlimit=1000", *words, f"{source}/", f"{copy}/")
    process = subprocess.Popen(command, env=harness.environment(), cwd="/", stderr=subprocess.PIPE)
    for _ in range(2000):
        if any(path.stat().st_size > 100_000 for path in copy.rglob(".new.*")):
            break
        select.select([], [], [], 0.005)
    process.send_signal(number)
    errors = process.communicate(timeout=20)[1]
    assert (process.returncode, b"Traceback" in errors) == (20, False)
    assert {str(path.relative_to(copy)) for path in copy.rglob("*")} == left
    assert prsync("-a", *words, f"{source}/", f"{copy}/").returncode == 0
    assert (copy / "new").read_bytes() == (source / "new").read_bytes()


def test_local_copy_imports_little(tmp_path: pathlib.Path) -> None:
    fill(tmp_path)
    code = "import sys; from prsync.commands.main import main; code = main(sys.argv[1:]); print(code, sorted(sys.modules))"
    result = subprocess.run(
        [harness.sys.executable, "-c", code, "-a", f"{tmp_path}/src/", f"{tmp_path}/dst/"],
        capture_output=True, text=True, env=harness.environment(), check=True,
    )  # fmt: skip
    assert result.stdout.startswith("0 ") and (tmp_path / "dst/a").read_bytes() == b"hello"
    for heavy in ("trio", "attr", "attrs", "rich", "sqlalchemy", "importlib.metadata", "asyncio", "ssl"):
        assert f"'{heavy}'" not in result.stdout


@pytest.mark.parametrize("words", [["--delay-updates"], ["--delay-updates", "--protocol=29"]], ids=" ".join)
def test_new_file_without_a_place_to_wait_in_is_an_error(tmp_path: pathlib.Path, words: list[str]) -> None:
    """Stock rsync ends with 0, though the file is not there."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a").write_text("new")
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst" / "a").write_text("old one")
    result = prsync("-r", *words, "--partial-dir=none/deeper", f"{tmp_path}/src/", f"{tmp_path}/dst/")
    assert result.returncode == 23 and result.stderr.startswith(
        b"Unable to create partial-dir for a -- discarding completed file.\n"
    )
    assert [path.name for path in (tmp_path / "dst").iterdir()] == ["a"] and (tmp_path / "dst" / "a").read_text() == "old one"
