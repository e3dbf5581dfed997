"""Sources by kind. The only place that knows which kinds there are."""

from __future__ import annotations

import socket

from prsync.engine.fetch import Memory
from prsync.protocol.frames import SourceKind
from prsync.sources.base import Flush, SlotFree, Source, SourceRefused, SourceSettings
from prsync.sources.peer import PeerSource
from prsync.sources.rsyncd import RsyncdSource


def preload() -> None:
    """Loads what a source would load while it works, for a process that is about to give up its rights: name service modules,
    codecs."""
    socket.getaddrinfo("localhost", 873)
    "localhost".encode("idna")


def make_source(
    kind: int,
    settings: SourceSettings,
    memory: Memory,
    flush: Flush,
    slot_free: SlotFree,
    connected: tuple[socket.socket, bytes] | None = None,
) -> Source:
    """Raises SourceRefused for a kind that this version does not know."""
    if kind == SourceKind.PEER:
        return PeerSource(settings, memory, flush, slot_free, connected)
    if kind == SourceKind.RSYNCD:
        return RsyncdSource(settings, memory, flush, slot_free)
    raise SourceRefused(f"{settings.url}: sources of kind {kind} are not supported")
