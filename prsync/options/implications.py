"""What follows from a set of options together: options.c:parse_arguments after its loop."""

from __future__ import annotations

import posixpath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from prsync.errors import ExitCode, PrsyncError, UsageError
from prsync.options.model import (
    CHECKSUM_NAMES,
    COMPRESS_AUTO,
    COMPRESS_KINDS,
    DEFAULT_BACKUP_SUFFIX,
    DELAYED_PARTIAL_DIR,
    NOT_SPECIFIED_LEVEL,
    Exit,
    Options,
    RuleArgument,
    as_bytes,
)
from prsync.options.operands import host_and_path
from prsync.options.values import CLIENT, IMPLIED, RECEIVER, SENDER, SERVER

BATCH_NAME_BYTES = 256  # options.c:MAX_BATCH_NAME_LEN

if TYPE_CHECKING:
    from prsync.options.read import Reader

PATH_MAX = 4096


def format_has(text: str | None, escape: str) -> bool:
    """log.c:log_format_has."""
    at = 0
    while text and (at := text.find("%", at) + 1):
        while at < len(text) and text[at] in "-'0123456789":
            at += 1
        if text[at : at + 1] == escape:
            return True
        if text[at : at + 1] == "%":
            at += 1
    return False


def finish(reader: Reader, arguments: tuple[str, ...]) -> Options:
    """Raises UsageError for combinations that rsync refuses."""
    from prsync.options.read import check_protocol

    values = {name: getattr(Options, name) for name in Options.__annotations__} | reader.values
    values.update({name: tuple(items) for name, items in reader.lists.items()}, arguments=arguments)
    state = _State(reader, values)
    if reader.server:
        values["client_info"] = values["shell_cmd"] or ""
        values["shell_cmd"] = None
    else:
        values["am_sender"] = bool(arguments) and not values["read_batch"] and host_and_path(arguments[0]) is None
    check_protocol(values["protocol"], "Server" if reader.server else "Client")
    for step in (_arguments, _checksums, _compression, _what, _deletion, _backups, _output, _update_in_place, _files_from):
        step(state)
    values["rules"] = tuple(reader.rules)
    sides = SENDER if not values["am_sender"] else RECEIVER
    values["info_option"] = reader.info.as_option((CLIENT if reader.server else SERVER) | sides)
    values["info"] = MappingProxyType(dict(reader.info.levels))
    return Options(**values)


class _State:
    """The options being finished."""

    def __init__(self, reader: Reader, values: dict[str, Any]) -> None:
        self.reader, self.values, self.server = reader, values, reader.server


def _arguments(state: _State) -> None:
    values, environment = state.values, state.reader.environment
    if values["human_readable"] > 1 and state.reader.only_word and not state.server:
        from prsync.options.help import help_text

        raise Exit(help_text(state.reader.program))
    protect, old = state.reader.values.get("protect_args", -1), state.reader.values.get("old_style_args", -1)
    if old < 0:
        old = 0
        if not state.server and protect <= 0 and (wanted := environment.get("RSYNC_OLD_ARGS")):
            protect, old = 0, _leading_number(wanted)
    elif old:
        if protect > 0:
            raise UsageError("rsync: --secluded-args conflicts with --old-args.")
        protect = 0
    if protect < 0:
        protect = 0
        if not state.server and (wanted := environment.get("RSYNC_PROTECT_ARGS")):
            protect = 1 if _leading_number(wanted) else 0
    values.update(protect_args=protect, old_style_args=old)


def _leading_number(text: str) -> int:
    digits = text.lstrip()[: len(text.lstrip()) - len(text.lstrip().lstrip("0123456789"))]
    return int(digits or 0)


def _checksums(state: _State) -> None:
    """checksum.c:parse_checksum_choice(0)."""
    choice = state.values["checksum_choice"]
    if choice is None or choice.lower() in ("auto", "auto,auto"):
        state.values["checksum_choice"] = None
        return
    names = choice.split(",", 1)
    for name in names:
        if name.lower() not in (*CHECKSUM_NAMES, "auto"):
            raise PrsyncError(f"unknown checksum name: {name}", ExitCode.UNSUPPORTED)
    if names[0].lower() == "none":
        state.values["whole_file"] = 1


def _compression(state: _State) -> None:
    """compat.c:parse_compress_choice(0) and the lines around its call."""
    values = state.values
    choice = values["compress_choice"]
    if choice is None and values["do_compression"] > 1:
        choice = "zlibx"
    if choice is not None and choice.lower() != "auto":
        kind = COMPRESS_KINDS.get(choice.lower())
        if kind is None:
            raise PrsyncError(f"unknown compress name: {choice}", ExitCode.UNSUPPORTED)
        values["do_compression"] = kind
        choice = choice if kind else "none"
    else:
        choice = None
    values["compress_choice"] = choice
    if not values["do_compression"] and values["compress_level"] != NOT_SPECIFIED_LEVEL:
        values["do_compression"] = COMPRESS_AUTO
    if values["do_compression"]:
        state.reader.imply("compress")


