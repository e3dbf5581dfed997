"""The fetcher at work: one task for each source, one that takes orders, one that reports (see fetcher.py)."""

from __future__ import annotations

import contextlib
import json
import mmap
import socket
from collections.abc import Sequence
from typing import Any

import trio

from prsync.engine.fetch import Memory
from prsync.errors import PrsyncError
from prsync.net.connect import Route
from prsync.net.proxy import Proxy
from prsync.protocol.frames import Report, decode_frame
from prsync.sources.addresses import ForbiddenSource, parse_source_url
from prsync.sources.base import Source, SourceRefused, SourceSettings, reason_of
from prsync.sources.factory import make_source
from prsync.sources.peer import PeerSource
from prsync.swarm.fetcher_messages import FETCH, SHRINK, Message, Messages, encode, encode_json, encode_number, number_of

RECORD_BYTES = 32
RECORDS_PER_MESSAGE = 4096
RECEIVE_BYTES = 1 << 18
FAREWELL_SECONDS = 2.0


class Running:
    """A source and the task that runs it."""

    def __init__(self, source: Source, scope: trio.CancelScope) -> None:
        self.source = source
        self.scope = scope
        self.ended = trio.Event()
        self.failure = ""  # why it was told to end


class Fetcher:
    """go: origin (address), family, bind_address, connect_seconds, slots, proxy ([host, port, login] or null)."""

    def __init__(
        self, connection: socket.socket, memory: mmap.mmap, slot_size: int, go: dict[str, Any], messages: Messages
    ) -> None:
        self._raw = connection
        self._memory = Memory(memoryview(memory)[: int(go["slots"]) * slot_size], slot_size)
        self._messages = messages
        proxy = go.get("proxy")
        self._route = Route(
            family=go["family"],
            bind_address=go["bind_address"],
            timeout=go["connect_seconds"],
            proxy=Proxy(proxy[0], proxy[1], proxy[2].encode() if proxy[2] else None) if proxy else None,
        )
        self._origin = str(go["origin"])
        self._sources: dict[int, Running] = {}
        self._holders: dict[int, int] = {}  # request → source
        self._outbox = bytearray()
        self._out_ready = trio.Event()
        self._slot_freed = trio.Event()
        self._descriptors: list[int] = []

    async def run(self, first: Sequence[tuple[Message, bytes]], descriptors: Sequence[int]) -> None:
        self._raw.setblocking(False)
        main = trio.socket.from_stdlib_socket(self._raw)
        self._descriptors = list(descriptors)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report, main)
            for kind, body in first:
                self._order(nursery, kind, body)
            await self._take_orders(main, nursery)
            nursery.cancel_scope.cancel()

    # ---- orders --------------------------------------------------------------------------------

    async def _take_orders(self, main: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        """Until END, or until the main process is gone."""
        room = socket.CMSG_SPACE(8 * 4)
        while True:
            data, control, _, _ = await main.recvmsg(RECEIVE_BYTES, room)
            if not data:
                return
            for level, kind, value in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self._descriptors += [number_of(value[i : i + 4]) for i in range(0, len(value), 4)]
            for message, body in self._messages.feed(data):
                if message is Message.END:
                    return
                if message is Message.REPORT:
                    await self._farewell(body)
                    return
                self._order(nursery, message, body)

    def _order(self, nursery: trio.Nursery, kind: Message, body: bytes) -> None:
        match kind:
            case Message.SOURCE:
                fields = json.loads(body)
                nursery.start_soon(self._run_source, fields)
            case Message.FETCH:
                self._fetch(body)
            case Message.CANCEL:
                request = number_of(body)
                running = self._sources.get(self._holders.get(request, -1))
                if running:
                    running.source.cancel(request)
            case Message.SHRINK:
                request, end = SHRINK.unpack(body)
                running = self._sources.get(self._holders.get(request, -1))
                if running:
                    running.source.shrink(request, end)
            case Message.CONSUMED:
                self._memory.consumed(number_of(body))
                self._slot_freed.set()
                self._slot_freed = trio.Event()
            case Message.DROP:
                running = self._sources.get(number_of(body))
                if running:
                    running.scope.cancel()
            case _:
                raise ValueError(f"the fetcher does not take {kind.name}")

    def _fetch(self, body: bytes) -> None:
        request, number, count = FETCH.unpack_from(body)
        running = self._sources.get(number)
        if running is None:
            return  # it has just closed: the main process learns of that, and takes its requests back
        self._holders[request] = number
        try:
            running.source.request(request, count, body[FETCH.size :])
        except PrsyncError as error:
            running.failure = reason_of(error)
            running.scope.cancel()  # its end is told, and what it was to fetch goes to others

    async def _run_source(self, fields: dict[str, Any]) -> None:
        """One connection to a source, from its first byte to its last."""
        number = int(fields["id"])
        reason, refused = "", False
        with trio.CancelScope() as scope:
            try:
                settings = SourceSettings(parse_source_url(fields["url"]), self._route, self._origin, bool(fields.get("origin")))
                source = make_source(
                    int(fields["source"]), settings, self._memory, self._flush, self._slot_free, self._handed_over(fields)
                )
                self._sources[number] = Running(source, scope)
                await source.run(lambda: self._send(encode_number(Message.OPEN, number)))
            except (SourceRefused, ForbiddenSource) as error:
                reason, refused = reason_of(error), True
            except Exception as error:  # whatever a stranger's bytes lead to costs this source, not the run
                reason = reason_of(error)
        running = self._sources.pop(number, None)
        if running:
            running.ended.set()
            reason = reason or running.failure
        self._holders = {r: s for r, s in self._holders.items() if s != number}
        self._report_records()
        self._send(encode_json(Message.CLOSED, id=number, reason=reason or "the connection ended", refused=refused))

    def _handed_over(self, fields: dict[str, Any]) -> tuple[socket.socket, bytes] | None:
        """A connection that the main process has authenticated."""
        if not fields.get("connected"):
            return None
        return socket.socket(fileno=self._descriptors.pop(0)), bytes.fromhex(fields["rest"])

    async def _farewell(self, frame: bytes) -> None:
        """Sends the run's report on the origin's peer connection."""
        origin = self._sources.get(0)
        report = decode_frame(frame)
        if origin is None or not isinstance(origin.source, PeerSource) or not isinstance(report, Report):
            return
        origin.source.report(report)
        with trio.move_on_after(FAREWELL_SECONDS):
            await origin.ended.wait()

    # ---- reports -------------------------------------------------------------------------------

    def _send(self, message: bytes) -> None:
        """At once where the socket takes it: another task's turn costs more than the call."""
        if not self._outbox:
            with contextlib.suppress(OSError):  # full; or the main process is gone, which ends the taking of orders
                message = message[self._raw.send(message) :]
        if message:
            self._outbox += message
            self._out_ready.set()

    async def _flush(self) -> None:
        """What has come is reported once all sources that are ready now have had their turn: one message for all of them."""
        self._out_ready.set()

    def _report_records(self) -> None:
        records = self._memory.take_records()
        step = RECORD_BYTES * RECORDS_PER_MESSAGE
        for at in range(0, len(records), step):
            self._send(encode(Message.RECORDS, records[at : at + step]))

    async def _slot_free(self) -> None:
        await self._slot_freed.wait()

    async def _report(self, main: trio.socket.SocketType) -> None:
        while True:
            self._report_records()
            if not self._outbox:
                self._out_ready = trio.Event()
                await self._out_ready.wait()
                continue
            part = bytes(self._outbox[:RECEIVE_BYTES])
            count = await main.send(part)
            del self._outbox[:count]
