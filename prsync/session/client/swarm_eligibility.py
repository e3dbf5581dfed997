"""Whether a pull's options and arguments allow a swarm, and where its names lie within the module."""

from __future__ import annotations

from prsync.options.model import Options, as_bytes
from prsync.options.operands import Target

WILDCARDS = frozenset("*?[")


def swarm_possible(options: Options, target: Target) -> bool:
    """Whether options and arguments allow a swarm (protocol-spec/nominate-1.md §9)."""
    if options.mirrors == "off" or options.protocol < 31 or target.destination is None:
        return False
    if options.write_batch:
        return False
    if options.dry_run or options.list_only or options.inplace or options.append_mode or options.remove_source_files:
        return False
    return module_prefix(options, target) is not None


def module_prefix(options: Options, target: Target) -> bytes | None:
    """Where the transfer's names lie within the module: digests are named by their path in it. None: in several places, or at
    places that only the origin knows (wildcards)."""
    prefixes = {_prefix_of(path, options) for path in target.paths}
    if len(prefixes) != 1:
        return None
    prefix = prefixes.pop()
    return None if prefix is None else as_bytes(prefix)


def _prefix_of(path: str, options: Options) -> str | None:
    _, _, inside = path.partition("/")
    if options.relative_paths and "/./" not in f"/{inside}":
        return "" if options.files_from is None else _clean(inside)
    if "/./" in f"/{inside}":
        inside = inside[: f"/{inside}".index("/./")]
        return _clean(inside)
    directory = inside if options.files_from is not None or inside.endswith("/") or not inside else inside.rpartition("/")[0]
    if inside.rstrip("/").rpartition("/")[2] in (".", ".."):
        directory = inside
    return _clean(directory)


def _clean(path: str) -> str | None:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or any(c in WILDCARDS for part in parts for c in part):
        return None
    return "/".join(parts)
