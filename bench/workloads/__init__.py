"""The workloads, a file for each tree; `WORKLOADS` is what is done with it."""
