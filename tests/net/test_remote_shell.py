"""Remote shells: the command that is run is rsync's, and its end decides the exit code as rsync says."""

from __future__ import annotations

import json
import os
import pathlib
import random
import select
import shutil
import signal
import subprocess

import pytest

from prsync.errors import ExitCode, PrsyncError, UsageError
from prsync.net.remote_shell import (
    DAEMON_ARGUMENTS,
    Destination,
    command_line,
    shell_environment,
    split_command,
    start,
    takes_blocking_output,
)
from prsync.options.model import parse_arguments
from prsync.options.operands import Way, transfer_target

RSYNC = shutil.which("rsync")
VECTORS = json.loads(
    (pathlib.Path(__file__).parents[2] / "protocol-spec" / "vectors" / "classic" / "arguments-shell.json").read_text()
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ssh", ["ssh"]), ("  ssh  -p 22 ", ["ssh", "-p", "22"]), ("", []), ("   ", []), ("ssh ''", ["ssh", ""]),
        ("ssh -o 'A B'", ["ssh", "-o", "A B"]), ('ssh -o "A \'B\'"', ["ssh", "-o", "A 'B'"]), ("a'b c'd", ["ab cd"]),
        ("'it''s'", ["it's"]), ("''''", ["'"]), ("'a'\"b\"", ["ab"]), ("a\\ b", ["a\\", "b"]), ("a\tb", ["a\tb"]),
    ],
)  # fmt: skip
def test_shell_text_is_split_into_words(text: str, words: list[str]) -> None:
    assert split_command(text) == words


@pytest.mark.parametrize("text", ["ssh 'a", 'x"', "'''"])
def test_open_quote_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="Missing trailing-"):
        split_command(text)


@pytest.mark.skipif(RSYNC is None, reason="needs the real rsync")
def test_random_shell_texts_are_split_as_this_rsync_splits_them(tmp_path: pathlib.Path) -> None:
    assert RSYNC
    words = tmp_path / "words"
    shell = tmp_path / "shell"
    shell.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" > {words}\n")
    shell.chmod(0o755)
    chance = random.Random(3)
    for _ in range(60):
        text = f"{shell} " + "".join(chance.choice("ab'\"  -\\") for _ in range(chance.randint(0, 8)))
        words.unlink(missing_ok=True)
        ran = subprocess.run([RSYNC, "-e", text, "h:x"], capture_output=True, text=True, check=False, timeout=10)
        if not words.exists():
            assert ran.returncode == 1
            with pytest.raises(UsageError):
                split_command(text)
            continue
        theirs = words.read_bytes().decode().split("\0")
        assert split_command(text)[1:] == theirs[: theirs.index("h")], text


@pytest.mark.parametrize(
    ("shell", "to", "program", "words"),
    [
        ("ssh", Destination("h"), None, ["ssh", "h", "rsync", "X"]),
        ("ssh -p 22", Destination("h", "u"), None, ["ssh", "-p", "22", "-l", "u", "h", "rsync", "X"]),
        ("/bin/ssh", Destination("h", "u", 4), None, ["/bin/ssh", "-l", "u", "-4", "h", "rsync", "X"]),
        ("ssh", Destination("::1", None, 6), None, ["ssh", "-6", "::1", "rsync", "X"]),
        ("rsh", Destination("h", None, 6), None, ["rsh", "h", "rsync", "X"]),
        ("ssh -l me", Destination("h", "u"), None, ["ssh", "-l", "me", "-l", "u", "h", "rsync", "X"]),
        ("ssh -l me", Destination("h", "u", is_daemon=True), None, ["ssh", "-l", "me", "h", "rsync", "X"]),
        ("ssh -l -v", Destination("h", "u", is_daemon=True), None, ["ssh", "-l", "-v", "-l", "u", "h", "rsync", "X"]),
        ("ssh", Destination("h", ""), "sudo rsync", ["ssh", "-l", "", "h", "sudo rsync", "X"]),
    ],
)
def test_command_has_user_family_host_and_program(shell: str, to: Destination, program: str | None, words: list[str]) -> None:
    assert command_line(shell, to, program, ["X"]) == words


@pytest.mark.parametrize(
    ("given", "port", "found"),
    [
        ({"A": "1", "DISPLAY": ":0"}, None, {"A": "1"}),
        ({"SSH_ASKPASS": "", "DISPLAY": ":0"}, None, {"SSH_ASKPASS": "", "DISPLAY": ":0"}),
        ({"RSYNC_PORT": "7"}, None, {"RSYNC_PORT": "7"}),
        ({"RSYNC_PORT": "7"}, 0, {"RSYNC_PORT": "0"}),
    ],
)
def test_environment_of_the_shell(given: dict[str, str], port: int | None, found: dict[str, str]) -> None:
    assert shell_environment(given, port) == found


