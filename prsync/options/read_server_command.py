"""The command line of a server that a remote shell starts: `prsync --server [--sender] -LETTERS... . PATH...`."""

from __future__ import annotations

from collections.abc import Sequence

from prsync.options.model import ForDaemon, Options
from prsync.options.read import Reader


class _CommandReader(Reader):
    """Of a command line, where a session's reader has a client's words: here a daemon's option is nobody's attack."""

    def do_daemon(self, _value: str = "") -> None:
        raise ForDaemon


def parse_server_command(words: Sequence[str], secluded: Sequence[str] = ()) -> Options:
    """`arguments` of the result begin with the ".". Raises UsageError, UnsupportedError, and ForDaemon.

    With protect_args in the result, the client sends a second batch; all is read again with it as `secluded`."""
    return _CommandReader({}, server=True).parse_server([*words, *secluded])
