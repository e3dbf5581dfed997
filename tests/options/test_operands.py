"""Source and destination arguments: what they name, and what is refused, as rsync does."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import subprocess

import pytest

from prsync.errors import PrsyncError
from prsync.options.model import parse_arguments
from prsync.options.operands import Target, Way, host_and_path, transfer_target

RSYNC = shutil.which("rsync")


def target_of(line: str) -> Target:
    """ "" stands for an empty argument."""
    return transfer_target(parse_arguments(["" if word == '""' else word for word in line.split()], {}))


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("rsync://h/m/p", ("h", "m/p", -1)), ("rsync://u@h:99/m", ("u@h", "m", 99)), ("rsync://[::1]:8/m", ("::1", "m", 8)),
        ("RSYNC://h", ("h", "", -1)), ("h::m/p", ("h", "m/p", -1)), ("u@h::m", ("u@h", "m", -1)),
        ("[fe80::1]::m", ("fe80::1", "m", -1)),
        ("::m", ("", "m", -1)), ("h:p", ("h", "p", 0)), (":p", ("", "p", 0)), ("p", None), ("./a:b", None), ("a/b::c", None),
    ],
)  # fmt: skip
def test_host_and_path_are_told_apart(text: str, spec: tuple[str, str, int] | None) -> None:
    assert host_and_path(text) == spec


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("h::m", (None, "h", 873, ("m",), None, Way.DAEMON, False)),
        ("--port=99 me@h::m/a ::n/b d", ("me", "h", 99, ("m/a", "n/b"), "d", Way.DAEMON, False)),
        ("rsync://h:8/m ::n d", (None, "h", 8, ("m", "n"), "d", Way.DAEMON, False)),
        ("--port=99 rsync://h:/m d", (None, "h", 873, ("m",), "d", Way.DAEMON, False)),
        ("--port=99 rsync://h/m d", (None, "h", 99, ("m",), "d", Way.DAEMON, False)),
        ("--list-only h::m ::n", (None, "h", 873, ("m", "n"), None, Way.DAEMON, False)),
        ("a b h::m", (None, "h", 873, ("a", "b"), "m", Way.DAEMON, True)),
        ("a rsync://u@[::1]:8/m/p", ("u", "::1", 8, ("a",), "m/p", Way.DAEMON, True)),
        ("h:p d", (None, "h", 0, ("p",), "d", Way.SHELL, False)),
        ("--port=99 u@x@h: :q d", ("u@x", "h", 0, (".", "q"), "d", Way.SHELL, False)),
        ("h:/p", (None, "h", 0, ("/p",), None, Way.SHELL, False)),
        ("a u@h:", ("u", "h", 0, ("a",), ".", Way.SHELL, True)),
        ("a h:~/p", (None, "h", 0, ("a",), "~/p", Way.SHELL, True)),
        ("-e ssh h::m d", (None, "h", 0, ("m",), "d", Way.SHELL_DAEMON, False)),
        ("-e ssh a rsync://h:8/m", (None, "h", 8, ("a",), "m", Way.SHELL_DAEMON, True)),
        ("-e ssh --port=7 a h::m", (None, "h", 7, ("a",), "m", Way.SHELL_DAEMON, True)),
        ("a b", (None, "", 0, ("a",), "b", Way.LOCAL, True)),
        ("a b c", (None, "", 0, ("a", "b"), "c", Way.LOCAL, True)),
        ("a ./b:c", (None, "", 0, ("a",), "./b:c", Way.LOCAL, True)),
        ("a", (None, "", 0, ("a",), None, Way.LOCAL, True)),
        ('--old-args a ""', (None, "", 0, ("a",), ".", Way.LOCAL, True)),
        ("--files-from=h:l a h:b", (None, "h", 0, ("a",), "b", Way.SHELL, True)),
    ],
)  # fmt: skip
def test_arguments_name_a_target(line: str, target: tuple[object, ...]) -> None:
    assert target_of(line) == target


@pytest.mark.parametrize("line", ["a h::m", "a b", "a", "a h:b", "h::m d", "h:p"])
def test_side_that_sends_is_known_from_the_options(line: str) -> None:
    assert parse_arguments(line.split(), {}).am_sender == target_of(line).push


REFUSED = [
    ("h::m k::m", 1, "The source and destination cannot both be remote."),
    ("h::m k::m d", 1, "All source args must come from the same machine."),
    ("h::m b d", 1, "Unexpected local arg: b"),
    ("h::m :b d", 1, "All source args must use the same hostspec format."),
    ("h:m ::b d", 1, "All source args must use the same hostspec format."),
    ("rsync://h:1/m rsync://h:2/m d", 1, "All source args must use the same port number."),
    ("h::m rsync://h:873/m d", 1, "All source args must use the same port number."),
    ("h::/m d", 5, "ERROR: The remote path must start with a module name"),
    ("-e ssh h::/m", 5, "ERROR: The remote path must start with a module name"),
    ("a h::/m", 5, "ERROR: The remote path must start with a module name"),
    ("a h:b d", 1, "Unexpected remote arg: h:b"),
    ("a h:b h:d", 1, "Unexpected remote arg: h:b"),
    ('"" d', 1, "Empty source arg specified."),
    ('a "" h:d', 1, "Empty source arg specified."),
    ("h:p k:p :q d", 1, "All source args must come from the same machine."),
    ('a ""', 1, "Empty destination arg specified"),
    ("--files-from=:l a b", 1, "--files-from cannot be remote when the transfer is local"),
    ("--files-from=k:l a h:b", 1, "--files-from hostname is not the same as the transfer hostname"),
    ("--files-from=k:l h:b a", 1, "--files-from hostname is not the same as the transfer hostname"),
    ("--password-file=x a h:b", 1, "The --password-file option may only be used when accessing an rsync daemon."),
    ("--contimeout=4 a b", 1, "The --contimeout option may only be used when connecting to an rsync daemon."),
    ("-e ssh --contimeout=4 a h::b", 1, "The --contimeout option may only be used when connecting to an rsync daemon."),
    ("a u@-h:b", 1, "Invalid remote host: hostnames may not start with '-'."),
]


@pytest.mark.parametrize(("line", "code", "text"), REFUSED, ids=[line for line, _, _ in REFUSED])
def test_wrong_combination_is_refused(line: str, code: int, text: str) -> None:
    with pytest.raises(PrsyncError) as caught:
        target_of(line)
    assert caught.value.code == code and caught.value.text.startswith(text) and "\n" not in caught.value.text


def test_empty_destination_of_a_pull_is_refused_before_it_connects() -> None:
    with pytest.raises(PrsyncError, match="Empty destination arg specified"):
        target_of('h::m ""')
    assert target_of('--old-args h::m ""').destination == "."


@pytest.mark.parametrize("line", ["h::m ::n", "h:p :q"])
def test_remote_arguments_alone_are_refused(line: str) -> None:
    with pytest.raises(PrsyncError, match="No destination") as caught:
        target_of(line)
    assert caught.value.code == 1


def test_no_argument_at_all_is_refused() -> None:
    with pytest.raises(PrsyncError, match="no source given"):
        target_of("-a")


WORDS = (
    "a", "b/", "h:p", "h:", ":q", "h::m", "h::/m", "::n", "u@h::m", "k::m", "k:p", "rsync://h/m", "rsync://h:8/m", "rsync://h:/m",
    "rsync://h:8x/m", "[::1]:p", "[::1]::m", "[::1", '""', "./x:y", "@h:p", "u@-h:p", "::",
)  # fmt: skip


@pytest.mark.skipif(RSYNC is None, reason="needs the real rsync")
def test_arguments_are_refused_where_this_rsync_refuses_them(tmp_path: pathlib.Path) -> None:
    assert RSYNC
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "$@" > ran\n')
    shell.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "RSYNC_RSH": str(shell), "RSYNC_CONNECT_PROG": "echo > connected"}
    chance = random.Random(9)
    texts = tuple(text[:18] for _, _, text in REFUSED)
    for _ in range(150):
        words = [chance.choice(WORDS) for _ in range(chance.choice((1, 2, 2, 3, 3, 4)))]
        if words[-1] == '""' and host_and_path(words[0]):
            words[-1] = "d"  # stock rsync notices an empty destination of a pull when it has the file list
        if len(words) > 1 and words[-1].startswith(":") and host_and_path(words[0]):
            words.append("--list-only")  # else stock rsync takes the last remote path for a local one
        options = [chance.choice(("-n", "-n", f"-e{shell}", "--port=8"))]
        line = " ".join([*options, *words])
        command = [RSYNC, *options, *("" if word == '""' else word for word in words)]
        ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        line_of_theirs = ran.stderr.partition("\n")[0]
        theirs = line_of_theirs if line_of_theirs.startswith(texts) else None
        used = {name for name in ("ran", "connected") if (tmp_path / name).exists()}
        for name in used:
            (tmp_path / name).unlink()
        try:
            target = target_of(line)
        except PrsyncError as error:
            assert theirs and error.text.startswith(theirs[:45]) and error.code == ran.returncode, (line, ran.stderr, error.text)
            continue
        assert theirs is None, (line, ran.stderr)
        expected = {Way.LOCAL: set(), Way.DAEMON: {"connected"}}.get(target.way, {"ran"})
        assert used == expected, (line, ran.stderr)
