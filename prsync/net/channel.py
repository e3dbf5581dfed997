"""Blocking words with a remote, before a session's loop takes its stream over: send all, receive some, within a time limit."""

from __future__ import annotations

import errno
import os
import select
from typing import NoReturn

from prsync.errors import PrsyncError, SocketError, StreamError, TransferTimeout
from prsync.net.streams import Stream

RECEIVE_BYTES = 1 << 16
LAST_READS = 64  # of a remote that takes nothing any more


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
            except BrokenPipeError:
                self._hear_the_end()
            except OSError as error:
                if not self.received_bytes:
                    self.receive()  # it ended before it said anything: that, and not how soon we wrote, decides what is said
                raise SocketError(f"rsync: [{self.who}] write error: {error.strerror} ({error.errno})") from None
            else:
                if not count:
                    self._wait(self.stream.writer, select.POLLOUT)
                view = view[count:]
        self.sent_bytes += len(data)

    def _hear_the_end(self) -> NoReturn:
        """The remote takes nothing any more; what it still says is read, as by rsync, to its end."""
        for _ in range(LAST_READS):
            self.receive()
        raise SocketError(f"rsync: [{self.who}] write error: {os.strerror(errno.EPIPE)} ({errno.EPIPE})")

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


class Words:
    """Bytes, words and rests out of a channel, which it reads ahead. Raises as the channel does."""

    def __init__(self, channel: Channel, before: bytes = b"") -> None:
        self.channel = channel
        self._buffer = bytearray(before)

    def some(self, most: int) -> bytes:
        """At least one byte."""
        if not self._buffer:
            self._buffer += self.channel.receive()
        return self._taken(most)

    def word(self, limit: int) -> bytes:
        """What stands before the next NUL. Raises StreamError for a longer one."""
        start = 0
        while (at := self._buffer.find(b"\0", start)) < 0:
            start = len(self._buffer)
            if start > limit:
                break
            self._buffer += self.channel.receive()
        if not 0 <= at <= limit:
            raise StreamError(f"a word of over {limit} bytes from the remote [{self.channel.who}]")
        word = self._taken(at)
        del self._buffer[:1]
        return word

    def give_back(self, data: bytes) -> None:
        """Bytes that were taken and belong to what follows."""
        self._buffer[:0] = data

    def take_rest(self) -> bytes:
        """What was received and not taken."""
        return self._taken(len(self._buffer))

    def _taken(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data
