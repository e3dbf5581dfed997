"""Stands in for `ssh HOST rsync --server --sender …`: a minimal handshake, then prsync's sender, for a stock rsync client.

Run as the remote shell of the real rsync (-e): HOST rsync --server --sender OPTIONS . PATH…; only what the tests use of the
command line is understood. The environment variable RSH_SENDER_HOOK may name a file of Python that is run with the names
of `serve` before the first step, to play tricks on the tree.
"""

from __future__ import annotations

import os
import struct
import sys

from prsync.engine.context import Context
from prsync.engine.flist import FileLists, Lister, Root
from prsync.engine.native import lib
from prsync.engine.sending import Send
from prsync.errors import PrsyncError
from prsync.transfer.pump import Want, give
from prsync.transfer.sender import Sender

# compat flag bits, compat.c
INC_RECURSE, SYMLINK_TIMES, SAFE_FLIST, AVOID_XATTR, SEED_FIX, INPLACE_PARTIAL, ID0_NAMES = 1, 2, 8, 16, 32, 64, 256
LETTERS = {
    "r": "recurse", "l": "links", "H": "hard_links", "p": "perms", "t": "times", "g": "group", "o": "owner", "c": "checksum",
    "n": "dry_run", "R": "relative", "d": "dirs", "x": "one_file_system", "v": "verbose", "m": "prune_empty_dirs",
}  # fmt: skip
COMPRESS = {"zlib": lib.PS_Z_ZLIB, "zlibx": lib.PS_Z_ZLIBX, "lz4": lib.PS_Z_LZ4, "zstd": lib.PS_Z_ZSTD}
SUMS = {"md5": lib.PS_SUM_MD5, "md4": lib.PS_SUM_MD4, "sha1": lib.PS_SUM_SHA1, "xxh64": lib.PS_SUM_XXH64,
        "xxh3": lib.PS_SUM_XXH3, "xxh128": lib.PS_SUM_XXH128, "none": lib.PS_SUM_NONE}  # fmt: skip


def read_exactly(count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            raise SystemExit(12)
        data += part
    return data


def write_all(data: bytes | memoryview) -> None:
    while data:
        data = data[os.write(1, data) :]


def set_letters(options: object, word: str) -> str:
    """The letters of -vlogDtpre.iLsfxCIvu; returns what stands behind `e`."""
    letters, _, info = word[1:].partition("e")
    for letter in letters:
        if letter == "D":
            options.devices = options.specials = 1  # type: ignore[attr-defined]
        elif letter == "z":
            options.compress = lib.PS_Z_ZLIB  # type: ignore[attr-defined]
        elif letter == "W":
            options.whole_file = 1  # type: ignore[attr-defined]
        elif letter in LETTERS:
            setattr(options, LETTERS[letter], 1)
    return info


def set_words(context: Context, words: list[str]) -> None:
    options = context.options
    for word in words:
        name, _, value = word[2:].partition("=")
        if name == "append":
            options.append += 1
        elif name == "inplace":
            options.inplace = 1
        elif name == "remove-source-files":
            options.remove_source_files = 1
        elif name == "compress-level":
            options.compress_level = int(value)
        elif name in ("compress-choice", "new-compress", "old-compress"):
            options.compress = COMPRESS[value] if value else COMPRESS["zlibx" if name == "new-compress" else "zlib"]
        elif name == "checksum-choice":
            options.xfer_sum = options.file_sum = SUMS[value]
        elif name == "skip-compress":
            context.set_string(lib.PS_STR_DONT_COMPRESS, b" ".join(b"*." + s.encode() for s in value.split("/")))
        elif name == "no-inc-recursive":
            options.inc_recurse = -1


def negotiate(context: Context, info: str) -> None:
    options = context.options
    write_all(struct.pack("<i", 32))
    options.protocol = min(32, struct.unpack("<i", read_exactly(4))[0])
    inc = "i" in info and options.recurse and options.inc_recurse >= 0
    options.inc_recurse = int(inc)
    options.receiver_symlink_times = int("L" in info)
    options.safe_flist = int("f" in info)
    options.proper_seed_order = int("C" in info)
    options.inplace_partial_dir = int("I" in info)
    options.id0_names = int("u" in info)
    flags = INC_RECURSE * inc | SYMLINK_TIMES
    for letter, bit in (("f", SAFE_FLIST), ("x", AVOID_XATTR), ("C", SEED_FIX), ("I", INPLACE_PARTIAL), ("u", ID0_NAMES)):
        flags |= bit * (letter in info)
    flags &= 0x7F if "v" not in info else 0x1FF
    # A varint where the client knows it; bit 7 (varint flags, negotiated names) stays off: MD5 and zlib unless chosen.
    write_all(bytes([0x80 | flags >> 8, flags & 0xFF]) if "v" in info and flags > 0x7F else bytes([flags]))
    options.checksum_seed = 12345
    write_all(struct.pack("<i", options.checksum_seed))


def read_filters() -> bytes:
    """Takes the client's filter list (which the tests leave empty) off the multiplexed input; returns what lies behind it."""
    data = b""
    while len(data) < 4:
        word = struct.unpack("<I", read_exactly(4))[0]
        part = read_exactly(word & 0xFFFFFF)
        data += part if word >> 24 == 7 else b""
    assert data[:4] == bytes(4), "the tests send no filter rules"
    rest = data[4:]
    return struct.pack("<I", 7 << 24 | len(rest)) + rest if rest else b""


def serve(words: list[str]) -> int:
    context = Context()
    options = context.options
    options.role = lib.PS_ROLE_SENDER
    options.am_server = options.implied_dirs = 1
    options.xfer_sum = options.file_sum = lib.PS_SUM_MD5
    options.compress_level = -(2**31)
    options.max_size = options.min_size = options.max_delete = -1
    context.set_string(lib.PS_STR_CURR_DIR, b"/")
    dot = words.index(".")
    info = ""
    for word in words[:dot]:
        if word.startswith("-") and not word.startswith("--"):
            info = set_letters(options, word) or info
    set_words(context, [w for w in words[:dot] if w.startswith("--")])
    negotiate(context, info)
    first = read_filters()
    lists, root = FileLists(context), Root.open(context, b"/")
    lister = Lister(lists, root)
    for path in words[dot + 1 :]:
        lister.argument(os.fsencode(path))
    sender = Sender(Send(context, lists, lister, root), lambda code, line: None)
    hook = os.environ.get("RSH_SENDER_HOOK")
    return pump(sender, first, (lambda: exec(open(hook).read(), {})) if hook else None)


def pump(sender: Sender, first: bytes, before_requests: object) -> int:
    try:
        give(sender, first)
        while True:
            want = sender.run()
            data = sender.output()
            write_all(data)
            sender.sent(len(data))
            if want is Want.NOTHING:
                return int(sender.exit_code())
            if want is Want.INPUT:
                if callable(before_requests):
                    before_requests()
                    before_requests = None
                room = sender.room()
                assert room is not None
                sender.received(os.readv(0, [room]))
    except PrsyncError as error:
        sender.abort(error)
        write_all(sender.output())
        return int(error.code)


if __name__ == "__main__":
    for descriptor in (0, 1):  # the client has made its pipes non-blocking, for both ends
        os.set_blocking(descriptor, True)
    sys.exit(serve(sys.argv[3:]))
