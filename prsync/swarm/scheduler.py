"""Which source fetches what, decided purely: time is an argument, nothing is awaited, nothing is read.

Work comes as units: a *bundle* of whole small files, or a run of pieces of one large file. A source is given requests as long
as it has room for another; when nothing is left to give, an idle source takes the part of a running request that its holder
would be slowest to deliver (work stealing by measured rates). The origin, unless it said `equal`, is given only units that no
other live source can deliver in time. See protocol-spec/limits.md for the numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from prsync.protocol import limits
from prsync.protocol.frames import SourceKind, Verdict
from prsync.swarm.stall_limit import judge, patience
from prsync.swarm.work import Action, Assign, Drop, GiveUp, Shrink, Source, SourceRequest, TakeOver, Unit, UnitKind

WINDOW = 4  # requests that a source holds at once
REQUEST_SECONDS = 0.5  # a request should keep a source busy for about so long
REQUEST_BYTES_MAX = 16 << 20
STEAL_GAIN = 1.5  # stealing must make the work end this much sooner
FAILURES_MAX = 3
REFUSALS_MAX = 8  # of a source that is busy whenever it is asked


@attrs.frozen
class Policy:
    """Knobs with their names in protocol-spec/limits.md."""

    stall_seconds: float = limits.STALL_SECONDS
    origin_stall_seconds: float = limits.ORIGIN_STALL_SECONDS
    sources_max: int = limits.SOURCES_MAX
    origin_equal: bool = False
    range_min: int = limits.RANGE_MIN_BYTES


class Scheduler:
    """State of the swarm of one run. Every method that can change what should be done is followed by a call of `decide`."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.sources: dict[int, Source] = {}
        self.waiting: deque[Unit] = deque()
        self.requests: dict[int, SourceRequest] = {}
        self._next_request = 1

    # ---- what has happened -----------------------------------------------------------------

    def add_source(self, source: int, url: str, kind: int, now: float, origin: bool = False) -> None:
        """A nominated source; it gets work once it is open."""
        self.sources[source] = Source(source, url, kind, origin, WINDOW, last_progress=now)

    def source_open(self, source: int, now: float) -> None:
        entry = self.sources[source]
        entry.open = True
        entry.last_progress = now

    def add_unit(self, unit: Unit) -> None:
        self.waiting.append(unit)

    def progress(self, request: int, size: int, now: float) -> None:
        """`size` payload bytes of a request have come."""
        entry = self.requests.get(request)
        if entry is None:
            return
        entry.left = max(0, entry.left - size)
        source = self.sources[entry.source]
        source.received += size
        source.last_progress = now
        source.overtaken, source.silent, source.hushed = False, 0.0, False
        source.backoff = limits.BACKOFF_SECONDS
        source.refusals = 0
        if entry.unit.sparse:
            source.sample_at = -1.0  # what goes to and fro between small gaps is not its rate
        else:
            source.measure(size, now)

    def finished(self, request: int, now: float) -> None:
        """The whole request was delivered (verified or not: bad pieces are told apart)."""
        self._release(request, now)

    def refused(self, request: int, stale: bool, remaining: Iterable[Unit], now: float) -> None:
        """The source has not got what was asked: `remaining` go to others. stale: it has another version."""
        entry = self._release(request, now)
        if entry is None:
            return
        source = self.sources[entry.source]
        for unit in remaining:
            source.stale_files += stale
            self.waiting.appendleft(attrs.evolve(unit, excluded=unit.excluded | {source.id}))

    def busy(self, source: int, seconds: float, remaining: Iterable[Unit], now: float) -> list[Action]:
        """The source asks to be left alone for a while; its requests come back. Not for ever, though: it is dropped when it does
        nothing else."""
        entry = self.sources[source]
        entry.blocked_until = now + min(max(seconds, entry.backoff), limits.BACKOFF_SECONDS_MAX)
        entry.backoff = min(entry.backoff * 2, limits.BACKOFF_SECONDS_MAX)
        entry.refusals += 1
        self._take_back(entry, remaining, now)
        return self._drop(entry, Verdict.STALLED, "busy whenever it was asked", now) if entry.refusals >= REFUSALS_MAX else []

    def forget_job(self, job: int, now: float) -> list[int]:
        """The large file has ended: nothing of it is to be fetched any more. Returns the requests that still run for it."""
        self.waiting = deque(u for u in self.waiting if u.kind is not UnitKind.PIECES or u.job != job)
        running = [r.id for r in self.requests.values() if r.unit.kind is UnitKind.PIECES and r.unit.job == job]
        for request in running:
            self._release(request, now)
        return running

    def closed(self, source: int, reason: str, remaining: Iterable[Unit], now: float) -> list[Action]:
        """The connection ended. It is tried again after a while, FAILURES_MAX times in all."""
        entry = self.sources[source]
        entry.open = False
        entry.failures += 1
        entry.reason = reason
        self._take_back(entry, remaining, now)
        if entry.dropped is None and entry.failures >= FAILURES_MAX:
            return self._drop(entry, Verdict.DEAD, reason, now)
        entry.blocked_until = now + entry.backoff
        entry.backoff = min(entry.backoff * 2, limits.BACKOFF_SECONDS_MAX)
        return []

    def lost_fetcher(self, remaining: Iterable[Unit], now: float, keep_origin: bool) -> None:
        """All connections are gone at once, by no fault of the sources': none is used any more but, where asked for, the origin,
        which is to be connected again. `remaining`: all that was asked for and has not come."""
        for source in self.sources.values():
            self._take_back(source, (), now)
            source.open = False
            if source.dropped is None and not (keep_origin and source.origin):
                source.dropped = Verdict.FINE
            source.blocked_until, source.last_progress = now, now
        self.waiting.extendleft(remaining)

    def corrupt(self, source: int, remaining: Iterable[Unit], now: float) -> list[Action]:
        """A piece, or a small file, did not match its digest. `remaining`: all that was asked of the source and has not come."""
        entry = self.sources[source]
        entry.bad_pieces += 1
        self._take_back(entry, (attrs.evolve(unit, excluded=unit.excluded | {source}) for unit in remaining), now)
        return self._drop(entry, Verdict.CORRUPT, "a piece did not match the origin's digest", now)

    def doubt(self, request: int) -> None:
        """What the request brought does not fit what is there already."""
        entry = self.requests.get(request)
        if entry is not None:
            self.sources[entry.source].doubted = True

    def opened(self, request: int, unit: Unit, last: int, size: int) -> None:
        """The request asks for `size` bytes of `unit`, whose parts are only estimated, and for its pieces before `last`: the rest
        of them does not fit, and waits. Part of it may have been given to another source by the same decision."""
        entry = self.requests.get(request)
        if entry is None or entry.unit != unit:
            left = unit if entry is None else entry.unit
            if last < left.last:
                kept, rest = left.split(last - left.first)
                self.waiting.appendleft(rest)
                if entry is not None:
                    entry.unit, entry.left = kept, kept.size
            return
        if last < unit.last:
            unit, rest = unit.split(last - unit.first)
            self.waiting.appendleft(rest)
        entry.unit, entry.left = attrs.evolve(unit, size=size), size

    def refuse_source(self, source: int, reason: str, now: float) -> list[Action]:
        """The source cannot be used at all: a forbidden address, no such module, access denied."""
        return self._drop(self.sources[source], Verdict.REFUSED, reason, now)

    # ---- what to do ------------------------------------------------------------------------

    def decide(self, now: float) -> list[Action]:
        """Everything that should be done now; empty when there is nothing to do until the next call or `wake_at`."""
        actions = self._drop_stalled(now)
        actions += self._give_up()
        idle = sorted((s for s in self.sources.values() if self._usable(s, now)), key=lambda s: (s.origin, -s.speed))
        for source in idle:
            while source.outstanding < self._wanted(source) and len(source.requests) < source.window:
                action = self._give(source, now)
                if action is None:
                    break
                actions.append(action)
        for source in idle:
            if not source.requests:
                actions += self._steal(source, now)
        return actions

    def wake_at(self, now: float) -> float | None:
        """When `decide` must be called again though nothing has happened: a stall or a back-off runs out."""
        times = [s.last_progress + self._patience(s) for s in self.sources.values() if s.requests and s.dropped is None]
        if self.waiting:
            times += [s.blocked_until for s in self.sources.values() if s.dropped is None and s.blocked_until > now]
            idle = any(self._usable(s, now) and not s.requests for s in self.sources.values())
            if idle and any(u.sparse for u in self.waiting):
                times.append(now + REQUEST_SECONDS)  # they may have been left for too long
            closed = [s for s in self.sources.values() if s.dropped is None and not s.open]
            times += [s.last_progress + self._patience(s) for s in closed]
        return min(times) if times else None

    @property
    def done(self) -> bool:
        return not self.waiting and not self.requests

    # ---- inside ----------------------------------------------------------------------------

    def _usable(self, source: Source, now: float) -> bool:
        return source.open and source.dropped is None and now >= source.blocked_until

    def _counts(self, source: Source) -> bool:
        """Whether the origin waits for the source: not for one that keeps saying that it is busy."""
        return source.dropped is None and source.refusals < FAILURES_MAX

    def _may_have(self, source: Source, unit: Unit) -> bool:
        """Whether the source should be asked for the unit: the origin only for what no other live source may have."""
        if source.id in unit.excluded:
            return False
        others = [s for s in self.sources.values() if s is not source and self._counts(s) and s.id not in unit.excluded]
        if unit.sparse:  # what comes for gaps proves nothing: whoever was not right about them before is asked last
            others = [s for s in others if not s.doubted]
            if source.doubted:
                return not others
        return not source.origin or self.policy.origin_equal or all(s.origin for s in others)

    def _wanted(self, source: Source) -> int:
        wanted = max(int(source.speed * REQUEST_SECONDS * 2), limits.BUNDLE_BYTES)
        return max(wanted, self.policy.range_min) if source.kind == SourceKind.RSYNCD else min(wanted, REQUEST_BYTES_MAX * 2)

    def _give(self, source: Source, now: float) -> Assign | None:
        for index, unit in enumerate(self.waiting):
            if self._may_have(source, unit) and not self._leaves(source, unit, now):
                del self.waiting[index]
                return self._assign(source, self._portion(source, unit), now)
        return None

    def _leaves(self, source: Source, unit: Unit, now: float) -> bool:
        """A stock rsyncd sends one long range at a time, but files of several bundles in a session. For small gaps it sends much
        that is not wanted, or needs a connection for each: they are left to peers, unless those would be busy with them for long,
        or stand still."""
        if source.kind != SourceKind.RSYNCD:
            return False
        if any(UnitKind.PIECES in (unit.kind, r.unit.kind) for r in source.requests.values()):
            return True
        if not unit.sparse:
            return False
        peers = [s for s in self.sources.values() if s.kind != SourceKind.RSYNCD and not s.origin and self._usable(s, now)]
        able = [s for s in peers if self._may_have(s, unit) and (not s.requests or now - s.last_progress < 2 * REQUEST_SECONDS)]
        waiting = sum(u.size for u in self.waiting if u.sparse)
        return bool(able) and waiting / sum(s.speed for s in able) < limits.SPARSE_SECONDS

    def _portion(self, source: Source, unit: Unit) -> Unit:
        """As much of a run of pieces as this source should get at once; the rest goes back in front."""
        if unit.kind is UnitKind.BUNDLE:
            return unit
        target = min(max(int(source.speed * REQUEST_SECONDS), limits.BUNDLE_BYTES), REQUEST_BYTES_MAX)
        if source.kind == SourceKind.RSYNCD:
            # Long ranges only: its fair share of the file, never less than the shortest range.
            speeds = sum(s.speed for s in self.sources.values() if s.dropped is None and s.open)
            target = max(self.policy.range_min, int(unit.size * source.speed / max(speeds, 1.0)))
        pieces = unit.last - unit.first
        wanted = max(1, target * pieces // max(unit.size, 1))
        if wanted >= pieces:
            return unit
        part, rest = unit.split(wanted)
        self.waiting.appendleft(rest)
        return part

    def _assign(self, source: Source, unit: Unit, now: float) -> Assign:
        request = SourceRequest(self._next_request, source.id, unit, unit.size, now)
        self._next_request += 1
        self.requests[request.id] = request
        if not source.requests:
            # The stall clock of a source that was overtaken runs on, or a dead pair could hand work to and fro for ever.
            source.last_progress = now - source.silent
            source.sample_at, source.sample_bytes = -1.0, 0
            source.busy_since = now
        source.requests[request.id] = request
        return Assign(request.id, source.id, unit)

    def _release(self, request: int, now: float) -> SourceRequest | None:
        entry = self.requests.pop(request, None)
        if entry is None:
            return None
        source = self.sources[entry.source]
        source.requests.pop(request, None)
        if not source.requests and source.busy_since is not None:
            source.busy_seconds += now - source.busy_since
            source.busy_since = None
        return entry

    def _take_back(self, source: Source, remaining: Iterable[Unit], now: float) -> None:
        for request in list(source.requests):
            self._release(request, now)
        self.waiting.extendleft(remaining)

    def _drop(self, source: Source, verdict: Verdict, reason: str, now: float) -> list[Action]:
        if source.dropped is not None:
            return []
        source.dropped, source.reason = verdict, reason
        source.open = False
        held = tuple(source.requests.values())
        for request in held:
            self._release(request.id, now)
        return [Drop(source.id, verdict, reason, held)]

    def _drop_stalled(self, now: float) -> list[Action]:
        """Sources that hold work, or keep work waiting by not opening, and have not moved for the stall limit."""
        actions: list[Action] = []
        for source in self.sources.values():
            found = judge(source, self._patience(source), bool(self.waiting), now)
            if found is not None:
                actions += self._drop(source, *found, now)
        return actions

    def _patience(self, source: Source) -> float:
        return patience(source.origin, self.policy.stall_seconds, self.policy.origin_stall_seconds)

    def _give_up(self) -> list[Action]:
        live = [s.id for s in self.sources.values() if s.dropped is None]
        lost = [u for u in self.waiting if not any(s not in u.excluded for s in live)]
        if lost:
            self.waiting = deque(u for u in self.waiting if u not in lost)
        return [GiveUp(unit) for unit in lost]

    def _steal(self, source: Source, now: float) -> list[Action]:
        """Take work over from the request that would end last, if that makes it end clearly sooner."""
        if source.overtaken or any(self._may_have(source, unit) for unit in self.waiting):
            return []
        others = [r for r in self.requests.values() if r.source != source.id and r.started < now]  # really asked for
        candidates = [r for r in others if self._may_take(source, r, now)]
        if not candidates:
            return []
        victim = max(candidates, key=lambda r: self._seconds_left(r, now))
        left = self._seconds_left(victim, now)
        holder = self.sources[victim.source]
        pieces = victim.unit.last - victim.unit.first
        done = pieces - max(1, victim.left * pieces // max(victim.unit.size, 1)) if victim.unit.size else 0
        rest = pieces - done
        if victim.unit.kind is UnitKind.BUNDLE or rest < 2:
            whole = victim.unit.kind is UnitKind.BUNDLE
            again = victim.unit.size if whole else max(victim.left, victim.unit.size // max(pieces, 1))
            if left < STEAL_GAIN * again / source.speed + REQUEST_SECONDS:
                return []
            return self._take_over(source, victim, now)
        keep = max(1, int(rest * holder.speed / (holder.speed + source.speed)))
        if keep >= rest or victim.left / rest < 1:
            return []
        if left < STEAL_GAIN * REQUEST_SECONDS / 2:
            return []
        kept, taken = victim.unit.split(done + keep)
        victim.unit = kept
        victim.left = max(0, victim.left - taken.size)
        return [Shrink(victim.id, kept.last), self._assign(source, taken, now)]

    def _may_take(self, source: Source, request: SourceRequest, now: float) -> bool:
        """The origin helps out where a mirror would take longer than the stall limit: last never means never."""
        if self._may_have(source, request.unit):
            return True
        # By its measured rate alone: a holder that stands still is dropped at the stall limit, and the origin's turn comes then.
        holder = self.sources[request.source]
        ahead = sum(r.left for r in holder.requests.values() if r.id <= request.id)
        late = holder.rate > 0 and ahead / holder.rate > 2 * self.policy.stall_seconds
        return source.origin and source.id not in request.unit.excluded and late

    def _take_over(self, source: Source, victim: SourceRequest, now: float) -> list[Action]:
        unit, holder = victim.unit, self.sources[victim.source]
        holder.silent = now - holder.last_progress
        holder.hushed = holder.silent >= self.policy.stall_seconds / 2
        holder.overtaken = victim.left >= unit.size or now - holder.last_progress > 2 * REQUEST_SECONDS
        self._release(victim.id, now)
        return [TakeOver(victim.id, self._assign(source, unit, now).request)]

    def _seconds_left(self, request: SourceRequest, now: float) -> float:
        """By the holder's rate; a holder that has stopped moving counts as slower the longer it stands still."""
        holder = self.sources[request.source]
        ahead = sum(r.left for r in holder.requests.values() if r.id < request.id)
        return (ahead + request.left) / holder.speed + max(0.0, now - holder.last_progress) * 2
