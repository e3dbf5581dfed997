"""A plain rsyncd as a source: files by --files-from, ranges by --append and a disconnect (protocol-spec/classic.md).

One connection at a time. A session for ranges of one file is cut with SO_LINGER 0 once it has what was asked for; a session for
several files, each sent from its first range to its end, ends as rsync's do.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import trio

from prsync.engine.context import Context, Status
from prsync.engine.fetch import Memory, RsyncdFetch
from prsync.engine.mux import data_frames
from prsync.engine.native import lib
from prsync.errors import SocketError, StreamError
from prsync.net.handshake import Handshake, Login
from prsync.net.streams import SocketStream
from prsync.protocol import limits
from prsync.protocol.negotiated_options import fill_negotiated
from prsync.protocol.negotiation import Negotiated, Wishes
from prsync.sources.base import Entry, Flush, SlotFree, SourceRefused, SourceSettings, below, decode_entries, encode_entry
from prsync.sources.connection import HANDSHAKE_SECONDS, no_password, open_connection

RECEIVE_BYTES = 512 << 10
OLDEST_PROTOCOL = 30
WHOLE_ARGUMENTS = (b"--server", b"--sender", b"-Re.LsfxCIvu", b"--no-implied-dirs", b"--files-from=-", b"--from0", b".")
RANGE_ARGUMENTS = (b"--server", b"--sender", b"-e.LsfxCIvu", b".")
EMPTY_FILTER_LIST = bytes(4)
SESSION_REQUESTS = 8
CLOSE_NOW = struct.pack("ii", 1, 0)


def encode_entries(entries: list[Entry]) -> bytes:
    return b"".join(map(encode_entry, entries))


class Part(NamedTuple):
    """What one session asks for: entries of a request, the first of them its number `first`. cut: ranges of one file, after which
    the session is cut."""

    first: int
    entries: list[Entry]
    cut: bool
    last: bool

    @property
    def append(self) -> bool:
        return any(entry.offset or entry.length != entry.size for entry in self.entries)


def parts_of(entries: list[Entry]) -> list[Part]:
    """Ranges of one file that lie far apart need a session each: all in between would be sent."""
    if len({entry.path for entry in entries}) > 1 or entries[0].length == entries[0].size:
        return [Part(0, entries, False, True)]
    starts = [0]
    for number, (one, other) in enumerate(pairwise(entries), 1):
        if other.offset - one.offset - one.length > limits.PASSED_OVER_BYTES:
            starts.append(number)
    ends = [*starts[1:], len(entries)]
    return [Part(start, entries[start:end], True, end == len(entries)) for start, end in zip(starts, ends, strict=True)]


class RsyncdSource:
    """Requests for whole files or gaps of several share sessions; one for ranges of a file has one of its own, or several."""

    def __init__(self, settings: SourceSettings, memory: Memory, flush: Flush, slot_free: SlotFree) -> None:
        self._settings = settings
        self._memory = memory
        self._flush = flush
        self._slot_free = slot_free
        self._waiting: deque[tuple[int, list[Entry]]] = deque()
        self._wake = trio.Event()
        self._current: set[int] = set()  # requests of the session that runs
        self._scope = trio.CancelScope()
        self._engine: RsyncdFetch | None = None
        self._ends: dict[int, int] = {}  # where what is wanted of a request's file ends, since it shrank

    def request(self, request: int, count: int, entries: bytes) -> None:
        self._waiting.append((request, list(decode_entries(below(entries, self._settings.url.below)))))
        self._wake.set()

    def shrink(self, request: int, end: int) -> None:
        self._ends[request] = end
        if self._engine is not None and request in self._current:
            self._engine.shrink(end)

    def cancel(self, request: int) -> None:
        self._ends.pop(request, None)
        self._waiting = deque(entry for entry in self._waiting if entry[0] != request)
        if request in self._current:
            self._current.discard(request)
            if not self._current:
                self._scope.cancel()

    async def run(self, opened: Callable[[], None]) -> None:
        """Open at once: the first request shows whether the rsyncd answers."""
        opened()
        while True:
            if not self._waiting:
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            request, entries = self._waiting.popleft()
            parts = parts_of(entries)
            shared = [(request, parts[0])]
            while not parts[0].cut and self._waiting and len(shared) < SESSION_REQUESTS:
                (other,) = parts_of(self._waiting[0][1])[:1]
                if other.cut:
                    break
                shared.append((self._waiting.popleft()[0], other))
            with trio.CancelScope() as self._scope:
                self._current = {number for number, _ in shared}
                if parts[0].cut:
                    await self._serve_ranges(request, parts)
                else:
                    await self._serve(shared)
            self._current = set()
            self._ends.pop(request, None)

    async def _serve_ranges(self, request: int, parts: list[Part]) -> None:
        for part in parts:
            beyond = request in self._ends and part.entries[0].offset >= self._ends[request]
            if part.last or not beyond:
                await self._serve([(request, part)])

    async def _serve(self, shared: list[tuple[int, Part]]) -> None:
        """A session for parts of requests; for a single one of a request's ranges."""
        request, part = shared[0]
        whole = part._replace(entries=[entry for _, each in shared for entry in each.entries])
        connection, rest, context = await trio.to_thread.run_sync(self._open, whole, abandon_on_cancel=True)
        engine = RsyncdFetch(context, self._memory, request, len(part.entries), encode_entries(part.entries), part.cut)
        engine.part(part.first, part.last)
        for other, each in shared[1:]:
            engine.add(other, len(each.entries), encode_entries(each.entries))
        if part.cut:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_NOW)
        stream = trio.socket.from_stdlib_socket(connection)
        self._engine = engine
        if request in self._ends:
            engine.shrink(self._ends[request])
        try:
            with stream:
                await self._transfer(stream, engine, rest)
                if not part.cut:
                    await _say_goodbye(stream, engine)
        finally:
            self._engine = None
            engine.close()

    def _open(self, part: Part) -> tuple[socket.socket, bytes, Context]:
        """The blocking handshake; names of several files are sent with it."""
        module = self._settings.url.module.encode("utf-8", "surrogateescape")
        connection = open_connection(self._settings)
        try:
            handshake = Handshake(SocketStream(connection), HANDSHAKE_SECONDS)
            if not handshake.enter(module, Login(b"", no_password), swarm=False, show=lambda line: None):
                raise SourceRefused(f"{self._settings.url}: the daemon ended the connection")
            if handshake.protocol < OLDEST_PROTOCOL:
                raise SourceRefused(f"{self._settings.url}: protocol {handshake.protocol} is too old for ranges")
            arguments = [*(WHOLE_ARGUMENTS if not part.cut else RANGE_ARGUMENTS)]
            if part.append:
                arguments.insert(-1, b"--append")
            path = module + b"/" + (part.entries[0].path if part.cut else b"")
            negotiated = handshake.negotiate([*arguments, path], None, Wishes(handshake.protocol, compress_choice="none"))
            wanted = dict.fromkeys(entry.path for entry in part.entries)
            names = b"" if part.cut else b"".join(name + b"\0" for name in wanted) + b"\0"
            named = data_frames(names) if negotiated.protocol >= 31 else names
            handshake.channel.send(data_frames(EMPTY_FILTER_LIST) + named)
        except BaseException:
            connection.close()
            raise
        return connection, handshake.rest, _context(negotiated)

    async def _transfer(self, stream: trio.socket.SocketType, engine: RsyncdFetch, rest: bytes) -> None:
        buffer = bytearray(RECEIVE_BYTES)
        view = memoryview(buffer)
        data: bytes | memoryview = rest
        while True:
            if data:
                engine.feed(data)
            while (status := engine.step()) in (Status.FULL, Status.OK):
                await self._flush()
                await self._slot_free()
            await self._flush()
            if status is Status.DONE:
                return
            await _send(stream, engine)
            try:
                count = await stream.recv_into(buffer)
            except OSError as error:
                raise SocketError(f"{self._settings.url}: {error.strerror}") from None
            if not count:
                raise StreamError(f"{self._settings.url}: the rsyncd closed the connection")
            data = view[:count]


async def _send(stream: trio.socket.SocketType, engine: RsyncdFetch) -> None:
    """Requests are short: the rsyncd takes them while it sends."""
    while data := engine.output():
        try:
            engine.sent(await stream.send(data))
        except OSError as error:
            raise SocketError(f"write error: {error.strerror}") from None


async def _say_goodbye(stream: trio.socket.SocketType, engine: RsyncdFetch) -> None:
    with trio.move_on_after(1.0):
        try:
            await _send(stream, engine)
            while await stream.recv(RECEIVE_BYTES):
                pass
        except (SocketError, OSError):
            return


def _context(negotiated: Negotiated) -> Context:
    """A context with what the decoders need."""
    context = Context()
    options: Any = context.options
    options.role = lib.PS_ROLE_RECEIVER
    fill_negotiated(options, negotiated)
    options.relative = 1
    options.trust_sender = 1
    return context
