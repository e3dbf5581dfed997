"""What the main process makes of the core's events, without a core and without a fetcher."""

from __future__ import annotations

import types
from typing import Any

from prsync.engine import swarm as core
from prsync.engine.context import Event
from prsync.protocol.frames import Mirror, Nomination, OriginPlace, SourceKind, Verdict
from prsync.swarm.control import Settings, SwarmControl
from prsync.swarm.work import Assign, Unit, UnitKind

NOTHING_LEFT = core.Leftover(0, 0, 0, 0, 0, 0, 0, 0, 0)


class FakeCore:
    """Requests with nothing left of them; what was given up."""

    def __init__(self) -> None:
        self.closed: list[int] = []
        self.given_up: list[tuple[int, bool]] = []
        self.bundles: list[int] = []
        self.left = NOTHING_LEFT

    def close_request(self, request: int) -> core.Leftover:
        self.closed.append(request)
        return self.left

    def open_bundle(self, request: int, bundle: int) -> core.Entries:
        self.bundles.append(bundle)
        return core.Entries(0, b"")

    def give_up_job(self, job: int, vanished: bool) -> None:
        self.given_up.append((job, vanished))


def control_with(*urls: str) -> tuple[SwarmControl, FakeCore]:
    nomination = Nomination(OriginPlace.LAST, tuple(Mirror(SourceKind.PEER, url) for url in urls))
    settings = Settings("rsync://o/m", "192.0.2.1", b"", only=True)
    fake: Any = FakeCore()
    nothing: Any = types.SimpleNamespace()
    control = SwarmControl(nothing, nothing, settings, nomination, False, lambda: None, 0.0)
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
