"""A peer connection for few questions, over a blocking socket: lease steps of a mirror, probes of a tracker.

PeerSource is for data; here an answer is waited for, and a deadline bounds the whole conversation.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Sequence

import attrs

from prsync.engine.context import Context, Status
from prsync.engine.fetch import Memory, PeerFetch
from prsync.errors import SocketError, StreamError, TransferTimeout
from prsync.net.connect import Route, connect
from prsync.net.handshake import Login
from prsync.protocol.extension import FrameStates, State
from prsync.protocol.frames import Bye, ControlFrame, Hello, UnknownFrame, decode_frame, encode_frame
from prsync.sources.addresses import SourceURL
from prsync.sources.base import Entry, below, encode_entry
from prsync.sources.connection import enter_peer, no_password

RECEIVE_BYTES = 256 << 10
SLOT_BYTES, SLOTS = 256 << 10, 4
RECORD = struct.Struct("<IIIIIIQ")  # slot, offset, length, request, entry, kind, offset in the file
DATA, MISSING, DONE, BUSY = range(4)


@attrs.define
class Answer:
    """What came of one entry of a fetch. `missing`: the reason of a missing frame; `busy`: seconds; else all the bytes."""

    data: bytearray = attrs.field(factory=bytearray)
    missing: int | None = None
    busy: int | None = None


class PeerLink:
    """Connected, with both hellos exchanged (`hello` is the remote's). All of it raises PrsyncError; a context manager."""

    def __init__(
        self, url: SourceURL, route: Route, hello: Hello, seconds: float, login: Login | None = None
    ) -> None:
        """`seconds`: for everything from here to the end."""
        self._url = url
        self._deadline = time.monotonic() + seconds
        self._buffer = bytearray(SLOT_BYTES * SLOTS)
        self._memory = Memory(self._buffer, SLOT_BYTES)
        self._engine = PeerFetch(Context(), self._memory)
        self._states = FrameStates(State.PEER_CLIENT_AGREED)
        self._frames: list[ControlFrame] = []
        self._answers: list[Answer] = []
        self._requests = 0
        self._sock = connect(url.host, url.port, route._replace(timeout=min(route.timeout or seconds, seconds)))
        try:
            module = url.module.encode("utf-8", "surrogateescape")
            rest = enter_peer(self._sock, module, login or Login(b"", no_password), seconds).rest
            self.send(hello)
            if rest:
                self._take(rest)
            found = self.receive()
            if not isinstance(found, Hello):
                raise StreamError(f"{url}: the remote sent no hello")
            self.hello = found
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PeerLink:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def own_address(self) -> str:
        """Ours, on this connection."""
        return str(self._sock.getsockname()[0])

    def close(self) -> None:
        self._sock.close()
        self._engine.close()

    def bye(self) -> None:
        """Says that nothing follows, and waits until the remote has read all and closes."""
        self.send(Bye())
        try:
            self._sock.shutdown(socket.SHUT_WR)
            while self._receive_some():
                pass
        except (OSError, SocketError):
            return

    def send(self, frame: ControlFrame) -> None:
        self._engine.put_frame(encode_frame(frame))
        self._flush()

    def receive(self) -> ControlFrame:
        """The next frame that is no data."""
        self._read_until(lambda: bool(self._frames))
        return self._frames.pop(0)

    def fetch(self, entries: Sequence[Entry]) -> list[Answer]:
        """Asks for ranges and waits for all of them; their sum is the caller's to bound."""
        self._requests += 1
        self._answers = [Answer() for _ in entries]
        packed = below(b"".join(encode_entry(entry) for entry in entries), self._url.below)
        self._engine.request(self._requests, len(entries), packed)
        self._flush()
        self._read_until(lambda: self._engine.open_requests == 0)
        return self._answers

    # ---- bytes -----------------------------------------------------------------------------------

    def _read_until(self, done: Callable[[], bool]) -> None:
        while not done():
            data = self._receive_some()
            if not data:
                raise StreamError(f"{self._url}: the remote closed the connection")
            self._take(data)
            self._flush()

    def _receive_some(self) -> bytes:
        try:
            self._sock.settimeout(self._left())
            return self._sock.recv(RECEIVE_BYTES)
        except TimeoutError:
            raise self._late() from None
        except OSError as error:
            raise SocketError(f"{self._url}: {error.strerror}") from None

    def _flush(self) -> None:
        while data := bytes(self._engine.output()):
            try:
                self._sock.settimeout(self._left())
                self._sock.sendall(data)
            except TimeoutError:
                raise self._late() from None
            except OSError as error:
                raise SocketError(f"{self._url}: {error.strerror}") from None
            self._engine.sent(len(data))

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._late()
        return left

    def _late(self) -> TransferTimeout:
        return TransferTimeout(f"{self._url}: no answer in time")

    def _take(self, data: bytes) -> None:
        self._engine.feed(data)
        while True:
            status = self._engine.step()
            for payload in self._engine.take_frames():
                if self._states.receive(payload[0]):
                    frame = decode_frame(payload)
                    if not isinstance(frame, UnknownFrame):
                        self._frames.append(frame)
            self._take_records()
            if status in (Status.AGAIN, Status.DONE):
                return

    def _take_records(self) -> None:
        records = self._memory.take_records()
        for slot, offset, length, request, entry, kind, _ in RECORD.iter_unpack(records):
            if request != self._requests:
                continue
            if kind == DATA:
                start = slot * SLOT_BYTES + offset
                self._answers[entry].data += self._buffer[start : start + length]
            elif kind == MISSING:
                self._answers[entry].missing = length
            elif kind == BUSY:
                for answer in self._answers:
                    answer.busy = length
        self._memory.consumed(len(records) // RECORD.size)
