"""The 2 GiB file by swarm, from three local mirrors."""

from bench.workload import Workload
from bench.workloads.big_file import WORKLOAD as CLASSIC

WORKLOAD = Workload(
    "swarm-big-file",
    "2 GiB file by swarm from three mirrors",
    1.0,
    make_source=CLASSIC.make_source,
    touched=CLASSIC.touched,
    mirrors=3,
)
