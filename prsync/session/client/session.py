"""A client's run: which way to the other side, from the connection to the exit code (main.c:start_client, client_run)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prsync.errors import ExitCode
from prsync.options.operands import Way
from prsync.session.client.output import INFO
from prsync.session.client.remote import Remote
from prsync.session.client.run import Run

if TYPE_CHECKING:
    from prsync.swarm.fetcher import FetcherHandle


def run_client(run: Run) -> int:
    """Transfers, or lists; the exit code. Raises PrsyncError for what ends the run early."""
    target = run.target
    if target.way is Way.BATCH:
        from prsync.session.client.batch_reading import read_batch

        return read_batch(run)
    if run.options.write_batch:
        from prsync.session.client.batch_writing import BatchFile

        with BatchFile(run) as batch:
            return _transfer(run._replace(batch=batch))
    return _transfer(run)


def _transfer(run: Run) -> int:
    target = run.target
    if target.way is Way.LOCAL:
        from prsync.session.client.local import copy_locally

        return copy_locally(run)
    if target.way is not Way.SHELL and not target.push and not target.paths[0].partition("/")[0]:
        return _list_modules(run)
    from prsync.session.client.rules import prepare

    prepared = prepare(run)
    if target.push:
        from prsync.session.client.push import push

        with Remote(run) as remote:
            entered = remote.enter(swarm=False, show=_shower(run))
            return remote.end(push(run, remote, prepared)) if entered else ExitCode.OK
    from prsync.session.client.pull import pull

    fetcher = _fetcher(run)
    try:
        with Remote(run) as remote:
            entered = remote.enter(swarm=fetcher is not None, show=_shower(run))
            return remote.end(pull(run, remote, prepared, fetcher)) if entered else ExitCode.OK
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


def _list_modules(run: Run) -> int:
    with Remote(run) as remote:
        remote.enter(swarm=False, show=_shower(run))
        return remote.end(ExitCode.OK)


def _shower(run: Run) -> Callable[[bytes], None]:
    """Shows the message of the day and the list of modules."""

    def show(line: bytes) -> None:
        if run.options.output_motd:
            run.output.message(INFO, line + b"\n")

    return show
