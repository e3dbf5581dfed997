"""File lists, names beneath a root, the list decoder. Wraps csrc/api/flist_api.h."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from prsync.engine.context import Context, Status
from prsync.engine.native import ffi, lib


class ListRange(NamedTuple):
    """A live sub-list: its entries have the indexes ndx_start … ndx_start + count - 1; [low, high) are positions in it."""

    ndx_start: int
    count: int  # type: ignore[assignment]
    low: int
    high: int
    parent: int


class Entry(NamedTuple):
    """One entry of a file list; mode 0 when it was cleared away as a double."""

    ndx: int
    path: bytes
    size: int
    mtime: int
    mtime_ns: int
    mode: int
    uid: int
    gid: int
    flags: int
    target: bytes | None
    rdev: tuple[int, int]
    link_group: int
    link_previous: int
    checksum: bytes


class FileLists:
    """All sub-lists of a transfer. Made after the context's options are set; keeps them alive for what is built on it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        raw = lib.ps_flists_new(context.handle)
        if not raw:
            context.check(lib.PS_FAIL)
        self.handle: Any = ffi.gc(raw, lib.ps_flists_free)
        self._row: Any = None

    @property
    def complete(self) -> bool:
        """Whether no more sub-lists will come."""
        return bool(lib.ps_flists_eof(self.handle))

    def ranges(self) -> list[ListRange]:
        """The live sub-lists in order."""
        start, parent = ffi.new("int32_t *"), ffi.new("int32_t *")
        count, low, high = ffi.new("uint32_t *"), ffi.new("uint32_t *"), ffi.new("uint32_t *")
        found = []
        for number in range(lib.ps_flists_count(self.handle)):
            lib.ps_flists_range(self.handle, number, start, count, low, high, parent)
            found.append(ListRange(start[0], count[0], low[0], high[0], parent[0]))
        return found

    def entry(self, ndx: int) -> Entry | None:
        """The entry with this index, or None when no live list has it."""
        if self._row is None:
            self._row = ffi.new("ps_flist_row *")
        row = self._row
        if not lib.ps_flists_row(self.handle, ndx, row):
            return None
        target = bytes(ffi.buffer(row.target, row.target_len)) if row.mode & 0o170000 == 0o120000 else None
        return Entry(
            ndx,
            bytes(ffi.buffer(row.path, row.path_len)),
            row.size,
            row.mtime,
            row.mtime_ns,
            row.mode,
            row.uid,
            row.gid,
            row.flags,
            target,
            (row.rdev_major, row.rdev_minor),
            row.link_group,
            row.link_previous,
            bytes(ffi.buffer(row.sum, row.sum_len)),
        )

    def drop_first(self) -> None:
        lib.ps_flists_drop_first(self.handle)

    def render_listing(self, ndx_start: int) -> None:
        """--list-only: one line per entry of the list that begins with ndx_start, to the context's log."""
        self.context.check(lib.ps_flists_render_listing(self.context.handle, self.handle, ndx_start))


class Root:
    """A directory beneath which all names of a transfer are resolved."""

    def __init__(self, handle: Any, context: Context) -> None:
        if not handle:
            context.check(lib.PS_FAIL)
        self.handle: Any = ffi.gc(handle, lib.ps_root_free)

    @classmethod
    def open(cls, context: Context, path: bytes, create: bool = False) -> Root:
        """Opens a directory; with `create` makes it when it is missing. Raises EngineError (FILE_SELECT, FILE_IO)."""
        return cls(lib.ps_root_open(context.handle, path, create), context)

    @classmethod
    def from_fd(cls, context: Context, fd: int, whole: bool = False) -> Root:
        """Takes an open directory descriptor over. `whole`: it is this process's root directory, as in a chroot."""
        root = cls(lib.ps_root_from_fd(context.handle, fd), context)
        if whole:
            lib.ps_root_is_whole(root.handle)
        return root

    @classmethod
    def everything(cls, context: Context) -> Root:
        """The root directory: where the paths of a user at a client, or behind a remote shell, are looked up."""
        root = cls.open(context, b"/")
        lib.ps_root_is_whole(root.handle)
        return root

    def fileno(self) -> int:
        return int(lib.ps_root_fd(self.handle))


