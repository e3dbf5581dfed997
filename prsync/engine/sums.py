"""Checksums, digests and block sums of buffers and files. Wraps csrc/api/hash_api.h."""

from __future__ import annotations

import enum
import os
from typing import NamedTuple, NoReturn

from prsync.engine.native import ffi, lib
from prsync.errors import EngineError, ExitCode

_LONGEST_DIGEST = lib.PS_LIMIT_DIGEST


class Sum(enum.IntEnum):
    """PS_SUM_*: the kinds that rsync negotiates, and BLAKE3 for digests."""

    NONE = lib.PS_SUM_NONE
    MD4 = lib.PS_SUM_MD4
    MD5 = lib.PS_SUM_MD5
    SHA1 = lib.PS_SUM_SHA1
    XXH64 = lib.PS_SUM_XXH64
    XXH3 = lib.PS_SUM_XXH3
    XXH128 = lib.PS_SUM_XXH128
    BLAKE3 = lib.PS_SUM_BLAKE3


class SumHead(NamedTuple):
    """What precedes block sums on the wire (io.c:write_sum_head); lengths in bytes."""

    blocks: int
    block_length: int
    strong_length: int
    remainder: int


def hash_bytes(kind: Sum, data: bytes | bytearray | memoryview) -> bytes:
    """Checksum of a buffer as rsync stores it (the xxh family little-endian). EngineError: a kind that libcrypto refuses."""
    out, length = ffi.new("uint8_t[]", _LONGEST_DIGEST), ffi.new("size_t *")
    if lib.ps_hash_bytes(kind, ffi.from_buffer(data), len(data), out, length) != lib.PS_OK:
        raise EngineError(f"the checksum {kind.name.lower()} is not available on this system", ExitCode.UNSUPPORTED)
    return bytes(ffi.buffer(out, length[0]))


def hash_fd(kind: Sum, fd: int) -> bytes:
    """Checksum of an open file from its first to its last byte. OSError: a read error."""
    out, length, error = ffi.new("uint8_t[]", _LONGEST_DIGEST), ffi.new("size_t *"), ffi.new("int *")
    if lib.ps_hash_fd(kind, fd, out, length, error) != lib.PS_OK:
        _raise_for(error[0], f"the checksum {kind.name.lower()} is not available on this system")
    return bytes(ffi.buffer(out, length[0]))


def weak_sum(data: bytes | bytearray | memoryview) -> int:
    """rsync's rolling sum of a block (checksum.c:get_checksum1)."""
    return int(lib.ps_weak_sum(ffi.from_buffer(data), len(data)))


def block_sum(kind: Sum, seed: int, data: bytes, *, proper_seed_order: bool = True) -> bytes:
    """Strong sum of a block (checksum.c:get_checksum2), untruncated."""
    out, length = ffi.new("uint8_t[]", _LONGEST_DIGEST), ffi.new("size_t *")
    if lib.ps_block_sum(kind, seed, proper_seed_order, data, len(data), out, length) != lib.PS_OK:
        raise EngineError(f"the checksum {kind.name.lower()} is not available on this system", ExitCode.UNSUPPORTED)
    return bytes(ffi.buffer(out, length[0]))


def sum_head(size: int, kind: Sum, *, block_size: int = 0, protocol: int = 32, longest: bool = False) -> SumHead:
    """Block layout for a basis of `size` bytes (generator.c:sum_sizes_sqroot); `longest`: the redo phase's strong sums."""
    head = ffi.new("ps_head *")
    lib.ps_head_for(size, block_size, protocol, kind, longest, head)
    return SumHead(head.count, head.block_length, head.strong_length, head.remainder)


def block_sums(fd: int, size: int, head: SumHead, kind: Sum, seed: int, *, proper_seed_order: bool = True) -> bytes:
    """Wire form of all block sums of an open file: count × (u32 weak, strong). OSError: a read error."""
    out = ffi.new("uint8_t[]", max(1, head.blocks * (4 + head.strong_length)))
    error = ffi.new("int *")
    native_head = ffi.new("ps_head *", tuple(head))
    if lib.ps_block_sums(kind, seed, proper_seed_order, fd, size, native_head, out, error) != lib.PS_OK:
        _raise_for(error[0], f"the checksum {kind.name.lower()} is not available on this system")
    return bytes(ffi.buffer(out, head.blocks * (4 + head.strong_length)))


class MatchOp(NamedTuple):
    """A run of literal bytes, then a block of the basis (-1: none)."""

    literal: int
    block: int


def search(fd: int, size: int, head: SumHead, sums: bytes, kind: Sum, seed: int, *, in_place: bool = False,
           sum_kind: Sum = Sum.XXH128, proper_seed_order: bool = True, full_every: int = 0) -> tuple[list[MatchOp], bytes]:
    """Finds blocks, given by their sums in wire form, in an open file of `size` bytes (match.c:hash_search).

    Returns the operations that rebuild the file from them, and the file's checksum of `sum_kind`. OSError: a read error;
    EOFError: the file ended early.
    """
    query = ffi.new("ps_search *", (kind, seed, proper_seed_order, tuple(head), in_place, sum_kind, full_every, size))
    capacity = size // max(1, head.remainder or head.block_length) + 2 if head.blocks else 1
    operations = ffi.new("ps_match_op[]", capacity)
    count, error = ffi.new("size_t *"), ffi.new("int *")
    digest = ffi.new("uint8_t[]", _LONGEST_DIGEST)
    if lib.ps_search_fd(query, sums, fd, operations, capacity, count, digest, error) != lib.PS_OK:
        if not error[0]:
            raise EOFError(f"the file ended before its {size} bytes")
        raise OSError(error[0], os.strerror(error[0]))
    found = [MatchOp(operations[i].literal, operations[i].block) for i in range(count[0])]
    return found, bytes(ffi.buffer(digest, lib.ps_sum_length(sum_kind)))


def _raise_for(errno: int, otherwise: str) -> NoReturn:
    if errno:
        raise OSError(errno, os.strerror(errno))
    raise EngineError(otherwise, ExitCode.UNSUPPORTED)
