"""A peer as a source: a daemon that speaks nominate/1, the origin too (protocol-spec/nominate-1.md §1, fetch and data)."""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio

from prsync.engine.context import Context, Status
from prsync.engine.fetch import Memory, PeerFetch
from prsync.errors import PrsyncError, SocketError, StreamError
from prsync.net.handshake import Login
from prsync.protocol.extension import FrameStates, State
from prsync.protocol.frames import Bye, FrameType, Hello, Report, encode_frame
from prsync.sources.base import Flush, SlotFree, SourceSettings, below
from prsync.sources.connection import enter_peer, no_password, open_connection

RECEIVES_PER_TURN = 4  # then other sources, and what is to be reported, have their turn
SEND_BYTES = 64 << 10


class PeerSource:
    """One peer connection. `connected`: a socket that is through its handshake, with what came beyond it (for credentials)."""

    def __init__(
        self,
        settings: SourceSettings,
        memory: Memory,
        flush: Flush,
        slot_free: SlotFree,
        connected: tuple[socket.socket, bytes] | None = None,
    ) -> None:
        self._settings = settings
        self._flush = flush
        self._slot_free = slot_free
        self._connected = connected
        self._engine = PeerFetch(Context(), memory)
        self._states = FrameStates(State.PEER_CLIENT_AGREED)
        self._wake = trio.Event()
        self._ending = False

    def request(self, request: int, count: int, entries: bytes) -> None:
        self._engine.request(request, count, below(entries, self._settings.url.below))
        self._wake.set()

    def shrink(self, request: int, end: int) -> None:
        """A peer's requests are short: what was asked for is left to come."""

    def cancel(self, request: int) -> None:
        self._engine.cancel(request)

    def report(self, report: Report) -> None:
        """Sends a report and says bye; the connection ends when the remote closes it."""
        self._engine.put_frame(encode_frame(report))
        self._engine.put_frame(encode_frame(Bye()))
        self._ending = True
        self._wake.set()

    def _open(self) -> tuple[socket.socket, bytes]:
        connection = open_connection(self._settings)
        try:
            url = self._settings.url
            rest = enter_peer(connection, url.module.encode("utf-8", "surrogateescape"), Login(b"", no_password)).rest
        except BaseException:
            connection.close()
            raise
        return connection, rest

    async def run(self, opened: Callable[[], None]) -> None:
        if self._connected is not None:
            connection, rest = self._connected
        else:
            connection, rest = await trio.to_thread.run_sync(self._open, abandon_on_cancel=True)
        connection.setblocking(False)
        stream = trio.socket.from_stdlib_socket(connection)
        self._engine.put_frame(encode_frame(Hello()))
        failure: PrsyncError | None = None
        try:
            with stream:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, stream)
                    await self._receive(connection, rest, opened)
                    nursery.cancel_scope.cancel()
        except* PrsyncError as group:
            failure = _first(group)  # what is raised in here would come out in a group of its own
        finally:
            self._engine.close()
        if failure is not None:
            raise failure

    async def _send(self, stream: trio.socket.SocketType) -> None:
        while True:
            data = bytes(self._engine.output()[:SEND_BYTES])
            if not data:
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            try:
                self._engine.sent(await stream.send(data))
            except OSError as error:
                raise SocketError(f"{self._settings.url}: {error.strerror}") from None

    async def _receive(self, connection: socket.socket, rest: bytes, opened: Callable[[], None]) -> None:
        if rest:
            self._engine.feed(rest)
            await self._take(opened)
        while True:
            await trio.lowlevel.wait_readable(connection)
            for _ in range(RECEIVES_PER_TURN):
                room = self._engine.room()
                if room is None:
                    await self._flush()
                    await self._slot_free()
                    continue
                try:
                    count = connection.recv_into(room)
                except (BlockingIOError, InterruptedError):
                    break
                except OSError as error:
                    raise SocketError(f"{self._settings.url}: {error.strerror}") from None
                if not count:
                    if self._ending:
                        return
                    raise StreamError(f"{self._settings.url}: the mirror closed the connection")
                self._engine.placed(count)
                await self._take(opened)
            await self._flush()

    async def _take(self, opened: Callable[[], None]) -> None:
        """Everything that was fed."""
        while (status := self._engine.step()) is not Status.AGAIN:
            if status is Status.DONE:
                await self._flush()
                raise StreamError(f"{self._settings.url}: the mirror said goodbye")
            if status is Status.FULL:
                frames = self._engine.take_frames()
                for frame in frames:
                    if self._states.receive(frame[0]) and frame[0] == FrameType.HELLO:
                        opened()
                if not frames:
                    await self._flush()
                    await self._slot_free()


def _first(group: BaseExceptionGroup[PrsyncError]) -> PrsyncError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
