"""Output files: any order, pieces, sparse, and what is left when they end early."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prsync.engine.context import Context
from prsync.engine.native import ffi, lib

PIECE = 256 * 1024


def open_root(context: Context, path: Path) -> Any:
    return ffi.gc(lib.ps_root_open(context.handle, str(path).encode(), False), lib.ps_root_free)


class Out:
    def __init__(self, context: Context, root: Any, path: bytes = b"file", mode: int = 0o644, mtime: int = 1_000_000_000) -> None:
        self.root = root
        self.handle = lib.ps_out_file_open(context.handle, root, path, mode, mtime)

    def write(self, offset: int, data: bytes) -> None:
        assert lib.ps_out_file_write(self.handle, offset, data, len(data)) == lib.PS_OK

    def digest(self, data: bytes, pieces: bytes | None = None) -> int:
        return int(lib.ps_out_file_digest(self.handle, len(data), pieces or piece_digests(data), root_digest(data)))

    def piece(self, index: int) -> int:
        return int(lib.ps_out_file_piece(self.handle, index))

    def missing(self, at: int = 0) -> tuple[int, int] | None:
        start, length = ffi.new("uint64_t *", at), ffi.new("uint64_t *")
        return (start[0], length[0]) if lib.ps_out_file_missing(self.handle, start, length) else None

    def finish(self, size: int, verified: bool = True) -> int:
        return int(lib.ps_out_file_finish(self.handle, size, verified))

    def abort(self, may_keep: bool = True) -> None:
        lib.ps_out_file_abort(self.handle, may_keep)


def root_digest(data: bytes) -> bytes:
    out, size = ffi.new("uint8_t[64]"), ffi.new("size_t *")
    assert lib.ps_hash_bytes(lib.PS_SUM_BLAKE3, data, len(data), out, size) == lib.PS_OK
    return bytes(ffi.buffer(out, 32))


def piece_digests(data: bytes) -> bytes:
    """By the file interface of the core: what an origin would send."""
    path = f"/proc/self/fd/{(fd := os.memfd_create('data'))}"
    try:
        Path(path).write_bytes(data)
        count = max(1, -(-len(data) // PIECE))
        pieces, root = ffi.new("uint8_t[]", 32 * count), ffi.new("uint8_t[32]")
        assert lib.ps_digest_fd(fd, len(data), pieces, root, ffi.new("int *")) == lib.PS_OK
        return bytes(ffi.buffer(pieces, 32 * count))
    finally:
        os.close(fd)


@pytest.fixture
def context() -> Context:
    made = Context()
    made.options.perms = made.options.times = 1
    return made


DATA = random.Random(1).randbytes(3 * PIECE + 1000)


def test_out_written_backwards_is_put_into_place(context: Context, tmp_path: Path) -> None:
    out = Out(context, open_root(context, tmp_path), mode=0o604)
    for offset in range(len(DATA) - 1000, -1, -997):
        out.write(offset, DATA[offset : offset + 1000])
    out.write(0, DATA[:1000])
    assert [p.name for p in tmp_path.iterdir()][0].startswith(".file.")
    assert out.finish(len(DATA)) == 1
    final = tmp_path / "file"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert final.read_bytes() == DATA
    assert (final.stat().st_mode & 0o7777, final.stat().st_mtime) == (0o604, 1_000_000_000)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30), longest=st.sampled_from([5000, 70_000, 400_000]))
def test_out_pieces_in_any_order_and_split_are_all_ok(seed: int, longest: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    context, chance = Context(), random.Random(seed)
    out = Out(context, open_root(context, tmp_path_factory.mktemp("out")))
    assert out.digest(DATA) == lib.PS_OK
    cuts = sorted({0, len(DATA), *(chance.randrange(len(DATA)) for _ in range(len(DATA) // longest + 1))})
    ranges = list(zip(cuts, cuts[1:], strict=False))
    chance.shuffle(ranges)
    written = set()
    for begin, end in ranges:
        written.add((begin, end))
        out.write(begin, DATA[begin:end])
        gap = out.missing()
        left = sorted(set(ranges) - written)
        assert (gap is None) == (not left)
        if gap:
            assert gap[0] == left[0][0]
    assert [out.piece(i) for i in range(4)] == [1, 1, 1, 1]
    assert out.finish(len(DATA)) == 1


def test_out_bad_piece_is_named_and_can_be_written_again(context: Context, tmp_path: Path) -> None:
    out = Out(context, open_root(context, tmp_path))
    out.digest(DATA)
    wrong = bytearray(DATA)
    wrong[PIECE + 5] ^= 1
    out.write(0, bytes(wrong))
    assert [out.piece(i) for i in range(4)] == [1, -1, 1, 1]
    lib.ps_out_file_again(out.handle, 1)
    assert out.missing() == (PIECE, PIECE)
    out.write(PIECE, DATA[PIECE : 2 * PIECE])
    assert out.piece(1) == 1
    assert out.missing() is None
    assert out.finish(len(DATA)) == 1
    assert (tmp_path / "file").read_bytes() == DATA


def test_out_verified_piece_is_never_written_again(context: Context, tmp_path: Path) -> None:
    out = Out(context, open_root(context, tmp_path))
    out.digest(DATA)
    out.write(PIECE, DATA[PIECE : 2 * PIECE])
    out.write(PIECE - 100, bytes(PIECE + 200))
    assert [out.piece(i) for i in range(4)] == [0, 1, 0, 0]
    out.write(0, DATA[:PIECE])
    out.write(2 * PIECE, DATA[2 * PIECE :])
    assert out.missing() is None
    assert out.finish(len(DATA)) == 1
    assert (tmp_path / "file").read_bytes() == DATA


def test_out_pieces_that_do_not_make_the_root_are_refused(context: Context, tmp_path: Path) -> None:
    out = Out(context, open_root(context, tmp_path))
    pieces = bytearray(piece_digests(DATA))
    pieces[40] ^= 1
    assert out.digest(DATA, bytes(pieces)) == lib.PS_FAIL
    out.abort()


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1])
def test_out_digest_of_each_size_is_verified(context: Context, tmp_path: Path, size: int) -> None:
    out = Out(context, open_root(context, tmp_path))
    assert out.digest(DATA[:size]) == lib.PS_OK
    if size:
        out.write(0, DATA[:size])
    assert all(out.piece(i) == 1 for i in range(max(1, -(-size // PIECE))))
    assert out.finish(size) == 1


def test_out_beyond_the_stated_size_is_refused(context: Context, tmp_path: Path) -> None:
    out = Out(context, open_root(context, tmp_path))
    out.digest(DATA)
    assert lib.ps_out_file_write(out.handle, len(DATA) - 1, b"ab", 2) == lib.PS_FAIL
    out.abort()
    assert list(tmp_path.iterdir()) == []


def test_out_unverified_is_discarded_and_the_old_file_stays(context: Context, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    out = Out(context, open_root(context, tmp_path))
    out.write(0, b"new")
    assert out.finish(3, verified=False) == 0
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_out_aborted_leaves_nothing(context: Context, tmp_path: Path) -> None:
    out = Out(context, open_root(context, tmp_path))
    out.write(0, b"new")
    out.abort()
    assert list(tmp_path.iterdir()) == []


def test_out_aborted_with_partial_keeps_the_verified_prefix(context: Context, tmp_path: Path) -> None:
    context.options.partial = 1
    out = Out(context, open_root(context, tmp_path))
    out.digest(DATA)
    out.write(0, DATA[: 2 * PIECE + 100])
    out.write(3 * PIECE, DATA[3 * PIECE :])
    out.abort()
    kept = tmp_path / "file"
    assert kept.read_bytes() == DATA[: 2 * PIECE]
    assert kept.stat().st_mtime == 0


def test_out_aborted_with_partial_dir_keeps_all_of_it_there(context: Context, tmp_path: Path) -> None:
    context.options.partial = 1
    context.set_string(lib.PS_STR_PARTIAL_DIR, b".parts")
    out = Out(context, open_root(context, tmp_path))
    out.digest(DATA)
    out.write(PIECE, DATA[PIECE : 2 * PIECE])
    out.abort()
    assert (tmp_path / ".parts" / "file").read_bytes() == bytes(PIECE) + DATA[PIECE : 2 * PIECE]
    assert (tmp_path / ".parts").stat().st_mode & 0o777 == 0o700
    assert [p.name for p in tmp_path.iterdir()] == [".parts"]


def test_out_sparse_leaves_holes_and_the_right_size(context: Context, tmp_path: Path) -> None:
    context.options.sparse = 1
    data = b"a" * 5000 + bytes(100_000) + b"b" * 10 + bytes(500) + b"c" + bytes(70_000)
    out = Out(context, open_root(context, tmp_path))
    for offset in range(0, len(data), 32_768):
        out.write(offset, data[offset : offset + 32_768])
    assert out.finish(len(data)) == 1
    assert (tmp_path / "file").read_bytes() == data
    assert (tmp_path / "file").stat().st_blocks * 512 < 40_000


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("file", ".file."),
        (".hidden", ".hidden."),
        ("dot.", ".dot."),
        ("n" * 255, "." + "n" * 246 + "."),
        ("é" * 127, "."),  # cut within a run of bytes above 127: all of the run goes
        ("n" + "é" * 127, ".n."),
    ],
)
def test_out_temporary_name_is_as_rsync_makes_it(context: Context, tmp_path: Path, name: str, start: str) -> None:
    out = Out(context, open_root(context, tmp_path), name.encode())
    assert out.handle != ffi.NULL
    found = [p.name for p in tmp_path.iterdir()]
    assert [n[:-6] for n in found] == [start]
    assert out.finish(0) == 1
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_out_through_a_symlink_out_of_the_tree_is_refused(context: Context, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "dir").symlink_to("../outside")
    out = Out(context, open_root(context, tmp_path / "root"), b"dir/file")
    assert out.handle == ffi.NULL
    assert b"mkstemp" in b"".join(text for _, text in context.drain_log())
    assert list((tmp_path / "outside").iterdir()) == []


def test_out_onto_a_directory_fails_and_leaves_no_temporary(context: Context, tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    out = Out(context, open_root(context, tmp_path))
    out.write(0, b"new")
    assert out.finish(3) == -1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    [(code, text)] = context.drain_log()
    assert (code, text) == (lib.PS_LOG_ERROR_XFER, text)
    assert text.endswith(b'-> "file": Is a directory (21)\n')


def test_out_copy_of_a_source_that_ends_early_fails(context: Context, tmp_path: Path) -> None:
    source = os.memfd_create("source")
    os.write(source, DATA[:1000])
    out = Out(context, open_root(context, tmp_path))
    assert lib.ps_out_file_copy(out.handle, 0, 1000, source, 0) == lib.PS_OK
    assert lib.ps_out_file_copy(out.handle, 1000, 1, source, 1000) == lib.PS_FAIL
    os.close(source)
    out.abort()
