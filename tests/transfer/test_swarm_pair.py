"""The swarm's core from end to end in one thread: digests, bundles, pieces, bases, bad data, what is missing."""

from __future__ import annotations

import os
import pathlib
import random
import resource
import shutil
import struct
import subprocess
import sys

import pytest
from swarm_pair import Mirror, Origin, Pair

from prsync.engine.fetch import PeerFetch
from prsync.engine.receiving import Receiving
from prsync.engine.swarm import Swarm
from prsync.errors import EngineError

MIB = 1 << 20


def fill(top: pathlib.Path, seed: int = 1) -> None:
    rng = random.Random(seed)
    for directory in ("a", "a/b", "c"):
        (top / directory).mkdir(parents=True)
        for i in range(40):
            (top / directory / f"f{i}").write_bytes(rng.randbytes(rng.choice([0, 1, 100, 5_000, 70_000, 200_000])))
    (top / "big").write_bytes(rng.randbytes(5 * MIB + 17))
    (top / "a" / "middle").write_bytes(rng.randbytes(MIB))
    (top / "link").symlink_to("big")
    for path in top.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1_500_000_000, 1_500_000_000))


def contents(top: pathlib.Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = int(path.stat().st_mtime)
        else:
            found[name] = (path.read_bytes(), int(path.stat().st_mtime), path.stat().st_mode)
    return found


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    top = tmp_path / "tree"
    top.mkdir()
    fill(top)
    return top


def make(tree: pathlib.Path, tmp_path: pathlib.Path, *, incremental: bool = True, warm: bool = True, mirrors: int = 2) -> Pair:
    pair = Pair(Origin(tree, tmp_path / "index", incremental=incremental, warm=warm), tmp_path / "dest", incremental=incremental)
    for number in range(mirrors):
        copy = tmp_path / f"mirror{number}"
        if not copy.exists():
            shutil.copytree(tree, copy, symlinks=True)
        pair.mirrors.append(Mirror(copy, tmp_path / f"index{number}", pair.memory))
    return pair


def data_bytes(tree: pathlib.Path) -> int:
    return sum(p.stat().st_size for p in tree.rglob("*") if p.is_file() and not p.is_symlink())


@pytest.mark.parametrize("incremental", [True, False])
def test_swarm_first_pull_takes_all_data_from_mirrors(tree: pathlib.Path, tmp_path: pathlib.Path, incremental: bool) -> None:
    pair = make(tree, tmp_path, incremental=incremental)
    pair.run()
    assert contents(tmp_path / "dest") == contents(tree)
    assert pair.delivered == data_bytes(tree)
    assert pair.context.stats.literal_data == pair.delivered
    assert pair.swarm is not None and pair.swarm.counts.open == 0
    assert pair.swarm.counts.classic == 0
    assert not pair.receiver.exit_code()


def run_without_digests(pair: Pair) -> None:
    for _ in range(20_000):
        try:
            pair.run(200)
            break
        except AssertionError:
            pair.origin.digester.retry(True)
            pair.origin.digester.step()


def test_swarm_without_digests_leaves_everything_to_the_session(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pair = make(tree, tmp_path, warm=False)
    run_without_digests(pair)
    assert contents(tmp_path / "dest") == contents(tree)
    assert pair.delivered == 0


def test_swarm_changed_file_takes_only_its_gaps(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(tree, tmp_path / "dest", symlinks=True)
    data = bytearray((tree / "big").read_bytes())
    for at in (1000, 2 * MIB, 4 * MIB + 5):
        data[at : at + 10] = b"0123456789"
    (tree / "big").write_bytes(data[: 3 * MIB] + b"inserted" + data[3 * MIB :])
    pair = make(tree, tmp_path)
    pair.run()
    assert contents(tmp_path / "dest") == contents(tree)
    assert 0 < pair.delivered < 40_000
    assert pair.context.stats.matched_data + pair.delivered == (tree / "big").stat().st_size


def test_swarm_file_of_equal_blocks_is_found_in_its_basis(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tree / "big").write_bytes(bytes(4 * MIB))
    shutil.copytree(tree, tmp_path / "dest", symlinks=True)
    (tree / "big").write_bytes(bytes(6 * MIB))
    pair = make(tree, tmp_path)
    pair.run()
    assert contents(tmp_path / "dest") == contents(tree)
    assert pair.delivered < 10_000


def test_swarm_basis_that_has_everything_needs_no_source(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(tree, tmp_path / "dest", symlinks=True)
    os.utime(tmp_path / "dest" / "big", (1, 1))
    os.utime(tmp_path / "dest" / "a" / "f3", (1, 1))
    pair = make(tree, tmp_path, mirrors=0)
    pair.run()
    assert contents(tmp_path / "dest") == contents(tree)
    assert pair.delivered == 0


def flip_data(data: bytes, largest: int) -> bytes:
    """Flips a bit in the last byte of every data frame whose payload is at most `largest` bytes; frames come whole here."""
    out, at = bytearray(data), 0
    while at < len(out):
        word = int.from_bytes(out[at : at + 4], "little")
        end = at + 4 + (word & 0xFFFFFF)
        if word >> 24 == 7 + 117 and out[at + 4] == 6 and end - at - 19 <= largest:
            out[end - 1] ^= 1
        at = end
    return bytes(out)


@pytest.mark.parametrize("largest", [1, 5_000, 1 << 20])
def test_swarm_mirror_that_flips_bits_is_found_out_and_nothing_of_it_stays(
    tree: pathlib.Path, tmp_path: pathlib.Path, largest: int
) -> None:
    pair = make(tree, tmp_path, mirrors=2)
    pair.mirrors[1].damage = lambda data: flip_data(data, largest)
    pair.run()
    assert contents(tmp_path / "dest") == contents(tree)
    assert {holder for holder, _ in pair.bad} == {1}


def test_swarm_stale_mirror_is_told_apart_and_another_helps(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(tree, tmp_path / "mirror0", symlinks=True)
    (tmp_path / "mirror0" / "big").write_bytes(b"old")
    (tmp_path / "mirror0" / "a" / "f1").write_bytes(b"old as well")
    pair = make(tree, tmp_path, mirrors=2)
    pair.run()
    assert contents(tmp_path / "dest") == contents(tree)
    assert pair.missing > 0 and not pair.bad


def test_swarm_without_any_source_fails_the_files_and_keeps_old_ones(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "big").write_bytes(b"old contents")
    pair = make(tree, tmp_path, mirrors=0)
    pair.run()
    assert (tmp_path / "dest" / "big").read_bytes() == b"old contents"
    assert pair.receiver.exit_code() == 23
    assert any("no source delivered" in line for line in pair.lines)
    assert not list((tmp_path / "dest").rglob(".*"))


@pytest.mark.parametrize("incremental", [True, False])
def test_swarm_that_nothing_joins_any_more_leaves_the_rest_to_the_session(
    tree: pathlib.Path, tmp_path: pathlib.Path, incremental: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Swarm.ask

    def ask_and_stop(swarm: Swarm, flush: bool) -> None:
        ask(swarm, flush)
        if swarm.counts.undecided:
            swarm.stop_joining()

    monkeypatch.setattr(Swarm, "ask", ask_and_stop)
    pair = make(tree, tmp_path, incremental=incremental)
    pair.run()
    assert contents(tmp_path / "dest") == contents(tree)
    assert pair.delivered == 0
    assert pair.swarm is not None and pair.swarm.counts.classic > 50


def link_some(top: pathlib.Path) -> None:
    """Groups within a directory, across directories, of a large file, of an empty one."""
    for old, new in [("a/f0", "a/g0"), ("a/f1", "c/g1"), ("big", "a/b/big"), ("big", "zbig"), ("c/middle", "a/middle2")]:
        if not (top / old).exists():
            (top / old).write_bytes(random.Random(old).randbytes(MIB))
            os.utime(top / old, (1_500_000_000, 1_500_000_000))
        os.link(top / old, top / new)
    (top / "c" / "empty").touch()
    os.utime(top / "c" / "empty", (1_500_000_000, 1_500_000_000))
    os.link(top / "c" / "empty", top / "a" / "b" / "empty")


def groups(top: pathlib.Path) -> set[frozenset[str]]:
    found: dict[int, set[str]] = {}
    for path in top.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found.setdefault(path.stat().st_ino, set()).add(str(path.relative_to(top)))
    return {frozenset(names) for names in found.values()}


@pytest.mark.parametrize("late", [False, True], ids=["during", "after"])
@pytest.mark.parametrize("incremental", [True, False])
def test_swarm_brings_hard_linked_files_once(tree: pathlib.Path, tmp_path: pathlib.Path, incremental: bool, late: bool) -> None:
    link_some(tree)
    pair = make(tree, tmp_path, incremental=incremental)
    for context in (pair.context, pair.origin.context):
        context.options.hard_links = 1
    if late:  # nothing is delivered before the session with the origin has ended
        mirrors = pair._mirrors
        pair._mirrors = lambda: mirrors() if pair.receiver.ended else None  # type: ignore[method-assign]
    pair.run()
    assert contents(tmp_path / "dest") == contents(tree)
    assert groups(tmp_path / "dest") == groups(tree)
    assert pair.delivered == sum((tree / min(names)).stat().st_size for names in groups(tree))
    assert pair.swarm is not None and (pair.swarm.counts.open, pair.swarm.counts.classic) == (0, 0)
    assert not pair.receiver.exit_code()


def test_swarm_without_digests_leaves_hard_links_to_the_session(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    link_some(tree)
    pair = make(tree, tmp_path, warm=False)
    for context in (pair.context, pair.origin.context):
        context.options.hard_links = 1
    run_without_digests(pair)
    assert contents(tmp_path / "dest") == contents(tree)
    assert groups(tmp_path / "dest") == groups(tree)
    assert pair.delivered == 0


def test_swarm_of_many_small_files_makes_few_events(tmp_path: pathlib.Path) -> None:
    tree = tmp_path / "tree"
    for d in range(20):
        (tree / f"d{d}").mkdir(parents=True)
        for f in range(150):
            (tree / f"d{d}" / f"f{f}").write_bytes(b"%d %d" % (d, f))
    pair = make(tree, tmp_path)
    pair.run()
    assert contents(tmp_path / "dest") == contents(tree)
    assert pair.next_request < 80


def pull_many_large_files(folder: pathlib.Path) -> None:
    tree = folder / "tree"
    tree.mkdir()
    for i in range(240):
        with open(tree / f"f{i}", "wb") as file:
            file.truncate((256 << 10) + 1 + i)
        os.utime(tree / f"f{i}", (1_500_000_000, 1_500_000_000))
    for number in range(4):
        (folder / f"mirror{number}").symlink_to(tree)
    pair = make(tree, folder, mirrors=4)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 220, hard))
    pair.run()
    assert not pair.receiver.exit_code()


def test_swarm_of_many_large_files_holds_few_descriptors(tmp_path: pathlib.Path) -> None:
    """In a process of its own: what other tests hold open would count as well."""
    code = "import pathlib, sys; import test_swarm_pair as t; t.pull_many_large_files(pathlib.Path(sys.argv[1]))"
    places = [str(pathlib.Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    same = contents(tmp_path / "dest") == contents(tmp_path / "tree")
    assert same


def test_digests_beyond_the_window_are_refused(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pair = make(tree, tmp_path, mirrors=0)
    request = struct.pack("<IHiH", 1, 1, 0, 8192) + bytes(1024)
    for _ in range(4):
        pair.origin.digester.ask(request)
    with pytest.raises(EngineError, match="more is asked for than the window holds"):
        pair.origin.digester.ask(request)


def test_swarm_request_has_room_for_paths_below_a_mirrors_module(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for i in range(250):
        (tree / f"f{i}").write_bytes(b"%d" % i)
    with open(tree / "large", "wb") as file:
        file.truncate(80 << 20)
    asked: list[tuple[int, int]] = []
    made, sent = Swarm.of, PeerFetch.request

    def of(pull: Receiving) -> Swarm | None:
        swarm = made(pull)
        if swarm is not None:
            swarm.set_below(400)
        return swarm

    def request(self: PeerFetch, number: int, count: int, entries: bytes) -> None:
        asked.append((count, len(entries)))
        sent(self, number, count, entries)

    monkeypatch.setattr(Swarm, "of", of)
    monkeypatch.setattr(PeerFetch, "request", request)
    pair = make(tree, tmp_path)
    pair.run()
    assert contents(tmp_path / "dest") == contents(tree)
    assert max(count for count, _ in asked) > 100
    assert all(length + count * 401 < 61_000 for count, length in asked)
