"""The arguments that a client sends to a server, and their reading there (options.c:server_options, and back)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from prsync.options import table
from prsync.options.model import (
    COMPRESS_ZLIB,
    COMPRESS_ZLIBX,
    DEFAULT_BACKUP_SUFFIX,
    DELAYED_PARTIAL_DIR,
    NOT_SPECIFIED_LEVEL,
    Options,
    as_bytes,
)
from prsync.options.read import Reader
from prsync.options.values import InfoLevels

SHELL_CHARACTERS = "!#$&;|<>(){}\"'` \t\n\r\\"
WILD_CHARACTERS = "*?[]"
MAX_VERBOSE = 9
CAPABILITIES = "LsfxCIvu"  # compat.c reads them; "i" before them where incremental lists are possible
CAPABILITIES_PROTOCOL = 30  # the first that reads them
SWARM_CAPABILITY = "Q"  # protocol-spec/nominate-1.md


def allows_incremental(options: Options) -> bool:
    """compat.c:set_allow_inc_recurse, as far as the options decide."""
    if not options.recurse or options.use_qsort or not options.allow_inc_recurse:
        return False
    if options.am_sender:
        return True
    return not (options.delete_before or options.delete_after or options.delay_updates or options.prune_empty_dirs)


def safe_arg(options: Options, option: str | None, text: str, split_when_old: bool = False) -> str:
    """options.c:safe_arg: backslashes before what the remote's shell or its globbing would take as special.

    `option` None: a file name; "": a value that is an argument of its own; else "option=value".
    """
    is_name = option is None and not split_when_old
    prefix = f"{option}=" if option else ""
    escapes = SHELL_CHARACTERS if is_name else WILD_CHARACTERS + SHELL_CHARACTERS
    dash = "./" if is_name and text.startswith("-") else ""
    old = options.old_style_args
    if options.protect_args or old >= 2 or (old and (is_name or split_when_old)):
        return prefix + dash + text
    out = ["\\"] if is_name and text.startswith("~") and _hides_tilde(options, text) else []
    for at, letter in enumerate(text):
        following = text[at + 1 : at + 2]
        before_wildcard = is_name and letter == "\\" and following != "" and following in WILD_CHARACTERS
        special = letter in escapes and not before_wildcard
        out.append("\\" + letter if special else letter)
    return prefix + dash + "".join(out)


def _hides_tilde(options: Options, name: str) -> bool:
    """A home directory's name must not come back in the file list, where no argument stands for it."""
    trusts_sender = options.trust_sender or options.old_style_args or options.files_from_host is not None
    if options.am_sender or trusts_sender:
        return False
    return "/" not in name or (options.relative_paths > 0 and "/./" not in name)


def _letters(options: Options, swarm: bool) -> str:
    """The bundle of short options; "" for none."""
    o, push = options, options.am_sender
    found = "s" if o.protect_args else ""
    found += "v" * min(o.verbose, MAX_VERBOSE)
    only_dirs = 2 <= o.xfer_dirs < 4 or (o.xfer_dirs and not o.recurse and (o.list_only or (o.delete_mode and push)))
    for letter, count in (
        ("q", o.quiet and o.msgs2stderr), ("b", o.make_backups), ("u", o.update_only), ("n", o.dry_run),
        ("l", o.preserve_links), ("d", only_dirs), ("K", push and o.keep_dirlinks), ("m", push and o.prune_empty_dirs),
        ("O", push and o.omit_dir_times > 0), ("J", push and o.omit_link_times), ("L", not push and o.copy_links),
        ("k", not push and o.copy_dirlinks),
    ):  # fmt: skip
        found += letter if count else ""
    found += "y" * min(o.fuzzy_basis if push else 0, 2)
    for letter, count in (
        ("W", o.whole_file > 0), ("H", min(o.preserve_hard_links, 2)), ("o", bool(o.preserve_uid)), ("g", bool(o.preserve_gid)),
        ("D", bool(o.preserve_devices)), ("t", bool(o.preserve_mtimes)), ("U", min(o.preserve_atimes, 2)),
        ("p", bool(o.preserve_perms)), ("E", push and o.preserve_executability and not o.preserve_perms),
        ("A", bool(o.preserve_acls)), ("X", min(o.preserve_xattrs, 2)), ("r", bool(o.recurse)), ("c", bool(o.always_checksum)),
        ("C", bool(o.cvs_exclude)), ("I", bool(o.ignore_times)), ("R", bool(o.relative_paths)), ("x", min(o.one_file_system, 2)),
        ("S", bool(o.sparse_files)), ("z", o.do_compression == COMPRESS_ZLIB),
    ):  # fmt: skip
        found += letter * int(count)
    if o.protocol >= CAPABILITIES_PROTOCOL:
        found += "e." + ("i" if allows_incremental(o) else "") + CAPABILITIES + (SWARM_CAPABILITY if swarm else "")
    return "-" + found if found else ""


