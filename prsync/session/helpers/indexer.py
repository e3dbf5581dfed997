"""The indexer: one process for each module with a digest index, its only writer; it runs as the module's user.

Workers name the files whose digests they lack, over a socket in `state dir`; the files are hashed in turns, so that no client
keeps the others waiting, and one process is all that hashing takes of the machine. What is hashed once is known until the file
changes: asking again costs nothing.

Orders are `u8 flags, name, NUL`. With FLAG_WARM and no name: the whole module; the answer, at its end, is one line.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator

import attrs

from prsync.engine.index import DigestIndex, IndexStatus
from prsync.session.daemon.transfer.arguments import follow_path, open_beneath

FLAG_SUMS = 1
FLAG_WARM = 0x40
TURN_NAMES = 256  # that one client gets in a turn
TURN_BYTES = 32 << 20  # after which its turn ends; one file is always done
QUEUED_NAMES = 4096  # of one client; while there are more nothing is read from it
RECEIVE_BYTES = 64 << 10
ORDER_BYTES = 4097  # flags and a name
PRUNE_FIRST, PRUNE_SECONDS = 600.0, 6 * 3600.0
COMMIT_SECONDS = 1.0  # between commits of a long job that nobody waits for

Excluded = Callable[[bytes, bool], bool]  # (path, is a directory) → the daemon's rules hide it


class BadOrder(Exception):
    """A client of the socket sent what is no order."""


@attrs.define
class Counts:
    """What became of the names of one client."""

    hashed: int = 0
    known: int = 0
    gone: int = 0
    failed: int = 0
    size: int = 0  # bytes of the hashed files
    removed: int = 0

    def add(self, status: IndexStatus, size: int) -> None:
        if status is IndexStatus.STORED:
            self.hashed += 1
            self.size += size
        elif status is IndexStatus.HIT:
            self.known += 1
        elif status is IndexStatus.GONE:
            self.gone += 1
        else:
            self.failed += 1

    def line(self) -> str:
        failed = f", {self.failed} could not be read or changed meanwhile" if self.failed else ""
        return f"{self.hashed} files hashed ({self.size} bytes), {self.known} known already, {self.removed} removed{failed}"


def walk(root: int, excluded: Excluded | None) -> Iterator[list[bytes]]:
    """The regular files beneath a directory, in batches; symlinks are not followed. What cannot be read is passed over."""
    folders = [b""]
    batch: list[bytes] = []
    while folders:
        folder = folders.pop()
        try:
            number = open_beneath(root, folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            with os.scandir(number) as entries:
                for entry in entries:
                    path = (folder + b"/" if folder else b"") + os.fsencode(entry.name)
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if not (is_folder or entry.is_file(follow_symlinks=False)) or (excluded and excluded(path, is_folder)):
                        continue
                    (folders if is_folder else batch).append(path)
                    if len(batch) >= TURN_NAMES:
                        yield batch
                        batch = []
        except OSError:
            continue
        finally:
            os.close(number)
    if batch:
        yield batch


@attrs.define(eq=False)
class Client:
    """One connection, or the warming of the whole module without one."""

    sock: socket.socket | None = None
    received: bytearray = attrs.field(factory=bytearray)
    queue: deque[tuple[int, bytes]] = attrs.field(factory=deque)
    walking: Iterator[list[bytes]] | None = None
    pruning: Iterator[int] | None = None
    counts: Counts = attrs.field(factory=Counts)

    @property
    def has_work(self) -> bool:
        return bool(self.queue) or self.walking is not None or self.pruning is not None

    def take(self, data: bytes) -> bool:
        """Queues the orders in `data`; True: one of them was to warm the module. Raises BadOrder."""
        self.received += data
        whole = bytes(self.received)
        warm, at = False, 0
        while at < len(whole):
            end = whole.find(b"\0", at + 1)  # the flags may be zero
            if end < 0:
                break
            flags, name = whole[at], whole[at + 1 : end]
            at = end + 1
            if flags == FLAG_WARM and not name:
                warm = True
            elif not name or flags & ~FLAG_SUMS:
                raise BadOrder
            else:
                self.queue.append((flags, name))
        del self.received[:at]
        if len(self.received) > ORDER_BYTES:
            raise BadOrder
        return warm

    def next_names(self) -> tuple[int, list[bytes]]:
        """The names of a turn, which have the same flags."""
        if not self.queue:
            return 0, []
        flags = self.queue[0][0]
        names: list[bytes] = []
        while self.queue and self.queue[0][0] == flags and len(names) < TURN_NAMES:
            names.append(self.queue.popleft()[1])
        return flags, names


class Indexer:
    """Works off what clients want. `root`: descriptor of the module's directory, and `path` its name, by which it is found again
    when another directory has taken its place (a release published by a rename); `now`: a clock in seconds."""

    def __init__(
        self,
        index: DigestIndex,
        root: int,
        excluded: Excluded | None = None,
        now: Callable[[], float] = time.monotonic,
        path: str | None = None,
    ) -> None:
        self.index = index
        self.root = root
        self.path = path
        self.excluded = excluded
        self.now = now
        self.clients: list[Client] = []
        self._committed = now()
        self._prune_at = now() + PRUNE_FIRST
        self._pruning: Iterator[int] | None = None

    def warm(self) -> Counts:
        """Hashes the whole module at once."""
        client = Client()
        self.begin_warming(client)
        while client.has_work:
            self.turn(client)
        self.index.commit()
        return client.counts

    def _follow_path(self) -> None:
        if self.path is not None:
            follow_path(self.root, self.path)

    def begin_warming(self, client: Client) -> None:
        self._follow_path()
        client.walking = walk(self.root, self.excluded)

    def turn(self, client: Client) -> None:
        """A bounded amount of work for one client."""
        self._follow_path()
        flags, names = client.next_names()
        wanted = bool(names)
        if not names and client.walking is not None:
            names = next(client.walking, [])
            if not names:
                client.walking, client.pruning = None, self.index.prune(self.root)
        if names:
            done = self.index.hash_files(self.root, names, block_sums=bool(flags & FLAG_SUMS), budget=TURN_BYTES)
            for entry in done:
                client.counts.add(entry.status, entry.size)
            client.queue.extendleft((flags, name) for name in reversed(names[len(done) :]))
            if wanted or self.now() - self._committed >= COMMIT_SECONDS:
                self.index.commit()
                self._committed = self.now()
        elif client.pruning is not None:
            removed = next(client.pruning, None)
            if removed is None:
                client.pruning = None
            else:
                client.counts.removed += removed

    def idle(self) -> float | None:
        """A piece of what is done when nobody wants anything; the seconds until there is more of it, 0 for at once."""
        if self._pruning is None:
            left = self._prune_at - self.now()
            if left > 0:
                return left
            self._pruning = self.index.prune(self.root)
        if next(self._pruning, None) is None:
            self._pruning = None
            self._prune_at = self.now() + PRUNE_SECONDS
            self.index.commit()
        return 0


class IndexServer:
    """The indexer's loop. Ends when `parent` is at its end: the supervisor is gone."""

    def __init__(self, indexer: Indexer, listener: socket.socket, parent: int) -> None:
        self.indexer = indexer
        self.listener = listener
        self.parent = parent
        self.poller = select.poll()
        self.poller.register(listener, select.POLLIN)
        self.poller.register(parent, select.POLLIN)
        self.clients: dict[int, Client] = {}

    def run(self) -> None:
        while self.step():
            pass

    def step(self) -> bool:
        """Waits for something, then does a turn for each client. False: the end."""
        busy = [client for client in self.clients.values() if client.has_work]
        wait = 0.0 if busy else self.indexer.idle()
        for number, _ in self.poller.poll(None if wait is None else wait * 1000):
            if number == self.parent:
                return False
            if number == self.listener.fileno():
                self._accept()
            elif number in self.clients:
                self._receive(number)
        for number, client in list(self.clients.items()):
            if client.has_work:
                self._turn(number, client)
        return True

    def _accept(self) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        self.clients[sock.fileno()] = Client(sock)
        self.poller.register(sock, select.POLLIN)

    def _receive(self, number: int) -> None:
        client = self.clients[number]
        assert client.sock is not None
        try:
            data = client.sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        try:
            if not data:
                raise BadOrder
            if client.take(data):
                self.indexer.begin_warming(client)
        except BadOrder:
            self._drop(number)
            return
        self._listen_to(number, client)

    def _listen_to(self, number: int, client: Client) -> None:
        """Back-pressure: who has enough in the queue is not read from. Its end is noticed all the same (POLLHUP)."""
        self.poller.modify(number, select.POLLIN if len(client.queue) < QUEUED_NAMES else 0)

    def _turn(self, number: int, client: Client) -> None:
        warming = client.walking is not None or client.pruning is not None
        self.indexer.turn(client)
        if warming and client.walking is None and client.pruning is None:
            self._answer(client)
        self._listen_to(number, client)

    def _answer(self, client: Client) -> None:
        self.indexer.index.commit()
        assert client.sock is not None
        try:
            client.sock.send(client.counts.line().encode() + b"\n")
        except OSError:
            return

    def _drop(self, number: int) -> None:
        client = self.clients.pop(number)
        self.poller.unregister(number)
        assert client.sock is not None
        client.sock.close()

