"""A peer connection at the daemon: fetches served from the module's digest index (protocol-spec/nominate-1.md §1, §2).

A slot of `max connections` is held only while data are sent: it is looked for at the first fetch, and given up as soon as
nothing more is asked for.
"""

from __future__ import annotations

import secrets
import signal

from prsync.engine.context import Context, Status
from prsync.engine.flist import Root
from prsync.engine.rules import RuleSet
from prsync.engine.serve import ASK, Peer
from prsync.errors import ExitCode, PrsyncError, SocketError, StartError, StreamError
from prsync.net.connection import stream_of
from prsync.options.model import as_text
from prsync.protocol.extension import FrameStates, State
from prsync.protocol.frames import Bye, ControlFrame, Hello, Lease, Probe, Report, decode_frame, encode_frame
from prsync.protocol.limits import BUSY_SECONDS, PEER_IDLE_SECONDS
from prsync.protocol.negotiation import NegotiationServer, Wishes
from prsync.session.daemon.connection import Entered, Worker, linger
from prsync.session.daemon.nominate.offer import Extension
from prsync.session.daemon.transfer.arguments import Received
from prsync.session.daemon.transfer.negotiation import negotiate, tell_failure
from prsync.session.loop import Loop, Ticks
from prsync.transfer.exit_code import exit_code
from prsync.transfer.pump import Want
from prsync.transfer.read_ahead import ReadAhead

PEER_OPTION = b"--prsync-peer"
WRITE_CHUNK = 128 << 10
FLUSH_SECONDS = 0.1  # between tries to hand names to an indexer that cannot take more
STOP_SECONDS = 1.0  # within which an idle connection ends when the daemon does


def is_peer(received: Received, entered: Entered) -> bool:
    """Whether the arguments ask for a peer connection, and it can be had: else the option is as unknown as to rsync."""
    extension = entered.extension
    if PEER_OPTION not in received.options or extension is None or not extension.digests:
        return False
    letters = client_letters(received)
    return "Q" in letters and "v" in letters and not entered.module.values.flag("write only")


def client_letters(received: Received) -> str:
    """The capabilities behind `-e.`."""
    for word in received.options:
        if word.startswith(b"-") and not word.startswith(b"--") and b"e." in word:
            return as_text(word.partition(b"e.")[2])
    return ""


