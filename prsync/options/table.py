"""long: one table. Every option of rsync 3.5.0's command line (options.c:long_options), with what prsync does about it.

Rows stand in rsync's order, a spelling each, because `refuse options` of rsyncd.conf works on spellings. The README's table is
made from `documented_rows`.
"""

from __future__ import annotations

from typing import NamedTuple

# How an option is read (popt's argInfo, and whether an action runs).
FLAG = "flag"  # stores 1
SET = "set"  # stores `value`
BITS = "bits"  # ors `value` into what is stored
NUMBER = "number"  # takes a number, stores it; runs the action where there is one
TEXT = "text"  # takes text, stores it; runs the action where there is one
ACTION = "action"  # runs the action `dest`
TEXT_ACTION = "text action"  # takes text, runs the action `dest` with it
WITH_ARGUMENT = frozenset((NUMBER, TEXT, TEXT_ACTION))

YES = "supported"
NO = "not yet"


class Row(NamedTuple):
    """One spelling of an option."""

    long: str  # "" when it has only a short form
    short: str
    kind: str
    dest: str  # a field of Options, or the name of an action
    value: int = 0
    action: str = ""  # runs after a NUMBER or TEXT was stored
    support: str = YES
    metavar: str = ""
    text: str = ""  # one line for people; "" hides the spelling from the tables
    server: str = YES  # support where a daemon reads the option that a client sent

    @property
    def takes_argument(self) -> bool:
        return self.kind in WITH_ARGUMENT

    @property
    def shown(self) -> str:
        """The spelling for messages."""
        return f"--{self.long}" if self.long else f"-{self.short}"


def _row(
    names: str,
    kind: str,
    dest: str,
    value: int = 0,
    text: str = "",
    support: str = YES,
    metavar: str = "",
    action: str = "",
    server: str = "",
) -> Row:
    """`names`: "long", "long,s" or ",s"."""
    long, _, short = names.partition(",")
    return Row(long, short, kind, dest, value, action, support, metavar, text, server or support)


