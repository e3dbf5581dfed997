"""The multiplex envelope without a pump, against frames made by hand."""

from __future__ import annotations

import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prsync.engine.context import Context
from prsync.engine.mux import DATA_FRAME_BYTES, MSG_DATA, Demultiplexer, Piece, data_frames, frame_header, message_frame
from prsync.engine.native import lib
from prsync.errors import EngineError

FRAMES = st.lists(st.tuples(st.sampled_from([0, 0, 2, 42, 86, 117]), st.binary(max_size=40)), max_size=12)


def by_hand(code: int, data: bytes) -> bytes:
    return struct.pack("<I", (7 + code) << 24 | len(data)) + data


def context(protocol: int = 31) -> Context:
    made = Context()
    made.options.protocol, made.options.am_server = protocol, 1
    made.options.role = lib.PS_ROLE_SENDER
    return made


def pieces(reader: Demultiplexer) -> list[Piece]:
    found = []
    while (piece := reader.next_piece()) is not None:
        found.append(piece)
    return found


@given(FRAMES, st.integers(1, 60))
def test_reader_finds_data_and_messages_however_the_stream_is_cut(frames: list[tuple[int, bytes]], step: int) -> None:
    stream = b"".join(by_hand(code, data) for code, data in frames)
    reader = Demultiplexer(context())
    found = []
    for at in range(0, len(stream), step):
        reader.feed(stream[at : at + step])
        found += pieces(reader)
    assert [piece for piece in found if piece.code != MSG_DATA] == [frame for frame in frames if frame[0] != MSG_DATA]
    assert b"".join(data for code, data in found if code == MSG_DATA) == b"".join(d for code, d in frames if code == MSG_DATA)
    assert (reader.frame_left, reader.take_rest()) == (0, b"")


@given(FRAMES, st.integers(0, 400))
def test_what_is_not_read_is_a_stream_of_frames_again(frames: list[tuple[int, bytes]], cut: int) -> None:
    stream = b"".join(by_hand(code, data) for code, data in frames)
    first = Demultiplexer(context())
    first.feed(stream[:cut])
    found = first.next_piece()
    assume(found is not None)  # nothing can be put back of a message that has not come to its end
    assert found is not None
    again = Demultiplexer(context())
    again.feed((frame_header(MSG_DATA, first.frame_left) if first.frame_left else b"") + first.take_rest() + stream[cut:])
    whole = Demultiplexer(context())
    whole.feed(stream)

    def read(reader: Demultiplexer, start: list[Piece]) -> tuple[bytes, list[Piece]]:
        every = start + pieces(reader)
        return b"".join(data for code, data in every if code == MSG_DATA), [each for each in every if each.code != MSG_DATA]

    assert read(again, [found]) == read(whole, [])


def test_stream_of_an_old_client_is_all_data() -> None:
    reader = Demultiplexer(context(29))
    reader.feed(b"abc")
    assert pieces(reader) == [Piece(MSG_DATA, b"abc")]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [(bytes(4), "unexpected tag -7"), (struct.pack("<I", (7 + 117) << 24 | 65537), "at most 65536 are accepted")],
)
def test_bad_frame_is_refused(stream: bytes, reason: str) -> None:
    reader = Demultiplexer(context())
    reader.feed(stream)
    with pytest.raises(EngineError, match=reason) as raised:
        reader.next_piece()
    assert raised.value.code == 12


@pytest.mark.parametrize("length", [0, 1, DATA_FRAME_BYTES, DATA_FRAME_BYTES + 1, 3 * DATA_FRAME_BYTES])
def test_data_is_cut_into_frames(length: int) -> None:
    data = bytes(range(256)) * (length // 256 + 1)
    parts = [data[:length][at : at + DATA_FRAME_BYTES] for at in range(0, length, DATA_FRAME_BYTES)]
    assert data_frames(data[:length]) == b"".join(by_hand(MSG_DATA, part) for part in parts)


def test_message_has_its_code() -> None:
    assert message_frame(86, b"abcd") == by_hand(86, b"abcd")
