"""The texts of --help and --version."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping

from prsync.options import table
from prsync.version import __version__

PROGRAM, RSYNC = "prsync", "rsync"  # the names that it is called by
RSYNC_VERSION = "3.5.0"  # the one whose behaviour this is
PROTOCOL = "32.0"
EXTENSION = "nominate/1"
OPTIMIZATIONS = {"SIMD-roll": True, "asm-roll": False, "openssl-crypto": True, "asm-MD5": False}
WIDE = ("files", "inums", "timestamps", "long ints")
CHECKSUMS = ("xxh128", "xxh3", "xxh64", "md5", "md4", "sha1", "none")
COMPRESSIONS = ("zstd", "lz4", "zlibx", "zlib", "none")
AUTH_DIGESTS = ("sha512", "sha256", "sha1", "md5", "md4")

USAGE = """\
Usage: {program} [OPTION]... SRC [SRC]... DEST
  or   {program} [OPTION]... SRC [SRC]... [USER@]HOST:DEST
  or   {program} [OPTION]... SRC [SRC]... [USER@]HOST::DEST
  or   {program} [OPTION]... SRC [SRC]... rsync://[USER@]HOST[:PORT]/DEST
  or   {program} [OPTION]... [USER@]HOST:SRC... [DEST]
  or   {program} [OPTION]... [USER@]HOST::SRC... [DEST]
  or   {program} [OPTION]... rsync://[USER@]HOST[:PORT]/SRC... [DEST]
  or   {program} --daemon [OPTION]...      (the same as prsyncd; see --daemon --help)
One colon goes through a remote shell (-e), two or a URL to a daemon, where paths begin with a module. Without DEST the files
are listed. The short form of --help is -h alone.
"""
INTRODUCTION = "prsync: rsync's commands and wire protocol, with transfers spread over mirrors and verified against the origin.\n"
COPYRIGHT = "(C) 2026 by the maintainers of prsync, which stands in for rsync here."
WEB_SITE = "https://rsync.samba.org/"
CAVEAT = "prsync comes with ABSOLUTELY NO WARRANTY"
WIDTH = 76


def _options_text(rows: tuple[table.Row, ...], support: str) -> list[str]:
    lines = []
    for names, text, supported in table.documented_rows(rows):
        if supported != support:
            continue
        if len(names) > 30:
            lines += [f"  {names}", " " * 33 + text]
        else:
            lines.append(f"  {names:<30} {text}")
    return lines


def help_text(program: str = PROGRAM) -> str:
    """Called by rsync's name, it names nothing that is refused: scripts search it for what they may use."""
    rows = table.ROWS + table.OWN_ROWS
    usage = USAGE.format(program=program)
    head = [version_text(program=program), "", usage] if program == RSYNC else [INTRODUCTION, usage]
    lines = [*head, "Options:", *_options_text(rows, table.YES)]
    shown = set(re.findall(r"--[a-z0-9][a-z0-9-]*", "\n".join(lines)))
    others = [f"--{row.long}" for row in rows if row.long and row.support == table.YES and f"--{row.long}" not in shown]
    lines += ["", "Other spellings, --no- turning an option off:", _filled(" ".join(others), 100, "  ")]
    if program != RSYNC:
        later = [names.split(", ")[-1].split("=")[0] for names, _, support in table.documented_rows(rows) if support == table.NO]
        lines += ["", "Options of rsync that prsync refuses for now:", _filled(" ".join(later), 100, "  ")]
    return "\n".join(lines)


def _filled(text: str, width: int = WIDTH, indent: str = "    ") -> str:
    return textwrap.fill(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def version_text(as_json: bool = False, program: str = PROGRAM) -> str:
    if program == RSYNC:
        return _rsync_version_json() if as_json else _rsync_version()
    if as_json:
        return _json({"program": PROGRAM, "version": __version__, "protocol": PROTOCOL, "extension": EXTENSION} | _lists())
    return (
        f"prsync  version {__version__}  protocol version {PROTOCOL.partition('.')[0]}  (extension {EXTENSION})\n"
        f"{_shown_lists()}\n"
        "\n"
        f"{CAVEAT}. It is free software, and you may redistribute it\n"
        "under the terms of the GNU General Public License, version 3 or later."
    )


def _json(value: Mapping[str, object]) -> str:
    import json

    return json.dumps(value, indent=2)


def _lists() -> dict[str, object]:
    return {
        "checksum_list": CHECKSUMS, "compress_list": COMPRESSIONS, "daemon_auth_list": AUTH_DIGESTS, "license": "GPLv3",
    }  # fmt: skip


def _shown_lists() -> str:
    return (
        f"Checksum list:\n    {' '.join(CHECKSUMS)}\n"
        f"Compress list:\n    {' '.join(COMPRESSIONS)}\n"
        f"Daemon auth list:\n    {' '.join(AUTH_DIGESTS)}"
    )


def capabilities() -> dict[str, bool]:
    """What rsync's version text tells of, by its names there."""
    supported = {row.long for row in table.ROWS if row.support == table.YES}
    always = (
        "socketpairs", "symlinks", "symtimes", "hardlinks", "hardlink-specials", "hardlink-symlinks", "IPv6",
    )  # fmt: skip
    by_option = {
        "atimes": "atimes", "batchfiles": "write-batch", "inplace": "inplace", "append": "append", "ACLs": "acls",
        "ACL-at": "acls", "xattrs": "xattrs", "secluded-args": "secluded-args", "iconv": "iconv", "prealloc": "preallocate",
        "stop-at": "stop-at", "crtimes": "crtimes",
    }  # fmt: skip
    return dict.fromkeys(always, True) | {name: option in supported for name, option in by_option.items()}


def _rsync_version() -> str:
    """In the shape that scripts look for: the first line is rsync's, what is missing has "no" before it."""
    shown = {"secluded-args": "optional secluded-args"}
    words = [f"64-bit {what}" for what in WIDE]
    words += [shown.get(name, name) if there else f"no {name}" for name, there in capabilities().items()]
    return (
        f"rsync  version {RSYNC_VERSION}  protocol version {PROTOCOL.partition('.')[0]}\n"
        f"Copyright {COPYRIGHT}\n"
        f"Web site: {WEB_SITE} (of rsync; this is prsync {__version__}, extension {EXTENSION})\n"
        "Capabilities:\n"
        f"{_joined(words)}\n"
        "Optimizations:\n"
        f"    {', '.join(name if there else f'no {name}' for name, there in OPTIMIZATIONS.items())}\n"
        f"{_shown_lists()}\n"
        "\n"
        f"{CAVEAT}. It is free software, and you may redistribute it\n"
        "under the terms of the GNU General Public License, version 3 or later."
    )


def _joined(words: list[str]) -> str:
    """Commas between them; a word of two parts stays on one line."""
    return _filled(", ".join(word.replace(" ", "\0") for word in words)).replace("\0", " ")


def _rsync_version_json() -> str:
    bits = {f"{name}_bits": 64 for name in ("file", "inum", "timestamp", "long_int")}
    found: dict[str, object] = {name.replace("-", "_"): there for name, there in capabilities().items()}
    if found["secluded_args"]:
        found["secluded_args"] = "optional"
    value = {
        "program": RSYNC, "version": RSYNC_VERSION, "protocol": PROTOCOL, "implementation": f"prsync {__version__}",
        "extension": EXTENSION, "copyright": COPYRIGHT, "url": WEB_SITE, "capabilities": {**bits, **found},
        "optimizations": {name.replace("-", "_"): there for name, there in OPTIMIZATIONS.items()}, "caveat": CAVEAT,
    }  # fmt: skip
    return _json(value | _lists())
