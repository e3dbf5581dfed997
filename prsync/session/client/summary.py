"""The end of a run's output: statistics and the two lines of totals (main.c:output_summary)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prsync.engine.numbers import big_dnum, big_num
from prsync.options.model import Options
from prsync.session.client.output import CLIENT, INFO


def _count(title: str, total: int, parts: tuple[tuple[str, int], ...], shown: int) -> str:
    """main.c:output_itemized_counts."""
    regular = total - sum(count for _, count in parts)
    named = [(name, count) for name, count in (("reg", regular), *parts) if count]
    detail = ", ".join(f"{name}: {big_num(count, shown)}" for name, count in named)
    return f"{title}: {big_num(total, shown)}" + (f" ({detail})" if total and detail else "") + "\n"


def _kinds(stats: Any, prefix: str) -> tuple[tuple[str, int], ...]:
    return (
        ("dir", getattr(stats, f"{prefix}_dirs")),
        ("link", getattr(stats, f"{prefix}_symlinks")),
        ("dev", getattr(stats, f"{prefix}_devices")),
        ("special", getattr(stats, f"{prefix}_specials")),
    )


def summary(options: Options, stats: Any, protocol: int, seconds: float) -> Iterator[tuple[int, str]]:
    """(log code, line) of what --stats and -v show. `stats`: ps_stats; `seconds`: since the program started."""
    level = options.human_readable
    commas = 1 if level else 0

    def number(value: int) -> str:
        return big_num(value, level)

    written, read = stats.total_written, stats.total_read
    if options.info_at_least("STATS", 2):
        yield CLIENT, "\n"
        yield INFO, _count("Number of files", stats.num_files, _kinds(stats, "num"), commas)
        if protocol >= 29:
            yield INFO, _count("Number of created files", stats.created_files, _kinds(stats, "created"), commas)
        if protocol >= 31:
            yield INFO, _count("Number of deleted files", stats.deleted_files, _kinds(stats, "deleted"), commas)
        yield INFO, f"Number of regular files transferred: {big_num(stats.xferred_files, commas)}\n"
        yield INFO, f"Total file size: {number(stats.total_size)} bytes\n"
        yield INFO, f"Total transferred file size: {number(stats.total_transferred_size)} bytes\n"
        yield INFO, f"Literal data: {number(stats.literal_data)} bytes\n"
        yield INFO, f"Matched data: {number(stats.matched_data)} bytes\n"
        yield INFO, f"File list size: {number(stats.flist_size)}\n"
        if stats.flist_buildtime_ms:
            built, moved = stats.flist_buildtime_ms / 1000, stats.flist_xfertime_ms / 1000
            yield INFO, f"File list generation time: {big_dnum(built, commas, 3)} seconds\n"
            yield INFO, f"File list transfer time: {big_dnum(moved, commas, 3)} seconds\n"
        yield INFO, f"Total bytes sent: {number(written)}\n"
        yield INFO, f"Total bytes received: {number(read)}\n"
    if options.info_at_least("STATS", 1):
        rate = big_dnum((written + read) / (0.5 + int(seconds)), level, 2)
        speedup = big_dnum(stats.total_size / max(written + read, 1), commas, 2)
        yield CLIENT, "\n"
        yield INFO, f"sent {number(written)} bytes  received {number(read)} bytes  {rate} bytes/sec\n"
        dry_run = " (BATCH ONLY)" if options.write_batch < 0 else " (DRY RUN)" if options.dry_run else ""
        yield INFO, f"total size is {number(stats.total_size)}  speedup is {speedup}{dry_run}\n"
