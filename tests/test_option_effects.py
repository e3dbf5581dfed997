"""Each supported option changes what a run does, as it does in stock rsync. A new option needs a row, or a test named here."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import time
from collections.abc import Iterator

import attrs
import pytest
from kinds_of_tree import BEFORE, ROOT, blob, change, fill, snapshot, tree_differences, write
from pairs import PAIRS, PRSYNC, REFERENCE, RSYNC, SOURCES, Result, Server, client, environment, pull
from tap import Tap

from prsync.options.table import OWN_ROWS, ROWS, YES

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

MODULES = """\
motd file = DIR/motd
[one]
path = DIR/one
refuse options = !copy-devices
[two]
path = DIR/two
[closed]
path = DIR/closed
uid = nobody
gid = nogroup
[take]
path = DIR/take
read only = no
"""
Pair = tuple[str, str]


@attrs.frozen
class Row:
    """`words` beside `base` must change the run; `replace`: they stand instead of it.

    `over`: onto an altered copy of the first state, not into nothing.
    """

    option: str
    base: str
    words: str
    over: bool = True
    source: str = "two/"
    copy: str = "copy/"
    replace: bool = False
    root: bool = False
    pairs: tuple[Pair, ...] = PAIRS

    def given(self) -> list[str]:
        return ([] if self.replace else self.base.split()) + self.words.split()


def fresh(option: str, base: str, words: str, source: str = "two/", copy: str = "copy/", root: bool = False) -> Row:
    return Row(option, base, words, over=False, source=source, copy=copy, root=root)


def instead(option: str, base: str, words: str, over: bool = True) -> Row:
    return Row(option, base, words, over=over, replace=True)


EFFECTS = (
    Row("verbose", "-a", "-v"),
    Row("info", "-a", "--info=name,del1 --delete"),
    Row("stderr", "-ai --existing --max-size=10", "--stderr=all"),
    Row("quiet", "-av", "-q"),
    Row("no-motd", "-a", "--no-motd"),
    Row("stats", "-a", "--stats"),
    Row("human-readable", "-a --stats", "-h"),
    Row("dry-run", "-ai", "-n"),
    fresh("archive", "-r", "-a"),
    fresh("recursive", "-t", "-r"),
    Row("inc-recursive", "-av --no-inc-recursive", "--inc-recursive"),
    Row("no-inc-recursive", "-av", "--no-inc-recursive"),
    fresh("dirs", "-t", "-d"),
    fresh("perms", "-rt", "-p"),
    Row("executability", "-rt", "-E"),
    fresh("times", "-r", "-t"),
    fresh("omit-dir-times", "-a", "-O"),
    fresh("omit-link-times", "-a", "-J"),
    Row("backup", "-a", "-b"),
    Row("backup-dir", "-ab", "--backup-dir=kept"),
    Row("suffix", "-ab", "--suffix=.old"),
    Row("append", "-a --stats", "--append"),
    Row("append-verify", "-a --stats", "--append-verify"),
    Row("modify-window", "-ai", "--modify-window=3"),
    fresh("owner", "-r", "-o", root=True),
    fresh("group", "-r", "-g", root=True),
    fresh("D", "-r", "-D"),
    fresh("devices", "-r", "--devices", root=True),
    fresh("specials", "-r", "--specials"),
    Row("copy-devices", "-a", "--copy-devices", over=False, source="one/char", root=True, pairs=(PAIRS[1],)),
    fresh("links", "-r", "-l"),
    fresh("copy-links", "-rl", "-L"),
    fresh("copy-unsafe-links", "-rl", "--copy-unsafe-links"),
    fresh("safe-links", "-rl", "--safe-links"),
    fresh("copy-dirlinks", "-rl", "-k"),
    Row("keep-dirlinks", "-a", "-K"),
    fresh("hard-links", "-a", "-H"),
    fresh("relative", "-a", "-R", source="two/dir/sub"),
    fresh("no-implied-dirs", "-aR", "--no-implied-dirs", source="two/dir/sub"),
    fresh("chmod", "-a", "--chmod=g+w,Fo="),
    Row("ignore-times", "-ai", "-I"),
    Row("size-only", "-ai", "--size-only"),
    Row("update", "-ai", "-u"),
    Row("existing", "-ai", "--existing"),
    Row("ignore-existing", "-ai", "--ignore-existing"),
    Row("max-size", "-ai", "--max-size=1k"),
    Row("min-size", "-ai", "--min-size=1k"),
    fresh("sparse", "-a", "-S"),
    Row("del", "-ai", "--del"),
    Row("delete", "-ai", "--delete"),
    Row("delete-before", "-ai", "--delete-before"),
    Row("delete-during", "-ai", "--delete-during"),
    Row("delete-delay", "-ai", "--delete-delay"),
    Row("delete-after", "-ai", "--delete-after"),
    Row("delete-excluded", "-ai --delete --exclude=gone", "--delete-excluded"),
    Row("force", "-ai", "--force"),
    Row("ignore-errors", "-rti --delete", "--ignore-errors", source="closed/", root=True),
    Row("max-delete", "-ai --delete", "--max-delete=1"),
    fresh("F", "-a", "-F"),
    fresh("F", "-aF", "-F"),
    fresh("filter", "-a", "--filter=-_b*"),
    fresh("exclude", "-a", "--exclude=b*"),
    instead("include", "-a --exclude=*", "-a --include=b* --exclude=*", over=False),
    fresh("exclude-from", "-a", "--exclude-from=FOLDER/patterns"),
    instead("include-from", "-a --exclude=*", "-a --include-from=FOLDER/patterns --exclude=*", over=False),
    fresh("cvs-exclude", "-a", "-C"),
    Row("whole-file", "-a --stats", "-W"),
    Row("checksum", "-ai", "-c"),
    Row("checksum-choice", "-a --out-format=%n_%C", "--cc=md5"),
    Row("block-size", "-a --stats", "-B5000"),
    fresh("compare-dest", "-ai", "--compare-dest=../prior"),
    fresh("copy-dest", "-ai", "--copy-dest=../prior"),
    fresh("link-dest", "-ai", "--link-dest=../prior"),
    fresh("P", "-a", "-P"),
    fresh("progress", "-a", "--progress"),
    fresh("prune-empty-dirs", "-a", "-m"),
    Row("log-file-format", "-a --log-file=FOLDER/log", "--log-file-format=%n_%l"),
    Row("out-format", "-a", "--out-format=%o_%n_%l_%B_%U"),
    Row("itemize-changes", "-a", "-i"),
    fresh("list-only", "-a", "--list-only"),
    fresh("files-from", "-a", "--files-from=FOLDER/names"),
    fresh("from0", "-a --files-from=FOLDER/names0", "-0"),
    fresh("old-args", "-ai", "--old-args", source="two/new two/text"),
    fresh("8-bit-output", "-ai", "-8"),
    fresh("mkpath", "-a", "--mkpath", copy="copy/a/b/"),
    fresh("remote-option", "-rl", "-M-L"),
)

# What the bytes on the wire show: (option, base, words). Their number in either direction, or what the client says, changes.
WIRE = (
    ("compress", "-a", "-z"),
    ("old-compress", "-az", "--old-compress"),
    ("new-compress", "-az --old-compress", "--new-compress"),
    ("compress-choice", "-az", "--zc=lz4"),
    ("compress-level", "-az", "--zl=19"),
    ("skip-compress", "-az --zc=zlib", "--skip-compress=zip"),
    ("secluded-args", "-a", "-s"),
    ("numeric-ids", "-a", "--numeric-ids"),
    ("protocol", "-a", "--protocol=30"),
    ("checksum-seed", "-a --checksum-seed=1 --no-W", "--checksum-seed=2"),
)

ELSEWHERE = {
    "drop-D": "tests/session/server/test_confined_site.py::test_forced_command_push_and_pull_stay_in_the_folder",
    "write-batch": "tests/session/client/test_batch_reading.py::test_batch_that_one_writes_gives_all_readers_the_writers_tree",
    "read-batch": "tests/session/client/test_batch_reading.py::test_batch_that_one_writes_gives_all_readers_the_writers_tree",
    "only-write-batch": "tests/session/client/test_batch_reading.py::test_only_write_batch_changes_nothing_and_records_all",
    "help": "tests/options/test_options.py::test_help_and_version_end_the_run",
    "version": "tests/options/test_options.py::test_help_and_version_end_the_run",
    "open-noatime": "tests/test_option_effects.py::test_open_noatime_leaves_the_sources_access_times",
    "one-file-system": "tests/test_option_effects.py::test_one_file_system_leaves_out_what_is_mounted",
    "remove-source-files": "tests/test_option_effects.py::test_remove_source_files_takes_them_away",
    "inplace": "tests/test_option_effects.py::test_inplace_keeps_the_inode",
    "partial": "tests/session/client/test_session.py::test_interrupted_run_leaves_what_was_asked_for",
    "partial-dir": "tests/session/client/test_session.py::test_interrupted_run_leaves_what_was_asked_for",
    "delay-updates": "tests/transfer/test_receiver.py::test_pull_with_delayed_updates_renames_at_the_end",
    "log-file": "tests/session/client/test_session.py::test_log_file_has_what_rsyncs_has",
    "bwlimit": "tests/test_option_effects.py::test_bwlimit_slows_a_pull_down",
    "temp-dir": "tests/transfer/test_receiver.py::test_pull_with_missing_temp_dir_is_refused",
    "timeout": "tests/session/client/test_session.py::test_silent_daemon_ends_with_30",
    "port": "tests/session/client/test_session.py::test_double_colon_and_port_reach_the_same_daemon",
    "password-file": "tests/session/client/test_session.py::test_password_comes_from_environment_or_file",
    "outbuf": "tests/test_option_effects.py::test_outbuf_decides_when_lines_come",
    "mirrors": "tests/test_option_effects.py::test_mirrors_decides_whether_a_swarm_is_asked_for",
    "mirror-timeout": "tests/swarm/test_scheduler.py::test_one_faulty_mirror_of_four_is_named_and_costs_little_time",
    "trust-sender": "tests/test_option_effects.py::test_trust_sender_takes_names_that_were_not_asked_for",
    "address": "tests/net/test_connect.py::test_bind_address_is_used",
    "ipv4": "tests/net/test_connect.py::test_family_is_kept_to",
    "ipv6": "tests/net/test_connect.py::test_family_is_kept_to",
    "contimeout": "tests/net/test_connect.py::test_connection_that_takes_too_long_ends_with_35",
    "rsh": "tests/net/test_remote_shell.py::test_shell_text_is_split_into_words",
    "rsync-path": "tests/net/test_remote_shell.py::test_command_has_user_family_host_and_program",
    "blocking-io": "tests/net/test_remote_shell.py::test_output_blocks_where_it_is_to",
    "config": "tests/session/daemon/process/test_start.py::test_detached_daemon_writes_its_pid_and_serves",
    "no-detach": "tests/session/daemon/process/test_start.py::test_detached_daemon_writes_its_pid_and_serves",
    "dparam": "tests/test_parameter_effects.py::test_dparam_sets_a_global_parameter",
    "daemon": "tests/session/daemon/process/test_start.py::test_detached_daemon_writes_its_pid_and_serves",
}


class Setting:
    """The modules, both daemons, and what the reference does, kept."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        fill(folder / "one")
        copy_tree(folder / "one", folder / "two")
        change(folder / "two")
        write(folder / "two/.rsync-filter", b"- *.jpg\n")
        write(folder / "two/.cvsignore", b"text\n")
        write(folder / "two/object.o", b"o")
        for name in ("hex", "hex.jpg"):
            write(folder / "two" / name, blob(9, 40_000).hex().encode())
        (folder / "motd").write_text("good morning\n")
        (folder / "patterns").write_text("b*\n# comment\n; another\nnew\n")
        (folder / "names").write_text("new\ndir/sub\n")
        (folder / "names0").write_bytes(b"new\nline\0dir/sub\0")
        (folder / "closed/locked").mkdir(parents=True, mode=0o700)
        (folder / "closed/open").write_text("x")
        for above in (folder, *folder.parents[:3]):
            if above.owner() == folder.owner() and above != pathlib.Path("/tmp"):
                above.chmod(0o755)
        self.servers = {kind: Server(kind, folder, MODULES) for kind in ("stock", "prsyncd")}
        self.kept: dict[tuple[object, ...], tuple[Result, str]] = {}
        self.count = 0

    def run(self, pair: Pair, row: Row, words: list[str]) -> tuple[Result, str]:
        """What is left, and the lines of a log file."""
        key = (row.over, row.source, row.copy, *words)
        if pair == REFERENCE and key in self.kept:
            return self.kept[key]
        self.count += 1
        place = self.folder / f"run{self.count}"
        place.mkdir()
        copy_tree(self.folder / "one", place / "prior")
        if row.over:
            copy_tree(self.folder / "one", place / "copy")
            alter(place / "copy")
        given = [word.replace("FOLDER", str(self.folder if "names" in word or "patterns" in word else place)) for word in words]
        given = [word.replace("_", " ") if "=" in word else word for word in given]
        result = pull(pair[0], self.servers[pair[1]], given, [row.source], place, copy=row.copy, clean=without_rates)
        log = place / "log"
        kept = (
            result,
            "\n".join(sorted(re.findall(r"\] (?!sent|building|receiving)(.*?)(?: at .*)?\n", log.read_text())))
            if log.exists()
            else "",
        )
        if pair == REFERENCE:
            self.kept[key] = kept
        subprocess.run(["rm", "-rf", place], check=True)
        return kept


