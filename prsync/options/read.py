"""Reads a vector of arguments by the option table (popt's ways), then applies the implications (options_finish)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prsync.errors import ExitCode, PrsyncError, UnsupportedError, UsageError
from prsync.options import table
from prsync.options.model import Exit, ForDaemon, ForServer, Options, RuleArgument
from prsync.options.table import Row
from prsync.options.values import BY_USER, InfoLevels, info_help, parse_chmod, parse_number, parse_size

MAX_BASIS_DIRS = 20
BLOCK_SIZE_MAX = 1 << 17
MAX_ALLOC_LEAST, MAX_ALLOC_DEFAULT = 1 << 20, 1 << 30
REMOTE = "on remote machine: "
ARCHIVE_PARTS = "rdlptgoD"  # of which one that is refused has -a refused


class Index:
    """Rows by spelling."""

    def __init__(self, *tables: tuple[Row, ...]) -> None:
        self.long: dict[str, Row] = {}
        self.short: dict[str, Row] = {}
        for rows in tables:
            for row in rows:
                if row.long:
                    self.long.setdefault(row.long, row)
                if row.short:
                    self.short.setdefault(row.short, row)


class Words:
    """popt's walk over the arguments: bundles of short options, --name=value, --name value, "--", arguments in between."""

    def __init__(self, words: Sequence[str], index: Index, where: str = "") -> None:
        self.words, self.index, self.where = list(words), index, where
        self.at = 0
        self.bundle = ""  # what is left of a bundle of short options
        self.rest: list[str] = []
        self.shown = ""  # the word that the current option stands in, for messages

    def refuse(self, why: str) -> UsageError:
        return UsageError(f"rsync: {self.where}{self.shown}: {why}")

    def next(self) -> tuple[Row, str | None] | None:
        """The next option and its argument; None at the end."""
        while not self.bundle:
            if self.at >= len(self.words):
                return None
            word = self.words[self.at]
            self.at += 1
            if word == "--":
                self.rest += self.words[self.at :]
                self.at = len(self.words)
            elif word.startswith("--"):
                self.shown = word
                return self._long(word[2:])
            elif word.startswith("-") and len(word) > 1:
                self.shown, self.bundle = word, word[1:]
            else:
                self.rest.append(word)
        return self._short()

    def _long(self, text: str) -> tuple[Row, str | None]:
        name, equals, value = text.partition("=")
        row = self.index.long.get(name)
        if row is None:
            raise self.refuse("unknown option")
        if not row.takes_argument:
            if equals:
                raise self.refuse("option does not take an argument")
            return row, None
        return row, value if equals else self._argument()

    def _short(self) -> tuple[Row, str | None]:
        letter, self.bundle = self.bundle[0], self.bundle[1:]
        row = self.index.short.get(letter)
        if row is None:
            raise self.refuse("unknown option")
        if not row.takes_argument:
            return row, None
        if self.bundle:
            value, self.bundle = self.bundle.removeprefix("="), ""
            return row, value
        return row, self._argument()

    def _argument(self) -> str:
        if self.at >= len(self.words):
            raise self.refuse("missing argument")
        self.at += 1
        self.shown = self.words[self.at - 1] if self.words[self.at - 1] else self.shown
        return self.words[self.at - 1]


def _refusal(row: Row) -> UsageError:
    short = f" (-{row.short})" if row.short else ""
    return UsageError(f"rsync: The server is configured to refuse --{row.long}{short}")


