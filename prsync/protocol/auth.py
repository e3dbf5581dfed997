"""The daemon's challenge and its answer (authenticate.c)."""

from __future__ import annotations

import binascii
from collections.abc import Sequence

from prsync.protocol.text import AUTH_DIGESTS

# Before protocol 30, unless the greeting names digests: MD4 with a seed of 0 in front (checksum.c:CSUM_MD4_OLD).
OLD_MD4 = "md4, old"


def choose_digest(offered: Sequence[str], protocol: int, ours: Sequence[str] = AUTH_DIGESTS) -> str | None:
    """The strongest of our digests that the remote's greeting names; without a list MD5 (compat.c:negotiate_daemon_auth)."""
    if not offered:
        return "md5" if protocol >= 30 else OLD_MD4
    names = [name.lower() for name in offered]
    return next((name for name in ours if name in names), None)


def digest_of(name: str, data: bytes) -> bytes:
    """MD4 is the core's: OpenSSL 3 has none without its legacy provider."""
    if name in ("md4", OLD_MD4):
        from prsync.engine.sums import Sum, hash_bytes

        return hash_bytes(Sum.MD4, bytes(4) + data if name == OLD_MD4 else data)
    import hashlib  # takes a client 3 ms, and most modules want no password

    return hashlib.new(name, data, usedforsecurity=False).digest()


def _base64(raw: bytes) -> bytes:
    """Without padding, as rsync writes it."""
    return binascii.b2a_base64(raw, newline=False).rstrip(b"=")


def answer(digest: str, password: bytes, challenge: bytes) -> bytes:
    """authenticate.c:generate_hash."""
    return _base64(digest_of(digest, password + challenge))


def answer_line(user: bytes, digest: str, password: bytes, challenge: bytes) -> bytes:
    return user + b" " + answer(digest, password, challenge) + b"\n"
