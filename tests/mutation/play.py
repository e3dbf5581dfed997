"""Recording of sessions through a proxy, and the playing of one side of them.

A script is what was said on one connection, in turns: (whether the client spoke, bytes). A recording is all connections of a run.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

QUIET_SECONDS = 0.04  # of silence after which a player speaks although it has not heard all that had been said
Turn = tuple[bool, bytes]


class Script(NamedTuple):
    port: int  # where the client connected to
    turns: list[Turn]


class Recording(NamedTuple):
    name: str
    arguments: list[str]  # of the program that hears it, or of the client; empty where it was none of the programs
    scripts: list[Script]
    full: bool = False  # a push: the client has the new tree


class Proxy:
    """Passes connections on to the real ports and writes down what is said. `ports`: of its own, for those it was given."""

    def __init__(self, *targets: int) -> None:
        self._targets = targets
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in targets]
        self.ports = [int(listener.getsockname()[1]) for listener in self._listeners]
        self._scripts: list[Script] = []
        self._threads: list[threading.Thread] = []
        self._stopping = False
        for listener, target in zip(self._listeners, targets, strict=True):
            listener.settimeout(0.05)
            self._start(self._accept, listener, target)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self, listener: socket.socket, target: int) -> None:
        while not self._stopping:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            script = Script(listener.getsockname()[1], [])
            self._scripts.append(script)
            self._start(self._pass_on, client, socket.create_connection(("127.0.0.1", target)), script.turns)
        listener.close()

    def _pass_on(self, client: socket.socket, server: socket.socket, turns: list[Turn]) -> None:
        other = {client: server, server: client}
        for sock in other:
            sock.setblocking(True)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while other:
            ready, _, _ = select.select(list(other), [], [], 20)
            if not ready:
                break
            for sock in ready:
                try:
                    data = sock.recv(1 << 16)
                    if data:
                        (server if sock is client else client).sendall(data)
                except OSError:
                    data = b""
                if not data:
                    with contextlib.suppress(OSError):
                        other[sock].shutdown(socket.SHUT_WR)
                    del other[sock]
                elif turns and turns[-1][0] == (sock is client):
                    turns[-1] = (turns[-1][0], turns[-1][1] + data)
                else:
                    turns.append((sock is client, data))
        client.close()
        server.close()

    def take(self) -> list[Script]:
        """What was said since the last take; its connections must be over."""
        end = time.monotonic() + 3
        while len([t for t in self._threads if t.is_alive()]) > len(self._listeners) and time.monotonic() < end:
            time.sleep(0.01)
        scripts, self._scripts = self._scripts, []
        return [script for script in scripts if script.turns]

    def close(self) -> None:
        """Waits for the threads: the process is forked later."""
        self._stopping = True
        for thread in self._threads:
            thread.join()


class Player:
    """Says one side's turns of a script on a connection, each when it has heard as much as was said before it."""

    def __init__(self, sock: socket.socket, turns: list[Turn], as_client: bool, reset: bool = False) -> None:
        self.sock = sock
        self.over = False
        self.heard = bytearray()
        self._as_client = as_client
        self._turns = list(turns)
        self._wanted = 0  # bytes to be heard before the next turn
        self._pending = memoryview(b"")
        self._reset = reset
        self._said_all = False
        self._last = time.monotonic()
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._next_turn()

    def _next_turn(self) -> None:
        while self._turns and self._turns[0][0] != self._as_client:
            self._wanted += len(self._turns.pop(0)[1])

    def step(self) -> None:
        """Whatever can be done now."""
        self._hear()
        now = time.monotonic()
        if not self._pending and self._turns and (self._wanted <= 0 or now - self._last > QUIET_SECONDS):
            self._wanted = min(self._wanted, 0)
            self._pending = memoryview(self._turns.pop(0)[1])
            self._next_turn()
        try:
            if self._pending:
                self._pending = self._pending[self.sock.send(self._pending) :]
                self._last = now
            heard = self._wanted <= 0 or now - self._last > QUIET_SECONDS
            if heard and not (self._pending or self._turns or self._said_all):
                self._said_all = True
                if self._reset:
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close()
                else:
                    self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self._turns, self._pending, self._said_all = [], memoryview(b""), True

    def _hear(self) -> None:
        try:
            while data := self.sock.recv(1 << 16):
                self.heard += data
                del self.heard[:-4096]
                self._wanted -= len(data)
                self._last = time.monotonic()
            self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def close(self) -> None:
        self.over = True
        self.sock.close()
