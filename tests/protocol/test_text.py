"""The text phase, the client's side: whole, byte by byte, with what follows, and malformed."""

from __future__ import annotations

import base64
import hashlib
import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.errors import ExitCode, PrsyncError
from prsync.protocol import auth, text
from prsync.protocol.text import TextClient

FOLDER = pathlib.Path(__file__).parents[2] / "protocol-spec" / "vectors" / "classic"
VECTORS = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("text-*.json"))]
GREETING = b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n"


def run(pieces: list[bytes]) -> tuple[list[list[object]], bytes]:
    client = TextClient()
    found: list[list[object]] = []
    for piece in pieces:
        client.feed(piece)
        while (event := client.next_event()) is not None:
            values = [value.decode() if isinstance(value, bytes) else value for value in event]
            found.append([type(event).__name__, *(list(v) if isinstance(v, tuple) else v for v in values)])
    return found, client.rest


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["scenario"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytewise"])
def test_vector_gives_its_events(vector: dict[str, object], whole: bool) -> None:
    raw = bytes.fromhex(str(vector["bytes"]))
    pieces = [raw] if whole else [raw[i : i + 1] for i in range(len(raw))]
    if "error" in vector:
        with pytest.raises(PrsyncError) as caught:
            run(pieces)
        assert (caught.value.text, int(caught.value.code)) == (vector["error"], vector["code"])
        return
    assert run(pieces) == (vector["events"], bytes.fromhex(str(vector.get("rest", ""))))


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_give_events_or_one_error(raw: bytes, step: int) -> None:
    try:
        run([raw[i : i + step] for i in range(0, len(raw), step)])
    except PrsyncError as error:
        assert error.code in (ExitCode.START_CLIENT, ExitCode.STREAM_IO, ExitCode.PROTOCOL)


def test_line_beyond_the_limit_is_refused() -> None:
    client = TextClient()
    client.feed(GREETING + b"x" * (text.LINE_BYTES + 1))
    assert isinstance(client.next_event(), text.Greeting)
    with pytest.raises(PrsyncError):
        client.next_event()


@pytest.mark.parametrize(
    ("line", "ours", "common"),
    [(b"@RSYNCD: 31.0 md5", 32, 31), (b"@RSYNCD: 31.14", 32, 30), (b"@RSYNCD: 33.0 md5", 32, 32), (b"@RSYNCD: 32.1 md5", 32, 31),
     (b"@RSYNCD: 32.0 md5", 30, 30), (b"@RSYNCD: 29", 32, 29), (b"@RSYNCD: 29", 29, 29), (b"@RSYNCD: 28", 27, 27)],
)  # fmt: skip
def test_common_protocol_is_the_lower(line: bytes, ours: int, common: int) -> None:
    greeting = text.parse_greeting(line)
    assert greeting is not None and greeting.common_protocol(ours) == common


def test_arguments_end_with_an_empty_word() -> None:
    assert text.encode_arguments([b"--server", b"."]) == b"--server\0.\0\0"
    assert text.encode_secluded_arguments([b"", b"m/"]) == b"rsync\0.\0m/\0\0"


def test_arguments_of_an_older_protocol_are_lines() -> None:
    assert text.encode_arguments([b"--server", b"."], 29) == b"--server\n.\n\n"
    for word in (b"m/a\n--del", b"m/a\r"):
        with pytest.raises(PrsyncError, match="protocol 29 sends no line break"):
            text.encode_arguments([b".", word], 29)


def test_digest_without_a_list_depends_on_the_protocol() -> None:
    assert [auth.choose_digest((), protocol) for protocol in (32, 30, 29, 27)] == ["md5", "md5", auth.OLD_MD4, auth.OLD_MD4]
    assert auth.choose_digest(("md4", "sha1"), 29) == "sha1"
    seeded = auth.digest_of(auth.OLD_MD4, b"passchallenge")
    assert seeded == auth.digest_of("md4", bytes(4) + b"passchallenge")


@pytest.mark.parametrize(("digest", "size"), [("md5", 22), ("md4", 22), ("sha1", 27), ("sha256", 43), ("sha512", 86)])
def test_answer_is_base64_without_padding(digest: str, size: int) -> None:
    answer = auth.answer(digest, b"pass", b"challenge")
    assert b"=" not in answer and len(answer) == size


def test_answer_hashes_password_then_challenge() -> None:
    expected = base64.b64encode(hashlib.sha256(b"passchallenge").digest()).rstrip(b"=")
    assert auth.answer_line(b"me", "sha256", b"pass", b"challenge") == b"me " + expected + b"\n"


@pytest.mark.parametrize(
    ("offered", "protocol", "chosen"),
    [(("md5", "sha256"), 32, "sha256"), ((), 31, "md5"), (("unknown",), 32, None), (("MD4",), 32, "md4")],
)
def test_strongest_common_digest_is_chosen(offered: tuple[str, ...], protocol: int, chosen: str | None) -> None:
    assert auth.choose_digest(offered, protocol) == chosen