class PeerPump:
    """The pump of one peer connection. `log_line` describes what it did."""

    def __init__(self, worker: Worker, entered: Entered, extension: Extension) -> None:
        self.context = Context()
        self._extension = extension
        self._address = worker.address
        root = Root.from_fd(self.context, entered.root)
        rules = RuleSet(self.context, daemon=entered.rules) if entered.rules else None
        # Both must outlive the core's handle.
        self._parts = (root, rules)
        self._peer = Peer(self.context, root.handle, extension.access.index, rules.handle if rules else None)
        self._peer.set_busy(ASK)
        self._states = FrameStates(State.PEER_DAEMON_AGREED)
        self._stopping = False
        self._input = ReadAhead()
        self.ended = False

    def room(self) -> memoryview | None:
        return self._input.room()

    def received(self, count: int) -> None:
        self._input.received(count)

    def run(self) -> Want:
        while True:
            status = self._peer.step()
            for frame in self._peer.take_frames():
                self._receive(frame)
            wanted = self._peer.take_wanted()
            if wanted:
                self._extension.access.want(wanted)
            if status is Status.DONE or (self._stopping and status is Status.AGAIN):
                self.ended = True
                return Want.NOTHING
            if status is Status.AGAIN:
                data = self._input.take()
                if data is not None:
                    self._peer.feed(data)
                    continue
                if self._input.closed:
                    raise StreamError("connection unexpectedly closed [peer]")
                self._rest()
                return Want.INPUT
            if self._peer.counts.queued:
                self._find_slot()
            if len(self._peer.output()) >= WRITE_CHUNK:
                return Want.OUTPUT

    def output(self) -> memoryview:
        return self._peer.output()

    def sent(self, count: int) -> None:
        self._peer.sent(count)

    def settle(self) -> bool:
        return False

    def keep_alive(self) -> None:
        """Has no use here: who is idle for too long may go."""

    def drain(self) -> None:
        """The core of a peer connection logs nothing."""

    def abort(self, failure: PrsyncError | None) -> None:
        """A peer is told nothing: it takes its data elsewhere."""

    def exit_code(self) -> ExitCode:
        return exit_code(self.context)

    def tick(self) -> float | None:
        access = self._extension.access
        access.flush()
        if self._extension.registry.poll(self.reply):
            return 0.0
        return FLUSH_SECONDS if access.waiting or self._extension.registry.waits else STOP_SECONDS

    def stop(self, number: int, frame: object) -> None:
        """The supervisor's signal for idle workers: what was asked for is still sent."""
        self._stopping = True

    def reply(self, frame: ControlFrame) -> None:
        self._peer.put_frame(encode_frame(frame))

    def _find_slot(self) -> None:
        if self._states.state is State.PEER_DAEMON_AGREED:
            raise StreamError("the peer sent a fetch frame before its hello")
        self._peer.set_busy(0 if self._extension.slots.take() else BUSY_SECONDS)

    def _rest(self) -> None:
        """Nothing is asked for: others may have the slot."""
        self._extension.slots.release()
        self._peer.set_busy(ASK)

    def _receive(self, payload: bytes) -> None:
        if not self._states.receive(payload[0]):
            return
        frame = decode_frame(payload)
        match frame:
            case Hello(nonce=shown):
                # A probe of a tracker to which we did not turn: somebody has registered us, or it wants to know if we answer.
                if shown and shown not in self._extension.registry.nonces:
                    raise StreamError("a probe showed the nonce of a request that was not made here")
                self.reply(Hello(no_data=False, nonce=shown))
            case Lease() | Report() | Probe():
                self._extension.registry.receive(frame, self._address, self.reply)
            case Bye():
                pass

    def log_line(self, loop: Loop) -> str:
        """As of a transfer, so that statistics over the log stay true; total size is that of the file data sent."""
        counts = self._peer.counts
        ranges = f"{counts.files} ranges, {counts.missing} missing, {counts.busy} busy"
        return f"sent {loop.sent} bytes  received {loop.received} bytes  total size {counts.data} (peer: {ranges})"


def serve_peer(worker: Worker, entered: Entered, received: Received) -> int:
    """From the arguments to the end of the connection; the exit code. Raises Hangup."""
    extension = entered.extension
    assert extension is not None
    user = f"{entered.user}@" if entered.user else ""
    worker.log.line(f"peer connection on {entered.module.name} from {user}{worker.host} ({worker.address})")
    wishes = Wishes(entered.protocol, nominate=True)
    try:
        negotiated = negotiate(worker, NegotiationServer(wishes, "." + client_letters(received), secrets.randbits(31)))
    except PrsyncError as error:
        worker.log.line(f"rsync: [peer] {error.text}", warning=True)
        return int(error.code)
    worker.text.set_deadline(None)
    if not extension.no_data:
        extension.slots.release()
        if not extension.slots.take_nominate():
            return tell_failure(worker, negotiated, StartError("too many peer connections -- try again later"), "sender")
    timeout = entered.module.values.number("timeout")
    idle = min(timeout, PEER_IDLE_SECONDS) if timeout > 0 else PEER_IDLE_SECONDS
    peer = PeerPump(worker, entered, extension)
    signal.signal(signal.SIGUSR2, peer.stop)
    before = worker.text.take_rest()
    bandwidth = worker.options.bwlimit * 1024
    stream = stream_of(worker.sock)
    loop = Loop(stream, peer, who="peer", timeout=idle, bandwidth=bandwidth, before=before, companion=Ticks(peer.tick))
    failure: PrsyncError | None = None
    try:
        loop.run()
    except PrsyncError as error:
        failure = error
        loop.say_farewell(failure)
    worker.log.line(peer.log_line(loop))
    if failure is None or _left(failure):
        linger(worker.sock)
        return 0
    text = failure.text if failure.text.startswith("rsync: ") else f"rsync: [peer] {failure.text}"
    worker.log.line(text, warning=True)
    return int(failure.code)


def _left(failure: PrsyncError) -> bool:
    """A peer may go without a word, and with data under way."""
    return isinstance(failure, SocketError) or failure.text.startswith("connection unexpectedly closed")
