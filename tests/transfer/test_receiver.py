"""Pulls from a stock rsync daemon, end to end through the receiver's pump."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stock
from servers import StockDaemon

from prsync.engine import formats
from prsync.engine.context import Context
from prsync.engine.native import lib

pytestmark = pytest.mark.skipif(not stock.RSYNC, reason="needs the real rsync")

Setup = Callable[[Context], None]


def options(**values: int) -> Setup:
    def setup(context: Context) -> None:
        for name, value in values.items():
            setattr(context.options, name, value)

    return setup


def strings(values: dict[int, bytes], **more: int) -> Setup:
    def setup(context: Context) -> None:
        options(**more)(context)
        for which, text in values.items():
            context.set_string(which, text)

    return setup


def pattern(size: int, seed: int = 1) -> bytes:
    """Bytes without repetition on the scale of a block."""
    block = bytes((i * 167 + seed * 29) % 251 for i in range(251))
    return b"".join(b"%08d" % (seed * 1_000_003 + i) + block for i in range(size // 259 + 1))[:size]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    (root / "dir" / "deep").mkdir(parents=True)
    (root / "empty").touch()
    (root / "small").write_bytes(b"hello\n")
    (root / "dir" / "medium").write_bytes(pattern(50_000))
    (root / "dir" / "deep" / "large").write_bytes(pattern(3_000_000))
    (root / "link").symlink_to("dir/medium")
    (root / "small").chmod(0o640)
    for number in range(40):
        (root / "dir" / f"n{number}").write_bytes(pattern(number * 137, number))
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789), follow_symlinks=False)
    return root


@pytest.fixture
def daemon(tree: Path, tmp_path: Path) -> Iterator[StockDaemon]:
    server = stock.serve(tree, tmp_path)
    yield server
    server.stop()


def leftovers(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob(".*.??????"))


@pytest.mark.parametrize("protocol", range(27, 33))
@pytest.mark.parametrize("recursion", [(), ("--no-inc-recursive",)])
def test_pull_into_new_directory_equals_source(
    daemon: StockDaemon, tree: Path, tmp_path: Path, protocol: int, recursion: tuple[str, ...]
) -> None:
    outcome = stock.pull(daemon, tmp_path / "dst/", protocol=protocol, arguments=recursion)
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert stock.same_trees(tree, tmp_path / "dst") == ""
    assert outcome.context.stats.literal_data == sum(
        p.lstat().st_size for p in tree.rglob("*") if p.is_file() and not p.is_symlink()
    )
    again = stock.pull(daemon, tmp_path / "dst", protocol=protocol, arguments=recursion)
    assert (again.code, again.context.stats.xferred_files, again.context.stats.literal_data) == (0, 0, 0)


@pytest.mark.parametrize("checksum", [b"xxh128", b"xxh3", b"md5", b"sha1"])
def test_pull_changed_file_takes_only_its_changes(
    daemon: StockDaemon, tree: Path, tmp_path: Path, checksum: bytes
) -> None:
    stock.pull(daemon, tmp_path / "dst", checksum=checksum)
    large = tree / "dir" / "deep" / "large"
    data = bytearray(large.read_bytes())
    data[1_000_000:1_000_010] = b"0123456789"
    data[2_000_000:2_000_000] = b"inserted"
    large.write_bytes(data)
    outcome = stock.pull(daemon, tmp_path / "dst", checksum=checksum)
    assert outcome.code == 0
    assert (tmp_path / "dst" / "dir" / "deep" / "large").read_bytes() == data
    assert outcome.context.stats.literal_data < 20_000
    assert outcome.context.stats.matched_data > 2_900_000


COMPRESSIONS = [(f"PS_Z_{name.upper()}", f"--compress-choice={name}") for name in ("zlib", "zlibx", "lz4", "zstd")]


@pytest.mark.parametrize(("kind", "word"), COMPRESSIONS)
def test_pull_compressed_delta_equals_source(
    daemon: StockDaemon, tree: Path, tmp_path: Path, kind: str, word: str
) -> None:
    stock.pull(daemon, tmp_path / "dst")
    large = tree / "dir" / "deep" / "large"
    data = bytearray(large.read_bytes())
    data[1_500_000:1_500_000] = pattern(30_000, 9)
    large.write_bytes(data)
    (tree / "dir" / "fresh").write_bytes(pattern(300_000, 7) * 2)
    outcome = stock.pull(
        daemon, tmp_path / "dst", arguments=(word,), setup=options(compress=getattr(lib, kind), compress_level=6)
    )
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert stock.same_trees(tree, tmp_path / "dst") == ""


class Flip:
    """Changes one byte of the stream, once, right after the first sight of a mark."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.done = 0
        self.limit = 1

    def __call__(self, data: bytearray) -> None:
        at = data.find(self.mark)
        while at >= 0 and self.done < self.limit:
            data[at] ^= 1
            self.done += 1
            at = data.find(self.mark, at + 1)


