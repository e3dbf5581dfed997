"""The generator driven by hand: a file list in rsync's bytes, a destination, and what is written for the sender."""

from __future__ import annotations

import os
import pathlib
import stat
from dataclasses import dataclass
from typing import Any

from prsync.engine.context import Context, Status
from prsync.engine.native import ffi, lib

TRANSFER, LOCAL, NEW, XNAME, BASIS = 0x8000, 0x4000, 0x2000, 0x1000, 0x0800
CHANGE, SIZE, TIME, PERMS = 0x0002, 0x0004, 0x0008, 0x0010
DONE, DEL_STATS = -1, -3
WHEN = 1_600_000_000  # seconds

LONG_NAME, SAME_TIME, HLINKED, HLINK_FIRST, NO_CONTENT = 0x40, 0x80, 0x200, 0x1000, 0x100


def varint(value: int) -> bytes:
    """io.c:write_varint"""
    value &= 0xFFFFFFFF
    raw = value.to_bytes(4, "little").rstrip(b"\0") or b"\0"
    count = len(raw)
    bit = 1 << (7 - count + 1)
    top = raw[-1]
    if top >= bit:
        return bytes([(~(bit - 1)) & 0xFF]) + raw
    if count > 1:
        return bytes([top | ((~(bit * 2 - 1)) & 0xFF)]) + raw[:-1]
    return bytes([top])


def varlong(value: int, least: int) -> bytes:
    """io.c:write_varlong"""
    raw = bytearray((value & (1 << 64) - 1).to_bytes(8, "little"))
    count = 8
    while count > least and raw[count - 1] == 0:
        count -= 1
    bit = 1 << (7 - count + least)
    top = raw[count - 1]
    if top >= bit:
        return bytes([(~(bit - 1)) & 0xFF]) + bytes(raw[:count])
    if count > least:
        return bytes([top | ((~(bit * 2 - 1)) & 0xFF)]) + bytes(raw[: count - 1])
    return bytes([top]) + bytes(raw[: count - 1])


@dataclass(frozen=True)
class Entry:
    """One entry as the sender lists it. `group`: of hard links, None for none; the first of a group names it."""

    name: str
    mode: int = stat.S_IFREG | 0o644
    size: int = 5
    mtime: int = WHEN
    link: str | None = None
    group: int | None = None
    first: bool = False
    content: bool = True

    def encode(self) -> bytes:
        name = os.fsencode(self.name)
        flags = LONG_NAME
        if self.group is not None:
            flags |= HLINKED | (HLINK_FIRST if self.first else 0)
        if stat.S_ISDIR(self.mode) and not self.content:
            flags |= NO_CONTENT
        data = varint(flags) + varint(len(name)) + name
        if self.group is not None and not self.first:
            return data + varint(self.group)  # the rest is as in the group's first entry
        data += varlong(self.size, 3) + varlong(self.mtime, 4) + self.mode.to_bytes(4, "little")
        if self.link is not None:
            target = os.fsencode(self.link)
            data += varint(len(target)) + target
        return data


DOT = Entry(".", stat.S_IFDIR | 0o755, 0)


def directory(name: str, mode: int = 0o755, mtime: int = WHEN) -> Entry:
    return Entry(name, stat.S_IFDIR | mode, 0, mtime)


@dataclass(frozen=True)
class Item:
    """One thing written for the sender. ndx < 0: a mark. head: the sum head of a request, None where none follows."""

    ndx: int
    iflags: int = 0
    basis: int | None = None
    name: bytes | None = None
    head: tuple[int, int, int, int] | None = None


