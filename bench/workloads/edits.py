"""A 1 GiB file with 200 edits all over it: replaced, inserted and removed bytes."""

import os
import random
from pathlib import Path

from bench.trees import MTIME, write_random
from bench.workload import GIB, Workload, pushed

EDITS = 200


def _make_old(source: Path, basis: Path, divisor: int) -> None:
    dice = random.Random(4)
    size = os.path.getsize(source / "image")
    places = sorted(dice.randrange(size) for _ in range(EDITS))
    with open(source / "image", "rb") as new, open(basis / "image", "wb") as old:
        for kind, place in enumerate([*places, size]):
            while (left := place - new.tell()) > 0:
                old.write(new.read(min(left, 1 << 22)))
            length = dice.randint(1, 300)
            if kind % 3 != 1:
                old.write(dice.randbytes(length))
            if kind % 3 != 2:
                new.seek(length, os.SEEK_CUR)
    os.utime(basis / "image", (MTIME - 1000, MTIME - 1000))


PULL = Workload(
    "edits",
    "1 GiB file with 200 scattered edits",
    0.80,
    make_source=lambda source, divisor: write_random(source / "image", GIB // divisor, 3),
    make_basis=_make_old,
    touched=3 * GIB // 2,
)
WORKLOADS = (PULL, pushed(PULL, 0.80))
