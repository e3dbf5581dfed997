"""The scheduler against simulated sources in virtual time."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prsync.protocol.frames import SourceKind, Verdict
from prsync.swarm.scheduler import Policy, Scheduler
from prsync.swarm.work import Action, Assign, Drop, GiveUp, Shrink, Source, TakeOver, Unit, UnitKind

MIB = 1 << 20
TICK = 0.05


@attrs.define
class Model:
    """A source as it behaves: bytes a second; when it dies, stops moving, flips bits; jobs it has not got."""

    rate: float
    origin: bool = False
    kind: int = SourceKind.PEER
    dies: float = float("inf")
    stalls: float = float("inf")
    corrupts: float = float("inf")
    lacks: frozenset[int] = frozenset()
    opens: float = 0.0


class Simulation:
    """Serves the scheduler's requests at the models' rates; checks that every piece ends up delivered exactly once."""

    def __init__(self, models: list[Model], policy: Policy | None = None) -> None:
        self.now = 0.0
        self.models = models
        self.scheduler = Scheduler(policy or Policy(stall_seconds=3, range_min=4 * MIB))
        self.active: dict[int, tuple[int, Unit, float]] = {}
        self.delivered: set[tuple[int, int]] = set()
        self.bytes = [0.0] * len(models)
        self.given_up: list[Unit] = []
        self.dropped: dict[int, Verdict] = {}
        self.holders: dict[int, set[int]] = {}
        for number, model in enumerate(models):
            self.scheduler.add_source(number, f"rsync://m{number}/m", model.kind, 0.0, model.origin)

    def act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Assign(request, source, unit):
                    assert source not in unit.excluded
                    self.active[request] = (source, unit, 0.0)
                    self.holders.setdefault(unit.job, set()).add(source)
                case Shrink(request, last):
                    source, unit, have = self.active[request]
                    self.active[request] = (source, unit.split(last - unit.first)[0], have)
                case TakeOver(old, new):
                    del self.active[old]
                    request = self.scheduler.requests[new]
                    self.active[new] = (request.source, request.unit, 0.0)
                    self.holders.setdefault(request.unit.job, set()).add(request.source)
                case Drop(source, verdict, _, held):
                    self.dropped[source] = verdict
                    self.scheduler.waiting.extendleft(request.unit for request in held)
                    self.active = {r: a for r, a in self.active.items() if a[0] != source}
                case GiveUp(unit):
                    self.given_up.append(unit)

    def complete(self, unit: Unit) -> None:
        pieces = {(unit.job, p) for p in range(unit.first, unit.last)}
        assert not pieces & self.delivered
        self.delivered |= pieces

    def lost(self, source: int) -> list[Unit]:
        units = [unit for s, unit, _ in self.active.values() if s == source]
        self.active = {r: a for r, a in self.active.items() if a[0] != source}
        return units

    def step(self) -> None:
        self.now += TICK
        for number, model in enumerate(self.models):
            entry = self.scheduler.sources[number]
            if entry.dropped is not None:
                continue
            if not entry.open:
                if self.now >= max(model.opens, entry.blocked_until) and self.now < model.dies:
                    self.scheduler.source_open(number, self.now)
                elif self.now >= model.dies and self.now >= entry.blocked_until:
                    self.act(self.scheduler.closed(number, "connection refused", [], self.now))
                continue
            if self.now >= model.dies:
                self.act(self.scheduler.closed(number, "connection reset", self.lost(number), self.now))
            elif self.now < model.stalls:
                self.serve(number, model)
        self.act(self.scheduler.decide(self.now))

    def serve(self, number: int, model: Model) -> None:
        budget = model.rate * TICK
        for request in sorted(r for r, a in self.active.items() if a[0] == number):
            if budget <= 0 or request not in self.active:
                break
            _, unit, have = self.active[request]
            if unit.job in model.lacks:
                del self.active[request]
                self.scheduler.refused(request, True, [unit], self.now)
                continue
            part = min(budget, unit.size - have)
            budget -= part
            self.bytes[number] += part
            self.scheduler.progress(request, int(part) or 1, self.now)
            if have + part < unit.size - 1:
                self.active[request] = (number, unit, have + part)
                continue
            del self.active[request]
            if self.now >= model.corrupts:
                self.act(self.scheduler.corrupt(number, [unit, *self.lost(number)], self.now))
                return
            self.complete(unit)
            self.scheduler.finished(request, self.now)

    def run(self, limit: float = 600.0) -> float:
        self.act(self.scheduler.decide(0.0))
        while not self.scheduler.done:
            self.step()
            assert self.now < limit, "the swarm does not come to an end"
        return self.now


def large(job: int, mebibytes: int) -> Unit:
    return Unit(UnitKind.PIECES, job, 0, mebibytes, mebibytes * MIB)


def bundles(first: int, count: int) -> list[Unit]:
    return [Unit(UnitKind.BUNDLE, first + i, 0, 1, MIB) for i in range(count)]


def simulate(models: list[Model], units: list[Unit], policy: Policy | None = None) -> tuple[Simulation, float]:
    simulation = Simulation(models, policy)
    for unit in units:
        simulation.scheduler.add_unit(unit)
    return simulation, simulation.run()


def test_one_large_file_is_taken_from_all_mirrors_in_proportion() -> None:
    simulation, seconds = simulate([Model(20 * MIB), Model(10 * MIB), Model(10 * MIB)], [large(1, 400)])
    assert len(simulation.delivered) == 400
    assert seconds < 1.25 * 400 / 40
    assert simulation.bytes[0] > 1.5 * simulation.bytes[1]


def test_origin_that_is_last_sends_nothing_while_mirrors_have_everything() -> None:
    simulation, _ = simulate([Model(10 * MIB, origin=True), Model(10 * MIB), Model(5 * MIB)], [large(1, 60), *bundles(2, 40)])
    assert simulation.bytes[0] == 0


def test_origin_that_is_equal_shares_the_work() -> None:
    policy = Policy(stall_seconds=3, origin_equal=True)
    simulation, _ = simulate([Model(10 * MIB, origin=True), Model(10 * MIB)], [large(1, 100)], policy)
    assert simulation.bytes[0] > 30 * MIB


def test_origin_sends_what_no_mirror_has() -> None:
    lacks = frozenset({3, 4})
    simulation, _ = simulate([Model(10 * MIB, origin=True), Model(10 * MIB, lacks=lacks)], bundles(1, 10))
    assert simulation.bytes[0] == pytest.approx(2 * MIB)
    assert simulation.scheduler.sources[1].stale_files == 2


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [({"dies": 2.0}, Verdict.DEAD), ({"stalls": 2.0}, Verdict.STALLED), ({"corrupts": 2.0}, Verdict.CORRUPT)],
)
def test_one_faulty_mirror_of_four_is_named_and_costs_little_time(fault: dict[str, float], verdict: Verdict) -> None:
    good = [Model(10 * MIB) for _ in range(3)]
    units = [large(1, 400), *bundles(2, 200)]
    _, undisturbed = simulate([*good, Model(10 * MIB)], units)
    simulation, seconds = simulate([*good, Model(10 * MIB, **fault)], units)
    assert simulation.dropped == {3: verdict}
    assert len(simulation.delivered) == 600
    assert seconds <= 1.5 * undisturbed


def test_slow_mirror_does_not_hold_up_the_end() -> None:
    _, seconds = simulate([Model(20 * MIB), Model(0.2 * MIB)], [large(1, 200)])
    assert seconds < 1.3 * 200 / 20


def test_slow_mirror_holding_a_bundle_is_overtaken() -> None:
    _, seconds = simulate([Model(20 * MIB), Model(0.02 * MIB)], bundles(1, 40))
    assert seconds < 10


def test_unit_that_no_source_has_is_given_up_once() -> None:
    lacks = frozenset({2})
    simulation, _ = simulate([Model(10 * MIB, lacks=lacks), Model(10 * MIB, lacks=lacks)], bundles(1, 3))
    assert [u.job for u in simulation.given_up] == [2]
    assert len(simulation.delivered) == 2


def test_all_sources_dead_gives_everything_up() -> None:
    simulation, _ = simulate([Model(MIB, dies=0.5), Model(MIB, dies=0.5)], [large(1, 50)])
    assert sum(u.size for u in simulation.given_up) + len(simulation.delivered) * MIB == pytest.approx(50 * MIB, abs=50)


def test_stock_rsyncd_gets_one_long_range_at_a_time() -> None:
    simulation = Simulation([Model(10 * MIB, kind=SourceKind.RSYNCD), Model(10 * MIB)])
    simulation.scheduler.add_unit(large(1, 200))
    simulation.scheduler.source_open(0, 0.0)
    simulation.scheduler.source_open(1, 0.0)
    assigned = [a for a in simulation.scheduler.decide(0.0) if isinstance(a, Assign) and a.source == 0]
    assert len(assigned) == 1 and assigned[0].unit.size >= 4 * MIB


def test_busy_source_is_left_alone_until_its_time() -> None:
    scheduler = Scheduler()
    scheduler.add_source(0, "rsync://a/m", SourceKind.PEER, 0.0)
    scheduler.source_open(0, 0.0)
    scheduler.add_unit(large(1, 1))
    (assign,) = scheduler.decide(0.0)
    assert isinstance(assign, Assign)
    scheduler.busy(0, 5.0, [assign.unit], 1.0)
    assert scheduler.decide(2.0) == []
    assert scheduler.wake_at(2.0) == 6.0
    assert [type(a) for a in scheduler.decide(6.0)] == [Assign]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_swarm_with_one_good_source_delivers_every_piece_exactly_once(data: st.DataObject) -> None:
    times = st.one_of(st.just(float("inf")), st.floats(0.1, 20))
    kinds = st.sampled_from([SourceKind.PEER, SourceKind.RSYNCD])
    bad = st.builds(
        Model,
        rate=st.floats(0.05 * MIB, 30 * MIB),
        dies=times,
        stalls=times,
        corrupts=times,
        lacks=st.frozensets(st.integers(1, 12)),
        kind=kinds,
        opens=st.floats(0, 2),
    )
    models = [*data.draw(st.lists(bad, max_size=5)), Model(10 * MIB, origin=data.draw(st.booleans()))]
    units = [large(1, data.draw(st.integers(1, 80))), *bundles(2, data.draw(st.integers(0, 12)))]
    simulation, _ = simulate(models, units)
    wanted = {(u.job, p) for u in units for p in range(u.first, u.last)}
    assert simulation.delivered == wanted
    assert not simulation.given_up
    never = float("inf")
    innocent = {n for n, m in enumerate(models) if m == attrs.evolve(m, dies=never, stalls=never, corrupts=never)}
    assert not innocent & simulation.dropped.keys()


def test_work_that_a_decision_has_moved_is_not_moved_again_by_it() -> None:
    slow = [Model(52_429, lacks=frozenset([1])), Model(52_429), Model(6_931_300, opens=1.0)]
    fast = [Model(20 * MIB, kind=SourceKind.RSYNCD, opens=2.0), Model(4_677_090, stalls=2.0), Model(10 * MIB)]
    simulation, _ = simulate([*slow, *fast], [large(1, 51)])
    assert simulation.delivered == {(1, piece) for piece in range(51)}


def test_mirror_that_is_always_busy_keeps_nothing_from_the_origin() -> None:
    scheduler = Scheduler(Policy(stall_seconds=3))
    scheduler.add_source(0, "rsync://o/m", SourceKind.PEER, 0.0, origin=True)
    scheduler.add_source(1, "rsync://m/m", SourceKind.PEER, 0.0)
    for source in (0, 1):
        scheduler.source_open(source, 0.0)
    scheduler.add_unit(bundles(1, 1)[0])
    now, asked = 0.0, []
    while not asked or asked[-1].source:
        for action in scheduler.decide(now):
            assert isinstance(action, Assign)
            asked.append(action)
            if action.source == 1:
                scheduler.busy(1, 65_535.0, [action.unit], now)
        now += 1.0
        assert now < 200
    assert [a.source for a in asked] == [1, 1, 1, 0]


def test_job_that_has_ended_is_fetched_no_more() -> None:
    scheduler = Scheduler(Policy())
    scheduler.add_source(1, "rsync://m/m", SourceKind.PEER, 0.0)
    scheduler.source_open(1, 0.0)
    scheduler.add_unit(large(1, 400))
    other = Unit(UnitKind.BUNDLE, 1, 0, 1, 1000)
    scheduler.add_unit(other)
    running = [action.request for action in scheduler.decide(0.0) if isinstance(action, Assign)]
    assert scheduler.forget_job(1, 1.0) == running
    assert list(scheduler.waiting) == [other]
    assert not scheduler.requests
    assert not scheduler.sources[1].requests


def test_report_of_a_source_whose_last_request_never_ended_has_the_time_of_its_bytes() -> None:
    scheduler = Scheduler()
    scheduler.add_source(0, "rsync://a/m", SourceKind.PEER, 0.0)
    scheduler.source_open(0, 1.0)
    scheduler.add_unit(large(1, 2))
    (assign,) = scheduler.decide(1.0)
    assert isinstance(assign, Assign)
    scheduler.progress(assign.request, MIB, 1.5)
    report = scheduler.sources[0].report()
    assert (report.received, report.milliseconds) == (MIB, 500)


def test_origin_that_pauses_is_waited_for_longer_than_a_mirror() -> None:
    scheduler = Scheduler(Policy(stall_seconds=3, origin_stall_seconds=60))
    for source in (0, 1):
        scheduler.add_source(source, f"rsync://m{source}/m", SourceKind.PEER, 0.0, origin=source == 0)
        scheduler.source_open(source, 0.0)
    scheduler.add_unit(large(1, 1))
    (assign,) = scheduler.decide(0.0)
    assert isinstance(assign, Assign) and assign.source == 1
    (drop,) = scheduler.decide(3.0)
    assert isinstance(drop, Drop) and (drop.source, drop.verdict) == (1, Verdict.STALLED)
    scheduler.waiting.extendleft(request.unit for request in drop.requests)
    (assign,) = scheduler.decide(3.0)
    assert isinstance(assign, Assign) and assign.source == 0
    assert (scheduler.decide(62.9), scheduler.wake_at(62.9)) == ([], 63.0)
    (drop,) = scheduler.decide(63.0)
    assert isinstance(drop, Drop) and drop.source == 0


def assigned(scheduler: Scheduler, now: float = 0.0) -> dict[int, list[int]]:
    """What `decide` gives to each source: the jobs."""
    found: dict[int, list[int]] = {}
    for action in scheduler.decide(now):
        if isinstance(action, Assign):
            found.setdefault(action.source, []).append(action.unit.job)
    return found


def with_sources(*kinds: SourceKind) -> Scheduler:
    """Source 0 is the origin."""
    scheduler = Scheduler()
    for number, kind in enumerate((SourceKind.PEER, *kinds)):
        scheduler.add_source(number, f"rsync://{number}/m", kind, 0.0, origin=number == 0)
        scheduler.source_open(number, 0.0)
    return scheduler


def gaps(job: int, size: int = 10_000) -> Unit:
    return Unit(UnitKind.BUNDLE, job, 0, 1, size, sparse=True)


def test_small_gaps_are_left_to_peers_and_whole_files_are_not() -> None:
    scheduler = with_sources(SourceKind.RSYNCD, SourceKind.PEER)
    for job in range(3):
        scheduler.add_unit(gaps(job))
    scheduler.add_unit(Unit(UnitKind.BUNDLE, 9, 0, 1, 1 << 20))
    assert assigned(scheduler) == {1: [9], 2: [0, 1, 2]}


@pytest.mark.parametrize("reason", ["alone", "excluded", "doubted", "stands still", "much"])
def test_small_gaps_go_to_a_stock_rsyncd_when_no_peer_would_have_them_soon(reason: str) -> None:
    scheduler = with_sources(SourceKind.RSYNCD, *([] if reason == "alone" else [SourceKind.PEER]))
    now = 0.0
    if reason == "stands still":
        for job in range(4):
            scheduler.add_unit(gaps(job))
        scheduler.decide(0.0)
        now = 2.0
    scheduler.sources[len(scheduler.sources) - 1].doubted = reason == "doubted"
    unit = gaps(7, 64 << 20 if reason == "much" else 10_000)
    scheduler.add_unit(attrs.evolve(unit, excluded=frozenset({2})) if reason == "excluded" else unit)
    if reason == "much":
        scheduler.add_unit(attrs.evolve(unit, job=8))
    assert 1 in assigned(scheduler, now)


def test_source_whose_bytes_did_not_fit_gets_no_more_small_gaps_while_another_has_them() -> None:
    scheduler = with_sources(SourceKind.PEER, SourceKind.PEER)
    scheduler.add_unit(gaps(0))
    (request,) = (a.request for a in scheduler.decide(0.0) if isinstance(a, Assign))
    holder = scheduler.requests[request].source
    scheduler.doubt(request)
    scheduler.finished(request, 0.0)
    scheduler.add_unit(gaps(1))
    assert list(assigned(scheduler)) == [3 - holder]
    scheduler.refuse_source(3 - holder, "gone", 0.0)
    scheduler.add_unit(gaps(2))
    scheduler.add_unit(Unit(UnitKind.BUNDLE, 3, 0, 1, 1000))
    assert assigned(scheduler) == {holder: [3], 0: [2]}
    scheduler.refuse_source(0, "gone", 0.0)
    scheduler.add_unit(gaps(4))
    assert assigned(scheduler) == {holder: [4]}


def test_request_is_counted_with_the_bytes_that_it_asks_for() -> None:
    scheduler = with_sources(SourceKind.PEER)
    scheduler.add_unit(Unit(UnitKind.PIECES, 5, 0, 10, 1000))
    (action,) = (a for a in scheduler.decide(0.0) if isinstance(a, Assign))
    scheduler.opened(action.request, action.unit, 4, 70)
    request = scheduler.requests[action.request]
    assert (request.left, request.unit.first, request.unit.last) == (70, 0, 4)
    assert [(unit.first, unit.last) for unit in scheduler.waiting] == [(4, 10)]


def test_rest_of_a_request_waits_though_it_was_taken_over_meanwhile() -> None:
    scheduler = with_sources(SourceKind.PEER)
    unit = Unit(UnitKind.PIECES, 5, 0, 10, 1000)
    scheduler.opened(99, unit, 4, 70)
    assert [(unit.first, unit.last) for unit in scheduler.waiting] == [(4, 10)]


def test_stock_rsyncd_holds_several_bundles_or_one_long_range() -> None:
    scheduler = with_sources(SourceKind.RSYNCD)
    for job in range(6):
        scheduler.add_unit(Unit(UnitKind.BUNDLE, job, 0, 1, 1 << 20))
    scheduler.add_unit(Unit(UnitKind.PIECES, 9, 0, 100, 100 << 20))
    assert assigned(scheduler) == {1: [0, 1, 2, 3]}
    for request in list(scheduler.requests)[:3]:
        scheduler.finished(request, 0.0)
    assert assigned(scheduler) == {1: [4, 5]}
    for request in list(scheduler.requests):
        scheduler.finished(request, 0.0)
    assert assigned(scheduler) == {1: [9]}
    assert assigned(scheduler) == {}


def test_small_gaps_say_nothing_about_a_sources_rate() -> None:
    scheduler = with_sources(SourceKind.RSYNCD)
    scheduler.add_unit(gaps(0, 100_000))
    (action,) = scheduler.decide(0.0)
    assert isinstance(action, Assign)
    for now in range(10):
        scheduler.progress(action.request, 1000, float(now))
    assert scheduler.sources[1].rate == 0.0


@pytest.mark.parametrize("ending", ["closed", "refused", "stalled", "corrupt"])
def test_source_that_failed_says_why(ending: str) -> None:
    scheduler = Scheduler(Policy(stall_seconds=3))
    scheduler.add_source(1, "rsync://a/m", SourceKind.PEER, 0.0)
    scheduler.source_open(1, 0.0)
    scheduler.add_unit(large(1, 2))
    scheduler.decide(0.0)
    if ending == "closed":
        scheduler.closed(1, "connection reset", [], 1.0)
        scheduler.source_open(1, 1.0)  # works again: the failure is still told
    elif ending == "refused":
        scheduler.refuse_source(1, "no such module", 1.0)
    elif ending == "stalled":
        scheduler.decide(4.0)
    else:
        scheduler.corrupt(1, [], 1.0)
    expected = {
        "closed": (Verdict.FINE, "connection reset"),
        "refused": (Verdict.REFUSED, "no such module"),
        "stalled": (Verdict.STALLED, "nothing came for 3 seconds"),
        "corrupt": (Verdict.CORRUPT, "a piece did not match the origin's digest"),
    }
    source = scheduler.sources[1]
    assert (source.report().verdict, source.why) == expected[ending]


def test_source_that_was_overtaken_says_how_long_it_was_silent() -> None:
    source = Source(1, "rsync://a/m", SourceKind.PEER, False, 4, hushed=True, silent=7.4)
    assert (source.report().verdict, source.why) == (Verdict.STALLED, "nothing came for 7 seconds")
