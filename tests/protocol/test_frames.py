import json
import pathlib

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.errors import StreamError
from prsync.protocol import frames, limits
from prsync.protocol.extension import TRANSITIONS, FrameStates, State
from prsync.protocol.fields import MalformedFrame, put_field, put_text
from prsync.protocol.frames import FrameType

VECTORS = sorted((pathlib.Path(__file__).parents[2] / "protocol-spec" / "vectors" / "nominate").glob("control-*.json"))
TEXT = st.text(st.characters(categories=["L", "N", "P"]), max_size=40)
U32 = st.integers(0, 2**32 - 1)
BYTES_LIST = st.lists(st.integers(0, 255), max_size=8).map(tuple)
HELLOS = st.builds(
    frames.Hello,
    version=st.integers(1, 65535),
    digest_kinds=BYTES_LIST,
    families=BYTES_LIST,
    source_kinds=BYTES_LIST,
    serial=st.integers(0, 2**64 - 1),
    digest_window=U32,
    no_data=st.booleans(),
    nonce=st.sampled_from([b"", bytes(range(16))]),
)
PREFIXES = st.lists(TEXT, max_size=4).map(tuple)
MIRRORS = st.builds(frames.Mirror, kind=st.integers(0, 255), url=TEXT, listed=st.booleans(), prefixes=PREFIXES)
NOMINATIONS = st.builds(
    frames.Nomination, origin=st.sampled_from(frames.OriginPlace), mirrors=st.lists(MIRRORS, max_size=8).map(tuple)
)
LEASES = st.builds(
    frames.Lease,
    step=st.sampled_from(frames.LeaseStep),
    url=TEXT,
    seconds=U32,
    nonce=st.sampled_from([b"", b"n" * 16]),
    prefixes=PREFIXES,
    capacity=U32,
    reason=TEXT,
    draining=st.booleans(),
)
SOURCES = st.builds(
    frames.SourceReport,
    url=TEXT,
    received=st.integers(0, 2**64 - 1),
    milliseconds=U32,
    failures=U32,
    bad_pieces=U32,
    stale_files=U32,
    verdict=st.sampled_from(frames.Verdict),
)
REPORTS = st.builds(frames.Report, st.lists(SOURCES, max_size=8).map(tuple))
FRAMES = st.one_of(HELLOS, NOMINATIONS, LEASES, REPORTS, st.just(frames.Probe()), st.just(frames.Bye()))


@given(FRAMES)
def test_frame_encoded_and_decoded_is_equal(frame: frames.ControlFrame) -> None:
    assert frames.decode_frame(frames.encode_frame(frame)) == frame


@given(FRAMES, st.data())
def test_frame_cut_short_is_malformed_or_valid_but_never_another_error(frame: frames.ControlFrame, data: st.DataObject) -> None:
    payload = frames.encode_frame(frame)
    cut = payload[: data.draw(st.integers(0, len(payload) - 1))]
    try:
        frames.decode_frame(cut)
    except MalformedFrame as error:
        assert "\n" not in error.text


@given(FRAMES, st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=6))
def test_frame_with_changed_bytes_is_malformed_or_a_frame(frame: frames.ControlFrame, changes: list[tuple[int, int]]) -> None:
    payload = bytearray(frames.encode_frame(frame))
    for at, value in changes:
        payload[at % len(payload)] = value
    try:
        decoded = frames.decode_frame(bytes(payload))
    except MalformedFrame as error:
        assert "\n" not in error.text
    else:
        if not isinstance(decoded, frames.UnknownFrame):
            frames.encode_frame(decoded)


@given(st.binary(max_size=200))
def test_frame_of_garbage_is_malformed_or_skipped(payload: bytes) -> None:
    try:
        frames.decode_frame(payload)
    except MalformedFrame as error:
        assert error.code == 12


@given(FRAMES)
def test_frame_with_an_unknown_field_skips_it(frame: frames.ControlFrame) -> None:
    payload = frames.encode_frame(frame) + put_field(200, b"later")
    assert frames.decode_frame(payload) == frame


def test_frame_of_unknown_type_is_handed_over_to_be_skipped() -> None:
    assert frames.decode_frame(b"\xc8abc") == frames.UnknownFrame(200, b"abc")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes(limits.FRAME_BYTES + 1),
        bytes([FrameType.HELLO]),
        bytes([FrameType.HELLO]) + put_field(1, b"\1\0") * 2,
        bytes([FrameType.HELLO]) + put_field(1, b"\1\0\0"),
        bytes([FrameType.LEASE]) + put_field(1, b"\x63"),
        bytes([FrameType.NOMINATION]) + put_field(2, b"\1\0\xff\xff"),
        bytes([FrameType.LEASE]) + put_field(1, b"\1") + put_field(7, b"a\nb"),
        bytes([FrameType.HELLO]) + put_field(1, b"\1\0") + b"".join(put_field(99, b"") for _ in range(300)),
    ],
)
def test_frame_that_breaks_a_limit_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedFrame):
        frames.decode_frame(payload)


def test_nomination_of_more_mirrors_than_the_limit_keeps_the_first() -> None:
    one = bytes([1, 0]) + put_text("rsync://a/m", 99) + b"\0"
    payload = bytes([FrameType.NOMINATION]) + put_field(2, one) * (limits.MIRRORS + 5)
    decoded = frames.decode_frame(payload)
    assert isinstance(decoded, frames.Nomination) and len(decoded.mirrors) == limits.MIRRORS


def plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [plain(v) for v in value]
    if attrs.has(type(value)):
        return {a.name: plain(getattr(value, a.name)) for a in attrs.fields(type(value))}
    return value


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
def test_vector_decodes_and_encodes_as_it_says(path: pathlib.Path) -> None:
    vector = json.loads(path.read_text())
    payload = bytes.fromhex(vector["payload"])
    frame = frames.decode_frame(payload)
    assert type(frame).__name__ == vector["frame"]
    assert plain(frame) == vector["fields"]
    if vector.get("canonical", True):
        assert frames.encode_frame(frame) == payload  # type: ignore[arg-type]


def test_vectors_exist_for_every_control_frame() -> None:
    named = {json.loads(p.read_text())["frame"] for p in VECTORS}
    assert named >= {"Hello", "Nomination", "Lease", "Report", "Probe", "Bye", "UnknownFrame"}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", FrameType)
def test_states_allow_exactly_the_table(state: State, kind: FrameType) -> None:
    machine = FrameStates(state)
    if (state, kind) in TRANSITIONS:
        assert machine.receive(kind)
        assert machine.state is TRANSITIONS[state, kind]
    else:
        with pytest.raises(StreamError):
            machine.receive(kind)


def test_states_skip_an_unknown_type() -> None:
    machine = FrameStates(State.DAEMON_OPEN)
    assert not machine.receive(200)
    assert machine.state is State.DAEMON_OPEN
