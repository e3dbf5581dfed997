"""prsync as a client of a stock daemon: the same trees, output and exit codes as stock rsync's."""

from __future__ import annotations

import os
import pathlib
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import client_harness as harness
import pytest
from client_harness import prsync, rsync, stable
from servers import RSYNC, StockDaemon

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

MODULES = """\
motd file = FOLDER/motd
[data]
path = FOLDER/data
comment = some data
[private]
path = FOLDER/data
auth users = me
secrets file = FOLDER/secrets
[busy]
path = FOLDER/data
max connections = -1
"""


def fill(root: pathlib.Path) -> None:
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a").write_bytes(b"alpha\n")
    (root / "sub" / "b").write_bytes(os.urandom(100_000))
    (root / "sub" / "deep" / "c").write_bytes(b"")
    (root / "b\nname").write_bytes(b"x")
    (root / "caf\xe9".encode("latin-1").decode("utf-8", "surrogateescape")).write_bytes(b"y")
    (root / "link").symlink_to("sub/b")
    os.link(root / "a", root / "sub" / "hard")
    os.chmod(root / "a", 0o640)
    os.utime(root / "a", ns=(10**18, 10**18 + 123456789))
    os.mkfifo(root / "fifo")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockDaemon]:
    folder = tmp_path_factory.mktemp("stock")
    (folder / "data").mkdir()
    fill(folder / "data")
    (folder / "motd").write_text("welcome\n")
    (folder / "secrets").write_text("me:word\n")
    (folder / "secrets").chmod(0o600)
    (folder / "data" / "list").write_text("sub/b\na\n")
    running = StockDaemon(folder, MODULES)
    yield running
    running.stop()


def differences(one: pathlib.Path, two: pathlib.Path) -> str:
    return rsync("-aHcni", "--delete", f"{one}/", f"{two}/").stdout.decode("utf-8", "replace")


def test_modules_are_listed_as_rsync_does(daemon: StockDaemon) -> None:
    ours, theirs = prsync(daemon.url()), rsync(daemon.url())
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, theirs.stdout, b"")
    assert b"welcome" not in prsync("--no-motd", daemon.url()).stdout


def test_double_colon_and_port_reach_the_same_daemon(daemon: StockDaemon) -> None:
    assert prsync(f"--port={daemon.port}", "127.0.0.1::").stdout == prsync(daemon.url()).stdout


@pytest.mark.parametrize("words", [["--list-only", "-r"], [], ["-rt", "--no-h"], ["-r", "--exclude=sub"]])
def test_files_are_listed_as_rsync_does(daemon: StockDaemon, words: list[str]) -> None:
    ours, theirs = prsync(*words, daemon.url("data/")), rsync(*words, daemon.url("data/"))
    assert (ours.returncode, sorted(ours.stdout.splitlines())) == (0, sorted(theirs.stdout.splitlines()))


@pytest.mark.parametrize("protocol", [30, 31, 32])
@pytest.mark.parametrize("words", [["-aH"], ["-aHz"], ["-aHc", "--no-i-r"], ["-aHW", "-s"]], ids=" ".join)
def test_pull_makes_the_same_tree(daemon: StockDaemon, tmp_path: pathlib.Path, words: list[str], protocol: int) -> None:
    pulled = prsync(*words, f"--protocol={protocol}", daemon.url("data/"), str(tmp_path / "copy"))
    assert (pulled.returncode, pulled.stderr) == (0, b"")
    assert differences(daemon.folder / "data", tmp_path / "copy") == ""
    again = prsync(*words, "-i", "--no-motd", f"--protocol={protocol}", daemon.url("data/"), str(tmp_path / "copy"))
    assert (again.returncode, again.stdout) == (0, b"")


