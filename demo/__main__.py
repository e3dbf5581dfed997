"""python -m demo: a client mirrors a real tree from an origin and its mirrors, beside stock rsync on the same links.

The mirrors: a prsync-mirror, a prsyncd listed by hand, and a stock rsyncd listed by hand, all on links of the origin's rate. Real
processes in network namespaces; needs root, leaves nothing behind. The exit status is 1 where a tree differs or an expectation
fails, 2 where the demo cannot be shown.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from demo import trees
from demo.actors import DemoFailed, Stage, environment
from demo.network import Network
from demo.story import Story

MEMORY_NEEDED = 9 << 30  # to keep all trees on a tmpfs


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a smaller tree")
    parser.add_argument("--rate", type=int, default=170, metavar="MBIT", help="of each server's link (default: 170)")
    parser.add_argument("--folder", type=Path, help="where all files go (default: a tmpfs if there is room, else /var/tmp)")
    parser.add_argument("--keep", action="store_true", help="keep the files and logs")
    options = parser.parse_args(arguments)
    if os.geteuid():
        print("the demo makes network namespaces: run it as root", file=sys.stderr)
        return 2
    for number in signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda caught, frame: sys.exit(128 + caught))
    environment()
    folder = Path(tempfile.mkdtemp(prefix="prsync-demo-", dir=options.folder or _place(options.short)))
    folder.chmod(0o755)
    try:
        return show(folder, trees.SHORT if options.short else trees.FULL, options.rate)
    except (DemoFailed, RuntimeError) as failure:
        print(f"the demo cannot be shown: {failure}", file=sys.stderr)
        return 2
    finally:
        if options.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def show(folder: Path, size: trees.Size, rate: int) -> int:
    log = folder / "log"
    log.mkdir()
    with Network() as network:
        story = Story(Stage(network, folder, log), size, rate, say)
        story.set_up()
        start = time.monotonic()
        story.first_release()
        story.second_release()
        story.empty_index()
        say(f"\nshown in {time.monotonic() - start:.0f} s")
    for failure in story.failures:
        say(f"not as expected: {failure}")
    return 1 if story.failures else 0


def _place(short: bool) -> Path:
    """A tmpfs with room, so that no disk is measured; else /var/tmp."""
    shared = Path("/dev/shm")
    needed = MEMORY_NEEDED // 6 if short else MEMORY_NEEDED
    if shared.is_dir() and min(shutil.disk_usage(shared).free, _memory_available()) >= needed:
        return shared
    return Path("/var/tmp")


def _memory_available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


sys.exit(main())
