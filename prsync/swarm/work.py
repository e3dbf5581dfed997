"""The scheduler's words: units of work, sources as they are known, and the actions that follow from a decision."""

from __future__ import annotations

import enum

import attrs

from prsync.protocol import limits
from prsync.protocol.frames import SourceReport, Verdict

RATE_WEIGHT = 0.3
RATE_GUESS = 4 << 20  # bytes a second, for a source that has not been measured


class UnitKind(enum.Enum):
    BUNDLE = enum.auto()
    PIECES = enum.auto()


@attrs.frozen
class Unit:
    """Work to give out. PIECES: pieces first..last-1 of `job`, `size` bytes of them to be fetched. BUNDLE: `job` is the bundle's
    number in the core. `excluded`: sources that do not have it. `sparse`: small gaps in what is there already."""

    kind: UnitKind
    job: int
    first: int
    last: int
    size: int
    excluded: frozenset[int] = frozenset()
    sparse: bool = False

    def split(self, first_part: int) -> tuple[Unit, Unit]:
        """The first `first_part` pieces, and the rest; sizes in proportion."""
        pieces = self.last - self.first
        size = self.size * first_part // pieces
        at = self.first + first_part
        return attrs.evolve(self, last=at, size=size), attrs.evolve(self, first=at, size=self.size - size)


@attrs.frozen
class Assign:
    """Ask `source` for `unit`, as request `request`."""

    request: int
    source: int
    unit: Unit


@attrs.frozen
class Shrink:
    """The holder of `request` need not go beyond piece `last`."""

    request: int
    last: int


@attrs.frozen
class TakeOver:
    """SourceRequest `old` ends; what is left of it is the work of request `new`, of another source."""

    old: int
    new: int


@attrs.frozen
class Drop:
    """Use the source no more."""

    source: int
    verdict: Verdict
    reason: str
    requests: tuple[SourceRequest, ...] = ()  # what it held: their rest must be given out again


@attrs.frozen
class GiveUp:
    """No source is left for this unit."""

    unit: Unit


Action = Assign | Shrink | TakeOver | Drop | GiveUp


@attrs.define
class Source:
    """What is known of one source. Bytes, seconds."""

    id: int
    url: str
    kind: int
    origin: bool
    window: int
    rate: float = 0.0
    open: bool = False
    dropped: Verdict | None = None
    reason: str = ""  # why it failed last
    blocked_until: float = 0.0
    backoff: float = limits.BACKOFF_SECONDS
    last_progress: float = 0.0
    overtaken: bool = False  # its last request was taken from it because nothing came
    hushed: bool = False  # its work was taken from it after half of the stall limit
    silent: float = 0.0  # seconds for which it held requests and delivered nothing, up to when they were taken from it
    received: int = 0
    busy_seconds: float = 0.0
    busy_since: float | None = None
    refusals: int = 0  # busy answers since something came
    failures: int = 0
    bad_pieces: int = 0
    doubted: bool = False  # something of it did not fit what is there already: unproven, as either may be wrong
    stale_files: int = 0
    requests: dict[int, SourceRequest] = attrs.field(factory=dict)
    sample_at: float = 0.0
    sample_bytes: int = 0

    @property
    def speed(self) -> float:
        return self.rate or RATE_GUESS

    @property
    def outstanding(self) -> int:
        return sum(r.left for r in self.requests.values())

    @property
    def why(self) -> str:
        return self.reason or (f"nothing came for {self.silent:.0f} seconds" if self.hushed else "")

    def measure(self, size: int, now: float) -> None:
        """Exponentially weighted rate over samples of at least 0.1 s."""
        if self.sample_at < 0:  # a connection's handshake is not its rate: the clock starts with the first bytes
            self.sample_at = now
            return
        self.sample_bytes += size
        elapsed = now - self.sample_at
        if elapsed < 0.1:
            return
        rate = self.sample_bytes / elapsed
        self.rate = rate if not self.rate else self.rate * (1 - RATE_WEIGHT) + rate * RATE_WEIGHT
        self.sample_at, self.sample_bytes = now, 0

    def report(self) -> SourceReport:
        verdict = self.dropped or self._verdict()
        # What it still holds when the run ends was taken over by others: it was at work until its last byte.
        working = 0.0 if self.busy_since is None else max(0.0, self.last_progress - self.busy_since)
        milliseconds = min(int((self.busy_seconds + working) * 1000), 2**32 - 1)
        return SourceReport(self.url, self.received, milliseconds, self.failures, self.bad_pieces, self.stale_files, verdict)

    def _verdict(self) -> Verdict:
        """Of a source that was in use to the end."""
        if self.failures and not self.open:
            return Verdict.DEAD
        if self.hushed:
            return Verdict.STALLED
        return Verdict.STALE if self.stale_files else Verdict.FINE


@attrs.define
class SourceRequest:
    id: int
    source: int
    unit: Unit
    left: int
    started: float
