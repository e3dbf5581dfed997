"""A 1 GiB file with 1 MiB inserted near its front."""

import os
from pathlib import Path

from bench.trees import BLOCK, MTIME, write_random
from bench.workload import GIB, MIB, Workload, pushed

AT, LENGTH = 3 * MIB + 17, MIB


def _make_new(source: Path, basis: Path, divisor: int) -> None:
    """The folder that is sent holds the longer file; the basis is what it was before."""
    with open(source / "image", "rb") as new, open(basis / "image", "wb") as old:
        old.write(new.read(AT))
        new.seek(LENGTH, os.SEEK_CUR)
        while block := new.read(BLOCK):
            old.write(block)
    os.utime(basis / "image", (MTIME - 1000, MTIME - 1000))


PULL = Workload(
    "insert",
    "1 GiB file with 1 MiB inserted near its front",
    0.80,
    make_source=lambda source, divisor: write_random(source / "image", max(GIB // divisor, 8 * MIB), 6),
    make_basis=_make_new,
    touched=3 * GIB // 2,
)
WORKLOADS = (PULL, pushed(PULL, 0.80))
