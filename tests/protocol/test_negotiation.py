"""The negotiation behind the arguments: recorded exchanges, both sides over memory byte by byte, and what goes wrong."""

from __future__ import annotations

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.errors import PrsyncError, StreamError
from prsync.protocol.negotiation import (
    CHECKSUMS,
    SEEDED_MD4,
    Compat,
    Negotiated,
    NegotiationClient,
    NegotiationServer,
    Send,
    Wishes,
    own_names,
)
from prsync.protocol.numbers import decode_names, decode_varint, encode_names, encode_varint

FOLDER = pathlib.Path(__file__).parents[2] / "protocol-spec" / "vectors" / "classic"
VECTORS = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("negotiation-*.json"))]
FULL = ".iLsfxCIvu"


def run_client(wishes: Wishes, raw: bytes, step: int) -> tuple[bytes, Negotiated | None, bytes]:
    client = NegotiationClient(wishes)
    sent, result = b"", None
    for at in range(0, len(raw), step):
        client.feed(raw[at : at + step])
        while (event := client.next_event()) is not None:
            if isinstance(event, Send):
                sent += event.data
            else:
                result = event
    return sent, result, client.rest


def exchange(client_wishes: Wishes, server_wishes: Wishes, info: str, seed: int = 7) -> tuple[Negotiated, Negotiated]:
    """Both sides over memory, a byte at a time in both directions."""
    client, server = NegotiationClient(client_wishes), NegotiationServer(server_wishes, info, seed)
    results: dict[str, Negotiated] = {}
    to_client, to_server = b"", b""
    for _ in range(2000):
        for name, side in (("client", client), ("server", server)):
            event = side.next_event()
            if isinstance(event, Negotiated):
                results[name] = event
            elif isinstance(event, Send) and name == "client":
                to_server += event.data
            elif isinstance(event, Send):
                to_client += event.data
        if to_client:
            client.feed(to_client[:1])
            to_client = to_client[1:]
        if to_server:
            server.feed(to_server[:1])
            to_server = to_server[1:]
        if len(results) == 2:
            assert not (client.rest or server.rest or to_client or to_server)
            return results["client"], results["server"]
    raise AssertionError("the negotiation does not end")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["scenario"])
@pytest.mark.parametrize("step", [1, 1000], ids=["bytewise", "whole"])
def test_vector_gives_its_result(vector: dict[str, object], step: int) -> None:
    wishes = Wishes(**vector["wishes"])  # type: ignore[arg-type]
    raw = bytes.fromhex(str(vector["server"]))
    if "error" in vector:
        with pytest.raises(PrsyncError) as caught:
            run_client(wishes, raw, step)
        assert int(caught.value.code) == vector["error"]
        return
    sent, result, rest = run_client(wishes, raw, step)
    assert result is not None
    assert sent.hex() == vector["client"] and rest.hex() == vector.get("rest", "")
    assert {**result._asdict(), "flags": int(result.flags)} == vector["result"]


@pytest.mark.parametrize("protocol", [30, 31, 32])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("info", [FULL, ".LsfxCIvu", ".Lsfx", ".", FULL + "Q"])
def test_sides_agree(protocol: int, compress: bool, info: str) -> None:
    client, server = exchange(
        Wishes(protocol, compress=compress, inc_recurse=True),
        Wishes(protocol, compress=compress, inc_recurse=True, nominate=True),
        info,
    )
    assert client == server
    negotiates = "v" in info
    assert client.checksum == ("xxh128" if negotiates else "md5")
    assert client.compression == (("zstd" if negotiates else "zlib") if compress else "none")
    assert client.inc_recurse == ("i" in info) and client.seed == 7
    assert client.nominate == ("Q" in info and protocol >= 31)


@pytest.mark.parametrize("protocol", [27, 28, 29])
@pytest.mark.parametrize("info", [FULL, ""])
def test_sides_of_an_older_protocol_exchange_the_seed_alone(protocol: int, info: str) -> None:
    wishes = Wishes(protocol, compress=True, inc_recurse=True, nominate=True)
    server = NegotiationServer(wishes, info, 7)
    assert server.next_event() == Send(b"")
    client, server_result = exchange(wishes, wishes, info)
    assert client == server_result == Negotiated(protocol, Compat(0), SEEDED_MD4, SEEDED_MD4, "zlib", 6, 7)