@pytest.mark.parametrize("protocol", [32, 30, 29, 28, 27])
def test_pull_damaged_once_is_sent_again(daemon: StockDaemon, tree: Path, tmp_path: Path, protocol: int) -> None:
    (tree / "marked").write_bytes(b"A mark that is found in the stream." + pattern(5000))
    flip = Flip(b"A mark that is found")
    outcome = stock.pull(daemon, tmp_path / "dst", change=flip, setup=options(info_name=1), protocol=protocol)
    assert flip.done == 1
    assert outcome.code == 0
    assert (lib.PS_LOG_WARNING, b"WARNING: marked failed verification -- update discarded (will try again).\n") in outcome.log
    assert stock.same_trees(tree, tmp_path / "dst") == ""


def test_pull_damaged_twice_fails_and_leaves_the_old_file(daemon: StockDaemon, tree: Path, tmp_path: Path) -> None:
    (tree / "marked").write_bytes(b"A mark that is found in the stream." + pattern(5000))
    old = tmp_path / "dst" / "marked"
    old.parent.mkdir()
    old.write_bytes(b"old")
    flip = Flip(b"A mark that is found")
    flip.limit = 2
    outcome = stock.pull(daemon, tmp_path / "dst", change=flip)
    assert outcome.code == 23
    assert "ERROR: marked failed verification -- update discarded.\n" in outcome.text()
    assert old.read_bytes() == b"old"
    assert leftovers(tmp_path / "dst") == []
    old.unlink()
    (tree / "marked").unlink()
    os.utime(tree, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    os.utime(tmp_path / "dst", ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    assert stock.same_trees(tree, tmp_path / "dst") == ""


def interrupted(daemon: StockDaemon, destination: Path, setup: Setup | None = None) -> stock.Outcome:
    return stock.pull(daemon, destination, stop_after=1_500_000, setup=setup, source="m/dir/deep/large")


def test_pull_interrupted_leaves_the_old_file(daemon: StockDaemon, tmp_path: Path) -> None:
    old = tmp_path / "dst" / "large"
    old.parent.mkdir()
    old.write_bytes(b"old")
    outcome = interrupted(daemon, tmp_path / "dst/")
    assert outcome.code == 12
    assert "connection unexpectedly closed" in outcome.error
    assert old.read_bytes() == b"old"
    assert [p.name for p in old.parent.iterdir()] == ["large"]


def test_pull_interrupted_with_partial_keeps_what_came_with_mtime_zero(daemon: StockDaemon, tmp_path: Path) -> None:
    (tmp_path / "dst").mkdir()
    outcome = interrupted(daemon, tmp_path / "dst/", options(partial=1))
    kept = tmp_path / "dst" / "large"
    assert outcome.code == 12
    assert 1_000_000 < kept.stat().st_size < 1_500_000
    assert pattern(3_000_000).startswith(kept.read_bytes())
    assert kept.stat().st_mtime == 0
    assert [p.name for p in kept.parent.iterdir()] == ["large"]


def test_pull_interrupted_with_partial_dir_is_resumed_from_it(daemon: StockDaemon, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "dst").mkdir()
    setup = strings({lib.PS_STR_PARTIAL_DIR: b".parts"}, partial=1)
    assert interrupted(daemon, tmp_path / "dst/", setup).code == 12
    kept = tmp_path / "dst" / ".parts" / "large"
    assert kept.stat().st_size > 1_000_000
    assert [p.name for p in (tmp_path / "dst").iterdir()] == [".parts"]
    outcome = stock.pull(daemon, tmp_path / "dst/", setup=setup, source="m/dir/deep/large", arguments=("--partial-dir=.parts",))
    assert outcome.code == 0
    assert outcome.context.stats.matched_data > 900_000
    assert (tmp_path / "dst" / "large").read_bytes() == pattern(3_000_000)
    assert [p.name for p in (tmp_path / "dst").iterdir()] == ["large"]


def test_pull_with_delayed_updates_renames_at_the_end(daemon: StockDaemon, tree: Path, tmp_path: Path) -> None:
    setup = strings({lib.PS_STR_PARTIAL_DIR: b".~tmp~"}, partial=1, delay_updates=1)
    outcome = stock.pull(daemon, tmp_path / "dst", setup=setup, arguments=("--delay-updates", "--no-inc-recursive"))
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert stock.same_trees(tree, tmp_path / "dst") == ""


def test_pull_with_temp_dir_leaves_it_empty(daemon: StockDaemon, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "temp").mkdir()
    outcome = stock.pull(daemon, tmp_path / "dst", setup=strings({lib.PS_STR_TEMP_DIR: str(tmp_path / "temp").encode()}))
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert stock.same_trees(tree, tmp_path / "dst") == ""
    assert list((tmp_path / "temp").iterdir()) == []


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_pull_with_temp_dir_on_another_file_system_copies(daemon: StockDaemon, tree: Path, tmp_path: Path) -> None:
    temp = Path("/dev/shm") / f"prsync-temp-{os.getpid()}"
    temp.mkdir()
    try:
        outcome = stock.pull(daemon, tmp_path / "dst", setup=strings({lib.PS_STR_TEMP_DIR: str(temp).encode()}))
        assert (outcome.code, outcome.error) == (0, ""), outcome.text()
        assert stock.same_trees(tree, tmp_path / "dst") == ""
        assert list(temp.iterdir()) == []
        assert leftovers(tmp_path / "dst") == []
    finally:
        temp.rmdir()


def test_pull_with_missing_temp_dir_is_refused(daemon: StockDaemon, tmp_path: Path) -> None:
    outcome = stock.pull(daemon, tmp_path / "dst", setup=strings({lib.PS_STR_TEMP_DIR: b"/nowhere/at/all"}))
    assert (outcome.code, outcome.error) == (1, "The temp-dir does not exist: /nowhere/at/all")


def test_pull_sparse_allocates_as_rsync(daemon: StockDaemon, tree: Path, tmp_path: Path) -> None:
    holes = tree / "holes"
    with holes.open("wb") as file:
        for number in range(20):
            file.write(pattern(5000, number) + bytes(60_000 + number * 1000) + b"x" + bytes(2000))
        file.write(bytes(200_000))
    (tree / "zeros").write_bytes(bytes(30_000))
    assert stock.RSYNC
    subprocess.run([stock.RSYNC, "-aS", f"rsync://127.0.0.1:{daemon.port}/m/", f"{tmp_path}/theirs/"], check=True)
    outcome = stock.pull(daemon, tmp_path / "dst", setup=options(sparse=1))
    assert outcome.code == 0
    assert stock.same_trees(tree, tmp_path / "dst") == ""
    for name in ("holes", "zeros"):
        assert (tmp_path / "dst" / name).stat().st_blocks == (tmp_path / "theirs" / name).stat().st_blocks
    assert (tmp_path / "dst" / "holes").stat().st_blocks < holes.stat().st_blocks


def test_pull_one_file_to_a_name(daemon: StockDaemon, tmp_path: Path) -> None:
    outcome = stock.pull(daemon, tmp_path / "renamed", source="m/small", letters="logDtp", setup=options(recurse=0))
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert (tmp_path / "renamed").read_bytes() == b"hello\n"
    assert (tmp_path / "renamed").stat().st_mode & 0o777 == 0o640


def test_pull_several_onto_a_file_is_refused(daemon: StockDaemon, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = stock.pull(daemon, tmp_path / "file")
    assert (outcome.code, outcome.error) == (3, "ERROR: destination must be a directory when copying more than 1 file")


def test_pull_dry_run_changes_nothing(daemon: StockDaemon, tmp_path: Path) -> None:
    outcome = stock.pull(daemon, tmp_path / "dst", letters="nlogDtpr", setup=options(dry_run=1))
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert not (tmp_path / "dst").exists()
    assert outcome.context.stats.xferred_files == 44


def test_list_only_lists_as_rsync(daemon: StockDaemon, tmp_path: Path) -> None:
    assert stock.RSYNC
    theirs = subprocess.run(
        [stock.RSYNC, "-rl", "--no-motd", f"rsync://127.0.0.1:{daemon.port}/m/"], capture_output=True, text=True, check=True
    ).stdout
    setup = options(perms=0, owner=0, group=0, devices=0, specials=0, list_only=1, human_readable=1)
    outcome = stock.pull(daemon, None, letters="ltr", setup=setup)
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert b"".join(text for code, text in outcome.log if code == lib.PS_LOG_INFO).decode() == theirs


def test_pull_where_a_directory_cannot_be_written_discards_and_goes_on(
    daemon: StockDaemon, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "dst" / "small").mkdir(parents=True)
    (tmp_path / "dst" / "small" / "inside").touch()
    outcome = stock.pull(daemon, tmp_path / "dst")
    assert outcome.code == 23
    assert (tmp_path / "dst" / "small" / "inside").exists()
    assert (tmp_path / "dst" / "dir" / "medium").read_bytes() == pattern(50_000)
    assert leftovers(tmp_path / "dst") == []


def lines(text: str, destination: Path) -> list[str]:
    """Output as lines, without what depends on the moment: rates, times, the destination's name."""
    text = re.sub(r" +[\d.]+[kMG]B/s +[\d?:]+", " RATE", text.replace("\r", "\n"))
    text = re.sub(r"\nsent .*", "", text.replace(str(destination), "DST"), flags=re.DOTALL)
    return [line for line in text.split("\n") if line]


VERBOSE = {"verbose": 1, "info_name": 1, "info_flist": 1, "info_nonreg": 1, "info_misc": 1, "info_stats": 1}
ITEMIZE = {"itemize": 1, "stdout_format_has_i": 1, "info_nonreg": 1}
PROGRESS = {"info_progress": 1, "info_flist": 2, "log_before_transfer": 1, "human_readable": 1}


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize(
    ("words", "letters", "values", "format"),
    [
        (["-ai"], "logDtpr", ITEMIZE, b"%i %n%L"),
        (["-av"], "vlogDtpr", VERBOSE, b"%n%L"),
        (["-ani"], "nlogDtpr", {**ITEMIZE, "dry_run": 1}, b"%i %n%L"),
        (["-av", "--progress"], "vlogDtpr", {**VERBOSE, **PROGRESS}, b"%n%L"),
        (["-a", "--info=progress2"], "logDtpr", {"info_progress": 2, "human_readable": 1, "info_nonreg": 1}, None),
    ],
    ids=["itemize", "verbose", "dry", "progress", "progress2"],
)
def test_pull_says_what_rsync_says(
    daemon: StockDaemon,
    tree: Path,
    tmp_path: Path,
    words: list[str],
    letters: str,
    values: dict[str, int],
    format: bytes | None,
    changed: bool,
) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for destination in (theirs, ours) if changed else ():
        shutil.copytree(tree, destination, symlinks=True)
        (destination / "small").write_bytes(b"other")
        (destination / "empty").chmod(0o600)
        (destination / "dir" / "n7").unlink()
    assert stock.RSYNC
    command = [stock.RSYNC, *words, f"rsync://127.0.0.1:{daemon.port}/m/", f"{theirs}/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def setup(context: Context) -> None:
        options(**values)(context)
        if format:
            formats.set_format(context, formats.STDOUT, format)

    outcome = stock.pull(daemon, f"{ours}/", letters=letters, setup=setup)
    assert outcome.code == 0
    text = b"".join(text for code, text in outcome.log if code != lib.PS_LOG_LOG).decode()
    assert lines(text, ours) == lines(said, theirs)
