"""The daemon's side of rsync's text phase: lines over a blocking socket, against one absolute deadline."""

from __future__ import annotations

import re
import time

import attrs

from prsync.net.connection import Connection
from prsync.protocol.text import OLDEST_PROTOCOL, OUR_PROTOCOL
from prsync.version import __version__ as prsync_version

PROTOCOL = OUR_PROTOCOL
DIGEST_LIST = "sha512 sha256 sha1 md5 md4"
GREETING = f"@RSYNCD: {PROTOCOL}.0 {DIGEST_LIST}\n"
RECEIVE_BYTES = 16 * 1024
LINE_LIMIT = 1023  # bytes of a greeting or module line (clientserver.c:start_daemon)
LONG_LINE_LIMIT = 5119  # of an answer to a challenge, of an argument
NOMINATE_TOKEN = "nominate1"  # in the digest list of a client that can take data from mirrors
HANDSHAKE_SECONDS = 60.0  # the longest that a client may take for a phase (DAEMON_HANDSHAKE_TIMEOUT)

__all__ = ["Greeting", "Hangup", "Refusal", "TextStream", "parse_greeting", "prsync_version"]


class Hangup(Exception):
    """The client is gone, too slow, or sends no lines: nothing more is said to it. The text, if any, is for the log."""


class Refusal(Exception):
    """The client is told `@ERROR: text` and the connection ends. `log`: the line for our log, where there is one."""

    def __init__(self, text: str, log: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.log = log


@attrs.frozen
class Greeting:
    protocol: int  # the lower of the two
    digests: str | None  # the client's list; None: it sent none
    can_nominate: bool


def parse_greeting(line: str) -> Greeting:
    """The client's `@RSYNCD: VERSION.SUB [digests]` (clientserver.c:exchange_protocols). Raises Refusal."""
    found = re.match(r"@RSYNCD:\s*([0-9]{1,9})(?:\.([0-9]{1,9}))?(.*)", line, re.DOTALL)
    if not found:
        raise Refusal("protocol startup error")
    remote, sub = int(found[1]), found[2]
    if sub is None and remote >= 30:
        raise Refusal(f"your client omitted the subprotocol value: {line}")
    _, space, digests = line[9:].partition(" ")
    if not space and remote > 31:
        raise Refusal(f"your client omitted the digest name list: {line}")
    protocol = min(remote, PROTOCOL)
    if sub and int(sub) and remote <= PROTOCOL:
        protocol -= 1  # a development version of that protocol
    if protocol < OLDEST_PROTOCOL:
        raise Refusal(f"protocol version {remote} is too old: this daemon speaks {OLDEST_PROTOCOL} to {PROTOCOL}")
    return Greeting(protocol, digests if space else None, NOMINATE_TOKEN in digests.split())


class TextStream:
    """Lines and NUL-terminated words from a socket. Every reading method raises Hangup at the end, or at the deadline."""

    def __init__(self, sock: Connection) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.deadline: float | None = None
        self.idle_limit: float | None = None  # seconds that one read or write may take, where there is no deadline

    def set_deadline(self, seconds: float | None) -> None:
        """Counts from now, over all reads that follow; None: no limit."""
        self.deadline = None if seconds is None else time.monotonic() + seconds

    def send(self, text: str | bytes) -> None:
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        self._arm()
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Hangup from error

    def line(self, limit: int = LINE_LIMIT) -> str:
        """The next line without its newline and without carriage returns. A NUL byte is a hangup, as with rsync."""
        raw = self._until(b"\n", limit)
        if b"\0" in raw:
            raise Hangup
        return raw.replace(b"\r", b"").decode("utf-8", "surrogateescape")

    def word(self, limit: int = LONG_LINE_LIMIT, protocol: int = PROTOCOL) -> bytes:
        """The next NUL-terminated word; before protocol 30 the next line."""
        return self._until(b"\0" if protocol >= 30 else b"\n", limit)

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self._more()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def some(self, most: int) -> bytes:
        """At least one byte."""
        if not self.buffer:
            self._more()
        data = bytes(self.buffer[:most])
        del self.buffer[:most]
        return data

    def give_back(self, data: bytes) -> None:
        """Bytes that were taken and belong to what follows."""
        self.buffer[:0] = data

    def take_rest(self) -> bytes:
        """What was received beyond the text phase."""
        rest = bytes(self.buffer)
        self.buffer.clear()
        return rest

    def _until(self, end: bytes, limit: int) -> bytes:
        start = 0
        while True:
            at = self.buffer.find(end, start)
            if at > limit or (at < 0 and len(self.buffer) > limit):
                raise Hangup("too long a line")
            if at >= 0:
                data = bytes(self.buffer[:at])
                del self.buffer[: at + 1]
                return data
            start = len(self.buffer)
            self._more()

    def _more(self) -> None:
        self._arm()
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except TimeoutError:
            limit = None if self.deadline is not None else self.idle_limit
            raise Hangup(f"io timeout after {limit:.0f} seconds" if limit else "daemon handshake timeout") from None
        except OSError as error:
            raise Hangup from error
        if not data:
            raise Hangup
        self.buffer += data

    def _arm(self) -> None:
        if self.deadline is None:
            self.sock.settimeout(self.idle_limit)
            return
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Hangup("daemon handshake timeout")
        self.sock.settimeout(left)
