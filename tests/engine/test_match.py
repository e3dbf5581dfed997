"""The block search against a slow transcription of rsync's rule, and against the figures of the real rsync."""

from __future__ import annotations

import os
import pathlib
import random
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prsync.engine.sums import MatchOp, Sum, SumHead, block_sums, hash_bytes, search, sum_head

BLOCK = 8


def search_bytes(
    new: bytes, old: bytes, tmp: pathlib.Path, *, block: int = BLOCK, in_place: bool = False, full_every: int = 0
) -> list[MatchOp]:
    head = sum_head(len(old), Sum.XXH128, block_size=block, longest=True)
    (tmp / "old").write_bytes(old)
    (tmp / "new").write_bytes(new)
    old_fd, new_fd = os.open(tmp / "old", os.O_RDONLY), os.open(tmp / "new", os.O_RDONLY)
    try:
        sums = block_sums(old_fd, len(old), head, Sum.XXH128, 9)
        found, digest = search(new_fd, len(new), head, sums, Sum.XXH128, 9, in_place=in_place, full_every=full_every)
    finally:
        os.close(old_fd)
        os.close(new_fd)
    assert digest == hash_bytes(Sum.XXH128, new)
    assert rebuild(found, new, old, head) == new
    return found


def rebuild(operations: list[MatchOp], new: bytes, old: bytes, head: SumHead) -> bytes:
    out = bytearray()
    for literal, block in operations:
        out += new[len(out) : len(out) + literal]
        if block >= 0:
            out += old[block * head.block_length : (block + 1) * head.block_length]
    return bytes(out)


def expected(new: bytes, old: bytes, block: int) -> list[MatchOp]:
    """match.c:hash_search on bytes: the wanted next block first, else the last one with equal content."""
    blocks = [old[i : i + block] for i in range(0, len(old), block)]
    found: list[MatchOp] = []
    at = done = wanted = 0
    while blocks and at <= len(new) - len(blocks[-1]):
        here = new[at : at + block]
        candidates = [i for i, b in enumerate(blocks) if b == here]
        if not candidates:
            at += 1
            continue
        chosen = wanted if wanted in candidates else candidates[-1]
        found.append(MatchOp(at - done, chosen))
        at = done = at + len(here)
        wanted = chosen + 1
    if done < len(new):
        found.append(MatchOp(len(new) - done, -1))
    return found


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("match")


chunks = st.sampled_from([b"aaaaaaaa", b"bbbbbbbb", b"aaaabbbb", b"x", b"", b"zzz", bytes(8), bytes(3)])
letters = st.lists(chunks, max_size=30).map(b"".join)


@given(letters, letters, st.sampled_from([0, 1, 3]))
@settings(deadline=None)
def test_search_chooses_the_blocks_that_rsync_chooses(tmp: pathlib.Path, new: bytes, old: bytes, full_every: int) -> None:
    assert search_bytes(new, old, tmp, full_every=full_every) == expected(new, old, BLOCK)


@pytest.mark.parametrize("seed", range(12))
def test_search_of_longer_data_chooses_the_same_blocks(tmp: pathlib.Path, seed: int) -> None:
    rng = random.Random(seed)
    alphabet = bytes(rng.randrange(256) for _ in range(rng.choice([2, 3, 200])))
    old = bytes(rng.choices(alphabet, k=rng.randrange(500, 1500)))
    new = b""
    while len(new) < 3000:
        start = rng.randrange(len(old))
        new += old[start : start + rng.randrange(60)] + bytes(rng.choices(alphabet, k=rng.randrange(60)))
    assert search_bytes(new, old, tmp, block=11) == expected(new, old, 11)


@given(letters, letters)
@settings(deadline=None)
def test_search_in_place_uses_no_block_that_was_overwritten(tmp: pathlib.Path, new: bytes, old: bytes) -> None:
    found = search_bytes(new, old, tmp, in_place=True)
    content = bytearray(old)
    at = 0
    for literal, block in found:
        content[at : at + literal] = new[at : at + literal]
        at += literal
        if block >= 0:
            data = bytes(content[block * BLOCK : (block + 1) * BLOCK])
            content[at : at + len(data)] = data
            at += len(data)
    assert bytes(content[: len(new)]) == new


@pytest.mark.parametrize("block", [700, 4096, 131072])
@pytest.mark.parametrize("full_every", [0, 1])
def test_search_across_many_windows_finds_all_that_was_kept(tmp: pathlib.Path, block: int, full_every: int) -> None:
    rng = random.Random(block)
    old = rng.randbytes(3_000_001)
    new = bytearray(old)
    for position in (5, 400_000, 1_500_000, 2_999_999):
        new[position] ^= 1
    new[800_000:800_000] = rng.randbytes(300_000)
    del new[2_000_000:2_000_123]
    found = search_bytes(bytes(new), old, tmp, block=block, full_every=full_every)
    assert found == search_bytes(bytes(new), old, tmp, block=block)
    assert sum(op.literal for op in found) < 300_000 + 7 * block


