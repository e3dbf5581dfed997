"""Who may connect: `hosts allow`, `hosts deny` (access.c), and the names of addresses (clientname.c)."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping

import attrs

from prsync.engine.rules import wildmatch

UNDETERMINED = "UNDETERMINED"  # "reverse lookup" is off
UNKNOWN = "UNKNOWN"
NO_ADDRESS = "0.0.0.0"
ADDRESS_VARIABLES = ("REMOTE_HOST", "SSH_CONNECTION", "SSH_CLIENT", "SSH2_CLIENT")  # clientname.c:client_addr

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Log = Callable[[str], None]


def peer_address(sockaddr: tuple[str, ...]) -> str:
    """The address in text; an IPv4 address that came in IPv6's clothes without them."""
    text = str(sockaddr[0])
    return text[7:] if text.lower().startswith("::ffff:") and "." in text else text


def remote_shell_address(environment: Mapping[str, str]) -> str:
    """Where the remote shell says that the client is."""
    said = next((environment[name] for name in ADDRESS_VARIABLES if name in environment), "")
    try:
        return str(ipaddress.ip_address(said.split(" ")[0]))
    except ValueError:
        return NO_ADDRESS


def host_name(address: str, log: Log) -> str:
    """The name of an address, believed only if the name leads back to it; UNKNOWN otherwise."""
    try:
        name = socket.getnameinfo((address, 0), socket.NI_NAMEREQD | socket.NI_NUMERICSERV)[0]
    except OSError as error:
        log(f"name lookup failed for {address}: {error.strerror}")
        return UNKNOWN
    try:
        ipaddress.ip_address(name)
    except ValueError:
        pass
    else:  # an address as a name is a lie
        log(f"spoofed address in the name of {address}")
        return UNKNOWN
    try:
        found = {peer_address(a[4]) for a in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}  # type: ignore[arg-type]
    except OSError as error:
        log(f"forward name lookup for {name} failed: {error.strerror}")
        return UNKNOWN
    if address not in found:
        log(f"{address} is not a known address for {name}: spoofed address?")
        return UNKNOWN
    return name


@attrs.frozen
class Verdict:
    allowed: bool
    host: str  # a name of the configuration may take the place of UNDETERMINED


def check_access(address: str, host: str, allow: str, deny: str, forward_lookup: bool, log: Log) -> Verdict:
    """access.c:allow_access. Whoever matches `hosts allow` comes in; with only that list, nobody else does; who matches
    `hosts deny` stays out; all others come in."""
    if allow:
        found = _match_list(allow, address, host, forward_lookup, False, log)
        if found is not None:
            return Verdict(True, found)
        if not deny:
            return Verdict(False, host)
    if deny:
        found = _match_list(deny, address, host, forward_lookup, True, log)
        if found is not None:
            return Verdict(False, found)
    return Verdict(True, host)


def _match_list(items: str, address: str, host: str, forward: bool, denying: bool, log: Log) -> str | None:
    """The host's name if an item matches, else None."""
    for item in re.split(r"[ ,\t]+", items.lower()):
        if not item:
            continue
        found = _match_name(item, address, host, forward, denying)
        if found is not None:
            return found
        if _match_address(item, address, log):
            return host
    return None


def _match_name(item: str, address: str, host: str, forward: bool, denying: bool) -> str | None:
    if wildmatch(item.encode("utf-8", "surrogateescape"), host.encode(), fold=True):
        return host
    if not forward or re.fullmatch(r"[.0-9]*", item) or re.search(r"[:/*?\[]", item):
        return None
    try:
        found = socket.gethostbyname_ex(item)[2]
    except (OSError, UnicodeError):
        # Nobody can prove that this is not the host that shall stay out.
        return host if denying else None
    if address in found:
        return item if host == UNDETERMINED else host
    return None


def _match_address(item: str, text: str, log: Log) -> bool:
    """ADDRESS, ADDRESS/BITS or ADDRESS/MASK; of one family with the remote's, scope included where the item names one."""
    pattern, slash, mask = item.partition("/")
    if re.search(r"[^.0-9]", pattern) and ":" not in pattern:
        return False
    try:
        remote = ipaddress.ip_address(text)
        # inet_aton knows the short forms that getaddrinfo takes, such as 127.1
        wanted = ipaddress.ip_address(pattern if ":" in pattern else socket.inet_aton(pattern))
    except (ValueError, OSError) as error:
        log(f"error matching address {pattern}: {error}")
        return False
    if wanted.version != remote.version:
        return False
    scope = getattr(wanted, "scope_id", None)
    if scope and scope != getattr(remote, "scope_id", None):
        return False
    size = wanted.max_prefixlen
    if not slash:
        return int(wanted) == int(remote)
    try:
        bits = int(ipaddress.ip_address(mask)) if mask and not mask.isdigit() else _prefix(int(mask), size)
    except ValueError:
        log(f"malformed mask in {item}")
        return False
    return (int(wanted) ^ int(remote)) & bits == 0


def _prefix(length: int, size: int) -> int:
    if length > size:
        raise ValueError(length)
    return ((1 << length) - 1) << (size - length)
