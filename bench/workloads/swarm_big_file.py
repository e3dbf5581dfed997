"""The 2 GiB file by swarm, from three local mirrors."""

from bench.workload import Workload
from bench.workloads.big_file import PULL as CLASSIC

PULL = Workload(
    "swarm-big-file",
    "2 GiB file by swarm from three mirrors",
    1.0,
    make_source=CLASSIC.make_source,
    touched=CLASSIC.touched,
    mirrors=3,
)
WORKLOADS = (PULL,)
