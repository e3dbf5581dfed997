"""A TCP proxy between a client and a mirror that plays one fault: it knows the envelope, the product knows nothing of it."""

from __future__ import annotations

import contextlib
import socket
import threading

DATA_TAG = 7 + 117
DATA_FRAME = 6
FRAME_HEAD = 4 + 15


class FaultProxy:
    """fault: "none", "flip" (a bit of the last byte of every data frame), "stall" or "kill" (after `after` bytes of data)."""

    def __init__(self, target: int, fault: str = "none", after: int = 100_000, rate: int = 0) -> None:
        self.target, self.fault, self.after, self.rate = target, fault, after, rate
        self.data_bytes = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.stopped = threading.Event()
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.stopped.set()
        for sock in [self.listener, *self.sockets]:
            with contextlib.suppress(OSError):
                sock.close()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                client, _ = self.listener.accept()
                if self.fault == "kill" and self.data_bytes >= self.after:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self.sockets += [client, server]
            threading.Thread(target=copy_all, args=(client, server), daemon=True).start()
            threading.Thread(target=self._damage, args=(server, client), daemon=True).start()

    def _damage(self, server: socket.socket, client: socket.socket) -> None:
        """From the mirror to the client, frame by frame once the envelope has begun."""
        with contextlib.suppress(OSError):
            pending, framed = bytearray(), False
            while data := server.recv(65536):
                pending += data
                if not framed:
                    # Text phase and negotiation end where the first extension frame, the hello, begins.
                    at = self._hello(pending)
                    if at is None:
                        client.sendall(pending)
                        pending.clear()
                        continue
                    framed = True
                    client.sendall(pending[:at])
                    del pending[:at]
                while len(pending) >= 4:
                    size = 4 + int.from_bytes(pending[:3], "little")
                    if len(pending) < size:
                        break
                    self._frame(bytearray(pending[:size]), client)
                    del pending[:size]
            client.shutdown(socket.SHUT_WR)

    @staticmethod
    def _hello(data: bytes | bytearray) -> int | None:
        for at in range(len(data) - 4):
            size = int.from_bytes(data[at : at + 3], "little")
            if data[at + 3] == DATA_TAG and size < 200 and data[at + 4] == 1 and data[at + 5 : at + 8] == b"\x01\x02\x00":
                return at
        return None

    def _frame(self, frame: bytearray, client: socket.socket) -> None:
        if frame[3] == DATA_TAG and frame[4] == DATA_FRAME:
            self.data_bytes += len(frame) - FRAME_HEAD
            if self.fault == "flip":
                frame[-1] ^= 0x20
            elif self.fault in ("stall", "kill") and self.data_bytes >= self.after:
                if self.fault == "stall":
                    self.stopped.wait()
                for sock in self.sockets:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
                raise OSError("killed")
            if self.rate:
                self.stopped.wait(len(frame) / self.rate)
        client.sendall(frame)


class ConnectProxy:
    """An HTTP proxy that knows CONNECT; `targets` are the ports that were asked for."""

    def __init__(self) -> None:
        self.targets: set[int] = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += client.recv(4096)
        host, _, port = request.split()[1].decode().rpartition(":")
        self.targets.add(int(port))
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        threading.Thread(target=copy_all, args=(client, server), daemon=True).start()
        copy_all(server, client)


def copy_all(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
