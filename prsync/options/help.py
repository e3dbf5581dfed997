"""The texts of --help and --version."""

from __future__ import annotations

import textwrap

from prsync.options import table
from prsync.version import __version__

PROTOCOL = "32.0"
CHECKSUMS = ("xxh128", "xxh3", "xxh64", "md5", "md4", "sha1", "none")
COMPRESSIONS = ("zstd", "lz4", "zlibx", "zlib", "none")
AUTH_DIGESTS = ("sha512", "sha256", "sha1", "md5", "md4")

USAGE = """\
prsync: rsync's commands and wire protocol, with transfers spread over mirrors and verified against the origin.

Usage: prsync [OPTION]... [USER@]HOST::SRC... [DEST]
  or   prsync [OPTION]... rsync://[USER@]HOST[:PORT]/SRC... [DEST]
  or   prsync --daemon [OPTION]...      (the same as prsyncd; see --daemon --help)
Without DEST the files are listed. The short form of --help is -h alone.
"""


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


def help_text() -> str:
    rows = table.ROWS + table.OWN_ROWS
    later = [names.split(", ")[-1].split("=")[0] for names, _, support in table.documented_rows(rows) if support == table.NO]
    wrapped = textwrap.fill(" ".join(later), 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(
        [USAGE, "Options:", *_options_text(rows, table.YES), "", "Options of rsync that prsync refuses for now:", wrapped]
    )


def version_text(as_json: bool = False) -> str:
    if as_json:
        import json

        value = {
            "program": "prsync", "version": __version__, "protocol": PROTOCOL, "extension": "nominate/1",
            "checksum_list": CHECKSUMS, "compress_list": COMPRESSIONS, "daemon_auth_list": AUTH_DIGESTS, "license": "GPLv3",
        }  # fmt: skip
        return json.dumps(value, indent=2)
    return (
        f"prsync  version {__version__}  protocol version {PROTOCOL.partition('.')[0]}  (extension nominate/1)\n"
        f"Checksum list:\n    {' '.join(CHECKSUMS)}\n"
        f"Compress list:\n    {' '.join(COMPRESSIONS)}\n"
        f"Daemon auth list:\n    {' '.join(AUTH_DIGESTS)}\n"
        "\n"
        "prsync comes with ABSOLUTELY NO WARRANTY. It is free software, and you may redistribute it\n"
        "under the terms of the GNU General Public License, version 3 or later."
    )
