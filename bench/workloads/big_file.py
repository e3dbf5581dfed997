"""One file of 2 GiB, pulled into an empty folder."""

from bench.trees import write_random
from bench.workload import GIB, Workload

WORKLOAD = Workload(
    "big-file",
    "2 GiB file pulled",
    0.75,
    make_source=lambda source, divisor: write_random(source / "big", 2 * GIB // divisor, 1),
    touched=5 * GIB // 2,
)
