"""-c over 1 GiB in 2,000 files, nothing changed."""

import subprocess
from pathlib import Path

from bench.trees import write_random
from bench.workload import GIB, Workload

FILES = 2000


def _make(source: Path, divisor: int) -> None:
    for number in range(FILES):
        write_random(source / f"file-{number:04}", GIB // divisor // FILES, number)


def _copy(source: Path, basis: Path, divisor: int) -> None:
    subprocess.run(["cp", "-a", "--", f"{source}/.", str(basis)], check=True)


PULL = Workload(
    "checksum",
    "-c over 1 GiB in 2,000 files, nothing changed",
    0.70,
    make_source=_make,
    make_basis=_copy,
    keep_destination=True,
    arguments=("-ac",),
)
WORKLOADS = (PULL,)
