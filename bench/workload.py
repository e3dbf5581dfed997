"""What a workload is: a name, a tree to serve, a state of the destination, and the command that is timed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import bench.workloads

MIB = 1 << 20
GIB = 1 << 30
RUN_LIMIT = 600.0
DAEMON_PAIRS = ("rsync-rsyncd", "prsync-prsyncd", "prsync-rsyncd", "rsync-prsyncd")
SWARM_PAIRS = ("rsync-rsyncd", "prsync-swarm")
CROWD_PAIRS = ("rsync-rsyncd", "rsync-prsyncd")
LOCAL_PAIRS = ("rsync-local", "prsync-local")
COMMANDS = ("rsync-alone", "prsync-alone")
JUDGED_BY_EXPECTED = ("prsync-prsyncd", "prsync-swarm", "prsync-local", "prsync-alone")
"""The others, with stock rsync at one end, are to be no slower than stock rsync at both."""


@dataclass(frozen=True)
class Workload:
    """One comparison. Sizes are divided under --scale: `make_source` and `make_basis` are given the divisor."""

    name: str
    title: str
    expected: float
    """Highest wall time of prsync with prsyncd, divided by stock rsync's; seconds where `absolute` is set."""
    make_source: Callable[[Path, int], None] | None = None
    """Fills the folder that the daemons serve, or that is pushed or copied; None: the command needs no tree."""
    make_basis: Callable[[Path, Path, int], None] | None = None
    """(source, basis, divisor): fills the folder that is copied to the destination before each run."""
    keep_destination: bool = False
    """The run leaves the destination as it was, so that it is not made anew for each run."""
    arguments: tuple[str, ...] = ("-a",)
    """Of the client. FOLDER stands for the folder in which source and destination are."""
    way: str = "pull"
    """pull or push: from or to a daemon; local: from one folder to the other."""
    clients: int = 1
    """How many run at once; more than one only list."""
    run_limit: float = RUN_LIMIT
    """Seconds after which a run is ended, and counted as one that does not end."""
    touched: int = 256 * MIB
    """Bytes of memory to touch right before each run."""
    mirrors: int = 0
    """How many local mirrors the origin nominates; then only prsync's swarm is compared with stock rsync."""
    absolute: bool = False
    repeats: int = 1
    """Runs of a round, for workloads that take milliseconds."""
    path: str = field(default="")
    """What is pulled, beneath the module."""

    @property
    def pairs(self) -> tuple[str, ...]:
        """Client and daemon; the first is what the others are measured by."""
        if self.make_source is None:
            return COMMANDS
        if self.mirrors:
            return SWARM_PAIRS
        if self.way == "local":
            return LOCAL_PAIRS
        return CROWD_PAIRS if self.clients > 1 else DAEMON_PAIRS


def pushed(workload: Workload, expected: float) -> Workload:
    """The same data, sent to a daemon."""
    return replace(workload, name=f"push-{workload.name}", title=f"{workload.title}: push", way="push", expected=expected)


def copied(workload: Workload, expected: float) -> Workload:
    """The same data, from one folder to the other."""
    return replace(workload, name=f"local-{workload.name}", title=f"{workload.title}: local copy", way="local", expected=expected)


def load_workloads() -> dict[str, Workload]:
    """All of bench/workloads/*.py, in the order of their file names."""
    found = {}
    for module in pkgutil.iter_modules(bench.workloads.__path__):
        workloads: tuple[Workload, ...] = importlib.import_module(f"bench.workloads.{module.name}").WORKLOADS
        found.update({workload.name: workload for workload in workloads})
    return found