def server_arguments(options: Options, swarm: bool = False) -> tuple[list[str], list[str]]:
    """What a client tells the server before the "." and the paths: (plain, secluded).

    The second list is empty without --secluded-args; with it, the server gets it in a batch of its own.
    `swarm`: this client could take data from mirrors, and says so.
    """
    plain = ["--server"] if options.am_sender else ["--server", "--sender"]
    if letters := _letters(options, swarm):
        plain.append(letters)
    if options.iconv is not None:
        plain.append(safe_arg(options, "--iconv", options.iconv.partition(",")[2] or options.iconv))
    rest = list(_long_arguments(options))
    return (plain, _secluded(rest)) if options.protect_args else (plain + rest, [])


def _secluded(words: Iterable[str]) -> list[str]:
    """rsync.c:send_protected_args: an empty argument would end the batch."""
    return [word or "." for word in words]


def _long_arguments(o: Options) -> Iterator[str]:
    """In rsync's order."""
    if o.list_only > 1:
        yield "--list-only"
    if o.am_sender and o.xfer_dirs and not o.recurse and o.delete_mode:
        yield "--no-r"
    if o.do_compression and o.compress_level != NOT_SPECIFIED_LEVEL:
        yield f"--compress-level={o.compress_level}"
    if o.preserve_devices:
        if not o.preserve_specials:
            yield "--no-specials"
    elif o.preserve_specials:
        yield "--specials"
    if o.am_sender and o.stdout_format:
        yield from _log_format(o)
    if o.msgs2stderr != 2:
        yield "--msgs2stderr" if o.msgs2stderr else "--no-msgs2stderr"
    if o.block_size:
        yield f"-B{o.block_size}"
    if o.io_timeout:
        yield f"--timeout={o.io_timeout}"
    if o.bwlimit:
        yield f"--bwlimit={o.bwlimit}"
    if o.backup_dir is not None:
        yield "--backup-dir"
        yield safe_arg(o, "", o.backup_dir)
    suffix = o.backup_suffix if o.backup_suffix is not None else DEFAULT_BACKUP_SUFFIX
    if suffix != ("" if o.backup_dir is not None else DEFAULT_BACKUP_SUFFIX):
        yield safe_arg(o, "--suffix", suffix)
    yield from _algorithms(o)
    if o.am_sender:
        yield from _receiver_selection(o)
    elif o.skip_compress:
        yield safe_arg(o, "--skip-compress", o.skip_compress)
    yield from _limits_and_names(o)
    if o.am_sender:
        yield from _receiver_places(o)
    yield from _update_ways(o)
    for option in o.remote_options:
        yield safe_arg(o, None, option, split_when_old=True)


def _log_format(o: Options) -> Iterator[str]:
    """What a receiving server has to know of the client's format."""
    if o.stdout_format_has_i > 1:
        yield "--log-format=%i%I"
    elif o.stdout_format_has_i:
        yield "--log-format=%i"
    elif o.stdout_format_has_o_or_i:
        yield "--log-format=%o"
    elif not o.verbose:
        yield "--log-format=X"


def _algorithms(o: Options) -> Iterator[str]:
    if o.checksum_choice:
        yield safe_arg(o, "--checksum-choice", o.checksum_choice)
    if o.do_compression == COMPRESS_ZLIBX:
        yield "--new-compress"
    elif o.compress_choice and o.do_compression == COMPRESS_ZLIB:
        yield "--old-compress"
    elif o.compress_choice:
        yield safe_arg(o, "--compress-choice", o.compress_choice)


