"""A module's tracker as a process: what it opens as the daemon's user, its drop to the module's user (never root), its loop."""

from __future__ import annotations

import contextlib
import random
import secrets
import socket
from collections.abc import Callable, Mapping

import trio

from prsync.config.model import Config, Module
from prsync.engine.index import DigestIndex
from prsync.errors import PrsyncError
from prsync.registry.probes import Sample, pick_samples, probe
from prsync.registry.tracker import Tracker
from prsync.session.daemon.log import DaemonLog
from prsync.session.daemon.transfer.arguments import follow_path
from prsync.session.helpers.index_place import IndexPlace, index_place, tracker_place
from prsync.session.helpers.indexer import FLAG_WARM
from prsync.session.helpers.opening import open_module
from prsync.session.helpers.sockets import connect


class Samples:
    """Random pieces of the module's files, by its digest index; an index without any has its indexer fill it, once."""

    def __init__(self, place: IndexPlace, root: int, path: str) -> None:
        """`root`: descriptor of the module's directory, `path` its name. Raises EngineError when there is no index yet: the
        indexer makes it as it starts."""
        self._root = root
        self._path = path
        self._chance = random.Random(secrets.randbits(64))
        self._index = DigestIndex(place.index)
        self._indexer: socket.socket | None = None  # stays open: the indexer does nothing for who has gone
        self._asked = False
        with contextlib.suppress(OSError):
            self._indexer = connect(place)

    def pick(self, prefixes: tuple[str, ...]) -> list[Sample]:
        """Raises EngineError when the index cannot be read."""
        follow_path(self._root, self._path)
        found = pick_samples(self._index, self._root, prefixes, self._chance)
        if not found and self._indexer is not None and not self._asked:
            self._asked = True
            with contextlib.suppress(OSError):
                self._indexer.send(bytes([FLAG_WARM, 0]))
        return found


def serve_tracker(
    config: Config, module: Module, environment: Mapping[str, str], log: DaemonLog, parent: int, ready: Callable[[], None]
) -> int:
    """The life of a tracker process; the exit code. `ready` is called once workers can ask it."""
    try:
        tracker, listener = _open(config, module, environment, log)
        ready()
        trio.run(tracker.run, listener, parent)
    except PrsyncError as error:
        log.line(error.text, warning=True)
        return int(error.code)
    return 0


def _open(config: Config, module: Module, environment: Mapping[str, str], log: DaemonLog) -> tuple[Tracker, socket.socket]:
    # Before the drop: afterwards its files may not be readable.
    from prsync.registry.storage import LeaseStorage, preload
    from prsync.sources import factory

    preload()
    factory.preload()

    place = index_place(config, module, environment)
    mine = tracker_place(place)
    opened = open_module("tracker", module, mine, environment, root_allowed=False)
    assert opened.listener is not None
    samples = Samples(place, opened.root, opened.path)
    opened.drop()
    return Tracker(LeaseStorage(mine.leases), samples.pick, probe, log.line), opened.listener
