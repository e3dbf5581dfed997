"""The swarm as the main process runs it: decisions by the scheduler, digests and delivery by the core, data by the fetcher.

Synchronous, like the receiver's pump: the session's loop calls `turn` after the pump has worked, `readable` and `writable` when
the fetcher's socket is, and waits no longer than `wake_at`. Time is an argument.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Final

from prsync.engine import swarm as core
from prsync.engine.context import Event, Status
from prsync.engine.native import lib
from prsync.engine.receiving import Receiving
from prsync.protocol import limits
from prsync.protocol.frames import Nomination, OriginPlace, Report, SourceKind, SourceReport, encode_frame
from prsync.sources.addresses import longest_below
from prsync.swarm.bandwidth import Consumed
from prsync.swarm.connections import ORIGIN, Connections
from prsync.swarm.fetcher import FetcherEnded, FetcherHandle
from prsync.swarm.fetcher_messages import FETCH, SHRINK, Message, encode, encode_number, number_of
from prsync.swarm.scheduler import Policy, Scheduler
from prsync.swarm.settings import Settings
from prsync.swarm.work import Action, Assign, Drop, GiveUp, Shrink, TakeOver, Unit, UnitKind

MSG_NOMINATE: Final[int] = lib.PS_MSG_NOMINATE
STEPS_PER_TURN = 64
LOCAL_BYTES_PER_TURN = 8 << 20  # sources are heard in between
REPORT_SECONDS = 3.0
RESTARTS_MAX = 3


class SwarmControl:
    """The swarm of one pull, from the nomination to the report. Raises EngineError when the run has failed."""

    def __init__(
        self,
        pull: Receiving,
        fetcher: FetcherHandle,
        settings: Settings,
        nomination: Nomination,
        no_data: bool,
        drain: Callable[[], None],
        warn: Callable[[str], None],
        now: float,
    ) -> None:
        """`drain`: hands on the core's log records and events; the session passes the swarm's events to `event`.
        `warn`: shows a line."""
        self._pull = pull
        self._drain = drain
        self._warn = warn
        self._now = now
        self._fetcher = fetcher
        self._settings = settings
        self._own_data = not no_data and not settings.only  # the origin's may be used
        self._starts_left, self._classic = RESTARTS_MAX, False  # classic: a fetcher was lost; nothing joins the swarm any more
        self.scheduler = Scheduler(
            Policy(stall_seconds=settings.stall_seconds, origin_equal=nomination.origin is OriginPlace.EQUAL)
        )
        self._core: core.Swarm | None = None
        self._origin_lacks: set[tuple[UnitKind, int]] = set()
        self._connections = Connections(fetcher, settings, lambda number, why, final: self._closed(number, why, final, self._now))
        self._warned: set[tuple[int, str]] = set()  # sources, and why they failed
        self._consumed = Consumed(settings.bandwidth, now)
        self._began = now
        self._asked_again = now
        self.gave_up = False
        if self._own_data:
            self.scheduler.add_source(ORIGIN, settings.origin_url, SourceKind.PEER, now, origin=True)
        for number, mirror in enumerate(nomination.mirrors[: limits.SOURCES_MAX], start=1):
            self.scheduler.add_source(number, mirror.url, mirror.kind, now)
        self._connections.start(nomination, self._own_data, now)

    # ---- the session's loop --------------------------------------------------------------------

    def fileno(self) -> int:
        """-1: there is no fetcher any more."""
        return self._fetcher.fileno()

    @property
    def wants_to_write(self) -> bool:
        return self._fetcher.wants_to_write

    def writable(self) -> None:
        self._fetcher.write()

    def readable(self, now: float) -> bool:
        """Takes what the fetcher reports. False: nothing was there."""
        self._now = now
        try:
            messages = self._fetcher.read()
        except FetcherEnded as end:
            self._fetcher_ended(end.text, now)
            return True
        if messages is None:
            self._release(now)
            return False
        for kind, body in messages:
            if kind is Message.RECORDS:
                self._deliver(body, now)
            elif kind is Message.OPEN:
                self.scheduler.source_open(number_of(body), now)
            elif kind is Message.CLOSED:
                fields = json.loads(body)
                self._closed(int(fields["id"]), str(fields["reason"]), bool(fields["refused"]), now)
        return True

    def _fetcher_ended(self, how: str, now: float) -> None:
        """The mirrors are lost: one of them may have made it crash. What has not joined the swarm goes the classic way; what has
        joined comes from the origin alone, by another fetcher, since the origin's session may have ended long before."""
        remaining = [unit for number in self._connections.urls for unit in self._leftovers(number)]
        origin = self.scheduler.sources.get(ORIGIN)
        again = self._starts_left > 0 and origin is not None and origin.dropped is None
        self.scheduler.lost_fetcher(remaining, now, keep_origin=again)
        self._consumed.clear()
        self._connections.forget_plans()
        if not self._classic:
            rest = "what is left comes from the origin" if self._own_data else "what is left cannot be fetched"
            self._warn(f"prsync: warning: the fetcher process ended ({how}): no mirror is used from now on, {rest}\n")
        self._classic = True
        if self._core is None:
            return
        self._core.stop_joining()
        counts = self._core.counts
        if again and counts.open > counts.undecided + counts.later:
            self._starts_left -= 1
            self._fetcher.start()
            self._connections.go()
            self._connections.connect(ORIGIN)

    def turn(self, idle: bool, now: float) -> bool:
        """Everything that can be done without waiting. idle: the generator waits, so small requests go out as they are.

        False: nothing more can be done until something happens.
        """
        self._now = now
        if self._core is None:
            self._core = core.Swarm.of(self._pull)
            if self._core is None:
                return False
            self._core.set_prefix(self._settings.prefix)
            self._core.set_below(longest_below(mirror.url for mirror in self._connections.urls.values()))
            self._core.set_no_data(not self._own_data)
            if self._classic:
                self._core.stop_joining()
        swarm = self._core
        swarm.set_now(now)
        unsettled = swarm.counts.open
        swarm.ask(idle)
        if swarm.counts.pending:
            swarm.expire_pending(now - limits.PENDING_SECONDS)
        if swarm.counts.later:
            self._ask_later(swarm, now)
        busy, until = True, swarm.counts.local_bytes + LOCAL_BYTES_PER_TURN
        for _ in range(STEPS_PER_TURN):
            status = swarm.step(not self.scheduler.waiting and (idle or not self.scheduler.requests))
            self._drain()
            busy = status is not Status.AGAIN
            if not busy or swarm.counts.local_bytes >= until:
                break
        self._try_again(now)
        self._act(self.scheduler.decide(now), now)
        return busy or swarm.counts.open != unsettled  # the generator may have waited for what is settled

    def wake_at(self, now: float) -> float | None:
        times = [t for t in (self.scheduler.wake_at(now),) if t is not None]
        times += self._connections.plans
        if self._core is not None and (self._core.counts.pending or self._core.counts.later):
            times.append(now + 0.5)
        if self._consumed:
            times.append(now + 0.05)
        return min(times) if times else None

    # ---- deliveries ----------------------------------------------------------------------------

    def _deliver(self, records: bytes, now: float) -> None:
        assert self._core is not None, "records come only for requests"
        view, moved = memoryview(records), 0
        while view:
            done, progress, _ = self._core.deliver(self._fetcher.memory, self._fetcher.slot_size, view)
            for request, size in progress:
                self.scheduler.progress(request, size, now)
                moved += size
            view = view[done * core.RECORD_BYTES :]
            self._drain()
        self._pull.context.stats.total_read += moved
        self._consumed.put(len(records) // core.RECORD_BYTES, moved)
        if self._consumed.enough:
            self._release(now)

    def _release(self, now: float) -> None:
        """Gives slots back to the fetcher; with --bwlimit no faster than the limit."""
        count = self._consumed.release(now)
        if count:
            self._fetcher.post(encode_number(Message.CONSUMED, count))

    # ---- events of the core --------------------------------------------------------------------

    def event(self, event: Event) -> bool:
        """An event of the core, from the pump's drain. False: not the swarm's."""
        if event.kind not in core.EVENTS:
            return False
        self._event(event, self._now)
        return True

    def _event(self, event: Event, now: float) -> None:
        if event.kind == core.BUNDLE:
            self.scheduler.add_unit(Unit(UnitKind.BUNDLE, event.a, 0, 1, event.b, sparse=event.code == 1))
        elif event.kind == core.RUN:
            first, last = (int.from_bytes(event.text[i : i + 4], "little") for i in (0, 4))
            self.scheduler.add_unit(Unit(UnitKind.PIECES, event.a, first, last, event.b, sparse=event.code == 1))
        elif event.kind == core.BAD:
            self._bad(event, now)
        elif event.kind == core.DOUBT:
            self.scheduler.doubt(event.a)
        elif event.kind == core.ENDED:
            self._ended(event.a, event.code == 1, event.b, now)

    def _bad(self, event: Event, now: float) -> None:
        request = self.scheduler.requests.get(event.a)
        if request is not None:  # else the source has been dropped already, and what it held goes to others
            self._act(self.scheduler.corrupt(request.source, self._leftovers(request.source), now), now)

    def _ended(self, number: int, busy: bool, seconds: int, now: float) -> None:
        request = self.scheduler.requests.get(number)
        if request is None:
            return
        if busy:
            self._act(self.scheduler.busy(request.source, float(seconds), self._leftovers(request.source), now), now)
            return
        units, missing, stale = self._leftover(number, request.unit)
        if request.source == ORIGIN:
            self._origin_lacks |= {(unit.kind, unit.job) for unit in units if missing}
        if missing and units:
            self.scheduler.sources[request.source].stale_files += max(stale - 1, 0)
            self.scheduler.refused(number, stale > 0, units, now)
            return
        self.scheduler.finished(number, now)
        for unit in units:
            self.scheduler.add_unit(unit)

    def _leftover(self, number: int, unit: Unit) -> tuple[list[Unit], int, int]:
        """What is left of a request: units for others, and how many of its entries were missing, stale."""
        assert self._core is not None
        left = self._core.close_request(number)
        units: list[Unit] = []
        if left.files:
            units.append(Unit(UnitKind.BUNDLE, left.bundle, 0, 1, left.bundle_bytes, unit.excluded, left.sparse))
        if left.first < left.last:
            units.append(Unit(UnitKind.PIECES, left.job, left.first, left.last, left.bytes, unit.excluded, left.sparse))
        return units, left.missing, left.stale

    def _leftovers(self, source: int) -> list[Unit]:
        """Of all requests that a source holds; the fetcher is told to forget them."""
        units: list[Unit] = []
        for request in list(self.scheduler.sources[source].requests.values()):
            units += self._leftover(request.id, request.unit)[0]
            self._fetcher.post(encode_number(Message.CANCEL, request.id))
        return units

    # ---- sources -------------------------------------------------------------------------------

    def _closed(self, number: int, reason: str, refused: bool, now: float) -> None:
        source = self.scheduler.sources.get(number)
        if source is None or source.dropped is not None:
            return
        reason = reason.removeprefix(f"{source.url}: ")
        units = self._leftovers(number)
        if refused:
            for request in list(source.requests):
                self.scheduler.finished(request, now)
            self.scheduler.waiting.extendleft(units)
            self._act(self.scheduler.refuse_source(number, reason, now), now)
            return
        self._warn_once(number, reason)
        self._act(self.scheduler.closed(number, reason, units, now), now)
        if source.dropped is None:
            self._connections.plan(source.blocked_until, number)

    def _warn_once(self, number: int, reason: str) -> None:
        """Of a source that fails again and again for the same reason the first time is told."""
        if (number, reason) not in self._warned:
            self._warned.add((number, reason))
            self._warn(f"prsync: warning: {self.scheduler.sources[number].url}: {reason}\n")

    def _try_again(self, now: float) -> None:
        for number in self._connections.take_due(now):
            if self.scheduler.sources[number].dropped is None:
                self._connections.connect(number)

    def _ask_later(self, swarm: core.Swarm, now: float) -> None:
        """No-data session: files without a digest are asked for again, for as long as a pending answer may take."""
        if now - self._asked_again >= 1.0:
            self._asked_again = now
            swarm.ask_again(now - 1.0)
        if self._classic or now - self._began > 6 * limits.PENDING_SECONDS:
            swarm.give_up_later()
            self.gave_up = True

    # ---- actions -------------------------------------------------------------------------------

    def _act(self, actions: list[Action], now: float) -> None:
        queue = deque(actions)
        while queue:
            match queue.popleft():
                case Assign(request, source, unit):
                    self._open(request, source, unit, now)
                case Shrink(request, last):
                    assert self._core is not None
                    end = self._core.shrink(request, last)
                    self._fetcher.post(encode(Message.SHRINK, SHRINK.pack(request, end)))
                case TakeOver(old, new):
                    self._take_over(old, new, now)
                case Drop(source, _, reason, held):
                    self._warn_once(source, reason)
                    self._fetcher.post(encode_number(Message.DROP, source))
                    for entry in held:
                        self.scheduler.waiting.extendleft(self._leftover(entry.id, entry.unit)[0])
                    queue.extend(self.scheduler.decide(now))
                case GiveUp(unit):
                    self._give_up(unit)

    def _open(self, request: int, source: int, unit: Unit, now: float) -> None:
        assert self._core is not None
        if unit.kind is UnitKind.BUNDLE:
            self._origin_lacks.discard((unit.kind, unit.job))  # the number serves for another bundle from now on
            entries: core.Entries | None = self._core.open_bundle(request, unit.job)
            taken = unit.last
        else:
            entries, taken = self._core.open_pieces(request, unit.job, unit.first, unit.last)
        if entries is None:
            self.scheduler.finished(request, now)
            return
        self.scheduler.opened(request, unit, taken, entries.size)
        self._fetcher.post(encode(Message.FETCH, FETCH.pack(request, source, entries.entries) + entries.data))

    def _take_over(self, old: int, new: int, now: float) -> None:
        """What is left of an old request becomes the new one's work."""
        request = self.scheduler.requests[new]
        self._fetcher.post(encode_number(Message.CANCEL, old))
        units, _, _ = self._leftover(old, request.unit)
        if not units:
            self.scheduler.finished(new, now)
            return
        request.unit = units[0]
        request.left = units[0].size
        self._open(new, request.source, units[0], now)

    def _give_up(self, unit: Unit) -> None:
        assert self._core is not None
        self.gave_up = True
        vanished = (unit.kind, unit.job) in self._origin_lacks
        self._origin_lacks.discard((unit.kind, unit.job))
        if unit.kind is UnitKind.BUNDLE:
            self._core.give_up_bundle(unit.job, vanished)
            return
        self._core.give_up_job(unit.job, vanished)
        for request in self.scheduler.forget_job(unit.job, self._now):
            self._fetcher.post(encode_number(Message.CANCEL, request))
            self._core.close_request(request)

    # ---- the end -------------------------------------------------------------------------------

    def outcomes(self) -> tuple[tuple[SourceReport, str], ...]:
        """What each source did, and why it failed; "" where it has not."""
        return tuple((source.report(), source.why) for source in self.scheduler.sources.values())

    def end(self) -> None:
        """Reports to the origin what each source did, and lets the fetcher go once the report is out."""
        mirrors = tuple(r for r, _ in self.outcomes() if r.url != self._settings.origin_url)
        self._fetcher.post(encode(Message.REPORT, encode_frame(Report(mirrors))))
        self._fetcher.drain(REPORT_SECONDS)
