"""Control frames of nominate/1 (protocol-spec/nominate-1.md §2): hello, nomination, lease, report, probe, bye.

Frames that carry columns (digests?, digests, fetch, data, missing, busy) are coded in the core; here they are only named.
A frame is the payload of a multiplex message of code 117: one type byte and a body.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from prsync.protocol import limits
from prsync.protocol.fields import MalformedFrame, decode_text, put_field, put_number, put_text, read_fields


class FrameType(enum.IntEnum):
    HELLO = 1
    NOMINATION = 2
    DIGESTS_REQUEST = 3
    DIGESTS = 4
    FETCH = 5
    DATA = 6
    MISSING = 7
    BUSY = 8
    LEASE = 9
    REPORT = 10
    BYE = 11
    PROBE = 12


class SourceKind(enum.IntEnum):
    PEER = 1
    RSYNCD = 2
    HTTP = 3
    HTTPS = 4
    FTP = 5


class OriginPlace(enum.IntEnum):
    """Whether the origin's own data comes after the mirrors' or beside it."""

    LAST = 0
    EQUAL = 1


class LeaseStep(enum.IntEnum):
    REQUEST = 1
    RENEW = 2
    RELEASE = 3
    GRANTED = 4
    REFUSED = 5
    CHECKING = 6


class Verdict(enum.IntEnum):
    FINE = 0
    DEAD = 1
    STALLED = 2
    CORRUPT = 3
    STALE = 4
    REFUSED = 5


@attrs.frozen
class Hello:
    """version; digest kinds, address families and source kinds, best first; serial (0 live); window in entries."""

    version: int = 1
    digest_kinds: tuple[int, ...] = (1,)
    families: tuple[int, ...] = (4, 6)
    source_kinds: tuple[int, ...] = (SourceKind.PEER, SourceKind.RSYNCD)
    serial: int = 0
    digest_window: int = limits.DIGEST_WINDOW_ENTRIES
    no_data: bool = False
    nonce: bytes = b""


@attrs.frozen
class Mirror:
    """One nominated mirror. prefixes: what it carries, empty for everything."""

    kind: int
    url: str
    listed: bool = False
    prefixes: tuple[str, ...] = ()


@attrs.frozen
class Nomination:
    origin: OriginPlace = OriginPlace.LAST
    mirrors: tuple[Mirror, ...] = ()


@attrs.frozen
class Lease:
    """A step of a mirror's registration; seconds wanted or granted; nonce of 16 bytes for the probe."""

    step: LeaseStep
    url: str = ""
    seconds: int = 0
    nonce: bytes = b""
    prefixes: tuple[str, ...] = ()
    capacity: int = 0
    reason: str = ""
    draining: bool = False


@attrs.frozen
class SourceReport:
    """What one source did in a run: payload bytes, busy milliseconds, counts."""

    url: str
    received: int
    milliseconds: int
    failures: int = 0
    bad_pieces: int = 0
    stale_files: int = 0
    verdict: Verdict = Verdict.FINE


@attrs.frozen
class Report:
    sources: tuple[SourceReport, ...] = ()


@attrs.frozen
class Probe:
    pass


@attrs.frozen
class Bye:
    pass


@attrs.frozen
class UnknownFrame:
    """A type this version does not know, to be skipped; or one that the core decodes."""

    type: int
    body: bytes


ControlFrame = Hello | Nomination | Lease | Report | Probe | Bye


def encode_hello(hello: Hello) -> bytes:
    fields = [
        put_field(1, put_number(hello.version, 2)),
        put_field(2, bytes(hello.digest_kinds)),
        put_field(3, bytes(hello.families)),
        put_field(4, bytes(hello.source_kinds)),
        put_field(5, put_number(hello.serial, 8)),
        put_field(6, put_number(hello.digest_window, 4)),
        put_field(7, put_number(int(hello.no_data), 1)),
    ]
    if hello.nonce:
        fields.append(put_field(8, hello.nonce))
    return b"".join(fields)


def decode_hello(body: bytes) -> Hello:
    found: dict[str, object] = {}
    sizes = {1: ("version", 2), 5: ("serial", 8), 6: ("digest_window", 4)}
    lists = {2: "digest_kinds", 3: "families", 4: "source_kinds"}
    for tag, value in read_fields(body, "hello"):
        if tag in sizes:
            name, size = sizes[tag]
            found[name] = value.number(size)
        elif tag in lists:
            found[lists[tag]] = tuple(value.rest())
        elif tag == 7:
            found["no_data"] = value.number(1) == 1
        elif tag == 8:
            found["nonce"] = value.take(16)
        else:
            continue
        value.end()
    if not found.get("version"):
        raise MalformedFrame("the remote sent a hello frame without a version")
    return Hello(**found)  # type: ignore[arg-type]


def encode_nomination(nomination: Nomination) -> bytes:
    fields = [put_field(1, put_number(nomination.origin, 1))]
    for mirror in nomination.mirrors[: limits.MIRRORS]:
        prefixes = b"".join(put_text(p, limits.URL_BYTES) for p in mirror.prefixes)
        head = bytes([mirror.kind, int(mirror.listed)]) + put_text(mirror.url, limits.URL_BYTES)
        fields.append(put_field(2, head + bytes([len(mirror.prefixes)]) + prefixes))
    return b"".join(fields)


