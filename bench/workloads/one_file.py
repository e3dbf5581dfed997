"""One small file from a daemon: what a session costs."""

from bench.trees import write_random
from bench.workload import Workload

PULL = Workload(
    "one-file",
    "one file of 5,000 bytes pulled",
    1.0,
    make_source=lambda source, divisor: write_random(source / "small", 5000, 5),
    touched=0,
    repeats=4,
)
WORKLOADS = (PULL,)
