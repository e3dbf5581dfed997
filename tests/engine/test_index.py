"""The digest index: validity, batches, growth, versions, readers in other processes."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import blake3
import pytest

from prsync.engine.digests import digest_file, piece_count
from prsync.engine.index import BLOCK_SUM_LENGTH, DigestIndex, IndexEntry, IndexStatus
from prsync.engine.native import lib
from prsync.engine.sums import Sum, block_sums, sum_head
from prsync.errors import EngineError

HIT, MISS, GONE, ERROR = IndexStatus.HIT, IndexStatus.MISS, IndexStatus.GONE, IndexStatus.ERROR
STORED, CHANGED = IndexStatus.STORED, IndexStatus.CHANGED


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "module"
    (root / "sub").mkdir(parents=True)
    (root / "empty").write_bytes(b"")
    (root / "small").write_bytes(b"hello")
    (root / "sub" / "large").write_bytes(random.Random(1).randbytes(1_300_001))
    (root / "link").symlink_to("small")
    os.mkfifo(root / "fifo")
    return root


@pytest.fixture
def root_fd(tree: pathlib.Path) -> Iterator[int]:
    fd = os.open(tree, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def index(tmp_path: pathlib.Path) -> Iterator[DigestIndex]:
    with DigestIndex(tmp_path / "index", writer=True) as index:
        yield index


NAMES = [b"empty", b"small", b"sub/large"]


def statuses(entries: list[IndexEntry]) -> list[IndexStatus]:
    return [e.status for e in entries]


def test_hashed_files_are_found_with_their_digests(index: DigestIndex, tree: pathlib.Path, root_fd: int) -> None:
    assert statuses(index.lookup(root_fd, NAMES)) == [MISS] * 3
    stored = index.hash_files(root_fd, NAMES)
    index.commit()
    assert statuses(stored) == [STORED] * 3
    found = index.lookup(root_fd, NAMES)
    for name, brief, entry in zip(NAMES, stored, found, strict=True):
        want = digest_file(os.path.join(os.fsencode(tree), name))
        state = os.stat(os.path.join(os.fsencode(tree), name))
        assert entry.status is HIT
        assert (entry.root, entry.pieces) == want
        assert brief.root == entry.root == blake3.blake3((tree / os.fsdecode(name)).read_bytes()).digest()
        assert entry.size == state.st_size and entry.mtime * 10**9 + entry.mtime_ns == state.st_mtime_ns
        assert entry.kind == lib.PS_DIGEST_BLAKE3 and entry.block_sums == b""
    assert len(index) == 3


def test_known_files_are_not_hashed_again(index: DigestIndex, root_fd: int) -> None:
    index.hash_files(root_fd, NAMES)
    index.commit()
    again = index.hash_files(root_fd, NAMES)
    assert statuses(again) == [HIT] * 3 and all(len(e.root) == 32 for e in again)


def test_block_sums_follow_rsyncs_block_length_with_seed_zero(index: DigestIndex, tree: pathlib.Path, root_fd: int) -> None:
    index.hash_files(root_fd, NAMES)
    index.commit()
    assert statuses(index.hash_files(root_fd, NAMES, block_sums=True)) == [HIT, STORED, STORED]
    index.commit()
    large = index.lookup(root_fd, [b"sub/large"], block_sums=True)[0]
    head = sum_head(1_300_001, Sum.XXH128)._replace(strong_length=8)
    fd = os.open(tree / "sub/large", os.O_RDONLY)
    want = block_sums(fd, 1_300_001, head, Sum.XXH128, 0)
    os.close(fd)
    assert large.block_sums == want and len(want) == BLOCK_SUM_LENGTH * head.blocks
    assert large.block_length == head.block_length
    assert (large.root, large.pieces) == digest_file(tree / "sub/large")
    assert index.lookup(root_fd, [b"sub/large"])[0].block_sums == b""


@pytest.mark.parametrize("change", ["content", "mtime", "replaced", "chmod"])
def test_any_change_of_the_file_makes_a_miss(index: DigestIndex, tree: pathlib.Path, root_fd: int, change: str) -> None:
    index.hash_files(root_fd, [b"small"])
    index.commit()
    target = tree / "small"
    if change == "content":
        target.write_bytes(b"HELLO")
    elif change == "mtime":
        os.utime(target, ns=(0, target.stat().st_mtime_ns + 1))
    elif change == "replaced":
        state = target.stat()
        shutil.copy2(target, tree / "new")
        os.replace(tree / "new", target)
        assert target.stat().st_mtime_ns == state.st_mtime_ns
    else:
        target.chmod(0o600)  # moves ctime only: a miss that costs a second read, never a wrong answer
    assert statuses(index.lookup(root_fd, [b"small"])) == [MISS]
    assert statuses(index.hash_files(root_fd, [b"small"])) == [STORED]


def test_what_is_no_regular_file_is_gone(index: DigestIndex, root_fd: int) -> None:
    names = [b"absent", b"sub", b"link", b"fifo", b"small/below", b"absent/deep"]
    assert statuses(index.lookup(root_fd, names)) == [GONE] * len(names)
    assert statuses(index.hash_files(root_fd, names)) == [GONE] * len(names)


def test_names_outside_the_root_are_never_hashed(index: DigestIndex, tree: pathlib.Path, root_fd: int) -> None:
    (tree.parent / "secret").write_bytes(b"secret")
    (tree / "out").symlink_to(tree.parent)
    for status in statuses(index.hash_files(root_fd, [b"../secret", b"out/secret"])):
        assert status in (GONE, ERROR)
    index.commit()
    assert len(index) == 0


def test_budget_ends_a_batch_after_the_file_that_exceeds_it(index: DigestIndex, root_fd: int) -> None:
    assert len(index.hash_files(root_fd, [b"small", b"sub/large", b"empty"], budget=6)) == 2
    assert len(index.hash_files(root_fd, [b"sub/large", b"empty"], budget=0)) == 1


def test_recorded_digests_of_a_receiver_are_found(index: DigestIndex, tree: pathlib.Path, root_fd: int) -> None:
    digests = digest_file(tree / "sub/large")
    assert index.record(root_fd, b"sub/large", digests.pieces) is STORED
    assert index.record(root_fd, b"sub/large", digests.pieces[32:]) is CHANGED
    assert index.record(root_fd, b"absent", bytes(32)) is GONE
    index.commit()
    found = index.lookup(root_fd, [b"sub/large"])[0]
    assert (found.root, found.pieces) == digests


def test_prune_removes_what_is_gone_or_differs(index: DigestIndex, tree: pathlib.Path, root_fd: int) -> None:
    for i in range(50):
        (tree / f"n{i}").write_bytes(b"%d" % i)
    names = [b"n%d" % i for i in range(50)]
    index.hash_files(root_fd, names)
    index.commit()
    for i in range(0, 50, 2):
        (tree / f"n{i}").unlink()
    (tree / "n1").write_bytes(b"other")
    assert sum(index.prune(root_fd, batch=7)) == 26
    assert sorted(e.name for e in index.entries(batch=5)) == sorted(names[3::2])
    assert sum(index.prune(root_fd)) == 0


def test_removed_names_are_not_found(index: DigestIndex, root_fd: int) -> None:
    index.hash_files(root_fd, NAMES)
    index.remove(b"small")
    index.remove(b"never there")
    index.commit()
    assert statuses(index.lookup(root_fd, NAMES)) == [HIT, MISS, HIT]


def test_index_grows_beyond_its_first_map(index: DigestIndex, tree: pathlib.Path, root_fd: int) -> None:
    size = 600 << 20
    with open(tree / "sparse", "wb") as f:
        f.truncate(size)
    pieces = random.Random(2).randbytes(32 * piece_count(size))
    for i in range(700):
        os.link(tree / "sparse", tree / f"link{i}")
    for i in range(700):
        assert index.record(root_fd, b"link%d" % i, pieces) is STORED
    index.commit()
    found = index.lookup(root_fd, [b"link%d" % i for i in range(700)])
    assert {e.status for e in found} == {HIT} and {e.pieces for e in found} == {pieces}


def run_reader(code: str, *arguments: object) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


READER = """
import os, sys
from prsync.engine.index import DigestIndex
root = os.open(sys.argv[2], os.O_RDONLY)
with DigestIndex(sys.argv[1]) as index:
    print(*[e.status.name for e in index.lookup(root, [b"empty", b"small"])])
    sys.stdout.flush()
    if len(sys.argv) > 3:
        sys.stdin.readline()
        print(*[e.status.name for e in index.lookup(root, [b"empty", b"small"])])
