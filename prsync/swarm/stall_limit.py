"""The stall limit: for how long a source may keep work waiting before it is dropped. Pure: time is an argument."""

from __future__ import annotations

from prsync.protocol import limits
from prsync.protocol.frames import Verdict
from prsync.swarm.work import Source


def stall_limit(mirror_timeout: int) -> float:
    """Seconds for mirrors. `mirror_timeout`: --mirror-timeout, 0 for the default."""
    return float(mirror_timeout or limits.STALL_SECONDS)


def patience(origin: bool, mirrors: float, origins: float) -> float:
    """Seconds without progress that a source may take. A stalled mirror costs nothing but itself; without the origin the files
    fail that no mirror delivers, however busy it or this machine is."""
    return max(mirrors, origins) if origin else mirrors


def judge(source: Source, limit: float, work_waits: bool, now: float) -> tuple[Verdict, str] | None:
    """Why a source is to be dropped, None: it may go on. `work_waits`: there is work that nobody holds."""
    if source.dropped is not None or now < source.last_progress + limit or now < source.blocked_until:
        return None
    if source.requests:
        return Verdict.STALLED, f"nothing came for {limit:g} seconds"
    if not source.open and work_waits:
        return Verdict.DEAD, f"no connection within {limit:g} seconds"
    return None