@pytest.mark.parametrize(
    ("client_list", "server_list", "chosen"),
    [("md5 xxh128", "", "md5"), ("", "sha1 md5", "md5"), ("xxhash", "", "xxh64"), ("bogus md4", "", "md4"),
     ("md5 & sha1", "", "md5")],
)  # fmt: skip
def test_environment_lists_limit_the_choice(client_list: str, server_list: str, chosen: str) -> None:
    client, server = exchange(Wishes(32, checksum_list=client_list), Wishes(32, checksum_list=server_list), FULL[0] + FULL[2:])
    assert client.checksum == server.checksum == chosen


def test_choice_of_the_command_line_is_not_negotiated() -> None:
    wishes = Wishes(32, checksum_choice="md5,none", compress_choice="lz4", compress=True)
    client, server = exchange(wishes, wishes, FULL[0] + FULL[2:])
    assert client == server and (client.checksum, client.list_checksum, client.compression) == ("md5", "none", "lz4")


def test_choice_outside_the_servers_list_is_refused() -> None:
    server = NegotiationServer(Wishes(32, checksum_choice="md4", checksum_list="xxh128"), FULL, 1)
    with pytest.raises(PrsyncError) as caught:
        server.next_event()
    assert caught.value.code == 4


@pytest.mark.parametrize(
    ("kind", "level", "expected"),
    [("zlib", 0, ("none", 0)), ("zlib", 99, ("zlib", 9)), ("zlib", -1, ("zlib", 6)), ("zstd", 0, ("zstd", 3)),
     ("lz4", 5, ("lz4", 0)), ("zstd", 99, ("zstd", 22)), ("zstd", None, ("zstd", 3))],
)  # fmt: skip
def test_level_is_kept_within_the_kinds_range(kind: str, level: int | None, expected: tuple[str, int]) -> None:
    client, _ = exchange(*(Wishes(32, compress_choice=kind, compress=True, compress_level=level),) * 2, FULL[0] + FULL[2:])
    assert (client.compression, client.compress_level) == expected


def test_incremental_lists_that_were_not_offered_are_refused() -> None:
    with pytest.raises(PrsyncError) as caught:
        run_client(Wishes(32, inc_recurse=False), encode_varint(int(Compat.INC_RECURSE)), 1)
    assert caught.value.code == 1


def test_no_common_checksum_is_refused() -> None:
    raw = encode_varint(int(Compat.VARINT_FLIST_FLAGS)) + encode_names(["other"])
    with pytest.raises(PrsyncError) as caught:
        run_client(Wishes(32), raw, 1)
    assert caught.value.code == 4


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.binary(max_size=3))
def test_varint_comes_back(value: int, behind: bytes) -> None:
    raw = encode_varint(value)
    assert decode_varint(raw + behind) == (value, len(raw))
    assert all(decode_varint(raw[:end]) is None for end in range(len(raw)))


@given(st.lists(st.sampled_from(CHECKSUMS), max_size=20), st.binary(max_size=3))
def test_names_come_back(names: list[str], behind: bytes) -> None:
    raw = encode_names(names)
    assert decode_names(raw + behind) == (names, len(raw))
    assert all(decode_names(raw[:end]) is None for end in range(len(raw)))


def test_list_beyond_its_limit_is_refused() -> None:
    with pytest.raises(StreamError):
        decode_names(b"\x81\x00")


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_give_a_result_or_one_error(raw: bytes, step: int) -> None:
    for wishes in (Wishes(32, compress=True, inc_recurse=True), Wishes(30)):
        try:
            run_client(wishes, raw, step)
        except PrsyncError as error:
            assert error.code in (1, 4, 12)


def test_own_names_without_a_list_are_all() -> None:
    assert own_names(CHECKSUMS, "", server=False) == [name for name in CHECKSUMS if name != "none"]
    assert own_names(CHECKSUMS, " ", server=True) == list(CHECKSUMS)
