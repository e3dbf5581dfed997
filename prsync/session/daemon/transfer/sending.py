"""A server's sending role: rules, paths and options put into the core, up to the pump (main.c:do_server_sender)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prsync.engine.context import Context
from prsync.engine.flist import FileLists, Lister
from prsync.engine.rules import RuleSet
from prsync.engine.sending import Send
from prsync.errors import ExitCode, PrsyncError, StreamError
from prsync.options.model import Options, as_bytes
from prsync.protocol.negotiation import Negotiated
from prsync.session.context import fill_context
from prsync.session.daemon.transfer.client_rules import client_rules
from prsync.session.daemon.transfer.input import MuxInput
from prsync.session.daemon.transfer.job import client_code
from prsync.session.daemon.transfer.site import Site
from prsync.transfer.sender import Sender


class SenderJob:
    """One pull from this server. `prepare` reads the client's rules and names; then `pump` is ready, `before`
    is what was received beyond, and `frames` are those of the extension that came before; `on_frame` gets the later ones."""

    role = "sender"

    def __init__(self, site: Site, options: Options, paths: tuple[bytes, ...], negotiated: Negotiated) -> None:
        self.site = site
        self.options = options
        self.paths = paths
        self.context = Context()
        self.before = b""
        self.frames: list[bytes] = []
        self.on_frame: Callable[[bytes], None] = self.frames.append
        fill_context(self.context, options, negotiated, sender=True, umask=site.umask, swarm=negotiated.nominate)
        site.fill(self.context, options)

    def prepare(self, source: MuxInput) -> None:
        """Reads the filter list and the names of --files-from; makes the sender. Raises PrsyncError, Hangup."""
        options, context, site = self.options, self.context, self.site
        rules = client_rules(site, context, options, source)
        lists = FileLists(context)
        self.root = root = site.root(context)
        lister = Lister(lists, root, rules.handle)
        start = site.start()
        if start is not None:
            lister.from_anywhere(start)
        for path in self._arguments(rules):
            lister.argument(path)
        if options.files_from is not None:
            lister.names(self._names(source, rules))
        self.before = source.rest()
        self.frames += source.frames
        self.send = Send(context, lists, lister, root, rules)
        self.pump = Sender(self.send, site.log, frame=lambda frame: self.on_frame(frame))

    def told(self, failure: PrsyncError) -> ExitCode | None:
        code = self.send.remote_exit
        return None if code is None else client_code(code)

    def _arguments(self, rules: RuleSet) -> list[bytes]:
        options = self.options
        found = list(self.site.arguments(self.paths, options, rules.daemon_excludes))
        if not found and (options.recurse or options.xfer_dirs > 0 or options.list_only or options.files_from is not None):
            found = [b"."]
        if options.files_from is not None and len(found) > 1:
            # rsync's server only shows its usage in its log, and its client takes the end for a broken stream.
            raise StreamError(f"--files-from takes one source directory, but {len(found)} names match")
        return found

    def _names(self, source: MuxInput, rules: RuleSet) -> Iterator[bytes]:
        """The names of --files-from, kept within the site: from the client, or from a file here."""
        relative = bool(self.options.relative_paths)
        if self.options.files_from != "-":
            for name in self._files_from_file(rules):
                yield self.site.name_of_list(name, relative)
            return
        raw = self.context.options.protocol < 31 and not source.plain  # then the names are not multiplexed
        while name := source.until_nul_raw() if raw else source.until_nul():
            yield self.site.name_of_list(name, relative)

    def _files_from_file(self, rules: RuleSet) -> Iterator[bytes]:
        text = self.site.read_names(as_bytes(self.options.files_from or ""), rules)
        if self.options.eol_nulls:
            yield from (name for name in text.split(b"\0") if name and name[:1] not in (b"#", b";"))
            return
        for line in text.replace(b"\r", b"\n").split(b"\n"):
            if line and line[:1] not in (b"#", b";"):
                yield line
