"""The daemon's listening sockets (socket.c:open_socket_in) and `socket options`."""

from __future__ import annotations

import socket

from prsync.errors import SocketError

FAMILIES = {0: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}
TOS_VALUES = {"IPTOS_LOWDELAY": 0x10, "IPTOS_THROUGHPUT": 0x08}
# socket.c:socket_options: name → (level, option), and whether it takes a number.
OPTIONS: dict[str, tuple[int, int, bool]] = {
    "SO_KEEPALIVE": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, False),
    "SO_REUSEADDR": (socket.SOL_SOCKET, socket.SO_REUSEADDR, False),
    "SO_BROADCAST": (socket.SOL_SOCKET, socket.SO_BROADCAST, False),
    "TCP_NODELAY": (socket.IPPROTO_TCP, socket.TCP_NODELAY, False),
    "SO_SNDBUF": (socket.SOL_SOCKET, socket.SO_SNDBUF, True),
    "SO_RCVBUF": (socket.SOL_SOCKET, socket.SO_RCVBUF, True),
    "SO_SNDLOWAT": (socket.SOL_SOCKET, socket.SO_SNDLOWAT, True),
    "SO_RCVLOWAT": (socket.SOL_SOCKET, socket.SO_RCVLOWAT, True),
}


def open_listeners(address: str, port: int, family: int, backlog: int, options: str) -> tuple[list[socket.socket], list[str]]:
    """(sockets, lines about addresses that could not be bound). Raises SocketError when none can be."""
    try:
        found = socket.getaddrinfo(address or None, port, FAMILIES[family], socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except OSError as error:
        raise SocketError(f"getaddrinfo: bind address {address or '*'}: {error.strerror}") from error
    sockets: list[socket.socket] = []
    failures: list[str] = []
    for kind, sort, protocol, _, place in found:
        sock = None
        try:
            sock = socket.socket(kind, sort, protocol)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if kind == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            failures += set_socket_options(sock, options)
            sock.bind(place)
            sock.listen(backlog)
            sock.setblocking(False)
            sockets.append(sock)
        except OSError as error:
            failures.append(f"bind to {place[0]} port {port} failed: {error.strerror} (address-family {int(kind)})")
            if sock:
                sock.close()
    if not sockets:
        raise SocketError(f"unable to bind any inbound sockets on port {port}: {'; '.join(failures)}")
    return sockets, failures


def set_socket_options(sock: socket.socket, options: str) -> list[str]:
    """Sets `NAME` or `NAME=NUMBER` words (socket.c:set_socket_options); the lines about those that failed."""
    failures = []
    for word in options.replace(",", " ").split():
        name, equals, text = word.partition("=")
        try:
            if name in TOS_VALUES and not equals:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, TOS_VALUES[name])
                continue
            level, number, valued = OPTIONS[name]
            if valued and not equals:
                raise ValueError
            sock.setsockopt(level, number, int(text) if equals else 1)
        except KeyError:
            failures.append(f"Unknown socket option {word}")
        except ValueError:
            failures.append(f"socket option {word}: needs a number")
        except OSError as error:
            failures.append(f"failed to set socket option {word}: {error.strerror}")
    return failures