def _receiver_selection(o: Options) -> Iterator[str]:
    """What only a receiving server does: deletion, sizes."""
    if o.max_delete is not None:
        yield f"--max-delete={o.max_delete or -1}"
    if o.min_size >= 0:
        yield f"--min-size={o.min_size}"
    if o.max_size >= 0:
        yield f"--max-size={o.max_size}"
    if o.delete_before:
        yield "--delete-before"
    elif o.delete_during:
        yield "--delete-delay" if o.delete_during == 2 else "--delete-during"
    elif o.delete_after:
        yield "--delete-after"
    elif o.delete_mode and not o.delete_excluded:
        yield "--delete"
    if o.delete_excluded:
        yield "--delete-excluded"
    if o.force_delete:
        yield "--force"
    if o.write_batch < 0:
        yield "--only-write-batch=X"
    if o.super == 2:
        yield "--super"
    if o.size_only:
        yield "--size-only"
    if o.do_stats:
        yield "--stats"


def _limits_and_names(o: Options) -> Iterator[str]:
    if o.max_alloc_arg is not None:
        yield safe_arg(o, "--max-alloc", o.max_alloc_arg)
    if o.missing_args == 2:
        yield "--delete-missing-args"
    elif o.missing_args and not o.am_sender:
        yield "--ignore-missing-args"
    if o.modify_window_set and o.am_sender:
        yield f"-@{o.modify_window}" if o.modify_window < 0 else f"--modify-window={o.modify_window}"
    if o.checksum_seed:
        yield f"--checksum-seed={o.checksum_seed}"
    if o.am_sender and o.partial_dir is not None:
        if not (o.delay_updates and o.partial_dir == DELAYED_PARTIAL_DIR):
            yield "--partial-dir"
            yield safe_arg(o, "", o.partial_dir)
        if o.delay_updates:
            yield "--delay-updates"
    elif o.am_sender and o.keep_partial:
        yield "--partial"
    for wanted, option in (
        (o.ignore_errors, "--ignore-errors"), (o.copy_unsafe_links, "--copy-unsafe-links"), (o.safe_symlinks, "--safe-links"),
        (o.numeric_ids, "--numeric-ids"), (o.use_qsort, "--use-qsort"),
    ):  # fmt: skip
        if wanted:
            yield option


def _receiver_places(o: Options) -> Iterator[str]:
    """What only a receiving server does: owners, what exists already, other directories."""
    if o.usermap is not None:
        yield safe_arg(o, "--usermap", o.usermap)
    if o.groupmap is not None:
        yield safe_arg(o, "--groupmap", o.groupmap)
    if o.ignore_existing:
        yield "--ignore-existing"
    if o.ignore_non_existing:
        yield "--existing"
    if o.tmpdir is not None:
        yield "--temp-dir"
        yield safe_arg(o, "", o.tmpdir)
    if o.do_fsync:
        yield "--fsync"
    for directory in o.basis_dirs:
        yield f"--{o.alt_dest}-dest"
        yield safe_arg(o, "", directory)


def _update_ways(o: Options) -> Iterator[str]:
    if o.info_option:
        yield o.info_option
    if o.append_mode:
        yield from ["--append"] * min(o.append_mode, 2)
    elif o.inplace:
        yield "--inplace"
        if o.am_sender and o.sparse_files and not o.whole_file:
            yield "--no-W"
    if o.files_from is not None:
        yield from _files_from(o)
    if o.relative_paths and not o.implied_dirs and (not o.am_sender or o.protocol >= CAPABILITIES_PROTOCOL):
        yield "--no-implied-dirs"
    if o.write_devices and o.am_sender:
        yield "--write-devices"
    if o.remove_source_files:
        yield "--remove-source-files" if o.remove_source_files == 1 else "--remove-sent-files"
    if o.copy_devices and not o.am_sender:
        yield "--copy-devices"
    if o.preallocate_files and o.am_sender:
        yield "--preallocate"
    if o.open_noatime and o.preserve_atimes <= 1:
        yield "--open-noatime"
    if o.mkpath_dest_arg and o.am_sender:
        yield "--mkpath"


