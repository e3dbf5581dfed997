"""TCP connections to daemons: addresses tried side by side, through a proxy where one is set, or through RSYNC_CONNECT_PROG.

Blocking: used before the event loop is there (a client's handshake), and by processes that have none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from prsync.errors import ConnectTimeout, SocketError
from prsync.net.proxy import Proxy, open_tunnel

DEFAULT_SHELL = "ssh"
PAIR_SECONDS = 60.0  # for a connection to ourselves
STAGGER_SECONDS = 0.25  # before the next address is tried beside the one that has not answered


class Route(NamedTuple):
    """How connections are made, whoever they go to."""

    family: int = 0  # 4, 6; 0: either
    bind_address: str | None = None
    timeout: float = 0  # --contimeout; 0: none
    proxy: Proxy | None = None
    program: str | None = None  # RSYNC_CONNECT_PROG
    environment: Mapping[str, str] = {}  # of that program, and of the remote shell
    shell: str = DEFAULT_SHELL  # -e, RSYNC_RSH


QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
FAMILIES = {0: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


def connect(host: str, port: int, route: Route) -> socket.socket:
    """A connected blocking socket. Raises SocketError (exit 10) or ConnectTimeout (35)."""
    if route.program is not None:
        return _run_program(route.program, host, port, route.environment)
    if route.proxy is None:
        return _prepare(_connect_first(host, str(port), route))
    connection = _prepare(_connect_first(route.proxy.host, route.proxy.port, route))
    try:
        open_tunnel(connection, host, port, route.proxy)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: socket.socket) -> socket.socket:
    connection.setblocking(True)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def acknowledge_now(connection: socket.socket) -> None:
    """Before a wait for a remote that writes in small pieces: it holds each back until the one before is acknowledged, which
    without this takes tens of milliseconds (Linux; the setting does not last)."""
    if QUICK_ACK is not None:
        with contextlib.suppress(OSError):  # no TCP socket
            connection.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)


def _plain(host: str) -> str | bytes:
    """An ordinary name as bytes: for text Python loads its tables of international names first, which takes 2 ms."""
    ordinary = host.isascii() and all(0 < len(label) < 64 for label in host.split("."))
    return host.encode() if ordinary else host


def _connect_first(host: str, port: str, route: Route) -> socket.socket:
    try:
        found = socket.getaddrinfo(_plain(host), port, FAMILIES[route.family], socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise SocketError(f"rsync: getaddrinfo: {host} {port}: {why}") from None
    deadline = time.monotonic() + route.timeout if route.timeout > 0 else None
    failures: list[str] = []
    racing: dict[socket.socket, Any] = {}
    addresses = iter(found)
    winner: socket.socket | None = None
    try:
        while winner is None:
            racing.update(_start_next(addresses, host, route, failures))
            if not racing:
                raise SocketError("\n".join(failures) or f"rsync: failed to connect to {host}: no address could be used")
            winner = _wait(racing, host, deadline, failures)
        racing.pop(winner)
        return winner
    finally:
        for loser in racing:
            loser.close()


def _start_next(addresses: Iterator[Any], host: str, route: Route, failures: list[str]) -> dict[socket.socket, Any]:
    """Begins to connect to the next address that can be tried at all."""
    for family, kind, protocol, _, address in addresses:
        candidate = socket.socket(family, kind, protocol)
        try:
            if route.bind_address:
                _bind(candidate, family, route.bind_address)
            candidate.setblocking(False)
            code = candidate.connect_ex(address)
        except OSError as error:
            code = error.errno or errno.EADDRNOTAVAIL
        if code in (0, errno.EINPROGRESS):
            return {candidate: address}
        candidate.close()
        failures.append(_failure(host, address, code))
    return {}


def _bind(candidate: socket.socket, family: int, bind_address: str) -> None:
    try:
        found = socket.getaddrinfo(bind_address, None, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SocketError(f"rsync: getaddrinfo {bind_address}: {error}") from None
    candidate.bind(found[0][4])


def _wait(racing: dict[socket.socket, Any], host: str, deadline: float | None, failures: list[str]) -> socket.socket | None:
    """The first socket that is connected, or None when the next address should be tried beside them."""
    with selectors.DefaultSelector() as selector:
        for candidate in racing:
            selector.register(candidate, selectors.EVENT_WRITE)
        wait = STAGGER_SECONDS
        if deadline is not None:
            wait = min(wait, deadline - time.monotonic())
            if wait <= 0:
                raise ConnectTimeout(f"rsync: no connection to {host} within --contimeout")
        ready = {key.fd for key, _ in selector.select(wait)}
    for candidate in [candidate for candidate in racing if candidate.fileno() in ready]:
        code = candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code:
            return candidate
        failures.append(_failure(host, racing.pop(candidate), code))
        candidate.close()
    return None


def _failure(host: str, address: Any, code: int) -> str:
    return f"rsync: [Receiver] failed to connect to {host} ({address[0]}): {os.strerror(code)} ({code})"


def _run_program(program: str, host: str, port: int, environment: Mapping[str, str]) -> socket.socket:
    """RSYNC_CONNECT_PROG: a shell command on the other end of a socket pair; %H is the host, %% a percent sign."""
    import subprocess  # and all that it brings: few runs need it

    if "%" in program:
        if not _is_plain(host):
            raise SocketError("unsafe host characters for RSYNC_CONNECT_PROG")
        program = "%".join(part.replace("%H", f"'{host}'") for part in program.split("%%"))
    try:
        ours, theirs = _tcp_pair()
    except OSError as error:
        raise SocketError(f"rsync: no local connection for RSYNC_CONNECT_PROG: {error.strerror}") from None
    with theirs:
        ends = theirs.fileno()
        subprocess.Popen(["/bin/sh", "-c", program], stdin=ends, stdout=ends, env={**environment, "RSYNC_PORT": str(port)})
    return ours


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    """A pair over the loopback interface (socket.c:socketpair_tcp): a daemon that the command starts asks for its peer's
    address. Raises OSError, also when somebody else gets in between."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        theirs = socket.create_connection(server.getsockname(), PAIR_SECONDS)
        server.settimeout(PAIR_SECONDS)
        try:
            ours, address = server.accept()
        except OSError:
            theirs.close()
            raise
    theirs.settimeout(None)
    ours.settimeout(None)
    if address != theirs.getsockname():
        ours.close()
        theirs.close()
        raise OSError(errno.EPERM, "it is somebody else's")
    return ours, theirs


def _is_plain(host: str) -> bool:
    """Nothing that a shell, or a shell within that shell, could take for more than a name (socket.c)."""
    return host[:1] not in ("", "-", "+", "~", "%") and all((c.isascii() and c.isalnum()) or c in "._:-%+~" for c in host)
