"""What a worker asks of the registry of mirrors: who is there, and what to do with a lease, a report, a probe."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from prsync.privileges import open_trusted
from prsync.protocol.frames import ControlFrame, Lease, LeaseStep, Probe, Report, decode_frame, encode_frame
from prsync.protocol.limits import NONCE_BYTES
from prsync.registry.nomination import Candidate
from prsync.registry.tracker_messages import LINE_BYTES, candidate_in, decode_line, encode_line
from prsync.session.daemon.log import DaemonLog
from prsync.session.helpers.index_place import IndexPlace, TrackerPlace, nonce_file
from prsync.session.helpers.sockets import connect

Reply = Callable[[ControlFrame], None]
ASK_SECONDS = 3.0  # that a worker waits for the tracker before it goes on without registered mirrors
NONCES = 64  # of a file that are looked at
RECEIVE_BYTES = 64 << 10


class Registry(Protocol):
    """One module's registry as a worker sees it; opened before the worker gives up its privileges."""

    nonces: frozenset[bytes]  # of lease requests that this machine has sent: a probe shows one of them
    waits: bool  # whether an answer is still to come

    def candidates(self) -> tuple[Candidate, ...]:
        """The registered mirrors."""
        ...

    def named(self, urls: tuple[str, ...]) -> None:
        """These were nominated; they count as loaded as long as this worker lives."""
        ...

    def receive(self, frame: Lease | Report | Probe, address: str, reply: Reply) -> None:
        """A frame of the peer at `address`. `reply` puts the answer on its connection."""
        ...

    def poll(self, reply: Reply) -> bool:
        """Passes on answers that have come since; whether there were any. Never waits."""
        ...


def read_nonces(place: IndexPlace, log: DaemonLog) -> frozenset[bytes]:
    try:
        with os.fdopen(open_trusted(nonce_file(place), os.O_RDONLY), "rb") as file:
            data = file.read(NONCES * NONCE_BYTES)
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        log.failure(f"failed to read {nonce_file(place)}", error)
        return frozenset()
    return frozenset(data[at : at + NONCE_BYTES] for at in range(0, len(data) - NONCE_BYTES + 1, NONCE_BYTES))


def report_line(report: Report, address: str) -> str:
    found = ", ".join(
        f"{s.url} {s.received} bytes {s.verdict.name.lower()}" + (f" ({s.bad_pieces} bad pieces)" if s.bad_pieces else "")
        for s in report.sources
    )
    return f"report from {address}: {found or 'no source'}"


class NoRegistry:
    """The registry of a module whose mirrors are listed by hand, or that has none. Reports go to the log."""

    waits = False

    def __init__(
        self, log: Callable[[str], None], nonces: frozenset[bytes] = frozenset(), why: str = "registration is off"
    ) -> None:
        self.nonces = nonces
        self._log = log
        self._why = why

    def candidates(self) -> tuple[Candidate, ...]:
        return ()

    def named(self, urls: tuple[str, ...]) -> None:
        return

    def poll(self, reply: Reply) -> bool:
        return False

    def receive(self, frame: Lease | Report | Probe, address: str, reply: Reply) -> None:
        match frame:
            case Lease(step=LeaseStep.REQUEST | LeaseStep.RENEW):
                reply(Lease(LeaseStep.REFUSED, reason=self._why))
            case Report():
                self._log(report_line(frame, address))


class TrackerRegistry:
    """The registry that a tracker keeps. A tracker that has gone answers nothing more: the worker goes on without it."""

    def __init__(self, place: TrackerPlace, log: Callable[[str], None], nonces: frozenset[bytes] = frozenset()) -> None:
        """Raises OSError when no tracker runs."""
        self.nonces = nonces
        self.waits = False
        self._log = log
        self._held = b""
        self._sock: socket.socket | None = connect(place)

    def candidates(self) -> tuple[Candidate, ...]:
        """Waits for the tracker, ASK_SECONDS at most."""
        self._tell({"do": "candidates"})
        deadline = time.monotonic() + ASK_SECONDS
        while self._sock is not None and (left := deadline - time.monotonic()) > 0:
            self._sock.settimeout(left)
            for message in self._messages():
                if "candidates" in message:
                    self._sock.setblocking(False)
                    return self._decode(message["candidates"])
        self._lose("it does not answer")
        return ()

    def _decode(self, found: list[dict[str, Any]]) -> tuple[Candidate, ...]:
        now = time.monotonic()
        try:
            return tuple(candidate_in(fields, now) for fields in found)
        except (TypeError, KeyError) as error:
            self._lose(f"{error}")
            return ()

    def named(self, urls: tuple[str, ...]) -> None:
        if urls:
            self._tell({"do": "named", "urls": urls})

    def receive(self, frame: Lease | Report | Probe, address: str, reply: Reply) -> None:
        if isinstance(frame, Probe):
            return
        if isinstance(frame, Report):
            self._log(report_line(frame, address))
        self._tell({"do": "frame", "frame": encode_frame(frame).hex(), "address": address})
        if isinstance(frame, Lease) and frame.step is not LeaseStep.RELEASE:
            self.waits = True
            if self._sock is None:
                self._give_up(reply)

    def poll(self, reply: Reply) -> bool:
        found = False
        for message in self._messages():
            try:
                frame = decode_frame(bytes.fromhex(message["frame"]))
            except (KeyError, ValueError):
                continue
            if isinstance(frame, Lease):
                found = True
                self.waits = frame.step is LeaseStep.CHECKING
                reply(frame)
        if self._sock is None and self.waits:
            self._give_up(reply)
            return True
        return found

    def _give_up(self, reply: Reply) -> None:
        self.waits = False
        reply(Lease(LeaseStep.REFUSED, reason="the registry is not available now: try again later"))

    def _tell(self, message: dict[str, Any]) -> None:
        """Lines are short and few: a socket that cannot take one is that of a tracker that hangs."""
        if self._sock is None:
            return
        try:
            self._sock.settimeout(ASK_SECONDS)
            self._sock.sendall(encode_line(message))
            self._sock.setblocking(False)
        except OSError as error:
            self._lose(error.strerror or "it does not listen")

    def _messages(self) -> list[dict[str, Any]]:
        """What has come; waits as the socket's timeout says."""
        if self._sock is None:
            return []
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError, TimeoutError):
            return []
        except OSError as error:
            self._lose(error.strerror or "")
            return []
        if not data or len(self._held) > LINE_BYTES:
            self._lose("it has ended")
            return []
        *lines, self._held = (self._held + data).split(b"\n")
        try:
            return [decode_line(line) for line in lines]
        except ValueError as error:
            self._lose(f"{error}")
            return []

    def _lose(self, why: str) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            self._log(f"the tracker cannot be used: {why}")
