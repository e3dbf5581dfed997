"""What a worker asks of the registry of mirrors: who is there, and what to do with a lease, a report, a probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from prsync.protocol.frames import ControlFrame, Lease, LeaseStep, Probe, Report
from prsync.registry.nomination import Candidate

Reply = Callable[[ControlFrame], None]


class Registry(Protocol):
    """One module's registry as a worker sees it; opened before the worker gives up its privileges."""

    nonce: bytes  # for a prober's eyes in our hello: that of our own lease request; empty where we registered nowhere

    def candidates(self) -> tuple[Candidate, ...]:
        """The registered mirrors."""
        ...

    def receive(self, frame: Lease | Report | Probe, address: str, reply: Reply) -> None:
        """A frame of the peer at `address`. `reply` puts the answer on its connection."""
        ...


class NoRegistry:
    """The registry of a module whose mirrors are listed by hand, or that has none. Reports go to the log."""

    nonce = b""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log

    def candidates(self) -> tuple[Candidate, ...]:
        return ()

    def receive(self, frame: Lease | Report | Probe, address: str, reply: Reply) -> None:
        match frame:
            case Lease(step=LeaseStep.REQUEST | LeaseStep.RENEW):
                reply(Lease(LeaseStep.REFUSED, reason="registration is off"))
            case Report(sources):
                found = ", ".join(
                    f"{s.url} {s.received} bytes {s.verdict.name.lower()}"
                    + (f" ({s.bad_pieces} bad pieces)" if s.bad_pieces else "")
                    for s in sources
                )
                self._log(f"report from {address}: {found or 'no source'}")
