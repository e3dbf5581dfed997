"""The arguments of a server: what a client sends is what rsync sends, and a server reads from it what the client meant."""

from __future__ import annotations

import json
import os
import pathlib
import random
import shlex
import shutil
import subprocess
import sys

import pytest

from prsync.errors import PrsyncError, UnsupportedError
from prsync.options import table
from prsync.options.model import ForDaemon, parse_arguments
from prsync.options.operands import Way, transfer_target
from prsync.options.read import Reader
from prsync.options.read_server_command import parse_server_command
from prsync.options.remote_arguments import (
    allows_incremental,
    limit_verbosity,
    parse_server_arguments,
    path_arguments,
    refused_rows,
    server_arguments,
    shell_arguments,
)

Vector = dict[str, list[str]]
FOLDER = pathlib.Path(__file__).parents[2] / "protocol-spec" / "vectors" / "classic"
PULLS, PUSHES, SHELLS = (json.loads((FOLDER / f"arguments{kind}.json").read_text()) for kind in ("", "-push", "-shell"))
RSYNC = shutil.which("rsync")


class LenientReader(Reader):
    """Takes the options that prsync does not support yet too: they are sent like all others."""

    @property
    def unsupported(self) -> None:  # type: ignore[override]
        return None

    @unsupported.setter
    def unsupported(self, _row: object) -> None:
        pass


def sent(words: list[str]) -> Vector:
    """What prsync sends: to a daemon, or what follows the program's name on the command line of a remote shell."""
    options = LenientReader({}).parse_client(words)
    target = transfer_target(options)
    paths = (target.destination or "",) if target.push else target.paths
    if target.way is Way.SHELL:
        plain, secluded = shell_arguments(options, paths)
    else:
        plain, secluded = server_arguments(options)
        names = path_arguments(options, paths[0].partition("/")[0], paths)
        plain, secluded = (plain, secluded + names) if options.protect_args else (plain + names, [])
    return {"arguments": plain} | ({"secluded": ["rsync", *secluded]} if secluded else {})


def expected(vector: Vector) -> Vector:
    words = vector["arguments"]
    start = words.index("--server")
    return {name: value for name, value in vector.items() if name != "command"} | {"arguments": words[start:]}


@pytest.mark.parametrize("vector", PULLS + PUSHES + SHELLS, ids=lambda v: " ".join(v["command"]))
def test_arguments_for_the_server_are_rsyncs(vector: Vector) -> None:
    assert sent(vector["command"]) == expected(vector)


CAPTURE = """
import sys
out, inp = sys.stdout.buffer, sys.stdin.buffer
out.write(b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\\n"); out.flush()
inp.readline(), inp.readline()
out.write(b"@RSYNCD: OK\\n"); out.flush()
words = b""
while not words.endswith(b"\\0\\0"):
    words += inp.read(1)
open(sys.argv[1], "wb").write(words)
"""


SHELL = """#!/bin/sh
printf '%s\\0' "$@" > words
"""


def run_stock(command: list[str], folder: pathlib.Path) -> list[str] | None:
    """The arguments that the real rsync sends, the secluded ones not among them; None where it refuses the command."""
    assert RSYNC
    (folder / "shell").write_text(SHELL)
    (folder / "shell").chmod(0o755)
    (folder / "capture.py").write_text(CAPTURE)
    for name in ("a", "lst"):
        (folder / name).write_text("a\n")
    words = folder / "words"
    words.unlink(missing_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "RSYNC_CONNECT_PROG": f"{sys.executable} capture.py words",
        "RSYNC_RSH": str(folder / "shell"),
    }
    command = [RSYNC, *command]
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=folder, timeout=10)
    return [word.decode() for word in words.read_bytes().rstrip(b"\0").split(b"\0")] if words.exists() else None


@pytest.mark.skipif(RSYNC is None, reason="needs the real rsync")
@pytest.mark.parametrize("vector", (PULLS + PUSHES + SHELLS)[::16], ids=lambda v: " ".join(v["command"]))
def test_recorded_arguments_are_what_this_rsync_sends(vector: Vector, tmp_path: pathlib.Path) -> None:
    assert run_stock(vector["command"], tmp_path) == vector["arguments"]


