"""A client's session with a daemon: from the connection to the exit code (clientserver.c, main.c:client_run)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from prsync.errors import ExitCode
from prsync.net.connect import Route, connect
from prsync.net.handshake import Handshake, Login
from prsync.options.model import Options, as_bytes
from prsync.options.operands import Target
from prsync.protocol.filter_syntax import CvsSources
from prsync.session.client.output import INFO, Output

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from prsync.swarm.fetcher import FetcherHandle


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
    started: float = 0.0  # time.monotonic() then
    cvs_sources: Callable[[], CvsSources] = CvsSources  # what -C reads


def run_client(request: Request) -> ExitCode:
    """Pulls, or lists. Raises PrsyncError for what ends the run early."""
    target = request.target
    module = target.paths[0].partition("/")[0]
    if not module:
        return _list_modules(request)
    from prsync.session.client import transfer as client_pull
    from prsync.session.client.rules import parse_rules, read_names

    prepared = client_pull.Prepared(parse_rules(request.options, request.cvs_sources), read_names(request.options))
    fetcher = _fetcher(request)
    try:
        with connect(target.host, target.port, request.route) as connection:
            handshake = Handshake(connection, request.options.io_timeout, request.options.protocol)
            if not handshake.enter(as_bytes(module), request.login, swarm=fetcher is not None, show=_shower(request)):
                return ExitCode.OK
            return client_pull.pull(request, handshake, module, prepared, fetcher)
    finally:
        if fetcher is not None:
            fetcher.close()


def _fetcher(request: Request) -> FetcherHandle | None:
    """The idle fetcher, where a swarm is possible: forked before anything is connected."""
    from prsync.session.client.swarm_eligibility import swarm_possible

    if not swarm_possible(request.options, request.target) or request.route.program is not None:
        return None
    from prsync.swarm.fetcher import start_fetcher

    return start_fetcher()


def _list_modules(request: Request) -> ExitCode:
    target = request.target
    with connect(target.host, target.port, request.route) as connection:
        handshake = Handshake(connection, request.options.io_timeout, request.options.protocol)
        handshake.enter(b"", request.login, swarm=False, show=_shower(request))
    return ExitCode.OK


def _shower(request: Request) -> Callable[[bytes], None]:
    """Shows the message of the day and the list of modules."""

    def show(line: bytes) -> None:
        if request.options.output_motd:
            request.output.message(INFO, line + b"\n")

    return show
