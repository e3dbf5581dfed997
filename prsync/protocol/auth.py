"""The daemon's challenge and its answer (authenticate.c), for both sides."""

from __future__ import annotations

import binascii
import hashlib
import hmac
from collections.abc import Sequence

from prsync.errors import ExitCode, PrsyncError
from prsync.protocol.text import AUTH_DIGESTS

NONCE_BYTES = 32


def choose_digest(offered: Sequence[str], protocol: int, ours: Sequence[str] = AUTH_DIGESTS) -> str | None:
    """The strongest of our digests that the remote's greeting names; without a list MD5 (compat.c:negotiate_daemon_auth)."""
    names = [name.lower() for name in offered] if offered else ["md5" if protocol >= 30 else "md4"]
    return next((name for name in ours if name in names), None)


def _digest(name: str, data: bytes) -> bytes:
    if name == "md4":
        from prsync.engine.native import ffi, lib

        out, size = ffi.new("uint8_t[64]"), ffi.new("size_t *")
        if lib.ps_hash_bytes(lib.PS_SUM_MD4, data, len(data), out, size) != lib.PS_OK:
            raise PrsyncError("the MD4 digest is not available", ExitCode.UNSUPPORTED)
        return bytes(ffi.buffer(out, size[0]))
    return hashlib.new(name, data, usedforsecurity=False).digest()


def _base64(raw: bytes) -> bytes:
    """Without padding, as rsync writes it."""
    return binascii.b2a_base64(raw, newline=False).rstrip(b"=")


def make_challenge(digest: str, nonce: bytes) -> bytes:
    """The challenge for a client; `nonce`: at least NONCE_BYTES from the system's random source."""
    if len(nonce) < NONCE_BYTES:
        raise ValueError("too few random bytes for a challenge")
    return _base64(_digest(digest, nonce))


def answer(digest: str, password: bytes, challenge: bytes) -> bytes:
    """authenticate.c:generate_hash."""
    return _base64(_digest(digest, password + challenge))


def answer_line(user: bytes, digest: str, password: bytes, challenge: bytes) -> bytes:
    return user + b" " + answer(digest, password, challenge) + b"\n"


def is_right_answer(given: bytes, digest: str, password: bytes, challenge: bytes) -> bool:
    return hmac.compare_digest(given, answer(digest, password, challenge))
