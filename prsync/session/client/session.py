"""A client's run: which way to the other side, from the connection to the exit code (main.c:start_client, client_run)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prsync.errors import ExitCode
from prsync.net.connect import connect
from prsync.net.handshake import Handshake
from prsync.net.streams import SocketStream
from prsync.options.model import as_bytes
from prsync.session.client.output import INFO
from prsync.session.client.run import Run

if TYPE_CHECKING:
    from prsync.swarm.fetcher import FetcherHandle


def run_client(run: Run) -> ExitCode:
    """Pulls, or lists. Raises PrsyncError for what ends the run early."""
    target = run.target
    module = target.paths[0].partition("/")[0]
    if not module:
        return _list_modules(run)
    from prsync.session.client import pull
    from prsync.session.client.rules import prepare

    prepared = prepare(run)
    fetcher = _fetcher(run)
    try:
        with connect(target.host, target.port, run.route) as connection:
            handshake = Handshake(SocketStream(connection), run.options.io_timeout, run.options.protocol)
            if not handshake.enter(as_bytes(module), run.login, swarm=fetcher is not None, show=_shower(run)):
                return ExitCode.OK
            return pull.pull(run, handshake, module, prepared, fetcher)
    finally:
        if fetcher is not None:
            fetcher.close()


def _fetcher(run: Run) -> FetcherHandle | None:
    """The idle fetcher, where a swarm is possible: forked before anything is connected."""
    from prsync.session.client.swarm_eligibility import swarm_possible

    if not swarm_possible(run.options, run.target) or run.route.program is not None:
        return None
    from prsync.swarm.fetcher import start_fetcher

    return start_fetcher()


def _list_modules(run: Run) -> ExitCode:
    target = run.target
    with connect(target.host, target.port, run.route) as connection:
        handshake = Handshake(SocketStream(connection), run.options.io_timeout, run.options.protocol)
        handshake.enter(b"", run.login, swarm=False, show=_shower(run))
    return ExitCode.OK


def _shower(run: Run) -> Callable[[bytes], None]:
    """Shows the message of the day and the list of modules."""

    def show(line: bytes) -> None:
        if run.options.output_motd:
            run.output.message(INFO, line + b"\n")

    return show
