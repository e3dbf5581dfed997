"""Formatted and itemized lines, deletions, escaping, numbers."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.engine.context import Context
from prsync.engine.formats import LOG, STDOUT, compile_format, format_has, set_format
from prsync.engine.native import ffi, lib
from prsync.engine.numbers import big_dnum, big_num
from prsync.engine.output import Escape, escape, escape_for, messages

NEW, TRANSFER, LOCAL, XNAME = 0x2000, 0x8000, 0x4000, 0x1000
CHANGE, SIZE, TIME, PERMS, OWNER, GROUP, ATIME, ACL, XATTR, CRTIME = 2, 4, 8, 16, 32, 64, 1, 128, 256, 1024
MISSING, DELETED = 0x10000, 0x20000
FILE, DIR, LINK, FIFO, CHAR = 0o100644, 0o040755, 0o120777, 0o010644, 0o020600


def context(**options: int) -> Context:
    c = Context()
    for name, value in {"role": 2, "times": 1, "receiver_symlink_times": 1, **options}.items():
        setattr(c.options, name, value)
    return c


def line(
    c: Context, path: bytes = b"f", *, link: bytes | None = None, hard: bytes | None = None, code: int = 2, **case: int
) -> bytes:
    t = ffi.new("ps_render_case *", {"mode": FILE, "code": code, **case})
    null = ffi.NULL
    c.check(lib.ps_render_test(c.handle, path, null if link is None else link, null if hard is None else hard, t, 1))
    return b"".join(text for _, text in c.drain_log())


ITEMS = [
    (FILE, TRANSFER | NEW, b">f+++++++++"),
    (FILE, TRANSFER | SIZE | TIME, b">f.st......"),
    (FILE, TRANSFER | CHANGE, b">fc........"),
    (FILE, TRANSFER, b">f........."),
    (FILE, 0, b".f         "),
    (FILE, PERMS | OWNER | GROUP, b".f...pog..."),
    (FILE, ATIME | ACL | XATTR, b".f......uax"),
    (FILE, CRTIME, b".f......n.."),
    (FILE, ATIME | CRTIME, b".f......b.."),
    (FILE, LOCAL | XNAME, b"hf         "),
    (FILE, LOCAL | XNAME | NEW, b"hf+++++++++"),
    (FILE, LOCAL | CHANGE | TIME, b"cfc.t......"),
    (DIR, LOCAL | NEW, b"cd+++++++++"),
    (DIR, TIME, b".d..t......"),
    (LINK, LOCAL | CHANGE, b"cLc........"),
    (LINK, TIME, b".L..t......"),
    (LINK, TIME | SIZE, b".L..T......"),
    (FIFO, LOCAL | NEW, b"cS+++++++++"),
    (CHAR, LOCAL | NEW, b"cD+++++++++"),
    (FILE, MISSING, b".f?????????"),
    (FILE, DELETED, b"*deleting  "),
]


@pytest.mark.parametrize(("mode", "iflags", "expected"), ITEMS)
def test_itemize_flags_give_rsync_s_eleven_characters(mode: int, iflags: int, expected: bytes) -> None:
    c = context()
    set_format(c, STDOUT, b"%i")
    assert line(c, mode=mode, iflags=iflags) == expected + b"\n"


def test_itemize_sender_and_unpreserved_times() -> None:
    c = context(role=1, times=0)
    set_format(c, STDOUT, b"%i")
    assert line(c, iflags=TRANSFER | TIME) == b"<f..T......\n"
    c = context(receiver_symlink_times=0)
    set_format(c, STDOUT, b"%i")
    assert line(c, iflags=TIME, mode=LINK) == b".L..T......\n"


FORMATS = [
    (b"%n|%l|%B", {}, b"a/f|1234567|rw-r--r--"),
    (b"%'l %''l %'''l %-10lx%10l %'-12l|", {}, b"1,234,567 1.23M 1.18M 1234567   x   1234567 1,234,567   |"),
    (b"%o %U %05U %-5U| %G", {}, b"recv 7 00007 7    | DEFAULT"),
    (b"%b %c", {"iflags": TRANSFER, "transfer_bytes": 99, "checksum_bytes": 16}, b"99 16"),
    (b"%b %c", {"transfer_bytes": 99, "checksum_bytes": 16}, b"0 0"),
    (b"%q %5q %5% %% %", {}, b"%q %5q     % % %"),
    (b"%h %a %P %u %m|", {}, b"%h %a %P %u |"),
    (b"%L|%8L|", {}, b"|            |"),
    (b"plain", {}, b"plain"),
    (b"100%", {}, b"100%"),
    (b"%5", {}, b"%5"),
    (b"", {}, b""),
]


@pytest.mark.parametrize(("text", "case", "expected"), FORMATS)
def test_format_escapes_give_rsync_s_text(text: bytes, case: dict[str, int], expected: bytes) -> None:
    c = context(owner=1)
    set_format(c, STDOUT, text)
    assert line(c, b"a/f", size=1234567, uid=7, gid=8, **case) == expected + b"\n"


def test_format_links_and_directories() -> None:
    c = context(group=1)
    set_format(c, STDOUT, b"%n%L|%-6L| %G %f")
    assert line(c, b"l", link=b"to", mode=LINK) == b"l -> to| -> to    | 0 l\n"
    assert line(c, b"h", hard=b"x/y") == b"h => x/y| => x/y   | 0 h\n"
    assert line(c, b"d", mode=DIR) == b"d/|          | 0 d\n"
    assert line(c, b"./a//b/", mode=FILE).endswith(b" a/b\n")


def test_format_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    c = context()
    set_format(c, STDOUT, b"%M|%p")
    assert line(c, mtime=86400) == b"1970/01/02-00:00:00|%d\n" % os.getpid()
    monkeypatch.undo()
    time.tzset()


def test_format_daemon_fields() -> None:
    c = context(am_daemon=1, am_server=1)
    c.set_string(lib.PS_STR_HOST, b"h")
    c.set_string(lib.PS_STR_ADDRESS, b"::1")
    c.set_string(lib.PS_STR_MODULE, b"mod")
    set_format(c, STDOUT, b"never")
    set_format(c, LOG, b"%o %h [%a] %m (%u) %f %l")
    assert line(c, b"a/f", size=3) == b"recv h [::1] mod () a/f 3\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (lib.PS_LOG_INFO, [(lib.PS_LOG_CLIENT, b"out f\n"), (lib.PS_LOG_LOG, b"log f\n")]),
        (lib.PS_LOG_CLIENT, [(lib.PS_LOG_CLIENT, b"out f\n")]),
        (lib.PS_LOG_LOG, [(lib.PS_LOG_LOG, b"log f\n")]),
    ],
)
def test_item_code_decides_who_gets_the_line(code: int, expected: list[tuple[int, bytes]]) -> None:
    c = context()
    set_format(c, STDOUT, b"out %n")
    set_format(c, LOG, b"log %n")
    t = ffi.new("ps_render_case *", {"mode": FILE, "code": code})
    c.check(lib.ps_render_test(c.handle, b"f", ffi.NULL, ffi.NULL, t, 1))
    assert list(c.drain_log()) == expected


@pytest.mark.parametrize(
    ("text", "level", "expected"),
    [
        (None, 0, b""),
        (None, 1, b"deleting d/x/\n"),
        (b"%n%L", 0, b"deleting d/x/\n"),
        (b"%i %n%L", 0, b"*deleting   d/x/\n"),
        (b"%o %n %U %l", 0, b"del. d/x/ 0 0\n"),
    ],
)
def test_delete_line_follows_the_format(text: bytes | None, level: int, expected: bytes) -> None:
    c = context(info_del=level)
    set_format(c, STDOUT, text)
    c.check(lib.ps_render_delete(c.handle, b"d/x", DIR))
    assert b"".join(t for _, t in c.drain_log()) == expected


def test_format_has_looks_at_escapes_only() -> None:
    assert format_has(b"%'8l %-5i", b"i")
    assert not format_has(b"i %%i %l", b"i")
    assert not format_has(None, b"i")


@given(st.binary(max_size=20).filter(lambda b: b"\0" not in b))
def test_compile_format_parts_join_to_the_format(text: bytes) -> None:
    assert b"".join(part.text for part in compile_format(text)) == text


ESCAPES = [
    (b"a\tb\n", Escape.UTF8, b"a\tb\n"),
    (b"a\x1b[m\n", Escape.UTF8, b"a\\#033[m\n"),
    ("ä\n".encode(), Escape.UTF8, "ä\n".encode()),
    ("ä\n".encode(), Escape.ASCII, b"\\#303\\#244\n"),
    ("ä\n".encode(), Escape.EIGHT_BIT, "ä\n".encode()),
    (b"\xff\xc3\n", Escape.UTF8, b"\\#377\\#303\n"),
    (b"\xed\xa0\x80\xf4\x90\x80\x80\xc0\x80", Escape.UTF8, b"\\#355\\#240\\#200\\#364\\#220\\#200\\#200\\#300\\#200"),
    (b"\x7f", Escape.ASCII, b"\x7f"),
    (b"\x7f", Escape.LOG, b"\x7f"),
    (b"\x80\xa0", Escape.LOG, b"\\#200\xa0"),
    (b"a\\#123b \\#12", Escape.UTF8, b"a\\#134#123b \\#12"),
    (b"\r 5%\r", Escape.UTF8, b"\r 5%\r"),
]


@pytest.mark.parametrize(("text", "mode", "expected"), ESCAPES)
def test_escape_control_characters_are_shown_in_octal(text: bytes, mode: Escape, expected: bytes) -> None:
    assert escape(text, mode) == expected


def test_escape_line_ends_within_a_message_are_shown_and_sent_as_they_are() -> None:
    c = context()
    set_format(c, STDOUT, b"%n")
    line(c, b"drained")
    for name in (b"a\nb", b"c\r", b"d"):
        t = ffi.new("ps_render_case *", {"mode": FILE, "code": 2})
        c.check(lib.ps_render_test(c.handle, name, ffi.NULL, ffi.NULL, t, 1))
    [(_, text)] = c.drain_log()
    assert escape(text, Escape.UTF8) == b"a\\#012b\nc\\#015\nd\n"
    assert messages(text) == [b"a\nb\n", b"c\r\n", b"d\n"]


def test_escape_for_follows_the_character_set() -> None:
    assert escape_for("UTF-8", False) is Escape.UTF8
    assert escape_for("ANSI_X3.4-1968", False) is Escape.ASCII
    assert escape_for("UTF-8", True) is Escape.EIGHT_BIT


NUMBERS = [
    (0, 0, "0"), (0, 3, "0"), (999, 2, "999"), (1000, 1, "1,000"), (-1234567, 1, "-1,234,567"), (1000, 2, "1.00K"),
    (1000, 3, "1,000"), (1024, 3, "1.00K"), (999999, 2, "1000.00K"), (123456789, 2, "123.46M"), (10**15, 2, "1.00P"),
    (-(2**63), 0, "-9223372036854775808"), (2**63 - 1, 2, "9223.37P"), (-5000, 2, "-5.00K"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "human", "expected"), NUMBERS)
def test_big_num_levels(number: int, human: int, expected: str) -> None:
    assert big_num(number, human) == expected


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3))
def test_big_num_core_and_python_agree(number: int, human: int) -> None:
    out = ffi.new("char[]", 40)
    n = lib.ps_big_num(number, human, out)
    assert ffi.string(out).decode() == big_num(number, human)
    assert n == len(big_num(number, human))


def test_big_dnum_gets_commas_and_units() -> None:
    assert big_dnum(12.345, 1, 2) == "12.35" or big_dnum(12.345, 1, 2) == "12.34"
    assert big_dnum(1234567.5, 1, 2) == "1,234,567.50"
    assert big_dnum(1234567.5, 2, 2) == "1.23M"
