"""The place of a server behind a remote shell: the user's own files, from the directory where the shell has started it."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator

from prsync.engine.context import Context
from prsync.engine.flist import Root
from prsync.engine.formats import LOG, set_format
from prsync.engine.native import lib
from prsync.engine.rules import RuleSet
from prsync.errors import ExitCode, PrsyncError
from prsync.options.model import Options, as_bytes
from prsync.protocol.filter_syntax import CvsSources, Rule
from prsync.session.daemon.transfer.arguments import Excluded
from prsync.session.daemon.transfer.site import read_bounded


class UserSite:
    """Everything that the user may see and write. `log`: gets what belongs into the server's own log."""

    rules: tuple[Rule, ...] = ()

    def __init__(self, directory: bytes, umask: int, cvs: Callable[[], CvsSources], log: Callable[[int, bytes], None]) -> None:
        self.directory, self.umask = directory, umask
        self._cvs, self._log = cvs, log

    def fill(self, context: Context, options: Options) -> None:
        if self.start() is not None:  # else messages and options count from the root
            context.set_string(lib.PS_STR_CURR_DIR, self.directory)
        context.options.munge_links = options.munge_symlinks
        if options.logfile_format is not None:
            set_format(context, LOG, as_bytes(options.logfile_format))

    def root(self, context: Context) -> Root:
        return Root.everything(context)

    def start(self) -> bytes | None:
        return self.directory

    def arguments(self, paths: tuple[bytes, ...], options: Options, excluded: Excluded | None) -> Iterator[bytes]:
        """The remote shell has expanded wildcards, unless the arguments came beside it (io.c:read_args, glob_expand)."""
        for path in paths:
            matches = glob.glob(path, root_dir=self.directory, include_hidden=False) if options.protect_args else []
            yield from sorted(matches) or [path]

    def destination(self, paths: tuple[bytes, ...], options: Options, excluded: Excluded) -> bytes:
        return next(self.arguments(paths, options, excluded), b".")

    def read_file(self, name: bytes) -> bytes:
        return read_bounded(os.open(os.path.join(self.directory, name), os.O_RDONLY | os.O_CLOEXEC))

    def read_names(self, name: bytes, rules: RuleSet) -> bytes:
        try:
            return self.read_file(name)
        except OSError as error:
            shown = name.decode("utf-8", "surrogateescape")
            raise PrsyncError(f"failed to open files-from file {shown}: {error.strerror}", ExitCode.SYNTAX) from None

    def name_of_list(self, name: bytes, relative: bool) -> bytes:
        return name

    def cvs_sources(self) -> CvsSources:
        return self._cvs()

    def log(self, code: int, record: bytes) -> None:
        self._log(code, record)

    def kept_within(self, options: Options) -> Options:
        return options

    def confines(self, context: Context) -> Root | None:
        return None


def change_directory(words: tuple[str, ...]) -> None:
    """main.c: the first argument is where the server works, nearly always ".". Before anything else of the run."""
    if not words or words[0] in (".", ""):
        return
    try:
        os.chdir(as_bytes(words[0]))
    except OSError as error:
        raise PrsyncError(
            f'rsync: change_dir "{words[0]}" failed: {error.strerror} ({error.errno})', ExitCode.FILE_SELECT
        ) from None
