"""The sending pump, spoken to as a generator would: replies, tokens, checksums, messages, phases, and what it refuses."""

from __future__ import annotations

import hashlib
import os
import pathlib
import random
import struct
from typing import NamedTuple

import pytest

from prsync.engine.context import Context, Status
from prsync.engine.flist import FileLists, Lister, Root
from prsync.engine.native import lib
from prsync.engine.sending import Send
from prsync.errors import EngineError, ExitCode

TRANSFER = 0x8000
BASIS_FOLLOWS = 0x0800
XNAME_FOLLOWS = 0x1000
NO_SUMS = (0, 0, 0, 0)
NDX_DONE = b"\0"


def frame(data: bytes, code: int = 0) -> bytes:
    return struct.pack("<I", (7 + code) << 24 | len(data)) + data


def request(step: int, flags: int = TRANSFER, head: tuple[int, ...] = NO_SUMS, extra: bytes = b"") -> bytes:
    """A request for the entry `step` after the last one that was asked for (the first: entry number step - 1)."""
    index = bytes([step]) if step else b"\xfe\0\0"
    return index + struct.pack("<H", flags) + extra + (struct.pack("<4i", *head) if flags & TRANSFER else b"")


def weak_sum(block: bytes) -> int:
    s1 = s2 = 0
    for byte in block:
        s1 += byte - 256 if byte > 127 else byte
        s2 += s1
    return s1 & 0xFFFF | (s2 & 0xFFFF) << 16


class Reply(NamedTuple):
    flags: int
    extra: bytes
    head: tuple[int, ...]
    tokens: list[int | bytes]
    checksum: bytes


class Session:
    """A Send over some files of a directory, its output demultiplexed; the file list itself is skipped."""

    def __init__(self, directory: pathlib.Path, names: list[str], **options: int) -> None:
        self.context = Context()
        fields = {
            "role": lib.PS_ROLE_SENDER,
            "am_server": 1,
            "protocol": 32,
            "xfer_sum": lib.PS_SUM_MD5,
            "compress_level": -(2**31),
            "proper_seed_order": 1,
            "max_size": -1,
            "min_size": -1,
            "times": 1,
        }
        for name, value in {**fields, **options}.items():
            setattr(self.context.options, name, value)
        lists = FileLists(self.context)
        root = Root.open(self.context, os.fsencode(directory))
        lister = Lister(lists, root)
        for name in names:
            lister.argument(os.fsencode(name))
        self.send = Send(self.context, lists, lister, root)
        self.data = b""
        self.messages: list[tuple[int, bytes]] = []
        self.log: list[tuple[int, bytes]] = []
        self._raw = b""
        assert self._run() is Status.AGAIN
        self.data = b""  # the list
        self.log = []

    def _run(self) -> Status:
        while True:
            try:
                status = self.send.step()
            finally:
                out = self.send.out()
                self._raw += bytes(out)
                self.send.sent(len(out))
                self.log += self.context.drain_log()
                self._demultiplex()
            if status in (Status.AGAIN, Status.DONE):
                return status

    def _demultiplex(self) -> None:
        at = 0
        while at < len(self._raw):
            word = struct.unpack_from("<I", self._raw, at)[0]
            payload = self._raw[at + 4 : at + 4 + (word & 0xFFFFFF)]
            assert len(payload) == word & 0xFFFFFF, "a step ends with whole frames"
            at += 4 + len(payload)
            if word >> 24 == 7:
                self.data += payload
            else:
                self.messages.append(((word >> 24) - 7, payload))
        self._raw = b""

    def ask(self, raw: bytes, split: int = 0) -> Status:
        status = Status.AGAIN
        step = split or len(raw)
        for at in range(0, len(raw), step):
            self.send.feed(raw[at : at + step])
            status = self._run()
        return status

    def take(self, count: int) -> bytes:
        taken, self.data = self.data[:count], self.data[count:]
        assert len(taken) == count
        return taken

    def reply(self, extra: int = 0, checksum: int = 16) -> Reply:
        """Takes one reply with a plain token stream off the data."""
        if self.take(1) == b"\xfe":
            self.take(2)
        flags = struct.unpack("<H", self.take(2))[0]
        more = self.take(extra)
        if not flags & TRANSFER:
            return Reply(flags, more, (), [], b"")
        head = struct.unpack("<4i", self.take(16))
        tokens: list[int | bytes] = []
        while token := struct.unpack("<i", self.take(4))[0]:
            tokens.append(self.take(token) if token > 0 else -(token + 1))
        return Reply(flags, more, head, tokens, self.take(checksum))


