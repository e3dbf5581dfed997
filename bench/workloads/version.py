"""--version: what starting costs."""

from bench.workload import Workload

WORKLOADS = (Workload("version", "--version", 0.040, arguments=("--version",), touched=0, absolute=True, repeats=4),)
