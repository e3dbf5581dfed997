"""A client's session with a daemon: from the connection to the exit code (clientserver.c, main.c:client_run)."""

from __future__ import annotations

import socket
from typing import NamedTuple

from prsync.errors import ExitCode
from prsync.net.connect import Route, connect
from prsync.net.handshake import Handshake, Login
from prsync.options import Options, as_bytes
from prsync.options_hosts import Target
from prsync.session.output import INFO, Output


class Request(NamedTuple):
    """All that a session is given. Nothing is read from the environment but through it."""

    options: Options
    target: Target
    route: Route
    login: Login
    output: Output
    checksum_list: str = ""  # RSYNC_CHECKSUM_LIST
    compress_list: str = ""  # RSYNC_COMPRESS_LIST
    umask: int = 0o022
    directory: bytes = b"/"  # where the client was started


def run_client(request: Request) -> ExitCode:
    """Pulls, or lists. Raises PrsyncError for what ends the run early."""
    target = request.target
    module = as_bytes(target.paths[0].partition("/")[0])
    connection = connect(target.host, target.port, request.route)
    try:
        return _enter(request, connection, module)
    finally:
        connection.close()


def _enter(request: Request, connection: socket.socket, module: bytes) -> ExitCode:
    options = request.options

    def show(line: bytes) -> None:
        if options.output_motd:
            request.output.message(INFO, line + b"\n")

    handshake = Handshake(connection, options.io_timeout, options.protocol)
    if not handshake.enter(module, request.login, swarm=False, show=show):
        return ExitCode.OK
    from prsync.session.client_pull import pull

    return pull(request, handshake, module)