def literals(reply: Reply) -> bytes:
    return b"".join(t for t in reply.tokens if isinstance(t, bytes))


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "a").write_bytes(b"hello world")
    (tmp_path / "b").write_bytes(random.Random(1).randbytes(1_500_000))
    (tmp_path / "c").write_bytes(b"")
    (tmp_path / "d").symlink_to("a")
    return tmp_path


NAMES = ["a", "b", "c"]


@pytest.mark.parametrize("split", [0, 1, 3, 1000])
def test_send_whole_files_come_with_their_checksums(tree: pathlib.Path, split: int) -> None:
    session = Session(tree, NAMES)
    status = session.ask(frame(request(1)) + frame(request(1) + request(1) + NDX_DONE), split)
    assert status is Status.AGAIN
    for name in NAMES:
        reply = session.reply()
        data = (tree / name).read_bytes()
        assert literals(reply) == data
        assert reply.checksum == hashlib.md5(data).digest()
        assert max([len(t) for t in reply.tokens if isinstance(t, bytes)], default=0) <= 32768
    assert session.data == NDX_DONE
    assert session.context.stats.xferred_files == 3
    assert session.context.stats.literal_data == session.context.stats.total_transferred_size == 1_500_011


@pytest.mark.parametrize("protocol", [30, 31, 32])
def test_send_phases_and_goodbye_end_the_session(tree: pathlib.Path, protocol: int) -> None:
    session = Session(tree, NAMES, protocol=protocol)
    for phase in (1, 2):
        assert session.ask(frame(NDX_DONE)) is Status.AGAIN
        assert session.take(1) == NDX_DONE and not session.data
        assert session.send.phase == phase
    assert session.ask(frame(NDX_DONE)) is Status.AGAIN
    assert session.take(1) == NDX_DONE
    assert len(session.data) == 5 * 3  # statistics, each a varlong of three bytes
    assert session.data[6:9] == b"\x16" + struct.pack("<I", 1_500_011)[:2]
    session.data = b""
    if protocol >= 31:
        assert session.ask(frame(NDX_DONE)) is Status.AGAIN
        assert session.take(1) == NDX_DONE
    assert session.ask(frame(NDX_DONE)) is Status.DONE
    assert not session.data and not session.messages


def test_send_deletion_counts_are_sent_back(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES)
    session.ask(frame(b"\xff\x02" + bytes([9, 1, 2, 3, 4]) + NDX_DONE))
    assert session.data == b"\xff\x02" + bytes([9, 1, 2, 3, 4]) + NDX_DONE
    stats = session.context.stats
    assert (stats.deleted_files, stats.deleted_dirs, stats.deleted_specials) == (19, 1, 4)


def test_send_items_without_transfer_are_echoed(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES)
    session.ask(frame(request(1, 0x2008) + request(0, 0x1000, extra=b"\x03xyz") + request(1, 0x0808, extra=b"\x82")))
    assert session.data == b"\x01\x08\x20" + b"\xfe\0\0\x00\x10\x03xyz" + b"\x01\x08\x08\x82"
    assert session.context.stats.created_files == 1


def test_send_dry_run_echoes_requests_without_sums(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES, dry_run=1)
    asked = b"\x01\x00\xa0" + b"\x01\x00\x80"
    session.ask(frame(asked))
    assert session.data == asked
    assert session.context.stats.xferred_files == 2


def sums_of(basis: bytes, length: int, strong: int, seed: int = 0) -> tuple[tuple[int, ...], bytes]:
    blocks = [basis[at : at + length] for at in range(0, len(basis), length)]
    lead = struct.pack("<i", seed) if seed else b""
    sums = b"".join(struct.pack("<I", weak_sum(b)) + hashlib.md5(lead + b).digest()[:strong] for b in blocks)
    return (len(blocks), length, strong, len(basis) % length), sums


