"""The pump contract: a role's synchronous engine, whichever end of a session it is.

A loop moves bytes between a pump and a stream; the pump says what to do next. No call waits for a remote, none keeps a view
that it has given out valid beyond the next call on the pump. Receiver and Sender (this package) are pumps, at a client's end
as well as at a server's.
"""

from __future__ import annotations

import enum
from typing import Protocol

from prsync.errors import ExitCode, PrsyncError


class Want(enum.Enum):
    """What a pump waits for once `run` returns."""

    INPUT = enum.auto()  # bytes of the remote; output may be there to be sent meanwhile
    OUTPUT = enum.auto()  # nothing, but output should be sent and input looked for before it goes on
    NOTHING = enum.auto()  # all is over; what is left of the output is to be sent


class Pump(Protocol):
    """All methods raise PrsyncError when the session has failed; then `abort` puts last words in the output."""

    @property
    def ended(self) -> bool:
        """The remote has said its last; local work may still be under way. Nothing more is to be received."""

    def room(self) -> memoryview | None:
        """Where to receive into; None: it takes nothing now, and `run` comes first."""

    def received(self, count: int) -> None:
        """`count` bytes lie at the start of `room`; 0: the remote has closed the stream."""

    def run(self) -> Want:
        """Works until it wants something, or for some milliseconds."""

    def settle(self) -> bool:
        """To be called before waiting for the remote: True when background work was settled, so that `run` may go on."""

    def output(self) -> memoryview:
        """Bytes to be sent; valid until the next call."""

    def sent(self, count: int) -> None:
        """So many bytes of `output` are on their way."""

    def keep_alive(self) -> None:
        """Puts a message without meaning in the output (io.c:maybe_send_keepalive), where the protocol has one."""

    def drain(self) -> None:
        """Hands on log records and events. Called by the pump itself; needed by others only after an error."""

    def abort(self, failure: PrsyncError | None) -> None:
        """The run ends here, None: by an interruption. Nothing incomplete stays under a final name, but where --partial asks
        for it; the remote is told the reason where it does not know it yet (cleanup.c:_exit_cleanup)."""

    def exit_code(self) -> ExitCode:
        """What a run that came to its end exits with (cleanup.c:_exit_cleanup)."""


def give(pump: Pump, data: bytes) -> None:
    """Bytes that were received before there was a pump; at most what fits."""
    rest = memoryview(data)
    while rest:
        room = pump.room()
        if room is None:
            raise ValueError("the pump takes less than was received before it was made")
        count = min(len(rest), len(room))
        room[:count] = rest[:count]
        pump.received(count)
        rest = rest[count:]
