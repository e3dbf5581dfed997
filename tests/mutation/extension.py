"""The extension's frames: a peer connection, a no-data session, and one frame of each kind to be thrown into others."""

from __future__ import annotations

import time

from peer_client import PeerClient, entry
from session_client import SessionClient

from prsync.engine.digests import digest_file
from prsync.protocol.frames import (
    Bye,
    Hello,
    Lease,
    LeaseStep,
    Mirror,
    Nomination,
    Probe,
    Report,
    SourceReport,
    Verdict,
    encode_frame,
)

from .scenes import Scene


def record_peer(scene: Scene, port: int) -> None:
    client = PeerClient(port, b"m")

    def wanted(name: str, offset: int = 0, length: int | None = None) -> bytes:
        size = (scene.tree / name).stat().st_size
        return entry(name.encode(), digest_file(scene.tree / name).root, offset, size - offset if length is None else length)

    for _ in range(100):  # until the indexer has come to them
        if all(client.fetch_all(wanted("large"), wanted("docs/middle", 100, 1000))):
            break
        time.sleep(0.05)
    client.fetch_all(*(wanted(f"many/{i:03}") for i in range(1, 40)))
    client.fetch_all(wanted("large", 300_000, 100_000), entry(b"nothing", bytes(32), 0, 5), wanted("large", 0, 10))
    for frame in sample_controls():
        client.send(frame)
    client.bye()


def record_session(port: int) -> None:
    client = SessionClient(port, b"n")
    client.begin()
    client.ask_digests(1, 1, 30, 3)
    client.digests(30)
    for step in (3, 1, 2):  # .own, empty, large: rsync's order
        client.request_file(step)
    client.wait_for(0)
    client.sock.close()


def sample_controls() -> list[Lease | Report | Bye]:
    return [
        Lease(LeaseStep.REQUEST, "rsync:///m", 900, bytes(16), ("docs",), 5),
        Lease(LeaseStep.RENEW, "rsync:///m", 900, bytes(16)),
        Report((SourceReport("rsync://mirror/m", 5, 10, bad_pieces=2, verdict=Verdict.CORRUPT),)),
    ]


def sample_frames(port: int) -> list[bytes]:
    """One of each kind, to be thrown in."""
    mirror = Mirror(1, f"rsync://127.0.0.1:{port}/m", True, ("docs",))
    controls = [Hello(), Nomination(), Nomination(mirrors=(mirror,)), Probe(), Bye(), *sample_controls()]
    number = (1).to_bytes(4, "little")
    head = b"\1" + bytes(4) + b"\0" + (5).to_bytes(8, "little") + bytes(12) + b"\1" + bytes(32)
    return [
        *(encode_frame(frame) for frame in controls),
        b"\3" + number + b"\1\0" + number + b"\5\0\0",
        b"\4" + number + head,
        b"\4" + number + b"\2" + bytes(8) + b"\1\0" + bytes(32),
        b"\5" + number + b"\1\0" + b"\5large\1" + bytes(32) + bytes(8) + number + bytes(4),
        b"\6" + number + bytes(10) + b"data",
        b"\7" + number + b"\0\0\2",
        b"\x08" + number + b"\5\0",
        b"\xf0unknown",
    ]
