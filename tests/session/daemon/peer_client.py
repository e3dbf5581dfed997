"""A small client of a peer connection, for tests: the sources' handshake, the core's fetches, no event loop."""

from __future__ import annotations

import socket
import struct
import time

from prsync.engine.context import Context, Status
from prsync.engine.fetch import Memory, PeerFetch
from prsync.net.handshake import Login
from prsync.protocol.frames import Bye, ControlFrame, Hello, UnknownFrame, decode_frame, encode_frame
from prsync.sources.connection import enter_peer, no_password

RECORD = struct.Struct("<IIIIIIQ")
SLOT = 256 << 10
DATA, MISSING, DONE, BUSY = range(4)
SECONDS = 15


def entry(path: bytes, digest: bytes, offset: int, length: int) -> bytes:
    return struct.pack("<H", len(path)) + path + struct.pack("<Qq", 0, 0) + digest + struct.pack("<QQ", offset, length)


class PeerClient:
    """Connected, with both hellos exchanged. `received`: bytes by (request, entry); `notes`: (kind, request, entry, value)."""

    def __init__(self, port: int, module: bytes, login: Login | None = None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        handshake = enter_peer(self.sock, module, login or Login(b"", no_password))
        self.sock.settimeout(SECONDS)
        self.buffer = bytearray(SLOT * 16)
        self.memory = Memory(self.buffer, SLOT)
        self.fetch = PeerFetch(Context(), self.memory)
        self.received: dict[tuple[int, int], bytearray] = {}
        self.notes: list[tuple[int, int, int, int]] = []
        self.frames: list[ControlFrame | UnknownFrame] = []
        self.numbers = iter(range(1, 1000))
        if handshake.rest:
            self._take(handshake.rest)
        self.send(Hello())
        self.read_until(lambda: bool(self.frames))
        hello = self.frames.pop(0)
        assert isinstance(hello, Hello)
        self.hello = hello

    def send(self, frame: ControlFrame) -> None:
        self.fetch.put_frame(encode_frame(frame))
        self._flush()

    def ask(self, *entries: bytes) -> int:
        """Sends one fetch and returns its number at once."""
        number = next(self.numbers)
        self.fetch.request(number, len(entries), b"".join(entries))
        self._flush()
        return number

    def fetch_all(self, *entries: bytes) -> list[bytes]:
        """The bytes of each entry, b"" for what did not come (see notes)."""
        number = self.ask(*entries)
        self.read_until(lambda: self.fetch.open_requests == 0)
        return [bytes(self.received.get((number, at), b"")) for at in range(len(entries))]

    def bye(self) -> None:
        self.send(Bye())
        while self.sock.recv(65536):
            pass
        self.sock.close()

    def read_until(self, done: object) -> None:
        end = time.monotonic() + SECONDS
        while not done():  # type: ignore[operator]
            assert time.monotonic() < end
            data = self.sock.recv(1 << 20)
            assert data, "the daemon has closed the connection"
            self._take(data)
            self._flush()

    def _flush(self) -> None:
        while len(data := bytes(self.fetch.output())):
            self.sock.sendall(data)
            self.fetch.sent(len(data))

    def _take(self, data: bytes) -> None:
        self.fetch.feed(data)
        while True:
            status = self.fetch.step()
            self.frames += [decode_frame(frame) for frame in self.fetch.take_frames()]
            records = self.memory.take_records()
            for slot, offset, length, request, number, kind, _ in RECORD.iter_unpack(records):
                if kind == DATA:
                    start = slot * SLOT + offset
                    self.received.setdefault((request, number), bytearray()).extend(self.buffer[start : start + length])
                else:
                    self.notes.append((kind, request, number, length))
            self.memory.consumed(len(records) // RECORD.size)
            if status in (Status.AGAIN, Status.DONE):
                return