def copy_tree(source: pathlib.Path, copy: pathlib.Path) -> None:
    subprocess.run(["cp", "-a", source, copy], check=True)


def alter(copy: pathlib.Path) -> None:
    """A newer file, a full directory where a file is to be, a link to a directory where there is to be one."""
    write(copy / "text", b"newer", when=BEFORE + 10**16)
    (copy / "turns/dir-to-file/inside").touch()
    (copy / "dir/sub/old").touch()
    (copy / "dir/empty").rmdir()
    (copy / "dir/empty").symlink_to("sub")


PROGRESS = re.compile(rb"\s+[\d,.]+ +\d+%.*?(?:(\(xfr#\d+, \w+-chk=)[^)]*\)|$)")


def without_rates(line: bytes) -> bytes | None:
    if line.startswith((b"sent ", b"total size", b"Total bytes", b"File list ")):
        return None
    return PROGRESS.sub(b"", line.rpartition(b"\r")[2])


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    made = Setting(tmp_path_factory.mktemp("options"))
    yield made
    for server in made.servers.values():
        server.stop()


def all_words() -> list[tuple[Row, Pair]]:
    turns = ((row, (PAIRS[0], PAIRS[1 + index % 2])) for index, row in enumerate(EFFECTS))
    return [(row, pair) for row, pairs in turns for pair in (pairs if row.pairs == PAIRS else row.pairs)]