def _files_from(o: Options) -> Iterator[str]:
    if o.files_from_host is not None:
        yield "--files-from"
        yield safe_arg(o, "", o.files_from or "")
        if o.eol_nulls:
            yield "--from0"
    elif o.am_sender:
        return
    else:
        yield "--files-from=-"
        yield "--from0"
    if not o.relative_paths:
        yield "--no-relative"


def path_arguments(options: Options, module: str, paths: Sequence[str]) -> list[str]:
    """clientserver.c:start_inband_exchange: the "." and a daemon's paths, safe from being split at the module's name."""
    split = f" {module}/"
    found = ["."]
    for path in paths:
        if path == module:
            found.append(module + "/")
            continue
        dash = "./" if path.startswith("-") else ""
        found.append(dash + (path if options.old_style_args else path.replace(split, f"[ ]{split[1:]}")))
    return found


def shell_arguments(options: Options, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """main.c:do_cmd: all that follows the program's name on a remote shell's command line, and the secluded batch."""
    plain, secluded = server_arguments(options)
    names = [".", *(safe_arg(options, None, path) for path in paths)]
    return (plain, secluded + names) if options.protect_args else (plain + names, [])


# ---- the daemon's side


def parse_server_arguments(arguments: Sequence[str], refuse: str = "") -> Options:
    """The arguments that a client sent (the module's paths stay in `arguments`, after the ".").

    With protect_args set in the result, the daemon reads a second batch and parses `[*first[:n], *second]` again.
    `refuse`: the module's `refuse options`. Raises UsageError with the line that the client is to see, and UnsupportedError.
    """
    return Reader({}, server=True, refused=refused_rows(refuse)).parse_server(arguments)


# Refused by nothing but their exact name, or always accepted (options.c:set_refuse_options).
EXACT_ONLY = frozenset(
    ("iconv", "no-iconv", "checksum-seed", "copy-devices", "write-devices", "log-format", "sender", "server", "rsh", "from0",
     "secluded-args", "dry-run")
)  # fmt: skip
ALWAYS_REFUSED = ("log-file*", "insecure-links", "iconv")


def refused_rows(refuse: str) -> frozenset[table.Row]:
    """options.c:set_refuse_options: the rows that `refuse options = ...` forbids."""
    refused: dict[table.Row, bool] = {}
    for word in ("copy-devices", "write-devices", *refuse.split(), *ALWAYS_REFUSED):
        negated = word.startswith("!") and len(word) > 1
        _match_refusal(word[1:] if negated else word, not negated, refused)
    return frozenset(row for row, is_refused in refused.items() if is_refused)


def _match_refusal(pattern: str, value: bool, refused: dict[table.Row, bool]) -> None:
    from prsync.engine.rules import wildmatch  # clients match nothing here

    wild = any(c in pattern for c in "*?[")
    if pattern in ("a", "archive"):
        pattern, wild = "[ardlptgoD]", True
    for row in table.ROWS:
        names = [name for name in (row.long, row.short) if name]
        if not any(wildmatch(as_bytes(pattern), name.encode()) for name in names):
            continue
        if not wild:
            for other in table.ROWS:
                if other == row or _same_action(other, row):
                    refused[other] = value
            return
        if row.long not in EXACT_ONLY:
            refused[row] = value


def _same_action(a: table.Row, b: table.Row) -> bool:
    """options.c:same_refuse_action: another spelling of the same."""

    def stored(row: table.Row) -> int | None:
        return row.value if row.kind == table.SET else 1 if row.kind == table.FLAG else None

    if stored(a) is not None and stored(b) is not None:
        return a.dest == b.dest and stored(a) == stored(b)
    return (a.kind, a.dest, a.value, a.action) == (b.kind, b.dest, b.value, b.action)


def limit_verbosity(options: Options, most: int) -> Options:
    """A daemon's `max verbosity` (options.c:limit_output_verbosity)."""
    allowed = InfoLevels()
    for level, words in enumerate(_verbosity_words()):
        if level <= most:
            allowed.apply(words, 0)
    limited: Mapping[str, int] = {name: min(level, allowed.levels[name]) for name, level in options.info.items()}
    return options.replace(verbose=min(options.verbose, most), info=MappingProxyType(dict(limited)))


def _verbosity_words() -> tuple[str, ...]:
    from prsync.options.values import INFO_VERBOSITY

    return INFO_VERBOSITY
