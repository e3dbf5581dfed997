"""The tracker: keeps the leases of one module, probes mirrors, tells workers whom to nominate. Never root; runs on trio.

Decisions are the book's (leases); here are the sockets, the clock, and the tasks.
"""

from __future__ import annotations

import math
import random
import secrets
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import attrs
import trio

from prsync.errors import PrsyncError
from prsync.protocol import limits
from prsync.protocol.frames import Lease, LeaseStep, Report, Verdict, decode_frame, encode_frame
from prsync.registry.leases import LeaseBook, Outcome, Record
from prsync.registry.probes import Sample
from prsync.registry.tracker_messages import CANDIDATES, LINE_BYTES, candidate_out, decode_line, encode_line

SEND_SECONDS = 5.0  # after which a client that does not read is given up
SAVE_SECONDS = 1.0  # between savings of what can be lost

Log = Callable[[str], None]
Prober = Callable[[str, bytes, list[Sample]], Outcome]  # blocking


class Storage(Protocol):
    def load(self) -> list[Record]: ...
    def save(self, records: tuple[Record, ...]) -> None: ...


@attrs.define(eq=False)
class Client:
    """One connection: a worker, or an operator's command."""

    stream: trio.SocketStream
    named: Counter[str] = attrs.field(factory=Counter)  # what its session's client was told to use
    waits_for: str = ""  # the URL of a request that is being checked
    lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def send(self, message: dict[str, Any]) -> None:
        try:
            with trio.fail_after(SEND_SECONDS):
                async with self.lock:
                    await self.stream.send_all(encode_line(message))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            await trio.aclose_forcefully(self.stream)


