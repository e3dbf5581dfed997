"""How a pull replaces what is there (--backup, --inplace, --append): the same trees and output as stock rsync's."""

from __future__ import annotations

import os
import pathlib
import stat
import subprocess
from collections.abc import Callable, Iterator

import pytest
from client_harness import prsync, rsync, stable
from servers import RSYNC, StockDaemon

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

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


Prepare = Callable[[pathlib.Path], None]
Run = Callable[..., subprocess.CompletedProcess[bytes]]


class Both:
    """The same pull by stock rsync and by prsync, each into a copy of the same destination."""

    def __init__(self, daemon: StockDaemon, folder: pathlib.Path, *words: str, prepare: Prepare = lambda folder: None) -> None:
        theirs = self._run(rsync, daemon, folder / "theirs", words, prepare)
        ours = self._run(prsync, daemon, folder / "ours", words, prepare)
        self.result, self.folder = ours, folder / "ours"
        self.tree = tree(folder / "ours")
        assert (ours.returncode, sorted(stable(ours.stdout))) == (theirs.returncode, sorted(stable(theirs.stdout)))
        assert self.tree == tree(folder / "theirs")

    @staticmethod
    def _run(
        run: Run, daemon: StockDaemon, folder: pathlib.Path, words: tuple[str, ...], prepare: Prepare
    ) -> subprocess.CompletedProcess[bytes]:
        (folder / "dst").mkdir(parents=True)
        fill_destination(folder / "dst")
        prepare(folder)
        options = [word.replace("FOLDER", str(folder)) for word in words]
        return run(*options, daemon.url("data/"), "dst", cwd=folder)

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


def plant(owner: int) -> Prepare:
    """What the owner of the symlink `way` would like to be read or written instead: a copy of the source in outside/."""

    def fill(folder: pathlib.Path) -> None:
        (folder / "outside" / "there").mkdir(parents=True)
        fill_source(folder / "outside")
        (folder / "way").symlink_to("outside")
        os.chown(folder / "way", owner, owner, follow_symlinks=False)

    return fill


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@needs_root
@pytest.mark.parametrize("owner", [0, 1234])
@pytest.mark.parametrize(
    "words",
    [("-ai", "--link-dest=../way"), ("-aiH", "--copy-dest=FOLDER/way/there/.."), ("-ai", "--compare-dest=../way")],
    ids=" ".join,
)
def test_alternate_destination_is_absent_behind_a_symlink_of_another_user(
    daemon: StockDaemon, tmp_path: pathlib.Path, words: tuple[str, ...], owner: int
) -> None:
    Both(daemon, tmp_path, *words, prepare=plant(owner))


@needs_root
@pytest.mark.parametrize("owner", [0, 1234])
@pytest.mark.parametrize(
    "words",
    [
        ("-ab", "--backup-dir=../way"),
        ("-ab", "--backup-dir=FOLDER/way/new/deep"),
        ("-a", "--temp-dir=../way"),
        ("-a", "--temp-dir=FOLDER/way/there"),
        ("-a", "--delay-updates", "--partial-dir=FOLDER/way"),
        ("-a", "--delay-updates", "--partial-dir=FOLDER/way/new"),
    ],
    ids=" ".join,
)
def test_nothing_is_written_behind_a_symlink_of_another_user(
    daemon: StockDaemon, tmp_path: pathlib.Path, words: tuple[str, ...], owner: int
) -> None:
    (tmp_path / "dst").mkdir()
    fill_destination(tmp_path / "dst")
    plant(owner)(tmp_path)
    outside = tmp_path / "outside"
    before = tree(outside), outside.stat().st_mtime_ns, (outside / "there").stat().st_mtime_ns
    result = prsync(*(w.replace("FOLDER", str(tmp_path)) for w in words), daemon.url("data/"), "dst", cwd=tmp_path)
    after = tree(outside), outside.stat().st_mtime_ns, (outside / "there").stat().st_mtime_ns
    assert (before == after) == (owner != 0), result
    assert (tmp_path / "dst" / "a").read_bytes() == (b"old a" if owner else b"new a\n")


@needs_root
@pytest.mark.parametrize("where", ["", "sub"])
def test_destination_is_not_reached_through_a_symlink_of_another_user(
    daemon: StockDaemon, tmp_path: pathlib.Path, where: str
) -> None:
    (tmp_path / "outside" / "sub").mkdir(parents=True)
    (tmp_path / "way").symlink_to(tmp_path / "outside")
    os.chown(tmp_path / "way", 1234, 1234, follow_symlinks=False)
    result = prsync("-a", daemon.url("data/"), str(tmp_path / "way" / where))
    assert result.returncode == 3 and b"symbolic links (40), or one of them belongs to another user" in result.stderr
    assert sorted(p.name for p in (tmp_path / "outside").rglob("*")) == ["sub"]
    os.chown(tmp_path / "way", 0, 0, follow_symlinks=False)
    assert prsync("-a", daemon.url("data/"), str(tmp_path / "way" / where)).returncode == 0


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


