"""A client of a session with an origin, by hand: hello, an empty filter list, digests?, requests; messages come apart."""

from __future__ import annotations

import socket
import struct

from prsync.net.handshake import Handshake, Login
from prsync.net.streams import SocketStream
from prsync.protocol.frames import Hello, Nomination, decode_frame, encode_frame
from prsync.protocol.negotiation import Wishes
from prsync.sources.connection import no_password

MSG_DATA, MSG_NO_SEND, MSG_NOMINATE, BASE = 0, 102, 117, 7
ITEM_TRANSFER = 0x8000
OK, PENDING, CHANGED, NO = range(4)


def message(code: int, data: bytes) -> bytes:
    return struct.pack("<I", (BASE + code) << 24 | len(data)) + data


class SessionClient:
    """After the handshake. `negotiated` tells whether bit 24 was set; `messages`: (code, bytes) in order."""

    def __init__(self, port: int, module: bytes, arguments: bytes = b"-re.LsfxCIvuQ", path: bytes = b"") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.handshake = Handshake(SocketStream(self.sock), 20)
        assert self.handshake.enter(module, Login(b"", no_password), swarm=True, show=lambda line: None)
        words = [b"--server", b"--sender", arguments, b".", module + b"/" + path]
        self.negotiated = self.handshake.negotiate(words, None, Wishes(self.handshake.protocol))
        self.sock.settimeout(20)
        self.raw = bytearray(self.handshake.rest)
        self.messages: list[tuple[int, bytes]] = []

    def begin(self, hello: Hello | None = None) -> tuple[Hello, Nomination]:
        """Sends hello and filter list; the answers, which must come before any other byte."""
        self.sock.sendall(message(MSG_NOMINATE, encode_frame(hello or Hello())) + message(MSG_DATA, bytes(4)))
        frames = []
        for _ in range(2):
            code, data = self.next_message()
            assert code == MSG_NOMINATE
            frames.append(decode_frame(data))
        assert isinstance(frames[0], Hello) and isinstance(frames[1], Nomination)
        return frames[0], frames[1]

    def next_message(self) -> tuple[int, bytes]:
        while True:
            if len(self.raw) >= 4:
                word = struct.unpack_from("<I", self.raw)[0]
                size = word & 0xFFFFFF
                if len(self.raw) >= 4 + size:
                    data = bytes(self.raw[4 : 4 + size])
                    del self.raw[: 4 + size]
                    return (word >> 24) - BASE, data
            chunk = self.sock.recv(65536)
            assert chunk, "the daemon has closed the connection"
            self.raw += chunk

    def wait_for(self, wanted: int) -> bytes:
        while True:
            code, data = self.next_message()
            if code == wanted:
                return data
            self.messages.append((code, data))

    def ask_digests(self, number: int, first: int, count: int, basis: int = 0) -> None:
        body = struct.pack("<BIHIH", 3, number, 1, first, count) + basis.to_bytes((count + 7) // 8, "little")
        self.sock.sendall(message(MSG_NOMINATE, body))

    def digests(self, count: int) -> dict[int, tuple[int, bytes]]:
        """Final heads by entry: (status, digest), of as many entries; `pending` is waited out and noted in `pending`."""
        found: dict[int, tuple[int, bytes]] = {}
        self.pending: set[int] = set()
        while len(found) < count:
            frame = self.wait_for(MSG_NOMINATE)
            assert frame[0] == 4
            at = 5
            while at < len(frame):
                part, entry = struct.unpack_from("<BI", frame, at)
                at += 5
                if part != 1:
                    items = struct.unpack_from("<H", frame, at + 4)[0]
                    at += 6 + items * (32 if part == 2 else 12)
                    continue
                status = frame[at]
                at += 1
                if status == OK:
                    found[entry] = (OK, frame[at + 21 : at + 53])
                    at += 53
                elif status == PENDING:
                    self.pending.add(entry)
                else:
                    found[entry] = (status, b"")
        return found

    def request_file(self, step: int) -> None:
        """A whole file: `step` is the distance from the file asked for before, or from -1."""
        self.sock.sendall(message(MSG_DATA, struct.pack("<BH4i", step, ITEM_TRANSFER, 0, 0, 0, 0)))
