"""prsyncd as stock rsync and a misbehaving client see it: the text phase, signals, the configuration's errors."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from daemon_harness import SCRIPT, Daemon, free_port

Start = Callable[..., Daemon]
MODULES = "[data]\npath = DIR\ncomment = some data\n[hidden]\npath = DIR\nlist = no\n[a longer name here]\npath = DIR\n"


def test_stock_rsync_lists_modules(start_daemon: Start) -> None:
    daemon = start_daemon(MODULES)
    result = daemon.rsync("::")
    assert (result.returncode, result.stdout) == (0, "data           \tsome data\na longer name here\t\n")
    host = "from UNDETERMINED (127.0.0.1)"
    assert daemon.log_lines()[1:] == [f"connect {host}", f"module-list request {host}"]


def test_message_of_the_day_precedes_the_listing(start_daemon: Start, tmp_path: pathlib.Path) -> None:
    (tmp_path / "motd").write_text("hello\n")
    assert start_daemon("motd file = DIR/motd\n").rsync("::").stdout == "hello\n\n"


def test_unknown_module_is_refused_in_rsyncs_words(start_daemon: Start) -> None:
    daemon = start_daemon(MODULES)
    result = daemon.rsync("::none/")
    assert result.returncode == 5 and "@ERROR: Unknown module 'none'" in result.stderr
    assert "unknown module 'none' tried from UNDETERMINED (127.0.0.1)" in daemon.log_text()


def test_host_that_is_not_allowed_is_refused(start_daemon: Start) -> None:
    daemon = start_daemon("hosts allow = 10.1.2.3\n" + MODULES)
    assert "@ERROR: access denied to data from UNDETERMINED (127.0.0.1)" in daemon.rsync("::data/").stderr
    assert "@ERROR: Unknown module 'hidden'" in daemon.rsync("::hidden/").stderr
    assert "rsync denied on module data from UNDETERMINED (127.0.0.1)" in daemon.log_text()


GREETINGS = [
    (b"hello\n", b"@ERROR: protocol startup error\n"),
    (b"@RSYNCD: 31\n", b"@ERROR: your client omitted the subprotocol value: @RSYNCD: 31\n"),
    (b"@RSYNCD: 32.0\n", b"@ERROR: your client omitted the digest name list: @RSYNCD: 32.0\n"),
    (b"@RSYNCD: 26.0\n", b"@ERROR: protocol version 26 is too old: this daemon speaks 27 to 32\n"),
    (b"@RSYNCD: 31.0\n#frobnicate\n", b"@ERROR: Unknown command '#frobnicate'\n"),
    (b"@RSYNCD: 31.0\n#early_input=99999\n", b"@ERROR: invalid early_input length\n"),
    (b"@RSYNCD: 31.0\n#early_input=3\nabcnone\n", b"@ERROR: Unknown module 'none'\n"),
    (b"@RSYNCD: 31.0\r\nnone\r\n", b"@ERROR: Unknown module 'none'\n"),
    (b"@RSYNCD: 32.0 sha512 md5 nominate1\nnone\n", b"@ERROR: Unknown module 'none'\n"),
    (b"@RSYNCD: 31.0\n\n", b"@RSYNCD: EXIT\n"),
    (b"", b""),
    (b"\0\0\0\0\n", b""),
    (b"A" * 5000, b""),
    (bytes(range(1, 256)) * 4, b"@ERROR: protocol startup error\n"),
]


@pytest.mark.parametrize(("sent", "answer"), GREETINGS)
def test_greeting_is_answered_as_rsync_does(start_daemon: Start, sent: bytes, answer: bytes) -> None:
    daemon = start_daemon("")
    assert daemon.talk(sent) in (b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n" + answer,)
    assert daemon.rsync("::").returncode == 0, "the daemon still serves"
    assert "Traceback" not in daemon.log_text() and "worker failed" not in daemon.log_text()


def test_silent_client_is_dropped_at_the_deadline(start_daemon: Start) -> None:
    daemon = start_daemon("timeout = 1\n")
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as sock:
        sock.sendall(b"@RSYNCD: 31.0\n")
        while sock.recv(4096):
            pass
    assert "daemon handshake timeout" in daemon.log_text()


def test_sighup_rereads_and_reopens_the_log(start_daemon: Start, tmp_path: pathlib.Path) -> None:
    daemon = start_daemon(MODULES)
    daemon.log.rename(tmp_path / "old")
    daemon.write("[fresh]\npath = DIR\n")
    daemon.signal(signal.SIGHUP)
    daemon.log.touch()
    assert daemon.rsync("::").stdout == "fresh          \t\n"
    daemon.wait_for_log("module-list request")


def test_bad_configuration_keeps_the_old_one_and_is_logged(start_daemon: Start) -> None:
    daemon = start_daemon(MODULES)
    daemon.write("fake super = yes\n[fresh]\npath = DIR\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("the old one stays in force")
    assert daemon.rsync("::").stdout.startswith("data")
    assert daemon.log_text().count("fake super") == 1


def test_edited_configuration_is_seen_by_the_next_connection(start_daemon: Start) -> None:
    daemon = start_daemon(MODULES)
    daemon.write("[fresh]\npath = DIR\n")
    assert daemon.rsync("::").stdout == "fresh          \t\n"


def test_sigterm_ends_idle_workers_and_removes_the_pid_file(start_daemon: Start) -> None:
    daemon = start_daemon(MODULES)
    assert int(daemon.pid_file.read_text()) == daemon.process.pid
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as sock:
        assert sock.recv(4096)
        code, errors = daemon.stop()
        assert sock.recv(4096) == b""
    assert (code, errors, daemon.pid_file.exists()) == (0, "", False)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
    )


def test_bad_parameter_stops_the_start_with_file_and_line(tmp_path: pathlib.Path) -> None:
    conf = tmp_path / "c"
    conf.write_text("bogus = 1\n\nfake super = yes\n")
    result = run(f"--config={conf}", "--no-detach", "--port=1")
    assert result.returncode == 1
    assert result.stderr == f'prsyncd: {conf}:3: prsyncd does not support the parameter "fake super" yet: remove the line\n'


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_configuration_is_not_read_through_a_symlink_of_another_user(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").write_text("[m]\npath = /\n")
    (tmp_path / "c").symlink_to("real")
    assert run(f"--config={tmp_path}/c", "--check-config").returncode == 0
    os.chown(tmp_path / "c", 1234, 1234, follow_symlinks=False)
    result = run(f"--config={tmp_path}/c", "--check-config")
    assert result.returncode == 1 and "a symlink on the way belongs to another user" in result.stdout


def test_check_config_names_every_problem_and_starts_nothing(tmp_path: pathlib.Path) -> None:
    conf = tmp_path / "c"
    conf.write_text(f"bogus = 1\nfake super = yes\npid file = {tmp_path}/pid\n")
    result = run(f"--config={conf}", "--check-config")
    assert (result.returncode, len(result.stdout.splitlines()), result.stderr) == (1, 2, "")
    assert not (tmp_path / "pid").exists()
    conf.write_text("[m]\npath = /\n")
    assert run(f"--config={conf}", "--check-config").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--config=/nonexistent"], 1, "No such file"),
        (["--config=/dev/null", "--address=192.0.2.1", "--port=1"], 10, "unable to bind"),
        (["--config=/dev/null", "--dparam=bogus=1"], 1, "Unknown parameter"),
        (["--config=/dev/null", "--dparam=bogus"], 1, "missing an '='"),
        (["--frobnicate"], 1, "unknown option"),
        (["--port=x"], 1, "must be a number"),
        (["--port"], 1, "missing argument"),
        (["extra"], 1, "takes no arguments"),
        (["--temp-dir=/x"], 4, "not support"),
    ],
)
def test_bad_command_line_is_one_clear_line(arguments: list[str], code: int, says: str) -> None:
    if arguments[0].startswith("--config"):
        arguments = [*arguments, "--no-detach"]
    result = run(*arguments)
    assert (result.returncode, len(result.stderr.splitlines())) == (code, 1), result.stderr
    assert says in result.stderr


def test_second_daemon_with_the_pid_file_is_refused(start_daemon: Start) -> None:
    daemon = start_daemon("")
    result = run(f"--config={daemon.conf}", "--no-detach", "--address=127.0.0.2")
    assert result.returncode == 11 and "failed to lock pid file" in result.stderr


def test_detached_daemon_writes_its_pid_and_serves(tmp_path: pathlib.Path) -> None:
    port = free_port()
    conf = tmp_path / "c"
    conf.write_text(f"address=127.0.0.1\nport={port}\npid file={tmp_path}/pid\nlog file={tmp_path}/log\n[m]\npath=/\n")
    assert run(f"--config={conf}").returncode == 0
    pid = int((tmp_path / "pid").read_text())
    try:
        listing = subprocess.run(["rsync", f"rsync://127.0.0.1:{port}/"], capture_output=True, text=True)
        assert listing.stdout == "m              \t\n"
        assert os.getsid(pid) == pid
    finally:
        os.kill(pid, signal.SIGTERM)


def test_connection_given_by_inetd_is_served(tmp_path: pathlib.Path) -> None:
    conf = tmp_path / "c"
    conf.write_text(f"log file = {tmp_path}/log\nreverse lookup = no\n[m]\npath = /\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = subprocess.Popen(["rsync", f"rsync://127.0.0.1:{listener.getsockname()[1]}/"], stdout=subprocess.PIPE, text=True)
        connection, _ = listener.accept()
        with connection:
            server = subprocess.run([sys.executable, "-c", SCRIPT, f"--config={conf}"], stdin=connection, timeout=20)
        assert (client.communicate(timeout=20)[0], client.returncode, server.returncode) == ("m              \t\n", 0, 0)
    assert "module-list request" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("options", [["-4"], []])
def test_all_addresses_are_listened_on(tmp_path: pathlib.Path, options: list[str]) -> None:
    port = free_port()
    conf = tmp_path / "c"
    conf.write_text(f"pid file = {tmp_path}/pid\nlog file = {tmp_path}/log\n[m]\npath = /\n")
    assert run(f"--config={conf}", f"--port={port}", *options).returncode == 0
    try:
        has_ipv6 = pathlib.Path("/proc/net/if_inet6").exists()
        for host, served in (("127.0.0.1", True), ("[::1]", has_ipv6 and not options)):
            result = subprocess.run(["rsync", f"rsync://{host}:{port}/"], capture_output=True, text=True, timeout=20)
            assert (result.returncode == 0) is served, (host, result)
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
