"""Which nominated URLs and addresses a client may contact (protocol-spec/nominate-1.md §8). Pure: resolves no names."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

import attrs

from prsync.errors import StartError

SCHEMES = {"rsync": 873, "rsyncs": 874, "http": 80, "https": 443, "ftp": 21}
# Ports of services that a client must not be made to talk to, because they act on a line of text or are not meant for strangers.
DENIED_PORTS = frozenset(
    {
        1, 7, 9, 11, 13, 15, 17, 19, 20, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
        109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 138, 139, 143, 161, 179, 389, 427, 445, 465, 512,
        513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1433,
        1521, 1719, 1720, 1723, 2049, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432, 5900, 6000, 6379, 6566,
        6665, 6666, 6667, 6668, 6669, 6697, 9200, 10080, 11211, 27017,
    }
)  # fmt: skip
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenSource(StartError):
    """A nominated source that must not be contacted."""


@attrs.frozen
class SourceURL:
    """scheme://host[:port]/path; path without its leading slash, percent-decoded. For rsync its first component is the module."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def module(self) -> str:
        return self.path.partition("/")[0]

    @property
    def below(self) -> str:
        """What follows the module, without slashes at its ends."""
        return self.path.partition("/")[2].strip("/")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == SCHEMES[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}/{self.path}"


def parse_source_url(url: str) -> SourceURL:
    """Raises ForbiddenSource: not a URL of a source, credentials in it, a denied port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ForbiddenSource(f"mirror {url!r}: not a URL ({error})") from None
    if parts.scheme not in SCHEMES:
        raise ForbiddenSource(f"mirror {url!r}: only {', '.join(SCHEMES)} may be nominated")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenSource(f"mirror {parts.scheme}://…@{parts.hostname}: a nominated URL may not carry credentials")
    if not parts.hostname:
        raise ForbiddenSource(f"mirror {url!r}: names no host")
    path = unquote(parts.path).lstrip("/")
    if ".." in path.split("/") or not path.isprintable():
        raise ForbiddenSource(f"mirror {url!r}: its path is not allowed")
    if parts.scheme.startswith("rsync") and not path:
        raise ForbiddenSource(f"mirror {url!r}: names no module")
    port = SCHEMES[parts.scheme] if port is None else port
    if port in DENIED_PORTS and port != SCHEMES[parts.scheme]:
        raise ForbiddenSource(f"mirror {url!r}: port {port} belongs to another service")
    return SourceURL(parts.scheme, parts.hostname, port, path)


def longest_below(urls: Iterable[str]) -> int:
    """Bytes of the longest path below a module among the URLs; those that are no sources' do not count."""
    longest = 0
    for url in urls:
        try:
            longest = max(longest, len(parse_source_url(url).below.encode("utf-8", "surrogateescape")))
        except ForbiddenSource:
            continue
    return longest


def plain_address(address: str) -> IPAddress:
    """An address without a zone; IPv4 within IPv6 as IPv4."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        return found.ipv4_mapped
    return found


def address_is_allowed(address: str, origin: str) -> bool:
    """Whether a nominated source at `address` may be contacted by a client whose origin is at `origin`, "" where only a proxy
    knows that."""
    target = plain_address(address)
    if target.is_unspecified or target.is_multicast or (target.is_reserved and not target.is_loopback):
        return False
    if not origin:
        return target.is_global
    home = plain_address(origin)
    if target.is_loopback:
        return home.is_loopback
    if target.is_link_local:
        return home.is_link_local
    if not target.is_global:
        # Documentation and shared address space count as private here: never reached from a public origin.
        return not home.is_global and not home.is_loopback and target.version == home.version
    return True


def check_address(address: str, origin: str, url: SourceURL) -> None:
    """Raises ForbiddenSource with the reason."""
    if not address_is_allowed(address, origin):
        where = origin or "an unknown address"
        raise ForbiddenSource(f"mirror {url}: its address {address} may not be contacted on the word of an origin at {where}")
