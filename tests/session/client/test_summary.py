"""The lines of totals."""

from __future__ import annotations

from prsync.engine.context import Context
from prsync.options.model import parse_arguments
from prsync.session.client.summary import summary


def lines(words: str, protocol: int = 32, **stats: int) -> list[str]:
    context = Context()
    for name, value in stats.items():
        setattr(context.stats, name, value)
    options = parse_arguments([*words.split(), "h::m", "d"], {})
    return [text for _, text in summary(options, context.stats, protocol, 1.2)]


def test_plain_run_says_nothing() -> None:
    assert lines("-a") == []


def test_verbose_run_says_two_lines() -> None:
    assert lines("-av", total_written=1000, total_read=2000, total_size=9000) == [
        "\n",
        "sent 1,000 bytes  received 2,000 bytes  2,000.00 bytes/sec\n",
        "total size is 9,000  speedup is 3.00\n",
    ]


def test_dry_run_is_named() -> None:
    assert lines("-avn", total_written=1, total_read=1, total_size=4)[-1] == "total size is 4  speedup is 2.00 (DRY RUN)\n"


def test_counts_are_itemized() -> None:
    found = lines("-a --stats", num_files=1007, num_dirs=3, num_symlinks=4, created_files=2, created_dirs=2, flist_buildtime_ms=1)
    assert "Number of files: 1,007 (reg: 1,000, dir: 3, link: 4)\n" in found
    assert "Number of created files: 2 (dir: 2)\n" in found and "Number of deleted files: 0\n" in found
    assert "File list generation time: 0.001 seconds\n" in found


def test_deletions_are_counted_from_protocol_31_on() -> None:
    assert not any("deleted" in line for line in lines("-a --stats", 30))


def test_human_numbers_have_units() -> None:
    assert "Total file size: 1.50M bytes\n" in lines("-ah --stats", total_size=1_500_000)
    assert "Total file size: 1500000 bytes\n" in lines("-a --no-h --stats", total_size=1_500_000)
