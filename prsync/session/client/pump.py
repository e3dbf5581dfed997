"""Moves a pull's bytes over its connection: whatever is ready, in one thread; receiving never waits for sending.

Needs no event loop, so that a plain pull does not pay for one. A swarm session drives the same `Wire` from its own loop.
"""

from __future__ import annotations

import select
import socket
import time

from prsync.errors import PrsyncError, SocketError, TransferTimeout
from prsync.net.connect import acknowledge_now
from prsync.transfer.pump import Want, give
from prsync.transfer.receiver import Receiver

FAREWELL_SECONDS = 1.0  # for telling the remote of a failure


class Wire:
    """One connection of a session and its receiver. Non-blocking; nothing of the core's memory is held across a wait."""

    def __init__(self, connection: socket.socket, receiver: Receiver, timeout: float, before: bytes, raw_names: bytes) -> None:
        """`before`: bytes already received. `raw_names`: sent between our first output and the rest (protocol 30)."""
        self.connection = connection
        self.receiver = receiver
        self.timeout = timeout
        self._before = before
        self._raw = memoryview(raw_names)
        self._gone = False  # the remote takes nothing any more
        self._first = len(receiver.output()) if raw_names else 0
        self.last_in = self.last_out = time.monotonic()
        connection.setblocking(False)

    def start(self) -> None:
        """Gives the receiver what was received with the handshake's last bytes."""
        data, self._before = self._before, b""
        give(self.receiver, data)

    def wants_to_send(self) -> bool:
        if self._gone:
            self.receiver.sent(len(self.receiver.output()))
            return False
        return bool(self._raw) or len(self.receiver.output()) > 0

    def send_some(self) -> bool:
        """False: nothing could be sent now."""
        if self._raw and not self._first:
            count = self._try_send(self._raw)
            self._raw = self._raw[count:]
            self.receiver.context.stats.total_written += count
            return count > 0
        view = self.receiver.output()
        if self._first:
            view = view[: self._first]
        if not view:
            return False
        count = self._try_send(view)
        self._first -= count if self._first else 0
        view.release()
        if count:
            self.receiver.sent(count)
        return count > 0

    def _try_send(self, view: memoryview) -> int:
        try:
            count = self.connection.send(view)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            # The remote may have said why before it closed: that is still to be read.
            if self.receive_some():
                return 0
            if self.receiver.ended:  # it has said its last, and wants to hear no more
                self._gone = True
                return 0
            raise SocketError(f"rsync: [receiver] write error: {error.strerror} ({error.errno})") from None
        self.last_out = time.monotonic()
        return count

    def receive_some(self) -> bool:
        """False: nothing is there now, or will be."""
        room = self.receiver.room()
        if room is None:
            return False
        try:
            count = self.connection.recv_into(room)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            raise SocketError(f"rsync: [receiver] read error: {error.strerror} ({error.errno})") from None
        self.last_in = time.monotonic()
        self.receiver.received(count)
        return count > 0

    def keep_alive(self, now: float) -> None:
        """io.c:maybe_send_keepalive: an empty data message when we have been silent for half of the timeout."""
        if self.timeout and now - self.last_out >= (self.timeout + 1) // 2 and not self.wants_to_send():
            self.receiver.keep_alive()

    def check_time(self, now: float) -> None:
        if self.timeout and now - max(self.last_in, self.last_out) >= self.timeout:
            raise TransferTimeout(f"rsync: [receiver] io timeout after {self.timeout:.0f} seconds -- exiting")

    def wait_limit(self) -> float | None:
        """Seconds until a keep-alive or the timeout is due."""
        return max(min(self.timeout / 2, 10.0), 0.1) if self.timeout else None

    def say_farewell(self) -> None:
        """Sends what is left, as far as the remote takes it: it may hold the news of our failure."""
        end = time.monotonic() + FAREWELL_SECONDS
        try:
            while self.wants_to_send() and time.monotonic() < end:
                if not self.send_some():
                    select.select([], [self.connection], [], 0.1)
        except (PrsyncError, OSError):
            return


def run_pull(wire: Wire) -> None:
    """Until the session's goodbye. Raises what ends it earlier."""
    poller = select.poll()
    poller.register(wire.connection, select.POLLIN)
    asked = select.POLLIN
    wire.start()
    while True:
        need = wire.receiver.run()
        if wire.wants_to_send():
            wire.send_some()
        sends = wire.wants_to_send()
        reads = need is not Want.NOTHING
        if not sends and not reads:
            return
        limit = wire.wait_limit()
        if (reads and wire.receive_some()) or (need is Want.OUTPUT and not sends) or wire.receiver.settle():
            if limit is not None:
                wire.keep_alive(time.monotonic())
            continue
        wanted = (select.POLLIN if reads else 0) | (select.POLLOUT if sends else 0)
        if wanted != asked:
            poller.modify(wire.connection, wanted)
            asked = wanted
        acknowledge_now(wire.connection)
        poller.poll(None if limit is None else limit * 1000)
        if limit is not None and not wire.receive_some():
            now = time.monotonic()
            wire.check_time(now)
            wire.keep_alive(now)
