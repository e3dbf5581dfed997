"""A plain rsyncd as a source: whole files by --files-from, ranges by --append and a disconnect (protocol-spec/classic.md).

One connection at a time. A range session is cut with SO_LINGER 0 once it has what was asked for; a session of whole files ends as
rsync's do.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from prsync.engine.context import Context, Status
from prsync.engine.fetch import Memory, RsyncdFetch
from prsync.engine.native import lib
from prsync.errors import SocketError, StreamError
from prsync.net.handshake import Handshake, Login
from prsync.protocol.negotiation import Compat, Negotiated, Wishes
from prsync.sources.base import Entry, Flush, SlotFree, SourceRefused, SourceSettings, below, decode_entries
from prsync.sources.connection import HANDSHAKE_SECONDS, no_password, open_connection

RECEIVE_BYTES = 512 << 10
OLDEST_PROTOCOL = 30
WHOLE_ARGUMENTS = (b"--server", b"--sender", b"-Re.LsfxCIvu", b"--no-implied-dirs", b"--files-from=-", b"--from0", b".")
RANGE_ARGUMENTS = (b"--server", b"--sender", b"-e.LsfxCIvu", b"--append", b".")
EMPTY_FILTER_LIST = bytes(4)
SUMS = {"xxh128": "XXH128", "xxh3": "XXH3", "xxh64": "XXH64", "md5": "MD5", "md4": "MD4", "sha1": "SHA1", "none": "NONE"}
CLOSE_NOW = struct.pack("ii", 1, 0)


class RsyncdSource:
    """Requests are served one after the other, each in a session of its own."""

    def __init__(self, settings: SourceSettings, memory: Memory, flush: Flush, slot_free: SlotFree) -> None:
        self._settings = settings
        self._memory = memory
        self._flush = flush
        self._slot_free = slot_free
        self._waiting: deque[tuple[int, int, bytes]] = deque()
        self._wake = trio.Event()
        self._current: tuple[int, trio.CancelScope] | None = None
        self._engine: RsyncdFetch | None = None
        self._ends: dict[int, int] = {}  # of requests that shrank before their session began

    def request(self, request: int, count: int, entries: bytes) -> None:
        self._waiting.append((request, count, below(entries, self._settings.url.below)))
        self._wake.set()

    def shrink(self, request: int, end: int) -> None:
        if self._engine is not None and self._current and self._current[0] == request:
            self._engine.shrink(end)
        else:
            self._ends[request] = end  # it waits for its turn, or for the handshake

    def cancel(self, request: int) -> None:
        self._ends.pop(request, None)
        self._waiting = deque(entry for entry in self._waiting if entry[0] != request)
        if self._current and self._current[0] == request:
            self._current[1].cancel()

    async def run(self, opened: Callable[[], None]) -> None:
        """Open at once: the first request shows whether the rsyncd answers."""
        opened()
        while True:
            if not self._waiting:
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            request, count, entries = self._waiting.popleft()
            with trio.CancelScope() as scope:
                self._current = (request, scope)
                await self._serve(request, count, entries)
            self._current = None

    async def _serve(self, request: int, count: int, entries: bytes) -> None:
        decoded = list(decode_entries(entries))
        ranges = any(entry.length != entry.size for entry in decoded)
        connection, rest, context = await trio.to_thread.run_sync(self._open, decoded, ranges, abandon_on_cancel=True)
        engine = RsyncdFetch(context, self._memory, request, count, entries, ranges)
        connection.setblocking(False)
        if ranges:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_NOW)
        stream = trio.socket.from_stdlib_socket(connection)
        self._engine = engine
        if request in self._ends:
            engine.shrink(self._ends.pop(request))
        try:
            with stream:
                await self._transfer(stream, engine, rest)
                if not ranges:
                    await _say_goodbye(stream, engine)
        finally:
            self._engine = None
            engine.close()

    def _open(self, entries: list[Entry], ranges: bool) -> tuple[socket.socket, bytes, Context]:
        """The blocking handshake; names of whole files are sent with it."""
        module = self._settings.url.module.encode("utf-8", "surrogateescape")
        connection = open_connection(self._settings)
        try:
            handshake = Handshake(connection, HANDSHAKE_SECONDS)
            if not handshake.enter(module, Login(b"", no_password), swarm=False, show=lambda line: None):
                raise SourceRefused(f"{self._settings.url}: the daemon ended the connection")
            if handshake.protocol < OLDEST_PROTOCOL:
                raise SourceRefused(f"{self._settings.url}: protocol {handshake.protocol} is too old for ranges")
            arguments = RANGE_ARGUMENTS if ranges else WHOLE_ARGUMENTS
            path = module + b"/" + (entries[0].path if ranges else b"")
            negotiated = handshake.negotiate([*arguments, path], None, Wishes(handshake.protocol, compress_choice="none"))
            names = b"" if ranges else b"".join(entry.path + b"\0" for entry in entries) + b"\0"
            connection.sendall(_data_frames(EMPTY_FILTER_LIST) + (_data_frames(names) if negotiated.protocol >= 31 else names))
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


def _data_frames(data: bytes) -> bytes:
    """Multiplexed data, at most 32 KiB a frame."""
    step = 32 << 10
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    return b"".join((7 << 24 | len(part)).to_bytes(4, "little") + part for part in parts)


def _context(negotiated: Negotiated) -> Context:
    """A context with what the decoders need."""
    context = Context()
    options: Any = context.options
    options.role = lib.PS_ROLE_RECEIVER
    options.protocol = negotiated.protocol
    options.inc_recurse = int(negotiated.inc_recurse)
    options.safe_flist = int(negotiated.safe_flist)
    options.varint_flist_flags = int(Compat.VARINT_FLIST_FLAGS in negotiated.flags)
    options.id0_names = int(Compat.ID0_NAMES in negotiated.flags)
    options.xfer_sum = getattr(lib, f"PS_SUM_{SUMS[negotiated.checksum]}")
    options.file_sum = getattr(lib, f"PS_SUM_{SUMS[negotiated.list_checksum]}")
    options.checksum_seed = negotiated.seed
    options.relative = 1
    options.trust_sender = 1
    return context
