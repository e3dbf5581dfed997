"""python -m bench: times prsync against stock rsync.

Trees lie on a tmpfs, daemons listen on the loopback of a network namespace of our own (as root; else on the machine's), runs
take turns A B A B, and each result is compared with its source. CPU is that of all processes of a side, memory their peak Pss
in a run of its own, wire what the loopback carried, headers included.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.processes import RunFailed
from bench.report import shortfalls, table, write_json
from bench.runner import Bench, Figures, remove_folder
from bench.workload import Workload, load_workloads

CLONE_NEWNET = 0x40000000


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    workloads = load_workloads()
    pairs = sorted({pair for workload in workloads.values() for pair in workload.pairs})
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--only", action="append", choices=list(workloads), help="this workload alone; may be given again")
    parser.add_argument("--pair", action="append", choices=pairs, help="only these, and stock rsync; may be given again")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="timed runs of each pair (default: 5)")
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="FACTOR", help="of the trees' sizes, below 1 to try the bench"
    )
    parser.add_argument("--list", action="store_true", help="show the workloads and end")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="a tmpfs (default: /dev/shm)")
    parser.add_argument("--json", type=Path, default=None, help="where the results go (default: bench/results/DATE.json)")
    options = parser.parse_args(arguments)
    if options.list:
        for workload in workloads.values():
            say(f"{workload.name:20} {workload.title}")
        return 0
    signal.signal(signal.SIGTERM, lambda caught, frame: sys.exit(128 + caught))
    _own_network()
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its byte code
    divisor = max(1, round(1 / options.scale))
    folder = Path(tempfile.mkdtemp(prefix="prsync-bench-", dir=options.folder))
    folder.chmod(0o755)
    results: list[tuple[Workload, list[Figures]]] = []
    bench = Bench(folder, divisor, options.rounds, say)
    try:
        for name in options.only or workloads:
            try:
                say(f"\n{name}")
                figures = bench.run(workloads[name], options.pair or [])
            except RunFailed as failure:
                bench.failures.append(str(failure))
                say(f"\n{name}: FAILED: {failure}")
                continue
            results.append((workloads[name], figures))
            for line in table(workloads[name], figures):
                say(line)
    finally:
        remove_folder(folder)
    path = options.json or Path(__file__).parent / "results" / time.strftime("%Y-%m-%dT%H-%M-%S.json")
    write_json(path, results, options.rounds, divisor)
    below = [text for workload, figures in results for text in shortfalls(workload, figures)]
    say("")
    for text in below:
        say(f"not reached: {text}")
    say(f"results: {path}")
    return 1 if bench.failures else 0


def _own_network() -> None:
    """A loopback that nobody else uses, so that its byte counter is ours."""
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


sys.exit(main())
