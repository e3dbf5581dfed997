"""A push: the client's own files listed and sent (main.c:client_run with am_sender)."""

from __future__ import annotations

from prsync.engine import receiving
from prsync.engine.context import Context, Event
from prsync.engine.flist import FileLists, Lister, Root
from prsync.engine.rules import RuleSet
from prsync.engine.sending import Send
from prsync.errors import ExitCode
from prsync.net.handshake import Handshake
from prsync.options.model import as_bytes
from prsync.protocol.filter_list import client_filter_list
from prsync.protocol.negotiation import Negotiated
from prsync.session.client.remote import Remote
from prsync.session.client.rules import Prepared, traits
from prsync.session.client.run import Run
from prsync.session.client.transfer import RemoteTransfer, wishes_of
from prsync.session.context import fill_context
from prsync.transfer.sender import Sender


def push(run: Run, remote: Remote, prepared: Prepared) -> ExitCode:
    """A transfer from where the remote waits for arguments."""
    negotiated = remote.agree(lambda protocol: wishes_of(run, protocol))
    if run.batch:
        run.batch.begin(negotiated, prepared)
    return Push(run, remote.handshake, negotiated, prepared).run()


class Push(RemoteTransfer):
    def __init__(self, run: Run, handshake: Handshake, negotiated: Negotiated, prepared: Prepared) -> None:
        context = Context()
        fill_context(context, run.options, negotiated, sender=True, umask=run.umask)
        sent_rules = client_filter_list(prepared.rules, traits(run.options, negotiated.protocol))
        rules = prepared.rules
        self.rules = RuleSet(context, rules.rules, cvs=rules.cvs_rules, parse=rules.merge_file)
        lists, root = FileLists(context), Root.everything(context)
        lister = Lister(lists, root, self.rules.handle)
        lister.from_anywhere(run.directory)
        for path in run.target.paths:
            lister.argument(as_bytes(path))
        if prepared.names is not None:
            lister.names(prepared.names)
        send = Send(context, lists, lister, root, self.rules)
        if sent_rules:
            send.put(sent_rules)
        if run.options.files_from is not None and prepared.names is None:
            send.names_follow()
        if run.batch:
            send.record(run.batch.descriptor)
        self.sender = Sender(send, run.output.record, event=self._event)
        super().__init__(run, handshake, negotiated.protocol, context, self.sender)

    def over(self) -> None:
        self.sender.core.end_recording()

    def _event(self, event: Event) -> None:
        if event.kind == receiving.IO_TIMEOUT:
            self.note_timeout(float(event.a))
