"""The command line as one frozen value.

`parse_arguments` reads what a user typed (options.c:parse_arguments on the client), `remote_arguments.parse_server_arguments`
what a client sent to a daemon, `read_server_command.parse_server_command` what a remote shell was given. Names of fields follow
rsync's options.c. Text that names files is str with surrogate escapes: `as_bytes` gives the bytes that the user typed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from prsync.errors import PrsyncError

NOT_SPECIFIED_LEVEL = -(1 << 31)  # CLVL_NOT_SPECIFIED
COMPRESS_AUTO, COMPRESS_NONE, COMPRESS_ZLIB, COMPRESS_ZLIBX, COMPRESS_LZ4, COMPRESS_ZSTD = -1, 0, 1, 2, 3, 4
COMPRESS_KINDS = {
    "zstd": COMPRESS_ZSTD,
    "lz4": COMPRESS_LZ4,
    "zlibx": COMPRESS_ZLIBX,
    "zlib": COMPRESS_ZLIB,
    "none": COMPRESS_NONE,
}
CHECKSUM_NAMES = ("xxh128", "xxh3", "xxh64", "xxhash", "md5", "md4", "sha1", "none")
DELAYED_PARTIAL_DIR = ".~tmp~"  # --delay-updates without --partial-dir
PROTOCOL_MIN, PROTOCOL_MAX = 30, 32
DEFAULT_BACKUP_SUFFIX = "~"


class RuleArgument(NamedTuple):
    """One argument that adds filter rules, in the order of the command line.

    kind: "filter", "exclude", "include" (rules), "exclude_from", "include_from" (files of rules), "partial_dir" (a
    directory name without wildcards, perishable: compat.c:setup_protocol).
    """

    kind: str
    text: str


class Exit(PrsyncError):
    """Not an error: the run ends here with this output on stdout (--help, --version)."""

    def __init__(self, output: str) -> None:
        super().__init__(output)


def as_bytes(text: str) -> bytes:
    """The bytes that were typed or received."""
    return text.encode("utf-8", "surrogateescape")


def as_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class Options:
    """What a command line says, after options.c's implications. Frozen; `replace` makes a changed copy."""

    # who
    am_server: bool = False
    am_sender: bool = False
    arguments: tuple[str, ...] = ()  # sources and destination, as given
    client_info: str = ""  # server: what followed -e: "." and capability letters
    protocol: int = PROTOCOL_MAX
    # what is sent and preserved
    recurse: int = 0  # 0, 1 (by -a), 2 (-r)
    allow_inc_recurse: bool = True
    xfer_dirs: int = -1
    preserve_links: int = 0
    copy_links: int = 0
    copy_unsafe_links: int = 0
    safe_symlinks: int = 0
    insecure_links: int = 0
    munge_symlinks: int = 0
    copy_dirlinks: int = 0
    keep_dirlinks: int = 0
    preserve_hard_links: int = 0
    preserve_perms: int = 0
    preserve_executability: int = 0
    preserve_acls: int = 0
    preserve_xattrs: int = 0
    preserve_mtimes: int = 0
    preserve_atimes: int = 0
    preserve_crtimes: int = 0
    open_noatime: int = 0
    omit_dir_times: int = 0
    omit_link_times: int = 0
    preserve_uid: int = 0
    preserve_gid: int = 0
    preserve_devices: int = 0
    preserve_specials: int = 0
    copy_devices: int = 0
    write_devices: int = 0
    drop_devices: int = 0
    numeric_ids: int = 0
    usermap: str | None = None
    groupmap: str | None = None
    chown: str | None = None
    copy_as: str | None = None
    super: int | None = None
    confine_root: str | None = None
    relative_paths: int = -1
    implied_dirs: int = 1
    one_file_system: int = 0
    prune_empty_dirs: int = 0
    cvs_exclude: int = 0
    rules: tuple[RuleArgument, ...] = ()
    files_from: str | None = None
    files_from_host: str | None = None  # "" or a host: the file is the remote's
    eol_nulls: int = 0
    missing_args: int = 0
    chmod: tuple[str, ...] = ()  # compiled with the umask by values.parse_chmod
    # which files are updated
    update_only: int = 0
    ignore_non_existing: int = 0
    ignore_existing: int = 0
    ignore_times: int = 0
    size_only: int = 0
    always_checksum: int = 0
    modify_window: int = 0
    modify_window_set: bool = False
    max_size: int = -1
    min_size: int = -1
    # how
    dry_run: int = 0
    list_only: int = 0
    whole_file: int = -1
    sparse_files: int = 0
    preallocate_files: int = 0
    inplace: int = 0
    append_mode: int = 0
    block_size: int = 0
    checksum_choice: str | None = None
    checksum_seed: int = 0
    do_compression: int = 0
    compress_choice: str | None = None
    compress_level: int = NOT_SPECIFIED_LEVEL
    compress_threads: int = 0
    skip_compress: str | None = None
    fuzzy_basis: int = 0
    basis_dirs: tuple[str, ...] = ()
    alt_dest: str = ""  # "compare", "copy" or "link"
    keep_partial: int = 0
    partial_dir: str | None = None
    delay_updates: int = 0
    tmpdir: str | None = None
    make_backups: int = 0
    backup_dir: str | None = None
    backup_suffix: str | None = None
    do_fsync: int = 0
    mkpath_dest_arg: int = 0
    use_qsort: int = 0
    max_alloc_arg: str | None = None  # None where it names the default
    stop_after: str | None = None
    stop_at: str | None = None
    batch_name: str | None = None
    write_batch: int = 0  # -1: --only-write-batch
    read_batch: int = 0
    iconv: str | None = None
    # deletion
    delete_mode: int = 0
    delete_before: int = 0
    delete_during: int = 0  # 1 during, 2 delay
    delete_after: int = 0
    delete_excluded: int = 0
    max_delete: int | None = None
    force_delete: int = 0
    ignore_errors: int = 0
    remove_source_files: int = 0
    # output
    verbose: int = 0
    quiet: int = 0
    info: Mapping[str, int] = {}
    info_option: str = ""  # server: what --info was; client: what the server is told
    do_stats: int = 0
    do_progress: int = 0
    human_readable: int = 1
    itemize_changes: int = 0
    stdout_format: str | None = None
    stdout_format_has_i: int = 0
    stdout_format_has_o_or_i: bool = False
    log_before_transfer: bool = False
    logfile_name: str | None = None
    logfile_format: str | None = None
    logfile_format_has_i: bool = False
    logfile_format_has_o_or_i: bool = False
    output_motd: int = 1
    allow_8bit_chars: int = 0
    msgs2stderr: int = 2
    outbuf: str | None = None
    # connection
    address_family: int = 0  # 4, 6, 0: either
    bind_address: str | None = None
    rsync_port: int = 0
    sockopts: str | None = None
    connect_timeout: int = 0
    io_timeout: int = 0
    bwlimit: int = 0  # KiB a second
    password_file: str | None = None
    early_input_file: str | None = None
    shell_cmd: str | None = None
    rsync_path: str | None = None
    blocking_io: int = -1
    protect_args: int = 0
    old_style_args: int = 0
    remote_options: tuple[str, ...] = ()
    trust_sender: int = 0
    # prsync's own
    mirrors: str = "auto"
    mirror_timeout: int = 0  # seconds; 0: the default
    peer: int = 0  # server: a peer connection

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"options are frozen: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and all(getattr(self, name) == getattr(other, name) for name in FIELDS)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"

    def replace(self, **changes: Any) -> Options:
        return Options(**{**self.__dict__, **changes})

    def info_at_least(self, name: str, level: int) -> bool:
        """INFO_GTE."""
        return self.info.get(name, 0) >= level

    @property
    def does_transfers(self) -> bool:
        """do_xfers: not a dry run."""
        return not self.dry_run

    def delete_when(self, protocol: int) -> str:
        """ "" or "before", "during", "delay", "after": --delete alone means during, before protocol 30 before."""
        if not self.delete_mode:
            return ""
        if self.delete_before:
            return "before"
        if self.delete_after:
            return "after"
        if self.delete_during:
            return "delay" if self.delete_during == 2 else "during"
        return "during" if protocol >= 30 else "before"


FIELDS = frozenset(name for name in Options.__annotations__)


class ForDaemon(Exception):
    """The command line has one of the daemon's options: it is `options/daemon.py`'s to read."""


class ForServer(Exception):
    """The command line has --server: it is `options/server_command.py`'s to read."""


def parse_arguments(arguments: Sequence[str], environment: Mapping[str, str], program: str = "prsync") -> Options:
    """What a user typed after the program's name.

    Raises UsageError for what rsync refuses too, UnsupportedError for what prsync does not do yet, Exit for --help and
    --version, ForDaemon and ForServer. `environment`: RSYNC_* variables that stand for options are looked up in it.
    `program`: the name that --help and --version answer to, prsync or rsync.
    """
    from prsync.options.read import Reader

    return Reader(environment, program=program).parse_client(arguments)
