"""Recorded sessions, mutated and played to the client and to the daemon. `python -m tests.mutation -h` runs it for longer."""

import pathlib
import sys

# The helpers of all tests, and of the session tests.
TESTS = pathlib.Path(__file__).parents[1]
sys.path += [str(TESTS), str(TESTS / "session" / "daemon")]
