"""-z: 512 MiB of words, which compress to about a third."""

import os
import random
from pathlib import Path

from bench.trees import MTIME
from bench.workload import GIB, MIB, Workload, pushed

VOCABULARY = 4000
PART = 8 * MIB  # more than any compressor's window


def _make(source: Path, divisor: int) -> None:
    dice = random.Random(7)
    words = [dice.randbytes(dice.randint(2, 9)).hex()[: dice.randint(2, 9)].encode() for _ in range(VOCABULARY)]
    chosen = [min(int(dice.paretovariate(0.7)), VOCABULARY) - 1 for _ in range(PART // 6)]
    part = b" ".join(words[number] for number in chosen)
    left = GIB // 2 // divisor
    with open(source / "words", "wb") as file:
        while left > 0:
            left -= file.write(part[:left])
    os.utime(source / "words", (MTIME, MTIME))


PULL = Workload("compressed", "512 MiB of words, -z", 1.0, make_source=_make, arguments=("-az",), touched=3 * GIB // 4)
WORKLOADS = (PULL, pushed(PULL, 0.75))
