"""HTTP CONNECT: what is sent, what is accepted, and what is left for the daemon's side."""

from __future__ import annotations

import socket
import threading

import pytest

from prsync.errors import SocketError
from prsync.net.connect import Route, connect
from prsync.net.proxy import Proxy, connect_request, open_tunnel, parse_proxy


@pytest.mark.parametrize(
    ("text", "proxy"),
    [("p:8080", Proxy("p", "8080")), ("u:w@p:1", Proxy("p", "1", b"u:w")), ("u:a@b@p:1", Proxy("p", "1", b"u:a@b"))],
)
def test_proxy_is_parsed(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize("text", ["p", "u@p:1", ""])
def test_malformed_proxy_is_refused(text: str) -> None:
    with pytest.raises(SocketError):
        parse_proxy(text)


def test_request_names_host_port_and_login() -> None:
    assert connect_request("h", 873, None) == b"CONNECT h:873 HTTP/1.0\r\n\r\n"
    assert connect_request("::1", 1, b"u:p") == b"CONNECT [::1]:1 HTTP/1.0\r\nProxy-Authorization: Basic dTpw\r\n\r\n"


def test_control_character_in_host_is_refused() -> None:
    with pytest.raises(SocketError):
        connect_request("h\r\nX: y", 873, None)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.0 200 OK\r\nVia: x\r\n\r\n@RSYNCD", None),
        (b"HTTP/1.1 200\n\n@RSYNCD", None),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n", "bad response from proxy -- HTTP/1.0 403 Forbidden"),
        (b"hello\r\n", "bad response from proxy -- hello"),
        (b"HTTP/1.0 200 OK\r\nVia", "failed to read from proxy"),
        (b"x" * 1023, "proxy response line too long"),
        (b"HTTP/1.0 200 " + b"x" * 1009 + b"\n\n@RSYNCD", None),
        (b"HTTP/1.0 200 OK\r\n" + b"x" * 1023, "proxy response header line too long"),
    ],
)
def test_proxys_answer_is_judged(answer: bytes, error: str | None) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        if error:
            with pytest.raises(SocketError) as caught:
                open_tunnel(ours, "h", 873, Proxy("p", "1"))
            assert error in caught.value.text
        else:
            open_tunnel(ours, "h", 873, Proxy("p", "1"))
            assert ours.recv(100) == b"@RSYNCD"


def test_connection_goes_through_the_proxy() -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                seen.append(peer.recv(1000))
                peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")

        thread = threading.Thread(target=serve)
        thread.start()
        proxy = Proxy("127.0.0.1", str(server.getsockname()[1]))
        with connect("origin.example", 873, Route(proxy=proxy)) as connection:
            assert connection.recv(10) == b"hello"
        thread.join()
    assert seen == [b"CONNECT origin.example:873 HTTP/1.0\r\n\r\n"]
