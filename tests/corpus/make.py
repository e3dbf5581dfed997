"""Writes seeds of fuzz targets (csrc/fuzz): valid streams, recorded from the core's own parts. `python tests/corpus/make.py`.

Each target's first lines say what the head of an input means. The seeds of `send` and `token` were recorded by their tests.
"""

from __future__ import annotations

import os
import pathlib
import struct
import sys
import tempfile
from collections.abc import Callable

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "engine"), str(ROOT / "tests" / "transfer")]

from both_ends import BothEnds  # noqa: E402
from flist_tools import varint  # noqa: E402
from swarm_pair import Mirror, Origin, Pair  # noqa: E402

from prsync.engine.context import Context, Status  # noqa: E402
from prsync.engine.digests import digest_file  # noqa: E402
from prsync.engine.fetch import Memory, RsyncdFetch  # noqa: E402
from prsync.engine.flist import FileLists, Lister, Root, Tap  # noqa: E402
from prsync.engine.index import DigestIndex  # noqa: E402
from prsync.engine.native import ffi, lib  # noqa: E402
from prsync.engine.receiving import Receiving  # noqa: E402
from prsync.engine.sending import Send  # noqa: E402
from prsync.protocol.frames import Bye, Hello, Lease, LeaseStep, encode_frame  # noqa: E402

Options = dict[str, int]


def write(target: str, name: str, data: bytes) -> None:
    folder = ROOT / "tests" / "corpus" / target
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


