"""The command line: what is understood, what follows from it, and what is refused."""

from __future__ import annotations

import pytest

from prsync.errors import ExitCode, PrsyncError, UnsupportedError
from prsync.options import table
from prsync.options.model import Exit, ForDaemon, Options, parse_arguments
from prsync.options.older_protocols import refuse_beyond
from prsync.options.values import MODE_BITS, InfoLevels, parse_chmod, parse_size


def parse(line: str, **environment: str) -> Options:
    return parse_arguments(line.split(), environment)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("-a h::m d", {"recurse": 1, "xfer_dirs": 1, "preserve_links": 1, "preserve_devices": 1, "relative_paths": 0}),
        ("-a --no-o --no-D h::m d", {"preserve_uid": 0, "preserve_devices": 0, "preserve_specials": 0, "preserve_gid": 1}),
        ("-ra h::m d", {"recurse": 2}),
        ("-vvP h::m d", {"verbose": 2, "do_progress": 1, "keep_partial": 1}),
        ("-T/tmp h::m d", {"tmpdir": "/tmp"}),
        ("-T /tmp h::m d", {"tmpdir": "/tmp"}),
        ("-T=/tmp h::m d", {"tmpdir": "/tmp"}),
        ("--temp-dir=/tmp h::m d", {"tmpdir": "/tmp"}),
        ("--temp-dir /tmp h::m d", {"tmpdir": "/tmp"}),
        ("h::m d -a -- -b", {"recurse": 1, "arguments": ("h::m", "d", "-b")}),
        ("-a --delete h::m d", {"delete_mode": 1}),
        ("-a --delete-delay h::m d", {"delete_mode": 1, "delete_during": 2}),
        ("-a --delete-excluded h::m d", {"delete_mode": 1}),
        ("-a --max-delete=-7 --del h::m d", {"max_delete": 0}),
        ("-a h::m", {"list_only": 1}),
        ("-d h::m d", {"xfer_dirs": 2, "recurse": 0}),
        ("-a --files-from=x h::m d", {"recurse": 0, "xfer_dirs": 1, "relative_paths": 1, "implied_dirs": 1}),
        ("-r --files-from=:x h::m d", {"recurse": 2, "files_from": "x", "files_from_host": ""}),
        ("-a --partial-dir=a/../b/ h::m d", {"partial_dir": "b", "keep_partial": 1}),
        ("-a --partial-dir=. h::m d", {"partial_dir": None, "keep_partial": 1}),
        ("-a --delay-updates h::m d", {"partial_dir": ".~tmp~", "keep_partial": 1}),
        ("-i h::m d", {"stdout_format": "%i %n%L", "stdout_format_has_i": 1, "log_before_transfer": True}),
        ("-v h::m d", {"stdout_format": "%n%L", "log_before_transfer": True}),
        ("--out-format=%'''b%i h::m d", {"stdout_format_has_i": 1, "log_before_transfer": False}),
        ("--out-format=%%i h::m d", {"stdout_format_has_i": 0, "log_before_transfer": True}),
        ("--log-file=l h::m d", {"logfile_format": "%i %n%L", "logfile_format_has_i": True}),
        ("--cc=none h::m d", {"whole_file": 1}),
        ("--bwlimit=1.5m h::m d", {"bwlimit": 1536}),
        ("--block-size=4k -B 700 h::m d", {"block_size": 700}),
        ("--timeout=0x10 h::m d", {"io_timeout": 16}),
        ("-hh h::m d", {"human_readable": 3}),
        ("--no-h h::m d", {"human_readable": 0}),
        ("-FF h::m d", {"rules": (("filter", ": /.rsync-filter"), ("filter", "- .rsync-filter"))}),
        ("--mirrors=off h::m d", {"mirrors": "off"}),
    ],
)
def test_command_line_gives_fields(line: str, fields: dict[str, object]) -> None:
    options = parse(line)
    assert {name: getattr(options, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("options", "protocol", "when"),
    [("", 32, ""), ("--delete", 32, "during"), ("--delete", 30, "during"), ("--delete", 29, "before"),
     ("--delete-excluded", 28, "before"), ("--del", 27, "during"), ("--delete-delay", 29, "delay"),
     ("--delete-after", 29, "after"), ("--delete-before", 32, "before")],
)  # fmt: skip
def test_deletion_without_a_time_depends_on_the_protocol(options: str, protocol: int, when: str) -> None:
    assert parse(f"-a {options} h::m d").delete_when(protocol) == when


@pytest.mark.parametrize(
    ("fields", "oldest"),
    [({"preserve_acls": 1}, 30), ({"preserve_xattrs": 1}, 30), ({"fuzzy_basis": 1}, 29), ({"prune_empty_dirs": 1}, 29),
     ({"alt_dest": "link", "basis_dirs": ("x",)}, 27), ({"alt_dest": "link", "basis_dirs": ("x", "y")}, 29),
     ({"alt_dest": "copy", "basis_dirs": ("x",), "inplace": 1}, 29), ({"inplace": 1}, 27)],
)  # fmt: skip
def test_options_that_a_protocol_lacks_are_refused(fields: dict[str, object], oldest: int) -> None:
    options = parse("-a h::m d").replace(**fields)
    for protocol in range(27, 33):
        if protocol >= oldest:
            refuse_beyond(options, protocol)
            continue
        with pytest.raises(PrsyncError, match=rf"requires protocol {oldest} or higher \(negotiated {protocol}\)\.$") as caught:
            refuse_beyond(options, protocol)
        assert caught.value.code == ExitCode.PROTOCOL


def test_rules_keep_their_order() -> None:
    options = parse("--exclude=a -f+b --include-from=c --partial-dir=p --exclude-from d h::m d")
    kinds = [kind for kind, _ in options.rules]
    assert kinds == ["exclude", "filter", "include_from", "exclude_from", "partial_dir"]


def test_environment_stands_for_options() -> None:
    assert parse("--partial h::m d", RSYNC_PARTIAL_DIR=".p").partial_dir == ".p"
    assert parse("-a h::m d", RSYNC_PARTIAL_DIR=".p").partial_dir is None
    assert parse("-a h::m d", RSYNC_PROTECT_ARGS="1").protect_args == 1
    assert parse("-a h::m d", RSYNC_OLD_ARGS="2").old_style_args == 2


def test_options_are_frozen() -> None:
    options = parse("-a h::m d")
    with pytest.raises(AttributeError):
        options.verbose = 3
    assert options.replace(verbose=3).verbose == 3 and options == parse("-a h::m d")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--bogus h::m d", "rsync: --bogus: unknown option"),
        ("--bogus=3 h::m d", "rsync: --bogus=3: unknown option"),
        ("-aQ h::m d", "rsync: -aQ: unknown option"),
        ("--delet h::m d", "rsync: --delet: unknown option"),
        ("--archive=3 h::m d", "rsync: --archive=3: option does not take an argument"),
        ("--timeout", "rsync: --timeout: missing argument"),
        ("-B", "rsync: -B: missing argument"),
        ("--timeout=abc h::m d", "rsync: --timeout=abc: invalid numeric value"),
        ("--timeout x h::m d", "rsync: x: invalid numeric value"),
        ("--timeout=99999999999 h::m d", "rsync: --timeout=99999999999: number too large or too small"),
        ("--max-delete=5k h::m d", "rsync: --max-delete=5k: invalid numeric value"),
        ("--chmod=zz h::m d", "rsync: Invalid argument passed to --chmod (zz)"),
        ("--info=foo h::m d", 'Unknown --info item: "foo"'),
        ("--block-size=200000 h::m d", "rsync: --block-size=200000 is too large (max: 128.00K)"),
        ("--bwlimit=100b h::m d", "rsync: --bwlimit=100b is too small (min: 512 or 0 for unlimited)"),
        ("--max-size=1x h::m d", "rsync: --max-size=1x is invalid"),
        ("--delete h::m d", "rsync: --delete does not work without --recursive (-r) or --dirs (-d)."),
        ("-r --del --delete-after h::m d", "rsync: You may not combine multiple --delete-WHEN options."),
        ("--link-dest=a --copy-dest=b h::m d", "rsync: ERROR: the --copy-dest option conflicts with the --link-dest option"),
        ("-s --old-args h::m d", "rsync: --secluded-args conflicts with --old-args."),
        ("-Mfoo h::m d", "rsync: Remote option must start with a dash: foo"),
        ("--mirrors=some h::m d", "prsync: --mirrors=some: choose auto, off or only"),
    ],
)
def test_bad_option_is_refused_in_one_line(line: str, text: str) -> None:
    with pytest.raises(PrsyncError) as caught:
        parse(line)
    assert (caught.value.text, caught.value.code) == (text, 1)


