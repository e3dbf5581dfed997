"""What a client's session takes from the environment, and the transfers that are refused before it starts."""

from __future__ import annotations

import pytest

from prsync.commands.client_environment import pull_from_daemon, route_of
from prsync.errors import UnsupportedError
from prsync.options.model import parse_arguments


@pytest.mark.parametrize(
    ("line", "variable", "shell"),
    [("h:a", None, "ssh"), ("h:a", "rsh -x", "rsh -x"), ("-e mine h:a", "rsh", "mine"), ("h:a", "", "")],
)
def test_remote_shell_is_the_options_then_the_environments(
    line: str, variable: str | None, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RSYNC_RSH", raising=False)
    if variable is not None:
        monkeypatch.setenv("RSYNC_RSH", variable)
    assert route_of(parse_arguments(line.split(), {})).shell == shell


@pytest.mark.parametrize("line", ["a b", "a", "a h:b", "h:b a", "-e ssh h::b a", "a h::m"])
def test_mirror_of_what_is_no_daemons_module_is_refused(line: str) -> None:
    with pytest.raises(UnsupportedError, match="a mirror pulls from a daemon"):
        pull_from_daemon(parse_arguments(line.split(), {}))
