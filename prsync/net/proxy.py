"""HTTP CONNECT through the proxy that RSYNC_PROXY names (socket.c:establish_proxy_connection)."""

from __future__ import annotations

import binascii
import socket
from typing import NamedTuple

from prsync.errors import SocketError

REQUEST_BYTES = 1024
LINE_BYTES = 1023  # of an answer, with its newline


class Proxy(NamedTuple):
    host: str
    port: str
    login: bytes | None = None  # user:password


def parse_proxy(text: str) -> Proxy:
    """[USER:PASS@]HOST:PORT. Raises SocketError."""
    login, at, place = text.rpartition("@")
    if at and ":" not in login:
        raise SocketError("invalid proxy specification: should be USER:PASS@HOST:PORT")
    host, colon, port = place.partition(":")
    if not colon:
        raise SocketError("invalid proxy specification: should be HOST:PORT")
    return Proxy(host, port, login.encode("utf-8", "surrogateescape") if at else None)


def connect_request(host: str, port: int, login: bytes | None) -> bytes:
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in host):
        raise SocketError("invalid control character in proxy CONNECT host")
    name = host.encode("utf-8", "surrogateescape")
    if b":" in name:
        name = b"[" + name + b"]"
    head = b"CONNECT %b:%d HTTP/1.0" % (name, port)
    if login is not None:
        head += b"\r\nProxy-Authorization: Basic " + binascii.b2a_base64(login, newline=False)
    if len(head) > REQUEST_BYTES:
        raise SocketError("proxy CONNECT request too long")
    return head + b"\r\n\r\n"


def open_tunnel(connection: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Raises SocketError when the proxy refuses. Nothing behind the proxy's header is consumed."""
    try:
        connection.sendall(connect_request(host, port, proxy.login))
        status = _line(connection, "line")
        version, _, rest = status.partition(" ")
        if not version.startswith("HTTP/") or not rest.lstrip().startswith("2"):
            raise SocketError(f"bad response from proxy -- {status}")
        while _line(connection, "header line"):
            pass
    except OSError as error:
        raise SocketError(f"failed to talk to the proxy {proxy.host}:{proxy.port}: {error}") from None


def _line(connection: socket.socket, what: str) -> str:
    """Byte by byte: what follows the header belongs to the daemon."""
    line = bytearray()
    while not line.endswith(b"\n"):
        if len(line) >= LINE_BYTES:
            raise SocketError(f"proxy response {what} too long")
        byte = connection.recv(1)
        if not byte:
            raise SocketError("failed to read from proxy: the connection was closed")
        line += byte
    return line.rstrip(b"\r\n").decode("latin-1")
