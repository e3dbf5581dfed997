"""Two releases of a real tree, made from what the machine has: the same machine gives the same trees."""

from __future__ import annotations

import os
import random
import shutil
import stat
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MTIME = 1_600_000_000
LARGE_FILE = "images/system.img"
MIB = 1 << 20
FILE_MOST = 6 * MIB
SMALL = 24_000  # bytes; once there is enough data, only files below it are taken


@dataclass(frozen=True)
class Size:
    """What a tree has at least."""

    files: int
    small_bytes: int
    large_bytes: int


FULL = Size(20_500, 286 * MIB, 205 * MIB)
SHORT = Size(3_000, 40 * MIB, 48 * MIB)


def make_first(root: Path, size: Size) -> None:
    """Packages as they are installed here, and one large file: an archive of libraries."""
    files = data = 0
    for number, (source, name) in enumerate(_material()):
        status = os.lstat(source)
        enough_data, enough_files = data >= size.small_bytes, files >= size.files
        if enough_data and enough_files:
            break
        if (enough_data and status.st_size > SMALL) or (enough_files and status.st_size < SMALL):
            continue
        _take(source, root / name, MTIME + number)
        if stat.S_ISREG(status.st_mode):  # symlinks come on top
            files += 1
            data += status.st_size
    _top_up(root, size, files, data)
    _write_large(root / LARGE_FILE, size.large_bytes)


def make_second(first: Path, root: Path, size: Size) -> dict[str, int]:
    """The next release: some files changed, moved, new, deleted; the large file edited. Returns how many of each."""
    shutil.copytree(first, root, symlinks=True)
    dice = random.Random(2)
    names = sorted(
        os.path.relpath(os.path.join(folder, name), root) for folder, _, found in os.walk(root) for name in found
    )
    names = [name for name in names if name != LARGE_FILE and not (root / name).is_symlink()]
    dice.shuffle(names)
    part = max(20, size.files // 40)
    changed, moved, deleted, copied = (names[start * part : (start + 1) * part] for start in range(4))
    for number, name in enumerate(changed):
        _edit(root / name, dice, MTIME + 10_000_000 + number)
    for name in moved:
        target = root / "moved" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(root / name, target)
    for name in deleted:
        os.unlink(root / name)
    for number, name in enumerate(copied):
        target = root / "new" / f"{number:05}-{os.path.basename(name)}"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((root / name).read_bytes()[::-1])
        os.utime(target, (MTIME + 20_000_000 + number,) * 2)
    _edit_large(root / LARGE_FILE, dice, size.large_bytes)
    return {"changed": len(changed) + 1, "moved": len(moved), "new": len(copied), "deleted": len(deleted)}


def count(root: Path) -> tuple[int, int]:
    """Files and their bytes."""
    sizes = [
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(root)
        for name in names
        if not os.path.islink(os.path.join(folder, name))
    ]
    return len(sizes), sum(sizes)


def _material() -> Iterator[tuple[Path, str]]:
    """Files and symlinks of this machine, in the order of their names, and where they go."""
    site = Path(sysconfig.get_paths()["purelib"])
    places = [(site, "python"), (Path("/usr/lib/python3.11"), "library"), (Path("/usr/include"), "include")]
    for top, name in (*places, (Path("/usr/share"), "share"), (Path("/usr/lib"), "lib")):
        for folder, folders, files in os.walk(top):
            folders[:] = sorted(each for each in folders if each != "__pycache__")
            for each in sorted(files):
                source = Path(folder, each)
                status = source.lstat()
                if stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_size <= FILE_MOST):
                    yield source, os.path.join(name, os.path.relpath(source, top))


def _take(source: Path, target: Path, mtime: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
        return
    shutil.copyfile(source, target)
    os.chmod(target, 0o755 if os.access(source, os.X_OK) and source.stat().st_mode & 0o100 else 0o644)
    os.utime(target, (mtime, mtime))


def _top_up(root: Path, size: Size, files: int, data: int) -> None:
    """A machine with fewer files: the same ones once more, each with a line of its own, as another version has."""
    names = sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    small = [p for p in names if p.stat().st_size <= SMALL]
    version = 1
    while files < size.files or data < size.small_bytes:
        version += 1
        for number, source in enumerate(small if small and data >= size.small_bytes else names):
            if files >= size.files and data >= size.small_bytes:
                return
            target = root / f"version-{version}" / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(f"version {version}, {number}\n".encode() + source.read_bytes())
            os.utime(target, (MTIME + number, MTIME + number))
            files += 1
            data += target.stat().st_size


def _write_large(path: Path, size: int) -> None:
    """Libraries and programs of this machine, one after the other; random bytes where they do not suffice."""
    path.parent.mkdir(parents=True)
    left = size
    with open(path, "wb") as out:
        for folder, folders, files in os.walk("/usr/lib"):
            folders.sort()
            for name in sorted(files):
                source = os.path.join(folder, name)
                if left and not os.path.islink(source) and os.path.isfile(source) and os.path.getsize(source) > MIB:
                    with open(source, "rb") as file:
                        while left and (block := file.read(min(left, MIB))):
                            out.write(block)
                            left -= len(block)
        dice = random.Random(1)
        while left:
            block = dice.randbytes(min(left, MIB))
            out.write(block)
            left -= len(block)
    os.utime(path, (MTIME, MTIME))


def _edit(path: Path, dice: random.Random, mtime: int) -> None:
    content = bytearray(path.read_bytes())
    place = dice.randrange(len(content) + 1)
    content[place : place + dice.randrange(40)] = f"changed {mtime}\n".encode()
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(content)
    path.chmod(stat.S_IMODE(mode))
    os.utime(path, (mtime, mtime))


def _edit_large(path: Path, dice: random.Random, size: int) -> None:
    """Sixty small edits, two new regions of a twentieth of the file each."""
    content = bytearray(path.read_bytes())
    for _ in range(60):
        place = dice.randrange(len(content))
        content[place : place + dice.randrange(200)] = dice.randbytes(dice.randrange(200))
    for _ in range(2):
        place = dice.randrange(len(content))
        content[place:place] = dice.randbytes(size // 20)
    path.write_bytes(content)
    os.utime(path, (MTIME + 30_000_000, MTIME + 30_000_000))
