"""The exchange of versions over a remote shell (compat.c:setup_protocol): an i32 from each side, before anything else.

Specified in protocol-spec/classic.md §3. A daemon's connection has its greetings instead. Feed bytes, take events; None: more
bytes are needed.
"""

from __future__ import annotations

from typing import NamedTuple

from prsync.errors import ProtocolVersionError
from prsync.protocol.negotiation import Send
from prsync.protocol.text import OLDEST_PROTOCOL, OUR_PROTOCOL

RSYNC_OLDEST, RSYNC_NEWEST = 20, 40  # what is no version at all lies outside: a shell's greeting, most often


class Agreed(NamedTuple):
    """The protocol that both sides speak now."""

    protocol: int


class VersionExchange:
    """One side of it: our version goes out first. `client_info`, at the server: what the client's -e says; a pre-release of it
    names itself there."""

    def __init__(self, ours: int = OUR_PROTOCOL, client_info: str = "") -> None:
        self.ours = _without_pre_release(ours, client_info)
        self._buffer = bytearray()
        self._sent = self._over = False

    @property
    def rest(self) -> bytes:
        """What came behind the version."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_event(self) -> Send | Agreed | None:
        """Raises ProtocolVersionError."""
        if not self._sent:
            self._sent = True
            return Send(self.ours.to_bytes(4, "little"))
        if self._over or len(self._buffer) < 4:
            return None
        self._over = True
        theirs = int.from_bytes(self._buffer[:4], "little", signed=True)
        del self._buffer[:4]
        if not RSYNC_OLDEST <= theirs <= RSYNC_NEWEST:
            raise ProtocolVersionError(
                "protocol version mismatch -- is your shell clean?\n(see the rsync manpage for an explanation)"
            )
        if min(theirs, self.ours) < OLDEST_PROTOCOL:
            raise ProtocolVersionError(
                f"the remote speaks protocol {theirs}; prsync needs {OLDEST_PROTOCOL} (rsync 2.6.0) or later on the other side"
            )
        return Agreed(min(theirs, self.ours))


def _without_pre_release(ours: int, client_info: str) -> int:
    """compat.c:check_sub_protocol: a client of a pre-release says VERSION.SUB; ours is none."""
    version, dot, rest = client_info.partition(".")
    sub = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if not dot or not version.isdigit() or not sub or not int(sub):
        return ours
    theirs = int(version)
    return theirs - 1 if theirs <= ours else ours