@pytest.mark.parametrize(
    ("row", "pair"), all_words(), ids=lambda value: "-from-".join(value) if isinstance(value, tuple) else value.option
)
def test_option_has_stocks_effect(setting: Setting, row: Row, pair: Pair) -> None:
    if row.root and not ROOT:
        pytest.skip("needs root")
    plain, plain_log = setting.run(REFERENCE, row, row.base.split())
    stock, stock_log = setting.run(REFERENCE, row, row.given())
    assert (plain, plain_log) != (stock, stock_log), "the row shows nothing: stock rsync does the same without the option"
    ours, log = setting.run(pair, row, row.given())
    assert tree_differences(ours.tree, stock.tree) == []
    assert (ours.code, ours.lines, ours.errors, log) == (stock.code, stock.lines, stock.errors, stock_log)


def test_every_supported_option_is_tested() -> None:
    tested = {row.option for row in EFFECTS} | {name for name, _, _ in WIRE} | ELSEWHERE.keys()
    offered = {row.long or row.short for row in (*ROWS, *OWN_ROWS) if row.support == YES and row.text}
    assert offered - tested == set()


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_test_of_an_option_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert f"def {name}(" in (SOURCES / path).read_text()


@pytest.mark.parametrize(("option", "base", "words"), WIRE, ids=[name for name, _, _ in WIRE])
@pytest.mark.parametrize("pair", PAIRS, ids="-from-".join)
def test_option_is_seen_on_the_wire(
    setting: Setting, tmp_path: pathlib.Path, pair: Pair, option: str, base: str, words: str
) -> None:
    if option == "skip-compress" and pair[1] == "stock":
        pytest.skip("stock rsync's own daemon compresses all the same")
    seen = []
    for given in (base.split(), base.split() + words.split()):
        copy = tmp_path / f"copy{len(seen)}"
        copy_tree(setting.folder / "one", copy)
        with Tap(setting.servers[pair[1]].port) as tap:
            done = client(pair[0], [*given, f"rsync://127.0.0.1:{tap.port}/two/", str(copy)], tmp_path)
        assert done.returncode == 0, done.stderr
        seen.append(tap)
        assert (copy / "big").read_bytes() == (setting.folder / "two/big").read_bytes()
    effect = {
        "secluded-args": lambda tap: b"two/" in tap.sent.partition(b"\0\0")[0],
        "protocol": lambda tap: tap.sent[:12],
        "checksum-seed": lambda tap: tap.sent[-2000:],
    }.get(option, lambda tap: tap.received)
    assert effect(seen[0]) != effect(seen[1])


