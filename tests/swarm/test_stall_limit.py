"""Who is dropped for keeping work waiting, over time as an argument."""

from __future__ import annotations

import pytest

from prsync.protocol import limits
from prsync.protocol.frames import SourceKind, Verdict
from prsync.swarm.scheduler import Policy, Scheduler
from prsync.swarm.stall_limit import judge, patience, stall_limit


def test_stall_limit_is_the_options_or_the_default() -> None:
    assert (stall_limit(0), stall_limit(3)) == (limits.STALL_SECONDS, 3.0)


@pytest.mark.parametrize(("origin", "mirrors", "origins", "seconds"), [
    (False, 10.0, 120.0, 10.0), (False, 300.0, 120.0, 300.0), (True, 10.0, 120.0, 120.0), (True, 300.0, 120.0, 300.0),
])  # fmt: skip
def test_patience_origin_gets_the_longer_limit(origin: bool, mirrors: float, origins: float, seconds: float) -> None:
    assert patience(origin, mirrors, origins) == seconds


@pytest.mark.parametrize(("work_waits", "age", "found"), [
    (True, 9.9, None), (True, 10.0, Verdict.DEAD), (False, 100.0, None),
])  # fmt: skip
def test_judge_unopened_source_is_dead_where_work_waits(work_waits: bool, age: float, found: Verdict | None) -> None:
    scheduler = Scheduler(Policy())
    scheduler.add_source(1, "rsync://m/m", SourceKind.PEER, 100.0)
    verdict = judge(scheduler.sources[1], 10.0, work_waits, 100.0 + age)
    assert (verdict and verdict[0]) == found