@pytest.mark.parametrize("split", [0, 4097])
@pytest.mark.parametrize("seed", [0, 77])
def test_send_delta_rebuilds_the_file_from_the_basis(tree: pathlib.Path, split: int, seed: int) -> None:
    new = (tree / "b").read_bytes()[:300_000]
    (tree / "b").write_bytes(new)
    basis = new[:100_000] + b"changed" + new[101_000:200_000] + new[150_000:]
    head, sums = sums_of(basis, 700, 8, seed)
    session = Session(tree, NAMES, checksum_seed=seed)
    session.ask(frame(request(2, head=head) + sums + NDX_DONE), split)
    reply = session.reply()
    assert reply.head == head
    rebuilt = b"".join(t if isinstance(t, bytes) else basis[t * 700 : t * 700 + 700] for t in reply.tokens)
    assert rebuilt == new
    assert reply.checksum == hashlib.md5(new).digest()
    assert len(literals(reply)) < 6000
    stats = session.context.stats
    assert (stats.literal_data, stats.matched_data) == (len(literals(reply)), len(new) - len(literals(reply)))


@pytest.mark.parametrize("kind", [lib.PS_Z_ZLIB, lib.PS_Z_ZLIBX, lib.PS_Z_LZ4, lib.PS_Z_ZSTD])
def test_send_compressed_data_is_smaller(tree: pathlib.Path, kind: int) -> None:
    (tree / "b").write_bytes(b"0123456789abcdef" * 50_000)
    session = Session(tree, NAMES, compress=kind)
    session.ask(frame(request(2) + NDX_DONE))
    assert len(session.data) < 30_000
    assert session.data[-17:] == hashlib.md5((tree / "b").read_bytes()).digest() + NDX_DONE


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize("have", [0, 1, 131_072, 1_000_000, 1_500_000, 9_000_000])
def test_send_append_sends_what_lies_behind_the_claim(tree: pathlib.Path, mode: int, have: int) -> None:
    data = (tree / "b").read_bytes()
    session = Session(tree, NAMES, append=mode)
    head = (-(-have // 131_072), 131_072, 0, have % 131_072)
    session.ask(frame(request(2, head=head)))
    reply = session.reply()
    assert reply.head == head
    assert literals(reply) == data[have:]
    assert reply.checksum == hashlib.md5(data if mode == 2 else data[have:]).digest()


@pytest.mark.parametrize("mode", [1, 2])
def test_send_append_claim_of_no_blocks_but_a_remainder_is_nothing(tree: pathlib.Path, mode: int) -> None:
    session = Session(tree, NAMES, append=mode)
    session.ask(frame(request(1, head=(0, 131_072, 0, 50))))
    assert literals(session.reply()) == b"hello world"


def test_send_append_redo_is_a_full_request(tree: pathlib.Path) -> None:
    data = (tree / "b").read_bytes()
    session = Session(tree, NAMES, append=1)
    session.ask(frame(request(2, head=(12, 131_072, 0, 0))))
    session.reply()
    head, sums = sums_of(data[:7000], 700, 16)
    session.ask(frame(request(0, head=head) + sums))
    reply = session.reply()
    assert reply.tokens[:10] == list(range(10))
    assert reply.checksum == hashlib.md5(data).digest()


@pytest.mark.parametrize("option", ["inplace", "append", ""])
def test_send_in_place_never_refers_to_what_is_overwritten(tree: pathlib.Path, option: str) -> None:
    one, two = (random.Random(seed).randbytes(7000) for seed in (1, 2))
    (tree / "a").write_bytes(two + one)
    session = Session(tree, NAMES, **({option: 1} if option else {}))
    head, sums = sums_of(one + two, 700, 16)
    if option == "append":  # its second request, after the first went wrong
        session.ask(frame(request(1)))
        session.reply()
    session.ask(frame(request(0 if option == "append" else 1, head=head) + sums))
    reply = session.reply()
    assert reply.tokens[:10] == list(range(10, 20))
    assert reply.tokens[10:] == ([one] if option else list(range(10)))


def test_send_append_skips_a_file_that_became_shorter(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES, append=1)
    os.truncate(tree / "b", 5)
    session.ask(frame(request(2, head=(1, 131_072, 0, 0))))
    assert session.messages == [(102, struct.pack("<i", 1))]
    assert session.log == [(lib.PS_LOG_WARNING, b'skipped diminished file: "b"\n')]


def test_send_vanished_file_is_not_sent(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES)
    (tree / "a").unlink()
    session.ask(frame(request(1) + NDX_DONE + NDX_DONE + NDX_DONE))
    assert session.messages == [(102, struct.pack("<i", 0)), (22, struct.pack("<i", lib.PS_IOERR_VANISHED))]
    assert session.log == [(lib.PS_LOG_WARNING, b'file has vanished: "a"\n')]
    assert session.context.io_error == lib.PS_IOERR_VANISHED


def test_send_file_replaced_by_a_link_or_fifo_is_not_followed(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES)
    for name in ("a", "c"):
        (tree / name).unlink()
    (tree / "a").symlink_to("/etc/passwd")
    os.mkfifo(tree / "c")
    session.ask(frame(request(1) + request(2)))
    assert [code for code, _ in session.messages] == [102, 102]
    assert session.log[0][1].startswith(b'rsync: [sender] send_files failed to open "a": Too many levels of symbolic links')
    assert session.context.io_error == lib.PS_IOERR_GENERAL and not session.data


def test_send_file_that_shrinks_gets_a_wrong_checksum(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES)
    session.send.feed(frame(request(2)))
    assert session.send.step() is Status.FULL
    os.truncate(tree / "b", 600_000)
    session._run()
    reply = session.reply()
    assert reply.checksum == bytes(16)
    assert session.log == [(lib.PS_LOG_ERROR_XFER, b'rsync: [sender] read errors mapping "b": No data available (61)\n')]
    assert session.context.got_transfer_error


@pytest.mark.parametrize(
    "raw, code, text",
    [
        (frame(request(9)), 2, "File-list index 8 not in"),
        (frame(b"\xff\x05"), 2, "Invalid file index: -6 (-1 - 3)"),
        (frame(request(4)), 2, "received request to transfer non-regular file: 3"),
        (frame(request(1, head=(-1, 700, 16, 0))), 2, "Invalid checksum count -1"),
        (frame(request(1, head=(2**30, 700, 16, 0))), 2, "Invalid checksum count"),
        (frame(request(1, head=(1, 131_073, 16, 0))), 2, "Invalid block length 131073"),
        (frame(request(1, head=(1, 0, 16, 0))), 2, "Invalid zero block length"),
        (frame(request(1, head=(1, 700, 17, 0))), 2, "Invalid checksum length 17"),
        (frame(request(1, head=(1, 700, 0, 0))), 2, "Invalid checksum length 0"),
        (frame(request(1, head=(1, 700, 16, 701))), 2, "Invalid remainder length 701"),
        (frame(request(1, XNAME_FOLLOWS, extra=b"\x90\x00")), 2, "over-long vstring"),
        (frame(NDX_DONE * 2 + request(1)), 2, "got transfer request in phase 2"),
        (frame(NDX_DONE * 3 + request(1, 0)), 2, "Invalid packet at end of run (0)"),
        (frame(b"\xff\x02\xff\xff\xff\xff\xff\xff"), 12, "malformed request"),
        (frame(b"", 9), 12, "invalid multi-message 9:0"),
        (frame(b"abc", 22), 12, "invalid multi-message 22:3"),
        (frame(b"x", 117), 12, "unexpected tag 117"),
        (frame(b"x", 55), 12, "unexpected tag 55"),
        (b"\0\0\0\0", 12, "unexpected tag -7"),
        (frame(struct.pack("<i", 23), 86), 23, "the remote ended the session (code 23)"),
    ],
)
@pytest.mark.parametrize("split", [0, 1])
def test_send_bad_input_is_refused_with_its_reason(tree: pathlib.Path, raw: bytes, code: int, text: str, split: int) -> None:
    session = Session(tree, [*NAMES, "d"], links=1)
    with pytest.raises(EngineError, match="^" + text.replace("(", r"\(").replace(")", r"\)")) as caught:
        session.ask(raw, split)
    assert caught.value.code == code
    assert session.send.remote_exit == (23 if code == 23 else None)
    with pytest.raises(EngineError):
        session.send.step()


def test_send_frames_of_the_extension_are_handed_out(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES, swarm=1)
    session.send.feed(frame(b"one", 117) + frame(b"", 117) + frame(NDX_DONE))
    assert session.send.step() is Status.FULL
    assert list(session.send.frames()) == [b"one", b""]
    assert session._run() is Status.AGAIN
    assert session.data == NDX_DONE


def test_send_messages_stand_between_frames(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES)
    session.send.feed(frame(request(2)))
    assert session.send.step() is Status.FULL
    session.send.message(lib.PS_LOG_INFO, b"half way\n")
    session.send.message(0)
    session._run()
    assert literals(session.reply()) == (tree / "b").read_bytes()
    assert session.messages == [(lib.PS_LOG_INFO, b"half way\n")]


def test_send_output_is_bounded(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES)
    session.send.feed(frame(request(2)))
    assert session.send.step() is Status.FULL
    assert len(session.send.out()) < 600_000
    assert session.send.step() is Status.FULL
    assert len(session.send.out()) < 600_000


def test_send_cancelled_ends_at_once(tree: pathlib.Path) -> None:
    session = Session(tree, NAMES)
    session.context.cancel()
    session.send.feed(frame(request(2)))
    with pytest.raises(EngineError) as caught:
        session.send.step()
    assert caught.value.code == ExitCode.SIGNAL


def test_send_mutated_requests_end_or_are_refused(tree: pathlib.Path) -> None:
    """Whatever a client asks for: an error with rsync's codes, or a reply; the lists of a large tree among it."""
    for number in range(40):
        (tree / "dirs" / f"d{number}" / "sub").mkdir(parents=True)
        (tree / "dirs" / f"d{number}" / "sub" / "f").write_bytes(b"x" * number)
    data = (tree / "b").read_bytes()[:20_000]
    (tree / "b").write_bytes(data)
    head, sums = sums_of(data[:10_000], 700, 8)
    # The first list: "." is 1, a 2, b 3, c 4, d 5, the directory 6; then the lists of the directories below it.
    valid = [
        (0, request(3) + request(1, head=head) + sums),
        (lib.PS_LOG_INFO, b"noise\n"),
        (0, request(1, 0x3808, extra=b"\x82\x03abc") + request(3, 8) + request(2, 8)),
        (0, b"\xff\x02" + bytes([9, 1, 2, 3, 4]) + NDX_DONE * 20),
        (22, bytes(4)),
        (0, NDX_DONE * 66),
    ]
    rng = random.Random(8)

    def mutate(data: bytes) -> bytes:
        raw = bytearray(data)
        at = rng.randrange(len(raw))
        if rng.random() < 0.7:
            raw[at] = rng.choice([rng.randrange(256), 0, 0xFF, 0xFE])
        else:
            raw[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
        return bytes(raw)

    codes = set()
    for _ in range(400):
        victim = rng.randrange(len(valid) + 2)  # one part, the whole with its envelope, or nothing
        raw = b"".join(frame(mutate(data) if n == victim else data, code) for n, (code, data) in enumerate(valid))
        if victim == len(valid):
            raw = mutate(raw)
        session = Session(tree, ["."], recurse=1, inc_recurse=1, links=1, append=rng.choice([0, 0, 1, 2]))
        try:
            session.ask(bytes(raw), rng.choice([0, 0, 13, 400]))
            codes.add(0)
        except RuntimeError:
            pass  # the session had ended before all of it was fed
        except EngineError as error:
            codes.add(error.code)
        assert len(session.data) < 10_000_000
    assert codes >= {0, 2, 12}
