"""The tracker's loop over real sockets, with probes that answer as told."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from prsync.protocol.frames import Lease, LeaseStep, Report, SourceReport, Verdict, decode_frame, encode_frame
from prsync.registry.leases import Outcome, Record
from prsync.registry.probes import Sample
from prsync.registry.tracker import Tracker
from prsync.registry.tracker_messages import candidate_in, decode_line, encode_line

URL = "rsync://192.0.2.7/m"
REQUEST = Lease(LeaseStep.REQUEST, "rsync:///m", 100, bytes(16))


@attrs.define
class Memory:
    kept: list[Record] = attrs.field(factory=list)

    def load(self) -> list[Record]:
        return self.kept

    def save(self, records: tuple[Record, ...]) -> None:
        self.kept = [attrs.evolve(record) for record in records if record.checked]


class Worker:
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.held = b""

    async def tell(self, message: dict[str, Any]) -> None:
        await self.stream.send_all(encode_line(message))

    async def hear(self) -> dict[str, Any]:
        while b"\n" not in self.held:
            data = await self.stream.receive_some()
            assert data
            self.held += data
        line, _, self.held = self.held.partition(b"\n")
        return decode_line(line)

    async def frame(self, frame: Lease | Report, address: str = "192.0.2.7") -> None:
        await self.tell({"do": "frame", "frame": encode_frame(frame).hex(), "address": address})

    async def lease(self) -> Lease:
        frame = decode_frame(bytes.fromhex((await self.hear())["frame"]))
        assert isinstance(frame, Lease)
        return frame

    async def candidates(self) -> list[Any]:
        await self.tell({"do": "candidates"})
        return [candidate_in(fields, 0.0) for fields in (await self.hear())["candidates"]]


@attrs.define
class Running:
    path: str
    log: list[str]
    storage: Memory
    outcomes: list[Outcome]

    async def worker(self) -> Worker:
        sock = trio.socket.socket(socket.AF_UNIX)
        await sock.connect(self.path)
        return Worker(trio.SocketStream(sock))

    async def granted(self, request: Lease = REQUEST) -> Worker:
        worker = await self.worker()
        await worker.frame(request)
        assert (await worker.lease()).step is LeaseStep.CHECKING
        assert (await worker.lease()).step is LeaseStep.GRANTED
        return worker


@asynccontextmanager
async def running(path: Any, *outcomes: Outcome, storage: Memory | None = None) -> AsyncIterator[Running]:
    """Answers probes with `outcomes`, then with good ones."""
    left = list(outcomes)
    log: list[str] = []
    held = storage or Memory()

    def probe(url: str, nonce: bytes, samples: list[Sample]) -> Outcome:
        return left.pop(0) if left else Outcome(True)

    listener = socket.socket(socket.AF_UNIX)
    name = str(path / "tracker")
    listener.bind(name)
    listener.listen()
    alive, held_open = os.pipe()
    tracker = Tracker(held, lambda prefixes: [], probe, log.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tracker.run, listener, alive)
        yield Running(name, log, held, left)
        os.close(held_open)
    os.close(alive)


async def test_request_is_answered_when_the_probe_is_done(tmp_path: Any) -> None:
    async with running(tmp_path) as tracker:
        worker = await tracker.granted()
        (candidate,) = await worker.candidates()
        assert candidate.url == URL and 99 < candidate.expires <= 100
        assert [record.url for record in tracker.storage.kept] == [URL]
        assert tracker.log[-1] == f"mirror {URL} is registered"


async def test_refusal_names_the_probes_reason(tmp_path: Any) -> None:
    async with running(tmp_path, Outcome(False, "no data")) as tracker:
        worker = await tracker.worker()
        await worker.frame(REQUEST)
        assert (await worker.lease()).step is LeaseStep.CHECKING
        assert await worker.lease() == Lease(LeaseStep.REFUSED, URL, reason="no data")
        assert await worker.candidates() == []


async def test_mirror_that_is_not_ready_is_tried_again(tmp_path: Any) -> None:
    async with running(tmp_path, Outcome(False, "hashing", wait=0.05)) as tracker:
        await tracker.granted()
        assert tracker.outcomes == []


async def test_load_counts_sessions_that_still_live(tmp_path: Any) -> None:
    async with running(tmp_path) as tracker:
        worker = await tracker.granted()
        first, second = await tracker.worker(), await tracker.worker()
        for each in (first, second):
            await each.tell({"do": "named", "urls": [URL]})
            assert await each.candidates()
        assert [c.load for c in await worker.candidates()] == [2]
        await first.stream.aclose()
        while [c.load for c in await worker.candidates()] == [2]:
            await trio.lowlevel.checkpoint()
        assert [c.load for c in await worker.candidates()] == [1]


async def test_lease_ends_by_the_clock(tmp_path: Any) -> None:
    async with running(tmp_path) as tracker:
        worker = await tracker.granted(attrs.evolve(REQUEST, seconds=1))
        with trio.fail_after(30):
            while await worker.candidates() or len(tracker.log) < 3:
                await trio.sleep(0.01)
        assert tracker.log[-1] == f"the lease of {URL} has ended"


async def test_bad_report_makes_a_suspect_only_by_a_failed_probe(tmp_path: Any) -> None:
    async with running(tmp_path, Outcome(True), Outcome(True), Outcome(False, "dead")) as tracker:
        worker = await tracker.granted()
        bad = Report((SourceReport(URL, 10, 1, verdict=Verdict.DEAD),))
        await worker.frame(bad, "198.51.100.9")
        while len(tracker.outcomes) > 1:
            await trio.sleep(0.01)
        assert not (await worker.candidates())[0].suspect
        while tracker.outcomes or not (await worker.candidates())[0].suspect:
            await worker.frame(bad, "198.51.100.9")
            await trio.sleep(0.01)
        await worker.tell({"do": "list"})
        (row,) = (await worker.hear())["mirrors"]
        assert (row["state"], row["why"], row["verdict"]) == ("suspect", "dead", "dead") and row["received"] >= 20


async def test_leases_of_before_are_probed_before_they_are_named(tmp_path: Any) -> None:
    kept = Record(URL, "192.0.2.7", bytes(16), 100, 0.0, checked=True)
    async with running(tmp_path, storage=Memory([kept])) as tracker:
        worker = await tracker.worker()
        while (await worker.candidates())[0].suspect:
            await trio.sleep(0.01)
        assert tracker.log == [f"mirror {URL} is granted now"]


async def test_nonsense_ends_the_connection_and_nothing_else(tmp_path: Any) -> None:
    async with running(tmp_path) as tracker:
        for line in (b"x\n", b"[]\n", b"{}\n", b'{"do":"dance"}\n', b'{"do":"frame","frame":"09","address":"x"}\n'):
            worker = await tracker.worker()
            await worker.stream.send_all(line)
            assert await worker.stream.receive_some() == b""
        await tracker.granted()