ORDER = {"before": "d*f", "delay": "f*d", "after": "f*d"}


@pytest.mark.parametrize("when", ORDER)
@pytest.mark.parametrize("pair", PAIRS, ids="-from-".join)
def test_deletions_come_when_they_are_asked_for(setting: Setting, tmp_path: pathlib.Path, pair: Pair, when: str) -> None:
    copy = tmp_path / "copy"
    copy_tree(setting.folder / "one", copy)
    done = client(pair[0], ["-ai", f"--delete-{when}", setting.servers[pair[1]].url + "two/", str(copy)], tmp_path)
    kinds = "".join(
        "d" if line.startswith(b"*del") else "f" if line.startswith(b">f") else "" for line in done.stdout.splitlines()
    )
    order = "d*f" if re.fullmatch("d+f+", kinds) else "f*d" if re.fullmatch("f+d+", kinds) else "mixed"
    assert order == ORDER[when], done.stdout


def test_bwlimit_slows_a_pull_down(setting: Setting, tmp_path: pathlib.Path) -> None:
    for index, pair in enumerate(PAIRS):
        begun = time.monotonic()
        url = setting.servers[pair[1]].url
        done = client(
            pair[0], ["--bwlimit=300", "-a", url + "one/big", url + "one/sparse", str(tmp_path / f"c{index}/")], tmp_path
        )
        assert done.returncode == 0 and 1.2 < time.monotonic() - begun < 10