def test_empty_files_need_no_operation(tmp: pathlib.Path) -> None:
    assert search_bytes(b"", b"", tmp) == []
    assert search_bytes(b"", b"12345678", tmp) == []
    assert search_bytes(b"abc", b"", tmp) == [MatchOp(3, -1)]


def test_file_that_ended_early_is_reported(tmp: pathlib.Path) -> None:
    (tmp / "short").write_bytes(b"x" * 100)
    fd = os.open(tmp / "short", os.O_RDONLY)
    with pytest.raises(EOFError):
        search(fd, 101, SumHead(0, 0, 0, 0), b"", Sum.XXH128, 0)
    os.close(fd)


def test_equal_weak_sums_by_the_thousand_end_soon(tmp: pathlib.Path) -> None:
    # Permuting two pairs of bytes symmetrically keeps both halves of the weak sum.
    rng = random.Random(1)
    block = b"".join(bytes([1, 2, 2, 1]) if rng.random() < 0.5 else bytes([2, 1, 1, 2]) for _ in range(64))
    blocks = [block]
    while len(blocks) < 20_000:
        quads = [bytes([1, 2, 2, 1]) if rng.random() < 0.5 else bytes([2, 1, 1, 2]) for _ in range(64)]
        blocks.append(b"".join(quads))
    found = search_bytes(b"".join(blocks[:50]) + bytes(1000), b"".join(blocks[::-1]), tmp, block=256)
    assert sum(op.literal for op in found) < 50 * 256 + 1000 + 1


RSYNC = shutil.which("rsync")


def stock_figures(new: pathlib.Path, old: pathlib.Path, *options: str) -> tuple[int, int]:
    done = subprocess.run(
        ["rsync", "--stats", "-I", "--no-whole-file", "--checksum-choice=xxh128", *options, str(new), str(old)],
        capture_output=True, text=True, check=True,
    )
    figures = [int(re.search(rf"{name} data: ([\d,.]+)", done.stdout)[1].replace(",", "")) for name in ("Literal", "Matched")]  # type: ignore[index]
    return figures[0], figures[1]


@pytest.mark.skipif(not RSYNC, reason="needs rsync")
@pytest.mark.parametrize("case", ["edits", "inserts", "zeros", "shuffled", "shrunk", "text"])
@pytest.mark.parametrize("in_place", [False, True])
def test_literal_and_matched_data_equal_those_of_rsync(tmp_path: pathlib.Path, case: str, in_place: bool) -> None:
    rng = random.Random(case)
    old = bytearray(rng.randbytes(1_300_007))
    if case == "zeros":
        old[100_000:700_000] = bytes(600_000)
    if case == "text":
        old = bytearray(b" ".join(str(rng.randrange(300)).encode() for _ in range(300_000)))
    new = bytearray(old)
    if case in ("edits", "text", "zeros"):
        for _ in range(40):
            new[rng.randrange(len(new))] = rng.randrange(256)
    if case in ("inserts", "zeros"):
        for _ in range(10):
            at = rng.randrange(len(new))
            new[at:at] = rng.randbytes(rng.randrange(3000))
    if case == "shuffled":
        parts = [bytes(new[i : i + 10_000]) for i in range(0, len(new), 10_000)]
        rng.shuffle(parts)
        new = bytearray(b"".join(parts))
    if case == "shrunk":
        del new[333_333:900_000]
    (tmp_path / "new").write_bytes(new)
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "target").write_bytes(old)
    found = search_bytes_default(tmp_path, in_place)
    want = stock_figures(tmp_path / "new", tmp_path / "target", *(["--inplace"] if in_place else []))
    assert found == want


def search_bytes_default(folder: pathlib.Path, in_place: bool) -> tuple[int, int]:
    size, old_size = (folder / "new").stat().st_size, (folder / "old").stat().st_size
    head = sum_head(old_size, Sum.XXH128)
    old_fd, new_fd = os.open(folder / "old", os.O_RDONLY), os.open(folder / "new", os.O_RDONLY)
    sums = block_sums(old_fd, old_size, head, Sum.XXH128, 1)
    found, _ = search(new_fd, size, head, sums, Sum.XXH128, 1, in_place=in_place)
    os.close(old_fd)
    os.close(new_fd)
    literal = sum(op.literal for op in found)
    return literal, size - literal
