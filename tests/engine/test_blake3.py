"""BLAKE3 against the published vectors and the PyPI package; piece digests against the root."""

from __future__ import annotations

import os
import pathlib
import random

import blake3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prsync.engine.digests import digest_fd, digest_file, piece_count, piece_digest, piece_length, pieces_root
from prsync.engine.native import ffi, lib
from prsync.engine.sums import Sum, hash_bytes

KIB, MIB = 1024, 1024 * 1024

# From the project's test_vectors.json: input byte i is i % 251; the first 32 bytes of "hash".
VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
    2048: "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
    2049: "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030",
    3072: "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2",
    3073: "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3",
    4096: "015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969",
    4097: "9b4052b38f1c5fc8b1f9ff7ac7b27cd242487b3d890d15c96a1c25b8aa0fb995",
    5120: "9cadc15fed8b5d854562b26a9536d9707cadeda9b143978f319ab34230535833",
    5121: "628bd2cb2004694adaab7bbd778a25df25c47b9d4155a55f8fbd79f2fe154cff",
    6144: "3e2e5b74e048f3add6d21faab3f83aa44d3b2278afb83b80b3c35164ebeca205",
    6145: "f1323a8631446cc50536a9f705ee5cb619424d46887f3c376c695b70e0f0507f",
    7168: "61da957ec2499a95d6b8023e2b0e604ec7f6b50e80a9678b89d2628e99ada77a",
    7169: "a003fc7a51754a9b3c7fae0367ab3d782dccf28855a03d435f8cfe74605e7817",
}
BUILDS = {0: "scalar", 1: "generic", 2: "avx2", 3: "avx512"}


def counting(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def with_build(build: int, data: bytes, step: int) -> bytes:
    out = ffi.new("uint8_t[]", 32)
    if lib.ps_blake3_with(build, data, len(data), step, out) != lib.PS_OK:
        pytest.skip(f"this processor cannot run {BUILDS[build]}")
    return bytes(out)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("size", VECTORS)
def test_digest_matches_the_published_vector(build: int, size: int) -> None:
    assert with_build(build, counting(size), size or 1).hex() == VECTORS[size]
    assert with_build(build, counting(size), 100).hex() == VECTORS[size]


@pytest.mark.parametrize("build", BUILDS)
@given(size=st.integers(0, 300 * KIB), step=st.integers(1000, 200 * KIB), seed=st.integers(0, 255))
@settings(deadline=None, max_examples=30)
def test_digest_in_parts_matches_the_package(build: int, size: int, step: int, seed: int) -> None:
    data = random.Random(seed).randbytes(size)
    assert with_build(build, data, step) == blake3.blake3(data).digest()


@given(st.binary(max_size=9000))
def test_hash_bytes_matches_the_package(data: bytes) -> None:
    assert hash_bytes(Sum.BLAKE3, data) == blake3.blake3(data).digest()


@pytest.mark.parametrize(
    ("size", "length", "count"),
    [
        (0, 256 * KIB, 1),
        (1, 256 * KIB, 1),
        (256 * KIB, 256 * KIB, 1),
        (256 * KIB + 1, 256 * KIB, 2),
        (512 * MIB, 256 * KIB, 2048),
        (512 * MIB + 1, 512 * KIB, 1025),
        (32 * 1024 * MIB, 16 * MIB, 2048),
        (2**50, 16 * MIB, 2**26),
    ],
)
def test_piece_length_grows_with_the_file(size: int, length: int, count: int) -> None:
    assert (piece_length(size), piece_count(size)) == (length, count)


@pytest.mark.parametrize("size", [0, 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 700_001, MIB, MIB + 1, 5 * MIB + 77])
def test_pieces_in_any_order_give_the_root(size: int, tmp_path: pathlib.Path) -> None:
    data = random.Random(size).randbytes(size)
    length, count = piece_length(size), piece_count(size)
    order = list(range(count))
    random.Random(1).shuffle(order)
    digests = {i: piece_digest(data[i * length : (i + 1) * length], i, size) for i in order}
    pieces = b"".join(digests[i] for i in range(count))
    assert pieces_root(pieces, size) == blake3.blake3(data).digest()
    (tmp_path / "f").write_bytes(data)
    assert digest_file(tmp_path / "f") == (blake3.blake3(data).digest(), pieces)


def test_a_single_piece_is_the_root() -> None:
    assert piece_digest(b"abc", 0, 3) == blake3.blake3(b"abc").digest()


def test_equal_pieces_at_other_places_have_other_digests() -> None:
    size = 512 * KIB
    assert piece_digest(bytes(256 * KIB), 0, size) != piece_digest(bytes(256 * KIB), 1, size)


def test_root_of_too_few_pieces_is_refused() -> None:
    with pytest.raises(ValueError, match="has 2 pieces"):
        pieces_root(bytes(32), 300 * KIB)


def test_digest_of_a_file_that_ended_early_raises(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    with pytest.raises(EOFError):
        digest_fd(fd, 4)
    os.close(fd)


def test_digest_of_a_directory_raises_os_error(tmp_path: pathlib.Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        digest_fd(fd, 4)
    os.close(fd)
