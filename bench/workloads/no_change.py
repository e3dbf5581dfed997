"""200,000 files that are all there already."""

import subprocess
from pathlib import Path

from bench.trees import write_small_files
from bench.workload import Workload, copied, pushed


def _copy(source: Path, basis: Path, divisor: int) -> None:
    subprocess.run(["cp", "-a", "--sparse=always", "--", f"{source}/.", str(basis)], check=True)


PULL = Workload(
    "no-change",
    "200,000 files, nothing changed",
    0.60,
    make_source=lambda source, divisor: write_small_files(source, 200_000 // divisor, 4000 // divisor, 1, 4000, sparse=True),
    make_basis=_copy,
    keep_destination=True,
)
WORKLOADS = (PULL, pushed(PULL, 0.50), copied(PULL, 0.50))
