"""The handshake with a daemon, before the session's loop: text phase, arguments, negotiation. For sessions and for sources.

Each phase goes out in one send: with step-by-step writes, delayed acknowledgements cost tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from prsync.errors import StartError
from prsync.net.channel import Channel
from prsync.net.streams import Stream
from prsync.protocol import auth, text
from prsync.protocol.negotiation import Negotiated, NegotiationClient, Send, Wishes
from prsync.protocol.version import Agreed, VersionExchange

NOMINATE_NAME = "nominate1"  # in the greeting's digest list: this client could take data from mirrors


class Login(NamedTuple):
    """Who we are to the daemon. `password` is asked for only when the daemon wants it."""

    user: bytes
    password: Callable[[], bytes]


class Handshake:
    """One connection's way into a module. `rest` holds what was received beyond the phases taken so far; `login` what the daemon
    has been answered, with the password as it was given then, None where it asked for none."""

    def __init__(self, stream: Stream, timeout: float = 0, protocol: int = text.OUR_PROTOCOL, who: str = "Receiver") -> None:
        self.channel = Channel(stream, timeout, who)
        self.protocol = protocol
        self.rest = b""
        self.login: Login | None = None

    def enter(self, module: bytes, login: Login, *, swarm: bool, show: Callable[[bytes], None]) -> bool:
        """To the daemon's OK. False: the daemon has listed its modules instead and closes. `show` gets every other line.

        Raises StartError for a refusal, ProtocolVersionError for a daemon that is too old.
        """
        digests = (*text.AUTH_DIGESTS, NOMINATE_NAME) if swarm else text.AUTH_DIGESTS
        self.channel.send(text.format_greeting(self.protocol, digests) + module + b"\n")
        client = text.TextClient()
        offered: Sequence[str] = ()
        while True:
            event = client.next_event()
            match event:
                case None:
                    client.feed(self.channel.receive(client.at_end()))
                case text.Greeting():
                    self.protocol = event.common_protocol(self.protocol)
                    offered = event.digests
                case text.AuthRequired(challenge):
                    self.channel.send(self._answer(login, offered, challenge))
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
        data = text.encode_arguments(plain, self.protocol)
        if secluded is not None:
            data += text.encode_secluded_arguments(secluded)
        self.channel.send(data)
        return self.agree(wishes)

    def send_secluded(self, arguments: Sequence[bytes]) -> None:
        """The batch of --secluded-args for a server behind a remote shell, which reads it before anything else."""
        self.channel.send(text.encode_secluded_arguments(arguments))

    def exchange_versions(self) -> None:
        """Over a remote shell there are no greetings: each side sends its version. Raises ProtocolVersionError."""
        exchange = VersionExchange(self.protocol)
        while not isinstance(event := exchange.next_event(), Agreed):
            if isinstance(event, Send):
                self.channel.send(event.data)
            else:
                exchange.feed(self.channel.receive())
        self.protocol, self.rest = event.protocol, exchange.rest

    def agree(self, wishes: Wishes) -> Negotiated:
        """What follows arguments or versions (compat.c:setup_protocol)."""
        client = NegotiationClient(wishes._replace(protocol=self.protocol))
        client.feed(self.rest)
        while True:
            event = client.next_event()
            if isinstance(event, Negotiated):
                self.rest = client.rest
                return event
            if isinstance(event, Send):
                self.channel.send(event.data)
            else:
                client.feed(self.channel.receive())
