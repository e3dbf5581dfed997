"""prsync-mirror: pulls a module, serves it as prsyncd does, and holds a lease at the origin until SIGTERM.

This process only supervises: the pull and the daemon are children with programs of their own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from prsync.engine.confinement import end_with_parent
from prsync.errors import ExitCode, FileError, PrsyncError
from prsync.protocol.frames import LeaseStep
from prsync.session.helpers.index_place import IndexPlace
from prsync.session.helpers.indexer import FLAG_WARM
from prsync.session.helpers.sockets import connect
from prsync.session.mirror.lease import LeaseKeeper, Registrar, why

GOOD_PULLS = (ExitCode.OK, ExitCode.VANISHED)
COMMAND = (sys.executable, "-P", "-m", "prsync")  # -P: nothing is loaded from the folder that we were started in
START_SECONDS = 20.0  # within which the daemon must be ready
LOOK_SECONDS = 0.05
BACK_OFF_FIRST, BACK_OFF_MOST = 1.0, 60.0  # between starts of a daemon that ends
STOP_SECONDS = 5.0  # that a child has to end by itself
RELEASE_SECONDS = 5.0  # that the end is held up by an origin that does not answer

Say = Callable[[str], None]


@attrs.frozen
class MirrorJob:
    """pull: the arguments of the pull. interval: seconds from its end to the next one, 0 for only one (and at SIGHUP)."""

    pull: Sequence[str]
    interval: float
    config: str
    place: IndexPlace
    registrar: Registrar
    environment: Mapping[str, str]


def run_mirror(job: MirrorJob, say: Say) -> int:
    """Until SIGTERM or SIGINT; the exit code. `say` prints a line for the operator. Raises PrsyncError."""
    return trio.run(Mirror(job, say).run)


class Mirror:
    def __init__(self, job: MirrorJob, say: Say) -> None:
        self._job = job
        self._say = say
        self._keeper = LeaseKeeper()
        self._again = trio.Event()  # SIGHUP: pull now
        self._served = False  # the daemon has been started
        self._news = trio.Event()  # a pull was published: the origin may look again
        self._code = 0

    async def run(self) -> int:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pull_again_and_again, nursery)
                    async for number in signals:
                        if number != signal.SIGHUP:
                            break
                        self._again.set()
                    # The origin is told first: what is still running may take a while to end.
                    await self._release()
                    nursery.cancel_scope.cancel()
            except* PrsyncError as group:
                await self._release()
                raise _first(group) from None
        return self._code

    async def _run_child(self, words: Sequence[str], orphaned: int) -> int:
        """A program of ours to its end; its exit code. `orphaned`: the signal that it gets when this process is killed."""
        parent = os.getpid()
        # Here, not by trio, which starts processes in threads: the kernel takes the end of the starting thread for its parent's.
        process = subprocess.Popen(
            [*COMMAND, *words],
            stdin=subprocess.DEVNULL,
            env=dict(self._job.environment),
            preexec_fn=lambda: end_with_parent(parent, orphaned),  # takes no lock that a thread could hold
        )
        try:
            return await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await _end(process)
            raise

    # ---- pulls -----------------------------------------------------------------------------------

    async def _pull_again_and_again(self, nursery: trio.Nursery) -> None:
        while True:
            self._again = trio.Event()
            code = await self._pull()
            if code in GOOD_PULLS or self._served:
                await self._publish(nursery)
            elif not self._job.interval:
                self._code = code if code > 0 else int(ExitCode.CRASHED)
                self._say("prsync-mirror: there is nothing to serve yet, and no --interval after which to try again: giving up")
                nursery.cancel_scope.cancel()
                return
            with trio.move_on_after(self._job.interval or float("inf")):
                await self._again.wait()

    async def _pull(self) -> int:
        code = await self._run_child(self._job.pull, signal.SIGTERM)  # it clears up
        if code in GOOD_PULLS:
            self._say("prsync-mirror: the pull is complete")
        else:
            ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            later = f"; the next one is in {self._job.interval:.0f} seconds" if self._job.interval else ""
            self._say(f"prsync-mirror: the pull {ended}{later}")
        return code

    async def _publish(self, nursery: trio.Nursery) -> None:
        """Serves what was pulled, with the digests of all of it."""
        first, self._served = not self._served, True
        if first:
            nursery.start_soon(self._serve)
        line = await self._hash()
        self._say(f"prsync-mirror: serving: {line}")
        self._keeper.hurry(trio.current_time())
        self._news.set()
        if first:
            nursery.start_soon(self._hold_lease)

    async def _hash(self) -> str:
        """Has the daemon's indexer hash what is new; its line about it. Raises FileError."""
        while True:
            with trio.move_on_after(START_SECONDS) as start:
                sock = await self._reach_indexer()
            if start.cancelled_caught:
                raise FileError("prsync-mirror: the daemon does not start: see its log")
            answer = b""
            try:
                async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
                    await stream.send_all(bytes([FLAG_WARM, 0]))
                    async for data in stream:
                        answer += data
                        if answer.endswith(b"\n"):
                            return answer.decode("utf-8", "replace").rstrip("\n")
            except trio.BrokenResourceError:
                pass
            # It has ended in between, and is started again.
            await trio.sleep(BACK_OFF_FIRST)

    async def _reach_indexer(self) -> socket.socket:
        while True:
            try:
                return connect(self._job.place)
            except OSError:
                await trio.sleep(LOOK_SECONDS)

    # ---- the daemon ------------------------------------------------------------------------------

    async def _serve(self) -> None:
        wait = BACK_OFF_FIRST
        words = ["--daemon", "--no-detach", f"--config={self._job.config}"]
        while True:
            started = trio.current_time()
            code = await self._run_child(words, signal.SIGKILL)  # its transfers end, too
            steady = trio.current_time() - started >= BACK_OFF_MOST
            wait = BACK_OFF_FIRST if steady else min(2 * wait, BACK_OFF_MOST)
            self._say(f"prsync-mirror: the daemon has ended ({code}): it is started again in {wait:.0f} seconds")
            await trio.sleep(wait)

    # ---- the lease -------------------------------------------------------------------------------

    async def _hold_lease(self) -> None:
        while True:
            self._news = trio.Event()
            with trio.move_on_at(self._keeper.due):
                await self._news.wait()
            await self._take_step()

    async def _take_step(self) -> None:
        keeper, step = self._keeper, self._keeper.step
        try:
            answer = await trio.to_thread.run_sync(self._job.registrar.ask, step, abandon_on_cancel=True)
        except PrsyncError as error:
            wait = keeper.failed(trio.current_time())
            self._say(f"prsync-mirror: the origin cannot be asked for a lease: {why(error)}; next try in {wait:.0f} seconds")
            return
        if answer.step is LeaseStep.GRANTED:
            if not keeper.held:
                self._say(f"prsync-mirror: registered as {answer.url} for {answer.seconds} seconds")
            keeper.granted(answer.seconds, trio.current_time())
            return
        was_held = keeper.held
        wait = keeper.refused(trio.current_time())
        what = "renew the lease" if was_held else "grant a lease"
        self._say(f"prsync-mirror: the origin does not {what}: {answer.reason}; next try in {wait:.0f} seconds")

    async def _release(self) -> None:
        if not self._keeper.held:
            return
        self._keeper.held = False
        with trio.move_on_after(RELEASE_SECONDS, shield=True):
            try:
                await trio.to_thread.run_sync(self._job.registrar.ask, LeaseStep.RELEASE, abandon_on_cancel=True)
                self._say("prsync-mirror: the lease is released")
            except PrsyncError as error:
                self._say(f"prsync-mirror: the lease could not be released: {why(error)}")


async def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with trio.move_on_after(STOP_SECONDS):
        await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
    if process.poll() is None:
        process.kill()
        await trio.to_thread.run_sync(process.wait)


def _first(group: BaseExceptionGroup[PrsyncError]) -> PrsyncError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
