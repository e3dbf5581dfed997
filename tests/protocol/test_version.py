"""The exchange of versions over a remote shell: both sides over memory, and what is no version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.errors import ExitCode, ProtocolVersionError, PrsyncError
from prsync.protocol.negotiation import Send
from prsync.protocol.version import Agreed, VersionExchange


def heard(side: VersionExchange, raw: bytes) -> Agreed | None:
    side.next_event()
    side.feed(raw)
    event = side.next_event()
    assert event is None or isinstance(event, Agreed)
    return event


@given(st.integers(27, 32), st.integers(27, 40), st.binary(max_size=5))
def test_sides_agree_on_the_lower(ours: int, theirs: int, behind: bytes) -> None:
    side = VersionExchange(ours)
    assert side.next_event() == Send(ours.to_bytes(4, "little"))
    raw = theirs.to_bytes(4, "little") + behind
    for byte in raw[:3]:
        side.feed(bytes([byte]))
        assert side.next_event() is None
    side.feed(raw[3:])
    assert side.next_event() == Agreed(min(ours, theirs))
    assert side.next_event() is None and side.rest == behind


@pytest.mark.parametrize("raw", [b"Welc", b"\xff\xff\xff\xff", (19).to_bytes(4, "little"), (41).to_bytes(4, "little")])
def test_what_is_no_version_is_refused_in_rsyncs_words(raw: bytes) -> None:
    with pytest.raises(ProtocolVersionError, match="is your shell clean") as caught:
        heard(VersionExchange(), raw)
    assert caught.value.code == ExitCode.PROTOCOL


def test_version_that_is_too_old_is_named() -> None:
    with pytest.raises(ProtocolVersionError, match="speaks protocol 26"):
        heard(VersionExchange(), (26).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("info", "said"),
    [("", 32), (".LsfxCIvu", 32), ("iLs", 32), ("32.0LsfxC", 32), ("32.3Lsf", 31), ("31.1Lsf", 30), ("33.2Lsf", 32), ("x.1", 32)],
)
def test_client_of_a_pre_release_gets_the_protocol_before(info: str, said: int) -> None:
    assert VersionExchange(32, info).next_event() == Send(said.to_bytes(4, "little"))


@given(st.binary(max_size=20))
def test_any_bytes_give_a_version_or_one_error(raw: bytes) -> None:
    try:
        heard(VersionExchange(), raw)
    except PrsyncError as error:
        assert error.code == ExitCode.PROTOCOL
