"""Legality of nominate/1 frames as a table (protocol-spec/nominate-1.md §3)."""

from __future__ import annotations

import enum

from prsync.errors import StreamError
from prsync.protocol.frames import FrameType


class State(enum.Enum):
    """States of one side of a session or peer connection, after bit 24 was agreed."""

    CLIENT_AGREED = enum.auto()
    CLIENT_KNOWN = enum.auto()
    CLIENT_NOMINATED = enum.auto()
    DAEMON_AGREED = enum.auto()
    DAEMON_OPEN = enum.auto()
    PEER_CLIENT_AGREED = enum.auto()
    PEER_CLIENT_OPEN = enum.auto()
    PEER_DAEMON_AGREED = enum.auto()
    PEER_DAEMON_OPEN = enum.auto()
    ENDED = enum.auto()


_T = FrameType
_S = State
TRANSITIONS: dict[tuple[State, FrameType], State] = {
    (_S.CLIENT_AGREED, _T.HELLO): _S.CLIENT_KNOWN,
    (_S.CLIENT_KNOWN, _T.NOMINATION): _S.CLIENT_NOMINATED,
    (_S.CLIENT_NOMINATED, _T.DIGESTS): _S.CLIENT_NOMINATED,
    (_S.CLIENT_NOMINATED, _T.BYE): _S.ENDED,
    (_S.DAEMON_AGREED, _T.HELLO): _S.DAEMON_OPEN,
    (_S.DAEMON_OPEN, _T.DIGESTS_REQUEST): _S.DAEMON_OPEN,
    (_S.DAEMON_OPEN, _T.BYE): _S.ENDED,
    (_S.PEER_CLIENT_AGREED, _T.HELLO): _S.PEER_CLIENT_OPEN,
    (_S.PEER_CLIENT_OPEN, _T.DATA): _S.PEER_CLIENT_OPEN,
    (_S.PEER_CLIENT_OPEN, _T.MISSING): _S.PEER_CLIENT_OPEN,
    (_S.PEER_CLIENT_OPEN, _T.BUSY): _S.PEER_CLIENT_OPEN,
    (_S.PEER_CLIENT_OPEN, _T.LEASE): _S.PEER_CLIENT_OPEN,
    (_S.PEER_CLIENT_OPEN, _T.BYE): _S.ENDED,
    (_S.PEER_DAEMON_AGREED, _T.HELLO): _S.PEER_DAEMON_OPEN,
    (_S.PEER_DAEMON_OPEN, _T.FETCH): _S.PEER_DAEMON_OPEN,
    (_S.PEER_DAEMON_OPEN, _T.LEASE): _S.PEER_DAEMON_OPEN,
    (_S.PEER_DAEMON_OPEN, _T.REPORT): _S.PEER_DAEMON_OPEN,
    (_S.PEER_DAEMON_OPEN, _T.PROBE): _S.PEER_DAEMON_OPEN,
    (_S.PEER_DAEMON_OPEN, _T.BYE): _S.ENDED,
}


class FrameStates:
    """Follows one direction of a connection; raises StreamError for a frame that is not allowed."""

    def __init__(self, start: State) -> None:
        self.state = start

    def receive(self, frame_type: int) -> bool:
        """Notes a received frame. False: a type this version does not know, to be skipped."""
        if frame_type not in FrameType.__members__.values():
            return False
        following = TRANSITIONS.get((self.state, FrameType(frame_type)))
        if following is None:
            name = FrameType(frame_type).name.lower()
            raise StreamError(f"the remote sent a {name} frame that is not allowed in state {self.state.name.lower()}")
        self.state = following
        return True
