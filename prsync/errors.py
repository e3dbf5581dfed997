"""The one error tree. Every error carries the exit code that rsync's errcode.h gives its kind."""

from __future__ import annotations

from enum import IntEnum

from prsync.version import __version__


class ExitCode(IntEnum):
    """Exit codes, as in rsync's errcode.h: mirror scripts rely on them."""

    OK = 0
    SYNTAX = 1
    PROTOCOL = 2
    FILE_SELECT = 3
    UNSUPPORTED = 4
    START_CLIENT = 5
    SOCKET_IO = 10
    FILE_IO = 11
    STREAM_IO = 12
    MESSAGE_IO = 13
    IPC = 14
    CRASHED = 15
    TERMINATED = 16
    SIGNAL1 = 19
    SIGNAL = 20
    WAIT_CHILD = 21
    MEMORY = 22
    PARTIAL = 23
    VANISHED = 24
    DELETE_LIMIT = 25
    TIMEOUT = 30
    CONNECT_TIMEOUT = 35
    SHELL_FAILED = 124
    SHELL_KILLED = 125
    COMMAND_NOT_RUN = 126
    COMMAND_NOT_FOUND = 127


EXIT_NAMES: dict[int, str] = {
    ExitCode.SYNTAX: "syntax or usage error",
    ExitCode.PROTOCOL: "protocol incompatibility",
    ExitCode.FILE_SELECT: "errors selecting input/output files, dirs",
    ExitCode.UNSUPPORTED: "requested action not supported",
    ExitCode.START_CLIENT: "error starting client-server protocol",
    ExitCode.SOCKET_IO: "error in socket IO",
    ExitCode.FILE_IO: "error in file IO",
    ExitCode.STREAM_IO: "error in rsync protocol data stream",
    ExitCode.MESSAGE_IO: "errors with program diagnostics",
    ExitCode.IPC: "error in IPC code",
    ExitCode.CRASHED: "sibling process crashed",
    ExitCode.TERMINATED: "sibling process terminated abnormally",
    ExitCode.SIGNAL1: "received SIGUSR1",
    ExitCode.SIGNAL: "received SIGINT, SIGTERM, or SIGHUP",
    ExitCode.WAIT_CHILD: "waitpid() failed",
    ExitCode.MEMORY: "error allocating core memory buffers",
    ExitCode.PARTIAL: "some files/attrs were not transferred (see previous errors)",
    ExitCode.VANISHED: "some files vanished before they could be transferred",
    ExitCode.DELETE_LIMIT: "the --max-delete limit stopped deletions",
    ExitCode.TIMEOUT: "timeout in data send/receive",
    ExitCode.CONNECT_TIMEOUT: "timeout waiting for daemon connection",
    ExitCode.SHELL_FAILED: "remote shell failed",
    ExitCode.SHELL_KILLED: "remote shell killed",
    ExitCode.COMMAND_NOT_RUN: "remote command could not be run",
    ExitCode.COMMAND_NOT_FOUND: "remote command not found",
}


def end_line(code: int, program: str, role: str) -> str:
    """The last line of a run that failed (log.c:log_exit). `code`: a remote shell's may be any."""
    kind = "warning" if code == ExitCode.VANISHED else "error"
    name = EXIT_NAMES.get(code, "unexplained error")
    return f"rsync {kind}: {name} (code {int(code)}) at {program} [{role}={__version__}]"


class PrsyncError(Exception):
    """Base of all errors that end a run with one clear line.

    The text says what went wrong, where, and what to do, without a newline; `code` is the exit code. `told`: the remote
    has ended the run and said why, in messages that the user has seen. `status`: the exit code of a remote shell, where it
    is the higher one; it may be none of ours.
    """

    code: ExitCode = ExitCode.PARTIAL
    told: bool = False
    status: int | None = None

    def __init__(self, text: str, code: ExitCode | None = None) -> None:
        super().__init__(text)
        self.text = text
        if code is not None:
            self.code = code


class UsageError(PrsyncError):
    """A command line that cannot be understood."""

    code = ExitCode.SYNTAX


class UnsupportedError(PrsyncError):
    """rsync knows it, prsync does not yet."""

    code = ExitCode.UNSUPPORTED


class ConfigError(PrsyncError):
    """A daemon's configuration that cannot be used; the text names file and line."""

    code = ExitCode.SYNTAX


class ProtocolVersionError(PrsyncError):
    """The remote speaks no protocol that we speak."""

    code = ExitCode.PROTOCOL


class FileSelectionError(PrsyncError):
    """Input or output files or directories cannot be used."""

    code = ExitCode.FILE_SELECT


class StartError(PrsyncError):
    """The session could not be started: refused, unknown module, failed authentication."""

    code = ExitCode.START_CLIENT


class SocketError(PrsyncError):
    """A connection failed."""

    code = ExitCode.SOCKET_IO


class FileError(PrsyncError):
    """Reading or writing a local file failed in a way that ends the run."""

    code = ExitCode.FILE_IO


class StreamError(PrsyncError):
    """The remote broke the protocol, or the connection ended early."""

    code = ExitCode.STREAM_IO


class TransferTimeout(PrsyncError):
    """Nothing moved for the time given by --timeout."""

    code = ExitCode.TIMEOUT


class ConnectTimeout(PrsyncError):
    """The connection was not made within --contimeout."""

    code = ExitCode.CONNECT_TIMEOUT


class EngineError(PrsyncError):
    """A failure reported by the C core, with the exit code it gave."""
