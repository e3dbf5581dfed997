"""Small files that the core's threads put in place while the session goes on: the result, the lines and the failures are
those of a pull without threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import stock
from servers import StockDaemon

from prsync.engine import formats
from prsync.engine.context import Context

pytestmark = pytest.mark.skipif(
    not stock.RSYNC or (os.cpu_count() or 1) < 2, reason="needs the real rsync, and a processor for the threads"
)

WHEN = 1_600_000_000_123_456_789
DIRECTORIES, FILES = 4, 60


def content(directory: int, number: int) -> bytes:
    return b"%d-%d:" % (directory, number) * (0 if number == 3 else 13_000 if number == 7 else 50 * number + 1)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """More files than are worth threads; an empty one, one above the threads' limit, several modes in a directory."""
    root = tmp_path / "src"
    for directory in range(DIRECTORIES):
        (root / f"d{directory}").mkdir(parents=True)
        for number in range(FILES):
            path = root / f"d{directory}" / f"f{number:02}"
            path.write_bytes(content(directory, number))
            path.chmod((0o644, 0o600, 0o775, 0o4755, 0o444)[number % 5])
    (root / "d1").chmod(0o555)
    if os.geteuid() == 0:
        os.chown(root / "d2" / "f10", 12345, 54321)
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(WHEN, WHEN))
    return root


@pytest.fixture
def daemon(tree: Path, tmp_path: Path) -> Iterator[StockDaemon]:
    server = stock.serve(tree, tmp_path)
    yield server
    server.stop()


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def unfinished(source: Path, destination: Path) -> list[str]:
    """Files that are not wholly what the source has."""
    files = [path for path in destination.rglob("*") if path.is_file()]
    return [path.name for path in files if path.read_bytes() != (source / path.relative_to(destination)).read_bytes()]


@pytest.mark.parametrize("protocol", [30, 31, 32])
@pytest.mark.parametrize("recursion", [(), ("--no-inc-recursive",)])
def test_pull_with_threads_equals_source(
    daemon: StockDaemon, tree: Path, tmp_path: Path, protocol: int, recursion: tuple[str, ...]
) -> None:
    most, before = 0, threads()

    def watch(data: bytearray) -> None:
        nonlocal most
        most = max(most, threads())

    outcome = stock.pull(daemon, tmp_path / "dst/", protocol=protocol, arguments=recursion, change=watch, behind=True)
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert most > before, "no thread was there"
    assert threads() == before
    assert stock.same_trees(tree, tmp_path / "dst") == ""


def test_pull_with_threads_updates_old_files(daemon: StockDaemon, tree: Path, tmp_path: Path) -> None:
    stock.pull(daemon, tmp_path / "dst/")
    for number in range(FILES):
        for directory in range(DIRECTORIES):
            old = tmp_path / "dst" / f"d{directory}" / f"f{number:02}"
            old.chmod(0o640)
            old.write_bytes(b"old" + content(directory, number)[100:])
    outcome = stock.pull(daemon, tmp_path / "dst/", behind=True)
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert stock.same_trees(tree, tmp_path / "dst") == ""


@pytest.mark.parametrize("most", [701, 5_003])
def test_pull_with_threads_waited_for_in_the_middle_of_a_file_equals_source(
    daemon: StockDaemon, tree: Path, tmp_path: Path, most: int
) -> None:
    outcome = stock.pull(daemon, tmp_path / "dst/", behind=True, most=most)
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert unfinished(tree, tmp_path / "dst") == []
    assert stock.same_trees(tree, tmp_path / "dst") == ""


class Obstacle:
    """A directory that takes a file's final name right before its data are used, so that the rename fails."""

    def __init__(self, place: Path, mark: bytes) -> None:
        self.place, self.mark = place, mark

    def __call__(self, data: bytearray) -> None:
        if self.mark in data and not self.place.exists():
            (self.place / "inside").mkdir(parents=True)


def test_pull_with_threads_says_what_it_says_without(daemon: StockDaemon, tree: Path, tmp_path: Path) -> None:
    def setup(context: Context) -> None:
        context.options.itemize = context.options.stdout_format_has_i = 1
        formats.set_format(context, formats.STDOUT, b"%i %n %l %C")

    outcomes = []
    for behind in False, True:
        destination = tmp_path / "dst"
        obstacle = Obstacle(destination / "d3" / "f59", content(3, 59)[:40])
        outcomes.append(stock.pull(daemon, destination, setup=setup, change=obstacle, behind=behind))
        assert obstacle.place.is_dir()
        assert [path.name for path in destination.rglob(".*")] == []
        assert len(list(destination.rglob("f*"))) == DIRECTORIES * FILES
        destination.rename(tmp_path / f"was-{behind}")
    without, with_threads = outcomes
    assert (with_threads.code, with_threads.error) == (without.code, without.error) == (23, "")
    said = [sorted(outcome.text().splitlines()) for outcome in outcomes]
    unnamed = [[line.partition("59.")[0] for line in lines] for lines in said]  # six random letters follow
    assert unnamed[0] == unnamed[1]
    assert any("rename" in line and line.endswith("f") for line in unnamed[0])


@pytest.mark.parametrize("stop_after", [150_000, 250_000, 400_000])
def test_pull_with_threads_cut_off_leaves_whole_files_only(
    daemon: StockDaemon, tree: Path, tmp_path: Path, stop_after: int
) -> None:
    before = threads()
    outcome = stock.pull(daemon, tmp_path / "dst", stop_after=stop_after, behind=True)
    assert outcome.code == 12
    assert unfinished(tree, tmp_path / "dst") == []
    assert [path.name for path in (tmp_path / "dst").rglob(".*")] == []
    assert threads() == before


def test_pull_with_threads_damaged_file_is_sent_again(daemon: StockDaemon, tree: Path, tmp_path: Path) -> None:
    flipped = []

    def flip(data: bytearray) -> None:
        at = data.find(content(3, 50)[:40])
        if at >= 0 and not flipped:
            flipped.append(at)
            data[at] ^= 1

    outcome = stock.pull(daemon, tmp_path / "dst", change=flip, behind=True)
    assert flipped and outcome.code == 0
    assert stock.same_trees(tree, tmp_path / "dst") == ""