@pytest.mark.parametrize("pair", PAIRS, ids="-from-".join)
def test_open_noatime_leaves_the_sources_access_times(setting: Setting, tmp_path: pathlib.Path, pair: Pair) -> None:
    source = setting.folder / "take"
    source.mkdir(exist_ok=True)
    write(source / "file", b"data")
    times = []
    for index, words in enumerate(([], ["--open-noatime"])):
        os.utime(source / "file", ns=(BEFORE, BEFORE + 1))
        client(pair[0], ["-a", *words, setting.servers[pair[1]].url + "take/", str(tmp_path / str(index))], tmp_path)
        times.append((source / "file").stat().st_atime_ns)
    assert times[0] != BEFORE and times[1] == BEFORE


@pytest.mark.parametrize("pair", PAIRS, ids="-from-".join)
def test_remove_source_files_takes_them_away(setting: Setting, tmp_path: pathlib.Path, pair: Pair) -> None:
    source = setting.folder / "take"
    source.mkdir(exist_ok=True)
    left = {}
    for kind in (pair, REFERENCE):
        write(source / "file", b"data")
        url = setting.servers[kind[1]].url + "take/"
        done = client(kind[0], ["-a", "--remove-source-files", url, str(tmp_path / "-".join(kind))], tmp_path)
        left[kind] = done.returncode, sorted(p.name for p in source.iterdir()), snapshot(tmp_path / "-".join(kind)).keys()
    assert left[pair] == left[REFERENCE] and not left[REFERENCE][1]


