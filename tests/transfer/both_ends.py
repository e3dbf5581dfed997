"""Our sender and our receiver in one thread over memory, whichever of them is the server."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import push

from prsync.engine.context import Context
from prsync.engine.flist import FileLists, Lister, Root
from prsync.engine.native import lib
from prsync.engine.sending import Send
from prsync.transfer.pump import Pump, Want, give
from prsync.transfer.receiver import Receiver
from prsync.transfer.sender import Sender

Setup = Callable[[Context], None]
TURNS = 100_000


class BothEnds:
    """A transfer of `source`/ into `target`. `setup` sets the options of both contexts; `most`: no more bytes go over at once."""

    def __init__(
        self,
        source: pathlib.Path,
        target: pathlib.Path,
        setup: Setup | None = None,
        *,
        push: bool = True,
        incremental: bool = True,
        protocol: int = 32,
        most: int = 1 << 30,
    ) -> None:
        self.most = most
        self.logs: dict[str, list[tuple[int, bytes]]] = {"sender": [], "receiver": []}
        self.sending, self.receiving = self._context(setup, protocol, incremental), self._context(setup, protocol, incremental)
        self.sending.options.role = lib.PS_ROLE_SENDER
        self.receiving.options.role = lib.PS_ROLE_RECEIVER
        (self.receiving if push else self.sending).options.am_server = 1
        lists, root = FileLists(self.sending), Root.everything(self.sending)
        lister = Lister(lists, root)
        lister.from_anywhere(b"/")
        lister.argument(os.fsencode(source) + b"/")
        send = Send(self.sending, lists, lister, root)
        self.sender = Sender(send, lambda code, text: self.logs["sender"].append((code, text)))
        self.receiver = Receiver(
            self.receiving, os.fsencode(target) + b"/", lambda code, text: self.logs["receiver"].append((code, text))
        )
        self.change: Callable[[bytes], bytes] = lambda data: data  # what the sender says
        self.change_answer: Callable[[bytes], bytes] = lambda data: data

    def _context(self, setup: Setup | None, protocol: int, incremental: bool) -> Context:
        context = push.new_context(setup)
        options = context.options
        options.protocol, options.inc_recurse = protocol, int(incremental)
        options.safe_flist = options.proper_seed_order = options.receiver_symlink_times = 1
        options.varint_flist_flags = options.id0_names = options.inplace_partial_dir = 1
        options.xfer_sum = options.file_sum = options.xfer_sum or lib.PS_SUM_MD5
        context.set_string(lib.PS_STR_BACKUP_SUFFIX, b"~")
        return context

    def _move(self, one: Pump, other: Pump, change: Callable[[bytes], bytes]) -> bool:
        output = one.output()
        data = bytes(output[: self.most])
        del output
        room = other.room()
        if not data or room is None:
            return False
        data = data[: len(room)]
        one.sent(len(data))
        if not other.ended:  # it may have gone after its last word
            give(other, change(data))
        return True

    def run(self) -> None:
        for _ in range(TURNS):
            ends = [self.sender.run(), self.receiver.run()]
            moved = self._move(self.sender, self.receiver, self.change)
            moved = self._move(self.receiver, self.sender, self.change_answer) or moved
            if ends == [Want.NOTHING, Want.NOTHING] and not moved:
                return
            if Want.NOTHING in ends and not moved and Want.OUTPUT not in ends:
                raise AssertionError(f"one end is left alone: {ends}")
        raise AssertionError("the transfer does not come to an end")

    def text(self, role: str) -> str:
        return b"".join(text for code, text in self.logs[role] if code != lib.PS_LOG_LOG).decode()
