"""What rsh_sender.py and rsh_receiver.py share: the minimal handshake of `rsync --server` on standard input and output."""

from __future__ import annotations

import os
import struct

from prsync.engine.context import Context
from prsync.engine.native import lib
from prsync.errors import PrsyncError
from prsync.transfer.pump import Pump, Want, give

# compat flag bits, compat.c
INC_RECURSE, SYMLINK_TIMES, SAFE_FLIST, AVOID_XATTR, SEED_FIX, INPLACE_PARTIAL, ID0_NAMES = 1, 2, 8, 16, 32, 64, 256
LETTERS = {
    "r": "recurse", "l": "links", "H": "hard_links", "p": "perms", "t": "times", "g": "group", "o": "owner", "c": "checksum",
    "n": "dry_run", "R": "relative", "d": "dirs", "x": "one_file_system", "v": "verbose", "m": "prune_empty_dirs",
    "u": "update", "b": "backup", "S": "sparse", "I": "ignore_times", "y": "fuzzy", "O": "omit_dir_times", "K": "keep_dirlinks",
}  # fmt: skip
COMPRESS = {"zlib": lib.PS_Z_ZLIB, "zlibx": lib.PS_Z_ZLIBX, "lz4": lib.PS_Z_LZ4, "zstd": lib.PS_Z_ZSTD}
SUMS = {"md5": lib.PS_SUM_MD5, "md4": lib.PS_SUM_MD4, "sha1": lib.PS_SUM_SHA1, "xxh64": lib.PS_SUM_XXH64,
        "xxh3": lib.PS_SUM_XXH3, "xxh128": lib.PS_SUM_XXH128, "none": lib.PS_SUM_NONE}  # fmt: skip
FLAGS = {
    "inplace": "inplace", "partial": "partial", "delay-updates": "delay_updates", "existing": "existing", "force": "force_delete",
    "ignore-existing": "ignore_existing", "size-only": "size_only", "delete-excluded": "delete_excluded",
    "ignore-errors": "ignore_errors", "numeric-ids": "numeric_ids", "mkpath": "mkpath", "safe-links": "safe_links",
}  # fmt: skip
DELETE = {
    "delete": lib.PS_DELETE_DURING, "delete-during": lib.PS_DELETE_DURING, "delete-before": lib.PS_DELETE_BEFORE,
    "delete-after": lib.PS_DELETE_AFTER, "delete-delay": lib.PS_DELETE_DELAY,
}  # fmt: skip
STRINGS = {
    "partial-dir": lib.PS_STR_PARTIAL_DIR, "temp-dir": lib.PS_STR_TEMP_DIR, "backup-dir": lib.PS_STR_BACKUP_DIR,
    "suffix": lib.PS_STR_BACKUP_SUFFIX,
}  # fmt: skip
ALTERNATES = {"compare-dest": lib.PS_ALT_COMPARE, "copy-dest": lib.PS_ALT_COPY, "link-dest": lib.PS_ALT_LINK}
NUMBERS = {"max-delete": "max_delete", "compress-level": "compress_level", "modify-window": "modify_window"}


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


def new_context(role: int) -> Context:
    context = Context()
    options = context.options
    options.role = role
    options.am_server = options.implied_dirs = 1
    options.am_root = int(os.geteuid() == 0)
    options.xfer_sum = options.file_sum = lib.PS_SUM_MD5
    options.compress_level = -(2**31)
    options.max_size = options.min_size = options.max_delete = options.super = options.whole_file = -1
    return context


def set_options(context: Context, words: list[str]) -> str:
    """The options in front of the dot; returns what stands behind `e`."""
    words = words[: words.index(".")]
    info = ""
    at = 0
    given: set[str] = set()
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("--"):
            info = _set_letters(context.options, word) or info
            continue
        name, equals, value = word[2:].partition("=")
        if name in (*STRINGS, *ALTERNATES) and not equals:
            value = words[at]
            at += 1
        _set_word(context, name, value)
        given.add(name)
    if given & {"partial-dir", "delay-updates"}:
        context.options.partial = 1
        if "partial-dir" not in given:
            context.set_string(lib.PS_STR_PARTIAL_DIR, b".~tmp~")
    if "suffix" not in given and "backup-dir" not in given:
        context.set_string(lib.PS_STR_BACKUP_SUFFIX, b"~")
    return info


