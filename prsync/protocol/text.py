"""The text phase of a daemon connection, the client's side: greeting, module list, authentication, arguments.

Specified in protocol-spec/classic.md §1. Feed bytes, take events; None means "more bytes are needed". What stands behind the
last line of the phase stays in `rest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prsync.errors import ProtocolVersionError, StartError, StreamError

LINE_BYTES = 4096  # longest line taken from a remote
NAMES_BYTES = 255  # MAX_NSTR_STRLEN: a list of digest names
PREFIX = b"@RSYNCD: "
AUTH_DIGESTS = ("sha512", "sha256", "sha1", "md5", "md4")  # strongest first
OUR_PROTOCOL = 32
OLDEST_PROTOCOL = 27  # of rsync 2.6.0


class Greeting(NamedTuple):
    """A remote's first line. `digests` is () where it has no list (before protocol 32), `sub` is -1 without one (before 30)."""

    protocol: int
    sub: int
    digests: tuple[str, ...]

    def common_protocol(self, ours: int) -> int:
        """clientserver.c:exchange_protocols: what both speak; a pre-release of a remote counts as the one before."""
        if ours > self.protocol:
            return self.protocol - (1 if self.sub > 0 else 0)
        return ours - (1 if ours == self.protocol and self.sub > 0 else 0)


class Line(NamedTuple):
    """A line of the message of the day or of the module list: there is no telling them apart."""

    text: bytes


class AuthRequired(NamedTuple):
    challenge: bytes


class Accepted(NamedTuple):
    """@RSYNCD: OK: the arguments come next."""


class Ended(NamedTuple):
    """@RSYNCD: EXIT: the module list is complete."""


ClientEvent = Greeting | Line | AuthRequired | Accepted | Ended


def format_greeting(protocol: int, digests: Sequence[str]) -> bytes:
    return PREFIX + f"{protocol}.0 {' '.join(digests)}\n".encode()


def parse_greeting(line: bytes) -> Greeting | None:
    """None where the line is no greeting at all."""
    if not line.startswith(PREFIX):
        return None
    version, _, names = line[len(PREFIX) :].lstrip().partition(b" ")
    protocol, dot, sub = version.partition(b".")
    if not protocol.isdigit() or len(protocol) > 4 or (dot and (not sub.isdigit() or len(sub) > 4)):
        return None
    digests = tuple(names[:NAMES_BYTES].decode("ascii", "replace").split())
    return Greeting(int(protocol), int(sub) if dot else -1, digests)


class _Lines:
    """Splits what comes into lines; "\\r" before the end is dropped, as io.c:read_line_old does."""

    def __init__(self) -> None:
        self.rest = bytearray()
        self.searched = 0

    def feed(self, data: bytes) -> None:
        self.rest += data

    def next_line(self) -> bytes | None:
        end = self.rest.find(b"\n", self.searched)
        if (end < 0 and len(self.rest) > LINE_BYTES) or end > LINE_BYTES:
            raise StreamError(f"the remote sent a line of more than {LINE_BYTES} bytes")
        if end < 0:
            self.searched = len(self.rest)
            return None
        line = bytes(self.rest[:end]).replace(b"\r", b"")
        del self.rest[: end + 1]
        self.searched = 0
        if b"\0" in line:
            raise StreamError("the remote sent a line with a NUL byte")
        return line


class TextClient:
    """The client's side: what a daemon says until its OK."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._greeted = False
        self.over = False

    @property
    def rest(self) -> bytes:
        return bytes(self._lines.rest)

    def feed(self, data: bytes) -> None:
        self._lines.feed(data)

    def next_event(self) -> ClientEvent | None:
        """Raises StartError for @ERROR lines and what is no rsync daemon, ProtocolVersionError for one that is too old."""
        if self.over:
            return None
        line = self._lines.next_line()
        if line is None:
            return None
        if not self._greeted:
            self._greeted = True
            return self._greeting(line)
        if line.startswith(PREFIX + b"AUTHREQD "):
            return AuthRequired(line[len(PREFIX) + 9 :])
        if line == PREFIX + b"OK":
            self.over = True
            return Accepted()
        if line == PREFIX + b"EXIT":
            self.over = True
            return Ended()
        if line.startswith(b"@ERROR"):
            raise StartError(line.decode("utf-8", "surrogateescape"))
        return Line(line)

    def _greeting(self, line: bytes) -> Greeting:
        shown = line.decode("utf-8", "surrogateescape")
        greeting = parse_greeting(line)
        if greeting is None:
            raise StartError(f'rsync: server sent "{shown}" rather than greeting')
        if greeting.protocol >= 30 and greeting.sub < 0:
            raise StartError(f"rsync: the server omitted the subprotocol value: {shown}")
        if greeting.protocol > 31 and not greeting.digests:
            raise StartError(f"rsync: the server omitted the digest name list: {shown}")
        if greeting.protocol < OLDEST_PROTOCOL:
            raise ProtocolVersionError(
                f"the daemon speaks protocol {greeting.protocol}; prsync needs {OLDEST_PROTOCOL} (rsync 2.6.0) or later"
                " on the other side"
            )
        return greeting

    def at_end(self) -> StartError:
        """What to raise when the connection ended before the phase did."""
        return StartError("rsync: didn't get server startup line" if self._greeted else "rsync: did not see server greeting")


def encode_arguments(words: Sequence[bytes], protocol: int = OUR_PROTOCOL) -> bytes:
    """One batch of arguments: before protocol 30 as lines. Raises ProtocolVersionError for a line break in one of them."""
    end = b"\0" if protocol >= 30 else b"\n"
    for word in words:
        if end == b"\n" and (b"\n" in word or b"\r" in word):
            shown = word.decode("utf-8", "surrogateescape")
            raise ProtocolVersionError(f"protocol {protocol} sends no line break in an argument: {shown!r}; try --secluded-args")
    return b"".join(word + end for word in words) + end


def encode_secluded_arguments(words: Sequence[bytes]) -> bytes:
    """The second batch of --secluded-args (rsync.c:send_protected_args): a name first, an empty word as "."."""
    return encode_arguments([b"rsync", *(word or b"." for word in words)])
