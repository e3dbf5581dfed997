"""The fetcher: a client's child process that speaks to every source, so that strangers' bytes are parsed beside the process that
can write, not inside it. What it receives lies in shared memory; records say what is where.

It is forked, idle, before the main process connects. On PREPARE it imports what it needs and gives up its rights; on GO it
touches the network.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import socket
from collections.abc import Sequence
from typing import Any

from prsync.errors import ExitCode, PrsyncError
from prsync.swarm.fetcher_messages import Message, Messages, encode

SLOT_BYTES = 256 << 10
SLOTS = 32
UNPRIVILEGED = "nobody"
RECEIVE_BYTES = 1 << 18
DESCRIPTORS_MOST = 1 << 16


class FetcherEnded(PrsyncError):
    """The fetcher has crashed or was killed; `text` says how."""

    code = ExitCode.CRASHED


class FetcherHandle:
    """The main process's end: the child, the memory shared with it, the messages to and from it. Only `drain` waits."""

    slot_size = SLOT_BYTES

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, SLOT_BYTES * SLOTS)
        self.start()

    def start(self) -> None:
        """Forks the idle fetcher: a first one, or another after FetcherEnded. Not where there are threads."""
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            status = 1
            try:
                ours.close()
                status = _child(theirs, self.memory, parent)
            finally:
                os._exit(status)
        theirs.close()
        ours.setblocking(False)
        self.pid, self._connection = pid, ours
        self._messages = Messages()
        self._outbox = bytearray()
        self._handed: list[socket.socket] = []

    @property
    def alive(self) -> bool:
        return self.pid > 0

    def fileno(self) -> int:
        """-1: there is no fetcher any more."""
        return self._connection.fileno()

    def post(self, message: bytes) -> None:
        """Queues a message; for a fetcher that has ended it is dropped."""
        if self.alive:
            self._outbox += message

    def prepare(self) -> None:
        """Lets it load what it needs while the main process does the same: there will be a swarm, of mirrors not known yet."""
        self.post(encode(Message.PREPARE))
        self.write()

    def hand_over(self, connection: socket.socket) -> None:
        """The next message that is posted speaks of the connection, which is the fetcher's from now on."""
        if self.alive:
            self._handed.append(connection)
        else:
            connection.close()

    @property
    def wants_to_write(self) -> bool:
        return bool(self._outbox)

    def write(self) -> None:
        part = bytes(self._outbox[:RECEIVE_BYTES])
        try:
            if self._handed:
                count = socket.send_fds(self._connection, [part], [handed.fileno() for handed in self._handed])
            else:
                count = self._connection.send(part)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = len(self._outbox)  # its end is seen where its last reports have been read
        del self._outbox[:count]
        self._close_handed()

    def _close_handed(self) -> None:
        while self._handed:
            self._handed.pop().close()

    def read(self) -> Sequence[tuple[Message, bytes]] | None:
        """What the fetcher reports; None: nothing is there. Raises FetcherEnded, after its last report."""
        if not self.alive:
            return None
        try:
            data = self._connection.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            data = b""
        if not data:
            raise FetcherEnded(self._end())
        try:
            return list(self._messages.feed(data))
        except ValueError:
            self._end()
            raise FetcherEnded("its reports make no sense") from None

    def drain(self, seconds: float) -> None:
        """Sends what is queued and waits until the fetcher has ended by itself, for so long at most."""
        if not self.alive:
            return
        self._connection.settimeout(seconds)
        try:
            self._connection.sendall(self._outbox)
            while self._connection.recv(RECEIVE_BYTES):
                pass
        except OSError:
            return

    def close(self) -> None:
        """Ends the fetcher and reaps it."""
        if self.alive:
            self._end()

    def _end(self) -> str:
        """A process that is ending already keeps its own reason."""
        pid, self.pid = self.pid, 0
        self._connection.close()
        self._outbox.clear()
        self._close_handed()
        try:
            os.kill(pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except (ProcessLookupError, ChildProcessError):
            return "it is gone"
        return f"exit code {code}" if code >= 0 else f"signal {-code}"


def start_fetcher() -> FetcherHandle:
    """To be called before anything is connected and before any thread is started."""
    return FetcherHandle()


def _child(connection: socket.socket, memory: mmap.mmap, parent: int) -> int:
    # The terminal's interrupt reaches the whole group: the main process decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _close_all_but(connection.fileno())
    messages = Messages()
    received: list[tuple[Message, bytes]] = []
    handed: list[int] = []

    def first_of_next() -> Message | None:
        while not received:
            data, descriptors, _, _ = socket.recv_fds(connection, RECEIVE_BYTES, 8)
            if not data:
                return None
            handed.extend(descriptors)
            received.extend(messages.feed(data))
        return received[0][0]

    kind = first_of_next()
    if kind is Message.PREPARE:
        del received[0]
    elif kind is None:
        return 0
    import json

    import trio

    from prsync.engine.confinement import end_with_parent
    from prsync.engine.context import Context  # noqa: F401  all that sources need is loaded before the rights are gone
    from prsync.sources import factory
    from prsync.swarm.fetcher_run import Fetcher

    factory.preload()
    end_with_parent(parent, signal.SIGKILL)  # elsewhere, and until here, the connection's end tells it
    _confine()
    if first_of_next() is not Message.GO:
        return 0
    go: dict[str, Any] = json.loads(received[0][1])
    fetcher = Fetcher(connection, memory, SLOT_BYTES, go, messages)
    trio.run(fetcher.run, received[1:], handed)
    return 0


def _close_all_but(kept: int) -> None:
    """A fetcher that is started during a run must hold neither the origin's session nor a file that is being written."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    end = DESCRIPTORS_MOST if limit == resource.RLIM_INFINITY else min(limit, DESCRIPTORS_MOST)
    os.closerange(3, kept)
    os.closerange(kept + 1, end)


def _confine() -> None:
    """Another user with no way back when root, and no file system that can be written, where the kernel can see to that."""
    from prsync.engine.confinement import drop_rights, forbid_writing, no_new_privileges
    from prsync.privileges import group_id, user_id

    if os.geteuid() == 0:
        uid = user_id(UNPRIVILEGED)
        gid = group_id("nogroup") or group_id("nobody") or 65534
        drop_rights(65534 if uid is None else uid, [gid])
    else:
        no_new_privileges()
    forbid_writing()
