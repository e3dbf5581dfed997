"""Runs a synchronous transfer pump on a socket under trio: one task receives, one runs the pump and sends.

The sending task tries the socket first and waits only when it must; the receiving task reads on, within bounds, while the
other waits to send: so neither side can hold up the other.
"""

from __future__ import annotations

import itertools
import math
import socket
import time
from collections.abc import Callable

import trio

from prsync.errors import PrsyncError, SocketError, StreamError, TransferTimeout
from prsync.transfer.pump import Pump, Want, give

TURNS_BETWEEN_CHECKPOINTS = 16  # the receiving task gets its turn even while sending never waits
LULL_SHARE = 2  # a keep-alive is due after this part of the timeout without output
BANDWIDTH_SLICE = 0.1  # seconds of data that --bwlimit lets through at once


class SocketPump:
    """`timeout`: seconds without a byte in either direction after which TransferTimeout is raised, 0 none.
    `bandwidth`: bytes a second that are sent at most, 0 no limit. Counts the bytes that went through.

    `tick`: called when the pump wants input and all output is written; after so many seconds without input the pump is run
    again all the same (None: only with input)."""

    def __init__(
        self,
        sock: socket.socket,
        pump: Pump,
        *,
        timeout: int = 0,
        bandwidth: int = 0,
        early: bytes = b"",
        tick: Callable[[], float | None] | None = None,
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.pump = pump
        self.timeout = timeout
        self.bandwidth = bandwidth
        self.received = len(early)
        self.sent = 0
        self._tick = tick
        self._early = early
        self._news = bool(early)  # received since the pump last ran
        self._arrived = trio.Event()
        self._taken = trio.Event()
        self._last_output = time.monotonic()
        self._scope = trio.CancelScope()
        self._debt = 0.0  # seconds that --bwlimit makes us wait

    def set_timeout(self, seconds: int) -> None:
        """Another timeout from now on (MSG_IO_TIMEOUT)."""
        self.timeout = seconds
        self._progress()

    async def run(self) -> None:
        """Until the pump has come to its end and its output is written. Raises EngineError, SocketError, StreamError,
        TransferTimeout."""
        self._progress()
        give(self.pump, self._early)
        finished = False
        failure: BaseException | None = None
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive)
                    await self._drive()
                    finished = True
                    nursery.cancel_scope.cancel()
            except* PrsyncError as group:
                failure = group.exceptions[0]
        if failure is not None:
            raise failure
        if not finished:
            raise TransferTimeout(f"io timeout after {self.timeout} seconds -- exiting")

    async def flush(self) -> None:
        """Writes the pump's output, with a time limit; what cannot be written is dropped. For the last words of a failure."""
        with trio.CancelScope(deadline=trio.current_time() + (self.timeout or 10), shield=True):
            try:
                await self._write()
            except (SocketError, StreamError):
                return

    async def _drive(self) -> None:
        for turn in itertools.count(1):
            self._news = False
            want = self.pump.run()
            self._taken.set()
            await self._write()
            if turn % TURNS_BETWEEN_CHECKPOINTS == 0:
                await trio.lowlevel.checkpoint()
            if want is Want.NOTHING:
                return
            if want is Want.INPUT:
                await self._await_input(self._tick() if self._tick else None)
            self._keep_alive()

    async def _await_input(self, within: float | None) -> None:
        """Until something has come, or for so many seconds where there is a limit."""
        with trio.move_on_after(math.inf if within is None else within):
            while not self._news:
                self._arrived = trio.Event()
                with trio.move_on_after(self.timeout / LULL_SHARE if self.timeout else math.inf):
                    await self._arrived.wait()
                if not self._news:
                    self._keep_alive()
                    await self._write()

    def _keep_alive(self) -> None:
        if self.timeout and time.monotonic() - self._last_output >= self.timeout / LULL_SHARE:
            self.pump.keep_alive()

    async def _receive(self) -> None:
        while True:
            while (room := self.pump.room()) is None:
                self._taken = trio.Event()
                await self._taken.wait()
            await trio.lowlevel.wait_readable(self.sock.fileno())
            room = self.pump.room()
            if room is None:
                continue
            try:
                count = self.sock.recv_into(room)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise SocketError(f"read error: {error.strerror} ({error.errno})") from error
            self._progress()
            self.received += count
            self.pump.received(count)
            self._news = True
            self._arrived.set()
            if not count:
                return

    async def _write(self) -> None:
        out = self.pump.output()
        while len(out):
            if self.bandwidth:
                out = out[: max(int(self.bandwidth * BANDWIDTH_SLICE), 512)]
            try:
                count = self.sock.send(out)
            except (BlockingIOError, InterruptedError):
                await trio.lowlevel.wait_writable(self.sock.fileno())
                continue
            except OSError as error:
                raise SocketError(f"write error: {error.strerror} ({error.errno})") from error
            self.sent += count
            self._last_output = time.monotonic()
            self._progress()
            self.pump.sent(count)
            if self.bandwidth:
                await trio.sleep(count / self.bandwidth)
            out = self.pump.output()

    def _progress(self) -> None:
        if self.timeout:
            self._scope.deadline = trio.current_time() + self.timeout


def run_pump(pump: SocketPump, announce: Callable[[PrsyncError], None]) -> PrsyncError | None:
    """Runs a pump under trio to its end. After a failure `announce` may put last words in the pump's output, which are
    written within a few seconds; the failure is the answer."""
    return trio.run(_run, pump, announce)


async def _run(pump: SocketPump, announce: Callable[[PrsyncError], None]) -> PrsyncError | None:
    try:
        await pump.run()
    except PrsyncError as error:
        announce(error)
        await pump.flush()
        return error
    return None
