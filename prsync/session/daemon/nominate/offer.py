"""What a module offers to a client that speaks nominate/1: gathered before the worker gives up its privileges."""

from __future__ import annotations

import socket

import attrs

from prsync.config.model import Module, Values
from prsync.protocol.frames import OriginPlace
from prsync.registry.listed import parse_mirror
from prsync.registry.nomination import Candidate
from prsync.session.daemon.admission.host_access import peer_address
from prsync.session.daemon.admission.slots import Slots
from prsync.session.daemon.admission.text_phase import Greeting
from prsync.session.daemon.connection import Worker
from prsync.session.daemon.nominate.index_reader import IndexAccess
from prsync.session.daemon.nominate.registry import NoRegistry, Registry, TrackerRegistry, read_nonces
from prsync.session.helpers.index_place import index_place, keeps_digests, nominates, registers, tracker_place
from prsync.sources.addresses import address_is_allowed

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
    registry = _open_registry(worker, module) if keeps_digests(values) else NoRegistry(worker.log.line)
    mirrors: tuple[Candidate, ...] = ()
    if nominates(values):
        mirrors = tuple(parse_mirror(value) for value in values.texts("mirror", worker.environment))
        if values.text("nominate") == "registered":
            mirrors += registry.candidates()
        mirrors = tuple(mirror for mirror in mirrors if _may_be_named(mirror, worker))
    origin = OriginPlace.EQUAL if values.text("nominate origin") == "equal" else OriginPlace.LAST
    return Extension(access, slots, no_data, refusal, registry, mirrors, origin)


def _open_registry(worker: Worker, module: Module) -> Registry:
    place = index_place(worker.config, module, worker.environment)
    nonces = read_nonces(place, worker.log)
    if not registers(module.values):
        return NoRegistry(worker.log.line, nonces)
    try:
        return TrackerRegistry(tracker_place(place), worker.log.line, nonces)
    except OSError as error:
        worker.log.failure(f"the tracker of module {module.name} cannot be reached: no registered mirrors", error)
    return NoRegistry(worker.log.line, nonces, "the registry is not available now: try again later")


def _may_be_named(mirror: Candidate, worker: Worker) -> bool:
    """A client would not contact a registered mirror of an address that only we can reach (protocol-spec §8)."""
    if mirror.listed or not isinstance(worker.sock, socket.socket) or worker.sock.family == socket.AF_UNIX:
        return True
    return address_is_allowed(mirror.address, peer_address(worker.sock.getsockname()))
