"""The client's side of nominate/1 in the core: jobs, digest requests, local search, delivery. Wraps csrc/api/swarm_api.h."""

from __future__ import annotations

from typing import Any, NamedTuple

from prsync.engine.context import Context, Status
from prsync.engine.native import ffi, lib
from prsync.engine.receiving import Receiving

BUNDLE = int(lib.PS_EV_SWARM_BUNDLE)
RUN = int(lib.PS_EV_SWARM_RUN)
BAD = int(lib.PS_EV_SWARM_BAD)
ENDED = int(lib.PS_EV_SWARM_ENDED)
DOUBT = int(lib.PS_EV_SWARM_DOUBT)
EVENTS = frozenset({BUNDLE, RUN, BAD, DOUBT, ENDED})
RECORD_BYTES = int(lib.PS_RECORD_BYTES)


class Leftover(NamedTuple):
    """What is left of a request that ended. files 0: no small files; first == last: no pieces.

    missing, stale: entries that the source said it has not got, and of those the ones it has in another version.
    sparse: they are small gaps in what is there already.
    """

    bundle: int
    files: int
    bundle_bytes: int
    missing: int
    stale: int
    job: int
    first: int
    last: int
    bytes: int
    sparse: bool


class Entries(NamedTuple):
    """A request as the fetcher takes it: entries of path vstr, size u64, mtime i64, digest 32, offset u64, length u64.
    size: bytes that it asks for."""

    entries: int
    data: bytes
    size: int


class Swarm:
    """The files of one pull that come from sources. Made once the destination is known; raises EngineError."""

    def __init__(self, pull: Receiving, handle: Any) -> None:
        self._pull = pull
        self._context: Context = pull.context
        self._handle = handle
        self.counts: Any = lib.ps_swarm_get_counts(handle)

    @classmethod
    def of(cls, pull: Receiving) -> Swarm | None:
        """The session's swarm; None while the first list is still on its way."""
        handle = lib.ps_receiving_swarm(pull.handle)
        return None if handle == ffi.NULL else cls(pull, handle)

    def set_prefix(self, prefix: bytes) -> None:
        """Where the transfer's names lie within the module: empty, or a path without a slash at its end."""
        self._context.check(lib.ps_swarm_set_prefix(self._handle, prefix, len(prefix)))

    def set_below(self, longest: int) -> None:
        """The longest path, in bytes, at which a source's tree lies below its module's root."""
        lib.ps_swarm_set_below(self._handle, longest)

    def set_no_data(self, no_data: bool) -> None:
        lib.ps_swarm_set_no_data(self._handle, no_data)

    def set_now(self, now: float) -> None:
        lib.ps_swarm_set_now(self._handle, now)

    def ask(self, flush: bool) -> None:
        """Asks for digests of what the generator has queued; for few files only when `flush`."""
        self._context.check(lib.ps_swarm_ask(self._handle, flush))

    def step(self, flush: bool) -> Status:
        """A slice of local work. OK: call again; AGAIN: nothing to do; FULL: drain events first."""
        return self._context.check(lib.ps_swarm_step(self._handle, flush))

    def expire_pending(self, before: float) -> None:
        self._context.check(lib.ps_swarm_expire_pending(self._handle, before))

    def ask_again(self, before: float) -> None:
        self._context.check(lib.ps_swarm_again(self._handle, before))

    def stop_joining(self) -> None:
        """Files that have not joined the swarm go the classic way from now on."""
        self._context.check(lib.ps_swarm_stop_joining(self._handle))

    def give_up_later(self) -> None:
        self._context.check(lib.ps_swarm_give_up_later(self._handle))

    def give_up_bundle(self, bundle: int, vanished: bool) -> None:
        self._context.check(lib.ps_swarm_give_up_bundle(self._handle, bundle, vanished))

    def give_up_job(self, job: int, vanished: bool) -> None:
        self._context.check(lib.ps_swarm_give_up_job(self._handle, job, vanished))

    def open_bundle(self, request: int, bundle: int) -> Entries:
        self._context.check(lib.ps_swarm_open_bundle(self._handle, request, bundle))
        return self._entries()

    def open_pieces(self, request: int, job: int, first: int, last: int) -> tuple[Entries | None, int]:
        """Missing ranges of pieces [first, last), and where they end (as many as fit). None: nothing of it is missing."""
        taken = ffi.new("uint32_t *")
        status = self._context.check(lib.ps_swarm_open_pieces(self._handle, request, job, first, last, taken))
        return (None if status is Status.DONE else self._entries()), int(taken[0])

    def _entries(self) -> Entries:
        size, count, wanted = ffi.new("size_t *"), ffi.new("uint32_t *"), ffi.new("uint64_t *")
        data = lib.ps_swarm_entries(self._handle, size, count, wanted)
        return Entries(int(count[0]), bytes(ffi.buffer(data, size[0])), int(wanted[0]))

    def deliver(self, memory: Any, slot_size: int, records: bytes | memoryview) -> tuple[int, list[tuple[int, int]], bool]:
        """Records of the fetcher over shared memory (a buffer). Returns records consumed, (request, bytes) of progress, and
        whether events must be drained before the rest is delivered."""
        count = len(records) // RECORD_BYTES
        done, pairs = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        base = ffi.from_buffer("uint8_t[]", memory)
        data = ffi.from_buffer("uint8_t[]", records)
        status = self._context.check(
            lib.ps_swarm_deliver_records(self._handle, base, len(base), slot_size, data, count, done, pairs)
        )
        progress = lib.ps_swarm_progress(self._handle)
        return int(done[0]), [(int(progress[2 * i]), int(progress[2 * i + 1])) for i in range(pairs[0])], status is Status.FULL

    def shrink(self, request: int, last: int) -> int:
        """The request need not go beyond piece `last`; returns the offset in the file where it ends now."""
        end = ffi.new("uint64_t *")
        self._context.check(lib.ps_swarm_shrink(self._handle, request, last, end))
        return int(end[0])

    def close_request(self, request: int) -> Leftover:
        left = ffi.new("ps_leftover *")
        self._context.check(lib.ps_swarm_close_request(self._handle, request, left))
        return Leftover(
            left.bundle, left.files, left.bundle_bytes, left.missing, left.stale, left.job, left.first, left.last, left.bytes,
            left.sparse,
        )