_r = _row
ROWS: tuple[Row, ...] = (
    _r("help", ACTION, "help", text="show the options and end"),
    _r("version,V", ACTION, "version", text="show the version and end (-VV: as JSON)"),
    _r("verbose,v", ACTION, "verbose", text="say more; repeat for more"),
    _r("no-verbose", SET, "verbose", 0),
    _r("no-v", SET, "verbose", 0),
    _r("info", TEXT_ACTION, "info", text="choose what is said, by name and level (--info=help)", metavar="FLAGS"),
    _r("debug", TEXT_ACTION, "debug", text="choose what is said about the inner workings", metavar="FLAGS", support=NO),
    _r("stderr", TEXT_ACTION, "stderr", text="which messages go to stderr: errors or all", metavar="MODE"),
    _r("msgs2stderr", SET, "msgs2stderr", 1),
    _r("no-msgs2stderr", SET, "msgs2stderr", 0),
    _r("quiet,q", ACTION, "quiet", text="say nothing but errors"),
    _r("motd", SET, "output_motd", 1),
    _r("no-motd", SET, "output_motd", 0, "don't show the daemon's message of the day"),
    _r("stats", FLAG, "do_stats", text="show statistics at the end; with a swarm, for each source"),
    _r("human-readable,h", ACTION, "human_readable", text="numbers with units (-hh: in units of 1024)"),
    _r("no-human-readable", SET, "human_readable", 0),
    _r("no-h", SET, "human_readable", 0),
    _r("dry-run,n", FLAG, "dry_run", text="change nothing, show what would be done"),
    _r("archive,a", ACTION, "archive", text="the same as -rlptgoD"),
    _r("recursive,r", SET, "recurse", 2, "descend into directories"),
    _r("no-recursive", SET, "recurse", 0),
    _r("no-r", SET, "recurse", 0),
    _r("inc-recursive", SET, "allow_inc_recurse", 1, "send the file list in parts (the default)"),
    _r("no-inc-recursive", SET, "allow_inc_recurse", 0, "send the whole file list first"),
    _r("i-r", SET, "allow_inc_recurse", 1),
    _r("no-i-r", SET, "allow_inc_recurse", 0),
    _r("dirs,d", SET, "xfer_dirs", 2, "transfer directories without their contents"),
    _r("no-dirs", SET, "xfer_dirs", 0),
    _r("no-d", SET, "xfer_dirs", 0),
    _r("old-dirs", SET, "xfer_dirs", 4, "as --dirs, for very old remotes", NO),
    _r("old-d", SET, "xfer_dirs", 4, support=NO),
    _r("perms,p", SET, "preserve_perms", 1, "set permissions"),
    _r("no-perms", SET, "preserve_perms", 0),
    _r("no-p", SET, "preserve_perms", 0),
    _r("executability,E", FLAG, "preserve_executability", text="set the executable bits only"),
    _r("acls,A", ACTION, "acls", text="set ACLs (implies -p)", support=NO),
    _r("no-acls", SET, "preserve_acls", 0),
    _r("no-A", SET, "preserve_acls", 0),
    _r("xattrs,X", ACTION, "xattrs", text="set extended attributes", support=NO),
    _r("no-xattrs", SET, "preserve_xattrs", 0),
    _r("no-X", SET, "preserve_xattrs", 0),
    _r("times,t", SET, "preserve_mtimes", 1, "set modification times"),
    _r("no-times", SET, "preserve_mtimes", 0),
    _r("no-t", SET, "preserve_mtimes", 0),
    _r("atimes,U", ACTION, "atimes", text="set access times", support=NO),
    _r("no-atimes", SET, "preserve_atimes", 0),
    _r("no-U", SET, "preserve_atimes", 0),
    _r("open-noatime", SET, "open_noatime", 1, "read files without changing their access times"),
    _r("no-open-noatime", SET, "open_noatime", 0),
    _r("crtimes,N", SET, "preserve_crtimes", 1, "set creation times", NO),
    _r("no-crtimes", SET, "preserve_crtimes", 0),
    _r("no-N", SET, "preserve_crtimes", 0),
    _r("omit-dir-times,O", SET, "omit_dir_times", 1, "leave directories out of --times"),
    _r("no-omit-dir-times", SET, "omit_dir_times", 0),
    _r("no-O", SET, "omit_dir_times", 0),
    _r("omit-link-times,J", SET, "omit_link_times", 1, "leave symlinks out of --times"),
    _r("no-omit-link-times", SET, "omit_link_times", 0),
    _r("no-J", SET, "omit_link_times", 0),
    _r(
        "modify-window,@",
        NUMBER,
        "modify_window",
        0,
        "take modification times this close as equal",
        metavar="SECONDS",
        action="modify_window",
    ),
    _r("super", SET, "super", 2, "try what only root may do, whoever runs it", NO),
    _r("no-super", SET, "super", 0, support=NO),
    _r("fake-super", SET, "super", -1, "keep owners and devices in extended attributes", NO),
    _r("owner,o", SET, "preserve_uid", 1, "set owners (root only)"),
    _r("no-owner", SET, "preserve_uid", 0),
    _r("no-o", SET, "preserve_uid", 0),
    _r("group,g", SET, "preserve_gid", 1, "set groups"),
    _r("no-group", SET, "preserve_gid", 0),
    _r("no-g", SET, "preserve_gid", 0),
    _r(",D", ACTION, "devices_specials", text="the same as --devices --specials"),
    _r("no-D", ACTION, "no_devices_specials"),
    _r("devices", SET, "preserve_devices", 1, "make device files (root only)"),
    _r("no-devices", SET, "preserve_devices", 0),
    _r("copy-devices", FLAG, "copy_devices", text="send a device's contents", server=NO),
    _r("write-devices", SET, "write_devices", 1, "write into device files", NO),
    _r("no-write-devices", SET, "write_devices", 0),
    _r("specials", SET, "preserve_specials", 1, "make sockets and fifos"),
    _r("no-specials", SET, "preserve_specials", 0),
    _r("drop-D", SET, "drop_devices", 1, "make no devices and specials at this end (a receiver's)"),
    _r("no-drop-D", SET, "drop_devices", 0),
    _r("confine-root", TEXT, "confine_root", text="let no path leave this directory", metavar="DIR", support=NO, server=YES),
    _r("links,l", SET, "preserve_links", 1, "make symlinks"),
    _r("no-links", SET, "preserve_links", 0),
    _r("no-l", SET, "preserve_links", 0),
    _r("copy-links,L", FLAG, "copy_links", text="send what symlinks point to"),
    _r("copy-unsafe-links", FLAG, "copy_unsafe_links", text="send what symlinks out of the tree point to"),
    _r("safe-links", FLAG, "safe_symlinks", text="leave out symlinks that point out of the tree"),
    _r("insecure-links", SET, "insecure_links", 1, "follow symlinks of others in destination paths", NO),
    _r("no-insecure-links", SET, "insecure_links", 0),
    _r("munge-links", SET, "munge_symlinks", 1, "make received symlinks unusable", NO, server=YES),
    _r("no-munge-links", SET, "munge_symlinks", 0),
    _r("copy-dirlinks,k", FLAG, "copy_dirlinks", text="send directories for symlinks to them"),
    _r("keep-dirlinks,K", FLAG, "keep_dirlinks", text="take a symlink to a directory as the directory"),
    _r("hard-links,H", ACTION, "hard_links", text="make hard links"),
    _r("no-hard-links", SET, "preserve_hard_links", 0),
    _r("no-H", SET, "preserve_hard_links", 0),
    _r("relative,R", SET, "relative_paths", 1, "keep the source arguments' paths"),
    _r("no-relative", SET, "relative_paths", 0),
    _r("no-R", SET, "relative_paths", 0),
    _r("implied-dirs", SET, "implied_dirs", 1),
    _r("no-implied-dirs", SET, "implied_dirs", 0, "with -R: don't send the attributes of implied directories"),
    _r("i-d", SET, "implied_dirs", 1),
    _r("no-i-d", SET, "implied_dirs", 0),
    _r("chmod", TEXT_ACTION, "chmod", text="change permissions, as chmod would", metavar="CHANGES"),
    _r("ignore-times,I", FLAG, "ignore_times", text="transfer files of equal size and time too"),
    _r("size-only", FLAG, "size_only", text="take files of equal size as equal"),
    _r(
        "one-file-system,x",
        ACTION,
        "one_file_system",
        text="don't cross into other file systems (-xx: nor show their mount points)",
    ),
    _r("no-one-file-system", SET, "one_file_system", 0),
    _r("no-x", SET, "one_file_system", 0),
    _r("update,u", FLAG, "update_only", text="leave files alone that are newer here"),
    _r("existing", FLAG, "ignore_non_existing", text="make no new files"),
    _r("ignore-non-existing", FLAG, "ignore_non_existing"),
    _r("ignore-existing", FLAG, "ignore_existing", text="leave files alone that exist here"),
    _r("max-size", TEXT_ACTION, "max_size", text="leave out files that are larger", metavar="SIZE"),
    _r("min-size", TEXT_ACTION, "min_size", text="leave out files that are smaller", metavar="SIZE"),
    _r(
        "max-alloc",
        TEXT_ACTION,
        "max_alloc",
        text="limit of one allocation (prsync has its own limits)",
        metavar="SIZE",
        support=NO,
    ),
    _r("sparse,S", SET, "sparse_files", 1, "write runs of zeros as holes"),
    _r("no-sparse", SET, "sparse_files", 0),
    _r("no-S", SET, "sparse_files", 0),
    _r("preallocate", FLAG, "preallocate_files", text="allocate files before they are written", support=NO),
    _r("inplace", SET, "inplace", 1, "write into the old files"),
    _r("no-inplace", SET, "inplace", 0),
    _r("append", ACTION, "append", text="add what is missing at the end of shorter files"),
    _r("append-verify", SET, "append_mode", 2, "as --append, and check the old part"),
    _r("no-append", SET, "append_mode", 0),
    _r("del", FLAG, "delete_during", text="the same as --delete-during"),
    _r("delete", FLAG, "delete_mode", text="delete what the source does not have"),
    _r("delete-before", FLAG, "delete_before", text="delete before the transfer"),
    _r("delete-during", SET, "delete_during", 1, "delete during the transfer"),
    _r("delete-delay", SET, "delete_during", 2, "find what to delete during the transfer, delete after it"),
    _r("delete-after", FLAG, "delete_after", text="delete after the transfer"),
    _r("delete-excluded", FLAG, "delete_excluded", text="delete what the filters exclude too"),
    _r("delete-missing-args", BITS, "missing_args", 2, "delete what a missing source argument names", NO),
    _r("ignore-missing-args", BITS, "missing_args", 1, "ignore missing source arguments", NO),
    _r("remove-sent-files", SET, "remove_source_files", 2),
    _r("remove-source-files", SET, "remove_source_files", 1, "remove files at the source once they are transferred"),
    _r("force", SET, "force_delete", 1, "delete directories that are not empty where a file must be"),
    _r("no-force", SET, "force_delete", 0),
    _r("ignore-errors", SET, "ignore_errors", 1, "delete even after I/O errors"),
    _r("no-ignore-errors", SET, "ignore_errors", 0),
    _r("max-delete", NUMBER, "max_delete", text="delete no more than this", metavar="NUMBER"),
    _r(",F", ACTION, "per_directory_filter", text="per-directory filter files .rsync-filter (-FF: and leave these out)"),
    _r("filter,f", TEXT_ACTION, "filter", text="add a filter rule", metavar="RULE"),
    _r("exclude", TEXT_ACTION, "exclude", text="leave out what matches", metavar="PATTERN"),
    _r("include", TEXT_ACTION, "include", text="don't leave out what matches", metavar="PATTERN"),
    _r("exclude-from", TEXT_ACTION, "exclude_from", text="read exclude patterns from a file", metavar="FILE"),
    _r("include-from", TEXT_ACTION, "include_from", text="read include patterns from a file", metavar="FILE"),
    _r("cvs-exclude,C", FLAG, "cvs_exclude", text="leave out what CVS does"),
    _r("whole-file,W", SET, "whole_file", 1, "send whole files, no deltas"),
    _r("no-whole-file", SET, "whole_file", 0),
    _r("no-W", SET, "whole_file", 0),
    _r("checksum,c", SET, "always_checksum", 1, "compare by checksum, not by size and time"),
    _r("no-checksum", SET, "always_checksum", 0),
    _r("no-c", SET, "always_checksum", 0),
    _r("checksum-choice", TEXT, "checksum_choice", text="which checksum is used", metavar="NAME"),
    _r("cc", TEXT, "checksum_choice"),
    _r("block-size,B", TEXT_ACTION, "block_size", text="size of the delta's blocks", metavar="SIZE"),
    _r("compare-dest", TEXT_ACTION, "compare_dest", text="leave out files that are equal in DIR", metavar="DIR"),
    _r("copy-dest", TEXT_ACTION, "copy_dest", text="copy files that are equal in DIR", metavar="DIR"),
    _r("link-dest", TEXT_ACTION, "link_dest", text="hard-link files that are equal in DIR", metavar="DIR"),
    _r("fuzzy,y", ACTION, "fuzzy", text="find a similar file as a basis", support=NO),
    _r("no-fuzzy", SET, "fuzzy_basis", 0),
    _r("no-y", SET, "fuzzy_basis", 0),
    _r("compress,z", ACTION, "compress", text="compress file data"),
    _r("old-compress", ACTION, "old_compress", text="compress with zlib"),
    _r("new-compress", ACTION, "new_compress", text="compress with zlibx"),
    _r("no-compress", ACTION, "no_compress"),
    _r("no-z", ACTION, "no_compress"),
    _r("compress-choice", TEXT, "compress_choice", text="which compression is used", metavar="NAME"),
    _r("zc", TEXT, "compress_choice"),
    _r("skip-compress", TEXT, "skip_compress", text="don't compress files with these suffixes", metavar="LIST"),
    _r("compress-level", NUMBER, "compress_level", text="how hard to compress", metavar="NUMBER"),
    _r("zl", NUMBER, "compress_level"),
    _r("compress-threads", NUMBER, "compress_threads", text="threads for zstd", metavar="NUMBER", support=NO),
    _r("zt", NUMBER, "compress_threads", support=NO),
    _r(",P", ACTION, "partial_progress", text="the same as --partial --progress"),
    _r("progress", SET, "do_progress", 1, "show how each file advances"),
    _r("no-progress", SET, "do_progress", 0),
    _r("partial", SET, "keep_partial", 1, "keep what there is of an interrupted file"),
    _r("no-partial", SET, "keep_partial", 0),
    _r("partial-dir", TEXT, "partial_dir", text="keep it in DIR (implies --partial)", metavar="DIR"),
    _r("delay-updates", SET, "delay_updates", 1, "put all updated files in place at the end"),
    _r("no-delay-updates", SET, "delay_updates", 0),
    _r("prune-empty-dirs,m", SET, "prune_empty_dirs", 1, "leave out directories without files"),
    _r("no-prune-empty-dirs", SET, "prune_empty_dirs", 0),
    _r("no-m", SET, "prune_empty_dirs", 0),
    _r("log-file", TEXT, "logfile_name", text="log what is done to a file", metavar="FILE"),
    _r("log-file-format", TEXT, "logfile_format", text="format of the log's lines", metavar="FORMAT"),
    _r("out-format", TEXT, "stdout_format", text="format of the lines for transferred files", metavar="FORMAT"),
    _r("log-format", TEXT, "stdout_format"),
    _r("itemize-changes,i", ACTION, "itemize", text="show what changes, a line for each file"),
    _r("no-itemize-changes", SET, "itemize_changes", 0),
    _r("no-i", SET, "itemize_changes", 0),
    _r("bwlimit", TEXT_ACTION, "bwlimit", text="limit of the rate, in KiB a second; spans all sources", metavar="RATE"),
    _r("no-bwlimit", SET, "bwlimit", 0),
    _r("backup,b", SET, "make_backups", 1, "keep what is replaced or deleted"),
    _r("no-backup", SET, "make_backups", 0),
    _r("backup-dir", TEXT, "backup_dir", text="keep it in DIR", metavar="DIR"),
    _r("suffix", TEXT, "backup_suffix", text="suffix of kept files", metavar="SUFFIX"),
    _r("list-only", SET, "list_only", 2, "list the files instead of transferring them"),
    _r("read-batch", TEXT, "batch_name", text="apply a recorded transfer", metavar="FILE", action="read_batch"),
    _r("write-batch", TEXT, "batch_name", text="record the transfer", metavar="FILE", action="write_batch"),
    _r(
        "only-write-batch",
        TEXT,
        "batch_name",
        text="record the transfer, change nothing",
        metavar="FILE",
        action="only_write_batch",
    ),
    _r("files-from", TEXT, "files_from", text="read the source names from a file (:FILE: at the daemon)", metavar="FILE"),
    _r("from0,0", SET, "eol_nulls", 1, "names in such files end with a NUL"),
    _r("no-from0", SET, "eol_nulls", 0),
    _r("old-args", ACTION, "old_args", text="let the remote split source arguments at spaces"),
    _r("no-old-args", SET, "old_style_args", 0),
    _r("secluded-args,s", SET, "protect_args", 1, "send arguments so that nothing in them is special"),
    _r("no-secluded-args", SET, "protect_args", 0),
    _r("protect-args", SET, "protect_args", 1),
    _r("no-protect-args", SET, "protect_args", 0),
    _r("no-s", SET, "protect_args", 0),
    _r("trust-sender", SET, "trust_sender", 1, "don't check the sender's file list against the arguments"),
    _r("numeric-ids", SET, "numeric_ids", 1, "take users and groups by number, not by name"),
    _r("no-numeric-ids", SET, "numeric_ids", 0),
    _r("usermap", TEXT, "usermap", text="map user names", metavar="MAP", support=NO),
    _r("groupmap", TEXT, "groupmap", text="map group names", metavar="MAP", support=NO),
    _r("chown", TEXT, "chown", text="set all owners and groups to these", metavar="USER:GROUP", support=NO),
    _r("timeout", NUMBER, "io_timeout", text="end when nothing moves for so long", metavar="SECONDS"),
    _r("no-timeout", SET, "io_timeout", 0),
    _r("contimeout", NUMBER, "connect_timeout", text="end when the connection is not made in time", metavar="SECONDS"),
    _r("no-contimeout", SET, "connect_timeout", 0),
    _r("fsync", FLAG, "do_fsync", text="fsync every written file", support=NO),
    _r("stop-after", TEXT, "stop_after", text="stop after so many minutes", metavar="MINUTES", support=NO),
    _r("time-limit", TEXT, "stop_after", support=NO),
    _r("stop-at", TEXT, "stop_at", text="stop at this time", metavar="TIME", support=NO),
    _r("rsh,e", TEXT, "shell_cmd", text="the remote shell", metavar="COMMAND"),
    _r("rsync-path", TEXT, "rsync_path", text="the program at the remote shell's end", metavar="PROGRAM"),
    _r("temp-dir,T", TEXT, "tmpdir", text="make temporary files in DIR", metavar="DIR"),
    _r("iconv", TEXT, "iconv", text="convert the names' character set", metavar="SPEC", support=NO),
    _r("no-iconv", ACTION, "no_iconv"),
    _r("ipv4,4", SET, "address_family", 4, "use IPv4 only"),
    _r("ipv6,6", SET, "address_family", 6, "use IPv6 only"),
    _r("8-bit-output,8", SET, "allow_8bit_chars", 1, "don't escape bytes above 127 in output"),
    _r("no-8-bit-output", SET, "allow_8bit_chars", 0),
    _r("no-8", SET, "allow_8bit_chars", 0),
    _r("mkpath", SET, "mkpath_dest_arg", 1, "make the destination's missing directories"),
    _r("no-mkpath", SET, "mkpath_dest_arg", 0),
    _r("qsort", FLAG, "use_qsort", support=NO),
    _r("copy-as", TEXT, "copy_as", text="write as another user", metavar="USER:GROUP", support=NO),
    _r("address", TEXT, "bind_address", text="local address for connections", metavar="ADDRESS"),
    _r("port", NUMBER, "rsync_port", text="the daemon's port, where the URL names none", metavar="PORT"),
    _r("sockopts", TEXT, "sockopts", text="options of the socket", metavar="OPTIONS", support=NO),
    _r("password-file", TEXT, "password_file", text="read the daemon's password from a file", metavar="FILE"),
    _r("early-input", TEXT, "early_input_file", text="send a file to the daemon's early exec", metavar="FILE", support=NO),
    _r("blocking-io", SET, "blocking_io", 1, "blocking I/O for the remote shell"),
    _r("no-blocking-io", SET, "blocking_io", 0),
    _r("outbuf", TEXT_ACTION, "outbuf", text="buffering of the output: N, L or B", metavar="MODE"),
    _r("remote-option,M", TEXT_ACTION, "remote_option", text="send an option to the remote only", metavar="OPTION"),
    _r("protocol", NUMBER, "protocol", text="speak an older protocol: 27 to 32", metavar="NUMBER"),
    _r("checksum-seed", NUMBER, "checksum_seed", text="seed of the checksums", metavar="NUMBER"),
    _r("server", ACTION, "server"),
    _r("sender", ACTION, "sender"),
    _r("config", TEXT_ACTION, "daemon", text="the daemon's configuration file", metavar="FILE"),
    _r("daemon", ACTION, "daemon", text="run as a daemon (prsyncd); see --daemon --help"),
    _r("dparam", TEXT_ACTION, "daemon", text="set a parameter of the daemon's configuration", metavar="NAME=VALUE"),
    _r("detach", ACTION, "daemon"),
    _r("no-detach", ACTION, "daemon", text="with --daemon: stay in the foreground"),
)

# prsync's own, on a client's command line; never sent to a remote.
OWN_ROWS: tuple[Row, ...] = (
    _r(
        "mirrors",
        TEXT_ACTION,
        "mirrors",
        text="take data from nominated mirrors: auto, off, or only (never from the origin)",
        metavar="WHEN",
    ),
    _r("mirror-timeout", NUMBER, "mirror_timeout", text="drop a mirror that delivers nothing for so long", metavar="SECONDS"),
)

# prsync's own, in the arguments of a session (protocol-spec/nominate-1.md §1).
SESSION_ROWS: tuple[Row, ...] = (_r("prsync-peer", FLAG, "peer"),)


def documented_rows(rows: tuple[Row, ...] = ROWS + OWN_ROWS) -> list[tuple[str, str, str]]:
    """(spellings, description, support) of the options that the README lists."""
    found = []
    for row in rows:
        if row.text:
            value = f"={row.metavar}" if row.metavar else ""
            names = ", ".join(
                name for name in (f"-{row.short}" if row.short else "", f"--{row.long}{value}" if row.long else "") if name
            )
            found.append((names, row.text, row.support))
    return found
