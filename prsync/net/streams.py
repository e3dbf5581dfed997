"""The stream contract: bytes to and from a remote, without waiting; what to wait for; close.

A socket and a pair of pipes are streams. Errors are the operating system's: who uses a stream knows which role failed.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import Protocol

from prsync.net.connect import acknowledge_now


class Stream(Protocol):
    """Non-blocking. `reader` and `writer` are the descriptors to wait for, equal where one serves both directions.

    All methods raise OSError."""

    @property
    def reader(self) -> int: ...

    @property
    def writer(self) -> int: ...

    def read_into(self, room: memoryview) -> int | None:
        """How many bytes came; None: nothing is there now; 0: the remote has closed its end."""

    def write(self, data: memoryview) -> int:
        """How many bytes went; 0: none now."""

    def about_to_wait(self) -> None:
        """Called before each wait for the remote."""

    def close(self) -> None: ...


class SocketStream:
    """Over a connected socket, which it makes non-blocking."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.reader = self.writer = connection.fileno()

    def read_into(self, room: memoryview) -> int | None:
        try:
            return self.connection.recv_into(room)
        except (BlockingIOError, InterruptedError):
            return None

    def write(self, data: memoryview) -> int:
        try:
            return self.connection.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def about_to_wait(self) -> None:
        acknowledge_now(self.connection)

    def close(self) -> None:
        self.connection.close()


class FileStream:
    """A file, or what else can only be read, in place of a remote; owns the descriptor. What is written is dropped."""

    def __init__(self, reader: int) -> None:
        self.reader = self.writer = reader
        self._poller = select.poll()
        self._poller.register(reader, select.POLLIN)

    def read_into(self, room: memoryview) -> int | None:
        return os.readv(self.reader, [room]) if self._poller.poll(0) else None

    def write(self, data: memoryview) -> int:
        return len(data)

    def about_to_wait(self) -> None:
        """A file holds nothing back."""

    def close(self) -> None:
        os.close(self.reader)


class PipeStream:
    """Over two descriptors, which it owns and makes non-blocking: pipes to a remote shell, a server's standard input and output.

    `keep_mode`: the descriptors are shared with others, who see the mode too; it is put back at `close`."""

    def __init__(self, reader: int, writer: int, keep_mode: bool = False) -> None:
        self.reader, self.writer = reader, writer
        self._modes = [(fd, os.get_blocking(fd)) for fd in (reader, writer)] if keep_mode else []
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

    def read_into(self, room: memoryview) -> int | None:
        try:
            return os.readv(self.reader, [room])
        except (BlockingIOError, InterruptedError):
            return None

    def write(self, data: memoryview) -> int:
        try:
            return os.write(self.writer, data)
        except (BlockingIOError, InterruptedError):
            return 0

    def about_to_wait(self) -> None:
        """Pipes hold nothing back."""

    def close(self) -> None:
        for fd, blocking in self._modes:
            with contextlib.suppress(OSError):
                os.set_blocking(fd, blocking)
        for fd in {self.reader, self.writer}:
            with contextlib.suppress(OSError):
                os.close(fd)
