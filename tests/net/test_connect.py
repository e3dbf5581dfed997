"""Connections: addresses, families, time limits, RSYNC_CONNECT_PROG."""

from __future__ import annotations

import socket
import time

import pytest

from prsync.errors import ConnectTimeout, SocketError
from prsync.net import connect as module
from prsync.net.connect import Route, connect


def test_connected_socket_sends_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, connect("127.0.0.1", server.getsockname()[1], Route()) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection.gettimeout() is None


def test_refused_connection_says_where_and_why() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(SocketError) as caught:
            connect("127.0.0.1", port, Route())
    assert caught.value.text == "rsync: [Receiver] failed to connect to 127.0.0.1 (127.0.0.1): Connection refused (111)"
    assert caught.value.code == 10


def test_next_address_is_tried_when_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", sock.getsockname()) for sock in (closed, server)]
        monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_: found)
        with connect("several", 1, Route()) as connection:
            assert connection.getpeername() == server.getsockname()


def test_slow_address_does_not_hold_up_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, full_listener() as (slow, _held):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", sock.getsockname()) for sock in (slow, server)]
        monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_: found)
        begun = time.monotonic()
        with connect("several", 1, Route()) as connection:
            assert connection.getpeername() == server.getsockname()
        assert time.monotonic() - begun < 3


class full_listener:
    """A listening socket whose queue is full: connections to it hang."""

    def __enter__(self) -> tuple[socket.socket, list[socket.socket]]:
        self.server = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.held = []
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(self.server.getsockname())
            self.held.append(sock)
        return self.server, self.held

    def __exit__(self, *_: object) -> None:
        for sock in (self.server, *self.held):
            sock.close()


def test_connection_that_takes_too_long_ends_with_35() -> None:
    with full_listener() as (server, _held), pytest.raises(ConnectTimeout) as caught:
        connect("127.0.0.1", server.getsockname()[1], Route(timeout=0.3))
    assert caught.value.code == 35


def test_unknown_host_ends_with_10() -> None:
    with pytest.raises(SocketError) as caught:
        connect("no-such-host.invalid", 873, Route())
    assert caught.value.text.startswith("rsync: getaddrinfo: no-such-host.invalid 873: ") and caught.value.code == 10


def test_bind_address_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with connect("127.0.0.1", port, Route(bind_address="127.0.0.2")) as connection:
            assert connection.getsockname()[0] == "127.0.0.2"


def test_family_is_kept_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(SocketError):
        connect("127.0.0.1", server.getsockname()[1], Route(family=6))


def test_program_stands_for_the_connection() -> None:
    route = Route(program="read word; echo $word %H 100%% $RSYNC_PORT", environment={"PATH": "/usr/bin:/bin"})
    with connect("host.example", 99, route) as connection:
        connection.sendall(b"hello\n")
        assert connection.recv(100) == b"hello host.example 100% 99\n"
        assert connection.getpeername()[0] == "127.0.0.1", "a daemon that is started so allows or denies its peer by address"


@pytest.mark.parametrize("host", ["-x", "a;b", "$(x)", ""])
def test_host_that_a_shell_could_misread_is_refused(host: str) -> None:
    with pytest.raises(SocketError):
        connect(host, 1, Route(program="echo %H"))
