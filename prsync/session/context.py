"""What the core must know of a session: options and negotiation into its context. For both sides of a session."""

from __future__ import annotations

import os

from prsync.engine import formats
from prsync.engine.context import Context
from prsync.engine.native import lib
from prsync.options.model import Options, as_bytes
from prsync.options.values import parse_chmod
from prsync.protocol.negotiated_options import fill_negotiated
from prsync.protocol.negotiation import Compat, Negotiated

DELETE_MODES = {
    "": lib.PS_DELETE_NONE, "before": lib.PS_DELETE_BEFORE, "during": lib.PS_DELETE_DURING, "delay": lib.PS_DELETE_DELAY,
    "after": lib.PS_DELETE_AFTER,
}  # fmt: skip
ALT_KINDS = {"": lib.PS_ALT_NONE, "compare": lib.PS_ALT_COMPARE, "copy": lib.PS_ALT_COPY, "link": lib.PS_ALT_LINK}

# field of ps_opts ← field of Options
COPIED = {
    "links": "preserve_links", "hard_links": "preserve_hard_links", "perms": "preserve_perms",
    "executability": "preserve_executability", "times": "preserve_mtimes", "owner": "preserve_uid", "group": "preserve_gid",
    "devices": "preserve_devices", "specials": "preserve_specials", "drop_devices": "drop_devices",
    "omit_dir_times": "omit_dir_times", "omit_link_times": "omit_link_times", "atimes": "preserve_atimes",
    "acls": "preserve_acls", "xattrs": "preserve_xattrs", "numeric_ids": "numeric_ids", "relative": "relative_paths",
    "implied_dirs": "implied_dirs", "copy_links": "copy_links", "copy_dirlinks": "copy_dirlinks",
    "keep_dirlinks": "keep_dirlinks", "copy_unsafe_links": "copy_unsafe_links", "safe_links": "safe_symlinks",
    "one_file_system": "one_file_system", "prune_empty_dirs": "prune_empty_dirs", "checksum": "always_checksum",
    "cvs_exclude": "cvs_exclude", "mkpath": "mkpath_dest_arg", "update": "update_only", "existing": "ignore_non_existing",
    "ignore_existing": "ignore_existing", "size_only": "size_only", "ignore_times": "ignore_times",
    "modify_window": "modify_window", "max_size": "max_size", "min_size": "min_size", "dry_run": "dry_run",
    "list_only": "list_only", "whole_file": "whole_file", "sparse": "sparse_files", "block_size": "block_size",
    "inplace": "inplace", "append": "append_mode", "partial": "keep_partial", "delay_updates": "delay_updates",
    "preallocate": "preallocate_files", "fuzzy": "fuzzy_basis", "backup": "make_backups", "delete_excluded": "delete_excluded",
    "force_delete": "force_delete", "ignore_errors": "ignore_errors", "remove_source_files": "remove_source_files",
    "open_noatime": "open_noatime", "trust_sender": "trust_sender", "verbose": "verbose", "itemize": "itemize_changes",
    "log_before_transfer": "log_before_transfer", "human_readable": "human_readable", "eight_bit_output": "allow_8bit_chars",
    "stdout_format_has_i": "stdout_format_has_i", "log_format_has_i": "logfile_format_has_i",
}  # fmt: skip
INFO_FIELDS = (
    "name", "del", "skip", "flist", "misc", "mount", "nonreg", "progress", "stats", "symsafe", "copy", "remove", "backup",
)  # fmt: skip


def fill_context(
    context: Context,
    options: Options,
    negotiated: Negotiated,
    *,
    sender: bool,
    umask: int,
    swarm: bool = False,
) -> None:
    """Sets the context's options; to be called before other parts are made on it. `sender`: this side reads the files; `umask`:
    the process's; `swarm`: nominate/1 is agreed."""
    target = context.options
    target.role = lib.PS_ROLE_SENDER if sender else lib.PS_ROLE_RECEIVER
    target.am_server = int(options.am_server)
    target.am_root = int(os.geteuid() == 0)
    for name, source in COPIED.items():
        setattr(target, name, int(getattr(options, source)))
    if not sender:  # what links are sent as is the sender's business: here they are what they are
        target.copy_links = target.copy_dirlinks = target.copy_unsafe_links = 0
    for word in INFO_FIELDS:
        setattr(target, f"info_{word}", options.info.get(word.upper(), 0))
    target.recurse = int(bool(options.recurse))
    target.dirs = max(options.xfer_dirs, 0)
    target.max_delete = -1 if options.max_delete is None else options.max_delete
    target.delete_mode = DELETE_MODES[options.delete_when(negotiated.protocol)]
    target.alt_kind = ALT_KINDS[options.alt_dest]
    target.super = -1
    target.read_batch = options.read_batch
    if options.write_batch < 0:  # main.c: nothing changes, and the data is sent all the same
        target.dry_run, target.only_write_batch = 1, 1
    target.umask = umask
    shown = (options.stdout_format, options.logfile_format)
    target.keep_checksums = int(any(text is not None and formats.format_has(as_bytes(text), b"C") for text in shown))
    target.want_progress_events = int(options.info_at_least("PROGRESS", 1))
    target.swarm = int(swarm)
    target.receiver_symlink_times = int(_receiver_sets_link_times(options, negotiated, sender))
    fill_negotiated(target, negotiated)
    if negotiated.protocol < 30 and target.append:
        target.append = 2  # what --append-verify asks for: --append alone is younger
    _fill_strings(context, options)
    operations = [op for text in options.chmod for op in parse_chmod(text, umask) or ()]
    if operations:
        context.set_chmod(operations)


def _receiver_sets_link_times(options: Options, negotiated: Negotiated, sender: bool) -> bool:
    """compat.c:receiver_symlink_times."""
    if not sender:
        return negotiated.protocol >= 29
    return "L" in options.client_info if options.am_server else Compat.SYMLINK_TIMES in negotiated.flags


def _fill_strings(context: Context, options: Options) -> None:
    for which, text in (
        (lib.PS_STR_PARTIAL_DIR, options.partial_dir),
        (lib.PS_STR_TEMP_DIR, options.tmpdir),
        (lib.PS_STR_BACKUP_DIR, options.backup_dir),
        (lib.PS_STR_BACKUP_SUFFIX, options.backup_suffix),
    ):
        if text is not None:
            context.set_string(which, as_bytes(text).rstrip(b"/") or as_bytes(text)[:1])
    for which, text in ((formats.STDOUT, options.stdout_format), (formats.LOG, options.logfile_format)):
        if text is not None and not options.am_server:
            formats.set_format(context, which, as_bytes(text))
    for directory in options.basis_dirs:
        context.add_alternate_dir(as_bytes(directory).rstrip(b"/") or as_bytes(directory)[:1])
