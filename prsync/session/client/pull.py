"""A pull: rules and names put into the core, the transfer, with a swarm beside it or without (main.c:client_run)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prsync.engine import receiving
from prsync.engine.context import Context, Event
from prsync.engine.rules import RuleSet
from prsync.errors import ExitCode, StartError
from prsync.options.model import Options, as_bytes
from prsync.options.operands import Way
from prsync.protocol.filter_list import client_filter_list
from prsync.protocol.negotiation import Negotiated
from prsync.session.client.output import INFO, WARNING
from prsync.session.client.remote import Remote
from prsync.session.client.rules import Prepared, encode_names, traits
from prsync.session.client.run import Run
from prsync.session.client.transfer import Link, RemoteTransfer, wishes_of
from prsync.session.context import fill_context
from prsync.transfer.receiver import Receiver

if TYPE_CHECKING:
    from prsync.session.client.swarm import ClientSwarm
    from prsync.swarm.fetcher import FetcherHandle


def pull(run: Run, remote: Remote, prepared: Prepared, fetcher: FetcherHandle | None = None) -> ExitCode:
    """A transfer, or a listing, from where the remote waits for arguments."""
    negotiated = remote.agree(lambda protocol: wishes_of(run, protocol), fetcher is not None)
    if takes_data(run.options) and run.options.mirrors == "only" and not (fetcher is not None and negotiated.nominate):
        raise StartError(
            "prsync: --mirrors=only: no mirrors there, or not with these options; use --mirrors=auto to take its own data"
        )
    if fetcher is not None and negotiated.nominate:
        fetcher.prepare()
    else:
        fetcher = None
    if run.batch:
        run.batch.begin(negotiated, prepared)
    return Pull(run, remote.handshake, negotiated, prepared, fetcher).run()


def takes_data(options: Options) -> bool:
    return not (options.dry_run or options.list_only)


class Pull(RemoteTransfer):
    """One pull. `fetcher`: where the remote has agreed on nominate/1."""

    def __init__(
        self, run: Run, link: Link, negotiated: Negotiated, prepared: Prepared, fetcher: FetcherHandle | None
    ) -> None:
        options = run.options
        context = Context()
        fill_context(context, options, negotiated, sender=False, umask=run.umask, swarm=fetcher is not None)
        sent_rules = client_filter_list(prepared.rules, traits(options, negotiated.protocol))
        rules = prepared.rules
        self.rules = RuleSet(
            context, rules.rules, cvs=rules.cvs_rules, parse=rules.merge_file, trust_sender=rules.trust_sender
        )
        self.rules.set_base(run.directory)
        target = run.target
        destination = None if target.destination is None else as_bytes(target.destination)
        self.receiver = Receiver(context, destination, run.output.record, self._event, self.rules.handle)
        self.swarm = None if fetcher is None else self._join_swarm(run, link, fetcher)  # its hello precedes the filter list
        core = self.receiver.core
        if run.batch:
            core.record(run.batch.descriptor)
        core.put(sent_rules)
        if prepared.names is not None:
            (core.put if negotiated.protocol >= 31 else core.put_plain)(encode_names(prepared.names))
        self._imply(run, prepared.names)
        super().__init__(run, link, negotiated.protocol, context, self.receiver, self.swarm)

    def _join_swarm(self, run: Run, link: Link, fetcher: FetcherHandle) -> ClientSwarm:
        from prsync.session.client.swarm import ClientSwarm, address_of

        def warn(line: str) -> None:
            run.output.say(WARNING, line)

        origin = address_of(link.channel.stream)
        return ClientSwarm(self.receiver, run.options, run.target, run.route, fetcher, link.login, origin, warn)

    def _imply(self, run: Run, names: list[bytes] | None) -> None:
        """The names that the sender may list; all, where it is trusted (options.c: trust_sender_args)."""
        options = run.options
        if options.trust_sender or options.old_style_args or options.files_from_host is not None:
            return
        if names is not None:
            for name in names:
                self.receiver.core.imply(name, skip_module=False)
        else:
            for path in run.target.paths:
                self.receiver.core.imply(as_bytes(path), skip_module=run.target.way is not Way.SHELL)

    def _event(self, event: Event) -> None:
        if event.kind == receiving.IO_TIMEOUT:
            self.note_timeout(float(event.a))
        elif self.swarm is not None:
            self.swarm.event(event)

    def run(self) -> ExitCode:
        if self.swarm is None:
            self.receiver.core.write_behind()
        return super().run()

    def over(self) -> None:
        if self.swarm is not None:
            self.swarm.end()

    def summary(self) -> list[tuple[int, str]]:
        lines = super().summary()
        if self.swarm is not None and self.given.options.info_at_least("STATS", 2):
            lines += [(INFO, line) for line in self.swarm.source_lines(self.given.options.human_readable)]
        return lines

    def exit_code(self) -> ExitCode:
        code = super().exit_code()
        return code if self.swarm is None else self.swarm.exit_code(code)
