"""Where a server's role works, and for whom: a module of the daemon's, or, behind a remote shell, the user's own files."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Protocol

from prsync.engine.context import Context
from prsync.engine.flist import Root
from prsync.engine.formats import LOG, format_has, set_format
from prsync.engine.native import lib
from prsync.engine.output import messages
from prsync.engine.rules import RuleSet
from prsync.errors import ExitCode, PrsyncError
from prsync.options.model import Options, as_bytes
from prsync.protocol import limits
from prsync.protocol.filter_syntax import CvsSources, Rule
from prsync.session.daemon.connection import Entered, Worker
from prsync.session.daemon.transfer.arguments import Excluded, Expander, clean_path, open_beneath, split_at_module


class Site(Protocol):
    """What a role asks of its place."""

    rules: tuple[Rule, ...]
    """Of the daemon's, which hide names whatever the client asks for."""
    umask: int
    """The process's."""

    def fill(self, context: Context, options: Options) -> None:
        """Sets what the place adds to the context."""

    def root(self, context: Context) -> Root: ...

    def start(self) -> bytes | None:
        """Where relative paths begin in a root that holds everything; None: the root is all that there is."""

    def arguments(self, paths: tuple[bytes, ...], options: Options, excluded: Excluded | None) -> Iterator[bytes]:
        """A sender's source arguments, wildcards expanded."""

    def destination(self, paths: tuple[bytes, ...], options: Options, excluded: Excluded) -> bytes:
        """A receiver's."""

    def read_file(self, name: bytes) -> bytes:
        """A file that the client names: of merge rules, of names. Raises OSError."""

    def read_names(self, name: bytes, rules: RuleSet) -> bytes:
        """A file of names of --files-from. Raises PrsyncError."""

    def name_of_list(self, name: bytes, relative: bool) -> bytes:
        """A name of --files-from, kept within the place."""

    def cvs_sources(self) -> CvsSources:
        """What -C reads here (exclude.c:get_cvs_excludes)."""

    def log(self, code: int, record: bytes) -> None:
        """A log record for the server's own log."""

    def kept_within(self, options: Options) -> Options:
        """A receiver's options, with the paths that they name kept within the place. Raises PrsyncError."""

    def confines(self, context: Context) -> Root | None:
        """Beneath what a receiver's destination and the paths of its options lie; None: a user may name any place."""


class ModuleSite:
    """A module that the worker has entered."""

    def __init__(self, worker: Worker, entered: Entered) -> None:
        self.worker, self.entered = worker, entered
        self.rules = entered.rules
        self.umask = worker.umask
        self.alone = entered.chrooted and entered.directory == "/"  # nothing but the module is in sight

    def fill(self, context: Context, options: Options) -> None:
        entered, core = self.entered, context.options
        core.am_daemon = 1
        core.no_data = int(entered.extension is not None and entered.extension.no_data)
        core.munge_links = int(entered.munge_links)
        if core.role == lib.PS_ROLE_SENDER:
            core.keep_dirlinks = 0
        numeric = entered.module.values.flag3("numeric ids")
        if not options.numeric_ids and (entered.chrooted if numeric is None else numeric):
            core.numeric_ids = -1  # no names are sent (a chroot has none to look up); the protocol stays as it is
        if entered.module.values.flag("ignore errors"):
            core.ignore_errors = 1
        self._set_names(context, options)

    def _set_names(self, context: Context, options: Options) -> None:
        entered, worker = self.entered, self.worker
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
        if options.skip_compress is not None:
            patterns = " ".join(f"*.{suffix}" for suffix in options.skip_compress.split("/") if suffix)
        context.set_string(lib.PS_STR_DONT_COMPRESS, as_bytes(patterns))
        log_format = worker.options.log_format
        if log_format is None and entered.module.values.flag("transfer logging"):
            log_format = entered.module.values.text("log format", worker.environment)
        if log_format:
            set_format(context, LOG, as_bytes(log_format))
            context.options.log_format_has_i = int(format_has(as_bytes(log_format), b"i"))

    def root(self, context: Context) -> Root:
        return Root.from_fd(context, self.entered.root, self.alone)

    def start(self) -> bytes | None:
        return None

    def arguments(self, paths: tuple[bytes, ...], options: Options, excluded: Excluded | None) -> Iterator[bytes]:
        expander = Expander(self.entered.root, excluded if self.rules else None, self.entered.chrooted)
        relative = bool(options.relative_paths)
        module = as_bytes(self.entered.module.name)
        for argument in paths:
            for part in split_at_module(argument, module, bool(options.protect_args)):
                yield from expander.expand(clean_path(part, keep_dot_dirs=relative))

    def destination(self, paths: tuple[bytes, ...], options: Options, excluded: Excluded) -> bytes:
        found = next(self.arguments(paths, options, excluded), b".")
        if not self.alone:
            return found
        return b"/" if found == b"." else b"/" + found  # as messages show what is in the root of a chroot

    def read_file(self, name: bytes) -> bytes:
        number = open_beneath(self.entered.root, clean_path(name, keep_dot_dirs=False), os.O_RDONLY)
        return read_bounded(number)

    def read_names(self, name: bytes, rules: RuleSet) -> bytes:
        path = clean_path(name, keep_dot_dirs=False)
        if self.rules and rules.daemon_excludes_path(path):
            raise PrsyncError("rsync: Your options have been rejected by the server.", ExitCode.UNSUPPORTED)
        try:
            return self.read_file(path)
        except OSError as error:
            shown = path.decode("utf-8", "surrogateescape")
            raise PrsyncError(f"rsync: failed to open files-from file {shown}: {error.strerror}", ExitCode.UNSUPPORTED) from error

    def name_of_list(self, name: bytes, relative: bool) -> bytes:
        return clean_path(name, keep_dot_dirs=relative)

    def cvs_sources(self) -> CvsSources:
        """.cvsignore in the root of a chroot, and the daemon's CVSIGNORE."""
        variable = self.worker.environment.get("CVSIGNORE")
        text = None
        if self.entered.chrooted:
            with contextlib.suppress(OSError):
                text = self.read_file(b".cvsignore")
        return CvsSources(text, None if variable is None else as_bytes(variable))

    def kept_within(self, options: Options) -> Options:
        """options.c: a --backup-dir that comes out as the destination itself is none. The core keeps them all beneath."""
        directory = options.backup_dir
        if self.alone or directory is None or clean_path(as_bytes(directory), keep_dot_dirs=False) != b".":
            return options
        if directory.startswith("/"):
            return options
        if not options.backup_suffix:
            text = "rsync: --suffix cannot be empty when --backup-dir is the same as the dest dir"
            raise PrsyncError(text, ExitCode.UNSUPPORTED)
        return options.replace(backup_dir=None)

    def confines(self, context: Context) -> Root | None:
        return self.root(context)

    def log(self, code: int, record: bytes) -> None:
        for message in messages(record):
            self.worker.log.line(message.rstrip(b"\n"), warning=code not in (lib.PS_LOG_INFO, lib.PS_LOG_LOG))


def read_bounded(number: int) -> bytes:
    """All of an open file, which is closed. Raises OSError, also for one that no list of rules or names can be."""
    with os.fdopen(number, "rb") as file:
        text = file.read(limits.RULES_BYTES + 1)
    if len(text) > limits.RULES_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return text
