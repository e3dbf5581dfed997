"""A pull's swarm beside its session: frames, the nomination, and what the session's loop asks of it.

Imported only where the origin has agreed on nominate/1, so that other pulls do not pay for it.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

from prsync.engine import receiving
from prsync.engine.context import Event
from prsync.engine.numbers import big_num
from prsync.errors import ExitCode, SocketError, StartError, StreamError
from prsync.net.connect import Route, connect
from prsync.net.handshake import Login
from prsync.net.streams import SocketStream, Stream
from prsync.options.model import Options, as_bytes
from prsync.options.operands import Target
from prsync.protocol.extension import FrameStates, State
from prsync.protocol.frames import FrameType, Hello, Nomination, SourceReport, UnknownFrame, Verdict, decode_frame, encode_frame
from prsync.session.client.swarm_eligibility import module_prefix
from prsync.sources.addresses import SourceURL
from prsync.sources.connection import HANDSHAKE_SECONDS, enter_peer, stated_address
from prsync.swarm.control import MSG_NOMINATE, SwarmControl
from prsync.swarm.fetcher import FetcherHandle
from prsync.swarm.settings import Settings
from prsync.swarm.stall_limit import stall_limit
from prsync.transfer.receiver import Receiver


class ClientSwarm:
    """From the agreement on nominate/1 to the end of the run. `control` is there once mirrors have been nominated."""

    def __init__(
        self,
        receiver: Receiver,
        options: Options,
        target: Target,
        route: Route,
        fetcher: FetcherHandle,
        login: Login | None,
        address: str,
        warn: Callable[[str], None],
    ) -> None:
        """`login`: what the origin has been answered, None where it asked for none. `address`: of the session's connection."""
        self._receiver = receiver
        self._options = options
        self._target = target
        self._route = route
        self._fetcher = fetcher
        self._login = login
        self._address = address
        self._warn = warn
        self._states = FrameStates(State.CLIENT_AGREED)
        self.no_data = False
        self.control: SwarmControl | None = None
        receiver.core.put_message(MSG_NOMINATE, encode_frame(Hello()))

    # ---- frames --------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        if event.kind == receiving.FRAME:
            self._frame(event.text)
        elif self.control is not None:
            self.control.event(event)

    def _frame(self, payload: bytes) -> None:
        frame = decode_frame(payload)
        if not self._states.receive(payload[0]):
            return
        if isinstance(frame, Hello):
            self.no_data = frame.no_data
        elif isinstance(frame, Nomination):
            self._nominated(frame)
        elif isinstance(frame, UnknownFrame) and payload[0] == FrameType.DIGESTS:
            raise StreamError("the origin answered a request for digests before there was one")

    def _nominated(self, nomination: Nomination) -> None:
        """Without a mirror the session is a classic one."""
        if not nomination.mirrors:
            self._receiver.context.go_classic()
            self._require_mirrors()
            return
        settings = self._settings()
        receiver = self._receiver
        self.control = SwarmControl(
            receiver.core, self._fetcher, settings, nomination, self.no_data, receiver.drain, self._warn, time.monotonic()
        )

    def _require_mirrors(self) -> None:
        if self.no_data:
            raise StartError("@ERROR: max connections reached -- and the origin knows no mirror; try again later")
        if self._options.mirrors == "only":
            raise StartError("prsync: --mirrors=only: the origin nominated no mirror; use --mirrors=auto to take its own data")

    def _settings(self) -> Settings:
        target, route, options = self._target, self._route, self._options
        module = target.paths[0].partition("/")[0]
        proxy = route.proxy
        # Behind a proxy the connection's other end is the proxy's.
        origin = self._address if proxy is None else stated_address(target.host)
        return Settings(
            origin_url=str(SourceURL("rsync", target.host, target.port, module)),
            origin_address=origin,
            prefix=module_prefix(options, target) or b"",
            family=route.family,
            bind_address=route.bind_address,
            connect_seconds=route.timeout,
            proxy=None if proxy is None else (proxy.host, proxy.port, (proxy.login or b"").decode("utf-8", "surrogateescape")),
            bandwidth=options.bwlimit * 1024,
            only=options.mirrors == "only",
            open_origin=None if self._login is None else self._open_origin,
            stall_seconds=stall_limit(options.mirror_timeout),
        )

    def _open_origin(self) -> tuple[socket.socket, bytes]:
        """The origin's peer connection, with the login that its session has. No other source ever gets that."""
        assert self._login is not None
        target, seconds = self._target, min(HANDSHAKE_SECONDS, stall_limit(self._options.mirror_timeout))
        connection = connect(target.host, target.port, self._route._replace(timeout=self._route.timeout or seconds))
        try:
            module = as_bytes(target.paths[0].partition("/")[0])
            return connection, enter_peer(connection, module, self._login, seconds).rest
        except BaseException:
            connection.close()
            raise

    # ---- beside the session's loop ---------------------------------------------------------------

    @property
    def holds_time(self) -> bool:
        """While mirrors deliver, the origin may have nothing to say for long: it is kept awake by keep-alives."""
        return self.control is not None and not self.control.scheduler.done

    def turn(self, idle: bool, now: float) -> bool:
        if self.control is None:
            return False
        busy = self.control.turn(idle, now)
        if self.control.wants_to_write:
            self.control.writable()
        return busy

    def watched(self) -> tuple[int, int]:
        if self.control is None:
            return -1, 0
        return self.control.fileno(), select.POLLIN | (select.POLLOUT if self.control.wants_to_write else 0)

    def ready(self, now: float) -> bool:
        return self.control is not None and self.control.readable(now)

    def wake_at(self, now: float) -> float | None:
        return None if self.control is None else self.control.wake_at(now)

    # ---- the end ---------------------------------------------------------------------------------

    def end(self) -> None:
        """Everything is settled; the origin's session may have ended long before."""
        if self.control is not None:
            self.control.end()

    def exit_code(self, code: ExitCode) -> ExitCode:
        """A no-data session that could not get everything ends as a refusal does."""
        if self.no_data and self.control is not None and self.control.gave_up:
            return ExitCode.START_CLIENT
        return code

    def source_lines(self, human_readable: int) -> list[str]:
        """The lines of --stats for each source."""
        outcomes = self.control.outcomes() if self.control is not None else ()
        return [_source_line(report, why, human_readable) for report, why in outcomes]


def address_of(stream: Stream) -> str:
    """The address at a connection's other end. Raises SocketError."""
    assert isinstance(stream, SocketStream)
    try:
        name = stream.connection.getpeername()
    except OSError as error:
        raise SocketError(f"rsync: [receiver] read error: {error.strerror} ({error.errno})") from None
    return name[0] if isinstance(name, tuple) else "127.0.0.1"


def _source_line(report: SourceReport, why: str, human_readable: int) -> str:
    seconds = report.milliseconds / 1000
    rate = int(report.received / seconds) if seconds else 0
    line = f"Source {report.url}: {big_num(report.received, human_readable)} bytes, {big_num(rate, human_readable)} bytes/sec"
    for count, name in ((report.failures, "failures"), (report.bad_pieces, "bad pieces"), (report.stale_files, "stale files")):
        line += f", {count} {name}" if count else ""
    if report.verdict is Verdict.FINE:
        return line + (f", last failure: {why}\n" if why else "\n")
    return line + f" ({report.verdict.name.lower()}{': ' if why else ''}{why})\n"
