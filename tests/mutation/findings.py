"""What a case may not do, and where it is kept for another look."""

from __future__ import annotations

import pathlib
import pickle
import re

from .play import Turn

MEMORY_MOST = 256 << 20
ALARMS = re.compile(
    rb"Traceback|Sanitizer|runtime error:|a worker failed|ended by signal|Fatal Python error|Exception ignored|MemoryError"
)
# Freed memory is kept for a while by the sanitizer, and what it has on the heap is larger.
SANITIZED_EXTRA = 512 << 20

Scripts = list[tuple[int, list[Turn]]]


def alarm_in(output: bytes) -> str | None:
    """The telling part of an output that should not be."""
    lines = output.splitlines()
    for at, line in enumerate(lines):
        if ALARMS.search(line):
            return b"\n".join([line, *lines[at + 1 : at + 40]]).decode("utf-8", "replace")[:6000]
    return None


class Findings:
    """Numbers the cases and keeps those that failed, in `folder`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.runs = 0
        self.found: list[str] = []
        self.most_memory = 0

    def add(self, what: str, name: str, seed: str, scripts: Scripts, arguments: list[str], full: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{seed.replace(':', '-')}.case"
        path.write_bytes(pickle.dumps((name, arguments, scripts, full)))
        path.with_suffix(".txt").write_text(f"{name}\n{what}\n")
        self.found.append(f"{seed} [{name}] {what}")
        print(f"FOUND {seed} [{name}] {what[:3000]}", flush=True)

    def note_memory(self, kibibytes: int) -> int:
        size = kibibytes << 10
        self.most_memory = max(self.most_memory, size)
        return size

    def summary(self, side: str, seconds: float) -> str:
        memory = f"most memory {self.most_memory >> 20} MiB"
        return f"{side}: {self.runs} runs in {seconds:.0f} s, {len(self.found)} findings, {memory}"
