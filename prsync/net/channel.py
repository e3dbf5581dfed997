"""Blocking words with a remote, before a session's loop takes its stream over: send all, receive some, within a time limit."""

from __future__ import annotations

import select

from prsync.errors import PrsyncError, SocketError, StreamError, TransferTimeout
from prsync.net.streams import Stream

RECEIVE_BYTES = 1 << 16


class Channel:
    """`timeout`: seconds that one call may wait, 0 no limit. `who`: our role, in messages.

    Raises SocketError, TransferTimeout, and StreamError at the end of the remote's data."""

    def __init__(self, stream: Stream, timeout: float = 0.0, who: str = "Receiver") -> None:
        self.stream = stream
        self.timeout = timeout
        self.who = who
        self.received_bytes = self.sent_bytes = 0
        self._room = memoryview(bytearray(RECEIVE_BYTES))

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                count = self.stream.write(view)
            except OSError as error:
                raise SocketError(f"rsync: [{self.who}] write error: {error.strerror} ({error.errno})") from None
            if not count:
                self._wait(self.stream.writer, select.POLLOUT)
            view = view[count:]
        self.sent_bytes += len(data)

    def receive(self, at_end: PrsyncError | None = None) -> bytes:
        """At least one byte. `at_end`: what is raised where the remote has closed."""
        self.stream.about_to_wait()
        while True:
            try:
                count = self.stream.read_into(self._room)
            except OSError as error:
                raise SocketError(f"rsync: [{self.who}] read error: {error.strerror} ({error.errno})") from None
            if count is not None:
                break
            self._wait(self.stream.reader, select.POLLIN)
        if not count:
            raise at_end or StreamError(
                f"rsync: connection unexpectedly closed ({self.received_bytes} bytes received so far) [{self.who}]"
            )
        self.received_bytes += count
        return bytes(self._room[:count])

    def _wait(self, descriptor: int, events: int) -> None:
        poller = select.poll()
        poller.register(descriptor, events)
        if not poller.poll(self.timeout * 1000 if self.timeout else None):
            raise TransferTimeout(f"rsync: [{self.who}] io timeout after {self.timeout:.0f} seconds -- exiting")
