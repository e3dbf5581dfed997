"""Giving up privileges: another user and group, with no way back; opening files that only root or we could redirect; the
umask."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable, Sequence

MAX_LINKS = 40  # followed in one path, as the kernel does


def user_id(name: str) -> int | None:
    """The uid of a user's name or number; None when there is no such user (uidlist.c:user_to_uid)."""
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def group_id(name: str) -> int | None:
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def all_groups(uid: int) -> list[int]:
    """All groups of a user, the default group first (getgroups.c:getallgroups). Raises KeyError for an unknown user."""
    entry = pwd.getpwuid(uid)
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return [entry.pw_gid, *(g for g in groups if g != entry.pw_gid)]


def drop(uid: int | None, groups: Sequence[int], lock: Callable[[], object]) -> None:
    """Becomes the user and the groups (the first is the main one) for good, then calls `lock` (no_new_privileges).

    None or an empty list leave the user or the groups as they are. Raises OSError whose filename names the step that
    failed: "setgid", "setgroups", "setuid"; and when root's rights could be had back.
    """
    if groups:
        _step("setgid", lambda: os.setresgid(groups[0], groups[0], groups[0]))
        _step("setgroups", lambda: os.setgroups(list(groups)))
    if uid is not None:
        _step("setuid", lambda: os.setresuid(uid, uid, uid))
        if uid and 0 in os.getresuid():
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), "setuid")
    lock()


def _step(name: str, action: Callable[[], None]) -> None:
    try:
        action()
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), name) from error


def read_umask() -> int:
    """Linux tells it; elsewhere it must be changed to be seen, which is nobody's business before there are threads."""
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    umask = os.umask(0)
    os.umask(umask)
    return umask


def open_trusted(path: str, flags: int, mode: int = 0o600) -> int:
    """Opens a file that the configuration names, following only symlinks that root or we own (rsync's
    open_no_attacker_symlinks): whoever else can write to a directory on the way cannot redirect root. Raises OSError.
    """
    trusted = (0, os.geteuid())
    here = os.open("/" if path.startswith("/") else ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    parts = path.split("/")
    links = 0
    try:
        while True:
            part = parts.pop(0)
            if part in ("", ".") and parts:
                continue
            link = _link_at(part, here, trusted)
            if link is not None:
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if link.startswith("/"):
                    here = _move(here, "/")
                parts = [*link.split("/"), *parts]
            elif not parts:
                return os.open(part or ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=here)
            else:
                here = _move(here, part)
    finally:
        os.close(here)


def open_directory(path: str) -> int:
    """Opens a directory that the configuration names, as `open_trusted` does. Raises OSError."""
    return open_trusted(path, os.O_RDONLY | os.O_DIRECTORY)


def _move(here: int, part: str) -> int:
    there = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    os.close(here)
    return there


def _link_at(part: str, here: int, trusted: tuple[int, ...]) -> str | None:
    """The target of a symlink, None for what is none. Raises OSError for one that somebody else owns."""
    try:
        status = os.stat(part or ".", dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(status.st_mode):
        return None
    if status.st_uid not in trusted:
        raise OSError(errno.ELOOP, "a symlink on the way belongs to another user", part)
    return os.readlink(part, dir_fd=here)
