"""One file of 2 GiB, into an empty folder."""

from bench.trees import write_random
from bench.workload import GIB, Workload, copied, pushed

PULL = Workload(
    "big-file",
    "2 GiB file",
    0.75,
    make_source=lambda source, divisor: write_random(source / "big", 2 * GIB // divisor, 1),
    touched=5 * GIB // 2,
)
WORKLOADS = (PULL, pushed(PULL, 0.60), copied(PULL, 0.60))