@pytest.mark.parametrize("shell", ["", "  ", "''"])
def test_empty_shell_is_refused(shell: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        command_line(shell, Destination("h"), None, [])


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS if not any(word.startswith(("--protocol=2", "-")) for word in v["command"][1:-2])],
    ids=lambda v: " ".join(v["command"]),
)
def test_recorded_command_lines_are_made(vector: dict[str, list[str]]) -> None:
    words = vector["arguments"]
    arguments = words[words.index("--server") :]
    try:
        options = parse_arguments(vector["command"], {})
    except PrsyncError:
        pytest.skip("not supported yet")
    target = transfer_target(options)
    to = Destination(target.host, target.user, options.address_family)
    assert command_line("shell", to, options.rsync_path, arguments) == ["shell", *words]


@pytest.mark.skipif(RSYNC is None, reason="needs the real rsync")
@pytest.mark.parametrize(("words", "port"), [(["u@h::m"], "0"), (["rsync://h:8/m"], "8"), (["--port=9", "h::m"], "9")])
def test_daemon_over_a_shell_is_started_as_this_rsync_starts_it(words: list[str], port: str, tmp_path: pathlib.Path) -> None:
    assert RSYNC
    shell = tmp_path / "shell"
    shell.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" $RSYNC_PORT > {tmp_path}/words\n")
    shell.chmod(0o755)
    command = ["-e", str(shell), *words]
    subprocess.run([RSYNC, *command], capture_output=True, check=False, timeout=10)
    target = transfer_target(parse_arguments(command, {}))
    to = Destination(target.host, target.user, is_daemon=target.way is Way.SHELL_DAEMON)
    ours = [*command_line(str(shell), to, None, DAEMON_ARGUMENTS)[1:], str(target.port)]
    assert ours == (tmp_path / "words").read_text().splitlines() and ours[-1] == port


@pytest.mark.parametrize(
    ("command", "blocking_io", "blocks"),
    [("ssh", -1, False), ("/usr/bin/rsh", -1, True), ("remsh", -1, True), ("rsh", 0, False), ("ssh", 1, True)],
)
def test_output_of_some_shells_blocks(command: str, blocking_io: int, blocks: bool) -> None:
    assert takes_blocking_output([command], blocking_io) is blocks


def read_all(descriptor: int) -> bytes:
    data = b""
    while select.select([descriptor], [], [], 10)[0] and (more := os.read(descriptor, 4096)):
        data += more
    return data


def test_started_shell_speaks_over_its_pipes() -> None:
    shell = start(["sh", "-c", "read line; echo got $line $NAME; exit 3"], {"NAME": "n", "PATH": os.environ["PATH"]}, True)
    assert shell.stream.write(memoryview(b"it\n")) == 3
    assert read_all(shell.stream.reader) == b"got it n\n"
    assert shell.wait() == 3
    shell.close()


def test_started_shell_has_no_other_descriptor_and_usual_signals() -> None:
    shell = start(["sh", "-c", "grep SigIgn /proc/self/status; ls /proc/self/fd"], {"PATH": os.environ["PATH"]}, True)
    ignored, *descriptors = read_all(shell.stream.reader).decode().splitlines()
    assert shell.wait() == 0
    assert int(ignored.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0
    ours = {str(fd) for fd in (shell.stream.reader, shell.stream.writer)}
    shell.close()
    inherited = {
        name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}") and os.get_inheritable(int(name))
    }
    assert ours.isdisjoint(set(descriptors) - {"3"}) and set(descriptors) <= inherited | {"0", "1", "2", "3"}


@pytest.mark.parametrize("blocking", [False, True])
def test_output_blocks_where_it_is_to(blocking: bool) -> None:
    shell = start(["sh", "-c", "grep flags /proc/self/fdinfo/1"], {"PATH": os.environ["PATH"]}, blocking)
    flags = int(read_all(shell.stream.reader).split()[1], 8)
    assert shell.wait() == 0 and (flags & os.O_NONBLOCK == 0) is blocking
    shell.close()


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 127", 127), ("exit 255", 255), ("kill -9 $$", ExitCode.TERMINATED)]
)
def test_end_of_the_shell_is_the_exit_code(script: str, code: int) -> None:
    shell = start(["sh", "-c", script], {})
    assert shell.wait() == code
    shell.close()


@pytest.mark.parametrize(
    ("script", "code"), [("exit 127", 127), ("exit 126", 126), ("exit 3", 12), ("exit 255", 255), ("kill -9 $$", 12)]
)
def test_early_end_takes_the_higher_code(script: str, code: int) -> None:
    shell = start(["/bin/sh", "-c", script], {})
    assert read_all(shell.stream.reader) == b"" and shell.final_code(ExitCode.STREAM_IO) == code
    shell.close()


def test_shell_that_was_not_waited_for_is_ended() -> None:
    shell = start(["sh", "-c", "exec sleep 60"], {"PATH": os.environ["PATH"]})
    process = shell._process
    assert process
    shell.close()
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGUSR1


@pytest.mark.parametrize(("command", "why"), [("/nowhere/ssh", "No such file"), ("/", "Permission denied"), ("a\0b", "NUL")])
def test_command_that_cannot_be_run_is_an_error(command: str, why: str) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(PrsyncError, match=f"Failed to exec .*{why}") as caught:
        start([command], {})
    assert caught.value.code == ExitCode.IPC and os.listdir("/proc/self/fd") == before
