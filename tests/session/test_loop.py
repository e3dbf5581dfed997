"""The loop with a pump of words over real streams, and its rules of life over a clock of the test's own."""

from __future__ import annotations

import os
import select
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.errors import ExitCode, PrsyncError, SocketError, TransferTimeout
from prsync.net.streams import PipeStream, SocketStream, Stream
from prsync.session.loop import FAREWELL_SECONDS, Clock, LifeSigns, Loop, Pace
from prsync.transfer.pump import Want


class WordPump:
    """Sends `says`, and ends once it has heard as many bytes as it waits for."""

    def __init__(self, says: bytes = b"", hears: int = 0, room: int = 1000) -> None:
        self.out = bytearray(says)
        self.hears = hears
        self.heard = bytearray()
        self.closed = False
        self.keep_alives = 0
        self.settled = 0
        self._room = memoryview(bytearray(room))

    @property
    def ended(self) -> bool:
        return len(self.heard) >= self.hears

    def room(self) -> memoryview | None:
        return self._room

    def received(self, count: int) -> None:
        self.heard += self._room[:count]
        self.closed = self.closed or count == 0
        if self.closed and not self.ended:
            raise PrsyncError("connection unexpectedly closed", ExitCode.STREAM_IO)

    def run(self) -> Want:
        return Want.NOTHING if self.ended else Want.INPUT

    def settle(self) -> bool:
        self.settled += 1
        return False

    def output(self) -> memoryview:
        return memoryview(bytes(self.out))

    def sent(self, count: int) -> None:
        del self.out[:count]

    def keep_alive(self) -> None:
        self.keep_alives += 1
        self.out += b"\0\0\0\7"

    def drain(self) -> None: ...

    def abort(self, failure: PrsyncError | None) -> None: ...

    def exit_code(self) -> ExitCode:
        return ExitCode.OK


