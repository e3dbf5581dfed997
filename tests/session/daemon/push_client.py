"""A client that pushes by hand: whatever file list and data a test wants to send."""

from __future__ import annotations

import hashlib
import socket
import struct

from session_client import BASE, MSG_DATA, message

from prsync.net.handshake import Handshake, Login
from prsync.net.streams import SocketStream
from prsync.protocol.negotiation import Wishes
from prsync.sources.connection import no_password

MSG_ERROR_XFER, MSG_ERROR, MSG_ERROR_EXIT = 1, 3, 86
ITEM_TRANSFER = 0x8000
NDX_DONE = b"\0"


class PushClient:
    """After the handshake of an upload with -logDtpr, --numeric-ids and MD5, without incremental recursion."""

    def __init__(self, port: int, module: bytes, path: bytes = b"", options: tuple[bytes, ...] = ()) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        handshake = Handshake(SocketStream(self.sock), 20, who="sender")
        assert handshake.enter(module, Login(b"", no_password), swarm=False, show=lambda line: None)
        words = [b"--server", b"-logDtpre.LsfxCIvu", b"--numeric-ids", b"--checksum-choice=md5", *options]
        wishes = Wishes(handshake.protocol, checksum_choice="md5")
        handshake.negotiate([*words, b".", module + b"/" + path], None, wishes)
        self.sock.settimeout(20)
        self.raw = bytearray(handshake.rest)

    def send(self, data: bytes) -> None:
        self.sock.sendall(message(MSG_DATA, data))

    def send_file(self, number: int, data: bytes, head: tuple[int, int, int, int] = (0, 0, 0, 0)) -> None:
        """The first file that is sent, with its number in the sorted list; as one literal."""
        body = bytes([number + 1]) + struct.pack("<H", ITEM_TRANSFER) + struct.pack("<4i", *head)
        self.send(body + struct.pack("<i", len(data)) + data + bytes(4) + hashlib.md5(data).digest())

    def wait_for_request(self) -> None:
        """Until the generator asks for something."""
        while not any(code == MSG_DATA and data for code, data in self._messages(1)):
            pass

    def end(self) -> tuple[str, int | None]:
        """All that the daemon still says, and the exit code that it tells, once it has closed."""
        said, code = b"", None
        try:
            while found := self._messages(1):
                for kind, data in found:
                    said += data if kind in (MSG_ERROR, MSG_ERROR_XFER) else b""
                    code = int.from_bytes(data, "little") if kind == MSG_ERROR_EXIT else code
        except ConnectionResetError:
            pass
        self.sock.close()
        return said.decode("utf-8", "surrogateescape"), code

    def _messages(self, least: int) -> list[tuple[int, bytes]]:
        """Some; none at the end of the stream."""
        found: list[tuple[int, bytes]] = []
        while len(found) < least:
            if len(self.raw) >= 4:
                word = struct.unpack_from("<I", self.raw)[0]
                size = word & 0xFFFFFF
                if len(self.raw) >= 4 + size:
                    found.append(((word >> 24) - BASE, bytes(self.raw[4 : 4 + size])))
                    del self.raw[: 4 + size]
                    continue
            chunk = self.sock.recv(65536)
            if not chunk:
                return found
            self.raw += chunk
        return found
