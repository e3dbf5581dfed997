"""A proxy between a client and a daemon on this machine: records what the client sends, counts or changes what it receives."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class Tap:
    """Relays the connections to `port` one by one. `sent`, `received`: of all of them. `change`: alters what the daemon sends.

    `change(data, position)` gets each chunk with its position in the stream and returns what is passed on; None ends both sides.
    """

    def __init__(
        self, port: int, change: Callable[[bytes, int], bytes | None] | None = None, ask: Callable[[bytes], bytes] = bytes
    ) -> None:
        """`ask` alters what the client sends."""
        self._to, self._change, self._ask = port, change, ask
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.sent, self.received = b"", 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Tap:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(20)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._server.accept()[0]
                daemon = socket.create_connection(("127.0.0.1", self._to))
                for work in (self._up, self._down):
                    self._threads.append(threading.Thread(target=work, args=(client, daemon), daemon=True))
                    self._threads[-1].start()

    def _up(self, client: socket.socket, daemon: socket.socket) -> None:
        with contextlib.suppress(OSError):
            with contextlib.suppress(ConnectionResetError):  # of a client that was killed: the daemon must hear of it
                while data := client.recv(65536):
                    self.sent += data
                    daemon.sendall(self._ask(data))
            daemon.shutdown(socket.SHUT_WR)

    def _down(self, client: socket.socket, daemon: socket.socket) -> None:
        with client, daemon:
            with contextlib.suppress(OSError):
                while data := daemon.recv(65536):
                    position, self.received = self.received, self.received + len(data)
                    passed = self._change(data, position) if self._change else data
                    if passed is None:
                        break
                    client.sendall(passed)
            for end in (client, daemon):  # to close them is not enough: the other thread waits in them
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
