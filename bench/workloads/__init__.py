"""The workloads, one a file; each has a `WORKLOAD`."""