@pytest.mark.skipif(not ROOT, reason="needs root")
@pytest.mark.parametrize("pair", PAIRS, ids="-from-".join)
def test_one_file_system_leaves_out_what_is_mounted(setting: Setting, tmp_path: pathlib.Path, pair: Pair) -> None:
    source = setting.folder / "take"
    (source / "mounted").mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", source / "mounted"], check=False).returncode:
        pytest.skip("cannot mount")
    try:
        (source / "mounted/inner").touch()
        found = []
        for words in ([], ["-x"], ["-xx"]):
            copy = tmp_path / f"copy{len(found)}"
            assert client(pair[0], ["-a", *words, setting.servers[pair[1]].url + "take/", str(copy)], tmp_path).returncode == 0
            found.append([os.path.lexists(copy / "mounted"), os.path.lexists(copy / "mounted/inner")])
    finally:
        subprocess.run(["umount", source / "mounted"], check=True)
        subprocess.run(["rm", "-rf", source], check=True)
    assert found == [[True, True], [True, False], [False, False]]


def test_mirrors_decides_whether_a_swarm_is_asked_for(setting: Setting, tmp_path: pathlib.Path) -> None:
    asked, codes = [], []
    for words in ([], ["--mirrors=auto"], ["--mirrors=off"], ["--mirrors=only"], ["--mirrors=only", "-n"]):
        with Tap(setting.servers["prsyncd"].port) as tap:
            done = client("prsync", ["-a", *words, f"rsync://127.0.0.1:{tap.port}/two/", str(tmp_path / "copy")], tmp_path)
        asked.append(b"nominate1" in tap.sent)
        codes.append(done.returncode)
    assert (asked, codes) == ([True, True, False, True, False], [0, 0, 0, 5, 0])


def test_trust_sender_takes_names_that_were_not_asked_for(setting: Setting, tmp_path: pathlib.Path) -> None:
    """The daemon is told another name than the client was: as a sender that lies."""
    codes = []
    for words in ([], ["--trust-sender"]):
        swapped = Tap(setting.servers["stock"].port, ask=lambda sent: sent.replace(b"two/photo.jpg", b"two/same-size"))
        with swapped as tap:
            url = f"rsync://127.0.0.1:{tap.port}/two/photo.jpg"
            done = client("prsync", ["-a", *words, url, f"{tmp_path}/copy/"], tmp_path)
        codes.append((done.returncode, (tmp_path / "copy/same-size").exists()))
    assert codes == [(4, False), (0, True)]


def test_outbuf_decides_when_lines_come(setting: Setting, tmp_path: pathlib.Path) -> None:
    """Lines of a slow transfer: at once, or only at its end."""
    for words, early in ((["--outbuf=L"], True), (["--outbuf=N"], True), (["--outbuf=B"], False)):
        url = setting.servers["stock"].url
        command = [*PRSYNC, "-ai", "--bwlimit=200", *words, url + "one/big", url + "one/text", str(tmp_path / words[0])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), cwd="/")
        assert process.stdout
        begun = time.monotonic()
        os.read(process.stdout.fileno(), 10)
        first = time.monotonic() - begun
        process.communicate()
        assert (time.monotonic() - begun - first > 0.3) is early


@pytest.mark.parametrize("pair", PAIRS, ids="-from-".join)
def test_inplace_keeps_the_inode(setting: Setting, tmp_path: pathlib.Path, pair: Pair) -> None:
    for words, kept in (([], False), (["--inplace"], True)):
        write(tmp_path / "big", b"old")
        with open(tmp_path / "big", "rb") as old:
            url = setting.servers[pair[1]].url
            assert client(pair[0], ["-a", *words, url + "two/big", f"{tmp_path}/"], tmp_path).returncode == 0
            assert os.path.samestat(os.fstat(old.fileno()), (tmp_path / "big").stat()) is kept
        assert (tmp_path / "big").read_bytes() == (setting.folder / "two/big").read_bytes()