class Reader:
    """Collects what the options store, in fields of Options, and runs their actions."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        server: bool = False,
        refused: frozenset[Row] = frozenset(),
        program: str = "prsync",
    ) -> None:
        self.environment = environment
        self.program = program  # the name it was called by, which --help and --version answer to
        self.server = server
        self.refused = refused
        self.values: dict[str, Any] = {}
        self.info = InfoLevels()
        self.rules: list[RuleArgument] = []
        self.lists: dict[str, list[str]] = {"chmod": [], "basis_dirs": [], "remote_options": []}
        self.unsupported: Row | None = None
        self.versions = 0
        self.per_directory = 0
        self.only_word = False

    def get(self, name: str) -> Any:
        return self.values.get(name, getattr(Options, name))

    # ---- the two sides

    def parse_client(self, arguments: Sequence[str]) -> Options:
        words = Words(arguments, Index(table.ROWS, table.OWN_ROWS))
        self.only_word = len(arguments) == 1
        while found := words.next():
            row, value = found
            if row.dest == "daemon" and row.kind in (table.ACTION, table.TEXT_ACTION):
                raise ForDaemon
            self.take(row, value, words)
        if self.versions:
            from prsync.options.help import version_text

            raise Exit(version_text(self.versions > 1, self.program))
        return self.finish(words.rest)

    def parse_server(self, arguments: Sequence[str]) -> Options:
        words = Words(arguments, Index(table.ROWS, table.SESSION_ROWS), REMOTE)
        while found := words.next():
            self.take(*found, words)
        return self.finish(words.rest)

    def finish(self, rest: Sequence[str]) -> Options:
        from prsync.options.implications import finish

        options = finish(self, tuple(rest))
        if self.unsupported:
            who = "the prsync server" if self.server else "prsync"
            raise UnsupportedError(f"prsync: {self.unsupported.shown} is not supported by {who} yet")
        return options

    def take(self, row: Row, value: str | None, words: Words) -> None:
        if row in self.refused:
            raise _refusal(row)
        if (row.server if self.server else row.support) == table.NO:
            self.unsupported = self.unsupported or row
        if row.kind == table.FLAG:
            self.values[row.dest] = 1
        elif row.kind == table.SET:
            self.values[row.dest] = row.value
        elif row.kind == table.BITS:
            self.values[row.dest] = self.get(row.dest) | row.value
        elif row.kind == table.NUMBER:
            self.values[row.dest] = parse_number(value or "", words.where + words.shown)
        elif row.kind == table.TEXT:
            self.values[row.dest] = value
        elif row.kind == table.ACTION:
            getattr(self, f"do_{row.dest}")()
        else:
            getattr(self, f"do_{row.dest}")(value or "")
        if row.action:
            getattr(self, f"do_{row.action}")()

    def refuses(self, option: str) -> bool:
        return any(row.long == option for row in self.refused)

    def imply(self, *options: str) -> None:
        """What was given implies these. Raises UsageError where a daemon refuses one of them."""
        for row in table.ROWS:
            if row in self.refused and row.long in options:
                raise _refusal(row)

    def count(self, name: str) -> None:
        self.values[name] = self.get(name) + 1

    # ---- actions without an argument

    def do_help(self) -> None:
        from prsync.options.help import help_text

        raise Exit(help_text(self.program))

    def do_version(self) -> None:
        self.versions += 1

    def do_verbose(self) -> None:
        self.count("verbose")

    def do_quiet(self) -> None:
        self.count("quiet")

    def do_human_readable(self) -> None:
        self.count("human_readable")

    def do_itemize(self) -> None:
        self.count("itemize_changes")

    def do_hard_links(self) -> None:
        self.count("preserve_hard_links")

    def do_one_file_system(self) -> None:
        self.count("one_file_system")

    def do_fuzzy(self) -> None:
        self.count("fuzzy_basis")

    def do_compress(self) -> None:
        self.count("do_compression")

    def do_xattrs(self) -> None:
        self.count("preserve_xattrs")

    def do_acls(self) -> None:
        self.values.update(preserve_acls=1, preserve_perms=1)

    def do_atimes(self) -> None:
        self.count("preserve_atimes")
        if self.values["preserve_atimes"] > 1:
            self.values["open_noatime"] = 1

    def do_archive(self) -> None:
        self.imply(*(row.long for row in table.ROWS if row.short and row.short in ARCHIVE_PARTS))
        self.values["recurse"] = self.get("recurse") or 1
        for name in ("links", "perms", "mtimes", "gid", "uid", "devices", "specials"):
            self.values[f"preserve_{name}"] = 1

    def do_devices_specials(self) -> None:
        self.values.update(preserve_devices=1, preserve_specials=1)

    def do_no_devices_specials(self) -> None:
        self.values.update(preserve_devices=0, preserve_specials=0)

    def do_append(self) -> None:
        self.values["append_mode"] = self.get("append_mode") + 1 if self.server else 1

    def do_old_compress(self) -> None:
        self.values["compress_choice"] = "zlib"

    def do_new_compress(self) -> None:
        self.values["compress_choice"] = "zlibx"

    def do_no_compress(self) -> None:
        self.values.update(do_compression=0, compress_choice=None)

    def do_old_args(self) -> None:
        self.values["old_style_args"] = max(self.values.get("old_style_args", 0), 0) + 1

    def do_partial_progress(self) -> None:
        self.imply("partial")
        self.imply("progress")
        self.values.update(do_progress=1, keep_partial=1)

    def do_per_directory_filter(self) -> None:
        self.per_directory += 1
        if self.per_directory <= 2:
            self.rules.append(RuleArgument("filter", ": /.rsync-filter" if self.per_directory == 1 else "- .rsync-filter"))

    def do_no_iconv(self) -> None:
        self.values["iconv"] = None

    def do_modify_window(self) -> None:
        self.values["modify_window_set"] = True

    def do_read_batch(self) -> None:
        self.values["read_batch"] = 1

    def do_write_batch(self) -> None:
        self.values["write_batch"] = 1

    def do_only_write_batch(self) -> None:
        self.values["write_batch"] = -1

    def do_server(self) -> None:
        if not self.server:
            raise ForServer
        self.values["am_server"] = True

    def do_sender(self) -> None:
        if not self.server:
            raise UsageError("rsync: --sender is for the remote side only")
        self.values["am_sender"] = True

    def do_daemon(self, _value: str = "") -> None:
        raise UsageError("rsync: Attempt to hack rsync thwarted!")

    # ---- actions with an argument

    def do_info(self, value: str) -> None:
        if any(word.lower() == "help" for word in value.split(",")) and not self.server:
            raise Exit(info_help())
        self.info.apply(value, BY_USER, ignore_unknown=self.server)

    def do_debug(self, _value: str) -> None:
        """Refused as not yet supported; a server ignores what it has no output for."""

    def do_stderr(self, value: str) -> None:
        for mode, word in ((2, "errors"), (1, "all"), (0, "client")):
            if value and word.startswith(value):
                self.values["msgs2stderr"] = mode
                return
        raise UsageError(f'rsync: --stderr mode "{value}" is not one of errors, all, or client')

    def do_filter(self, value: str) -> None:
        self.rules.append(RuleArgument("filter", value))

    def do_exclude(self, value: str) -> None:
        self.rules.append(RuleArgument("exclude", value))

    def do_include(self, value: str) -> None:
        self.rules.append(RuleArgument("include", value))

    def do_exclude_from(self, value: str) -> None:
        self.rules.append(RuleArgument("exclude_from", value))

    def do_include_from(self, value: str) -> None:
        self.rules.append(RuleArgument("include_from", value))

    def do_chmod(self, value: str) -> None:
        if parse_chmod(value, 0) is None:
            raise UsageError(f"rsync: Invalid argument passed to --chmod ({value})")
        self.lists["chmod"].append(value)

    def do_max_size(self, value: str) -> None:
        self.values["max_size"] = parse_size(value, "b", "max-size", 0)

    def do_min_size(self, value: str) -> None:
        self.values["min_size"] = parse_size(value, "b", "min-size", 0)

    def do_max_alloc(self, value: str) -> None:
        size = parse_size(value, "b", "max-alloc", MAX_ALLOC_LEAST)
        self.values["max_alloc_arg"] = None if size == MAX_ALLOC_DEFAULT else value

    def do_block_size(self, value: str) -> None:
        self.values["block_size"] = parse_size(value, "b", "block-size", 0, BLOCK_SIZE_MAX)

    def do_bwlimit(self, value: str) -> None:
        self.values["bwlimit"] = (parse_size(value, "K", "bwlimit", 512, zero_is_unlimited=True) + 512) // 1024

    def do_compare_dest(self, value: str) -> None:
        self._basis_dir("compare", value)

    def do_copy_dest(self, value: str) -> None:
        self._basis_dir("copy", value)

    def do_link_dest(self, value: str) -> None:
        self._basis_dir("link", value)

    def _basis_dir(self, kind: str, value: str) -> None:
        other = self.get("alt_dest")
        if other and other != kind:
            raise UsageError(f"rsync: ERROR: the --{kind}-dest option conflicts with the --{other}-dest option")
        self.values["alt_dest"] = kind
        if len(self.lists["basis_dirs"]) >= MAX_BASIS_DIRS:
            raise UsageError(f"rsync: ERROR: at most {MAX_BASIS_DIRS} --{kind}-dest args may be specified")
        self.lists["basis_dirs"].append(value)

    def do_remote_option(self, value: str) -> None:
        if not value.startswith("-"):
            raise UsageError(f"rsync: Remote option must start with a dash: {value}")
        self.lists["remote_options"].append(value)

    def do_outbuf(self, value: str) -> None:
        if value[:1].upper() not in ("N", "U", "L", "B", "F"):
            raise UsageError("rsync: Invalid --outbuf setting -- specify N, L, or B.")
        self.values["outbuf"] = value[0].upper()

    def do_mirrors(self, value: str) -> None:
        if value not in ("auto", "off", "only"):
            raise UsageError(f"prsync: --mirrors={value}: choose auto, off or only")
        self.values["mirrors"] = value


def check_protocol(protocol: int, who: str) -> None:
    """--protocol: 27 to 32 are spoken (compat.c:setup_protocol has rsync's limits)."""
    if protocol < 20:
        raise PrsyncError(f"rsync: --protocol must be at least 20 on the {who}.", ExitCode.PROTOCOL)
    if protocol < 27:
        raise UnsupportedError(f"prsync: --protocol={protocol} is not supported: use 27 to 32")
    if protocol > 32:
        raise PrsyncError(f"rsync: --protocol must be no more than 32 on the {who}.", ExitCode.PROTOCOL)
