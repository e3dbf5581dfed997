"""The head of a batch file: recorded ones, any values both ways and in any pieces, and heads that are none."""

from __future__ import annotations

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.errors import PrsyncError
from prsync.protocol.batch import BatchHead, HeadDecoder, StreamFlags, encode_flags, encode_session
from prsync.protocol.negotiation import Compat

FOLDER = pathlib.Path(__file__).parents[2] / "protocol-spec" / "vectors" / "classic"
VECTORS = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("batch-*.json"))]
SEEDS = st.integers(-(1 << 31), (1 << 31) - 1)


def decode(raw: bytes, step: int) -> tuple[BatchHead | None, bytes]:
    decoder, head = HeadDecoder(32), None
    for at in range(0, len(raw), step):
        decoder.feed(raw[at : at + step])
        head = head or decoder.head()
    return head, decoder.rest


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["scenario"])
@pytest.mark.parametrize("step", [1, 1000], ids=["bytewise", "whole"])
def test_vector_gives_its_result(vector: dict[str, object], step: int) -> None:
    raw = bytes.fromhex(str(vector["file"]))
    if "error" in vector:
        with pytest.raises(PrsyncError) as caught:
            decode(raw, step)
        assert int(caught.value.code) == vector["error"]
        return
    head, rest = decode(raw, step)
    assert head is not None
    assert {name: int(value) for name, value in head._asdict().items()} == vector["result"]
    assert rest.hex() == vector["rest"]


@given(st.integers(0, 0x7FFF), st.integers(27, 32), st.integers(0, 0x1FF), SEEDS, st.binary(max_size=9), st.integers(1, 30))
def test_head_any_values_come_back(flags: int, protocol: int, compat: int, seed: int, rest: bytes, step: int) -> None:
    written = BatchHead(StreamFlags(flags), protocol, Compat(compat if protocol >= 30 else 0), seed)
    raw = encode_flags(written.flags) + encode_session(protocol, Compat(compat) | Compat.NOMINATE, seed)
    assert decode(raw + rest, step) == (written, rest)


@given(st.binary(max_size=18))
def test_head_any_bytes_give_a_head_an_error_or_nothing(raw: bytes) -> None:
    try:
        head, rest = decode(raw, 1)
    except PrsyncError:
        return
    assert rest == raw if head is None else len(rest) < len(raw)