SETS = [line.split() for line in (
    "-a", "-av", "-r", "-d", "-i", "-ii", "-n", "-q", "-vv", "-P", "-z", "-zz", "-b", "-u", "-c", "-I", "-m", "-K", "-k",
    "-L", "-O", "-J", "-E", "-p", "-S", "-W", "-R", "-s", "-H", "-x", "-xx", "-C", "-0", "-4", "-y", "-yy", "-A", "-X", "-U",
    "-UU", "-t", "-o", "-D", "--no-W", "--no-R", "--no-D", "--no-r", "--no-t", "--delete", "--del", "--delete-before",
    "--delete-after", "--delete-delay", "--delete-excluded", "--max-delete=3", "--max-delete=0", "--max-size=1.5k",
    "--min-size=2", "--partial", "--partial-dir=.p", "--partial-dir=a*b", "--delay-updates", "--inplace", "--append",
    "--append-verify", "--temp-dir=/t", "--link-dest=l", "--link-dest=m", "--copy-dest=c", "--compare-dest=d", "--existing",
    "--ignore-existing", "--size-only", "--modify-window=2", "-@-1", "--suffix=.o", "--backup-dir=./bak", "--force",
    "--ignore-errors", "--stats", "--info=name2,del", "--info=all", "--info=none", "--out-format=%n", "--out-format=%o",
    "--out-format=%i", "--log-file=log", "--list-only", "--numeric-ids", "--safe-links", "--copy-unsafe-links",
    "--no-implied-dirs", "--mkpath", "--fsync", "--preallocate", "--super", "--write-devices", "--remove-source-files",
    "--copy-devices", "--open-noatime", "--timeout=9", "--bwlimit=7", "-B700", "--checksum-seed=3", "--cc=md5", "--cc=none",
    "--zc=zstd", "--zc=zlib", "--zl=3", "--skip-compress=gz", "--no-i-r", "--trust-sender", "--old-args", "-M--foo=a*b",
    "--ignore-missing-args", "--delete-missing-args", "--specials", "--devices", "--no-specials", "--progress",
    "--stderr=all", "--stderr=client", "--protocol=31", "--protocol=29", "--files-from=lst", "--files-from=:l*s",
    "--max-alloc=2g",
)]  # fmt: skip
OPERANDS = (["a", "h::m/x"], ["a", "h:"], ["a", "h:x y*"], ["h::m", "d"], ["h:~/x y", "d"], ["h:~x", "d"], ["h:x"], ["h::m/"])


@pytest.mark.skipif(RSYNC is None, reason="needs the real rsync")
@pytest.mark.parametrize("seed", range(2))
def test_random_options_are_sent_as_this_rsync_sends_them(seed: int, tmp_path: pathlib.Path) -> None:
    chance = random.Random(seed)
    for _ in range(40):
        command = [word for words in chance.sample(SETS, chance.randint(1, 9)) for word in words] + chance.choice(OPERANDS)
        if "--protocol=29" in command and "::" in "".join(command):
            continue  # lines instead of NULs, which the capture does not read
        theirs = run_stock(command, tmp_path)
        if theirs is None:
            with pytest.raises(PrsyncError):
                sent(command)
            continue
        assert sent(command)["arguments"] == theirs[theirs.index("--server") :], command


# ---- the daemon's side


UNKNOWN = ("-M", "--copy-devices", "--qsort", "--protocol=2")
UNDERSTOOD = [v for v in PULLS + PUSHES + SHELLS if not any(w.startswith(UNKNOWN) for w in v["command"])]
BOTH_SIDES = (
    "preserve_links", "preserve_perms", "preserve_mtimes", "preserve_uid", "preserve_gid", "preserve_devices",
    "preserve_specials", "recurse", "relative_paths", "implied_dirs", "one_file_system", "always_checksum", "numeric_ids",
    "safe_symlinks", "io_timeout", "bwlimit", "block_size", "checksum_seed", "checksum_choice", "compress_choice",
    "copy_unsafe_links", "dry_run", "ignore_errors", "make_backups", "backup_dir", "update_only", "ignore_times",
    "inplace", "append_mode", "remove_source_files", "sparse_files", "cvs_exclude",
)  # fmt: skip
AT_THE_SENDER = ("copy_links", "copy_dirlinks", "skip_compress")
AT_THE_RECEIVER = (
    "delete_mode", "delete_before", "delete_during", "delete_after", "delete_excluded", "max_delete", "max_size",
    "min_size", "force_delete", "size_only", "do_stats", "keep_partial", "partial_dir", "delay_updates",
    "modify_window", "modify_window_set", "ignore_existing", "ignore_non_existing", "tmpdir", "alt_dest", "basis_dirs",
    "mkpath_dest_arg", "keep_dirlinks", "prune_empty_dirs", "omit_link_times", "preserve_executability",
)  # fmt: skip
EXACT = (
    "bwlimit",
    "max_size",
    "min_size",
    "max_delete",
    "delete_when",
    "partial_dir",
    "modify_window",
    "tmpdir",
    "basis_dirs",
    "backup_dir",
)


