"""Recorded sessions, mutated and played to the client and to the daemon. `python -m tests.mutation -h` runs it for longer."""

import pathlib
import sys

# The harnesses of the session tests.
sys.path.append(str(pathlib.Path(__file__).parents[1] / "session"))
