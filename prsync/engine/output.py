"""Log text of the core as it is shown, logged, or sent on. See PS_LOG_MARK in csrc/core/context.h for what a record holds."""

from __future__ import annotations

import enum

from prsync.engine.native import ffi, lib


class Escape(enum.IntEnum):
    """How control characters are shown (log.c: rwrite, logit)."""

    ASCII = lib.PS_ESCAPE_ASCII
    UTF8 = lib.PS_ESCAPE_UTF8
    EIGHT_BIT = lib.PS_ESCAPE_EIGHT_BIT
    LOG = lib.PS_ESCAPE_LOG


def escape_for(charset: str, eight_bit_output: bool) -> Escape:
    """The escape for stdout and stderr; charset: nl_langinfo(CODESET)'s answer."""
    name = charset.upper().replace("-", "").replace("_", "")
    if eight_bit_output:
        return Escape.EIGHT_BIT
    if name == "UTF8":
        return Escape.UTF8
    return Escape.ASCII if name in ("", "ASCII", "USASCII", "646", "ANSIX3.41968") else Escape.EIGHT_BIT


def escape(text: bytes, mode: Escape) -> bytes:
    """A record's text with each control character but tabs and line ends as `\\#ooo`."""
    capacity = len(text) + 64
    out = ffi.new("uint8_t[]", capacity)
    needed = lib.ps_escape(mode, text, len(text), out, capacity)
    if needed > capacity:
        out = ffi.new("uint8_t[]", needed)
        lib.ps_escape(mode, text, len(text), out, needed)
    return bytes(ffi.buffer(out, needed))


def messages(text: bytes) -> list[bytes]:
    """The messages of a record as rsync would send them, one multiplexed message each."""
    lines = text.split(b"\n")
    whole = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return [line.replace(b"\0n", b"\n").replace(b"\0r", b"\r") for line in whole]
