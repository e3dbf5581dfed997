"""Digests: BLAKE3 of a file, and of its pieces. Wraps csrc/api/hash_api.h."""

from __future__ import annotations

import os
from typing import NamedTuple

from prsync.engine.native import ffi, lib

DIGEST_LENGTH = 32


class FileDigest(NamedTuple):
    """What a file's data is trusted by: the root equals b3sum's output; pieces are 32 bytes each, in order."""

    root: bytes
    pieces: bytes


def piece_length(size: int) -> int:
    """Bytes of every piece but the last of a file of `size` bytes: a power of two, 256 KiB to 16 MiB."""
    return 1 << int(lib.ps_piece_log2(size))


def piece_count(size: int) -> int:
    """Pieces of a file of `size` bytes; an empty file has one."""
    return int(lib.ps_piece_count(size))


def piece_digest(data: bytes | bytearray | memoryview, index: int, size: int) -> bytes:
    """Digest of piece `index` of a file of `size` bytes: the chaining value of its subtree, or the root of the only piece."""
    out = ffi.new("uint8_t[]", DIGEST_LENGTH)
    lib.ps_piece_digest(ffi.from_buffer(data), len(data), index, size, out)
    return bytes(out)


def pieces_root(pieces: bytes, size: int) -> bytes:
    """Root of a file from the digests of all its pieces. ValueError: another number of them than the size asks for."""
    if len(pieces) != DIGEST_LENGTH * piece_count(size):
        raise ValueError(f"a file of {size} bytes has {piece_count(size)} pieces, not {len(pieces) / DIGEST_LENGTH:g}")
    out = ffi.new("uint8_t[]", DIGEST_LENGTH)
    lib.ps_pieces_root(pieces, size, out)
    return bytes(out)


def digest_fd(fd: int, size: int) -> FileDigest:
    """Digests of an open file of `size` bytes. OSError: a read error; EOFError: the file ended early."""
    pieces, root = ffi.new("uint8_t[]", DIGEST_LENGTH * piece_count(size)), ffi.new("uint8_t[]", DIGEST_LENGTH)
    error = ffi.new("int *")
    if lib.ps_digest_fd(fd, size, pieces, root, error) != lib.PS_OK:
        if not error[0]:
            raise EOFError(f"the file ended before its {size} bytes")
        raise OSError(error[0], os.strerror(error[0]))
    return FileDigest(bytes(root), bytes(pieces))


def digest_file(path: str | bytes | os.PathLike[str]) -> FileDigest:
    """Digests of a file by its path. OSError, EOFError as for digest_fd."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return digest_fd(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
