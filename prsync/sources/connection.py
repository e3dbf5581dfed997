"""Connections to sources: the address is judged before anything is sent to it; the handshake of a peer connection. Blocking, and
without an event loop, which a client's main process does not have."""

from __future__ import annotations

import socket

from prsync.errors import PrsyncError, SocketError, StartError
from prsync.net.connect import FAMILIES, connect
from prsync.net.handshake import Handshake, Login
from prsync.net.streams import SocketStream
from prsync.protocol.negotiation import Negotiated, Wishes
from prsync.sources.addresses import ForbiddenSource, check_address
from prsync.sources.base import SourceRefused, SourceSettings

PEER_ARGUMENTS = (b"--server", b"--sender", b"-e.LsfxCIvuQ", b"--prsync-peer", b".")
HANDSHAKE_SECONDS = 15.0


def allowed_addresses(settings: SourceSettings) -> list[str]:
    """The source's addresses that may be contacted, in the resolver's order. SourceRefused: none of them may."""
    url = settings.url
    try:
        found = socket.getaddrinfo(url.host, url.port, FAMILIES[settings.route.family], socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SocketError(f"{url}: {error}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if settings.is_origin:
        return addresses
    allowed, refusal = [], f"{url}: no address"
    for address in addresses:
        try:
            check_address(address, settings.origin_address, url)
            allowed.append(address)
        except ForbiddenSource as error:
            refusal = error.text
    if not allowed:
        raise SourceRefused(refusal)
    return allowed


def stated_address(host: str) -> str:
    """The address that a host's name states by itself, to whoever resolves it; "" for a name."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4][0])
    except (OSError, UnicodeError):
        return "127.0.0.1" if host.rstrip(".").lower().rpartition(".")[2] == "localhost" else ""


def _check_stated(settings: SourceSettings) -> None:
    """Behind a proxy, which resolves names itself, a host can only be judged as it is written."""
    address = stated_address(settings.url.host)
    if address and not settings.is_origin:
        try:
            check_address(address, settings.origin_address, settings.url)
        except ForbiddenSource as error:
            raise SourceRefused(error.text) from None


def open_connection(settings: SourceSettings) -> socket.socket:
    """A blocking socket to the source; through the proxy where one is set. Raises SocketError, SourceRefused, ConnectTimeout."""
    route = settings.route._replace(timeout=settings.route.timeout or settings.connect_seconds)
    if route.proxy is not None or route.program is not None:
        _check_stated(settings)
        return connect(settings.url.host, settings.url.port, route)
    failure: PrsyncError = SocketError(f"{settings.url}: no address could be used")
    for address in allowed_addresses(settings):
        try:
            return connect(address, settings.url.port, route)
        except PrsyncError as error:
            failure = error
    raise failure


def no_password() -> bytes:
    raise StartError("the mirror wants a password; none is sent to nominated mirrors")


def enter_peer(connection: socket.socket, module: bytes, login: Login, seconds: float = HANDSHAKE_SECONDS) -> Handshake:
    """The handshake of a peer connection, up to the first frame; the socket is non-blocking from then on. Raises StartError and
    its kin.

    `Handshake.rest` holds what the daemon has sent already.
    """
    handshake = Handshake(SocketStream(connection), seconds)
    if not handshake.enter(module, login, swarm=True, show=lambda line: None):
        raise SourceRefused("the daemon ended the connection")
    negotiated: Negotiated = handshake.negotiate([*PEER_ARGUMENTS, module + b"/"], None, Wishes(handshake.protocol))
    if not negotiated.nominate:
        raise SourceRefused("the daemon does not speak nominate/1 for this module")
    return handshake
