"""The proxy of the demo: changes file data and nothing else, however the stream is cut."""

from __future__ import annotations

import pathlib

import pytest

from demo.corrupter import DATA, HELLO, NOMINATE, Flipper

BYE = 11
PLACE = bytes(14)  # id, entry, offset


def frame(kind: int, body: bytes = b"") -> bytes:
    return (1 + len(body)).to_bytes(3, "little") + bytes([7 + NOMINATE, kind]) + body


PREAMBLE = b"@RSYNCD: 32.0 sha512 md5\n@RSYNCD: OK\n\x81\xbf\x00\x05xxh3 1234" + frame(HELLO, b"\1\0\2\0\1")
DATA_FRAMES = [frame(DATA, PLACE + b"x"), frame(DATA, PLACE + bytes(60_000)), frame(DATA, PLACE + b"last piece")]


@pytest.mark.parametrize("size", [1, 2, 3, 17, 4096, 1 << 20])
@pytest.mark.parametrize("armed", [False, True])
def test_flipper_changes_one_byte_of_each_piece_of_data(size: int, armed: bool, tmp_path: pathlib.Path) -> None:
    switch = tmp_path / "switch"
    if armed:
        switch.touch()
    stream = PREAMBLE + b"".join(DATA_FRAMES) + frame(BYE)
    flipper = Flipper(str(switch))
    passed = b"".join(flipper.pass_on(stream[at : at + size]) for at in range(0, len(stream), size))
    ends, at = [], len(PREAMBLE)
    for each in DATA_FRAMES:
        at += len(each)
        ends.append(at - 1)
    assert [place for place, (a, b) in enumerate(zip(passed, stream, strict=True)) if a != b] == (ends if armed else [])


def test_flipper_holds_nothing_back_before_the_frames() -> None:
    flipper = Flipper("/nonexistent")
    for part in b"@RSYNCD: 32.0 md5\n", b"@RSYNCD: OK", b"\n", b"\x81\xbf", b"\x00\x05xxh3 1234":
        assert flipper.pass_on(part) == part