@pytest.mark.parametrize(
    ("line", "code"),
    [("--cc=bogus h::m d", 4), ("--zc=bogus h::m d", 4), ("--protocol=26 h::m d", 4), ("--protocol=19 h::m d", 2)],
)
def test_choice_that_cannot_be_is_refused(line: str, code: int) -> None:
    with pytest.raises(PrsyncError) as caught:
        parse(line)
    assert caught.value.code == code and "\n" not in caught.value.text


NOT_YET = [row for row in table.ROWS if row.support == table.NO and row.long not in ("", "config", "dparam")]


@pytest.mark.parametrize("row", NOT_YET, ids=lambda r: r.shown)
def test_option_that_is_not_yet_supported_says_so(row: table.Row) -> None:
    words = [f"--{row.long}=2000000" if row.takes_argument else f"--{row.long}", "-r", "h::m", "d"]
    with pytest.raises(UnsupportedError) as caught:
        parse_arguments(words, {})
    assert caught.value.code == 4 and f"--{row.long} is not supported by prsync yet" in caught.value.text


def test_unknown_option_outweighs_unsupported_one() -> None:
    with pytest.raises(PrsyncError) as caught:
        parse("-A --bogus h::m d")
    assert caught.value.code == 1


def test_no_spelling_stands_twice() -> None:
    for attribute in ("long", "short"):
        names = [getattr(row, attribute) for row in table.ROWS + table.OWN_ROWS if getattr(row, attribute)]
        assert len(names) == len(set(names))


