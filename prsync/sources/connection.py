"""Connections of the fetcher to sources: the address is judged before anything is sent to it."""

from __future__ import annotations

import socket

from prsync.errors import PrsyncError, SocketError
from prsync.net.connect import FAMILIES, connect
from prsync.sources.addresses import ForbiddenSource, check_address
from prsync.sources.base import SourceRefused, SourceSettings


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


def open_connection(settings: SourceSettings) -> socket.socket:
    """A blocking socket to the source; through the proxy where one is set. Raises SocketError, SourceRefused, ConnectTimeout."""
    route = settings.route._replace(timeout=settings.route.timeout or settings.connect_seconds)
    if route.proxy is not None or route.program is not None:
        return connect(settings.url.host, settings.url.port, route)
    failure: PrsyncError = SocketError(f"{settings.url}: no address could be used")
    for address in allowed_addresses(settings):
        try:
            return connect(address, settings.url.port, route)
        except PrsyncError as error:
            failure = error
    raise failure
