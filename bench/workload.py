"""What a workload is: a name, a tree to serve, a state of the destination, and the command that is timed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import bench.workloads

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True)
class Workload:
    """One comparison. Sizes are divided by ten under --quick: `make_source` and `reset` are given the divisor."""

    name: str
    title: str
    expected: float
    """Highest wall time of prsync with prsyncd, divided by stock rsync's; seconds where `absolute` is set."""
    make_source: Callable[[Path, int], None] | None = None
    """Fills the folder that the daemons serve; None: the command needs no daemon."""
    make_basis: Callable[[Path, Path, int], None] | None = None
    """(source, basis, divisor): fills the folder that is copied to the destination before each run."""
    keep_destination: bool = False
    """The run leaves the destination as it was, so that it is not made anew for each run."""
    arguments: tuple[str, ...] = ("-a",)
    touched: int = 256 * MIB
    """Bytes of memory to touch right before each run."""
    mirrors: int = 0
    """How many local mirrors the origin nominates; then only prsync's swarm is compared with stock rsync."""
    absolute: bool = False
    repeats: int = 1
    """Runs of a round, for workloads that take milliseconds."""
    path: str = field(default="")
    """What is pulled, beneath the module."""


def load_workloads() -> dict[str, Workload]:
    """All of bench/workloads/*.py, in the order of their file names."""
    found = {}
    for module in pkgutil.iter_modules(bench.workloads.__path__):
        workload: Workload = importlib.import_module(f"bench.workloads.{module.name}").WORKLOAD
        found[workload.name] = workload
    return found
