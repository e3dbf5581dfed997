"""python -m demo.corrupter LISTEN-ADDRESS PORT TO-ADDRESS PORT SWITCH: a proxy before an honest mirror that flips bits.

While the file SWITCH exists, one bit is flipped in each piece of file data that goes to the client: in the data frames of
nominate/1, in records of small files and of the last piece of a large one as well as elsewhere. Framing, lists and control
stay as they are: what arrives is well formed and wrong.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

READY = b"@RSYNCD: OK\n"
MUX_BASE, NOMINATE = 7, 117
HELLO, DATA = 1, 6
DATA_HEADER = 1 + 4 + 2 + 8  # type, id, entry, offset
FRAME_MOST = 65_536


class Flipper:
    """The stream from a daemon to a client: text, negotiation, then frames."""

    def __init__(self, switch: str) -> None:
        self._switch = switch
        self._buffer = bytearray()
        self._ready = self._framed = False
        self._gone = 0  # bytes at the buffer's start that the client has already

    def pass_on(self, data: bytes) -> bytes:
        """What may go to the client now. Nothing is held back before the frames: the daemon waits for the client's answers."""
        self._buffer += data
        if not self._framed:
            return self._before_frames()
        return self._frames()

    def _before_frames(self) -> bytes:
        if not self._ready and (start := self._buffer.find(READY)) >= 0:
            self._ready = True
            passed = self._take(start + len(READY))
            return passed + self._before_frames()
        if self._ready:
            # The daemon's hello is the first frame of a peer connection: all before it is negotiation.
            for place in range(len(self._buffer) - 4):
                length = int.from_bytes(self._buffer[place : place + 3], "little")
                begins = self._buffer[place + 3] == MUX_BASE + NOMINATE and self._buffer[place + 4] == HELLO
                if begins and 0 < length <= FRAME_MOST:
                    self._framed = True
                    return self._take(place) + self._frames()
        new = bytes(self._buffer[self._gone :])
        del self._buffer[: max(0, len(self._buffer) - len(READY) + 1)]
        self._gone = len(self._buffer)
        return new

    def _frames(self) -> bytes:
        end = 0
        while len(self._buffer) - end >= 4:
            length = int.from_bytes(self._buffer[end : end + 3], "little")
            if len(self._buffer) - end < 4 + length:
                break
            self._look_at(end + 4, length, self._buffer[end + 3] - MUX_BASE)
            end += 4 + length
        return self._take(end)

    def _look_at(self, start: int, length: int, code: int) -> None:
        if code == NOMINATE and length > DATA_HEADER and self._buffer[start] == DATA and os.path.exists(self._switch):
            self._buffer[start + length - 1] ^= 0x10

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[self._gone : count])
        del self._buffer[:count]
        self._gone = max(0, self._gone - count)
        return taken


def _copy(source: socket.socket, target: socket.socket, flipper: Flipper | None) -> None:
    try:
        while data := source.recv(1 << 18):
            target.sendall(flipper.pass_on(data) if flipper else data)
    except OSError:
        pass
    for each in source, target:
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


def main() -> None:
    address, port, to_address, to_port, switch = sys.argv[1:]
    listener = socket.create_server((address, int(port)), backlog=64)
    while True:
        client, _ = listener.accept()
        try:
            server = socket.create_connection((to_address, int(to_port)))
        except OSError:
            client.close()
            continue
        threading.Thread(target=_copy, args=(client, server, None), daemon=True).start()
        threading.Thread(target=_copy, args=(server, client, Flipper(switch)), daemon=True).start()


if __name__ == "__main__":
    main()
