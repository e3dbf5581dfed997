"""--confine-root: a server for one directory, as rrsync starts it. Paths are judged by where they come out (syscall.c)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from prsync.engine.context import Context
from prsync.engine.flist import Root
from prsync.errors import PrsyncError, UnsupportedError, UsageError
from prsync.options.model import Options, as_bytes, as_text
from prsync.session.daemon.transfer.arguments import Excluded, clean_path, open_beneath
from prsync.session.daemon.transfer.site import Site, read_bounded
from prsync.session.server.site import UserSite

PINNED = re.compile(rb"(/proc/self/fd/[0-9]+)(/.*)?$", re.DOTALL)


class ConfinedSite(UserSite):
    """The directory where the server works, and nothing beside it: like a module without rules. Absolute paths count from it."""

    def root(self, context: Context) -> Root:
        return Root.open(context, self.directory)

    def start(self) -> bytes | None:
        return None

    def arguments(self, paths: tuple[bytes, ...], options: Options, excluded: Excluded | None) -> Iterator[bytes]:
        for path in super().arguments(tuple(map(self._within, paths)), options, excluded):
            yield clean_path(path, keep_dot_dirs=bool(options.relative_paths))

    def read_file(self, name: bytes) -> bytes:
        root = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return read_bounded(open_beneath(root, clean_path(name, keep_dot_dirs=False), os.O_RDONLY))
        finally:
            os.close(root)

    def name_of_list(self, name: bytes, relative: bool) -> bytes:
        return clean_path(name, keep_dot_dirs=relative)

    def kept_within(self, options: Options) -> Options:
        def kept(path: str | None) -> str | None:
            return None if path is None else as_text(self._within(as_bytes(path)))

        places = {name: kept(getattr(options, name)) for name in ("tmpdir", "backup_dir", "partial_dir", "files_from")}
        return options.replace(basis_dirs=tuple(str(kept(path)) for path in options.basis_dirs), **places)

    def confines(self, context: Context) -> Root | None:
        return self.root(context)

    def _within(self, path: bytes) -> bytes:
        """An absolute path beneath the directory, counted from it. rrsync names places by descriptors that it has opened, so that
        nobody moves them while they are judged; a path elsewhere stays, and is looked up beneath the directory."""
        pinned = PINNED.match(path)
        if pinned:
            try:
                path = os.readlink(pinned[1]) + (pinned[2] or b"")
            except OSError:
                return path
        inside = path.removeprefix(self.directory)
        return b"/" + inside.lstrip(b"/") if inside != path and inside[:1] in (b"", b"/") else path


def site_of(options: Options, site: UserSite) -> Site:
    """The place that the options leave to a server. Raises PrsyncError."""
    wanted = options.confine_root
    if wanted is None or os.path.normpath(wanted) == "/":
        return site
    if not wanted.startswith("/"):
        raise UsageError(f"rsync: --confine-root must be an absolute path: {wanted}")
    try:
        same = os.path.samefile(as_bytes(wanted), site.directory)
    except OSError as error:
        raise PrsyncError(f"rsync: --confine-root={wanted}: {error.strerror}") from None
    if not same:
        raise UnsupportedError(f"prsync: --confine-root={wanted}: the server must be started in that directory, as rrsync does")
    return ConfinedSite(site.directory, site.umask, site.cvs_sources, site.log)
