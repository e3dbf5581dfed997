"""The pump's last words, on a connection whose other side does not read."""

from __future__ import annotations

import socket

import trio
import trio.testing

from prsync.errors import EngineError, ExitCode, PrsyncError
from prsync.session.socket_pump import SocketPump
from prsync.transfer.pump import Want


class EndlessPump:
    """Fails at once, and has more to say than any socket takes."""

    written = 0

    ended = False

    def room(self) -> memoryview | None:
        return None

    def received(self, count: int) -> None:
        raise AssertionError("nothing is sent to it")

    def run(self) -> Want:
        raise EngineError("the failure", ExitCode.PROTOCOL)

    def output(self) -> memoryview:
        return memoryview(bytes(1 << 16))

    def sent(self, count: int) -> None:
        self.written += count

    def settle(self) -> bool:
        return False

    def keep_alive(self) -> None:
        raise AssertionError("no keep-alive is due")

    def drain(self) -> None:
        pass

    def abort(self, failure: PrsyncError | None) -> None:
        pass

    def exit_code(self) -> ExitCode:
        return ExitCode.OK


def test_flush_peer_that_does_not_read_ends_within_the_timeout() -> None:
    ours, theirs = socket.socketpair()
    pump = EndlessPump()

    async def run() -> tuple[PrsyncError | None, float]:
        begun = trio.current_time()
        socket_pump = SocketPump(ours, pump, timeout=3)
        failure: PrsyncError | None = None
        try:
            await socket_pump.run()
        except PrsyncError as error:
            failure = error
            await socket_pump.flush()
        return failure, trio.current_time() - begun

    with ours, theirs:
        failure, seconds = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert (failure and failure.text, seconds) == ("the failure", 3)
    assert pump.written > 0
