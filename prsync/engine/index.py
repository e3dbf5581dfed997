"""The digest index of a module: digests by path, valid for one state of a file. Wraps csrc/api/index_api.h.

One process writes (the indexer, or a mirror as it receives), any number read. LMDB allows one handle of a file per process,
and none across a fork. A reader that was opened before chroot and setuid goes on to work after them.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from prsync.engine.digests import DIGEST_LENGTH
from prsync.engine.native import ffi, lib
from prsync.errors import EngineError, ExitCode

BLOCK_SUM_LENGTH = 12


class IndexStatus(enum.IntEnum):
    """What became of one name (PS_INDEX_*)."""

    HIT = lib.PS_INDEX_HIT
    MISS = lib.PS_INDEX_MISS
    GONE = lib.PS_INDEX_GONE
    ERROR = lib.PS_INDEX_ERROR
    STORED = lib.PS_INDEX_STORED
    CHANGED = lib.PS_INDEX_CHANGED


class IndexEntry(NamedTuple):
    """One name's answer. `error`: errno for ERROR; the other fields only for HIT, and size and root for STORED.

    pieces: 32 bytes each (the root where there is one piece). block_sums: u32 weak and 8 bytes of xxh128 (seed 0) for each block
    of block_length bytes; empty where they were not asked for or are not recorded.
    """

    name: bytes
    status: IndexStatus
    error: int = 0
    size: int = 0
    mtime: int = 0
    mtime_ns: int = 0
    kind: int = 0
    root: bytes = b""
    pieces: bytes = b""
    block_sums: bytes = b""
    block_length: int = 0


class DigestIndex:
    """An open index; use as a context manager. Names are bytes, relative to the module's root, whose descriptor is `root_fd`."""

    def __init__(self, path: str | bytes | os.PathLike[str], *, writer: bool = False) -> None:
        """Opens the index; a writer makes it where there is none. EngineError: missing, unreadable, or of an unknown version."""
        why, error = ffi.new("char[]", lib.PS_INDEX_TEXT), ffi.new("int *")
        self._handle: Any = lib.ps_index_open(os.fsencode(path), writer, why, error)
        if self._handle == ffi.NULL:
            raise EngineError(ffi.string(why).decode("utf-8", "replace"), ExitCode.FILE_IO)

    @property
    def handle(self) -> Any:
        """The ps_index, for other parts of the core; valid until close."""
        return self._handle

    def close(self) -> None:
        """Closes the index; what a writer has not committed is lost."""
        if self._handle is not None:
            lib.ps_index_close(self._handle)
            self._handle = None

    def __enter__(self) -> DigestIndex:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self._handle is not None:
            self.commit()
        self.close()

    def _check(self, status: int) -> int:
        if status == lib.PS_FAIL:
            raise EngineError(ffi.string(lib.ps_index_error(self._handle)).decode("utf-8", "replace"), ExitCode.FILE_IO)
        return status

    def lookup(self, root_fd: int, names: Sequence[bytes], *, block_sums: bool = False) -> list[IndexEntry]:
        """Answers for all names: HIT only where the file beneath root_fd is in the recorded state."""
        answers = ffi.new("ps_index_answer[]", max(1, len(names)))
        joined = _join(names)
        flags = lib.PS_INDEX_SUMS if block_sums else 0
        self._check(lib.ps_index_lookup(self._handle, root_fd, joined, len(joined), flags, answers, len(names)))
        data = self._data()
        return [_entry(name, answers[i], data) for i, name in enumerate(names)]

    def hash_files(
        self, root_fd: int, names: Sequence[bytes], *, block_sums: bool = False, budget: int = 1 << 62
    ) -> list[IndexEntry]:
        """Hashes and records the files that are not known yet, in order, until `budget` bytes were read (at least one file).

        Returns an entry for each name dealt with: STORED, HIT (was known), GONE, CHANGED, ERROR.
        """
        answers, done = ffi.new("ps_index_answer[]", max(1, len(names))), ffi.new("uint32_t *")
        joined = _join(names)
        flags = lib.PS_INDEX_SUMS if block_sums else 0
        self._check(lib.ps_index_hash(self._handle, root_fd, joined, len(joined), flags, budget, answers, len(names), done))
        return [_brief(names[i], answers[i]) for i in range(done[0])]

    def record(self, root_fd: int, name: bytes, pieces: bytes) -> IndexStatus:
        """Records digests made by a receiver, after the file's final rename. CHANGED: its size asks for other pieces."""
        status = ffi.new("int *")
        self._check(lib.ps_index_record(self._handle, root_fd, name, pieces, len(pieces) // DIGEST_LENGTH, status))
        return IndexStatus(status[0])

    def remove(self, name: bytes) -> None:
        self._check(lib.ps_index_remove(self._handle, name))

    def commit(self) -> None:
        """Makes what was recorded visible to readers. It happens by itself every few MiB of records."""
        self._check(lib.ps_index_commit(self._handle))

    def cancel(self) -> None:
        """Ends a running hash_files soon; may be called from another thread."""
        lib.ps_index_cancel(self._handle)

    def prune(self, root_fd: int, *, batch: int = 4096) -> Iterator[int]:
        """Removes the records of files that are gone or differ; yields the number removed after each batch of look-ups."""
        removed = ffi.new("uint64_t *")
        status = lib.PS_OK
        while status != lib.PS_DONE:
            status = self._check(lib.ps_index_prune(self._handle, root_fd, batch, removed))
            yield int(removed[0])

    def entries(self, *, batch: int = 256) -> Iterator[IndexEntry]:
        """All records, in no useful order."""
        answers, count = ffi.new("ps_index_answer[]", batch), ffi.new("uint32_t *")
        status, restart = lib.PS_OK, True
        while status != lib.PS_DONE:
            status = self._check(lib.ps_index_list(self._handle, restart, answers, batch, count))
            restart = False
            data = self._data()
            for i in range(count[0]):
                start = answers[i].path_at
                yield _entry(data[start : start + answers[i].path_length], answers[i], data)

    def entry_at(self, key: bytes) -> IndexEntry | None:
        """The first record whose key is not below `key` (32 bytes), or the first of all; None: the index is empty. A random key
        picks a record at random."""
        answers, count = ffi.new("ps_index_answer[]", 1), ffi.new("uint32_t *")
        lib.ps_index_seek(self._handle, key)
        self._check(lib.ps_index_list(self._handle, False, answers, 1, count))
        if not count[0]:
            self._check(lib.ps_index_list(self._handle, True, answers, 1, count))
        if not count[0]:
            return None
        data = self._data()
        start = answers[0].path_at
        return _entry(data[start : start + answers[0].path_length], answers[0], data)

    def __len__(self) -> int:
        count = ffi.new("uint64_t *")
        self._check(lib.ps_index_count(self._handle, count))
        return int(count[0])

    def _data(self) -> bytes:
        size = ffi.new("size_t *")
        data = lib.ps_index_data(self._handle, size)
        return bytes(ffi.buffer(data, size[0])) if size[0] else b""


def _join(names: Sequence[bytes]) -> bytes:
    return b"\0".join(names) + b"\0" if names else b""


def _brief(name: bytes, answer: Any) -> IndexEntry:
    status = IndexStatus(answer.status)
    root = bytes(answer.root) if status in (IndexStatus.HIT, IndexStatus.STORED) else b""
    return IndexEntry(name, status, answer.error, answer.size, root=root)


def _entry(name: bytes, answer: Any, data: bytes) -> IndexEntry:
    if answer.status != lib.PS_INDEX_HIT:
        return IndexEntry(name, IndexStatus(answer.status), answer.error)
    return IndexEntry(
        name,
        IndexStatus.HIT,
        0,
        answer.size,
        answer.mtime,
        answer.mtime_ns,
        answer.kind,
        bytes(answer.root),
        data[answer.pieces_at : answer.pieces_at + DIGEST_LENGTH * answer.pieces],
        data[answer.sums_at : answer.sums_at + BLOCK_SUM_LENGTH * answer.blocks],
        answer.block_length,
    )
