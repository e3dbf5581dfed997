"""A small tree with every kind of entry, its second state, and what a tree looks like as plain data."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import socket
import stat

BEFORE = 1_600_000_000_123_456_789
ROOT = os.geteuid() == 0
Snapshot = dict[bytes, tuple[object, ...]]

ODD_NAMES = (
    b"a b",
    b" lead",
    b"new\nline",
    b"caf\xe9",
    "d\u00e9j\u00e0".encode(),
    b"back\\slash",
    b"\\#012",
    b"-dash",
    b"[x]*?",
    b"\x01\x7f",
)


def blob(seed: int, size: int) -> bytes:
    """The same bytes for the same seed, that no compression shrinks."""
    return hashlib.shake_128(seed.to_bytes(4, "big")).digest(size)


def write(path: pathlib.Path | bytes, data: bytes, mode: int = 0o644, when: int = BEFORE) -> None:
    name = os.fsencode(path)
    with open(name, "wb") as file:
        file.write(data)
    os.chmod(name, mode)
    os.utime(name, ns=(when, when))


def fill(root: pathlib.Path) -> None:
    """The first state."""
    root.mkdir()
    for name in ("dir/sub/subsub", "dir/empty", "modes", "gone/deeper", "turns", "deep/" + "/".join("d" * 12)):
        (root / name).mkdir(parents=True)
    write(root / "regular", blob(1, 5000))
    write(root / "empty", b"")
    write(root / "text", b"all the same words\n" * 4000)
    write(root / "big", blob(2, 300_000), when=BEFORE + 1)
    write(root / "photo.jpg", b"\0" * 20_000)
    write(root / "dir/sub/subsub/leaf", b"leaf\n")
    write(root / "same-size", b"aaaa")
    write(root / "gone/file", b"x")
    write(root / "gone/deeper/file", b"x")
    write(root / "turns/file-to-dir", b"x")
    write(root / "turns/file-to-link", b"x")
    (root / "turns/dir-to-file").mkdir()
    (root / ("deep/" + "/".join("d" * 12)) / "leaf").write_bytes(b"")
    with open(root / "sparse", "wb") as file:
        file.truncate(400_000)
        file.seek(200_000)
        file.write(b"island")
    for mode in (0o4755, 0o2755, 0o1777, 0o000, 0o444, 0o7777, 0o200):
        write(root / f"modes/{mode:04o}", b"m", mode)
    (root / "modes/sticky").mkdir()
    os.chmod(root / "modes/sticky", 0o1777)
    (root / "modes/setgid").mkdir()
    os.chmod(root / "modes/setgid", 0o2750)
    for index, name in enumerate(ODD_NAMES):
        write(os.fsencode(root) + b"/" + name, name, when=BEFORE + index)
    (root / "link").symlink_to("dir/sub")
    (root / "link-file").symlink_to("regular")
    (root / "dangling").symlink_to("no/such")
    (root / "absolute").symlink_to("/nowhere")
    (root / "upward").symlink_to("../../outside")
    write(root / "hard-1", b"linked", when=BEFORE + 7)
    for name in ("hard-2", "dir/hard-3"):
        os.link(root / "hard-1", root / name)
    os.link(root / "link-file", root / "dir/hard-link-to-link", follow_symlinks=False)
    os.mkfifo(root / "fifo")
    os.link(root / "fifo", root / "fifo-2")
    if ROOT:
        os.mknod(root / "char", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(root / "block", 0o640 | stat.S_IFBLK, os.makedev(7, 300))
        for name, uid, gid in (
            ("regular", 1, 2),
            ("empty", 54321, 54322),
            ("dir", 33, 33),
            ("link", 5, 54322),
            ("modes/4755", 1, 1),
        ):
            os.chown(root / name, uid, gid, follow_symlinks=False)
        os.chmod(root / "modes/4755", 0o4755)
        os.utime(root / "regular", ns=(BEFORE, BEFORE))
    here = os.getcwd()
    os.chdir(root)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("socket")
    finally:
        os.chdir(here)
    settle(root)


def settle(root: pathlib.Path) -> None:
    """Gives directories and links times that are not now."""
    for index, (path, names, files) in enumerate(sorted(os.walk(os.fsencode(root)), reverse=True)):
        for name in (*names, *files):
            full = os.path.join(path, name)
            if not stat.S_ISREG(os.lstat(full).st_mode) and not stat.S_ISDIR(os.lstat(full).st_mode):
                os.utime(full, ns=(BEFORE, BEFORE + 5), follow_symlinks=False)
        os.utime(path, ns=(BEFORE, BEFORE + 1000 * index))


def change(root: pathlib.Path) -> None:
    """Makes the first state into the second: changed, new, deleted, renamed, retyped."""
    data = bytearray(blob(2, 300_000))
    data[150_000:150_010] = b"0123456789"
    write(root / "big", bytes(data[:299_000]), when=BEFORE + 10**9)
    write(root / "regular", blob(3, 6000), when=BEFORE + 1)
    write(root / "same-size", b"bbbb", when=BEFORE)
    write(root / "new", b"new file\n", 0o600)
    write(root / "text", b"all the same words\n" * 4000 + b"and more\n")
    os.utime(root / "empty", ns=(BEFORE, BEFORE + 2 * 10**9))
    os.chmod(root / "modes/0444", 0o640)
    os.chmod(root / "photo.jpg", 0o755)
    shutil.rmtree(root / "gone")
    (root / "fifo").unlink()
    (root / "turns/file-to-dir").unlink()
    (root / "turns/file-to-dir").mkdir()
    write(root / "turns/file-to-dir/inner", b"y")
    (root / "turns/file-to-link").unlink()
    (root / "turns/file-to-link").symlink_to("../regular")
    (root / "turns/dir-to-file").rmdir()
    write(root / "turns/dir-to-file", b"now a file")
    (root / "dangling").unlink()
    (root / "dangling").symlink_to("another/place")
    (root / "hard-2").unlink()
    write(root / "hard-2", b"not linked any more")
    os.link(root / "hard-1", root / "hard-4")
    os.rename(os.fsencode(root / "a b"), os.fsencode(root / "a  b"))
    if ROOT:
        os.chown(root / "same-size", 7, 54322)
        (root / "char").unlink()
        os.mknod(root / "char", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    settle(root)


def snapshot(root: pathlib.Path) -> Snapshot:
    """All entries: type, mode, owners, size, mtime in ns ("now" for one of this year), content, target, device, link group."""
    found: Snapshot = {}
    groups: dict[tuple[int, int], bytes] = {}
    top = os.fsencode(root)
    paths = [b"."] if os.path.lexists(top) else []
    for path, names, files in os.walk(top):
        paths += [os.path.relpath(os.path.join(path, name), top) for name in (*names, *files)]
    for name in sorted(paths):
        full = os.path.join(top, name)
        status = os.lstat(full)
        kind = stat.S_IFMT(status.st_mode)
        content: object = None
        if kind == stat.S_IFREG:
            with open(full, "rb") as file:
                content = hashlib.file_digest(file, "sha1").hexdigest()
        elif kind == stat.S_IFLNK:
            content = os.readlink(full)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            content = (os.major(status.st_rdev), os.minor(status.st_rdev))
        group = groups.setdefault((status.st_dev, status.st_ino), name) if status.st_nlink > 1 and kind != stat.S_IFDIR else None
        size = status.st_size if kind == stat.S_IFREG else None
        when = status.st_mtime_ns if status.st_mtime_ns < BEFORE + 10**17 else "now"
        holes = kind == stat.S_IFREG and status.st_blocks * 512 < status.st_size // 2
        found[name] = (oct(status.st_mode), status.st_uid, status.st_gid, size, when, content, group, holes)
    return found


def tree_differences(one: Snapshot, two: Snapshot) -> list[object]:
    """What a failed comparison should show."""
    return [(name, one.get(name), two.get(name)) for name in sorted(one.keys() | two.keys()) if one.get(name) != two.get(name)]