@pytest.mark.parametrize(
    "words",
    [
        ["-av"], ["-ai"], ["-aii"], ["-a", "--stats"], ["-avh", "--stats"], ["-an", "-v"],
        ["-a", "--out-format=%o %n %l"],
        ["-av", "--delete"], ["-ai", "--exclude=sub"], ["-a", "-8", "-v"], ["-v", "-d"], ["-vr", "--no-inc-recursive"],
        ["-aq"], ["-a", "--info=name2,del,stats1"], ["-aPv"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_output_is_rsyncs(daemon: StockDaemon, tmp_path: pathlib.Path, words: list[str]) -> None:
    outputs = []
    for run, name in ((prsync, "ours"), (rsync, "theirs")):
        (tmp_path / name / "copy" / "old").mkdir(parents=True)
        os.utime(tmp_path / name / "copy", ns=(10**18, 10**18))
        result = run(*words, daemon.url("data/"), "copy/", cwd=tmp_path / name)
        lines = [line for line in stable(result.stdout) if b"%" not in line]
        outputs.append((result.returncode, sorted(lines), result.stderr))
    assert outputs[0] == outputs[1]


def test_names_are_escaped_by_the_locale(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    for number, locale in enumerate(("C", "C.UTF-8")):
        ours = prsync("-av", daemon.url("data/"), str(tmp_path / f"o{number}"), LC_ALL=locale)
        theirs = rsync("-av", daemon.url("data/"), str(tmp_path / f"t{number}"), LC_ALL=locale)
        escaped = [line for line in ours.stdout.splitlines() if b"\\#" in line]
        assert escaped and sorted(escaped) == sorted(line for line in theirs.stdout.splitlines() if b"\\#" in line)


@pytest.mark.parametrize("protocol", [30, 32])
@pytest.mark.parametrize(
    ("words", "stdin"),
    [(["--files-from=-"], b"sub/b\r\n\na"), (["--files-from=-", "-0"], b"sub/b\0a\0"), (["--files-from=:/list"], b"")],
)
def test_files_from_selects(daemon: StockDaemon, tmp_path: pathlib.Path, words: list[str], stdin: bytes, protocol: int) -> None:
    result = prsync("-a", *words, f"--protocol={protocol}", daemon.url("data/"), str(tmp_path / "copy"), stdin=stdin)
    assert (result.returncode, result.stderr) == (0, b"")
    found = sorted(str(p.relative_to(tmp_path / "copy")) for p in (tmp_path / "copy").rglob("*"))
    assert found == ["a", "sub", "sub/b"]


def test_several_sources_of_one_daemon(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    port = f"--port={daemon.port}"
    assert prsync("-a", port, "127.0.0.1::data/a", "::data/sub/b", str(tmp_path / "copy")).returncode == 0
    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == ["a", "b"]


def test_password_comes_from_environment_or_file(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    url = daemon.url("private/").replace("//", "//me@")
    assert prsync(url, RSYNC_PASSWORD="word").returncode == 0
    refused = prsync(url, RSYNC_PASSWORD="other")
    assert refused.returncode == 5 and refused.stderr.startswith(b"@ERROR: auth failed on module private\nrsync error: ")
    file = tmp_path / "password"
    file.write_text("word\n")
    file.chmod(0o644)
    assert prsync(f"--password-file={file}", url).stderr.startswith(b"ERROR: password file must not be other-accessible\n")
    file.chmod(0o600)
    assert prsync(f"--password-file={file}", url).returncode == 0
    assert prsync("--password-file=-", url, stdin=b"word\n").returncode == 0


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("none/", 5, b"@ERROR: Unknown module 'none'\n"),
        ("busy/", 5, b"@ERROR: max connections (-1) reached -- try again later\n"),
        ("data/missing", 23, b'link_stat "missing" (in data) failed: No such file or directory (2)\n'),
    ],
)
def test_failure_has_rsyncs_text_and_exit_code(
    daemon: StockDaemon, tmp_path: pathlib.Path, path: str, code: int, text: bytes
) -> None:
    result = prsync("-a", daemon.url(path), str(tmp_path / "copy"))
    assert result.returncode == code and text in result.stderr
    assert result.stderr.splitlines()[-1].startswith(b"rsync error: ") and f"(code {code})".encode() in result.stderr


@pytest.mark.parametrize(
    ("source", "dest", "code", "text"),
    [
        ("data/", "no/such//", 11, 'mkdir "HERE/no/such" failed: No such file or directory (2)'),
        ("data/a", "no/./a", 3, 'change_dir#3 "HERE/no" failed: No such file or directory (2)'),
        ("data/", "file/x", 3, 'ERROR: cannot stat destination "HERE/file/x": Not a directory (20)'),
    ],
)
def test_destination_that_cannot_be_is_named_in_full(
    daemon: StockDaemon, tmp_path: pathlib.Path, source: str, dest: str, code: int, text: str
) -> None:
    (tmp_path / "file").touch()
    result = prsync("-r", daemon.url(source), dest, cwd=tmp_path)
    lines = result.stderr.decode().splitlines()
    assert (result.returncode, lines[0]) == (code, "rsync: [Receiver] " + text.replace("HERE", str(tmp_path)))
    assert len(lines) == 2 and lines[1].startswith("rsync error: ")


def test_what_ended_the_remote_is_said_once(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    result = prsync("-r", "--remove-source-files", daemon.url("data/"), str(tmp_path / "copy"))
    first, second = result.stderr.splitlines()
    assert (result.returncode, first) == (1, b"ERROR: --remove-source-files cannot be used with a read-only module")
    assert second.startswith(b"rsync error: syntax or usage error (code 1) at ") and b"[sender=" in second


def test_unsupported_option_ends_before_any_connection(tmp_path: pathlib.Path) -> None:
    result = prsync("-aA", "rsync://127.0.0.1:1/x/", str(tmp_path))
    assert (result.returncode, result.stdout) == (4, b"")
    assert result.stderr == b"prsync: --acls is not supported by prsync yet\n"


def test_log_file_has_what_rsyncs_has(daemon: StockDaemon, tmp_path: pathlib.Path) -> None:
    logs = []
    for run, name in ((prsync, "ours"), (rsync, "theirs")):
        run("-a", f"--log-file={tmp_path}/{name}.log", daemon.url("data/"), str(tmp_path / name))
        lines = (tmp_path / f"{name}.log").read_text("latin-1").splitlines()
        assert all(line[4] == "/" and "] " in line for line in lines)
        texts = [line.partition("] ")[2] for line in lines]
        logs.append(sorted(text for text in texts if not text.startswith(("sent ", "created directory"))))
    assert logs[0] == logs[1]


def wait_for(folder: pathlib.Path, size: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if folder.exists() and any(p.is_file() and p.stat().st_size >= size for p in folder.rglob("*")):
            return
        select.select([], [], [], 0.02)
    raise AssertionError("no partial file")


@pytest.mark.parametrize("words", [[], ["--partial"], ["--partial-dir=.part"]], ids=["plain", "partial", "partial-dir"])
def test_interrupted_run_keeps_old_files(tmp_path: pathlib.Path, words: list[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "big").write_bytes(os.urandom(5_000_000))
    copy = tmp_path / "copy"
    daemon = StockDaemon(tmp_path, "[data]\npath = FOLDER/data\n")
    try:
        arguments = harness.command("-a", "--bwlimit=500", *words, daemon.url("data/"), str(copy))
        process = subprocess.Popen(arguments, env=harness.environment(), cwd="/", stderr=subprocess.PIPE)
        wait_for(copy, 100_000)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        again = prsync("-a", *words, daemon.url("data/"), str(copy))
    finally:
        if process.poll() is None:
            process.kill()
        daemon.stop()
    assert process.returncode == 20
    assert errors.startswith(b"rsync error: received SIGINT, SIGTERM, or SIGHUP (code 20)")
    assert again.returncode == 0 and differences(tmp_path / "data", copy) == ""


def test_interrupted_run_leaves_what_was_asked_for(tmp_path: pathlib.Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "big").write_bytes(os.urandom(5_000_000))
    daemon = StockDaemon(tmp_path, "[data]\npath = FOLDER/data\n")
    left = {}
    try:
        for name, words in (("plain", []), ("partial", ["--partial"]), ("dir", ["--partial-dir=.part"])):
            arguments = harness.command("-a", "--bwlimit=500", *words, daemon.url("data/"), str(tmp_path / name))
            process = subprocess.Popen(arguments, env=harness.environment(), cwd="/", stderr=subprocess.DEVNULL)
            wait_for(tmp_path / name, 100_000)
            process.terminate()
            process.wait(timeout=20)
            left[name] = sorted(str(p.relative_to(tmp_path / name)) for p in (tmp_path / name).rglob("*"))
    finally:
        daemon.stop()
    assert left == {"plain": [], "partial": ["big"], "dir": [".part", ".part/big"]}
    assert (tmp_path / "partial" / "big").stat().st_mtime == 0


def test_silent_daemon_ends_with_30(tmp_path: pathlib.Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    with server:
        result = prsync("--timeout=1", f"rsync://127.0.0.1:{server.getsockname()[1]}/m/", str(tmp_path))
    assert result.returncode == 30 and b"io timeout after 1 seconds -- exiting\n" in result.stderr


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", 5),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 5),
        (b"@RSYNCD: 26\n", 2),
        (b"@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\xff\xff\xff", 12),
    ],
)
def test_broken_daemon_ends_in_one_line(tmp_path: pathlib.Path, answer: bytes, code: int) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(f"import sys\nsys.stdout.buffer.write({answer!r})\nsys.stdout.flush()\nsys.stdin.buffer.readline()\n")
    result = prsync("-a", "rsync://h/m/", str(tmp_path / "copy"), RSYNC_CONNECT_PROG=f"{harness.sys.executable} {script}")
    assert result.returncode == code
    lines = result.stderr.splitlines()
    assert len(lines) == 2 and lines[1].startswith(b"rsync error: ") and b"Traceback" not in result.stderr


def test_version_is_quick_and_imports_little() -> None:
    code = "import sys; from prsync.commands.main import main; main(['--version']); print(sorted(sys.modules))"
    result = subprocess.run(
        [harness.sys.executable, "-c", code], capture_output=True, text=True, env=harness.environment(), check=True
    )
    for heavy in ("trio", "attr", "attrs", "rich", "sqlalchemy", "importlib.metadata", "prsync._native"):
        assert f"'{heavy}'" not in result.stdout


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_new_files_have_the_modes_that_the_umask_leaves(daemon: StockDaemon, tmp_path: pathlib.Path, umask: int) -> None:
    for name, words in (("ours", harness.command()), ("theirs", [str(RSYNC)])):
        command = [*words, "-rt", "--chmod=+w", daemon.url("data/"), f"{tmp_path / name}/"]
        subprocess.run(command, check=True, umask=umask, timeout=60, env=harness.environment(), cwd=harness.SOURCES)
    assert differences(tmp_path / "theirs", tmp_path / "ours") == ""