@pytest.mark.parametrize("vector", UNDERSTOOD, ids=lambda v: " ".join(v["command"]))
def test_server_understands_what_a_client_means(vector: Vector) -> None:
    words = shlex.split(" ".join(expected(vector)["arguments"]))
    secluded = vector.get("secluded", ["rsync"])[1:]
    try:
        ours = parse_arguments(vector["command"], {})
    except UnsupportedError:
        pytest.skip("not supported yet")
    theirs = parse_server_command(words, secluded)
    assert theirs.am_server and theirs.am_sender is not ours.am_sender and theirs.client_info.startswith(".")
    assert ("i" in theirs.client_info) == allows_incremental(ours)
    if vector not in SHELLS:
        assert parse_server_arguments([*words, *secluded]) == theirs
    shared = BOTH_SIDES + (AT_THE_RECEIVER if ours.am_sender else AT_THE_SENDER)
    different = {
        name: (getattr(theirs, name), getattr(ours, name))
        for name in shared
        if (bool(getattr(theirs, name)) != bool(getattr(ours, name)))
        or (name in EXACT and getattr(theirs, name) != getattr(ours, name))
    }
    if ours.whole_file == 1:
        different.pop("checksum_choice", None)
    if ours.preserve_perms:
        different.pop("preserve_executability", None)
    assert not different


@pytest.mark.parametrize("words", [["--server", "--daemon", "."], ["--server", "--config=x", "--daemon", "."]])
def test_server_command_of_a_daemon_hands_over(words: list[str]) -> None:
    with pytest.raises(ForDaemon):
        parse_server_command(words)
    with pytest.raises(PrsyncError, match="thwarted"):
        parse_server_arguments(words)


def test_server_argument_that_is_unknown_is_told_to_the_client() -> None:
    with pytest.raises(PrsyncError) as caught:
        parse_server_arguments(["--server", "--sender", "-e.Lsf", "--bogus", ".", "m/"])
    assert caught.value.text == "rsync: on remote machine: --bogus: unknown option"


@pytest.mark.parametrize(
    ("refuse", "words", "refused"),
    [
        ("delete", ["--delete"], True), ("del*", ["--delete-after"], True), ("compress", ["-z"], True),
        ("z", ["--compress"], True),
        ("* !a !v", ["-a"], False), ("* !a", ["-v"], True), ("archive", ["-g"], True), ("hard-links", ["-g"], False),
        ("copy-links", ["-L"], True), ("delete-during", ["--del"], True), ("*", ["-n"], False), ("", ["--insecure-links"], True),
        ("", ["--log-file=x"], True), ("checksum", ["--no-checksum"], False),
    ],
)  # fmt: skip
def test_refuse_options_of_a_module(refuse: str, words: list[str], refused: bool) -> None:
    rows = refused_rows(refuse)
    index = {f"--{row.long}": row for row in table.ROWS} | {f"-{row.short}": row for row in table.ROWS if row.short}
    names = [word.partition("=")[0] for word in words]
    assert (index[names[0]] in rows) is refused


def test_refused_option_ends_the_parsing() -> None:
    with pytest.raises(PrsyncError) as caught:
        parse_server_arguments(["--server", "--sender", "-vze.Lsf", ".", "m/"], refuse="compress")
    assert caught.value.text == "rsync: The server is configured to refuse --compress (-z)"


def test_verbosity_is_limited() -> None:
    options = parse_server_arguments(["--server", "--sender", "-vvve.Lsf", ".", "m/"])
    limited = limit_verbosity(options, 1)
    assert (options.verbose, limited.verbose) == (3, 1)
    assert options.info["SKIP"] == 1 and limited.info["SKIP"] == 0 and limited.info["NAME"] == 1