class Trial:
    """A generator over `lists`; options are rsync's -rlpt with what `options` says."""

    def __init__(self, root: pathlib.Path | None, *lists: tuple[int, list[Entry]], **options: int) -> None:
        self.context = Context()
        o = self.context.options
        given = {
            "role": lib.PS_ROLE_RECEIVER, "protocol": 32, "recurse": 1, "links": 1, "perms": 1, "times": 1, "specials": 1,
            "implied_dirs": 1, "max_size": -1, "min_size": -1, "max_delete": -1, "whole_file": -1, "varint_flist_flags": 1,
            "xfer_sum": lib.PS_SUM_XXH128, "file_sum": lib.PS_SUM_XXH128, "am_root": int(os.geteuid() == 0), "info_nonreg": 1,
        }  # fmt: skip
        for name, value in {**given, **options}.items():
            setattr(o, name, value)
        c = self.context.handle
        self.lists = ffi.gc(lib.ps_flists_new(c), lib.ps_flists_free)
        self.root = ffi.NULL if root is None else ffi.gc(lib.ps_root_open(c, os.fsencode(root), False), lib.ps_root_free)
        self.decoder = ffi.gc(lib.ps_flist_decoder_new(c, self.lists, ffi.NULL), lib.ps_flist_decoder_free)
        self.feeder = ffi.gc(lib.ps_flist_feeder_new(c, self.decoder, True), lib.ps_flist_feeder_free)
        for parent, entries in lists:
            self.add(parent, entries)
        self.gen: Any = ffi.gc(lib.ps_gen_trial_new(c, self.lists, ffi.NULL, self.root), lib.ps_gen_trial_free)
        self.previous, self.negative = -1, 1
        self.messages: list[tuple[int, bytes]] = []

    def add(self, parent: int, entries: list[Entry]) -> None:
        self.context.check(lib.ps_flist_decoder_begin(self.decoder, parent))
        data = b"".join(entry.encode() for entry in entries) + varint(0) + varint(0)
        assert self.context.check(lib.ps_flist_feed(self.feeder, data, len(data), ffi.new("size_t *"))) is Status.DONE

    def eof(self) -> None:
        """No more lists will come."""
        lib.ps_gen_trial_eof(self.gen)

    def step(self) -> Status:
        return self.context.check(lib.ps_gen_trial_step(self.gen))

    def settle(self, ndx: int, how: int = 0) -> None:
        self.context.check(lib.ps_gen_trial_settled(self.gen, ndx, how))

    def phase_ended(self) -> None:
        lib.ps_gen_trial_phase_ended(self.gen)

    def list_done(self) -> None:
        self.context.check(lib.ps_gen_trial_list_done(self.gen))

    def jobs(self) -> list[tuple[int, int, int]]:
        """(ndx, iflags, bytes of the basis) of what was queued for the swarm."""
        iflags, basis = ffi.new("uint32_t *"), ffi.new("int64_t *")
        found = []
        while (ndx := lib.ps_gen_trial_job(self.gen, iflags, basis)) >= 0:
            found.append((ndx, iflags[0], basis[0]))
        return found

    def route(self, ndx: int, swarm: bool) -> None:
        self.context.check(lib.ps_gen_trial_route(self.gen, ndx, swarm))

    def log(self) -> list[str]:
        return [text.decode() for code, text in self.context.drain_log() if code != lib.PS_LOG_LOG]

    def finish(self) -> list[Item]:
        """Steps through all phases, with a receiver that settles nothing; what was written meanwhile."""
        items = []
        for _ in range(8):
            status = self.step()
            items += self.items()
            if status is Status.DONE:
                return items
            self.phase_ended()
        raise AssertionError("the generator does not come to its end")

    def items(self) -> list[Item]:
        """What was written since the last call, decoded."""
        size = ffi.new("size_t *")
        raw = bytes(ffi.buffer(lib.ps_gen_trial_out(self.gen, size), size[0])) if size else b""
        lib.ps_gen_trial_clear(self.gen)
        data = b""
        while raw:
            head = int.from_bytes(raw[:4], "little")
            code, n = (head >> 24) - 7, head & 0xFFFFFF
            if code == 0:
                data += raw[4 : 4 + n]
            else:
                self.messages.append((code, raw[4 : 4 + n]))
            raw = raw[4 + n :]
        self.at, self.data = 0, data
        found = []
        while self.at < len(data):
            found.append(self._item())
        return found

    def _take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def _ndx(self) -> int:
        first = self._take(1)[0]
        if first == 0:
            return DONE
        negative = first == 0xFF
        if negative:
            first = self._take(1)[0]
        previous = self.negative if negative else self.previous
        if first == 0xFE:
            a, b = self._take(2)
            value = (
                int.from_bytes(bytes([b]) + self._take(2) + bytes([a & 0x7F]), "little") if a & 0x80 else previous + a * 256 + b
            )
        else:
            value = previous + first
        if negative:
            self.negative = value
            return -value
        self.previous = value
        return value

    def _varint(self) -> int:
        first = self._take(1)[0]
        extra = next((n for n, limit in enumerate([0x80, 0xC0, 0xE0, 0xF0, 0xF8]) if first < limit), 5)
        rest = self._take(extra)
        return int.from_bytes(rest, "little") | (first & ((1 << (8 - extra)) - 1) if extra else first) << (8 * extra)

    def _item(self) -> Item:
        ndx = self._ndx()
        if ndx == DEL_STATS:
            return Item(ndx, name=bytes(self._varint() for _ in range(5)))
        if ndx < 0:
            return Item(ndx)
        iflags = int.from_bytes(self._take(2), "little")
        basis = self._take(1)[0] if iflags & BASIS else None
        name = self._take(self._take(1)[0]) if iflags & XNAME else None
        head = None
        if iflags & TRANSFER and not self.context.options.dry_run:
            raw = self._take(16)
            a, b, c, d = (int.from_bytes(raw[i : i + 4], "little") for i in (0, 4, 8, 12))
            head = (a, b, c, d)
            self._take(a * (4 + c))
        return Item(ndx, iflags, basis, name, head)


def put(path: pathlib.Path, data: bytes = b"hello", mtime: float = WHEN, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, (mtime, mtime))


def only(items: list[Item], ndx: int = 1) -> Item | None:
    found = [item for item in items if item.ndx == ndx]
    assert len(found) <= 1
    return found[0] if found else None
