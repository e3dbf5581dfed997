"""A local copy, or listing: sender and receiver in this process, plugged together (main.c:do_cmd with local_server).

The receiver is a server in all that rsync's forked one is: what it says goes through the sender to the output, in order.
"""

from __future__ import annotations

import secrets
import sys
import time
from typing import NoReturn

from prsync.engine.context import Context
from prsync.engine.flist import FileLists, Lister, Root
from prsync.engine.rules import RuleSet
from prsync.engine.sending import Send
from prsync.errors import ExitCode, PrsyncError
from prsync.options.local_receiver import receiver_options
from prsync.options.model import Options, as_bytes
from prsync.options.older_protocols import refuse_beyond
from prsync.options.remote_arguments import CAPABILITIES, CAPABILITIES_PROTOCOL, allows_incremental
from prsync.protocol.filter_list import client_filter_list, local_server_rules
from prsync.protocol.negotiation import Negotiated, NegotiationClient, NegotiationServer
from prsync.session.client.rules import Prepared, prepare, traits
from prsync.session.client.run import Run
from prsync.session.client.transfer import ClientTransfer, wishes_of
from prsync.session.context import fill_context
from prsync.session.loop import BANDWIDTH_LEAST, BANDWIDTH_SLICE
from prsync.transfer.pump import Want
from prsync.transfer.receiver import Receiver
from prsync.transfer.sender import Sender

ALL = sys.maxsize


def copy_locally(run: Run) -> ExitCode:
    prepared = prepare(run)
    options = run.options
    refuse_beyond(options, options.protocol)
    if options.whole_file < 0:
        options = options.replace(whole_file=1)
    server = receiver_options(options)
    return LocalCopy(run._replace(options=options), server, prepared, agree(run, options, server)).run()


def agree(run: Run, client: Options, server: Options) -> tuple[Negotiated, Negotiated]:
    """compat.c:setup_protocol of both sides, the client's and the server's."""
    protocol = client.protocol
    info = ("." + "i" * allows_incremental(client) + CAPABILITIES) if protocol >= CAPABILITIES_PROTOCOL else ""
    wishes = wishes_of(run, protocol)
    ours = NegotiationClient(wishes)
    theirs = NegotiationServer(
        wishes._replace(inc_recurse=allows_incremental(server)), info, server.checksum_seed or secrets.randbits(31)
    )
    found: dict[NegotiationClient | NegotiationServer, Negotiated] = {}
    while len(found) < 2:
        for side, other in ((theirs, ours), (ours, theirs)):
            event = None if side in found else side.next_event()
            if isinstance(event, Negotiated):
                found[side] = event
            elif event is not None:
                other.feed(event.data)
    return found[ours], found[theirs]


class LocalCopy(ClientTransfer):
    """One copy. `server`: the receiver's options."""

    def __init__(self, run: Run, server: Options, prepared: Prepared, agreed: tuple[Negotiated, Negotiated]) -> None:
        context = Context()
        fill_context(context, run.options, agreed[0], sender=True, umask=run.umask)
        self.sender = self._make_sender(run, context, prepared)
        super().__init__(run, agreed[0].protocol, context, self.sender)
        self.receiver = self._make_receiver(run, server, prepared, agreed[1])
        self._bandwidth = run.options.bwlimit * 1024
        self._send_at = 0.0  # with a limit: when more may be moved

    def _make_sender(self, run: Run, context: Context, prepared: Prepared) -> Sender:
        rules = prepared.rules
        self._receiver_rules = local_server_rules(rules, traits(run.options, run.options.protocol))
        client_filter_list(rules, traits(run.options, run.options.protocol))  # not sent: both sides have them
        own = RuleSet(context, rules.rules, cvs=rules.cvs_rules, parse=rules.merge_file)
        lists, root = FileLists(context), Root.everything(context)
        lister = Lister(lists, root, own.handle)
        lister.from_anywhere(run.directory)
        for path in run.target.paths:
            lister.argument(as_bytes(path))
        if prepared.names is not None:
            lister.names(prepared.names)
        context.options.local = 1
        return Sender(Send(context, lists, lister, root, own), run.output.record)

    def _make_receiver(self, run: Run, server: Options, prepared: Prepared, negotiated: Negotiated) -> Receiver:
        context = Context()
        fill_context(context, server, negotiated, sender=False, umask=run.umask)
        context.options.local = 1
        rules = self._receiver_rules
        own = RuleSet(context, rules.rules, cvs=rules.cvs_rules, parse=rules.merge_file)
        own.set_base(run.directory)
        destination = None if server.list_only else as_bytes(run.target.destination or ".")
        receiver = Receiver(context, destination, _drop, None, own.handle)
        self._receiver_parts = own
        receiver.core.write_behind()
        return receiver

    # ---- the transfer ----------------------------------------------------------------------------

    def move(self) -> None:
        while True:
            sending = self.sender.run()
            moved = self._forward()
            receiving = self._receiver_turn()
            moved = _move(self.receiver, self.sender) > 0 or moved
            if sending is receiving is Want.NOTHING:
                return
            if moved or Want.OUTPUT in (sending, receiving) or self._settle():
                continue
            if self._bandwidth and len(self.sender.output()):
                time.sleep(max(self._send_at - time.monotonic(), 0))
            elif sending is Want.NOTHING:
                self.received(0)
            else:
                self.sender.received(0)

    def _forward(self) -> bool:
        """The sender's output to the receiver."""
        if not self._bandwidth:
            return _move(self.sender, self, ALL) > 0
        now = time.monotonic()
        if now < self._send_at:
            return False
        count = _move(self.sender, self, max(int(self._bandwidth * BANDWIDTH_SLICE), BANDWIDTH_LEAST))
        self._send_at = max(self._send_at, now) + count / self._bandwidth
        return count > 0

    # The receiver's failure reaches the sender as a remote's does: by its last words, else by its own text.

    def room(self) -> memoryview | None:
        return self.receiver.room()

    def received(self, count: int) -> None:
        try:
            self.receiver.received(count)
        except PrsyncError as failure:
            self._receiver_failed(failure)

    def _receiver_turn(self) -> Want:
        try:
            return self.receiver.run()
        except PrsyncError as failure:
            self._receiver_failed(failure)

    def _settle(self) -> bool:
        try:
            return self.receiver.settle()
        except PrsyncError as failure:
            self._receiver_failed(failure)

    def _receiver_failed(self, failure: PrsyncError) -> NoReturn:
        self.receiver.abort(failure)
        while len(self.receiver.output()):
            _move(self.receiver, self.sender)
            self.sender.run()
            self.sender.sent(len(self.sender.output()))
        raise failure

    def abort(self, failure: BaseException) -> None:
        self.receiver.abort(None)
        self.sender.drain()

    def exit_code(self) -> ExitCode:
        return max(super().exit_code(), self.receiver.exit_code())


def _move(source: Sender | Receiver, target: Sender | LocalCopy, most: int = ALL) -> int:
    """Bytes of the one's output to the other, which takes what it has room for. How many."""
    moved = 0
    while moved < most and len(view := source.output()):
        room = target.room()
        if room is None:
            break
        count = min(len(view), len(room), most - moved)
        room[:count] = view[:count]
        source.sent(count)
        target.received(count)
        moved += count
    return moved


def _drop(code: int, record: bytes) -> None:
    """The receiver has no log of its own: the client has one for both."""
