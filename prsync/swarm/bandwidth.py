"""How fast the fetcher gets slots of the shared memory back: with --bwlimit no faster than the limit, over all sources."""

from __future__ import annotations

from collections import deque

from prsync.protocol import limits
from prsync.swarm.fetcher import SLOT_BYTES, SLOTS

AHEAD_SECONDS = 0.1
BURST_SECONDS = 0.2
ENOUGH_BYTES = 1 << 20


def slots_for(limit: int) -> int:
    """How many slots the fetcher gets: with --bwlimit what a short time fills, so that the limit holds from the start."""
    wanted = limit * BURST_SECONDS // SLOT_BYTES if limit else SLOTS
    return int(min(max(wanted, limits.SOURCES_MAX + 4), SLOTS))


class Consumed:
    """Records that have been worked off. `limit`: bytes a second, 0 none."""

    def __init__(self, limit: int, now: float) -> None:
        self._limit = limit
        self._since, self._released = now, 0
        self._held: deque[tuple[int, int]] = deque()  # (records, bytes)

    def __bool__(self) -> bool:
        """Whether any are held back."""
        return bool(self._held)

    @property
    def enough(self) -> bool:
        """Whether so much has been worked off that it should go back, though there is more to be worked off."""
        return sum(size for _, size in self._held) >= ENOUGH_BYTES

    def put(self, records: int, size: int) -> None:
        self._held.append((records, size))

    def clear(self) -> None:
        self._held.clear()

    def release(self, now: float) -> int:
        """How many may go back to the fetcher now."""
        count = 0
        while self._held:
            records, size = self._held[0]
            if self._limit and self._released > self._limit * (now - self._since + AHEAD_SECONDS):
                break
            self._held.popleft()
            self._released += size
            count += records
        return count
