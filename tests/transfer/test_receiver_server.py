"""Our receiver as the server of a push, with the real rsync as the client."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import kinds_of_tree
import pytest
import stock

SERVER = pathlib.Path(__file__).parent / "rsh_receiver.py"
pytestmark = pytest.mark.skipif(not stock.RSYNC, reason="needs the real rsync")


def push(
    source: pathlib.Path, target: pathlib.Path | str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Stock rsync sends source/ into target/ through our receiver."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RSH_RECEIVER_LOG": str(source.parent / "log")}
    command = [stock.RSYNC, *options, "-e", f"{sys.executable} {SERVER}", f"{source}/", f"host:{target}/"]
    environment |= variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, errors="surrogateescape")


@pytest.mark.parametrize("protocol", range(27, 33))
@pytest.mark.parametrize("recursion", ["--inc-recursive", "--no-inc-recursive"])
def test_push_of_every_kind_arrives_and_again_changes_nothing(tmp_path: pathlib.Path, protocol: int, recursion: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    kinds_of_tree.fill(source)
    options = ("-aHi", f"--protocol={protocol}", recursion)
    result = push(source, target, *options)
    assert (result.returncode, result.stderr) == (0, "")
    assert stock.lost_links(stock.same_trees(source, target), protocol) == ""
    again = push(source, target, *options)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


@pytest.mark.parametrize("mode", ["during", "before", "after", "delay"])
def test_push_that_deletes_tells_what_it_deletes(tmp_path: pathlib.Path, mode: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "dir").mkdir(parents=True)
    (source / "dir" / "kept").touch()
    (target / "dir" / "gone" / "deep").mkdir(parents=True)
    (target / "dir" / "spared.o").touch()
    (target / "more").touch()
    result = push(source, target, "-ai", "--stats", f"--delete-{mode}", "--filter=protect *.o")
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line for line in result.stdout.splitlines() if line.startswith("*deleting")]
    assert sorted(lines) == ["*deleting   dir/gone/", "*deleting   dir/gone/deep/", "*deleting   more"]
    assert "Number of deleted files: 3 (reg: 1, dir: 2)\n" in result.stdout
    assert sorted(str(p.relative_to(target)) for p in target.rglob("*")) == ["dir", "dir/kept", "dir/spared.o"]


def test_push_that_cannot_be_taken_ends_with_our_words_and_code(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").touch()
    (source / "b").touch()
    target = tmp_path / "file"
    target.touch()
    result = push(source, target, "-a")
    assert result.returncode == 3
    assert f'rsync: [Receiver] ERROR: cannot stat destination "{target}": Not a directory (20)\n' in result.stderr


class Module:
    """A daemon's module beside things that its clients must not reach."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.source, self.root, self.outside = folder / "source", folder / "module", folder / "outside"
        for path in (self.source / "dir", self.root / "place", self.outside):
            path.mkdir(parents=True)
        (self.source / "dir" / "file").write_text("new")
        (self.source / "top").write_text("new")
        (self.outside / "secret").write_text("secret")

    def push(self, target: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return push(self.source, target, *options, RSH_RECEIVER_MODULE=str(self.root), **variables)

    def untouched(self) -> bool:
        return [(path.name, path.read_text()) for path in self.outside.iterdir()] == [("secret", "secret")]


@pytest.fixture
def module(tmp_path: pathlib.Path) -> Module:
    return Module(tmp_path)


@pytest.mark.parametrize("target", ["place", "/place", "../place", "/../../place/", "new", "place/new"])
def test_daemon_puts_all_beneath_the_module(module: Module, target: str) -> None:
    result = module.push(target, "-a")
    assert (result.returncode, result.stderr) == (0, "")
    at = module.root / target.replace("..", "").strip("/").replace("//", "")
    assert (at / "dir" / "file").read_text() == "new" and module.untouched()


def test_daemon_follows_no_link_out_of_the_module(module: Module) -> None:
    (module.root / "place" / "dir").symlink_to(module.outside)
    (module.root / "way").symlink_to("../outside")
    result = module.push("place", "-rt")
    assert not (module.root / "place" / "dir").is_symlink() or result.returncode
    into = module.push("way", "-rt")
    assert into.returncode == 3 and "Too many levels of symbolic links" in into.stderr
    keep = module.push("place", "-rtK")
    assert module.untouched(), (result, keep)


@pytest.mark.parametrize(
    "options",
    [
        ("-b", "--backup-dir=/../outside"),
        ("-b", "--backup-dir=../../outside"),
        ("--temp-dir=../../outside",),
        ("--partial-dir=/../outside",),
        ("--delay-updates", "--partial-dir=../../outside"),
    ],
)
def test_daemon_keeps_the_directories_of_options_within_the_module(module: Module, options: tuple[str, ...]) -> None:
    (module.root / "place" / "dir").mkdir()
    (module.root / "place" / "dir" / "file").write_text("older")
    (module.root / "outside").mkdir()
    (module.root / "place" / "outside").mkdir()
    result = module.push("place", "-rtI", *options)
    assert module.untouched(), result
    assert result.returncode or (module.root / "place" / "dir" / "file").read_text() == "new"
    if "-b" in options:
        kept = [path for path in module.root.rglob("file") if path.read_text() == "older"]
        assert len(kept) == 1 and "outside" in str(kept[0]), result


@pytest.mark.parametrize("kind", ["compare-dest", "copy-dest", "link-dest"])
@pytest.mark.parametrize("where", ["../../outside", "/../outside", "leads-out"])
def test_daemon_takes_nothing_from_outside_as_a_basis(module: Module, kind: str, where: str) -> None:
    (module.source / "secret").write_text("public")
    os.utime(module.source / "secret", ns=(10**18, 10**18))
    os.utime(module.outside / "secret", ns=(10**18, 10**18))
    (module.root / "leads-out").symlink_to("../outside")
    result = module.push("place", "-rt", f"--{kind}={where}")
    assert result.returncode == 0, result
    assert (module.root / "place" / "secret").read_text() == "public" and module.untouched()


def test_daemon_finds_the_basis_beside_the_destination(module: Module) -> None:
    (module.root / "last").mkdir()
    (module.root / "last" / "top").write_text("new")
    os.utime(module.root / "last" / "top", ns=(10**18, 10**18))
    os.utime(module.source / "top", ns=(10**18, 10**18))
    result = module.push("place", "-rt", "--link-dest=../last")
    assert (result.returncode, result.stderr) == (0, "")
    assert (module.root / "place" / "top").stat().st_ino == (module.root / "last" / "top").stat().st_ino


def test_daemon_refuses_what_its_rules_hide(module: Module) -> None:
    (module.source / "hidden").write_text("x")
    (module.source / "dir" / "hidden").write_text("x")
    (module.root / "hid").mkdir()
    result = module.push("place", "-rt", RSH_RECEIVER_HIDE="hidden /hid")
    assert result.returncode == 23
    assert 'ERROR: daemon refused to receive file "hidden"\n' in result.stderr
    assert 'ERROR: daemon refused to receive file "dir/hidden"\n' in result.stderr
    assert sorted(path.name for path in (module.root / "place").rglob("*")) == ["dir", "file", "top"]
    (module.root / "place" / "hidden").write_text("kept")
    deleting = module.push("place", "-rt", "--delete", "--exclude=nothing", "--exclude=hidden", RSH_RECEIVER_HIDE="hidden /hid")
    assert (deleting.returncode, (module.root / "place" / "hidden").read_text()) == (0, "kept")
    into = module.push("hid/den", "-rt", RSH_RECEIVER_HIDE="hidden /hid")
    assert into.returncode == 3 and 'ERROR: daemon has excluded destination "hid/den' in into.stderr
    backups = module.push("place", "-rtb", "--backup-dir=/hid", RSH_RECEIVER_HIDE="hidden /hid")
    assert backups.returncode == 4 and "rsync: Your options have been rejected by the server.\n" in backups.stderr

    for option in ("--backup-dir=/hid", "--temp-dir=/hid", "--partial-dir=/hid/den", "--link-dest=/hid"):
        fresh = module.push("fresh/", "-rtb", option, RSH_RECEIVER_HIDE="hidden /hid")
        assert fresh.returncode in (1, 4) and "Your options have been rejected by the server.\n" in fresh.stderr
        assert not (module.root / "fresh").exists(), "refused before anything changes"


def test_daemon_munges_or_tames_links(module: Module) -> None:
    (module.source / "dir" / "up").symlink_to("../../../outside/secret")
    (module.source / "absolute").symlink_to("/etc/passwd")
    result = module.push("place", "-rlt", RSH_RECEIVER_MUNGE="1")
    assert (result.returncode, result.stderr) == (0, "")
    place = module.root / "place"
    assert os.readlink(place / "dir" / "up") == "/rsyncd-munged/../../../outside/secret"
    assert os.readlink(place / "absolute") == "/rsyncd-munged//etc/passwd"
    again = module.push("place", "-rltii", RSH_RECEIVER_MUNGE="1")
    assert (again.returncode, [line for line in again.stdout.splitlines() if line[0] == "c"]) == (0, [])
    tamed = module.push("place", "-rlt")
    assert (tamed.returncode, tamed.stderr) == (0, "")
    assert os.readlink(place / "dir" / "up") == "../outside/secret"
    assert os.readlink(place / "absolute") == "etc/passwd"
