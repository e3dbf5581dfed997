"""The head of a batch file: what a reader must know before the sender's data (batch.c, io.c:start_write_batch). Sans-I/O.

Specified in protocol-spec/classic.md §11.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from prsync.errors import ProtocolVersionError
from prsync.protocol.negotiation import Compat
from prsync.protocol.numbers import decode_varint, encode_varint
from prsync.protocol.text import OLDEST_PROTOCOL


class StreamFlags(enum.IntFlag):
    """Options that change the sender's data (batch.c:flag_ptr). Bits above are ignored."""

    RECURSE = 1 << 0
    OWNER = 1 << 1
    GROUP = 1 << 2
    LINKS = 1 << 3
    DEVICES = 1 << 4
    HARD_LINKS = 1 << 5
    CHECKSUM = 1 << 6
    DIRS = 1 << 7
    COMPRESS = 1 << 8
    ICONV = 1 << 9
    ACLS = 1 << 10
    XATTRS = 1 << 11
    INPLACE = 1 << 12
    APPEND = 1 << 13
    APPEND_VERIFY = 1 << 14


FLAG_COUNT = 15


def known_flags(protocol: int) -> int:
    """How many of the bits mean something in a batch of this protocol (batch.c:check_batch_flags)."""
    return 7 if protocol < 29 else 9 if protocol < 30 else FLAG_COUNT


class BatchHead(NamedTuple):
    """`compat`: the compat flags as they were sent, 0 before protocol 30."""

    flags: StreamFlags
    protocol: int
    compat: Compat
    seed: int


def encode_flags(flags: StreamFlags) -> bytes:
    """The first four bytes, which are known before the session is."""
    return int(flags).to_bytes(4, "little")


def encode_session(protocol: int, compat: Compat, seed: int) -> bytes:
    """What follows them once the session is agreed; the extension's bit says nothing in a file."""
    flags = encode_varint(int(compat & ~Compat.NOMINATE)) if protocol >= 30 else b""
    return protocol.to_bytes(4, "little") + flags + (seed & 0xFFFFFFFF).to_bytes(4, "little")


class HeadDecoder:
    """Feed bytes, take the head. `newest`: the highest protocol that is read."""

    def __init__(self, newest: int) -> None:
        self._newest = newest
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def rest(self) -> bytes:
        """What came behind the head, once it is there."""
        return self._buffer

    def head(self) -> BatchHead | None:
        """None: more bytes are needed. Raises ProtocolVersionError, and StreamError for flags that are no number."""
        data = self._buffer
        if len(data) < 8:
            return None
        flags, protocol = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little", signed=True)
        if protocol > self._newest:
            raise ProtocolVersionError(f"The protocol version in the batch file is too new ({protocol} > {self._newest}).")
        if protocol < OLDEST_PROTOCOL:
            raise ProtocolVersionError(f"The protocol version in the batch file is too old ({protocol} < {OLDEST_PROTOCOL}).")
        at, compat = 8, 0
        if protocol >= 30:
            found = decode_varint(data[at:])
            if found is None:
                return None
            compat, at = found[0] & 0x7FFFFFFF, at + found[1]
        if len(data) < at + 4:
            return None
        seed = int.from_bytes(data[at : at + 4], "little", signed=True)
        self._buffer = data[at + 4 :]
        known = (1 << FLAG_COUNT) - 1
        return BatchHead(StreamFlags(flags & known), protocol, Compat(compat) & ~Compat.NOMINATE, seed)