class FakeClock(Clock):
    """A wait takes all of its time at once, unless something is ready."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:  # type: ignore[override]
        return self.seconds

    def wait(self, poller: select.poll, seconds: float) -> None:
        if not poller.poll(0):
            self.seconds += seconds


def socket_streams() -> tuple[Stream, Stream]:
    ours, theirs = socket.socketpair()
    return SocketStream(ours), SocketStream(theirs)


def pipe_streams() -> tuple[Stream, Stream]:
    (a, b), (c, d) = os.pipe(), os.pipe()
    return PipeStream(a, d), PipeStream(c, b)


@pytest.fixture(params=[socket_streams, pipe_streams], ids=["socket", "pipes"])
def streams(request: pytest.FixtureRequest) -> object:
    pair = request.param()
    yield pair
    for stream in pair:
        stream.close()


def test_loop_bytes_both_ways_reach_the_other_side(streams: tuple[Stream, Stream]) -> None:
    ours, theirs = streams
    pump = WordPump(b"question", hears=6)
    theirs.write(memoryview(b"answer"))
    loop = Loop(ours, pump, who="receiver")
    loop.run()
    room = memoryview(bytearray(100))
    assert (theirs.read_into(room), bytes(room[:8])) == (8, b"question")
    assert (bytes(pump.heard), loop.sent, loop.received) == (b"answer", 8, 6)


def test_loop_bytes_received_before_come_first(streams: tuple[Stream, Stream]) -> None:
    ours, theirs = streams
    theirs.write(memoryview(b"later"))
    pump = WordPump(hears=11, room=4)
    Loop(ours, pump, who="receiver", before=b"before").run()
    assert bytes(pump.heard) == b"beforelater"


def test_loop_remote_closes_early_is_the_pumps_error(streams: tuple[Stream, Stream]) -> None:
    ours, theirs = streams
    theirs.close()
    with pytest.raises(PrsyncError, match="unexpectedly closed"):
        Loop(ours, WordPump(hears=1), who="receiver").run()


def test_loop_write_to_a_closed_remote_hears_its_last_words_first(streams: tuple[Stream, Stream]) -> None:
    ours, theirs = streams
    theirs.write(memoryview(b"why"))
    theirs.close()
    pump = WordPump(b"more", hears=3)
    Loop(ours, pump, who="sender").run()
    assert bytes(pump.heard) == b"why"


def test_loop_remote_gone_after_its_goodbye_ends_with_output_left() -> None:
    """Found by a mutation: it tried to send for ever."""
    ours, theirs = socket_streams()
    theirs.close()
    pump = WordPump(bytes(1000))
    Loop(ours, pump, who="receiver").run()
    ours.close()


def test_loop_remote_gone_lets_a_pump_that_is_full_go_on() -> None:
    ours, theirs = socket_streams()
    theirs.close()

    class Full(WordPump):
        """Has local work left once its output is out of the way."""

        def run(self) -> Want:
            return Want.OUTPUT if self.out else Want.NOTHING

    pump = Full(bytes(1000))
    Loop(ours, pump, who="receiver").run()
    assert not pump.out
    ours.close()


def test_loop_write_error_is_a_socket_error_with_the_role() -> None:
    ours, theirs = pipe_streams()
    theirs.close()

    class Deaf(WordPump):
        def room(self) -> memoryview | None:
            return None

    with pytest.raises(SocketError, match=r"^rsync: \[sender\] write error: Broken pipe \(32\)$"):
        Loop(ours, Deaf(b"data", hears=1), who="sender").run()
    ours.close()


@pytest.mark.parametrize("timeout", [1, 2, 3, 30])
def test_loop_silent_remote_times_out_in_time(streams: tuple[Stream, Stream], timeout: int) -> None:
    ours, _ = streams
    clock = FakeClock()
    pump = WordPump(hears=1)
    with pytest.raises(TransferTimeout, match=rf"\[receiver\] io timeout after {timeout} seconds"):
        Loop(ours, pump, who="receiver", timeout=timeout, clock=clock).run()
    assert pump.keep_alives >= (timeout > 1)
    assert timeout <= clock.seconds - 1000 < timeout + 1.1


def test_loop_farewell_to_a_remote_that_does_not_read_is_bounded(streams: tuple[Stream, Stream]) -> None:
    ours, _ = streams

    class Endless(WordPump):
        def output(self) -> memoryview:
            return memoryview(bytes(1 << 16))

        def sent(self, count: int) -> None: ...

    clock = FakeClock()
    loop = Loop(ours, Endless(), who="sender", clock=clock)
    loop.say_farewell(PrsyncError("any"))
    assert clock.seconds == 1000 + FAREWELL_SECONDS
    loop.say_farewell(TransferTimeout("dead already"))
    assert clock.seconds == 1000 + FAREWELL_SECONDS


@pytest.mark.parametrize("timeout", [2, 3, 4, 5, 10, 30, 31])
def test_life_signs_keep_alives_are_no_life(timeout: int) -> None:
    """Its own keep-alives once kept a run alive for ever beside a stopped daemon."""
    signs, now, count = LifeSigns(timeout, 0.0), 0.0, 0
    while not signs.expired(now):
        assert now <= timeout
        if signs.keep_alive_due(now):
            signs.kept_alive(4)
            signs.sent(4, 0, now)
            count += 1
        now += 0.25
    assert now == timeout and count >= 1


def test_life_signs_data_taken_by_the_remote_is_life() -> None:
    signs = LifeSigns(10, 0.0)
    signs.sent(100, 50, 9.0)
    assert not signs.expired(18.9) and signs.expired(19.0)
    signs.received(19.0)
    assert not signs.expired(28.9)


@given(st.integers(0, 200), st.integers(1, 20), st.data())
def test_life_signs_only_bytes_before_the_keep_alives_are_life(data_bytes: int, idle_bytes: int, data: st.DataObject) -> None:
    signs = LifeSigns(1000, 0.0)
    signs.kept_alive(idle_bytes)
    left, now = data_bytes + idle_bytes, 0.0
    life = 0.0
    while left:
        count = data.draw(st.integers(1, left))
        now += 1
        life = now if left > idle_bytes else life
        left -= count
        signs.sent(count, left, now)
        assert not signs.expired(life + 999.9) and signs.expired(life + 1000)


def test_loop_bandwidth_limit_spreads_the_output(streams: tuple[Stream, Stream]) -> None:
    ours, theirs = streams
    clock = FakeClock()

    class Speech(WordPump):
        """Ends once all is said."""

        @property
        def ended(self) -> bool:
            return not self.out

    begun = clock.seconds
    Loop(ours, Speech(bytes(30_000)), who="sender", bandwidth=10_000, clock=clock).run()
    assert 2.8 <= clock.seconds - begun <= 3.1


@pytest.mark.parametrize(("rate", "paused"), [(1_000_000, True), (5_000_000, True), (20_000_000, True), (200_000_000, False)])
def test_pace_slow_stream_is_read_in_batches(rate: int, paused: bool) -> None:
    pace, now = Pace(), 0.0
    for _ in range(int(rate / 1448)):  # a second of packets, each read as it comes
        now += 1448 / rate
        pace.read(1448, now)
    assert (pace.pause() > 0) is paused
    assert pace.pause() <= Pace.LONGEST
    assert not paused or pace.pause() * rate >= min(Pace.BATCH, rate * Pace.LONGEST) * 0.9


def test_pace_short_answer_ends_the_pauses() -> None:
    pace = Pace()
    for step in range(1000):
        pace.read(1448, step / 1000)
    assert pace.pause()
    pace.read(20, 1.0)
    assert not pace.pause()
    for step in range(Pace.RUN):
        pace.read(1448, 1.001 + step / 1000)
        assert not pace.pause()


def test_pace_conversation_is_not_held_up() -> None:
    """A sender waits for the generator's word on a list before it sends the next: pauses would add up."""
    pace = Pace()
    for step in range(1000):
        pace.read(30_000, step / 1000)
        assert not pace.pause()
        if step % 10 == 0:
            pace.sent()