"""


def test_reader_sees_what_was_committed(index: DigestIndex, tree: pathlib.Path, tmp_path: pathlib.Path, root_fd: int) -> None:
    index.hash_files(root_fd, [b"small"])
    assert run_reader(READER, tmp_path / "index", tree) == "MISS MISS\n"
    index.commit()
    assert run_reader(READER, tmp_path / "index", tree) == "MISS HIT\n"


def test_open_reader_follows_a_map_that_grows(index: DigestIndex, tree: pathlib.Path, root_fd: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", READER, str(tree.parent / "index"), str(tree), "wait"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin and reader.stdout
        assert reader.stdout.readline() == "MISS MISS\n"
        test_index_grows_beyond_its_first_map(index, tree, root_fd)
        index.hash_files(root_fd, [b"small"])
        index.commit()
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "MISS HIT\n"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_reader_works_after_chroot_and_setuid(index: DigestIndex, tree: pathlib.Path, root_fd: int) -> None:
    index.hash_files(root_fd, NAMES)
    index.commit()
    code = """
    import os, sys
    from prsync.engine.index import DigestIndex
    index = DigestIndex(sys.argv[1])
    root = os.open(sys.argv[2], os.O_RDONLY)
    os.chroot(sys.argv[2])
    os.chdir("/")
    os.setgid(65534)
    os.setuid(65534)
    print(*[e.status.name for e in index.lookup(root, [b"empty", b"small", b"sub/large"])])
    """
    assert run_reader(code, tree.parent / "index", tree) == "HIT HIT HIT\n"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root on Linux")
def test_root_opens_the_index_as_the_owner_of_its_directory(tmp_path: pathlib.Path) -> None:
    tmp_path.parent.parent.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    tmp_path.chmod(0o755)
    DigestIndex(folder / "index", writer=True).close()
    assert {(folder / name).stat().st_uid for name in ("index", "index-lock")} == {65534}
    (tmp_path / "precious").write_bytes(b"precious")
    (folder / "index-lock").unlink()
    (folder / "index-lock").symlink_to(tmp_path / "precious")
    with pytest.raises(EngineError, match="Permission denied"):
        DigestIndex(folder / "index")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert os.geteuid() == 0 and (tmp_path / "precious").stat().st_uid == 0


def test_missing_index_is_refused_in_one_line(tmp_path: pathlib.Path) -> None:
    with pytest.raises(EngineError, match="does not exist yet") as caught:
        DigestIndex(tmp_path / "none")
    assert "\n" not in caught.value.text


def test_other_file_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x").write_bytes(b"not an index" * 1000)
    with pytest.raises(EngineError, match="is not a file that this prsync can read"):
        DigestIndex(tmp_path / "x", writer=True)


def test_unknown_format_version_is_refused(tmp_path: pathlib.Path) -> None:
    DigestIndex(tmp_path / "index", writer=True).close()
    raw = (tmp_path / "index").read_bytes()
    at = raw.index(b"version\x01\x00\x00\x00")
    (tmp_path / "index").write_bytes(raw[: at + 7] + b"\x09" + raw[at + 8 :])
    with pytest.raises(EngineError, match="has format version 9, this prsync knows 1"):
        DigestIndex(tmp_path / "index")


def test_empty_batches_are_fine(index: DigestIndex, root_fd: int) -> None:
    assert index.lookup(root_fd, []) == [] == index.hash_files(root_fd, [])
    index.commit()
    assert list(index.entries()) == []
