"""Recorded sessions, played mutated to the client, the daemon and the server. `python -m tests.mutation -h`: for longer."""

import pathlib
import sys

# The helpers of all tests, and of the session tests.
TESTS = pathlib.Path(__file__).parents[1]
sys.path += [str(TESTS), str(TESTS / "session" / "daemon")]
