"""A remote shell for recordings and for players: what the client says goes to a port of this machine, the command line first.

As a program (-e "python shell.py PORT"): HOST COMMAND…; as a module: the door behind that port, which starts the command.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

WORDS_MOST = 1 << 16


def relay(port: int, words: list[str]) -> None:
    """Passes on both directions until the far side has ended. The words are a line in front, separated by NUL."""
    for descriptor in (0, 1):  # the client has made its pipes non-blocking, for both ends
        os.set_blocking(descriptor, True)
    far = socket.create_connection(("127.0.0.1", port))
    far.sendall(b"\0".join(os.fsencode(word) for word in words) + b"\n")
    ways: dict[int, Callable[[bytes], None]] = {0: far.sendall, far.fileno(): lambda data: write_all(1, data)}
    while far.fileno() in ways:
        for fd in select.select(list(ways), [], [])[0]:
            try:
                data = os.read(fd, 1 << 16)
                ways[fd](data)
            except OSError:
                return
            if not data:
                del ways[fd]
                if fd == 0:
                    with contextlib.suppress(OSError):
                        far.shutdown(socket.SHUT_WR)


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


class Door:
    """Takes the relays' connections and gives each to the server that its words ask for; `server`: what to start for rsync."""

    def __init__(self, server: list[str], environment: dict[str, str]) -> None:
        self._server, self._environment = server, environment
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                words = read_words(connection)
                subprocess.Popen([*self._server, *words], stdin=connection, stdout=connection, env=self._environment).wait(60)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def read_words(connection: socket.socket) -> list[str]:
    """The server's arguments: those behind the host and its command."""
    line = b""
    while not line.endswith(b"\n") and len(line) < WORDS_MOST:
        line += connection.recv(1)
    return server_words(line)


def server_words(line: bytes) -> list[str]:
    return [os.fsdecode(word) for word in line[:-1].split(b"\0")[2:]]


if __name__ == "__main__":
    relay(int(sys.argv[1]), sys.argv[2:])
