"""An origin's sender, a client's receiver with its swarm, and mirrors, all in one thread over memory."""

from __future__ import annotations

import pathlib
import struct
from collections import deque

from prsync.engine.context import Context, Event, Status
from prsync.engine.fetch import Memory, PeerFetch
from prsync.engine.flist import FileLists, Lister, Root
from prsync.engine.index import DigestIndex
from prsync.engine.native import lib
from prsync.engine.sending import Send
from prsync.engine.serve import Digester, Peer
from prsync.engine.swarm import BAD, BUNDLE, ENDED, EVENTS, RUN, Entries, Leftover, Swarm
from prsync.transfer.pump import Want, give
from prsync.transfer.receiver import Receiver
from prsync.transfer.sender import Sender

SLOT = 64 << 10
DIGESTS_REQUEST = 3


def set_options(context: Context, role: int, *, incremental: bool) -> None:
    o = context.options
    o.role = role
    o.protocol = 32
    o.inc_recurse = int(incremental)
    o.safe_flist = o.proper_seed_order = o.varint_flist_flags = o.id0_names = o.receiver_symlink_times = 1
    o.recurse = o.links = o.perms = o.times = o.devices = o.specials = o.implied_dirs = 1
    o.xfer_sum = o.file_sum = lib.PS_SUM_XXH128
    o.compress_level = -(2**31)
    o.max_size = o.min_size = o.max_delete = o.super = o.whole_file = -1
    o.swarm = 1


class Origin:
    """A sender with digests out of an index."""

    def __init__(
        self, tree: pathlib.Path, index: pathlib.Path, *, incremental: bool, warm: bool, block_sums: bool = True
    ) -> None:
        self.context = Context()
        set_options(self.context, lib.PS_ROLE_SENDER, incremental=incremental)
        self.context.options.am_server = self.context.options.am_daemon = 1
        self.context.set_string(lib.PS_STR_CURR_DIR, b"/")
        self.root = Root.open(self.context, bytes(tree))
        self.names = [bytes(p.relative_to(tree)) for p in sorted(tree.rglob("*")) if p.is_file() and not p.is_symlink()]
        with DigestIndex(index, writer=True) as writer:
            if warm:
                writer.hash_files(self.root.fileno(), self.names, block_sums=block_sums)
        self.index_path = index
        self.index = DigestIndex(index)
        lists = FileLists(self.context)
        lister = Lister(lists, self.root)
        lister.argument(b"./")
        self.send = Send(self.context, lists, lister, self.root)
        self.sender = Sender(self.send, lambda code, text: None, frame=self._frame)
        self.digester = Digester(self.context, self.send.handle, self.root.handle, self.index)
        self.want = Want.OUTPUT

    def _frame(self, frame: bytes) -> None:
        assert frame[0] == DIGESTS_REQUEST
        self.digester.ask(frame[1:])

    def turn(self, data: bytes) -> bytes:
        if data:
            give(self.sender, data)
        out = bytearray()
        for _ in range(10_000):
            self.want = self.sender.run()
            while self.digester.step() is Status.OK:
                pass
            view = self.sender.output()
            out += view
            self.sender.sent(len(view))
            if self.want is not Want.OUTPUT:
                break
        return bytes(out)


class Mirror:
    """A peer daemon over a copy, with the fetcher's connection to it. `damage` may change what it sends."""

    def __init__(self, tree: pathlib.Path, index: pathlib.Path, memory: Memory) -> None:
        context = Context()
        root = Root.open(context, bytes(tree))
        names = [bytes(p.relative_to(tree)) for p in sorted(tree.rglob("*")) if p.is_file() and not p.is_symlink()]
        with DigestIndex(index, writer=True) as writer:
            writer.hash_files(root.fileno(), names)
        self.peer = Peer(context, root.handle, DigestIndex(index))
        self.fetch = PeerFetch(Context(), memory)
        self.damage = lambda data: data

    def turn(self) -> bool:
        moved = False
        for sender, receiver in ((self.fetch, self.peer), (self.peer, self.fetch)):
            status = receiver.step()
            while status is Status.OK:
                status = receiver.step()
            data = bytes(sender.output())
            if status is Status.AGAIN and data:
                moved = True
                sender.sent(len(data))
                receiver.feed(self.damage(data) if sender is self.peer else data)
        self.fetch.step()
        return moved


