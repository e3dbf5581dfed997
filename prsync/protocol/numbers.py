"""Numbers and lists of names as rsync's handshake has them: varint and vstring (io.c). The core has its own for the transfer."""

from __future__ import annotations

from collections.abc import Sequence

from prsync.errors import StreamError

NAMES_BYTES = 255  # a list of names (MAX_NSTR_STRLEN - 1)


def encode_varint(value: int) -> bytes:
    """io.c:write_varint, for a 32-bit value."""
    raw = (value & 0xFFFFFFFF).to_bytes(4, "little").rstrip(b"\0")
    count = len(raw)
    if count == 0:
        return b"\0"
    top = 1 << (8 - count)
    last = raw[-1]
    if last >= top:
        return bytes([0x100 - top]) + raw
    if count == 1:
        return raw
    return bytes([last | (0x100 - (top << 1)) & 0xFF]) + raw[:-1]


def decode_varint(data: bytes | bytearray) -> tuple[int, int] | None:
    """io.c:read_varint: (value, bytes used); raises StreamError for one that is too long."""
    if not data:
        return None
    first = data[0]
    extra = 0
    while extra < 8 and first & (0x80 >> extra):
        extra += 1
    if extra > 4:
        raise StreamError("the remote sent an overflowing number")
    if len(data) < 1 + extra:
        return None
    value = int.from_bytes(bytes(data[1 : 1 + extra]), "little") | (first & ((1 << (8 - extra)) - 1)) << (8 * extra)
    if value >= 1 << 32:
        raise StreamError("the remote sent an overflowing number")
    return value - (1 << 32) if value >= 1 << 31 else value, 1 + extra


def encode_names(names: Sequence[str]) -> bytes:
    """A vstring (io.c:write_vstring)."""
    raw = " ".join(names).encode("ascii")
    size = len(raw)
    return (bytes([size]) if size < 0x80 else bytes([size >> 8 | 0x80, size & 0xFF])) + raw


def decode_names(data: bytes | bytearray) -> tuple[list[str], int] | None:
    """(names, bytes used)."""
    if not data:
        return None
    size, head = data[0], 1
    if size & 0x80:
        if len(data) < 2:
            return None
        size, head = (size & 0x7F) << 8 | data[1], 2
    if size > NAMES_BYTES:
        raise StreamError(f"over-long vstring received ({size} > {NAMES_BYTES})")
    if len(data) < head + size:
        return None
    return bytes(data[head : head + size]).decode("ascii", "replace").split(), head + size
