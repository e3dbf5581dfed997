"""Trees to transfer, the same on every run, and the comparison of two trees."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

MTIME = 1_700_000_000
BLOCK = 1 << 22


def write_random(path: Path, size: int, seed: int) -> None:
    """`size` bytes that no compressor and no block search finds twice."""
    source = random.Random(seed)
    with open(path, "wb") as file:
        for start in range(0, size, BLOCK):
            file.write(source.randbytes(min(BLOCK, size - start)))
    os.utime(path, (MTIME, MTIME))


def write_small_files(root: Path, count: int, folders: int, least: int, most: int, *, sparse: bool = False) -> None:
    """`count` files of `least` to `most` bytes over `folders` folders; sparse ones have their size without their pages."""
    source = random.Random(count)
    data = source.randbytes(1 << 20)
    for folder in range(folders):
        os.mkdir(root / f"folder-{folder:05}")
    for number in range(count):
        path = f"{root}/folder-{number % folders:05}/file-{number:07}"
        size = source.randint(least, most)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        if sparse:
            os.ftruncate(handle, size)
        else:
            start = source.randrange(len(data) - size)
            os.write(handle, data[start : start + size])
        os.utime(handle, (MTIME + number, MTIME + number))
        os.close(handle)
    for folder in range(folders):
        os.utime(root / f"folder-{folder:05}", (MTIME, MTIME))


def differences(left: Path, right: Path, *, content: bool) -> list[str]:
    """What differs between two trees, at most ten lines: names, kinds, modes, sizes, times of files, and contents if asked."""
    found: list[str] = []
    a, b = _entries(left), _entries(right)
    for name, entry in a:
        other_name, other = next(b, ("", None))
        if other is None or name != other_name:
            found.append(f"{name} or {other_name} exists on one side only")
        elif (entry.st_mode, entry.st_size if stat.S_ISREG(entry.st_mode) else 0) != (
            other.st_mode,
            other.st_size if stat.S_ISREG(other.st_mode) else 0,
        ):
            found.append(f"{name}: mode {entry.st_mode:o}, {entry.st_size} bytes; mode {other.st_mode:o}, {other.st_size} bytes")
        elif entry.st_mtime_ns != other.st_mtime_ns and not stat.S_ISLNK(entry.st_mode):
            found.append(f"{name}: time {entry.st_mtime_ns}; {other.st_mtime_ns}")
        elif content and stat.S_ISREG(entry.st_mode) and not _same_content(left / name, right / name):
            found.append(f"{name}: the contents differ")
        elif stat.S_ISLNK(entry.st_mode) and os.readlink(left / name) != os.readlink(right / name):
            found.append(f"{name}: points elsewhere")
        if len(found) == 10 or other is None:
            return found
    extra = next(b, None)
    return [*found, f"{extra[0]} is on the right side only"] if extra else found


def _entries(root: Path, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(root / below) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            name = f"{below}/{entry.name}" if below else entry.name
            yield name, entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(root, name)


def _same_content(left: Path, right: Path) -> bool:
    with open(left, "rb", buffering=0) as a, open(right, "rb", buffering=0) as b:
        while True:
            block = a.read(BLOCK)
            if block != b.read(BLOCK):
                return False
            if not block:
                return True
