"""The handshake with a daemon over a blocking socket: text phase, arguments, negotiation. For sessions and for sources.

Each phase goes out in one send: with step-by-step writes, delayed acknowledgements cost tens of milliseconds.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from prsync.errors import PrsyncError, SocketError, StartError, StreamError, TransferTimeout
from prsync.net.connect import acknowledge_now
from prsync.protocol import auth, text
from prsync.protocol.negotiation import Negotiated, NegotiationClient, Send, Wishes

RECEIVE_BYTES = 1 << 16
NOMINATE_NAME = "nominate1"  # in the greeting's digest list: this client could take data from mirrors


class Login(NamedTuple):
    """Who we are to the daemon. `password` is asked for only when the daemon wants it."""

    user: bytes
    password: Callable[[], bytes]


class Handshake:
    """One connection's way into a module. `rest` holds what was received beyond the phases taken so far; `login` what the daemon
    has been answered, with the password as it was given then, None where it asked for none."""

    def __init__(self, connection: socket.socket, timeout: float = 0, protocol: int = text.OUR_PROTOCOL) -> None:
        self.connection = connection
        self.timeout = timeout
        self.protocol = protocol
        self.rest = b""
        self.login: Login | None = None
        self.received_bytes = 0
        self.sent_bytes = 0
        connection.settimeout(timeout or None)

    def enter(self, module: bytes, login: Login, *, swarm: bool, show: Callable[[bytes], None]) -> bool:
        """To the daemon's OK. False: the daemon has listed its modules instead and closes. `show` gets every other line.

        Raises StartError for a refusal, ProtocolVersionError for a daemon that is too old.
        """
        digests = (*text.AUTH_DIGESTS, NOMINATE_NAME) if swarm else text.AUTH_DIGESTS
        self.send(text.format_greeting(self.protocol, digests) + module + b"\n")
        client = text.TextClient()
        offered: Sequence[str] = ()
        while True:
            event = client.next_event()
            match event:
                case None:
                    client.feed(self._receive(client.at_end()))
                case text.Greeting():
                    self.protocol = event.common_protocol(self.protocol)
                    offered = event.digests
                case text.AuthRequired(challenge):
                    self.send(self._answer(login, offered, challenge))
                case text.Accepted():
                    self.rest = client.rest
                    return True
                case text.Ended():
                    return False
                case text.Line(line):
                    show(line)

    def _answer(self, login: Login, offered: Sequence[str], challenge: bytes) -> bytes:
        digest = auth.choose_digest(offered, self.protocol)
        if digest is None:
            raise StartError(f"Failed to negotiate a daemon auth checksum choice. Server list: {' '.join(offered)}")
        password = login.password()
        self.login = Login(login.user, lambda: password)
        return auth.answer_line(login.user, digest, password, challenge)

    def negotiate(self, plain: Sequence[bytes], secluded: Sequence[bytes] | None, wishes: Wishes) -> Negotiated:
        """Sends the arguments and agrees on the session's parameters. `secluded`: the second batch of --secluded-args."""
        data = text.encode_arguments(plain)
        if secluded is not None:
            data += text.encode_secluded_arguments(secluded)
        self.send(data)
        client = NegotiationClient(wishes._replace(protocol=self.protocol))
        client.feed(self.rest)
        while True:
            event = client.next_event()
            if isinstance(event, Negotiated):
                self.rest = client.rest
                return event
            if isinstance(event, Send):
                self.send(event.data)
            else:
                client.feed(self._receive(None))

    def send(self, data: bytes) -> None:
        try:
            self.connection.sendall(data)
        except TimeoutError:
            raise self._timed_out() from None
        except OSError as error:
            raise SocketError(f"rsync: [Receiver] write error: {error.strerror} ({error.errno})") from None
        self.sent_bytes += len(data)

    def _receive(self, at_end: PrsyncError | None) -> bytes:
        acknowledge_now(self.connection)
        try:
            data = self.connection.recv(RECEIVE_BYTES)
        except TimeoutError:
            raise self._timed_out() from None
        except OSError as error:
            raise SocketError(f"rsync: [Receiver] read error: {error.strerror} ({error.errno})") from None
        if not data:
            raise at_end or StreamError(
                f"rsync: connection unexpectedly closed ({self.received_bytes} bytes received so far) [Receiver]"
            )
        self.received_bytes += len(data)
        return data

    def _timed_out(self) -> TransferTimeout:
        return TransferTimeout(f"rsync: [Receiver] io timeout after {self.timeout:.0f} seconds -- exiting")
