"""Fields of nominate/1's control frames: tag, length, value; numbers and texts within them (protocol-spec/nominate-1.md §2)."""

from __future__ import annotations

from collections.abc import Iterator

from prsync.errors import StreamError
from prsync.protocol import limits


class MalformedFrame(StreamError):
    """A frame whose body does not parse."""


class Reader:
    """Bounds-checked reading of one frame's body; raises MalformedFrame."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise MalformedFrame(f"the remote sent a {self._what} frame that ends too early")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self, limit: int) -> str:
        """A vstr of UTF-8 without control characters."""
        size = self.number(2)
        if size > limit:
            raise MalformedFrame(f"the remote sent a {self._what} frame with a text of {size} bytes; at most {limit} allowed")
        return decode_text(self.take(size), self._what)

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        if self:
            raise MalformedFrame(f"the remote sent a {self._what} frame with a field that is too long")


def decode_text(raw: bytes, what: str) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise MalformedFrame(f"the remote sent a {what} frame with a text that is not UTF-8") from None
    if not text.isprintable():
        raise MalformedFrame(f"the remote sent a {what} frame with control characters in a text")
    return text


def put_number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def put_text(text: str, limit: int) -> bytes:
    raw = text.encode()
    if len(raw) > limit:
        raise ValueError(f"a text of {len(raw)} bytes; at most {limit} go into a frame")
    return put_number(len(raw), 2) + raw


def put_field(tag: int, value: bytes) -> bytes:
    return bytes([tag]) + put_number(len(value), 2) + value


def read_fields(body: bytes, what: str, repeating: frozenset[int] = frozenset()) -> Iterator[tuple[int, Reader]]:
    """The fields of a body: (tag, reader over the value). A tag that may not repeat and does is malformed."""
    reader = Reader(body, what)
    seen: set[int] = set()
    count = 0
    while reader:
        tag, size = reader.number(1), reader.number(2)
        value = reader.take(size)
        count += 1
        if count > limits.FIELDS:
            raise MalformedFrame(f"the remote sent a {what} frame with more than {limits.FIELDS} fields")
        if tag in seen and tag not in repeating:
            raise MalformedFrame(f"the remote sent a {what} frame with field {tag} twice")
        seen.add(tag)
        yield tag, Reader(value, what)
