"""A hundred stock clients that list 100,000 files at once: the daemon's time and memory."""

from bench.trees import write_small_files
from bench.workload import Workload

WORKLOADS = (
    Workload(
        "crowd",
        "100 stock clients list 100,000 files at once",
        1.0,
        make_source=lambda source, divisor: write_small_files(source, 100_000 // divisor, 2000 // divisor, 1, 20480, sparse=True),
        arguments=("-r", "--list-only"),
        touched=0,
        clients=100,
    ),
)