IN_PLACE = [
    ("-ai", "--inplace"),
    ("-aHib", "--inplace", "--delete"),
    ("-aib", "--inplace", "-W"),
    ("-ai", "--inplace", "--backup-dir=kept"),
    ("-aiS", "--inplace"),
    ("-aiSW", "--inplace"),
    ("-rli", "--inplace", "--no-inc-recursive"),
    ("-ain", "--inplace"),
    ("-ai", "--append"),
    ("-aHib", "--append", "--delete"),
    ("-ai", "--append-verify", "--stats"),
    ("-aib", "--append-verify"),
    ("-ai", "--append", "--copy-dest=sub"),
]


@pytest.mark.parametrize("words", IN_PLACE, ids=" ".join)
def test_update_in_place_does_what_rsync_does(daemon: StockDaemon, tmp_path: pathlib.Path, words: tuple[str, ...]) -> None:
    Both(daemon, tmp_path, *words)


def pull_over(daemon: StockDaemon, folder: pathlib.Path, name: str, old: bytes, *words: str) -> tuple[bytes, int, bool]:
    """One file pulled on top of `old`: its new content, the literal bytes that came, whether it is still the same inode."""
    target = folder / "dst" / pathlib.Path(name).name
    target.parent.mkdir()
    target.write_bytes(old)
    inode = target.stat().st_ino
    result = prsync("-t", "--stats", "--no-h", *words, daemon.url(f"data/{name}"), f"{folder}/dst/")
    assert result.returncode == 0, result.stderr
    literal = next(line for line in result.stdout.splitlines() if line.startswith(b"Literal data: "))
    return target.read_bytes(), int(literal.split()[2]), target.stat().st_ino == inode


def test_inplace_writes_the_changes_into_the_same_file(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    new = BIG[:100_000] + b"changed" + BIG[100_000:]
    old = BIG[:100_000] + b"another" + BIG[100_000:] + b"tail"
    content, literal, same = pull_over(daemon, tmp_path, "sub/big", old, "--inplace")
    assert (content, same) == (new, True)
    assert literal < 5_000


def test_inplace_with_backup_builds_on_the_backup(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    """What moves towards the end of the file can only be taken from a copy of the old one."""
    content, literal, same = pull_over(daemon, tmp_path, "sub/big", BIG, "--inplace", "--backup")
    assert (content, same) == (BIG[:100_000] + b"changed" + BIG[100_000:], True)
    assert literal < 5_000
    assert (tmp_path / "dst" / "big~").read_bytes() == BIG


def test_inplace_opens_a_read_only_file(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst" / "a").write_bytes(b"old and longer than the new one")
    (tmp_path / "dst" / "a").chmod(0o444)
    result = prsync("--inplace", daemon.url("data/a"), f"{tmp_path}/dst/")
    assert (result.returncode, (tmp_path / "dst" / "a").read_bytes()) == (0, b"new a\n")
    assert stat.S_IMODE((tmp_path / "dst" / "a").stat().st_mode) == 0o444


def test_inplace_makes_no_other_name(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    content, _, same = pull_over(daemon, tmp_path, "sub/longer", b"", "--inplace", "--no-whole-file")
    assert (content, same, [p.name for p in (tmp_path / "dst").iterdir()]) == (BIG, True, ["longer"])


@pytest.mark.parametrize("option", ["--append", "--append-verify"])
def test_append_sends_only_what_is_missing(daemon: StockDaemon, tmp_path: pathlib.Path, option: str) -> None:
    assert pull_over(daemon, tmp_path, "sub/longer", BIG[:70_001], option) == (BIG, len(BIG) - 70_001, True)


def test_append_takes_the_old_part_on_trust(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    content, literal, _ = pull_over(daemon, tmp_path, "sub/longer", bytes(70_001), "--append")
    assert (content, literal) == (bytes(70_001) + BIG[70_001:], len(BIG) - 70_001)


def test_append_verify_repairs_the_old_part(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    content, literal, _ = pull_over(daemon, tmp_path, "sub/longer", bytes(70_001), "--append-verify")
    assert content == BIG
    assert literal > len(BIG) - 70_001  # the failed try counts as well


def test_append_leaves_files_that_are_not_shorter(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    assert pull_over(daemon, tmp_path, "sub/longer", bytes(len(BIG)), "--append") == (bytes(len(BIG)), 0, True)


def test_sources_are_removed_by_a_daemon_that_lets_them(tmp_path: pathlib.Path) -> None:
    for name, run in (("theirs", rsync), ("ours", prsync)):
        (tmp_path / name / "data").mkdir(parents=True)
        fill_source(tmp_path / name / "data")
        server = StockDaemon(tmp_path / name, "[data]\npath = FOLDER/data\nread only = no\n")
        try:
            result = run("-aH", "--remove-source-files", server.url("data/"), f"{tmp_path}/{name}/dst/")
        finally:
            server.stop()
        assert result.returncode == 0, result.stderr
        assert [p.name for p in (tmp_path / name / "data").rglob("*") if not p.is_dir()] == []
    assert tree(tmp_path / "ours" / "dst") == tree(tmp_path / "theirs" / "dst")
