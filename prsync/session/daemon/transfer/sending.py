"""A daemon's sending role: rules, paths and options put into the core, up to the pump (main.c:do_server_sender)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

from prsync.engine.context import Context
from prsync.engine.flist import FileLists, Lister, Root
from prsync.engine.formats import LOG, format_has, set_format
from prsync.engine.native import lib
from prsync.engine.output import messages
from prsync.engine.rules import RuleSet
from prsync.engine.sending import Send
from prsync.errors import ExitCode, PrsyncError, StreamError
from prsync.options.model import Options, as_bytes
from prsync.protocol import limits
from prsync.protocol.filter_syntax import CvsSources
from prsync.protocol.filters import FilterParser
from prsync.protocol.negotiation import Negotiated
from prsync.session.context import fill_context
from prsync.session.daemon.connection import Entered, Worker
from prsync.session.daemon.transfer.arguments import Expander, clean_path, open_beneath, split_at_module
from prsync.session.daemon.transfer.input import MuxInput, read_filter_list
from prsync.transfer.sender import Sender


class SenderJob:
    """One pull from this daemon. `prepare` reads the client's rules and names; then `sender` is ready for the pump, `early`
    is what was received beyond, and `frames` are those of the extension that came before; `on_frame` gets the later ones."""

    def __init__(
        self,
        worker: Worker,
        entered: Entered,
        options: Options,
        paths: tuple[bytes, ...],
        negotiated: Negotiated,
    ) -> None:
        self.worker = worker
        self.entered = entered
        self.options = options
        self.paths = paths
        self.context = Context()
        self.early = b""
        self.frames: list[bytes] = []
        self.on_frame: Callable[[bytes], None] = self.frames.append
        fill_context(self.context, options, negotiated, sender=True, umask=0, am_daemon=True, swarm=negotiated.nominate)
        core = self.context.options
        core.no_data = int(entered.extension is not None and entered.extension.no_data)
        core.munge_links = int(entered.munge_links)
        core.keep_dirlinks = 0
        numeric = entered.module.values.flag3("numeric ids")
        if not options.numeric_ids and (entered.chrooted if numeric is None else numeric):
            core.numeric_ids = -1  # no names are sent (a chroot has none to look up); the protocol stays as it is
        if entered.module.values.flag("ignore errors"):
            core.ignore_errors = 1
        self._set_names()

    def _set_names(self) -> None:
        entered, worker, context = self.entered, self.worker, self.context
        for which, text in (
            (lib.PS_STR_MODULE, entered.module.name),
            (lib.PS_STR_MODULE_PATH, entered.full_path),
            (lib.PS_STR_USER, entered.user),
            (lib.PS_STR_HOST, worker.host),
            (lib.PS_STR_ADDRESS, worker.address),
        ):
            context.set_string(which, as_bytes(text))
        # Messages show paths within the module (util1.c:full_fname), with a slash in front where that is the root.
        if entered.directory == "/":
            context.set_string(lib.PS_STR_CURR_DIR, b"/")
        patterns = entered.module.values.text("dont compress", worker.environment)
        if self.options.skip_compress is not None:
            patterns = " ".join(f"*.{suffix}" for suffix in self.options.skip_compress.split("/") if suffix)
        context.set_string(lib.PS_STR_DONT_COMPRESS, as_bytes(patterns))
        log_format = worker.options.log_format
        if log_format is None and entered.module.values.flag("transfer logging"):
            log_format = entered.module.values.text("log format", worker.environment)
        if log_format:
            set_format(context, LOG, as_bytes(log_format))
            context.options.log_format_has_i = int(format_has(as_bytes(log_format), b"i"))

    def prepare(self, source: MuxInput) -> None:
        """Reads the filter list and the names of --files-from; makes the sender. Raises PrsyncError, Hangup."""
        options, context = self.options, self.context
        parser = FilterParser(
            self._read_rule_file, cvs=self._cvs_sources, protocol=context.options.protocol, am_sender=True
        )
        for rule in read_filter_list(source):
            parser.received(rule)
        if options.cvs_exclude:
            parser.filter(b":C")
            parser.filter(b"-C")
        for warning in parser.warnings:
            self._log(lib.PS_LOG_ERROR, warning)
        hidden = self.entered.rules
        rules = RuleSet(context, parser.rules, cvs=parser.cvs_rules, daemon=hidden, parse=parser.merge_file)
        lists = FileLists(context)
        whole = self.entered.chrooted and self.entered.directory == "/"
        self.root = root = Root.from_fd(context, self.entered.root, whole)
        lister = Lister(lists, root, rules.handle)
        expander = Expander(self.entered.root, rules.daemon_excludes if hidden else None, self.entered.chrooted)
        paths = list(self._arguments(expander))
        if options.files_from is not None and len(paths) > 1:
            # rsync's server only shows its usage in its log, and its client takes the end for a broken stream.
            raise StreamError(f"--files-from takes one source directory, but {len(paths)} names match")
        for path in paths:
            lister.argument(path)
        if options.files_from is not None:
            lister.names(self._names(source, rules))
        self.early = source.rest()
        self.frames += source.frames
        self.send = Send(context, lists, lister, root, rules)
        self.sender = Sender(self.send, self._log, frame=lambda frame: self.on_frame(frame))

    def _arguments(self, expander: Expander) -> Iterator[bytes]:
        options = self.options
        relative = bool(options.relative_paths)
        module = as_bytes(self.entered.module.name)
        found = [
            match
            for argument in self.paths
            for part in split_at_module(argument, module, bool(options.protect_args))
            for match in expander.expand(clean_path(part, keep_dot_dirs=relative))
        ]
        if not found and (options.recurse or options.xfer_dirs > 0 or options.list_only or options.files_from is not None):
            found = [b"."]
        yield from found

    def _names(self, source: MuxInput, rules: RuleSet) -> Iterator[bytes]:
        """The names of --files-from, kept within the module: from the client, or from a file of the module."""
        options = self.options
        relative = bool(options.relative_paths)
        if options.files_from != "-":
            for name in self._files_from_file(rules):
                yield clean_path(name, keep_dot_dirs=relative)
            return
        raw = self.context.options.protocol < 31  # then the names are not multiplexed
        while name := source.until_nul_raw() if raw else source.until_nul():
            yield clean_path(name, keep_dot_dirs=relative)

    def _files_from_file(self, rules: RuleSet) -> Iterator[bytes]:
        path = clean_path(as_bytes(self.options.files_from or ""), keep_dot_dirs=False)
        if rules.daemon_excludes_path(path):
            raise PrsyncError("The server is configured to refuse --files-from of that file", ExitCode.UNSUPPORTED)
        try:
            text = self._read_beneath(path)
        except OSError as error:
            shown = path.decode("utf-8", "surrogateescape")
            raise PrsyncError(f"failed to open files-from file {shown}: {error.strerror}", ExitCode.UNSUPPORTED) from error
        if self.options.eol_nulls:
            yield from (name for name in text.split(b"\0") if name and name[:1] not in (b"#", b";"))
            return
        for line in text.replace(b"\r", b"\n").split(b"\n"):
            if line and line[:1] not in (b"#", b";"):
                yield line

    def _read_rule_file(self, name: bytes) -> bytes:
        """A file that a client's merge rule names: beneath the module, and not one that the daemon hides."""
        return self._read_beneath(clean_path(name, keep_dot_dirs=False))

    def _cvs_sources(self) -> CvsSources:
        """What -C reads here (exclude.c:get_cvs_excludes): .cvsignore in the root of a chroot, and our CVSIGNORE."""
        variable = self.worker.environment.get("CVSIGNORE")
        text = None
        if self.entered.chrooted:
            with contextlib.suppress(OSError):
                text = self._read_beneath(b".cvsignore")
        return CvsSources(text, None if variable is None else as_bytes(variable))

    def _read_beneath(self, path: bytes) -> bytes:
        number = open_beneath(self.entered.root, path, os.O_RDONLY)
        with os.fdopen(number, "rb") as file:
            text = file.read(limits.RULES_BYTES + 1)
        if len(text) > limits.RULES_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return text

    def _log(self, code: int, record: bytes) -> None:
        for message in messages(record):
            self.worker.log.line(message.rstrip(b"\n"), warning=code not in (lib.PS_LOG_INFO, lib.PS_LOG_LOG))