class Pair:
    """A pull; `run` to its end. Requests go to the mirrors in turn, what is left of one to the next."""

    def __init__(self, origin: Origin, dest: pathlib.Path, *, incremental: bool, slots: int = 8) -> None:
        self.origin = origin
        self.context = Context()
        set_options(self.context, lib.PS_ROLE_RECEIVER, incremental=incremental)
        self.lines: list[str] = []
        self.events: deque[Event] = deque()
        self.receiver = Receiver(self.context, bytes(dest) + b"/", self._log, self.events.append)
        self.receiver.core.imply(b"./", skip_module=False)
        self.buffer = bytearray(SLOT * slots)
        self.memory = Memory(self.buffer, SLOT)
        self.mirrors: list[Mirror] = []
        self.swarm: Swarm | None = None
        self.next_request = 1
        self.bad: list[tuple[int, int]] = []
        self.missing = 0
        self.delivered = 0
        self.dropped: set[int] = set()
        self.holders: dict[int, int] = {}
        self.open: set[int] = set()

    def _log(self, code: int, text: bytes) -> None:
        self.lines.append(text.decode())

    def run(self, limit: int = 20_000) -> None:
        to_origin = b""
        for _ in range(limit):
            need = self.receiver.run()
            if self.swarm is None:
                self.swarm = Swarm.of(self.receiver.core)
            if self.swarm is not None:
                self.swarm.ask(need is Want.INPUT)
                while self.swarm.step(need is Want.INPUT) is not Status.AGAIN:
                    self.receiver.drain()
                self.receiver.drain()
                self._orders()
                self._mirrors()
            out = bytes(self.receiver.output())
            self.receiver.sent(len(out))
            to_origin += out
            if need is Want.NOTHING:
                return
            if self.origin.want is Want.NOTHING:
                continue
            if self.origin.want is Want.INPUT:
                to_client, to_origin = self.origin.turn(to_origin), b""
            else:
                to_client = self.origin.turn(b"")
            give(self.receiver, to_client)
        raise AssertionError("the pull does not come to an end")

    def _live(self) -> list[int]:
        return [i for i in range(len(self.mirrors)) if i not in self.dropped]

    def _orders(self) -> None:
        assert self.swarm is not None
        while self.events:
            event = self.events.popleft()
            if event.kind not in EVENTS:
                continue
            if event.kind == BUNDLE:
                self._fetch_bundle(event.a)
            elif event.kind == RUN:
                first, last = struct.unpack("<II", event.text)
                self._fetch_pieces(event.a, first, last)
            elif event.kind == BAD:
                holder = self.holders[event.a]
                self.bad.append((holder, event.code))
                self._drop(holder)
            elif event.kind == ENDED:
                left = self._close(event.a)
                self.missing += left.missing
                if left.missing:
                    self._drop(self.holders[event.a])
                self._again(left)

    def _drop(self, holder: int) -> None:
        self.dropped.add(holder)
        left = [self._close(request) for request in sorted(self.open) if self.holders[request] == holder]
        for rest in left:
            self._again(rest)

    def _close(self, request: int) -> Leftover:
        assert self.swarm is not None
        self.open.discard(request)
        self.mirrors[self.holders[request]].fetch.cancel(request)
        return self.swarm.close_request(request)

    def _again(self, left: Leftover) -> None:
        if left.files:
            self._fetch_bundle(left.bundle)
        if left.first < left.last:
            self._fetch_pieces(left.job, left.first, left.last)

    def _fetch_bundle(self, bundle: int) -> None:
        assert self.swarm is not None
        if not self._live():
            self.swarm.give_up_bundle(bundle, False)
            return
        self._send(self.swarm.open_bundle(self.next_request, bundle))

    def _fetch_pieces(self, job: int, first: int, last: int) -> None:
        assert self.swarm is not None
        if not self._live():
            self.swarm.give_up_job(job, False)
            return
        while first < last:
            entries, taken = self.swarm.open_pieces(self.next_request, job, first, last)
            if entries is not None:
                self._send(entries)
            first = taken

    def _send(self, entries: Entries) -> None:
        live = self._live()
        holder = live[self.next_request % len(live)]
        self.holders[self.next_request] = holder
        self.open.add(self.next_request)
        self.mirrors[holder].fetch.request(self.next_request, entries.entries, entries.data)
        self.next_request += 1

    def _mirrors(self) -> None:
        busy = True
        while busy:
            busy = False
            for number in self._live():
                busy = (number not in self.dropped and self.mirrors[number].turn()) or busy
                busy = self._deliver() or busy

    def _deliver(self) -> bool:
        assert self.swarm is not None
        records = self.memory.take_records()
        view = memoryview(records)
        while view:
            done, progress, _ = self.swarm.deliver(self.buffer, SLOT, view)
            self.delivered += sum(size for _, size in progress)
            view = view[done * 32 :]
            self.receiver.drain()
            self._orders()
        self.memory.consumed(len(records) // 32)
        return bool(records)
