"""The fetcher: a client's child process that speaks to every source, so that strangers' bytes are parsed beside the process that
can write, not inside it. What it receives lies in shared memory; records say what is where.

It is forked, idle, before the main process connects. On GO it imports what it needs, gives up its rights, then touches the
network.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
from typing import Any, NamedTuple

from prsync.swarm.wire import Message, Messages

SLOT_BYTES = 256 << 10
SLOTS = 32
UNPRIVILEGED = "nobody"
RECEIVE_BYTES = 1 << 18


class FetcherHandle(NamedTuple):
    """The main process's end."""

    pid: int
    connection: socket.socket
    memory: mmap.mmap
    slot_size: int = SLOT_BYTES

    def close(self) -> None:
        """Ends the fetcher and reaps it."""
        self.connection.close()
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def start_fetcher() -> FetcherHandle:
    """Forks the idle fetcher. To be called before anything is connected and before any thread is started."""
    memory = mmap.mmap(-1, SLOT_BYTES * SLOTS)
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        ours.setblocking(False)
        return FetcherHandle(pid, ours, memory)
    status = 1
    try:
        ours.close()
        status = _child(theirs, memory)
    finally:
        os._exit(status)


def _child(connection: socket.socket, memory: mmap.mmap) -> int:
    # The terminal's interrupt reaches the whole group: the main process decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    messages = Messages()
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, RECEIVE_BYTES, 8)
        if not data:
            return 0
        received = list(messages.feed(data))
        if received:
            break
    kind, body = received[0]
    if kind is not Message.GO:
        return 0
    import json

    import trio

    from prsync.engine.context import Context  # noqa: F401  all that sources need is loaded before the rights are gone
    from prsync.sources import factory
    from prsync.swarm.fetcher_run import Fetcher

    go: dict[str, Any] = json.loads(body)
    factory.preload()
    _confine()
    fetcher = Fetcher(connection, memory, SLOT_BYTES, go, messages)
    trio.run(fetcher.run, received[1:], descriptors)
    return 0


def _confine() -> None:
    """Another user with no way back when root, and no file system that can be written, where the kernel can see to that."""
    from prsync.engine.confinement import forbid_writing, no_new_privileges
    from prsync.privileges import drop, group_id, user_id

    if os.geteuid() == 0:
        uid = user_id(UNPRIVILEGED)
        gid = group_id("nogroup") or group_id("nobody") or 65534
        drop(65534 if uid is None else uid, [gid], no_new_privileges)
    else:
        no_new_privileges()
    forbid_writing()

