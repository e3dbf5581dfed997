"""Token streams: what one direction writes, the other reads, in every kind, split anywhere; bad input is refused."""

from __future__ import annotations

import random
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prsync.engine.context import Context
from prsync.engine.native import ffi, lib
from prsync.errors import EngineError

KINDS = {"plain": lib.PS_Z_NONE, "zlib": lib.PS_Z_ZLIB, "zlibx": lib.PS_Z_ZLIBX, "lz4": lib.PS_Z_LZ4, "zstd": lib.PS_Z_ZSTD}
DEFAULT_LEVEL = -(2**31)
BLOCK = 700

# One file: literal bytes, or (block number, data of the block).
Step = bytes | tuple[int, bytes]


class Probe:
    """A token stream in both directions; zlib's `see` is done as a receiver would."""

    def __init__(self, kind: int, protocol: int = 32, level: int = DEFAULT_LEVEL) -> None:
        self.context = Context()
        self.context.options.compress = kind
        self.context.options.compress_level = level
        self.context.options.protocol = protocol
        self.handle: Any = ffi.gc(lib.ps_token_probe_new(self.context.handle), lib.ps_token_probe_free)
        self.kind = kind

    def encode(self, steps: list[Step], compress: bool = True) -> bytes:
        check = self.context.check
        check(lib.ps_token_probe_begin(self.handle, compress))
        for step in steps:
            if isinstance(step, bytes):
                check(lib.ps_token_probe_literal(self.handle, step, len(step)))
            else:
                check(lib.ps_token_probe_block(self.handle, step[0], step[1], len(step[1])))
        check(lib.ps_token_probe_end(self.handle))
        size = ffi.new("size_t *")
        data = bytes(ffi.buffer(lib.ps_token_probe_encoded(self.handle, size), size[0]))
        lib.ps_token_probe_clear(self.handle)
        return data

    def decode(self, stream: bytes, blocks: dict[int, bytes], split: int = 0) -> tuple[list[Step], int]:
        """The steps of one file, literal runs joined, and how much of the stream was left over."""
        lib.ps_token_probe_begin_in(self.handle)
        found: list[Step] = []
        data, size, block = ffi.new("uint8_t **"), ffi.new("size_t *"), ffi.new("int32_t *")
        step = split or len(stream) or 1
        for at in range(0, len(stream), step):
            part = ffi.new("uint8_t[]", stream[at : at + step])
            lib.ps_token_probe_feed(self.handle, part, len(stream[at : at + step]))
            while True:
                kind = lib.ps_token_probe_next(self.handle, data, size, block)
                if kind == lib.PS_TOKEN_MORE:
                    break
                if kind == lib.PS_TOKEN_END:
                    left = lib.ps_token_probe_left(self.handle)
                    return found, len(stream) - at - len(part) + 1 + left
                if kind == lib.PS_TOKEN_BAD:
                    self.context.check(lib.PS_FAIL)
                if kind == lib.PS_TOKEN_BLOCK:
                    found.append((block[0], blocks.get(block[0], b"")))
                    if self.kind == lib.PS_Z_ZLIB:
                        lib.ps_token_probe_see(self.handle, found[-1][1], len(found[-1][1]))
                else:
                    run = bytes(ffi.buffer(data[0], size[0]))
                    if found and isinstance(found[-1], bytes):
                        found[-1] += run
                    else:
                        found.append(run)
        raise EOFError


def joined(steps: list[Step]) -> list[Step]:
    out: list[Step] = []
    for step in steps:
        if isinstance(step, bytes) and out and isinstance(out[-1], bytes):
            out[-1] += step
        elif step != b"":
            out.append(step)
    return out