def pattern(size: int, salt: int = 0) -> bytes:
    """fuzz_tools.h: fuzz_put_file."""
    return bytes(((at // 1000 * 1000 + at % 1000) * 7 % 251 + salt) & 255 for at in range(size))


def put(path: pathlib.Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (1_600_000_000, 1_600_000_000))


def frame(code: int, data: bytes) -> bytes:
    return struct.pack("<I", (7 + code) << 24 | len(data)) + data


def context(**options: int) -> Context:
    made = Context()
    for name, value in {"max_size": -1, "min_size": -1, "implied_dirs": 1, "safe_flist": 1, **options}.items():
        setattr(made.options, name, value)
    return made


# ---- wire -------------------------------------------------------------------------------------


def make_wire() -> None:
    numbers = b"".join(varint(n) for n in (5, 300, 70000, 2**31 - 1))
    write("wire", "numbers", bytes([0, 0, 2]) + numbers + bytes(range(64)))
    write("wire", "numbers-30", bytes([0, 0, 0]) + bytes(range(0x80, 0xF8)) + numbers)
    stream = frame(0, b"some data") + frame(2, b"a message\n") + frame(0, b"") + frame(117, b"\1frame") + frame(0, bytes(300))
    for step in (0, 1, 7):
        write("wire", f"stream-{step}", bytes([1, step, 2]) + stream)


# ---- lists ------------------------------------------------------------------------------------


def list_tree(root: pathlib.Path) -> None:
    put(root / "a", b"a")
    put(root / ("long" * 20), pattern(300))
    put(root / "d" / "e" / "f", b"")
    put(root / "d" / "g", b"gg")
    (root / "link").symlink_to("d/g")
    os.link(root / "a", root / "d" / "same")
    os.mkfifo(root / "fifo")


def make_flist(folder: pathlib.Path) -> None:
    """The heads say what fuzz_flist.c: set_options makes of them."""
    root = folder / "list"
    list_tree(root)
    for protocol in range(27, 33):
        old = protocol < 30
        for first, second, third in ((0, 0, 0), (32, 1, 0), (8, 3, 1), (0, 0x11, 0), (32, 0x18, 0)):
            if old and first & 32:
                continue
            made = context(
                role=lib.PS_ROLE_SENDER, am_root=1, protocol=protocol, recurse=1, links=1, perms=1, times=1,
                devices=1, specials=1, owner=int(not first & 8), group=int(not first & 8), inc_recurse=first >> 5 & 1,
                varint_flist_flags=int(protocol > 30), hard_links=second & 1, checksum=second >> 1 & 1,
                numeric_ids=second >> 3 & 1, id0_names=int(not old) & second >> 4,
                file_sum=lib.PS_SUM_MD4_SEEDED if old else lib.PS_SUM_MD5 if third & 1 else lib.PS_SUM_XXH128,
            )  # fmt: skip
            lists = FileLists(made)
            lister = Lister(lists, Root.open(made, bytes(root)))
            lister.argument(b".")
            tap = Tap(lister)
            data = tap.first()
            head = bytes([128 | protocol - 27 if old else protocol - 30, first, second, third, 0])
            write("flist", f"{protocol}-{first}-{second}-{third}", head + data)
    write("flist", "by-bytes", head[:4] + b"\1" + data)


# ---- rules ------------------------------------------------------------------------------------


def make_rules() -> None:
    names = b"\na\nb.o\nd/e/f\nd/e.bak\nsome/long/path/to/core\n.git\n"
    rows = [(0, b"*.o"), (1, b"/d/**"), (2, b"core"), (8, b"[!a-c]?"), (4, b"/base/of/d"), (0x20, b"**/f")]
    rows.append((0x40, b"[[:alpha:]]*"))
    rules = b"".join(flags.to_bytes(3, "little") + text + b"\n" for flags, text in rows)
    for kind in (0, 1, 4):
        write("rules", f"rules-{kind}", bytes([kind]) + rules + names)
    patterns = b"a*b?[c-e]\nabxxb1d", b"**/x/*.[ch]\na/b/x/y.c", b"[[:digit:]\\]]*[^z]\n5]abc", b"*a*b*c*d\nabcabcabcd"
    for number, text in enumerate(patterns):
        write("rules", f"pattern-{number}", b"\3" + text)


# ---- sessions at a receiver -------------------------------------------------------------------


def pull_tree(root: pathlib.Path) -> None:
    put(root / "a", pattern(3000))
    put(root / "d" / "changed", pattern(21000))
    put(root / "d" / "deep" / "new", pattern(1200, 3))
    for number in range(4):
        put(root / f"small{number}", b"s" * number)
    (root / "link").symlink_to("a")


def old_copy(root: pathlib.Path) -> None:
    """fuzz_pull.c: renew."""
    put(root / "a", pattern(3000, 1))
    put(root / "d" / "changed", pattern(20000))
    put(root / "gone" / "file", pattern(10))


def make_pull(folder: pathlib.Path) -> None:
    pull_tree(folder / "tree")
    for inc in (False, True):
        for swarm in (False, True):
            destination = folder / f"dest{inc}{swarm}"
            old_copy(destination)
            origin = Origin(folder / "tree", folder / f"index{inc}{swarm}", incremental=inc, warm=True)
            pair = Pair(origin, destination, incremental=inc)
            if not swarm:
                pair.context.options.swarm = origin.context.options.swarm = 0
            pair.mirrors.append(Mirror(folder / "tree", folder / f"mirror{inc}{swarm}", pair.memory))
            said = bytearray()
            turn = origin.turn

            def note(data: bytes, turn=turn, said=said) -> bytes:  # type: ignore[no-untyped-def]
                out = turn(data)
                said.extend(out)
                return out

            origin.turn = note  # type: ignore[method-assign]
            pair.run()
            for step in (0, 200):
                write("pull", f"{'inc' if inc else 'whole'}{'-swarm' if swarm else ''}-{step}",
                      bytes([inc | swarm << 1, 0, step, 0, 0]) + said)  # fmt: skip
            for first, second in ((1 << 2 | inc, 8), (3 << 2 | 32 | 64 | inc, 16 | 32), (0x80 | inc, 16)):
                if not swarm:
                    write("pull", f"{'inc' if inc else 'whole'}-{first}-{second}", bytes([first, second, 0, 0, 0]) + said)


def old_session(folder: pathlib.Path, protocol: int) -> tuple[bytes, bytes]:
    """What a server that sends and a client that receives say to each other in an older protocol."""
    shared = {"protocol": protocol, "recurse": 1, "links": 1, "perms": 1, "times": 1, "specials": 1, "safe_flist": 0,
              "xfer_sum": lib.PS_SUM_MD4_SEEDED, "file_sum": lib.PS_SUM_MD4_SEEDED, "whole_file": -1}  # fmt: skip
    serving = context(role=lib.PS_ROLE_SENDER, am_server=1, **shared)
    lists, tree = FileLists(serving), Root.open(serving, bytes(folder / "tree"))
    lister = Lister(lists, tree)
    lister.argument(b".")
    send = Send(serving, lists, lister, tree)
    receiving = Receiving(context(role=lib.PS_ROLE_RECEIVER, max_delete=-1, **shared), bytes(folder / f"old{protocol}"))
    said, asked = bytearray(), bytearray()
    for _ in range(200):
        while send.step() in (Status.OK, Status.FULL):
            pass
        part = bytes(send.out())
        send.sent(len(part))
        said += part
        receiving.buffer[: len(part)] = part
        if part:
            receiving.feed(len(part))
        while (status := receiving.step()) in (Status.OK, Status.FULL):
            pass
        out = bytes(receiving.output())
        receiving.sent(len(out))
        asked += out
        if out:
            send.feed(out)
        if status is Status.DONE:
            return bytes(said), bytes(asked)
    raise AssertionError("the session does not end")


def make_old(folder: pathlib.Path) -> None:
    for number, protocol in enumerate((27, 28, 29)):
        old_copy(folder / f"old{protocol}")
        said, asked = old_session(folder, protocol)
        for step in (0, 200):
            write("pull", f"old-{protocol}-{step}", bytes([0, 0, step, number + 1, 0]) + said)
            write("send", f"old-{protocol}-{step}", bytes([number + 1 << 4, 0, 0, step]) + asked)


def note_in(said: bytearray) -> Callable[[bytes], bytes]:
    def note(data: bytes) -> bytes:
        said.extend(data)
        return data

    return note


def make_push(folder: pathlib.Path) -> None:
    """What each end of a push says: the client's sender at a server (fuzz_pull.c), the server's receiver at it (fuzz_send.c)."""
    pull_tree(folder / "tree")
    requested = folder / "requested"  # fuzz_send.c: tree
    for number, name in enumerate(("a", "b", "d/c", "d/e/g", "d/f/h")):
        put(requested / name, pattern(number * 9000))
    for inc in (False, True):
        for protocol in (30, 32):

            def setup(context: Context, protocol: int = protocol) -> None:
                context.options.xfer_sum = context.options.file_sum = lib.PS_SUM_XXH128
                context.options.owner = context.options.group = context.options.devices = 0
                context.options.delete_mode = lib.PS_DELETE_DURING

            old_copy(folder / f"old{inc}{protocol}")
            ends = BothEnds(folder / "tree", folder / f"old{inc}{protocol}", setup, incremental=inc, protocol=protocol)
            if protocol == 30:
                for context in (ends.sending, ends.receiving):
                    context.options.varint_flist_flags = context.options.id0_names = 0
            said = bytearray()
            ends.change = note_in(said)
            ends.run()
            for who in (1, 2, 6):
                head = bytes([lib.PS_DELETE_DURING << 2 | inc, 0 if protocol == 32 else 2 << 6, 0, 0, who])
                write("pull", f"push-{inc}-{protocol}-{who}", head + said)

            def as_requested(context: Context) -> None:
                setup(context)
                context.options.xfer_sum = lib.PS_SUM_XXH3

            target = folder / f"has{inc}{protocol}"
            put(target / "d" / "e" / "g", pattern(26_000, 1))
            put(target / "gone", b"x")
            ends = BothEnds(requested, target, as_requested, incremental=inc, protocol=protocol)
            answered = bytearray()
            ends.change_answer = note_in(answered)
            ends.run()
            write("send", f"push-{inc}-{protocol}", bytes([8 | inc << 2 | protocol - 30, 0, 0, 0]) + answered)


# ---- the extension ----------------------------------------------------------------------------


def make_peer(folder: pathlib.Path) -> None:
    root = folder / "peer"
    put(root / "a", pattern(3000))
    put(root / "b", pattern(300_000))
    put(root / "empty", b"")

    def wanted(name: str, offset: int, length: int) -> bytes:
        return bytes([len(name)]) + name.encode() + b"\1" + digest_file(root / name).root + struct.pack("<QQ", offset, length)

    entries = [wanted("a", 0, 3000), wanted("b", 100_000, 2000), wanted("b", 0, 300_000)]
    entries.append(b"\2no\1" + bytes(32) + struct.pack("<QQ", 0, 5))
    fetch = frame(117, b"\5" + struct.pack("<IH", 1, len(entries)) + b"".join(entries))
    controls = b"".join(frame(117, encode_frame(f)) for f in (Hello(), Lease(LeaseStep.RENEW, "rsync:///m", 5, bytes(16))))
    data = controls + fetch + frame(117, b"\5" + struct.pack("<IH", 2, 1) + entries[1]) + frame(117, encode_frame(Bye()))
    for kind, step in ((0, 0), (0, 9), (2, 0)):
        write("peer", f"fetch-{kind}-{step}", bytes([kind, step]) + data)
    asked = struct.pack("<IHIHB", 1, 1, 0, 3, 7), struct.pack("<IHIHIHB", 2, 2, 0, 1, 2, 1, 0)
    write("peer", "digests", b"\1\0" + b"".join(bytes([len(body)]) + body for body in asked))


def make_fetch(folder: pathlib.Path) -> None:
    def data(entry: int, offset: int, size: int) -> bytes:
        return frame(117, b"\6" + struct.pack("<IHQ", 1, entry, offset) + bytes(size))

    hello = frame(117, encode_frame(Hello()))
    missing = frame(117, b"\7" + struct.pack("<IHB", 1, 0, 2))
    skipped = frame(117, b"\6" + struct.pack("<IHQ", 2, 0, 0) + b"ten bytes.")
    parts = b"".join(data(1, 5000 + at, 20000) for at in range(0, 60000, 20000))
    write("fetch", "peer", b"\0\0" + hello + data(0, 0, 10) + parts + skipped)
    busy = frame(117, b"\x08" + struct.pack("<IH", 1, 5))
    write("fetch", "peer-missing", b"\0\5" + hello + missing + data(1, 5000, 100) + busy)
    for append in (False, True):
        said = rsyncd_session(folder / "peer", append)
        for step in (0, 250):
            write("fetch", f"rsyncd-{'range' if append else 'files'}-{step}", bytes([2 if append else 1, step]) + said)


def rsyncd_session(root: pathlib.Path, append: bool) -> bytes:
    """What a sender says to the requests of fuzz_fetch.c."""
    common = {"protocol": 32, "proper_seed_order": 1, "times": 1, "varint_flist_flags": 1, "id0_names": 1, "append": int(append),
              "relative": int(not append), "xfer_sum": lib.PS_SUM_XXH128, "file_sum": lib.PS_SUM_XXH128}  # fmt: skip
    serving = context(role=lib.PS_ROLE_SENDER, am_server=1, **common)
    lists = FileLists(serving)
    tree = Root.open(serving, bytes(root))
    lister = Lister(lists, tree)
    if append:
        lister.argument(b"b")
    else:
        lister.argument(b".")
        lister.names([b"a", b"b"])
    send = Send(serving, lists, lister, tree)

    def entry(name: bytes, size: int, offset: int, length: int) -> bytes:
        numbers = struct.pack("<QQ32sQQ", size, 1000, b"", offset, length)
        return struct.pack("<H", len(name)) + name + numbers

    entries = entry(b"b", 300_000, 140_000, 20_000) if append else entry(b"a", 3000, 0, 3000) + entry(b"b", 300_000, 0, 300_000)
    memory = Memory(bytearray(1 << 20), 1 << 16)
    fetch = RsyncdFetch(context(role=lib.PS_ROLE_RECEIVER, **common), memory, 1, 1 if append else 2, entries, append)
    said, turns = bytearray(), 0
    while turns < 200:
        turns += 1
        while (status := send.step()) in (Status.OK, Status.FULL):
            if status is Status.FULL or len(send.out()) > 1 << 15:
                break
        part = bytes(send.out())
        send.sent(len(part))
        said += part
        if part:
            fetch.feed(part)
            while (status := fetch.step()) not in (Status.AGAIN, Status.DONE):
                memory.consumed(len(memory.take_records()) // 32)
            memory.consumed(len(memory.take_records()) // 32)
            if status is Status.DONE:
                return bytes(said)
        if out := fetch.output():
            fetch.sent(len(out))
            send.feed(out)
        # What follows the multiplexed stream's end of the session is of no interest.
    raise AssertionError("the session does not end")


def make_index(folder: pathlib.Path) -> None:
    root = folder / "peer"
    path = folder / "records"
    with DigestIndex(path, writer=True) as index:
        tree = Root.open(Context(), bytes(root))
        index.hash_files(tree.fileno(), [b"a", b"b", b"empty"], block_sums=True)
    raw = (path / "data.mdb").read_bytes() if path.is_dir() else path.read_bytes()
    for name in (b"a", b"b", b"empty"):
        digest = digest_file(root / name.decode()).root
        at = raw.index(digest) - 56
        blocks = struct.unpack_from("<II", raw, at + 88)
        size = 96 + len(name) + blocks[0] * 32 + blocks[1] * 12
        write("index", name.decode(), raw[at : at + size])


def make_sums() -> None:
    new = pattern(2000)
    kinds = (lib.PS_SUM_XXH128, 8), (lib.PS_SUM_MD5, 2), (lib.PS_SUM_XXH3, 8), (lib.PS_SUM_MD4, 16)
    for kind, (number, strong) in enumerate(kinds):
        old = new[:700] + b"inserted" + new[700:1900]
        length, sums = 100, bytearray()
        out, size = ffi.new("uint8_t[64]"), ffi.new("size_t *")
        count = -(-len(old) // length)
        for at in range(0, len(old), length):
            block = old[at : at + length]
            lib.ps_block_sum(number, 7, True, block, len(block), out, size)
            sums += struct.pack("<I", lib.ps_weak_sum(block, len(block))) + bytes(out)[:strong]
        for flags in (8, 8 | 16, 8 | 32 * 3):
            head = struct.pack("<BBHHBB", kind | flags, strong - 1, length - 1, len(old) % length, count, len(new) // 100)
            write("sums", f"{kind}-{flags}", head + sums + new)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_wire()
        make_flist(folder)
        make_rules()
        make_pull(folder)
        make_old(folder)
        make_push(folder / "push")
        make_peer(folder)
        make_fetch(folder)
        make_index(folder)
        make_sums()


if __name__ == "__main__":
    main()
