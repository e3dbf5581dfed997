"""Which mirrors the origin names to which client. Pure: time, addresses and chance are arguments."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable

import attrs

from prsync.protocol import limits
from prsync.protocol.frames import Hello, Mirror, Nomination, OriginPlace


@attrs.frozen
class Candidate:
    """A mirror the origin knows: listed by hand, or registered and checked.

    address: where it was reached, '' where only its name is known; family 4, 6 or 0 (unknown). prefixes: what it carries, empty
    for everything. expires: seconds on the caller's clock, None for a listed one. load: nominations under way that named it;
    capacity: connections it offers at once, 0 for unknown.
    """

    kind: int
    url: str
    listed: bool
    address: str = ""
    family: int = 0
    prefixes: tuple[str, ...] = ()
    expires: float | None = None
    checked: bool = True
    draining: bool = False
    suspect: bool = False
    load: int = 0
    capacity: int = 0


def carries(prefixes: tuple[str, ...], path: str) -> bool:
    """Whether a mirror of these prefixes has something of what lies at `path` ('' = the whole module)."""
    if not prefixes or not path:
        return True
    return any(_within(path, p) or _within(p, path) for p in prefixes)


def _within(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")


def _usable(candidate: Candidate, hello: Hello, path: str, client: str, now: float) -> bool:
    if candidate.kind not in hello.source_kinds or candidate.draining or not candidate.checked or candidate.suspect:
        return False
    if candidate.expires is not None and candidate.expires <= now:
        return False
    if candidate.family and candidate.family not in hello.families:
        return False
    # A mirror that refreshes itself is not sent to itself.
    if candidate.address and candidate.address == client:
        return False
    return carries(candidate.prefixes, path)


def _rank(candidate: Candidate, client: str, salt: bytes) -> tuple[float, bytes]:
    """Less loaded first; among equals an order that differs between clients, so that they spread."""
    load = candidate.load / candidate.capacity if candidate.capacity else candidate.load / 8
    return (min(load, 1.0), hashlib.blake2b(candidate.url.encode() + b"\0" + client.encode(), key=salt, digest_size=8).digest())


def nominate(
    candidates: Iterable[Candidate],
    hello: Hello,
    path: str,
    client: str,
    now: float,
    origin: OriginPlace = OriginPlace.LAST,
    salt: bytes = b"",
    most: int = 2 * limits.SOURCES_MAX,
) -> Nomination:
    """The answer to a client's hello. `path`: what it asks for, within the module; `client`: its address.

    One reference per address: of several registrations behind one address only the best is named.
    """
    usable = [c for c in candidates if _usable(c, hello, path, client, now)]
    usable.sort(key=lambda c: _rank(c, client, salt))
    named: list[Mirror] = []
    seen: set[str] = set()
    for candidate in usable:
        key = candidate.url if candidate.listed or not candidate.address else network_of(candidate.address)
        if key in seen:
            continue
        seen.add(key)
        named.append(Mirror(candidate.kind, candidate.url, candidate.listed, candidate.prefixes))
        if len(named) == min(most, limits.MIRRORS):
            break
    return Nomination(origin, tuple(named))


def network_of(address: str) -> str:
    """What counts as one address: an IPv4 address, or an IPv6 /64."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)
