"""Checksums and block layout against independent implementations and a transcription of rsync's rules in Python."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.engine.sums import Sum, SumHead, block_sum, block_sums, hash_bytes, hash_fd, sum_head, weak_sum
from prsync.errors import EngineError

RFC1320 = {
    b"": "31d6cfe0d16ae931b73c59d7e0c089c0",
    b"a": "bde52cb31de33e46245e05fbdbd6fb24",
    b"abc": "a448017aaf21d8525fc10ae87aa6729d",
    b"message digest": "d9130a8164549fe818874806e1c7014b",
    b"abcdefghijklmnopqrstuvwxyz": "d79e1c308aa5bbcdeea8ed63df412da9",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789": "043f8582f241db351ce627e153e7f0e4",
    b"1234567890" * 8: "e33b4ddc9c38f2199c3e7b164fcc0536",
}


@pytest.mark.parametrize("data", RFC1320)
def test_md4_of_rfc_inputs_matches_the_rfc(data: bytes) -> None:
    assert hash_bytes(Sum.MD4, data).hex() == RFC1320[data]


@given(st.binary(max_size=5000))
def test_md5_and_sha1_match_hashlib(data: bytes) -> None:
    assert hash_bytes(Sum.MD5, data) == hashlib.md5(data).digest()
    assert hash_bytes(Sum.SHA1, data) == hashlib.sha1(data).digest()


def test_xxh_of_nothing_is_the_published_value_reversed() -> None:
    assert hash_bytes(Sum.XXH64, b"").hex() == bytes.fromhex("ef46db3751d8e999")[::-1].hex()
    assert hash_bytes(Sum.XXH3, b"").hex() == bytes.fromhex("2d06800538d394c2")[::-1].hex()
    assert hash_bytes(Sum.XXH128, b"").hex() == bytes.fromhex("99aa06d3014798d86001c324468d497f")[::-1].hex()


@pytest.mark.parametrize("kind", [k for k in Sum if k is not Sum.NONE])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 240, 241, 1024, 70_000, 700_001])
def test_hash_of_a_file_equals_hash_of_its_bytes(kind: Sum, size: int, tmp_path: pathlib.Path) -> None:
    data = bytes(i % 251 for i in range(size))
    (tmp_path / "f").write_bytes(data)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        assert hash_fd(kind, fd) == hash_bytes(kind, data)
    finally:
        os.close(fd)


def test_hash_of_a_directory_raises_os_error(tmp_path: pathlib.Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        hash_fd(Sum.MD5, fd)
    os.close(fd)


def test_unknown_kind_is_refused() -> None:
    class Fake(int):
        name = "whirlpool"

    with pytest.raises(EngineError, match="whirlpool"):
        hash_bytes(Fake(99), b"")  # type: ignore[arg-type]


def test_libcryptos_configuration_is_not_read(tmp_path: pathlib.Path) -> None:
    # A module's tree may hold such a file, and the daemon may first need MD5 within its chroot.
    (tmp_path / "openssl.cnf").write_text(
        "openssl_conf = main\n[main]\nproviders = some\n[some]\nnull = only\n[only]\nactivate = 1\n"
    )
    environment = {**os.environ, "OPENSSL_CONF": str(tmp_path / "openssl.cnf"), "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "from prsync.engine.sums import Sum, hash_bytes; print(hash_bytes(Sum.MD5, b'').hex())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.md5(b"").hexdigest()


@given(st.binary(max_size=3000))
def test_weak_sum_matches_its_definition(data: bytes) -> None:
    signed = [b - 256 if b > 127 else b for b in data]
    first = sum(signed)
    second = sum((len(signed) - i) * b for i, b in enumerate(signed))
    assert weak_sum(data) == (first & 0xFFFF) | (second & 0xFFFF) << 16


@given(st.binary(max_size=300), st.integers(-(2**31), 2**31 - 1))
def test_block_sums_put_the_seed_where_rsync_does(data: bytes, seed: int) -> None:
    raw = seed.to_bytes(4, "little", signed=True) if seed else b""
    assert block_sum(Sum.MD5, seed, data) == hashlib.md5(raw + data).digest()
    assert block_sum(Sum.MD5, seed, data, proper_seed_order=False) == hashlib.md5(data + raw).digest()
    assert block_sum(Sum.SHA1, seed, data) == hashlib.sha1(raw + data).digest()
    assert block_sum(Sum.MD4, seed, data) == hash_bytes(Sum.MD4, data + raw)


@pytest.mark.parametrize("kind", [Sum.XXH64, Sum.XXH3, Sum.XXH128])
def test_unseeded_xxh_block_sum_equals_the_plain_checksum(kind: Sum) -> None:
    for size in (0, 1, 16, 17, 200, 300, 5000):
        data = bytes(i * 7 % 256 for i in range(size))
        assert block_sum(kind, 0, data) == hash_bytes(kind, data)
        assert block_sum(kind, 5, data) != hash_bytes(kind, data)


def rsync_head(size: int, block: int, longest: bool, digest: int) -> SumHead:
    """generator.c:sum_sizes_sqroot of protocol 30 and later, in words of its own."""
    if not block:
        block = 700
        if size > 700 * 700:
            top = 1 << ((size.bit_length() - 1) // 2)
            if top >= 131072:
                block = 131072
            else:
                root = 0
                while top >= 8:
                    root |= top if (root | top) ** 2 <= size else 0
                    top >>= 1
                block = max(700, root)
    limit = min(16, digest)
    if longest:
        strong = limit
    else:
        bits = 10 + 2 * max(0, size.bit_length() - 1)
        bits -= min(bits, block.bit_length() - 1)
        strong = min(limit, max(2, int((bits + 1 - 32 + 7) / 8)))
    return SumHead(-(-size // block), block, strong, size % block)


@given(st.integers(0, 2**45), st.sampled_from([0, 0, 512, 700, 131072]), st.booleans(), st.sampled_from([Sum.XXH64, Sum.MD5]))
def test_sum_head_follows_rsyncs_rule(size: int, block: int, longest: bool, kind: Sum) -> None:
    want = rsync_head(size, block, longest, 8 if kind is Sum.XXH64 else 16)
    if want.blocks < 2**31:
        assert sum_head(size, kind, block_size=block, longest=longest) == want


@pytest.mark.parametrize(
    ("size", "block"),
    [(0, 700), (1, 700), (490_000, 700), (490_001, 700), (600_000, 768), (2**20, 1024), (2**30, 32768), (2**30 + 12345, 32768),
     (2**34, 131072), (2**34 - 1, 131064), (2**40, 131072)],
)
def test_block_length_of_known_sizes(size: int, block: int) -> None:
    assert sum_head(size, Sum.XXH128).block_length == block


def test_negative_size_has_no_blocks() -> None:
    assert sum_head(-1, Sum.XXH128).blocks == -1


@pytest.mark.parametrize("kind", [Sum.XXH128, Sum.MD5, Sum.MD4])
@pytest.mark.parametrize("size", [1, 699, 700, 701, 600_123, 1_400_000, pytest.param(9_000_001, id="by-two-threads")])
def test_block_sums_of_a_file_are_those_of_its_blocks(kind: Sum, size: int, tmp_path: pathlib.Path) -> None:
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    head = sum_head(size, kind)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    got = block_sums(fd, size, head, kind, 77)
    os.close(fd)
    want = b""
    for at in range(0, size, head.block_length):
        block = data[at : at + head.block_length]
        want += weak_sum(block).to_bytes(4, "little") + block_sum(kind, 77, block)[: head.strong_length]
    assert got == want


def test_block_sums_of_a_file_that_has_shrunk_count_zeros(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 1000)
    head = sum_head(2100, Sum.XXH128)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    got = block_sums(fd, 2100, head, Sum.XXH128, 1)
    os.close(fd)
    zeros = weak_sum(bytes(700)).to_bytes(4, "little") + block_sum(Sum.XXH128, 1, bytes(700))[: head.strong_length]
    assert got.endswith(zeros) and len(got) == 3 * len(zeros)
