"""How a pull replaces what is there (--backup, --inplace, --append): the same trees and output as stock rsync's."""

from __future__ import annotations

import os
import pathlib
import stat
import subprocess
from collections.abc import Callable, Iterator

import client_harness as harness
import pytest
from client_harness import StockDaemon, prsync, rsync, stable

pytestmark = pytest.mark.skipif(harness.RSYNC is None, reason="needs the real rsync")

OLD = (5 * 10**17, 5 * 10**17 + 5)
BIG = b"".join(b"%07d\n" % number for number in range(40_000))


def fill_source(root: pathlib.Path) -> None:
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "a").write_bytes(b"new a\n")
    (root / "sub" / "b").write_bytes(b"new b\n")
    (root / "sub" / "big").write_bytes(BIG[:100_000] + b"changed" + BIG[100_000:])
    (root / "sub" / "longer").write_bytes(BIG)
    (root / "link").symlink_to("new")
    (root / "was-fifo").write_bytes(b"file now")
    os.mkfifo(root / "now-fifo")
    (root / "one").write_bytes(b"linked")
    os.link(root / "one", root / "two")
    os.chmod(root / "a", 0o640)
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=OLD, follow_symlinks=False)


def fill_destination(root: pathlib.Path) -> None:
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "gone" / "deeper").mkdir(parents=True)
    (root / "a").write_bytes(b"old a")
    (root / "sub" / "b").write_bytes(b"old b")
    (root / "sub" / "big").write_bytes(BIG)
    (root / "sub" / "longer").write_bytes(BIG[:70_000])
    (root / "link").symlink_to("old")
    os.mkfifo(root / "was-fifo")
    (root / "now-fifo").write_bytes(b"file before")
    (root / "one").write_bytes(b"1")
    (root / "two").write_bytes(b"22")
    (root / "gone" / "file").write_bytes(b"deleted")
    (root / "gone" / "deeper" / "kept~").write_bytes(b"a backup already")
    (root / "sub" / "b~").mkdir()
    (root / "sub" / "b~" / "inside").write_bytes(b"in the way")
    os.chmod(root / "sub", 0o710)
    os.chmod(root / "a", 0o600)
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(OLD[0] - 10**12, OLD[1] - 10**12), follow_symlinks=False)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockDaemon]:
    folder = tmp_path_factory.mktemp("stock")
    (folder / "data").mkdir()
    fill_source(folder / "data")
    running = StockDaemon(folder, "[data]\npath = FOLDER/data\n")
    yield running
    running.stop()


def tree(root: pathlib.Path) -> dict[str, tuple[object, ...]]:
    """Names, kinds, modes, contents, and the times of all but directories."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        content: object = None
        if stat.S_ISLNK(info.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(info.st_mode):
            content = path.read_bytes()
        recent = info.st_mtime_ns > 2 * OLD[1]
        time = None if stat.S_ISDIR(info.st_mode) else "now" if recent else info.st_mtime_ns
        found[str(path.relative_to(root))] = (info.st_mode, info.st_nlink, time, content)
    return found


Run = Callable[..., subprocess.CompletedProcess[bytes]]


class Both:
    """The same pull by stock rsync and by prsync, each into a copy of the same destination."""

    def __init__(self, daemon: StockDaemon, folder: pathlib.Path, *words: str) -> None:
        theirs, ours = self._run(rsync, daemon, folder / "theirs", words), self._run(prsync, daemon, folder / "ours", words)
        self.result, self.folder = ours, folder / "ours"
        self.tree = tree(folder / "ours")
        assert (ours.returncode, sorted(stable(ours.stdout))) == (theirs.returncode, sorted(stable(theirs.stdout)))
        assert self.tree == tree(folder / "theirs")

    @staticmethod
    def _run(run: Run, daemon: StockDaemon, folder: pathlib.Path, words: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
        (folder / "dst").mkdir(parents=True)
        fill_destination(folder / "dst")
        return run(*words, daemon.url("data/"), "dst", cwd=folder)

    def content(self, name: str) -> object:
        return self.tree[f"dst/{name}"][3]


BACKUPS = [
    ("-aib",),
    ("-aHib", "--delete", "--suffix=.old"),
    ("-aHib", "--delete-delay"),
    ("-aHi", "--delete-before", "--backup-dir=kept"),
    ("-ai", "--delete", "--backup-dir=../kept", "--suffix=.x"),
    ("-rlib", "--delete", "--no-inc-recursive"),
    ("-aib", "--delay-updates", "--partial-dir=.part"),
    ("-ainb", "--delete"),
    ("-aib", "--force", "--temp-dir=sub"),
]


@pytest.mark.parametrize("words", BACKUPS, ids=" ".join)
def test_backup_keeps_what_rsync_keeps(daemon: StockDaemon, tmp_path: pathlib.Path, words: tuple[str, ...]) -> None:
    Both(daemon, tmp_path, *words)


def test_backup_has_the_old_content_time_and_mode(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    both = Both(daemon, tmp_path, "-aHb", "--delete")
    assert both.content("a") == b"new a\n"
    assert both.tree["dst/a~"] == (stat.S_IFREG | 0o600, 1, OLD[1] - 10**12, b"old a")
    assert both.content("link~") == "old"
    assert both.content("now-fifo~") == b"file before"
    assert stat.S_ISFIFO(both.tree["dst/was-fifo~"][0])  # type: ignore[arg-type]
    assert both.content("gone/file~") == b"deleted"
    assert both.content("gone/deeper/kept~") == b"a backup already"
    assert both.content("sub/b~") == b"old b"  # a directory was in its way


def test_backup_dir_takes_the_directories_attributes(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    both = Both(daemon, tmp_path, "-ab", "--delete", "--backup-dir=../kept")
    assert both.tree["kept/sub/b"][3] == b"old b"
    assert both.tree["kept/gone/file"][3] == b"deleted"
    assert "dst/gone" not in both.tree
    assert both.tree["kept/sub"][0] == both.tree["dst/sub"][0]


def test_backup_dir_that_is_a_file_is_refused(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    both = Both(daemon, tmp_path, "-a", "--backup-dir=a")
    assert both.result.returncode == 1
    assert b"The backup-dir is not a directory: a\n" in both.result.stderr
    assert both.content("a") == b"old a"


def test_backup_names_are_told_of(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    both = Both(daemon, tmp_path, "-ab", "--info=backup", "--delete")
    assert b"backed up sub/b to sub/b~\n" in both.result.stdout


def test_unsafe_symlink_is_not_backed_up(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dst").mkdir()
        (tmp_path / name / "dst" / "link").symlink_to("../../../etc/passwd")
    for run, name in ((rsync, "theirs"), (prsync, "ours")):
        run("-lb", "--safe-links", daemon.url("data/link"), "dst/", cwd=tmp_path / name)
    assert tree(tmp_path / "ours") == tree(tmp_path / "theirs")
    assert not os.path.lexists(tmp_path / "ours" / "dst" / "link~")
