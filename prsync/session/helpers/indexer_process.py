"""A module's indexer as a process: what it opens as the daemon's user, its drop to the module's user, its loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from prsync.config.model import Config, Module
from prsync.engine.context import Context
from prsync.engine.index import DigestIndex
from prsync.engine.rules import RuleSet
from prsync.errors import PrsyncError
from prsync.session.daemon.log import DaemonLog
from prsync.session.daemon.transfer.module_rules import module_rules
from prsync.session.helpers.index_place import index_place
from prsync.session.helpers.indexer import Indexer, IndexServer
from prsync.session.helpers.opening import OpenedModule, module_environment, open_module, refusal_is_fault

NICENESS = 5  # transfers come first


def open_indexer(
    config: Config, module: Module, environment: Mapping[str, str], *, serve: bool
) -> tuple[Indexer, OpenedModule]:
    """Opens a module's directory and its index as the writer, then drops. Raises PrsyncError. `serve`: listens, too."""
    place = index_place(config, module, environment)
    with refusal_is_fault(module):
        rules = module_rules(module, module_environment(module, environment))
    opened = open_module("indexer", module, place, environment, serve=serve)
    index = DigestIndex(place.index, writer=True)
    excluded = RuleSet(Context(), daemon=rules).daemon_excludes if rules else None
    opened.drop()
    return Indexer(index, opened.root, excluded, path=opened.path), opened


def serve_index(
    config: Config, module: Module, environment: Mapping[str, str], log: DaemonLog, parent: int, ready: Callable[[], None]
) -> int:
    """The life of an indexer process; the exit code. `ready` is called once workers can use the index."""
    try:
        indexer, opened = open_indexer(config, module, environment, serve=True)
        assert opened.listener is not None
        ready()
        os.nice(NICENESS)
        IndexServer(indexer, opened.listener, parent).run()
    except PrsyncError as error:
        log.line(error.text, warning=True)
        return int(error.code)
    return 0