def text(seed: int, size: int) -> bytes:
    rng = random.Random(seed)
    words = [rng.randbytes(rng.randrange(2, 9)) for _ in range(300)]
    return b"".join(rng.choice(words) for _ in range(size // 5 + 1))[:size]


def blocks_of(seed: int, count: int, size: int = BLOCK) -> dict[int, bytes]:
    return {i: text(seed + i, size) for i in range(count)}


def sample_steps(seed: int, size: int = BLOCK) -> tuple[list[Step], dict[int, bytes]]:
    rng = random.Random(seed)
    blocks = blocks_of(seed, 90, size)
    steps: list[Step] = [text(seed, 100_000)]
    number = 0
    for _ in range(40):
        number = rng.choice([number, min(number + 1, 89), rng.randrange(90)])
        for _ in range(rng.randrange(1, 8)):
            steps.append((number % 90, blocks[number % 90]))
            number += 1
        if rng.random() < 0.6:  # literal data that is like a block seen before: the history pays
            steps.append(blocks[rng.randrange(90)][: rng.randrange(1, size)])
    steps.append(rng.randbytes(70_000))
    return steps, blocks


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("protocol", [30, 31, 32])
def test_token_two_files_in_one_session_come_back(kind: int, protocol: int) -> None:
    probe = Probe(kind, protocol)
    for seed in (1, 2):
        steps, blocks = sample_steps(seed, 131_072 if seed == 2 else BLOCK)
        stream = probe.encode(steps)
        found, left = probe.decode(stream + b"tail", blocks)
        assert found == joined(steps)
        assert left == 4


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("split", [1, 2, 3, 7, 4096, 16385])
def test_token_stream_split_anywhere_gives_the_same(kind: int, split: int) -> None:
    probe = Probe(kind)
    steps, blocks = sample_steps(3)
    steps = steps[:20] + [steps[-1][:2000]]  # type: ignore[list-item]
    stream = probe.encode(steps)
    assert probe.decode(stream, blocks, split) == (joined(steps), 0)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_token_any_steps_come_back(kind: int, data: st.DataObject) -> None:
    blocks = blocks_of(7, 200, 50)
    step = st.one_of(
        st.binary(max_size=300),
        st.sampled_from(sorted(blocks)).map(lambda i: (i, blocks[i])),
        st.integers(0, 190).flatmap(lambda i: st.just((i, blocks[i]))),
    )
    probe = Probe(kind, data.draw(st.sampled_from([30, 31])))
    for _ in range(3):
        steps = data.draw(st.lists(step, max_size=30))
        compress = data.draw(st.booleans())
        assert probe.decode(probe.encode(steps, compress), blocks, data.draw(st.integers(0, 5)))[0] == joined(steps)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_token_empty_file_is_one_end(kind: int) -> None:
    probe = Probe(kind)
    stream = probe.encode([])
    assert stream == (bytes(4) if kind == lib.PS_Z_NONE else b"\0")
    assert probe.decode(stream, {}) == ([], 0)


@pytest.mark.parametrize("kind", [k for k in KINDS.values() if k], ids=[n for n in KINDS if n != "plain"])
@pytest.mark.parametrize("first", [0, 63, 64, 100_000])
@pytest.mark.parametrize("count", [1, 2, 65_536, 65_537, 140_000])
def test_token_long_runs_come_back(kind: int, first: int, count: int) -> None:
    probe = Probe(kind)
    steps: list[Step] = [(first + i, b"") for i in range(count)]
    stream = probe.encode(steps)
    assert len(stream) < 30
    assert probe.decode(stream, {})[0] == steps


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_token_data_like_the_matched_blocks_uses_their_history(kind: int) -> None:
    block = random.Random(5).randbytes(5000)
    size = len(Probe(kind).encode([(0, block), block]))
    assert (size < 300) == (kind == lib.PS_Z_ZLIB)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_token_uncompressed_file_is_not_packed(kind: int) -> None:
    data = text(9, 50_000)
    probe = Probe(kind)
    packed, stored, again = (len(probe.encode([data], compress)) for compress in (True, False, True))
    if kind:
        assert packed < 40_000 < 49_000 < stored
        assert again < 40_000


def test_token_level_changes_the_size() -> None:
    data = text(11, 200_000)
    for kind, low, high in ((lib.PS_Z_ZLIBX, 1, 9), (lib.PS_Z_ZSTD, -50, 19)):
        sizes = [len(Probe(kind, level=level).encode([data])) for level in (low, high)]
        assert sizes[0] > sizes[1]
    assert Probe(lib.PS_Z_ZSTD, level=0).encode([data]) == Probe(lib.PS_Z_ZSTD, level=3).encode([data])
    assert Probe(lib.PS_Z_ZLIB).encode([data]) == Probe(lib.PS_Z_ZLIB, level=6).encode([data])


def test_token_deflated_data_is_plain_deflate_without_the_marker() -> None:
    data = text(12, 5000)
    stream = Probe(lib.PS_Z_ZLIBX).encode([data])
    length = (stream[0] & 0x3F) << 8 | stream[1]
    assert stream[0] & 0xC0 == 0x40 and stream[2 + length :] == b"\0"
    assert zlib.decompress(stream[2 : 2 + length] + b"\0\0\xff\xff\x03\0", -15) == data


@pytest.mark.parametrize(
    "stream, code",
    [
        (b"\x01\0\0\0\0", 2),  # no such flag
        (b"\x20\xff\xff\xff\xff", 2),  # a negative token
        (b"\x20\xff\xff\xff\x7f", 2),  # beyond the last token
        (b"\x21\xfd\xff\xff\x7f\x05\0", 2),  # a run beyond it
        (b"\x21\0\0\0\0\0\0", 2),  # a run of none
        (b"\x40\0", 12),  # an empty chunk
        (b"\x40\x05\xff\xff\xff\xff\xff", 12),  # not compressed data
    ],
)
@pytest.mark.parametrize("kind", [k for k in KINDS.values() if k], ids=[n for n in KINDS if n != "plain"])
def test_token_bad_stream_is_refused(kind: int, stream: bytes, code: int) -> None:
    probe = Probe(kind)
    with pytest.raises(EngineError) as caught:
        probe.decode(stream, {})
    assert caught.value.code == code


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_token_mutated_stream_ends_or_is_refused(kind: int) -> None:
    steps, blocks = sample_steps(21)
    good = Probe(kind).encode(steps[:30])
    rng = random.Random(4)
    for _ in range(150):
        bad = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        probe = Probe(kind)
        try:
            probe.decode(bytes(bad), blocks, rng.choice([0, 0, 911]))
        except EOFError:
            pass
        except EngineError as error:
            assert error.code in (2, 12)


@pytest.mark.parametrize(
    "patterns, name, skipped",
    [
        ("*.gz *.zip", "a/b.GZ", True),
        ("*.gz *.zip", "a.zip/b", False),
        ("*.gz *.zip", ".gz", False),
        ("*.gz", "gz", False),
        ("*.tar.gz", "x.tar.gz", True),
        ("*.mp[34]", "x.Mp4", True),
        ("core", "dir/core", True),
        ("*", "anything", True),
        ("", "x.gz", False),
    ],
)
def test_token_skips_by_pattern(patterns: str, name: str, skipped: bool) -> None:
    assert lib.ps_token_skips(patterns.encode(), name.encode()) is skipped
