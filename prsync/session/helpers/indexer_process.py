"""A module's indexer as a process: what it opens as the daemon's user, its drop to the module's user, its loop."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping

import attrs

from prsync.config.model import Config, Module
from prsync.engine.confinement import no_new_privileges
from prsync.engine.context import Context
from prsync.engine.index import DigestIndex
from prsync.engine.rules import RuleSet
from prsync.errors import ConfigError, FileError, PrsyncError
from prsync.privileges import drop, open_directory
from prsync.session.daemon.admission.identity import module_identity
from prsync.session.daemon.admission.text_phase import Refusal
from prsync.session.daemon.process.log import DaemonLog
from prsync.session.daemon.transfer.module_rules import module_rules
from prsync.session.helpers.index_place import index_place, listen, prepare
from prsync.session.helpers.indexer import Indexer, IndexServer

NICENESS = 5  # transfers come first


@attrs.frozen
class Opened:
    """What hashing a module takes; the process has the module's user and groups from here on."""

    indexer: Indexer
    listener: socket.socket | None


def open_module(config: Config, module: Module, environment: Mapping[str, str], *, serve: bool) -> Opened:
    """Opens a module's directory and its index as the writer, then drops. Raises PrsyncError. `serve`: listens, too."""
    known = {**environment, "RSYNC_MODULE_NAME": module.name}
    values = module.values
    try:
        uid, groups = module_identity(values.text("uid", known), values.text("gid", known))
        rules = module_rules(module, known)
    except Refusal as refusal:
        raise ConfigError(f"module {module.name}: {refusal.log or refusal.text}") from None
    place = index_place(config, module, environment)
    path = values.text("path", known)
    prepare(place, uid, groups[0] if groups else None)
    try:
        root = open_directory(path)
        listener = listen(place) if serve else None
    except OSError as error:
        where = error.filename or place.parent
        raise FileError(f"the indexer of module {module.name} cannot use {where}: {error.strerror}") from error
    index = DigestIndex(place.index, writer=True)
    excluded = RuleSet(Context(), daemon=rules).daemon_excludes if rules else None
    try:
        drop(uid, groups, no_new_privileges)
    except OSError as error:
        raise FileError(f"the indexer of module {module.name}: {error.filename} failed: {error.strerror}") from error
    return Opened(Indexer(index, root, excluded, path=path), listener)


def serve_index(
    config: Config, module: Module, environment: Mapping[str, str], log: DaemonLog, parent: int, ready: Callable[[], None]
) -> int:
    """The life of an indexer process; the exit code. `ready` is called once workers can use the index."""
    try:
        opened = open_module(config, module, environment, serve=True)
        assert opened.listener is not None
        ready()
        os.nice(NICENESS)
        IndexServer(opened.indexer, opened.listener, parent).run()
    except PrsyncError as error:
        log.line(error.text, warning=True)
        return int(error.code)
    return 0

