"""Writes the option and parameter tables into README.md, between its markers; `--check` only compares."""

from __future__ import annotations

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from prsync.config.table import PARAMETERS, Support  # noqa: E402
from prsync.options.table import YES, documented_rows  # noqa: E402


def options() -> str:
    rows = documented_rows()
    lines = ["| option | what it does |", "|---|---|"]
    lines += [f"| `{names}` | {text} |" for names, text, support in rows if support == YES]
    later = ", ".join(f"`{names}`" for names, _, support in rows if support != YES)
    return "\n".join(lines) + f"\n\nNot yet (one line, exit 4, before any connection): {later}.\n"


def parameters() -> str:
    def names(support: Support) -> str:
        return ", ".join(f"`{p.name}`" for p in PARAMETERS.values() if p.support is support and not p.ours)

    return (
        f"Supported: {names(Support.FULL)}.\n\n"
        "prsync's own (a stock rsyncd logs and ignores them):\n\n| parameter | meaning |\n|---|---|\n"
        + "".join(f"| `{p.name}` | {p.note} |\n" for p in PARAMETERS.values() if p.ours)
        + "\n"
        f"Not yet (the daemon does not start, and says file and line): {names(Support.NOT_YET)}.\n"
    )


def filled(text: str) -> str:
    for name, table in (("options", options()), ("parameters", parameters())):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda m, t=table: m[1] + t + m[2], text, flags=re.S)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    current = readme.read_text()
    if "--check" in sys.argv:
        sys.exit(0 if filled(current) == current else "README.md: its tables are old; run tools/readme_tables.py")
    readme.write_text(filled(current))
