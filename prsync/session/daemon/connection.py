"""What the steps of one daemon connection share."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from prsync.config.model import Config, Module, Values
from prsync.errors import ExitCode, PrsyncError
from prsync.net.connection import Connection
from prsync.options.daemon import DaemonOptions
from prsync.privileges import read_umask
from prsync.protocol.filter_syntax import Rule
from prsync.session.daemon.admission.host_access import UNDETERMINED
from prsync.session.daemon.admission.text_phase import HANDSHAKE_SECONDS, TextStream
from prsync.session.daemon.log import DaemonLog

if TYPE_CHECKING:
    from prsync.session.daemon.nominate.offer import Extension

LINGER_SECONDS = 1.0


@attrs.define
class Worker:
    """What one connection's worker knows. The environment grows by RSYNC_… as rsync's does, for %VAR% in the configuration."""

    sock: Connection
    config: Config
    options: DaemonOptions
    log: DaemonLog
    environment: dict[str, str]
    text: TextStream
    address: str = ""
    host: str = UNDETERMINED
    umask: int = attrs.field(factory=read_umask)  # before a chroot, which has nothing that tells it

    def handshake_seconds(self, values: Values) -> float:
        """The configured timeout can shorten a phase, not lengthen it."""
        timeout = values.number("timeout")
        return timeout if 0 < timeout < HANDSHAKE_SECONDS else HANDSHAKE_SECONDS


@attrs.frozen
class Entered:
    """A module that was entered: the process has its final root, directory, user and groups."""

    module: Module
    protocol: int
    user: str
    read_only: bool
    root: int  # descriptor of the module's directory
    directory: str  # the module's path as this process sees it
    full_path: str  # and as the machine does
    munge_links: bool
    chrooted: bool
    rules: tuple[Rule, ...]  # of the module's filter parameters, parsed before the drop: their files may be outside
    extension: Extension | None  # None: the client or the module does not speak nominate/1


def linger(sock: Connection) -> None:
    """Lets the last line reach a client that is still sending: a close with unread bytes would reset the connection."""
    end = time.monotonic() + LINGER_SECONDS
    try:
        sock.shutdown(socket.SHUT_WR)
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            if not sock.recv(4096):
                return
    except OSError:
        return


def become_busy() -> None:
    """From here on SIGUSR2, by which the supervisor ends idle workers, does nothing."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """A signal that ends the worker raises PrsyncError within, so that no temporary file stays."""

    def interrupt(number: int, frame: object) -> None:
        raise PrsyncError("rsync: the daemon ended the transfer", ExitCode.SIGNAL)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if handler is interrupt else handler)
