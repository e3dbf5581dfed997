"""The 100,000 small files by swarm, from three local mirrors."""

from bench.workload import Workload
from bench.workloads.small_files import PULL as CLASSIC

PULL = Workload(
    "swarm-small-files",
    "100,000 files of 1 to 20 KiB by swarm from three mirrors",
    1.0,
    make_source=CLASSIC.make_source,
    touched=CLASSIC.touched,
    mirrors=3,
)
WORKLOADS = (PULL,)
