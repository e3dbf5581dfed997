"""A pull after the daemon's OK: arguments, negotiation, rules and names, the transfer, the summary (main.c:client_run)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prsync.engine import receiving
from prsync.engine.context import Context, Event
from prsync.engine.rules import RuleSet
from prsync.errors import ExitCode, PrsyncError, StartError
from prsync.net.handshake import Handshake, Login
from prsync.options.model import NOT_SPECIFIED_LEVEL, Options, as_bytes
from prsync.options.remote_arguments import allows_incremental, path_arguments, server_arguments
from prsync.protocol.filter_list import client_filter_list
from prsync.protocol.filters import FilterParser
from prsync.protocol.negotiation import Negotiated, Wishes
from prsync.session.client.output import INFO, LOG, WARNING
from prsync.session.client.pump import Wire, run_pull
from prsync.session.client.rules import encode_names, traits
from prsync.session.client.session import Request
from prsync.session.client.summary import summary
from prsync.session.context import fill_context
from prsync.transfer.receiver import Receiver

if TYPE_CHECKING:
    from prsync.session.client.swarm import ClientSwarm
    from prsync.swarm.fetcher import FetcherHandle


class Prepared:
    """What is read before anything is connected: rules and names."""

    def __init__(self, rules: FilterParser, names: list[bytes] | None) -> None:
        self.rules = rules
        self.names = names


def pull(
    request: Request, handshake: Handshake, module: str, prepared: Prepared, fetcher: FetcherHandle | None = None
) -> ExitCode:
    negotiated = negotiate(request, handshake, module, fetcher is not None)
    if takes_data(request.options) and request.options.mirrors == "only" and not (fetcher is not None and negotiated.nominate):
        raise StartError(
            "prsync: --mirrors=only: no mirrors there, or not with these options; use --mirrors=auto to take its own data"
        )
    if fetcher is not None and negotiated.nominate:
        fetcher.prepare()
    session = PullSession(request, handshake, negotiated, prepared, fetcher)
    return session.run()


def takes_data(options: Options) -> bool:
    return not (options.dry_run or options.list_only)


def negotiate(request: Request, handshake: Handshake, module: str, swarm: bool = False) -> Negotiated:
    options = request.options
    plain, secluded = server_arguments(options, swarm)
    paths = path_arguments(options, module, request.target.paths)
    wishes = Wishes(
        protocol=handshake.protocol,
        checksum_choice=options.checksum_choice,
        compress_choice=options.compress_choice,
        compress=bool(options.do_compression),
        compress_level=None if options.compress_level == NOT_SPECIFIED_LEVEL else options.compress_level,
        checksum_list=request.checksum_list,
        compress_list=request.compress_list,
        inc_recurse=allows_incremental(options),
    )
    if options.protect_args:
        return handshake.negotiate(_encoded(plain), _encoded(secluded + paths), wishes)
    return handshake.negotiate(_encoded(plain + paths), None, wishes)


def _encoded(words: Iterable[str]) -> list[bytes]:
    return [as_bytes(word) for word in words]


class PullSession:
    """One pull. The receiver's pump is driven by `run_pull`; messages go to the output as they come."""

    def __init__(
        self,
        request: Request,
        handshake: Handshake,
        negotiated: Negotiated,
        prepared: Prepared,
        fetcher: FetcherHandle | None = None,
    ) -> None:
        self.request, self.negotiated = request, negotiated
        self.swarm: ClientSwarm | None = None
        self.options: Options = request.options
        self.output = request.output
        self.context = Context()
        fill_context(self.context, self.options, negotiated, sender=False, umask=request.umask)
        sent_rules = client_filter_list(prepared.rules, traits(self.options, negotiated.protocol))
        self.rules = RuleSet(
            self.context,
            prepared.rules.rules,
            cvs=prepared.rules.cvs_rules,
            parse=prepared.rules.merge_file,
            trust_sender=prepared.rules.trust_sender,
        )
        self.rules.set_base(request.directory)
        target = request.target
        destination = None if target.destination is None else as_bytes(target.destination)
        self.receiver = Receiver(self.context, destination, self.output.record, self._event, self.rules.handle)
        if fetcher is not None and negotiated.nominate:
            self.swarm = self._join_swarm(fetcher, handshake.login)  # its hello comes before the filter list
        self.receiver.core.put(sent_rules)
        names = b"" if prepared.names is None else encode_names(prepared.names)
        if names and negotiated.protocol >= 31:
            self.receiver.core.put(names)
            names = b""
        self._imply(prepared.names)
        stats = self.context.stats
        stats.total_written += handshake.sent_bytes
        stats.total_read += handshake.received_bytes - len(handshake.rest)
        self.wire = Wire(handshake.connection, self.receiver, float(handshake.timeout), handshake.rest, names)

    def _join_swarm(self, fetcher: FetcherHandle, login: Login | None) -> ClientSwarm:
        from prsync.session.client.swarm import ClientSwarm

        def warn(line: str) -> None:
            self.output.say(WARNING, line)

        return ClientSwarm(self.receiver, self.options, self.request.target, self.request.route, fetcher, login, warn)

    def _imply(self, names: list[bytes] | None) -> None:
        """The names that the sender may list; all, where it is trusted (options.c: trust_sender_args)."""
        options = self.options
        if options.trust_sender or options.old_style_args or options.files_from_host is not None:
            return
        if names is not None:
            for name in names:
                self.receiver.core.imply(name, skip_module=False)
        else:
            for path in self.request.target.paths:
                self.receiver.core.imply(as_bytes(path), skip_module=True)

    def _event(self, event: Event) -> None:
        if event.kind == receiving.IO_TIMEOUT and (not self.wire.timeout or event.a < self.wire.timeout):
            self.wire.timeout = float(event.a)
        elif self.swarm is not None:
            self.swarm.event(event, self.wire)

    def run(self) -> ExitCode:
        try:
            if self.swarm is None:
                self.receiver.core.write_behind()
                run_pull(self.wire)
            else:
                self.swarm.run(self.wire)
        except BaseException as failure:
            self._abort(failure)
            raise
        self.receiver.drain()
        self._summarize()
        code = self.receiver.exit_code()
        if code is ExitCode.OK and self.output.got_transfer_error:
            code = ExitCode.PARTIAL
        if self.swarm is not None:
            code = self.swarm.exit_code(code)
        if self.options.logfile_name and (code is ExitCode.OK):
            stats = self.context.stats
            line = f"sent {stats.total_written} bytes  received {stats.total_read} bytes  total size {stats.total_size}\n"
            self.output.say(LOG, line)
        return code

    def _abort(self, failure: BaseException) -> None:
        """Removes temporary files, or keeps them for --partial; tells the remote, and shows what was still to be said."""
        try:
            self.receiver.abort(failure if isinstance(failure, PrsyncError) else None)
        finally:
            self.wire.say_farewell()

    def _summarize(self) -> None:
        seconds = time.monotonic() - self.request.started
        for code, line in summary(self.options, self.context.stats, self.negotiated.protocol, seconds):
            self.output.say(code, line)
        if self.swarm is not None and self.options.info_at_least("STATS", 2):
            for line in self.swarm.source_lines(self.options.human_readable):
                self.output.say(INFO, line)
