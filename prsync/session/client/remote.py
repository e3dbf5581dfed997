"""A client's way to the other side: a daemon's socket, a remote shell, or a daemon behind a remote shell (main.c:do_cmd,
clientserver.c:start_socket_client, start_inband_exchange)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from prsync.errors import ExitCode, PrsyncError
from prsync.net.handshake import Handshake
from prsync.net.streams import SocketStream, Stream
from prsync.options.model import as_bytes
from prsync.options.older_protocols import refuse_beyond
from prsync.options.operands import Way
from prsync.options.remote_arguments import path_arguments, server_arguments, shell_arguments
from prsync.protocol.negotiation import Negotiated, Wishes
from prsync.session.client.run import Run

if TYPE_CHECKING:
    from prsync.net.remote_shell import RemoteShell


class Remote:
    """The connection, from its opening to its end. As a context manager it is closed at the end."""

    def __init__(self, run: Run) -> None:
        """Raises SocketError, ConnectTimeout, UsageError, and PrsyncError for a shell that cannot be started."""
        self._run = run
        self._shell: RemoteShell | None = None
        self._close: Callable[[], None]
        options = run.options
        self.handshake = Handshake(self._open(), options.io_timeout, options.protocol, run.role)

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(failure, PrsyncError) and self._shell is not None:
            self._shell.stream.close()
            failure.status = self._shell.final_code(failure.code)
        self._close()

    def _open(self) -> Stream:
        target, options = self._run.target, self._run.options
        if target.way is Way.DAEMON:
            from prsync.net.connect import connect

            connection = connect(target.host, target.port, self._run.route)
            self._close = connection.close
            return SocketStream(connection)
        from prsync.net import remote_shell

        is_daemon = target.way is Way.SHELL_DAEMON
        to = remote_shell.Destination(target.host, target.user, options.address_family, is_daemon)
        words = list(remote_shell.DAEMON_ARGUMENTS) if is_daemon else shell_arguments(options, self._remote_paths)[0]
        command = remote_shell.command_line(self._run.route.shell, to, options.rsync_path, words)
        environment = remote_shell.shell_environment(self._run.route.environment, target.port if is_daemon else None)
        blocking = remote_shell.takes_blocking_output(command, options.blocking_io)
        self._shell = remote_shell.start(command, environment, blocking)
        self._close = self._shell.close
        return self._shell.stream

    @property
    def _remote_paths(self) -> tuple[str, ...]:
        target = self._run.target
        return (target.destination or "",) if target.push else target.paths

    @property
    def module(self) -> str:
        return self._remote_paths[0].partition("/")[0]

    def enter(self, *, swarm: bool, show: Callable[[bytes], None]) -> bool:
        """Into the daemon's module. False: it has listed its modules, or there is nothing to enter for it has ended."""
        if self._run.target.way is Way.SHELL:
            return True
        return self.handshake.enter(as_bytes(self.module), self._run.login, swarm=swarm, show=show)

    def agree(self, wishes: Callable[[int], Wishes], swarm: bool = False) -> Negotiated:
        """Sends the arguments, where they are not on a command line already; the agreed session. `wishes`: by protocol."""
        options, handshake = self._run.options, self.handshake
        if self._run.target.way is Way.SHELL:
            secluded = shell_arguments(options, self._remote_paths)[1]
            if secluded:
                handshake.send_secluded(_encoded(secluded))
            handshake.exchange_versions()
            refuse_beyond(options, handshake.protocol)
            return handshake.agree(wishes(handshake.protocol))
        options = options.replace(protocol=handshake.protocol)
        refuse_beyond(options, handshake.protocol)
        plain, rest = server_arguments(options, swarm)
        paths = path_arguments(options, self.module, self._remote_paths)
        if options.protect_args:
            return handshake.negotiate(_encoded(plain), _encoded(rest + paths), wishes(handshake.protocol))
        return handshake.negotiate(_encoded(plain + paths), None, wishes(handshake.protocol))

    def end(self, code: ExitCode) -> int:
        """The run's exit code after a transfer: with a shell the higher of both sides'."""
        if self._shell is None:
            return code
        self._shell.stream.close()
        return max(code, self._shell.wait())


def _encoded(words: Iterable[str]) -> list[bytes]:
    return [as_bytes(word) for word in words]