def test_documented_rows_name_every_option_once() -> None:
    names = [names for names, _, _ in table.documented_rows()]
    assert len(names) == len(set(names)) and any("--archive" in name for name in names)


@pytest.mark.parametrize("line", ["--help", "-h", "-V", "--version", "-VV", "--info=help"])
def test_help_and_version_end_the_run(line: str) -> None:
    with pytest.raises(Exit):
        parse(line)


def test_daemon_option_hands_over() -> None:
    with pytest.raises(ForDaemon):
        parse("--daemon --no-detach")


@pytest.mark.parametrize(
    ("text", "least", "value"),
    [("5", 0, 5), ("1k", 0, 1024), ("1kb", 0, 1000), ("1KiB", 0, 1024), ("1.5m", 0, 1572864), ("1k+1", 0, 1025),
     ("1k-1", 0, 1023), ("2G", 0, 2 << 30), ("0", 0, 0), (".5k", 0, 512)],
)  # fmt: skip
def test_size_is_read(text: str, least: int, value: int) -> None:
    assert parse_size(text, "b", "max-size", least) == value


def apply_chmod(mode: int, text: str, umask: int = 0o022) -> int:
    """chmod.c:tweak_mode over compiled operations, for the tests."""
    executable, kind = mode & 0o111, mode & ~MODE_BITS
    is_dir = kind == 0o040000
    operations = parse_chmod(text, umask)
    assert operations is not None
    for mode_and, mode_or, flags in operations:
        if (flags & 1 and not is_dir) or (flags & 2 and is_dir):
            continue
        copied = 0
        if flags & (8 | 16 | 32):
            bits = (mode >> 6 if flags & 8 else mode >> 3 if flags & 16 else mode) & 7
            places = (0o100 if flags & 64 else 0) | (0o10 if flags & 128 else 0) | (1 if flags & 256 else 0)
            copied, mode_or = places * bits & mode_or, 0
        mode &= mode_and
        mode |= mode_or & ~0o111 if flags & 4 and not executable and not is_dir else mode_or
        mode = mode & ~copied if flags & 512 else mode | copied
    return mode & MODE_BITS | kind


@pytest.mark.parametrize(
    ("mode", "text", "result"),
    [
        (0o100644, "u+x", 0o100744), (0o100644, "a+X", 0o100644), (0o100744, "a+X", 0o100755), (0o040700, "a+X", 0o040711),
        (0o100777, "go-w", 0o100755), (0o100777, "g=u,o=", 0o100770), (0o100640, "o=g", 0o100644), (0o100644, "600", 0o100600),
        (0o100644, "D755", 0o100644), (0o040700, "D755,F644", 0o040755), (0o100644, "+w", 0o100644), (0o100444, "+w", 0o100644),
        (0o100644, "u+s", 0o104644), (0o100644, "g+s", 0o102644), (0o106644, "u-s", 0o102644), (0o040755, "D2775", 0o042775),
        (0o104755, "u=rwx", 0o104755), (0o100755, "+t", 0o101755), (0o100755, "g-u", 0o100705),
    ],
)  # fmt: skip
def test_chmod_changes_modes(mode: int, text: str, result: int) -> None:
    assert oct(apply_chmod(mode, text)) == oct(result)


@pytest.mark.parametrize("text", ["", "u", "u+q", "9", "DF644", "u+gr", "77777", "u+r,", ",u+r"])
def test_malformed_chmod_is_none(text: str) -> None:
    assert parse_chmod(text, 0) is None


def test_info_option_names_what_the_user_chose() -> None:
    info = InfoLevels()
    info.apply("name2,stats,misc0", 2)
    assert info.as_option(2 | 4) == "--info=MISC0,NAME2,STATS"
    info.apply("all3", 2)
    info.apply("name0", 2)
    assert info.as_option(2 | 4) == "--info=ALL3,NAME0"
