"""Lists for tests: a small encoder of its own, listers and decoders driven by hand, stock rsync as a sender on pipes."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from typing import Any

from prsync.engine.context import Context, Status
from prsync.engine.flist import Decoder, Entry, Feeder, FileLists, Lister, Root, Tap
from prsync.engine.native import lib

ARCHIVE = {"recurse": 1, "links": 1, "perms": 1, "times": 1, "owner": 1, "group": 1, "devices": 1, "specials": 1}
SAME_TIME, SAME_MODE, SAME_UID, SAME_GID, SAME_NAME, LONG_NAME = 0x80, 0x02, 0x08, 0x10, 0x20, 0x40


def make_context(role: int, protocol: int = 32, **options: Any) -> Context:
    context = Context()
    fields = {"am_root": 1, "safe_flist": 1, "varint_flist_flags": int(protocol > 30), "id0_names": int(protocol > 30)}
    for name, value in {**fields, "file_sum": lib.PS_SUM_XXH128, **options}.items():
        setattr(context.options, name, value)
    context.options.role = role
    context.options.protocol = protocol
    return context


def varint(value: int) -> bytes:
    """io.c:write_varint for 0 <= value < 2**31."""
    raw = value.to_bytes(4, "little")
    count = max(1, 4 - (len(raw) - len(raw.rstrip(b"\0"))))
    bit = 1 << (8 - count)
    if raw[count - 1] >= bit:
        return bytes([256 - bit]) + raw[:count]
    return bytes([raw[count - 1] | ((256 - 2 * bit) if count > 1 else 0)]) + raw[: count - 1]


def varlong(value: int, min_bytes: int) -> bytes:
    """io.c:write_varlong for values that fit min_bytes with a bit to spare."""
    raw = value.to_bytes(min_bytes, "little")
    assert raw[-1] < 0x80
    return raw[-1:] + raw[:-1]


def wire_entry(name: bytes, mode: int = 0o100644, flags: int = 0, size: int = 1, extra: bytes = b"") -> bytes:
    """An entry that shares nothing with the one before but the owner; for lists with varint flags."""
    flags |= SAME_UID | SAME_GID
    head = varint(len(name)) if len(name) > 255 else bytes([len(name)])
    flags |= LONG_NAME if len(name) > 255 else 0
    return varint(flags) + head + name + varlong(size, 3) + varlong(1000, 4) + struct.pack("<I", mode) + extra


END = b"\0\0"


class Received:
    """A decoder with its lists."""

    def __init__(self, protocol: int = 32, rules: Any = None, **options: Any) -> None:
        self.context = make_context(lib.PS_ROLE_RECEIVER, protocol, **options)
        self.lists = FileLists(self.context)
        self.decoder = Decoder(self.lists, rules)
        self.feeder = Feeder(self.decoder)

    def take(self, data: bytes, parent: int = -1, step: int = 0) -> int:
        """Decodes one list, in pieces of `step` bytes if that is given. Returns the number of bytes that it had."""
        self.decoder.begin(parent)
        if not step:
            status, used = self.feeder.feed(data)
            assert status is Status.DONE
            return used
        for at in range(0, len(data), step):
            status, used = self.feeder.feed(data[at : at + step])
            if status is Status.DONE:
                return at + used
        raise AssertionError("the list did not end")

    def take_all(self, first: bytes, more: bytes) -> None:
        """The first list and what follows it up to NDX_FLIST_EOF."""
        assert self.take(first) == len(first)
        at, previous = 0, 1
        while self.context.options.inc_recurse:
            assert more[at] == 0xFF
            at += 1
            if more[at] != 0xFE:
                previous += more[at]
                at += 1
            elif more[at + 1] & 0x80:
                previous = (more[at + 1] & 0x7F) << 24 | int.from_bytes(more[at + 2 : at + 5], "little")
                at += 5
            else:
                previous += int.from_bytes(more[at + 1 : at + 3], "big")
                at += 3
            if previous == 2:
                break
            at += self.take(more[at:], previous - 101)
        assert at == len(more)

    def entries(self) -> list[Entry]:
        return entries_of(self.lists)


def entries_of(lists: FileLists) -> list[Entry]:
    found = [lists.entry(r.ndx_start + i) for r in lists.ranges() for i in range(r.count)]
    return [entry for entry in found if entry is not None]


class Sent:
    """A lister, run to its end."""

    def __init__(
        self, tree: os.PathLike[str], arguments: list[bytes], protocol: int = 32, names: list[bytes] | None = None, **options: Any
    ) -> None:
        self.context = make_context(lib.PS_ROLE_SENDER, protocol, **options)
        self.lists = FileLists(self.context)
        self.lister = Lister(self.lists, Root.open(self.context, os.fsencode(tree)))
        for argument in arguments:
            self.lister.argument(argument)
        if names is not None:
            self.lister.names(names)
        self.tap = Tap(self.lister)
        self.parts = self.tap.parts
        self.first = self.tap.first()
        self.more = b""
        done = not options.get("inc_recurse")
        while not done:
            done, data = self.tap.more(1 << 30)
            self.more += data

    def entries(self) -> list[Entry]:
        return entries_of(self.lists)

    def log(self) -> list[bytes]:
        skipped = {lib.PS_LOG_LOG, lib.PS_LOG_CLIENT}
        return [line for code, text in self.context.drain_log() if code not in skipped for line in text.splitlines()]


def shape(entry: Entry) -> tuple[Any, ...]:
    """What both sides of a transfer must agree on."""
    kind = stat.S_IFMT(entry.mode)
    rdev = entry.rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else (0, 0)
    return (entry.ndx, entry.path, entry.size, entry.mtime, entry.mtime_ns, entry.mode, entry.uid, entry.gid, entry.target, rdev)


class StockSender:
    """`rsync --server --sender` on pipes, up to the first list; the whole of its list data is read by `list_data`."""

    def __init__(self, letters: str, arguments: list[str], cwd: os.PathLike[str], protocol: int = 32) -> None:
        command = ["rsync", "--server", "--sender", f"-{letters}e.LsfxCIvu", ".", *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=cwd
        )
        self.write(struct.pack("<i", protocol))
        assert struct.unpack("<i", self.read(4))[0] >= protocol
        flags = self.read(1)[0]
        if flags & 0x80:
            flags = (flags & 0x3F) << 8 | self.read(1)[0]
        self.flags = flags
        if flags & 0x80:
            self.read(self.read(1)[0])
            self.write(b"\x06xxh128")
        self.read(4)
        self.write(struct.pack("<I", 7 << 24 | 4) + bytes(4))

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read(self, count: int) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.read(count)

    def next_data(self) -> bytes:
        """The payload of the next frame of list data; messages are passed over."""
        while True:
            word = struct.unpack("<I", self.read(4))[0]
            data = self.read(word & 0xFFFFFF)
            if word >> 24 == 7:
                return data

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
