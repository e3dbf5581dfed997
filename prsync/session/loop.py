"""The one loop that drives a pump over a stream: whatever is ready, in one thread; receiving never waits for sending.

Client, server and daemon's worker differ in the pump and the stream that they plug in, and in what works beside the session
(a Companion). Needs no event loop of a library, so that no session pays for one's start.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Protocol

from prsync.errors import PrsyncError, SocketError, TransferTimeout
from prsync.net.streams import Stream
from prsync.transfer.pump import Pump, Want

FAREWELL_SECONDS = 1.0  # for telling the remote of a failure
BANDWIDTH_SLICE = 0.1  # seconds of data that a limit lets through at once
BANDWIDTH_LEAST = 512  # bytes of such a slice
LONGEST_WAIT = 3600.0  # poll counts in milliseconds of an int
NOTHING = memoryview(b"")


class Companion(Protocol):
    """Work beside a session that its loop drives too: a client's swarm, a daemon's answers to digest requests."""

    @property
    def holds_time(self) -> bool:
        """The remote may have nothing to say meanwhile: its silence is no timeout."""

    def turn(self, idle: bool, now: float) -> bool:
        """Everything that can be done without waiting. `idle`: the pump waits for input. True: the pump may have more to do."""

    def watched(self) -> tuple[int, int]:
        """A descriptor and the poll events to wait for; -1: none."""

    def ready(self, now: float) -> bool:
        """Takes what the descriptor has. False: nothing was there."""

    def wake_at(self, now: float) -> float | None:
        """When `turn` is due without anything happening."""


class Ticks:
    """A companion without a descriptor. `tick` is called where the pump waits for input, and says after how many seconds the
    pump is to run again all the same, None: only with input."""

    holds_time = False

    def __init__(self, tick: Callable[[], float | None]) -> None:
        self._tick = tick
        self._pause: float | None = None

    def turn(self, idle: bool, now: float) -> bool:
        self._pause = self._tick() if idle else None
        return False

    def watched(self) -> tuple[int, int]:
        return -1, 0

    def ready(self, now: float) -> bool:
        return False

    def wake_at(self, now: float) -> float | None:
        return None if self._pause is None else now + self._pause


class Pace:
    """How long to let data gather before the next read, where they come packet by packet: a link slower than the loop wakes it
    for each. Pure. Only a stream that flows is held up: an answer that somebody waits for is short, and ends the run of reads,
    and so does whatever we say, for which the remote may wait before it goes on."""

    RUN = 16  # reads in a row after which a stream is taken to flow
    LEAST = 1024  # bytes of a read that belongs to it
    WINDOW = 0.05  # seconds over which its rate is measured
    BATCH = 128 * 1024  # bytes that should gather
    LONGEST = 0.02  # seconds

    def __init__(self) -> None:
        self._run = 0
        self._since, self._bytes = 0.0, 0
        self._rate = 0.0

    def read(self, count: int, now: float) -> None:
        """A read has brought so many bytes."""
        if count < self.LEAST:
            self._run = 0
            self._rate = 0.0
            return
        if not self._run:
            self._since, self._bytes = now, 0
        self._run += 1
        self._bytes += count
        if now - self._since >= self.WINDOW:
            self._rate = self._bytes / (now - self._since)
            self._since, self._bytes = now, 0

    def sent(self) -> None:
        """Something went to the remote."""
        self._run, self._rate = 0, 0.0

    def pause(self) -> float:
        """Seconds; 0 where a batch is there sooner than it pays to wait for."""
        if self._run < self.RUN or not self._rate:
            return 0.0
        gather = min(self.BATCH / self._rate, self.LONGEST)
        return gather if gather >= self.LONGEST / 4 else 0.0


class Clock:
    """Time as the loop sees it; tests have another one."""

    now = staticmethod(time.monotonic)

    def wait(self, poller: select.poll, seconds: float) -> None:
        """Until a descriptor is ready, for so long at most."""
        poller.poll(seconds * 1000 + 1)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)


class LifeSigns:
    """When a remote counts as dead, and when it must hear from us (io.c:check_timeout, maybe_send_keepalive). Pure.

    Life is what is received, and what the remote takes of our data; that keep-alives go into a socket's buffer shows nothing."""

    def __init__(self, timeout: float, now: float) -> None:
        self.timeout = timeout
        self._life = self._last_out = now
        self._idle_bytes = 0  # of keep-alives, at the end of the output

    def received(self, now: float) -> None:
        self._life = now

    def sent(self, count: int, left: int, now: float) -> None:
        """`count` bytes went, `left` are still to go."""
        self._last_out = now
        beyond = max(self._idle_bytes - left, 0)
        if count > beyond:
            self._life = now
        self._idle_bytes -= min(beyond, self._idle_bytes)

    def excused(self, now: float) -> None:
        """The remote need not say anything now."""
        self._life = now

    def keep_alive_due(self, now: float) -> bool:
        return self.timeout > 0 and now - self._last_out >= (self.timeout + 1) // 2

    def kept_alive(self, size: int) -> None:
        """A keep-alive of so many bytes is the last of the output."""
        self._idle_bytes += size

    def expired(self, now: float) -> bool:
        return self.timeout > 0 and now - self._life >= self.timeout

    def wait_limit(self, now: float) -> float | None:
        """Seconds until a keep-alive or the timeout is due."""
        if not self.timeout:
            return None
        ends = self._life + self.timeout - now
        speaks = self._last_out + (self.timeout + 1) // 2 - now
        return max(min(ends, speaks if speaks > 0 else 1.0), 0.001)


