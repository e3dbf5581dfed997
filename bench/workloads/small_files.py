"""100,000 files of 1 to 20 KiB in 2,000 folders, into an empty folder."""

from bench.trees import write_small_files
from bench.workload import GIB, Workload, copied, pushed

PULL = Workload(
    "small-files",
    "100,000 files of 1 to 20 KiB in 2,000 folders",
    0.65,
    make_source=lambda source, divisor: write_small_files(source, 100_000 // divisor, 2000 // divisor, 1024, 20480),
    touched=3 * GIB // 2,
)
WORKLOADS = (PULL, pushed(PULL, 0.55), copied(PULL, 0.55))
