"""A local copy, or listing: sender and receiver in this process, plugged together (main.c:do_cmd with local_server).

The receiver is a server in all that rsync's forked one is: what it says goes through the sender to the output, in order.
"""

from __future__ import annotations

import _thread
import os
from typing import NoReturn

from prsync.engine.context import Context, Status
from prsync.engine.flist import FileLists, Lister, Root
from prsync.engine.formats import format_has
from prsync.engine.local import Local
from prsync.engine.rules import RuleSet
from prsync.engine.sending import Send
from prsync.errors import EngineError, ExitCode, StreamError
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
from prsync.transfer.receiver import Receiver
from prsync.transfer.sender import Sender

SENDER_STOPS_SECONDS = 1.0  # it may be held up by whoever reads its output


def copy_locally(run: Run) -> ExitCode:
    prepared = prepare(run)
    options = run.options
    refuse_beyond(options, options.protocol)
    if options.whole_file < 0 and not options.write_batch:
        options = options.replace(whole_file=1)
    server = receiver_options(options)
    agreed = agree(run, options, server)
    if run.batch:
        run.batch.begin(agreed[0], prepared)
    return LocalCopy(run._replace(options=options), server, prepared, agreed).run()


def agree(run: Run, client: Options, server: Options) -> tuple[Negotiated, Negotiated]:
    """compat.c:setup_protocol of both sides, the client's and the server's."""
    protocol = client.protocol
    info = ("." + "i" * allows_incremental(client) + CAPABILITIES) if protocol >= CAPABILITIES_PROTOCOL else ""
    wishes = wishes_of(run, protocol)
    ours = NegotiationClient(wishes)
    theirs = NegotiationServer(
        wishes._replace(inc_recurse=allows_incremental(server)), info, server.checksum_seed or _random_seed()
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
        hands_over = not (run.options.info_at_least("PROGRESS", 1) or run.options.bwlimit or _shows_checksums(run.options))
        self.local = Local(self.sender.core, self.receiver.core, hands_over, run.options.bwlimit * 1024)
        self._sending = _thread.allocate_lock()  # held while the sender's thread runs
        self._sender_failure: BaseException | None = None

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
        send = Send(context, lists, lister, root, own)
        if run.batch:
            send.record(run.batch.descriptor)
        return Sender(send, run.output.record)

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

    # ---- the transfer: the receiver here, where signals are seen -----------------------------------

    def move(self) -> None:
        self._sending.acquire()
        _thread.start_new_thread(self._send, ())
        try:
            self._receive()
            self.local.receiver_ended()
            self._sending.acquire()
        except EngineError as failure:
            self._tell(failure)
        if self._sender_failure is not None:
            raise self._sender_failure

    def _send(self) -> None:
        """The sender's thread."""
        try:
            status = Status.OK
            while status is Status.OK:
                try:
                    status = self.local.drive_sender()
                finally:
                    self.sender.drain()
            if status is Status.AGAIN:
                raise StreamError(
                    f"connection unexpectedly closed ({self.context.stats.total_read} bytes received so far) [sender]"
                )
        except BaseException as failure:
            self._sender_failure = failure
        finally:
            self.local.sender_ended()
            self._sending.release()

    def _receive(self) -> None:
        """To the end, or for as long as the sender has something to say."""
        status = Status.OK
        while status is Status.OK:
            try:
                status = self.local.drive_receiver()
            finally:
                self.receiver.drain()

    def _tell(self, failure: EngineError) -> NoReturn:
        """The receiver's failure reaches the sender as a remote's does: by its last words, else by the end of the stream."""
        self.receiver.abort(failure)
        self.local.last_words()
        self.local.receiver_ended()
        self._sending.acquire()
        told = self._sender_failure
        raise told if isinstance(told, EngineError) and told.told else failure

    def over(self) -> None:
        self.sender.core.end_recording()

    def abort(self, failure: BaseException) -> None:
        self.receiver.abort(None)
        self.context.cancel()
        self.local.receiver_ended()
        if not self._sending.locked() or self._sending.acquire(timeout=SENDER_STOPS_SECONDS):
            self.sender.drain()

    def exit_code(self) -> ExitCode:
        return max(super().exit_code(), self.receiver.exit_code())


def _random_seed() -> int:
    """The module secrets takes 4 ms to import."""
    return int.from_bytes(os.urandom(4), "little") >> 1


def _shows_checksums(options: Options) -> bool:
    """%C: of files whose data both sides see."""
    formats = (options.stdout_format, options.logfile_format)
    return any(format_has(as_bytes(text), b"C") for text in formats if text)


def _drop(code: int, record: bytes) -> None:
    """The receiver has no log of its own: the client has one for both."""
