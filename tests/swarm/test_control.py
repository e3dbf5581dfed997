"""What the main process makes of the core's events, without a core and without a fetcher."""

from __future__ import annotations

import json
import types
from typing import Any

from prsync.engine import swarm as core
from prsync.engine.context import Event, Status
from prsync.protocol.frames import Mirror, Nomination, OriginPlace, SourceKind, Verdict
from prsync.swarm.control import RESTARTS_MAX, Settings, SwarmControl
from prsync.swarm.fetcher import FetcherEnded
from prsync.swarm.fetcher_messages import Message
from prsync.swarm.work import Assign, Unit, UnitKind

NOTHING_LEFT = core.Leftover(0, 0, 0, 0, 0, 0, 0, 0, 0, False)


class FakeCore:
    """Requests with nothing left of them; what was given up. Nothing local to do, no file without a digest."""

    def __init__(self) -> None:
        self.counts = types.SimpleNamespace(open=1, undecided=0, pending=0, later=0, local_bytes=0)
        self.joining = True
        self.closed: list[int] = []
        self.given_up: list[tuple[int, bool]] = []
        self.bundles: list[int] = []
        self.left = NOTHING_LEFT
        self.warnings: list[str] = []

    def close_request(self, request: int) -> core.Leftover:
        self.closed.append(request)
        return self.left

    def open_bundle(self, request: int, bundle: int) -> core.Entries:
        self.bundles.append(bundle)
        return core.Entries(0, b"", 0)

    def give_up_job(self, job: int, vanished: bool) -> None:
        self.given_up.append((job, vanished))
        self.counts.open -= 1

    def set_now(self, now: float) -> None: ...

    def ask(self, flush: bool) -> None: ...

    def step(self, flush: bool) -> Status:
        return Status.AGAIN

    def stop_joining(self) -> None:
        self.joining = False


class FakeFetcher:
    """Takes messages; ends when it is told to."""

    def __init__(self) -> None:
        self.posted: list[Message] = []
        self.reports: list[tuple[Message, bytes]] = []
        self.ended = False
        self.starts = 1

    def post(self, message: bytes) -> None:
        self.posted.append(Message(message[4]))

    def read(self) -> list[tuple[Message, bytes]] | None:
        if self.ended:
            raise FetcherEnded("signal 9")
        taken, self.reports = self.reports, []
        return taken or None

    def start(self) -> None:
        self.starts += 1
        self.ended = False
        self.posted.clear()


def control_with(*urls: str, fetcher: Any = None, only: bool = True) -> tuple[SwarmControl, FakeCore]:
    nomination = Nomination(OriginPlace.LAST, tuple(Mirror(SourceKind.PEER, url) for url in urls))
    settings = Settings("rsync://o/m", "192.0.2.1", b"", only=only)
    fake: Any = FakeCore()
    nothing: Any = types.SimpleNamespace()
    warnings: list[str] = []
    control = SwarmControl(
        nothing, fetcher or FakeFetcher(), settings, nomination, False, lambda: None, warnings.append, 0.0
    )
    fake.warnings = warnings
    control._core = fake
    for number in range(1, len(urls) + 1):
        control.scheduler.source_open(number, 0.0)
    return control, fake


def test_bad_small_files_are_asked_for_together_elsewhere() -> None:
    control, fake = control_with("rsync://a/m", "rsync://b/m")
    control.scheduler.add_unit(Unit(UnitKind.BUNDLE, 0, 0, 1, 1000))
    (assigned,) = control.scheduler.decide(0.0)
    assert isinstance(assigned, Assign)
    fake.left = NOTHING_LEFT._replace(bundle=7, files=3, bundle_bytes=900)
    for job in (5, 6, 7):
        control.event(Event(core.BAD, -1, assigned.request, job, b""))
    assert [*fake.bundles, *(unit.job for unit in control.scheduler.waiting)] == [7]
    verdicts = [control.scheduler.sources[number].dropped for number in (1, 2)]
    assert sorted(v is Verdict.CORRUPT for v in verdicts) == [False, True]