def decode_nomination(body: bytes) -> Nomination:
    origin = OriginPlace.LAST
    mirrors: list[Mirror] = []
    for tag, value in read_fields(body, "nomination", frozenset({2})):
        if tag == 1:
            origin = OriginPlace.EQUAL if value.number(1) == 1 else OriginPlace.LAST
            value.end()
        elif tag == 2:
            kind, flags, url = value.number(1), value.number(1), value.text(limits.URL_BYTES)
            prefixes = tuple(value.text(limits.URL_BYTES) for _ in range(value.number(1)))
            value.end()
            if len(mirrors) < limits.MIRRORS:
                mirrors.append(Mirror(kind, url, bool(flags & 1), prefixes))
    return Nomination(origin, tuple(mirrors))


def encode_lease(lease: Lease) -> bytes:
    fields = [put_field(1, put_number(lease.step, 1))]
    if lease.url:
        fields.append(put_field(2, put_text(lease.url, limits.URL_BYTES)))
    if lease.seconds:
        fields.append(put_field(3, put_number(lease.seconds, 4)))
    if lease.nonce:
        fields.append(put_field(4, lease.nonce))
    fields += [put_field(5, prefix.encode()) for prefix in lease.prefixes]
    if lease.capacity:
        fields.append(put_field(6, put_number(lease.capacity, 4)))
    if lease.reason:
        fields.append(put_field(7, lease.reason.encode()[: limits.REASON_BYTES]))
    if lease.draining:
        fields.append(put_field(8, b"\x01"))
    return b"".join(fields)


def decode_lease(body: bytes) -> Lease:
    found: dict[str, object] = {}
    prefixes: list[str] = []
    step: LeaseStep | None = None
    for tag, value in read_fields(body, "lease", frozenset({5})):
        if tag == 1:
            number = value.number(1)
            if number not in LeaseStep.__members__.values():
                raise MalformedFrame(f"the remote sent a lease frame with the unknown step {number}")
            step = LeaseStep(number)
        elif tag == 2:
            found["url"] = value.text(limits.URL_BYTES)
        elif tag in (3, 6):
            found["seconds" if tag == 3 else "capacity"] = value.number(4)
        elif tag == 4:
            found["nonce"] = value.take(16)
        elif tag == 5:
            prefixes.append(decode_text(value.rest(), "lease"))
        elif tag == 7:
            found["reason"] = decode_text(value.rest()[: limits.REASON_BYTES], "lease")
        elif tag == 8:
            found["draining"] = value.number(1) == 1
        else:
            continue
        value.end()
    if step is None:
        raise MalformedFrame("the remote sent a lease frame without a step")
    if len(prefixes) > limits.PREFIXES:
        raise MalformedFrame(f"the remote sent a lease frame with more than {limits.PREFIXES} prefixes")
    return Lease(step=step, prefixes=tuple(prefixes), **found)  # type: ignore[arg-type]


def encode_report(report: Report) -> bytes:
    return b"".join(
        put_field(
            1,
            put_text(s.url, limits.URL_BYTES)
            + put_number(s.received, 8)
            + b"".join(put_number(n, 4) for n in (s.milliseconds, s.failures, s.bad_pieces, s.stale_files))
            + put_number(s.verdict, 1),
        )
        for s in report.sources
    )


def decode_report(body: bytes) -> Report:
    sources: list[SourceReport] = []
    for tag, value in read_fields(body, "report", frozenset({1})):
        if tag != 1:
            continue
        url, received = value.text(limits.URL_BYTES), value.number(8)
        milliseconds, failures, bad_pieces, stale_files = (value.number(4) for _ in range(4))
        number = value.number(1)
        value.end()
        verdict = Verdict(number) if number in Verdict.__members__.values() else Verdict.REFUSED
        sources.append(SourceReport(url, received, milliseconds, failures, bad_pieces, stale_files, verdict))
    return Report(tuple(sources))


def _decode_empty(kind: Callable[[], ControlFrame], what: str) -> Callable[[bytes], ControlFrame]:
    def decode(body: bytes) -> ControlFrame:
        for _ in read_fields(body, what):
            pass
        return kind()

    return decode


_DECODERS: dict[int, Callable[[bytes], ControlFrame]] = {
    FrameType.HELLO: decode_hello,
    FrameType.NOMINATION: decode_nomination,
    FrameType.LEASE: decode_lease,
    FrameType.REPORT: decode_report,
    FrameType.PROBE: _decode_empty(Probe, "probe"),
    FrameType.BYE: _decode_empty(Bye, "bye"),
}


def encode_frame(frame: ControlFrame) -> bytes:
    """The payload of one message of code 117. Raises ValueError when it would exceed FRAME_BYTES."""
    match frame:
        case Hello():
            kind, body = FrameType.HELLO, encode_hello(frame)
        case Nomination():
            kind, body = FrameType.NOMINATION, encode_nomination(frame)
        case Lease():
            kind, body = FrameType.LEASE, encode_lease(frame)
        case Report():
            kind, body = FrameType.REPORT, encode_report(frame)
        case Probe():
            kind, body = FrameType.PROBE, b""
        case Bye():
            kind, body = FrameType.BYE, b""
    if len(body) + 1 > limits.FRAME_BYTES:
        raise ValueError(f"a {kind.name.lower()} frame of {len(body)} bytes; at most {limits.FRAME_BYTES} are sent")
    return bytes([kind]) + body


def decode_frame(payload: bytes) -> ControlFrame | UnknownFrame:
    """One frame. Raises MalformedFrame."""
    if not payload:
        raise MalformedFrame("the remote sent an empty frame")
    if len(payload) > limits.FRAME_BYTES:
        raise MalformedFrame(f"the remote sent a frame of {len(payload)} bytes; at most {limits.FRAME_BYTES} are accepted")
    decoder = _DECODERS.get(payload[0])
    if decoder is None:
        return UnknownFrame(payload[0], payload[1:])
    return decoder(payload[1:])
