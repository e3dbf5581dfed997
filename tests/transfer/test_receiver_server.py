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


def push(source: pathlib.Path, target: pathlib.Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Stock rsync sends source/ into target/ through our receiver."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RSH_RECEIVER_LOG": str(target.parent / "log")}
    command = [stock.RSYNC, *options, "-e", f"{sys.executable} {SERVER}", f"{source}/", f"host:{target}/"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, errors="surrogateescape")


@pytest.mark.parametrize("protocol", [30, 31, 32])
@pytest.mark.parametrize("recursion", ["--inc-recursive", "--no-inc-recursive"])
def test_push_of_every_kind_arrives_and_again_changes_nothing(tmp_path: pathlib.Path, protocol: int, recursion: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    kinds_of_tree.fill(source)
    options = ("-aHi", f"--protocol={protocol}", recursion)
    result = push(source, target, *options)
    assert (result.returncode, result.stderr) == (0, "")
    assert stock.same_trees(source, target) == ""
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