def test_large_file_given_up_takes_its_requests_with_it() -> None:
    control, fake = control_with("rsync://a/m", "rsync://b/m")
    control.scheduler.add_unit(Unit(UnitKind.PIECES, 3, 0, 8, 8 << 20, frozenset({2})))
    running = [a.request for a in control.scheduler.decide(0.0) if isinstance(a, Assign)]
    control.scheduler.waiting.append(Unit(UnitKind.PIECES, 3, 8, 16, 8 << 20, frozenset({1, 2})))
    control._act(control.scheduler.decide(0.0), 0.0)
    assert fake.given_up[0] == (3, False)
    assert set(running) <= set(fake.closed)
    assert not control.scheduler.requests
    assert not control.scheduler.waiting


def test_turn_that_gives_files_up_asks_for_the_generator_once_more() -> None:
    control, fake = control_with("rsync://a/m")
    control.scheduler.add_unit(Unit(UnitKind.PIECES, 3, 0, 8, 8 << 20, frozenset({1})))
    assert control.turn(True, 1.0)
    assert fake.given_up == [(3, False)]
    assert not control.turn(True, 1.0)


def test_ended_fetcher_is_replaced_a_few_times_for_the_origin_alone() -> None:
    fetcher = FakeFetcher()
    control, fake = control_with("rsync://a/m", "rsync://b/m", fetcher=fetcher, only=False)
    control.scheduler.add_unit(Unit(UnitKind.BUNDLE, 0, 0, 1, 1000))
    control._act(control.scheduler.decide(0.0), 0.0)
    fetcher.ended = True
    assert control.readable(1.0)
    assert (fetcher.starts, fetcher.posted, fake.joining) == (2, [Message.GO, Message.SOURCE], False)
    sources = control.scheduler.sources
    assert [sources[number].dropped for number in (0, 1, 2)] == [None, Verdict.FINE, Verdict.FINE]
    assert len(fake.closed) == 1 and not control.scheduler.requests
    for _ in range(RESTARTS_MAX):
        assert sources[0].dropped is None
        fetcher.ended = True
        assert control.readable(2.0)
    assert (fetcher.starts, sources[0].dropped, len(fake.warnings)) == (1 + RESTARTS_MAX, Verdict.FINE, 1)


def test_ended_fetcher_is_not_replaced_when_nothing_is_in_the_swarm() -> None:
    fetcher = FakeFetcher()
    control, fake = control_with("rsync://a/m", fetcher=fetcher, only=False)
    fake.counts.open = fake.counts.undecided = 5
    fetcher.ended = True
    control.readable(1.0)
    assert (fetcher.starts, fake.joining) == (1, False)


def closed(number: int, reason: str, refused: bool) -> tuple[Message, bytes]:
    return Message.CLOSED, json.dumps({"id": number, "reason": reason, "refused": refused}).encode()


def test_source_that_fails_is_warned_of_once_for_each_reason_and_keeps_the_last() -> None:
    fetcher = FakeFetcher()
    control, fake = control_with("rsync://a/m", "rsync://b/m", fetcher=fetcher)
    refused = (1, "rsync://a/m: Connection refused")
    for number, reason in (refused, refused, (1, "gone"), (2, "no")):
        fetcher.reports = [closed(number, reason, refused=number == 2)]
        assert control.readable(1.0)
    assert fake.warnings == [
        "prsync: warning: rsync://a/m: Connection refused\n",
        "prsync: warning: rsync://a/m: gone\n",
        "prsync: warning: rsync://b/m: no\n",
    ]
    told = [(report.verdict, why) for report, why in control.outcomes()]
    assert told == [(Verdict.DEAD, "gone"), (Verdict.REFUSED, "no")]


def test_corrupt_source_is_warned_of() -> None:
    control, fake = control_with("rsync://a/m", "rsync://b/m")
    control.scheduler.add_unit(Unit(UnitKind.BUNDLE, 0, 0, 1, 1000))
    (assigned,) = control.scheduler.decide(0.0)
    assert isinstance(assigned, Assign)
    control.event(Event(core.BAD, -1, assigned.request, 5, b""))
    url = control.scheduler.sources[assigned.source].url
    assert fake.warnings == [f"prsync: warning: {url}: a piece did not match the origin's digest\n"]