class Loop:
    """`who`: the role, in messages. `bandwidth`: bytes a second that are sent at most, 0 no limit. `before`: bytes that were
    received already. `run` raises PrsyncError for what ends the session early; then `say_farewell` sends last words."""

    def __init__(
        self,
        stream: Stream,
        pump: Pump,
        *,
        who: str,
        timeout: float = 0.0,
        bandwidth: int = 0,
        before: bytes = b"",
        companion: Companion | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.stream, self.pump, self.companion = stream, pump, companion
        self.who = who
        self.bandwidth = bandwidth
        self.sent, self.received = 0, len(before)
        self._before = memoryview(before)
        self._clock = clock or Clock()
        self._signs = LifeSigns(timeout, self._clock.now())
        self._poller = select.poll()
        self._watching: dict[int, int] = {}
        self._beside = -1  # the companion's descriptor
        self._open = True  # the remote is still listened to
        self._gone = False  # and takes what we send
        self._send_at = 0.0  # with a limit: when more may be sent
        self._pace = Pace()

    @property
    def timeout(self) -> float:
        return self._signs.timeout

    def set_timeout(self, seconds: float) -> None:
        """Another timeout from now on (MSG_IO_TIMEOUT)."""
        self._signs.timeout = seconds
        self._signs.excused(self._clock.now())

    def run(self) -> None:
        """Until the pump has come to its end and its output is sent. Raises PrsyncError."""
        while True:
            want = self.pump.run()
            now = self._clock.now()
            busy = self.companion.turn(want is Want.INPUT, now) if self.companion else False
            ended = self.pump.ended
            self._send(now)
            left = self._output_left()
            if want is Want.NOTHING and not left:
                return
            took = self.pump.ended is not ended  # what could not be sent showed that the remote has said its last
            if self.companion:
                took = self.companion.ready(now) or took
            if want is not Want.NOTHING:
                took = self._take(now) or took
            if took or busy or (want is Want.OUTPUT and not left) or self.pump.settle():
                self._keep_alive(now)
                continue
            self._wait(want, left)

    # ---- in ------------------------------------------------------------------------------------

    def _take(self, now: float) -> bool:
        """Receives once. False: nothing was there, or nothing is wanted."""
        if not self._open:
            return False
        if self.pump.ended:
            # The goodbye is said; what is left to do is local, or a swarm's. The remote closes when it likes.
            self._open = False
            return False
        return self._receive(now)

    def _receive(self, now: float) -> bool:
        room = self.pump.room()
        if room is None:
            return False
        if self._before:
            count = min(len(self._before), len(room))
            room[:count] = self._before[:count]
            self._before = self._before[count:]
            self.pump.received(count)
            return True
        try:
            came = self.stream.read_into(room)
        except OSError as error:
            raise SocketError(f"rsync: [{self.who}] read error: {error.strerror} ({error.errno})") from None
        if came is None:
            return False
        self._signs.received(now)
        self.received += came
        self._pace.read(came, now)
        if came == 0:
            self._open = False
        self.pump.received(came)
        return True

    # ---- out -----------------------------------------------------------------------------------

    def _output_left(self) -> bool:
        return not self._gone and len(self.pump.output()) > 0

    def _send(self, now: float) -> None:
        view = NOTHING if now < self._send_at else self.pump.output()
        if not len(view):
            return
        if self._gone:
            self.pump.sent(len(view))
            return
        total = len(view)
        if self.bandwidth:
            view = view[: max(int(self.bandwidth * BANDWIDTH_SLICE), BANDWIDTH_LEAST)]
        count = self._write(view, now)
        if not count:
            return
        if self.bandwidth:
            self._send_at = max(self._send_at, now) + count / self.bandwidth
        self.sent += count
        self._signs.sent(count, total - count, now)
        self._pace.sent()
        self.pump.sent(count)

    def _write(self, view: memoryview, now: float) -> int:
        try:
            return self.stream.write(view)
        except OSError as error:
            # The remote may have said why before it closed: that is still to be read.
            while self._open and not self.pump.ended and self._receive(now):
                pass
            if not self.pump.ended:
                raise SocketError(f"rsync: [{self.who}] write error: {error.strerror} ({error.errno})") from None
        self._gone = True  # it has said its last, and wants to hear no more
        return 0

    def _keep_alive(self, now: float) -> None:
        if self._open and self._signs.keep_alive_due(now) and not self._output_left():
            self.pump.keep_alive()
            self._signs.kept_alive(len(self.pump.output()))

    def say_farewell(self, failure: BaseException) -> None:
        """Sends what is left, as far as the remote takes it: it may hold the news of our failure. One that is dead to us already
        gets no time."""
        end = self._clock.now() + (0.0 if isinstance(failure, TransferTimeout) else FAREWELL_SECONDS)
        try:
            while self._output_left():
                count = self.stream.write(self.pump.output())
                self.pump.sent(count)
                self.sent += count
                left = end - self._clock.now()
                if left <= 0:
                    return
                if not count:
                    poller = select.poll()
                    poller.register(self.stream.writer, select.POLLOUT)
                    self._clock.wait(poller, left)
        except (PrsyncError, OSError):
            return

    # ---- waiting -------------------------------------------------------------------------------

    def _wait(self, want: Want, left: bool) -> None:
        now = self._clock.now()
        held_back = left and now < self._send_at
        reads = self._open and want is not Want.NOTHING and self.pump.room() is not None
        self._watch_stream(reads, left and not held_back)
        if reads and not left and (pause := self._pace.pause()):
            self._clock.pause(pause)
        limits = [self._send_at - now] if held_back else []
        if self._open and (limit := self._signs.wait_limit(now)) is not None:
            limits.append(limit)
        if self.companion:
            self._watch_companion(self.companion)
            wake = self.companion.wake_at(now)
            limits += [] if wake is None else [max(wake - now, 0.0)]
        self.stream.about_to_wait()
        self._clock.wait(self._poller, min([*limits, LONGEST_WAIT]))
        if self._open and self._signs.timeout:
            self._check_time(want)

    def _check_time(self, want: Want) -> None:
        now = self._clock.now()
        if want is not Want.NOTHING and self._receive(now):
            return
        if self.companion and self.companion.holds_time:
            self._signs.excused(now)
        elif self._signs.expired(now):
            raise TransferTimeout(f"rsync: [{self.who}] io timeout after {self._signs.timeout:.0f} seconds -- exiting")
        self._keep_alive(now)

    def _watch_stream(self, reads: bool, writes: bool) -> None:
        wanted_in, wanted_out = select.POLLIN if reads else 0, select.POLLOUT if writes else 0
        if self.stream.reader == self.stream.writer:
            self._watch(self.stream.reader, wanted_in | wanted_out)
        else:
            self._watch(self.stream.reader, wanted_in)
            self._watch(self.stream.writer, wanted_out)

    def _watch_companion(self, companion: Companion) -> None:
        """Its descriptor may be closed, and another take its place."""
        descriptor, wanted = companion.watched()
        if self._beside >= 0 and descriptor != self._beside:
            self._watch(self._beside, 0)
        self._beside = descriptor
        if descriptor >= 0:
            self._watch(descriptor, wanted)

    def _watch(self, descriptor: int, wanted: int) -> None:
        if self._watching.get(descriptor, 0) == wanted:
            return
        if wanted:
            self._poller.register(descriptor, wanted)
        else:
            self._poller.unregister(descriptor)
        self._watching[descriptor] = wanted