def _set_letters(options: object, word: str) -> str:
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


def _set_word(context: Context, name: str, value: str) -> None:
    options = context.options
    if name == "append":
        options.append += 1
    elif name in ("remove-source-files", "remove-sent-files"):
        options.remove_source_files = 1
    elif name in FLAGS:
        setattr(options, FLAGS[name], 1)
    elif name in DELETE:
        options.delete_mode = DELETE[name]
    elif name in NUMBERS:
        setattr(options, NUMBERS[name], int(value))
    elif name in STRINGS:
        context.set_string(STRINGS[name], os.fsencode(value))
    elif name in ALTERNATES:
        options.alt_kind = ALTERNATES[name]
        context.add_alternate_dir(os.fsencode(value))
    elif name in ("compress-choice", "new-compress", "old-compress"):
        options.compress = COMPRESS[value] if value else COMPRESS["zlibx" if name == "new-compress" else "zlib"]
    elif name == "checksum-choice":
        options.xfer_sum = options.file_sum = SUMS[value]
    elif name == "skip-compress":
        context.set_string(lib.PS_STR_DONT_COMPRESS, b" ".join(b"*." + s.encode() for s in value.split("/")))
    elif name == "no-inc-recursive":
        options.inc_recurse = -1
    elif name in ("log-format", "out-format"):
        options.stdout_format_has_i = int("%i" in value) + int("%i%I" in value)


def negotiate(context: Context, info: str) -> None:
    options = context.options
    write_all(struct.pack("<i", 32))
    options.protocol = min(32, struct.unpack("<i", read_exactly(4))[0])
    if options.protocol < 30:
        options.inc_recurse = 0
        if options.xfer_sum == lib.PS_SUM_MD5:  # none was chosen
            options.xfer_sum = options.file_sum = lib.PS_SUM_MD4_SEEDED
        if options.delete_mode == lib.PS_DELETE_DURING:
            options.delete_mode = lib.PS_DELETE_BEFORE
        options.checksum_seed = 12345
        write_all(struct.pack("<i", options.checksum_seed))
        return
    inc = "i" in info and options.recurse and options.inc_recurse >= 0
    if options.role == lib.PS_ROLE_RECEIVER:  # compat.c: allow_inc_recurse
        inc = inc and options.delete_mode not in (lib.PS_DELETE_BEFORE, lib.PS_DELETE_AFTER)
        inc = inc and not (options.delay_updates or options.prune_empty_dirs)
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


def read_filters(plain: bool) -> tuple[list[bytes], bytes]:
    """Takes the client's filter list off its input: its rules, and what lies behind it as a stream again. plain: the input is
    not multiplexed."""
    data = b""

    def more(count: int) -> None:
        nonlocal data
        if plain:
            data += read_exactly(count - len(data)) if len(data) < count else b""
        while len(data) < count:
            word = struct.unpack("<I", read_exactly(4))[0]
            part = read_exactly(word & 0xFFFFFF)
            data += part if word >> 24 == 7 else b""

    rules = []
    while True:
        more(4)
        size = struct.unpack("<i", data[:4])[0]
        more(4 + size)
        rule, data = data[4 : 4 + size], data[4 + size :]
        if not size:
            return rules, struct.pack("<I", 7 << 24 | len(data)) + data if data and not plain else data
        rules.append(rule)


def run_pump(pump: Pump, first: bytes, before_requests: object = None) -> int:
    """Moves bytes until the end, in one direction at a time: output first. The exit code."""
    try:
        give(pump, first)
        while True:
            want = pump.run()
            data = pump.output()
            count = len(data)
            write_all(data)
            pump.sent(count)
            if want is Want.NOTHING:
                return int(pump.exit_code())
            if want is Want.INPUT and not pump.settle():
                if callable(before_requests):
                    before_requests()
                    before_requests = None
                room = pump.room()
                assert room is not None
                pump.received(os.readv(0, [room]))
    except PrsyncError as error:
        pump.abort(error)
        write_all(pump.output())
        return int(error.code)
