"""A server's receiving role: rules, destination and options put into the core, up to the pump (main.c:do_server_recv)."""

from __future__ import annotations

from prsync.engine.context import Context
from prsync.engine.rules import RuleSet
from prsync.errors import ExitCode, PrsyncError
from prsync.options.model import Options, as_bytes
from prsync.protocol.negotiation import Negotiated
from prsync.session.context import fill_context
from prsync.session.daemon.transfer.client_rules import client_rules
from prsync.session.daemon.transfer.input import MuxInput
from prsync.session.daemon.transfer.job import client_code
from prsync.session.daemon.transfer.site import Site
from prsync.transfer.receiver import Receiver

MULTIPLEXED_NAMES = 31  # the first protocol in which forwarded names are data like any other


class ReceiverJob:
    """One push to this server. `prepare` reads the client's rules; then `pump` is ready, and `before` is what was received
    beyond."""

    role = "Receiver"

    def __init__(self, site: Site, options: Options, paths: tuple[bytes, ...], negotiated: Negotiated) -> None:
        self.site = site
        self.options = site.kept_within(options)
        self.paths = paths
        self.context = Context()
        self.before = b""
        fill_context(self.context, self.options, negotiated, sender=False, umask=site.umask)
        self.context.options.trust_sender = 1  # whoever may write here chooses the names; the site's rules hold all the same
        site.fill(self.context, self.options)

    def prepare(self, source: MuxInput) -> None:
        """Reads the filter list, puts the names of a --files-from into the output. Raises PrsyncError, Hangup."""
        self.rules = rules = client_rules(self.site, self.context, self.options, source)  # as long as the pump
        destination = self.site.destination(self.paths, self.options, rules.daemon_excludes)
        names = None if self.options.files_from is None else self._forwarded_names(rules, self.options.files_from)
        self.before = source.rest()
        self.pump = Receiver(self.context, destination, self.site.log, None, rules.handle, self.site.confines(self.context))
        self.pump.core.write_behind()
        if names is not None and self.context.options.protocol >= MULTIPLEXED_NAMES:
            self.pump.core.put(names)
        elif names is not None:
            self.pump.core.put_plain(names)

    def told(self, failure: PrsyncError) -> ExitCode | None:
        return client_code(failure.code) if failure.told else None

    def _forwarded_names(self, rules: RuleSet, name: str) -> bytes:
        """The names of a file here, for the client that sends those files (io.c:start_filesfrom_forwarding)."""
        if name == "-":
            raise PrsyncError("The client of a push cannot send the names of --files-from.", ExitCode.UNSUPPORTED)
        text = self.site.read_names(as_bytes(name), rules)
        if not self.options.eol_nulls:
            text = text.replace(b"\r", b"\0").replace(b"\n", b"\0")
        return b"".join(part + b"\0" for part in text.split(b"\0") if part) + b"\0"