class Tracker:
    """`pick`: samples for a mirror of these prefixes. `probe`: a blocking probe, run in a thread."""

    def __init__(
        self, storage: Storage, pick: Callable[[tuple[str, ...]], list[Sample]], probe: Prober, log: Log
    ) -> None:
        self.book = LeaseBook()
        self._storage = storage
        self._pick = pick
        self._probe = probe
        self._log = log
        self._clients: set[Client] = set()
        self._changed = trio.Event()
        self._unsaved = False
        self._saved = -math.inf
        self._threads = trio.CapacityLimiter(limits.PROBES_AT_ONCE)
        self._chance = random.Random(secrets.randbits(64))

    async def run(self, listener: socket.socket, parent: int) -> None:
        """Until `parent` is at its end: the supervisor is gone."""
        listener.setblocking(False)
        self.book.restore(self._storage.load(), trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._accept, trio.socket.from_stdlib_socket(listener), nursery)
            nursery.start_soon(self._keep_time, nursery)
            await trio.lowlevel.wait_readable(parent)
            nursery.cancel_scope.cancel()
        self._save()

    # ---- time ------------------------------------------------------------------------------------

    async def _keep_time(self, nursery: trio.Nursery) -> None:
        while True:
            now = trio.current_time()
            for record in self.book.expire(now):
                await self._expired(record)
            for record in self.book.due(now):
                nursery.start_soon(self._check, record)
            if self._unsaved and now >= self._saved + SAVE_SECONDS:
                self._save()
            self._changed = trio.Event()
            event = self.book.next_event()
            wake = min(math.inf if event is None else event, self._saved + SAVE_SECONDS if self._unsaved else math.inf)
            with trio.move_on_at(wake):
                await self._changed.wait()

    async def _expired(self, record: Record) -> None:
        if record.checked:
            self._log(f"the lease of {record.url} has ended")
            self._note()
            return
        why = record.why or "the check did not end in time"
        self._log(f"mirror {record.url} is refused: {why}")
        await self._answer(Lease(LeaseStep.REFUSED, record.url, reason=why))

    async def _check(self, record: Record) -> None:
        try:
            samples = self._pick(record.prefixes)
            probe = partial(self._probe, record.url, record.nonce, samples)
            outcome = await trio.to_thread.run_sync(probe, abandon_on_cancel=True, limiter=self._threads)
        except PrsyncError as error:
            why = f"the origin could not check: {error.text}"
            outcome = Outcome(False, why, wait=limits.PROBE_RETRY_SECONDS, asked=False)
        was, new = record.state, not record.checked
        answer = self.book.probed(record, outcome, trio.current_time())
        if new and answer is not None:
            shown = "is registered" if answer.step is LeaseStep.GRANTED else f"is refused: {answer.reason}"
            self._log(f"mirror {record.url} {shown}")
        elif record.state != was:
            self._log(f"mirror {record.url} is {record.state} now{': ' + outcome.why if outcome.why else ''}")
        self._note()
        self._save()
        if answer is not None:
            await self._answer(answer)

    async def _answer(self, answer: Lease) -> None:
        for client in [client for client in self._clients if client.waits_for == answer.url]:
            client.waits_for = ""
            await client.send({"frame": encode_frame(answer).hex()})

    def _note(self) -> None:
        """Something has changed: it is to be saved, and times are to be looked at anew."""
        self._unsaved = True
        self._changed.set()

    def _save(self) -> None:
        self._unsaved, self._saved = False, trio.current_time()
        try:
            self._storage.save(self.book.records)
        except PrsyncError as error:
            self._log(error.text)

    # ---- clients ---------------------------------------------------------------------------------

    async def _accept(self, listener: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            try:
                sock, _ = await listener.accept()
            except OSError as error:
                self._log(f"the tracker could not take a connection: {error.strerror}")
                await trio.sleep(1)
                continue
            nursery.start_soon(self._serve, Client(trio.SocketStream(sock)))

    async def _serve(self, client: Client) -> None:
        self._clients.add(client)
        held = bytearray()
        try:
            async with client.stream:
                async for data in client.stream:
                    held += data
                    *lines, rest = held.split(b"\n")
                    held = bytearray(rest)
                    for line in lines:
                        await self._receive(client, decode_line(bytes(line)))
                    if len(held) > LINE_BYTES:
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        except (ValueError, KeyError, TypeError, PrsyncError) as error:
            self._log(f"the tracker was told what it does not understand: {error}")
        finally:
            self._clients.discard(client)

    async def _receive(self, client: Client, message: dict[str, Any]) -> None:
        now = trio.current_time()
        for record in self.book.expire(now):
            await self._expired(record)
        match message["do"]:
            case "candidates":
                await client.send({"candidates": self._candidates(now)})
            case "named":
                client.named.update(str(url) for url in message["urls"])
            case "frame":
                await self._frame(client, bytes.fromhex(message["frame"]), str(message["address"]), now)
            case "list":
                await client.send({"mirrors": [self._row(record, now) for record in self.book.records]})
            case "drain":
                done = self.book.drain(str(message["url"]), bool(message["drained"]))
                self._note()
                await client.send({"drained": done})
            case other:
                raise ValueError(f"do {other!r}")

    def _candidates(self, now: float) -> list[dict[str, Any]]:
        loads: Counter[str] = Counter()
        for client in self._clients:
            loads.update(client.named)
        found = self.book.candidates(now)
        if len(found) > CANDIDATES:
            found = tuple(self._chance.sample(found, CANDIDATES))
        return [candidate_out(candidate, now, loads[candidate.url]) for candidate in found]

    async def _frame(self, client: Client, payload: bytes, address: str, now: float) -> None:
        frame = decode_frame(payload)
        if isinstance(frame, Report):
            for source in frame.sources:
                self.book.report(source, now)
            self._note()
        elif isinstance(frame, Lease):
            answer = self.book.receive(frame, address, now)
            self._log_step(frame, answer, address)
            self._note()
            if answer is not None:
                if answer.step is LeaseStep.CHECKING:
                    client.waits_for = answer.url
                await client.send({"frame": encode_frame(answer).hex()})

    def _log_step(self, frame: Lease, answer: Lease | None, address: str) -> None:
        if answer is None:
            self._log(f"the mirror at {address} has released its lease of {frame.url}")
        elif answer.step is LeaseStep.REFUSED:
            self._log(f"lease {frame.step.name.lower()} from {address} is refused: {answer.reason}")
        elif answer.step is LeaseStep.CHECKING and frame.step is LeaseStep.REQUEST:
            self._log(f"mirror {answer.url} asks for a lease, and is checked")

    def _row(self, record: Record, now: float) -> dict[str, Any]:
        return {
            "url": record.url,
            "state": record.state,
            "expires": max(0, round(record.expires - now)),
            "received": record.received,
            "verdict": None if record.verdict is None else Verdict(record.verdict).name.lower(),
            "reported": None if record.reported is None else round(now - record.reported),
            "why": record.why,
        }