def _what(state: _State) -> None:
    """Which entries are sent: recursion, directories, relative paths."""
    values, server = state.values, state.server
    if values["tmpdir"] is not None and len(values["tmpdir"]) >= PATH_MAX - 10:
        raise UsageError("rsync: the --temp-dir path is WAY too long.")
    if values["max_delete"] is not None and values["max_delete"] < 0:
        values["max_delete"] = 0
    _batches(values, server)
    if values["files_from"] is not None:
        if values["recurse"] == 1:
            values["recurse"] = 0
        if values["xfer_dirs"] < 0:
            values["xfer_dirs"] = 1
    if len(values["arguments"]) < 2 and not server and not values["read_batch"]:
        values["list_only"] |= 1
    if values["xfer_dirs"] >= 4:
        state.reader.rules.append(RuleArgument("filter", "- /*/*"))
        values["recurse"] = values["xfer_dirs"] = 1
    elif values["recurse"]:
        values["xfer_dirs"] = 1
    elif values["xfer_dirs"] < 0:
        values["xfer_dirs"] = 1 if values["list_only"] else 0
    if values["relative_paths"] < 0:
        values["relative_paths"] = 1 if values["files_from"] is not None else 0
    if not values["relative_paths"]:
        values["implied_dirs"] = 0
    if values["fuzzy_basis"] > 1:
        values["fuzzy_basis"] = len(values["basis_dirs"]) + 1
    if values["missing_args"] == 3:
        values["missing_args"] = 2


def _batches(values: dict[str, Any], server: bool) -> None:
    """options.c:parse_arguments: which batch options go with what."""
    if values["write_batch"] and values["read_batch"]:
        raise UsageError("rsync: --write-batch and --read-batch can not be used together")
    if server and (values["write_batch"] > 0 or values["read_batch"]):
        values.update(write_batch=0, read_batch=0, batch_name=None)  # old clients send them
    if values["dry_run"]:
        values["write_batch"] = 0
    if values["read_batch"] and values["files_from"] is not None:
        raise UsageError("rsync: --read-batch cannot be used with --files-from")
    if values["read_batch"] and values["remove_source_files"]:
        which = "source" if values["remove_source_files"] == 1 else "sent"
        raise UsageError(f"rsync: --read-batch cannot be used with --remove-{which}-files")
    if values["batch_name"] and len(as_bytes(values["batch_name"])) > BATCH_NAME_BYTES:
        raise UsageError(f"rsync: the batch-file name must be {BATCH_NAME_BYTES} characters or less.")


def _deletion(state: _State) -> None:
    values = state.values
    if values["delete_before"] + bool(values["delete_during"]) + values["delete_after"] > 1:
        raise UsageError("rsync: You may not combine multiple --delete-WHEN options.")
    chosen = bool(values["delete_before"] or values["delete_during"] or values["delete_after"])
    if chosen or values["delete_excluded"]:
        values["delete_mode"] = 1
    if values["delete_mode"] and not chosen:
        _choose_when(state)
    if not values["xfer_dirs"] and values["delete_mode"]:
        raise UsageError("rsync: --delete does not work without --recursive (-r) or --dirs (-d).")
    if values["delete_mode"] or values["missing_args"] == 2 or (values["remove_source_files"] and values["am_sender"]):
        state.reader.imply("delete")


def _choose_when(state: _State) -> None:
    """Where a daemon refuses one way of --delete, the other is taken."""
    reader, values = state.reader, state.values
    if reader.refuses("delete-before"):
        if reader.refuses("delete-during"):
            reader.imply("delete-before")
        values["delete_during"] = 1
    elif reader.refuses("delete-during"):
        values["delete_before"] = 1


def _backups(state: _State) -> None:
    values = state.values
    directory, suffix = values["backup_dir"], values["backup_suffix"]
    if suffix is None:
        suffix = "" if directory is not None else DEFAULT_BACKUP_SUFFIX
    if "/" in suffix:
        raise UsageError(f"rsync: --suffix cannot contain slashes: {suffix}")
    same_directory = False
    if directory is not None:
        values["make_backups"] = 1
        while directory.startswith("./"):
            directory = directory[2:]
        directory = None if directory in ("", ".") else directory
        same_directory = directory is None
        if directory and len(directory) > PATH_MAX - 128:
            raise UsageError("rsync: the --backup-dir path is WAY too long.")
    if directory is None:
        if not suffix and not (state.server and values["am_sender"]):
            where = "when --backup-dir is the same as the dest dir" if same_directory else "without a --backup-dir"
            raise UsageError(f"rsync: --suffix cannot be empty {where}")
        if values["make_backups"] and values["delete_mode"] and not values["delete_excluded"] and not state.server:
            state.reader.rules.append(RuleArgument("filter", f"P *{suffix}"))
        if values["make_backups"]:
            values["omit_dir_times"] = -1  # implied, so not sent as -O
    values.update(backup_dir=directory, backup_suffix=suffix)


