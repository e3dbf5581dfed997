"""Stock rsync as the daemon, prsync as the client; and the same command given to stock rsync."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

from servers import RSYNC

SOURCES = pathlib.Path(__file__).parents[3]


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), "LC_ALL": "C", **more}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "prsync", *words]


def prsync(*words: str, cwd: pathlib.Path | None = None, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    """Runs prsync in its own process, in a folder that is not the sources' unless another is given."""
    return subprocess.run(
        command(*words), input=stdin, capture_output=True, check=False, timeout=60, cwd=cwd or "/", env=environment(**more)
    )


def rsync(*words: str, cwd: pathlib.Path | None = None, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    assert RSYNC
    return subprocess.run(
        [RSYNC, *words], input=stdin, capture_output=True, check=False, timeout=60, cwd=cwd or "/", env=environment(**more)
    )


def stable(output: bytes) -> list[bytes]:
    """Lines of output without what differs from run to run: rates, times, bytes on the wire."""

    def keep() -> Iterator[bytes]:
        for line in output.splitlines():
            if not line.startswith((b"sent ", b"Total bytes", b"File list", b"total size")):
                yield line

    return list(keep())
