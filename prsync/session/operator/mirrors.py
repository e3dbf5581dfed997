"""`prsyncctl mirrors` and `prsyncctl drain`: a module's leases, as its tracker tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prsync.config.model import Config, Module, load_config
from prsync.errors import FileError, UsageError
from prsync.registry.tracker_messages import decode_line, encode_line
from prsync.session.helpers.index_place import index_place, registers, tracker_place
from prsync.session.helpers.sockets import ask
from prsync.session.operator.configured import configured_module

ANSWER_SECONDS = 10.0
HEADS = ("URL", "STATE", "EXPIRES", "BYTES", "SHARE", "LAST REPORT")


def show_mirrors(config_path: str, module_name: str, environment: Mapping[str, str]) -> str:
    """The table of a module's leases, a line each. Raises PrsyncError."""
    config, module = configured_module(config_path, module_name, environment)
    if not registers(module.values):
        raise UsageError(f'module {module_name} takes no registrations: set "nominate = registered"')
    rows = _ask(config, module, environment, {"do": "list"})["mirrors"]
    if not rows:
        return f"{module_name}: no mirror is registered"
    return "\n".join(_table(rows))


def drain_mirror(config_path: str, url: str, drained: bool, environment: Mapping[str, str]) -> str:
    """Has a mirror nominated no more, or again. Raises PrsyncError, also where no module knows the mirror."""
    config = load_config(config_path, environment).usable()
    for module in config.modules:
        if registers(module.values):
            answer = _ask(config, module, environment, {"do": "drain", "url": url, "drained": drained})
            if answer["drained"]:
                return f"{url} is nominated {'no more' if drained else 'again'}; its lease stays"
    raise UsageError(f"no module of {config_path} has a lease for {url}: see prsyncctl mirrors MODULE")


def _ask(config: Config, module: Module, environment: Mapping[str, str], message: dict[str, Any]) -> dict[str, Any]:
    place = tracker_place(index_place(config, module, environment))
    answer = ask(place, f"the tracker of module {module.name}", encode_line(message), ANSWER_SECONDS)
    if answer is None:
        raise FileError(f"no tracker runs for module {module.name}: is prsyncd running with this configuration?")
    return decode_line(answer)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    total = sum(row["received"] for row in rows)
    cells = [HEADS]
    for row in sorted(rows, key=lambda row: (-row["received"], row["url"])):
        share = f"{100 * row['received'] / total:.0f}%" if total else "-"
        cells.append((row["url"], _state(row), f"{row['expires']}s", f"{row['received']:,}", share, _report(row)))
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADS))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _state(row: Mapping[str, Any]) -> str:
    return f"{row['state']}: {row['why']}" if row["why"] and row["state"] != "granted" else str(row["state"])


def _report(row: Mapping[str, Any]) -> str:
    if row["verdict"] is None:
        return "-"
    return str(row["verdict"]) + (f" {row['reported']}s ago" if row["reported"] is not None else "")
