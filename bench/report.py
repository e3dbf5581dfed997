"""The results: a table to read, and JSON to keep."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.runner import Figures
from bench.workload import JUDGED_BY_EXPECTED, MIB, Workload

MEMORY_ALLOWANCE = 40 * MIB
HEADINGS = ("client, daemon", "seconds", "ratio", "limit", "CPU s", "ratio", "memory MB", "wire MB", "")
WIDTHS = (18, 9, 6, 6, 13, 6, 17, 9, 0)
OTHER_PAIRS_LIMIT = 1.0


def shortfalls(workload: Workload, figures: Sequence[Figures]) -> list[str]:
    """The expectations that were not met, as text."""
    base = figures[0]
    found = []
    for each in figures[1:]:
        limit = _limit(workload, each)
        value = each.wall if workload.absolute else each.wall / base.wall
        if value > limit:
            found.append(f"{workload.name}, {each.pair}: {value:.3f}, expected at most {limit:.2f}")
        if not workload.absolute and not base.unended and each.client_memory - base.client_memory > MEMORY_ALLOWANCE:
            found.append(f"{workload.name}, {each.pair}: the client's memory")
        allowance = 0 if workload.clients > 1 else MEMORY_ALLOWANCE * max(1, workload.mirrors)
        if not workload.absolute and not base.unended and each.daemon_memory - base.daemon_memory > allowance:
            found.append(f"{workload.name}, {each.pair}: the daemon's memory")
    return found


def _limit(workload: Workload, figures: Figures) -> float:
    return workload.expected if figures.pair in JUDGED_BY_EXPECTED else OTHER_PAIRS_LIMIT


def table(workload: Workload, figures: Sequence[Figures]) -> Iterable[str]:
    yield ""
    yield f"{workload.name}: {workload.title}"
    yield _line(HEADINGS)
    base = figures[0]
    for each in figures:
        cpu, base_cpu = each.client_cpu + each.daemon_cpu, base.client_cpu + base.daemon_cpu
        limit = _limit(workload, each)
        judged = each.wall if workload.absolute else each.wall / base.wall
        yield _line(
            (
                each.pair.replace("-", ", "),
                f"> {each.wall:.0f}" if each.unended else f"{each.wall:.3f}",
                "" if each is base or each.unended else "< " * base.unended + f"{each.wall / base.wall:.2f}",
                "" if each is base else f"{limit:.2f}" + (" s" if workload.absolute else ""),
                f"{each.client_cpu:.2f} + {each.daemon_cpu:.2f}",
                "" if each is base or not base_cpu else f"{cpu / base_cpu:.2f}",
                f"{each.client_memory / MIB:.1f} + {each.daemon_memory / MIB:.1f}",
                f"{each.wire / 1e6:.2f}",
                "not at its end" if each.unended else "" if each is base else "ok" if judged <= limit else "above the limit",
            )
        )


def _line(cells: Sequence[str]) -> str:
    return "  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def write_json(path: Path, results: Sequence[tuple[Workload, Sequence[Figures]]], rounds: int, divisor: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "kernel": platform.release(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "rounds": rounds,
        "divisor": divisor,
        "workloads": {
            workload.name: {
                "title": workload.title,
                "expected": workload.expected,
                "pairs": {each.pair: asdict(each) for each in figures},
                "shortfalls": shortfalls(workload, figures),
            }
            for workload, figures in results
        },
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
