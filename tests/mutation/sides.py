"""The sides that hear mutated recordings: by name, what is recorded for each, and how it is played."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from . import recordings
from .daemon_side import DaemonCases, recorded_with_daemon
from .findings import Findings
from .play import Recording
from .program_sides import BatchCases, ClientCases, ProgramCases, ServerCases
from .scenes import Scene, unsanitized

BATCH = 60


class Side(NamedTuple):
    record: Callable[[Scene, int], list[Recording]]
    cases: type[ProgramCases] | type[DaemonCases]


SIDES = {
    "client-pull": Side(recordings.client_pulls, ClientCases),
    "client-push": Side(recordings.client_pushes, ClientCases),
    "client-shell": Side(recordings.client_shells, ClientCases),
    "daemon-send": Side(recorded_with_daemon(recordings.daemon_pulls), DaemonCases),
    "daemon-receive": Side(recorded_with_daemon(recordings.daemon_pushes), DaemonCases),
    "server-send": Side(recordings.server_pulls, ServerCases),
    "server-receive": Side(recordings.server_pushes, ServerCases),
    "read-batch": Side(recordings.batches, BatchCases),
}


def make_cases(name: str, scene: Scene, findings: Findings, sanitized: bool, most: int) -> ProgramCases | DaemonCases:
    """`most`: of each kind of session that is recorded."""
    side = SIDES[name]
    with unsanitized():
        recorded = side.record(scene, most)
    return side.cases(scene, recorded, findings, sanitized)


def run_some(cases: ProgramCases | DaemonCases, seed: str, number: int, batch: int = BATCH) -> int:
    """The next cases of a seed, from this number on: one, or a batch of them. How many."""
    if isinstance(cases, ProgramCases):
        cases.run(f"{seed}:{number}")
        return 1
    cases.batch([f"{seed}:{number + i}" for i in range(batch)])
    return batch
