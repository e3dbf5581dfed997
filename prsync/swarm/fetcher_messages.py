"""Messages between a client's main process and its fetcher, over a stream socket: u32 length, u8 type, body."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import Any

MESSAGE_BYTES = 1 << 20  # both ends are ours: a longer one is a defect
HEAD = struct.Struct("<IB")
FETCH = struct.Struct("<III")  # request, source, entries
SHRINK = struct.Struct("<IQ")  # request, offset in the file


class Message(enum.IntEnum):
    """Main → fetcher: PREPARE, GO (JSON), SOURCE (JSON), FETCH, SHRINK, CANCEL (request), CONSUMED (records), DROP (source),
    REPORT (frame), END.
    Fetcher → main: RECORDS, OPEN (source), CLOSED (JSON), READY."""

    GO = 1
    SOURCE = 2
    FETCH = 3
    CANCEL = 4
    CONSUMED = 5
    DROP = 6
    REPORT = 7
    END = 8
    SHRINK = 9
    PREPARE = 10
    RECORDS = 20
    OPEN = 21
    CLOSED = 22


def encode(kind: Message, body: bytes = b"") -> bytes:
    return HEAD.pack(len(body), kind) + body


def encode_json(kind: Message, **fields: Any) -> bytes:
    import json  # not wanted in a session without mirrors

    return encode(kind, json.dumps(fields).encode())


def encode_number(kind: Message, number: int) -> bytes:
    return encode(kind, number.to_bytes(4, "little"))


def number_of(body: bytes) -> int:
    return int.from_bytes(body, "little")


class Messages:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[tuple[Message, bytes]]:
        self._data += data
        at = 0
        while len(self._data) - at >= HEAD.size:
            size, kind = HEAD.unpack_from(self._data, at)
            if size > MESSAGE_BYTES:
                raise ValueError(f"a message of {size} bytes between our own processes")
            if len(self._data) - at - HEAD.size < size:
                break
            yield Message(kind), bytes(self._data[at + HEAD.size : at + HEAD.size + size])
            at += HEAD.size + size
        del self._data[:at]