class Decoder:
    """The receiving side's list decoder; `rules` is the handle of the client's rules or None (no checks against them)."""

    def __init__(self, lists: FileLists, rules: Any = None) -> None:
        self.lists = lists
        self.context = lists.context
        self._rules = rules
        raw = lib.ps_flist_decoder_new(self.context.handle, lists.handle, ffi.NULL if rules is None else rules)
        if not raw:
            self.context.check(lib.PS_FAIL)
        self.handle: Any = ffi.gc(raw, lib.ps_flist_decoder_free)

    def imply(self, argument: bytes, skip_module: bool = False) -> None:
        """Allows the names that a source argument (or --files-from name) asks for; once one is given all others are refused."""
        self.context.check(lib.ps_flist_decoder_imply(self.handle, argument, len(argument), skip_module))

    def begin(self, parent: int = -1) -> None:
        """A sub-list follows in the input: that of directory number `parent`, -1 for the first."""
        self.context.check(lib.ps_flist_decoder_begin(self.handle, parent))


class Feeder:
    """Feeds a decoder by hand: multiplexed bytes, or plain ones. For tests and tools; sessions use the receiver's pump."""

    def __init__(self, decoder: Decoder, plain: bool = True) -> None:
        self.context = decoder.context
        self.decoder = decoder
        self.handle: Any = ffi.gc(lib.ps_flist_feeder_new(self.context.handle, decoder.handle, plain), lib.ps_flist_feeder_free)

    def feed(self, data: bytes) -> tuple[Status, int]:
        """DONE with the number of bytes taken when the list is complete, else AGAIN. Raises EngineError."""
        used = ffi.new("size_t *")
        status = self.context.check(lib.ps_flist_feed(self.handle, data, len(data), used))
        return status, used[0]


def prewarm_ids() -> None:
    """Loads what the lookup of users and groups needs, before a process gives up its privileges."""
    lib.ps_ids_prewarm()


class Lister:
    """The sending side's list maker. With names of --files-from, the first argument is the directory they lie in."""

    def __init__(self, lists: FileLists, root: Root, rules: Any = None) -> None:
        self.lists = lists
        self.context = lists.context
        self.root = root
        self._rules = rules
        raw = lib.ps_lister_new(self.context.handle, lists.handle, ffi.NULL if rules is None else rules, root.handle)
        if not raw:
            self.context.check(lib.PS_FAIL)
        self.handle: Any = ffi.gc(raw, lib.ps_lister_free)

    def from_anywhere(self, directory: bytes) -> None:
        """Before the arguments: they are a user's, who may name any place. The root is `Root.everything`, and relative
        arguments begin at `directory`."""
        self.context.check(lib.ps_lister_from_anywhere(self.handle, directory, len(directory)))

    def argument(self, path: bytes) -> None:
        """One source argument: a path beneath the root, its wildcards expanded."""
        self.context.check(lib.ps_lister_arg(self.handle, path, len(path)))

    def names(self, names: Iterable[bytes]) -> None:
        """The names of --files-from, all of them; none at all is an empty list."""
        self.context.check(lib.ps_lister_files_from(self.handle, b"", 0))
        for name in names:
            self.context.check(lib.ps_lister_files_from(self.handle, name, len(name)))


class Tap:
    """Drives a lister by hand. For tests and tools; sessions use the sender's pump."""

    def __init__(self, lister: Lister) -> None:
        self.context = lister.context
        self.lister = lister
        self.parts: list[bytes] = []
        """What came out of each call into the core."""
        self.handle: Any = ffi.gc(lib.ps_lister_tap_new(self.context.handle, lister.handle), lib.ps_lister_tap_free)

    def first(self) -> bytes:
        """The first list as it goes on the wire, not multiplexed."""
        return self._run(-1)[1]

    def more(self, want: int) -> tuple[bool, bytes]:
        """Sub-lists until `want` entries lie ahead; True with the last of them."""
        return self._run(want)

    def _run(self, more: int) -> tuple[bool, bytes]:
        out, size = ffi.new("uint8_t **"), ffi.new("size_t *")
        data = b""
        while True:
            status = self.context.check(lib.ps_lister_tap_run(self.handle, more, out, size))
            self.parts.append(bytes(ffi.buffer(out[0], size[0])))
            data += self.parts[-1]
            if status is not Status.FULL:
                return status is Status.DONE, data
