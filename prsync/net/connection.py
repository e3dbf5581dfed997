"""A daemon's connection before the loop takes it over, with blocking calls: a socket, or the pipes of a remote shell."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Protocol

from prsync.net.streams import PipeStream, SocketStream, Stream


class Connection(Protocol):
    """Blocking calls, with the time limit that was set: TimeoutError beyond it. Raises OSError."""

    def recv(self, size: int, /) -> bytes: ...

    def sendall(self, data: bytes, /) -> None: ...

    def settimeout(self, seconds: float | None, /) -> None: ...

    def shutdown(self, how: int, /) -> None: ...


class PipeConnection:
    """Over two descriptors, which it owns. They may be shared: their mode is put back at `close`."""

    def __init__(self, reader: int, writer: int) -> None:
        self.stream = PipeStream(reader, writer, keep_mode=True)
        self._timeout: float | None = None

    def settimeout(self, seconds: float | None, /) -> None:
        self._timeout = seconds

    def recv(self, size: int, /) -> bytes:
        room = memoryview(bytearray(size))
        end = self._end()
        while (count := self.stream.read_into(room)) is None:
            _wait(self.stream.reader, select.POLLIN, end)
        return bytes(room[:count])

    def sendall(self, data: bytes, /) -> None:
        view, end = memoryview(data), self._end()
        while view:
            count = self.stream.write(view)
            if not count:
                _wait(self.stream.writer, select.POLLOUT, end)
            view = view[count:]

    def shutdown(self, how: int, /) -> None:
        """There is no way to say so on a pipe that stays open; the remote sees the process end."""

    def close(self) -> None:
        self.stream.close()

    def _end(self) -> float | None:
        return None if self._timeout is None else time.monotonic() + self._timeout


def _wait(descriptor: int, wanted: int, end: float | None) -> None:
    poller = select.poll()
    poller.register(descriptor, wanted)
    left = None if end is None else max(end - time.monotonic(), 0.0)
    if not poller.poll(None if left is None else left * 1000 + 1) and left == 0.0:
        raise TimeoutError(110, os.strerror(110))


def stream_of(connection: Connection) -> Stream:
    """For the session's loop, which takes over from the blocking calls."""
    if isinstance(connection, socket.socket):
        return SocketStream(connection)
    assert isinstance(connection, PipeConnection)
    return connection.stream
