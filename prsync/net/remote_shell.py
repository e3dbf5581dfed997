"""Remote shells: the command that starts a server at the other end, and that command as a process (main.c:do_cmd, pipe.c)."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prsync.errors import ExitCode, PrsyncError, UsageError
from prsync.net.streams import PipeStream
from prsync.options.model import as_bytes

DEFAULT_PROGRAM = "rsync"
BLOCKING_SHELLS = ("rsh", "remsh")
DAEMON_ARGUMENTS = ("--server", "--daemon", ".")
AFTER_CLOSE_SECONDS = 2.0  # for a shell that has closed its end, until its exit code is known


class Destination(NamedTuple):
    """Where the shell is to go. `is_daemon`: a daemon for this connection is started there."""

    host: str
    user: str | None = None
    family: int = 0  # 4, 6; 0: either
    is_daemon: bool = False


def split_command(text: str) -> list[str]:
    """The words of -e or RSYNC_RSH: spaces separate, quotes of both kinds keep together, a doubled quote within them is one."""
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if not quote and letter == " ":
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        word = [] if word is None else word
        if not quote and letter in "'\"":
            quote = letter
        elif letter == quote and text[at : at + 1] != quote:
            quote = ""
        else:
            at += letter == quote  # both of a doubled quote are read
            word.append(letter)
    if quote:
        raise UsageError(f"Missing trailing-{quote} in remote-shell command.")
    if word is not None:
        words.append("".join(word))
    return words


def command_line(shell: str, to: Destination, program: str | None, arguments: Sequence[str]) -> list[str]:
    """The words to run. `program`: --rsync-path. `arguments`: what follows it (DAEMON_ARGUMENTS for a daemon).

    Raises UsageError."""
    words = split_command(shell)
    if not words or not words[0]:
        raise UsageError("prsync: the remote shell's command is empty; see -e and RSYNC_RSH")
    names_user = any(word == "-l" and not following.startswith("-") for word, following in zip(words, words[1:], strict=False))
    family = [f"-{to.family}"] if to.family and _base_name(words[0]) == "ssh" else []
    if to.user is not None and not (to.is_daemon and names_user):
        words += ["-l", to.user]
    return [*words, *family, to.host, DEFAULT_PROGRAM if program is None else program, *arguments]


def shell_environment(environment: Mapping[str, str], port: int | None) -> dict[str, str]:
    """What the shell finds. `port`: of the daemon that it starts. Without SSH_ASKPASS, ssh is to ask on the terminal only."""
    found = dict(environment)
    if "SSH_ASKPASS" not in found:
        found.pop("DISPLAY", None)
    return found if port is None else found | {"RSYNC_PORT": str(port)}


def _base_name(word: str) -> str:
    return word.rpartition("/")[2]


def takes_blocking_output(command: Sequence[str], blocking_io: int) -> bool:
    """Whether the shell's standard output blocks. `blocking_io`: --[no-]blocking-io, -1 where neither is given."""
    return _base_name(command[0]) in BLOCKING_SHELLS if blocking_io < 0 else bool(blocking_io)


class RemoteShell:
    """A started shell. It is waited for once, by `wait` or `final_code`."""

    def __init__(self, process: int, stream: PipeStream) -> None:
        self.stream = stream
        self._process: int | None = process
        self._handle = os.pidfd_open(process)

    def wait(self) -> int:
        """After a transfer: the run's exit code as far as the shell decides it (main.c:wait_process_with_flush)."""
        status = self._reap()
        if status is None:
            return ExitCode.WAIT_CHILD
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        return ExitCode.CRASHED if os.WCOREDUMP(status) else ExitCode.TERMINATED

    def final_code(self, code: int) -> int:
        """The exit code of a run that ended early with `code`: a higher one of the shell's says why (cleanup.c)."""
        poller = select.poll()
        poller.register(self._handle, select.POLLIN)
        if self._process is None or not poller.poll(AFTER_CLOSE_SECONDS * 1000):
            return code
        status = self._reap()
        return max(code, os.WEXITSTATUS(status)) if status is not None and os.WIFEXITED(status) else code

    def close(self) -> None:
        """Closes the stream. A shell that was not waited for is ended, as rsync ends it."""
        self.stream.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGUSR1)
        os.close(self._handle)

    def _reap(self) -> int | None:
        if self._process is None:
            return None
        process, self._process = self._process, None
        with contextlib.suppress(ChildProcessError):
            return os.waitpid(process, 0)[1]
        return None


def start(command: Sequence[str], environment: Mapping[str, str], blocking_output: bool = False) -> RemoteShell:
    """Runs the command between two pipes; its standard error is ours. Raises PrsyncError (exit 14)."""
    try:
        to_shell, from_shell = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        raise PrsyncError(f"rsync: pipe: {error.strerror} ({error.errno})", ExitCode.IPC) from None
    os.set_blocking(from_shell[1], blocking_output)
    words = [as_bytes(word) for word in command]
    actions = [(os.POSIX_SPAWN_DUP2, to_shell[0], 0), (os.POSIX_SPAWN_DUP2, from_shell[1], 1)]
    try:
        # Python ignores these two signals for itself; a command expects them as usual.
        process = os.posix_spawnp(words[0], words, environment, file_actions=actions, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except (OSError, ValueError) as error:
        for descriptor in (to_shell[1], from_shell[0]):
            os.close(descriptor)
        why = f"{error.strerror} ({error.errno})" if isinstance(error, OSError) else "a NUL byte in an argument"
        raise PrsyncError(f"rsync: Failed to exec {command[0]}: {why}", ExitCode.IPC) from None
    finally:
        os.close(to_shell[0])
        os.close(from_shell[1])
    return RemoteShell(process, PipeStream(from_shell[0], to_shell[1]))
