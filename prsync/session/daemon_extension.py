"""What a module offers to a client that speaks nominate/1: gathered before the worker gives up its privileges."""

from __future__ import annotations

import attrs

from prsync.config import Module, Values
from prsync.protocol.frames import OriginPlace
from prsync.registry.listed import parse_mirror
from prsync.registry.nomination import Candidate
from prsync.session.daemon_connection import Worker
from prsync.session.daemon_index import IndexAccess
from prsync.session.daemon_registry import NoRegistry, Registry
from prsync.session.daemon_slots import Slots
from prsync.session.daemon_text import Greeting
from prsync.session.index_place import index_place, keeps_digests, nominates

OLDEST_PROTOCOL = 31


@attrs.frozen
class Extension:
    """`no_data`: all slots were taken when the client came. `refusal`: what a client of rsync is told then."""

    access: IndexAccess
    slots: Slots
    no_data: bool
    refusal: str
    registry: Registry
    mirrors: tuple[Candidate, ...]  # those listed by hand and the registered ones
    origin: OriginPlace

    @property
    def digests(self) -> bool:
        return self.access.index is not None

    @property
    def nominates(self) -> bool:
        """Without digests nothing can be taken from a mirror."""
        return bool(self.mirrors) and self.digests


def is_offered(values: Values, greeting: Greeting) -> bool:
    """Whether the client may get a peer connection or a nomination here, as far as its greeting tells."""
    return greeting.can_nominate and greeting.protocol >= OLDEST_PROTOCOL and (keeps_digests(values) or nominates(values))


def open_extension(worker: Worker, module: Module, slots: Slots, no_data: bool, refusal: str) -> Extension:
    values = module.values
    access = IndexAccess(None, None)
    if keeps_digests(values):
        access = IndexAccess.open(index_place(worker.config, module, worker.environment), worker.log)
    registry = NoRegistry(worker.log.line)
    mirrors: tuple[Candidate, ...] = ()
    if nominates(values):
        mirrors = tuple(parse_mirror(value) for value in values.texts("mirror", worker.environment))
        if values.text("nominate") == "registered":
            mirrors += registry.candidates()
    origin = OriginPlace.EQUAL if values.text("nominate origin") == "equal" else OriginPlace.LAST
    return Extension(access, slots, no_data, refusal, registry, mirrors, origin)
