"""A worker's view of its module's digest index: a reader, and the connection on which it tells the indexer what is missing.

Both are opened before the worker gives up its privileges and its root, and go on to work after it.
"""

from __future__ import annotations

import socket

from prsync.engine.index import DigestIndex
from prsync.errors import EngineError
from prsync.session.daemon.log import DaemonLog
from prsync.session.helpers.index_place import IndexPlace
from prsync.session.helpers.sockets import connect

HELD_BYTES = 1 << 20  # names that wait for the indexer; what does not fit is asked for again by the client


class IndexAccess:
    """`index` is None where there is none yet, or it cannot be read: then every digest is unknown."""

    def __init__(self, index: DigestIndex | None, indexer: socket.socket | None) -> None:
        self.index = index
        self._indexer = indexer
        self._held = bytearray()

    @classmethod
    def open(cls, place: IndexPlace, log: DaemonLog) -> IndexAccess:
        index: DigestIndex | None = None
        indexer: socket.socket | None = None
        try:
            index = DigestIndex(place.index)
        except EngineError as error:
            log.line(error.text, warning=True)
        else:
            try:
                indexer = connect(place)
            except OSError as error:
                log.failure(f"the indexer of {place.name} cannot be reached: no new digests", error)
        return cls(index, indexer)

    def want(self, names: bytes) -> None:
        """Files to be hashed: u8 flags, name, NUL; and so on."""
        if self._indexer is not None and len(self._held) + len(names) <= HELD_BYTES:
            self._held += names
        self.flush()

    @property
    def waiting(self) -> bool:
        """Whether there is something that the indexer could not take yet."""
        return bool(self._held)

    def flush(self) -> None:
        """Hands over what the indexer takes now. One that is gone stays so for this worker."""
        while self._held and self._indexer is not None:
            try:
                sent = self._indexer.send(self._held)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._indexer.close()
                self._indexer = None
                self._held.clear()
                return
            del self._held[:sent]