def _output(state: _State) -> None:
    values, info = state.values, state.reader.info
    info.apply_verbosity(values["verbose"])
    if values["do_stats"]:
        info.apply("stats3" if values["verbose"] > 1 else "stats2", IMPLIED)
    wanted, itemize, client = values["stdout_format"], values["itemize_changes"], not state.server
    if wanted is not None:
        if state.server and format_has(wanted, "I"):
            values["stdout_format_has_i"] = 2
        elif format_has(wanted, "i"):
            values["stdout_format_has_i"] = itemize | 1
        if not any(format_has(wanted, letter) for letter in "bcC"):
            values["log_before_transfer"] = client
    elif itemize:
        wanted = "%i %n%L"
        values.update(stdout_format_has_i=itemize, log_before_transfer=client)
    if values["do_progress"] and client:
        if not values["log_before_transfer"] and not info.levels["NAME"]:
            info.apply("name", IMPLIED)
        info.apply("FLIST2,PROGRESS", IMPLIED)
    if info.levels["NAME"] >= 1 and wanted is None:
        wanted = "%n%L"
        values["log_before_transfer"] = client
    values["stdout_format"] = wanted
    values["stdout_format_has_o_or_i"] = bool(values["stdout_format_has_i"]) or format_has(wanted, "o")
    if values["logfile_name"]:
        log_format = values["logfile_format"]
        if log_format is None:
            log_format = values["logfile_format"] = "%i %n%L"
        values["logfile_format_has_i"] = format_has(log_format, "i")
        values["logfile_format_has_o_or_i"] = values["logfile_format_has_i"] or format_has(log_format, "o")
    else:
        values["logfile_format"] = None


def _update_in_place(state: _State) -> None:
    values = state.values
    if values["append_mode"]:
        if values["whole_file"] > 0:
            raise UsageError("rsync: --append cannot be used with --whole-file")
        values["inplace"] = 1
    if values["write_devices"]:
        values["inplace"] = 1
    if values["append_mode"] or values["write_devices"]:
        state.reader.imply("inplace")
    if values["delay_updates"] and values["partial_dir"] is None:
        values["partial_dir"] = DELAYED_PARTIAL_DIR
    if values["inplace"]:
        if values["partial_dir"] is not None:
            first = "append" if values["append_mode"] else "inplace"
            second = "delay-updates" if values["delay_updates"] else "partial-dir"
            raise UsageError(f"rsync: --{first} cannot be used with --{second}")
        state.reader.imply("partial")
        values["keep_partial"] = 0
        return
    if values["keep_partial"] and values["partial_dir"] is None and not state.server:
        values["partial_dir"] = state.reader.environment.get("RSYNC_PARTIAL_DIR") or None
    if values["partial_dir"] is not None:
        values["partial_dir"] = clean_name(values["partial_dir"])
        if values["partial_dir"] is None:
            state.reader.imply("partial")
        values["keep_partial"] = 1
    if values["partial_dir"] and not values["partial_dir"].startswith("/") and not state.server:
        state.reader.rules.append(RuleArgument("partial_dir", values["partial_dir"]))


def clean_name(path: str) -> str | None:
    """util1.c:clean_fname with CFN_COLLAPSE_DOT_DOT_DIRS; None for the current directory."""
    cleaned = posixpath.normpath(path) if path else "."
    if cleaned.startswith("//"):
        cleaned = cleaned[1:]
    return None if cleaned == "." else cleaned


def _files_from(state: _State) -> None:
    values = state.values
    name = values["files_from"]
    if name is None:
        return
    count = len(values["arguments"])
    if count > 2 or (not state.server and count == 1):
        raise UsageError("rsync: --files-from needs one source and one destination (see --help)")
    if name == "-":
        if state.server:
            values["files_from_host"] = ""
        return
    spec = host_and_path(name)
    if spec is None:
        return
    if state.server:
        raise UsageError("rsync: The --files-from sent to the server cannot specify a host.")
    if spec.path == "-":
        raise UsageError("rsync: Invalid --files-from remote filename")
    values.update(files_from=spec.path, files_from_host=spec.host)
