"""Stock rsync pulls from prsyncd: trees, rules, refusals, signals; and what a worker may not do once it has dropped."""

import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from daemon_harness import Daemon

Start = Callable[..., Daemon]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    """A module's directory with some of everything; its times are old, so that --times shows."""
    root = tmp_path / "mod"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "big").write_bytes(bytes(range(256)) * 4096)
    (root / "sub" / "one").write_text("one\n")
    (root / "sub" / "deep" / "two").write_text("two\n")
    (root / "sub" / "caf\u00e9 \n").write_text("odd name\n")
    (root / "secret").mkdir()
    (root / "secret" / "key").write_text("hidden\n")
    (root / "link").symlink_to("sub/one")
    os.link(root / "sub" / "one", root / "sub" / "same")
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1e9, 1e9), follow_symlinks=False)
    return root


def listing(root: pathlib.Path) -> list[tuple[str, int, bytes | str]]:
    found = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content: bytes | str = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        found.append((str(path.relative_to(root)), status.st_mode, content))
    return found


MODULE = "[mod]\npath = DIR/mod\n"


@pytest.mark.parametrize("protocol", [30, 31, 32])
@pytest.mark.parametrize("chroot", [pytest.param("yes", marks=needs_root), "no"])
def test_tree_arrives(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, protocol: int, chroot: str) -> None:
    daemon = start_daemon(MODULE + f"use chroot = {chroot}\nuid = {os.getuid()}\n")
    for options in (["-aH"], ["-aHz"], ["-aHc", "--no-inc-recursive"]):
        result = daemon.rsync(*options, f"--protocol={protocol}", "::mod/", f"{tmp_path}/dest/")
        assert (result.returncode, result.stderr) == (0, ""), daemon.log_text()
        assert listing(tmp_path / "dest") == listing(tree)
    (tree / "big").write_bytes(b"changed" + bytes(range(256)) * 4096)
    assert daemon.rsync("-aH", f"--protocol={protocol}", "::mod/", f"{tmp_path}/dest/").returncode == 0
    assert listing(tmp_path / "dest") == listing(tree)


@needs_root
def test_worker_is_an_unprivileged_user_by_default(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tree / "sub" / "one").chmod(0o600)
    daemon = start_daemon(MODULE)
    result = daemon.rsync("-a", "::mod/", f"{tmp_path}/dest/")
    assert result.returncode == 23 and "Permission denied (13)" in result.stderr
    assert (tmp_path / "dest" / "big").exists()


@needs_root
def test_inner_path_of_a_chroot_is_the_module(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    daemon = start_daemon("[mod]\npath = DIR/./mod\nuid = root\n")
    assert daemon.rsync("-a", "::mod/", f"{tmp_path}/dest/").returncode == 0
    assert listing(tmp_path / "dest") == listing(tree)


@needs_root
@pytest.mark.parametrize("at", ["plant", "above/mod"])
def test_module_path_does_not_follow_a_symlink_of_another_user(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, at: str
) -> None:
    (tmp_path / "plant").symlink_to(tree)
    (tmp_path / "above").symlink_to(tmp_path)
    daemon = start_daemon(f"[mod]\npath = DIR/{at}\nuse chroot = no\nuid = root\n")
    assert "big" in daemon.rsync("::mod/").stdout, "root's own symlinks are followed"
    for name in ("plant", "above"):
        os.chown(tmp_path / name, 1234, 1234, follow_symlinks=False)
    result = daemon.rsync("::mod/")
    assert (result.returncode, result.stdout) == (5, "") and "@ERROR: chdir failed" in result.stderr


@pytest.mark.parametrize(
    ("setting", "gone"),
    [
        ("exclude = /secret *.none", {"secret", "secret/key"}),
        ("filter = - two", {"sub/deep/two"}),
        ("exclude from = DIR/rules", {"sub/one"}),
        ("include = /sub/ /sub/one\nexclude = *", {"big", "link", "secret", "secret/key", "sub/deep", "sub/deep/two", "sub/same",
                                                   "sub/caf\u00e9 \n"}),
    ],
)  # fmt: skip
def test_daemons_rules_hide(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, setting: str, gone: set[str]
) -> None:
    (tmp_path / "rules").write_text("# a comment\n/sub/one\n")
    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\n{setting}\n")
    assert daemon.rsync("-a", "::mod/", f"{tmp_path}/dest/").returncode == 0
    arrived = {name for name, _, _ in listing(tmp_path / "dest")}
    assert {name for name, _, _ in listing(tree)} - arrived == gone
    for name in gone:
        assert "No such file" in daemon.rsync("-a", f"::mod/{name}".replace("\n", "?"), f"{tmp_path}/other/").stderr


def test_client_rules_and_names_are_followed(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\n")
    daemon.rsync("-a", "--exclude=deep", "--filter=- /secret", "::mod/", f"{tmp_path}/a/")
    assert {"secret", "sub/deep"}.isdisjoint(name for name, _, _ in listing(tmp_path / "a"))
    (tmp_path / "names").write_text("sub/one\nsecret\n")
    for protocol in (30, 32):
        dest = tmp_path / f"names{protocol}"
        result = daemon.rsync("-a", f"--protocol={protocol}", f"--files-from={tmp_path}/names", "::mod/", f"{dest}/")
        assert (result.returncode, [name for name, _, _ in listing(dest)]) == (0, ["secret", "sub", "sub/one"])
    (tree / "list").write_text("; a comment\nbig\n\nsub/deep\n")
    daemon.rsync("-a", "--files-from=:/list", "::mod/", f"{tmp_path}/c/")
    assert [name for name, _, _ in listing(tmp_path / "c")] == ["big", "sub", "sub/deep"]
    daemon.rsync("-a", "::mod/s*/?ne", "::mod/b*", f"{tmp_path}/d/")
    assert [name for name, _, _ in listing(tmp_path / "d")] == ["big", "one"]
    daemon.rsync("-aR", "::mod/sub/./deep", f"{tmp_path}/e/")
    assert [name for name, _, _ in listing(tmp_path / "e")] == ["deep", "deep/two"]
    daemon.rsync("-as", "::mod/sub/one", f"{tmp_path}/f/")
    assert [name for name, _, _ in listing(tmp_path / "f")] == ["one"]


@pytest.mark.parametrize(
    ("words", "files"),
    [("sub/deep sub/deep", "3 (reg: 1, dir: 2)"), ("sub/deep sub/deep/two sub/deep", "5 (reg: 3, dir: 2)")],
)
def test_directory_named_twice_is_listed_again_unless_in_one_go(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, words: str, files: str
) -> None:
    result = start_daemon(MODULE).rsync("-r", "--stats", *(f"::mod/{word}" for word in words.split()), f"{tmp_path}/dest/")
    assert f"Number of files: {files}\n" in result.stdout  # as rsync 3.5.0 counts


@pytest.mark.parametrize("chroot", [pytest.param("yes", marks=needs_root), "no"])
def test_names_of_files_from_are_those_below_its_directory(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, chroot: str
) -> None:
    """rsync 3.5.0 opens them at the module's root where there is no chroot: another file's data, or "file has vanished"."""
    (tree / "one").write_text("another file\n")
    daemon = start_daemon(MODULE + f"use chroot = {chroot}\nuid = {os.getuid()}\nexclude = /one\nread only = no\n")
    (tmp_path / "names").write_text("one\ndeep/two\n")
    options = ("-a", f"--files-from={tmp_path}/names")
    result = daemon.rsync(*options, "::mod/sub/", f"{tmp_path}/a/")
    assert (result.returncode, result.stderr) == (0, "")
    read = {name: content for name, _, content in listing(tmp_path / "a")}
    assert read == {"deep": "", "deep/two": b"two\n", "one": b"one\n"}
    daemon.rsync(*options, "--remove-source-files", "::mod/sub/", f"{tmp_path}/b/")
    assert (tree / "one").exists() and not (tree / "sub" / "one").exists()


@pytest.mark.parametrize("name", ["-n", "?n", "*"])
def test_name_that_looks_like_an_option_is_a_name(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, name: str
) -> None:
    (tree / "-n").write_text("a file\n")
    result = start_daemon(MODULE).rsync("-r", f"::mod/{name}", f"{tmp_path}/dest/")
    assert (result.returncode, (tmp_path / "dest" / "-n").read_text()) == (0, "a file\n")


def test_files_from_takes_one_source_directory(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    daemon = start_daemon(MODULE)
    (tmp_path / "names").write_text("one\n")
    result = daemon.rsync("-a", f"--files-from={tmp_path}/names", "::mod/s*", f"{tmp_path}/dest/")
    assert result.returncode == 12 and "--files-from takes one source directory, but 2 names match" in result.stderr
    assert daemon.rsync("-a", f"--files-from={tmp_path}/names", "::mod/su*", f"{tmp_path}/dest/").returncode == 0


@pytest.mark.parametrize(
    "words", [["-rt", "::mod/out/"], ["-rtR", "::mod/out/"], ["-rtk", "::mod/"], ["-dt", "--files-from=NAMES", "::mod/"]]
)
def test_directory_outside_the_module_is_refused_with_what_is_known_of_it(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, words: list[str]
) -> None:
    (tmp_path / "outside").mkdir()
    (tree / "out").symlink_to("../outside")
    (tmp_path / "names").write_text("out/\n")
    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\nmunge symlinks = no\n")
    result = daemon.rsync(*(word.replace("NAMES", f"{tmp_path}/names") for word in words), f"{tmp_path}/dest/")
    assert result.returncode == 23 and "Too many levels of symbolic links (40)" in result.stderr
    assert not os.path.lexists(tmp_path / "dest" / "out")


@needs_root
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["-rL", "::mod/l/"], ["d", "d/two", "f"]),
        (["-rk", "::mod/l/"], ["d", "d/two"]),
        (["-r", "::mod/l/d/"], ["two"]),
        (["-r", "--copy-unsafe-links", "::mod/l/"], ["d", "d/two", "f"]),
    ],
)
def test_absolute_symlinks_are_followed_within_a_chroot(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, words: list[str], found: list[str]
) -> None:
    (tree / "l").mkdir()
    (tree / "l" / "d").symlink_to("/sub/deep")
    (tree / "l" / "f").symlink_to("/sub/one")
    result = start_daemon(MODULE + "use chroot = yes\nuid = root\n").rsync(*words, f"{tmp_path}/dest/")
    assert (result.returncode, result.stderr) == (0, "")
    assert [name for name, _, _ in listing(tmp_path / "dest")] == found


def test_no_path_leads_out_of_the_module(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "outside").write_text("outside")
    (tree / "up").symlink_to("..")
    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\n")
    for path in ("../outside", "up/outside", "sub/../../outside", "up/*"):
        result = daemon.rsync("-aL", f"::mod/{path}", f"{tmp_path}/dest/")
        assert result.returncode == 23, path
        assert not (tmp_path / "dest" / "outside").exists(), path


@pytest.mark.parametrize("more", [(), ("--no-inc-recursive",), ("-H",), ("--delay-updates",), ("-c",), ("--remove-sent-files",)])
def test_sources_are_removed_once_they_have_arrived(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, more: tuple[str, ...]
) -> None:
    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\nread only = no\nmax verbosity = 2\n")
    wanted = listing(tree)
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "big").write_bytes((tree / "big").read_bytes())
    os.utime(tmp_path / "dest" / "big", (1e9, 1e9))  # nothing of it is transferred
    dry = daemon.rsync("-an", "--remove-source-files", "::mod/", f"{tmp_path}/dest/")
    assert dry.returncode == 0 and listing(tree) == wanted
    result = daemon.rsync("-avv", "--remove-source-files", *more, "::mod/", f"{tmp_path}/dest/")
    assert (result.returncode, result.stderr) == (0, ""), daemon.log_text()
    assert listing(tmp_path / "dest") == wanted
    left = [name for name, _, _ in listing(tree)]
    assert left == (["big"] if "--remove-sent-files" in more else []) + ["secret", "sub", "sub/deep"]
    assert "sender removed sub/one\n" in result.stdout


REFUSALS = [
    ("", ["-a", "SRC", "::mod/"], 1, "ERROR: module is read only"),
    ("write only = yes", ["-a", "::mod/", "DST"], 1, "ERROR: module is write only"),
    ("", ["-a", "--remove-source-files", "::mod/", "DST"], 1, "--remove-source-files cannot be used with a read-only module"),
    ("", ["-a", "--remove-sent-files", "::mod/", "DST"], 1, "--remove-sent-files cannot be used with a read-only module"),
    ("refuse options = checksum", ["-ac", "::mod/", "DST"], 4, "The server is configured to refuse --checksum (-c)"),
    ("refuse options = * !a !compress*", ["-aS", "::mod/", "DST"], 4, "refuse --sparse (-S)"),
    ("", ["-aX", "::mod/", "DST"], 4, "--xattrs is not supported by the prsync server yet"),
    ("", ["-azX", "::mod/", "DST"], 4, "--xattrs is not supported by the prsync server yet"),
    ("path = DIR/none", ["-a", "::mod/", "DST"], 5, "@ERROR: chdir failed"),
    ("uid = no-such-user", ["-a", "::mod/", "DST"], 5, "@ERROR: invalid uid no-such-user"),
    ("gid = no-such-group", ["-a", "::mod/", "DST"], 5, "@ERROR: invalid gid no-such-group"),
    ("path =", ["-a", "::mod/", "DST"], 5, "@ERROR: no path setting."),
    ("exclude from = /nonexistent", ["-a", "::mod/", "DST"], 5, "filter rules cannot be read"),
    ("max connections = -1", ["-a", "::mod/", "DST"], 5, "@ERROR: max connections (-1) reached -- try again later"),
    ("max connections = 1\nlock file = /nonexistent/lock", ["-a", "::mod/", "DST"], 5, "@ERROR: failed to open lock file"),
]


@pytest.mark.parametrize(("setting", "arguments", "code", "says"), REFUSALS)
def test_refusal_reaches_the_client_and_the_log(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, setting: str, arguments: list[str], code: int, says: str
) -> None:
    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\n" + setting + "\n")
    words = [{"SRC": str(tree) + "/", "DST": f"{tmp_path}/dest/"}.get(a, a) for a in arguments]
    result = daemon.rsync(*words)
    assert says in result.stderr and result.returncode == code, (result, daemon.log_text())
    assert not (tmp_path / "dest" / "big").exists()
    assert "Traceback" not in daemon.log_text() and "worker failed" not in daemon.log_text()


def test_log_has_rsyncs_lines(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    settings = "transfer logging = yes\nlog format = %o %m %f %l %i\n"
    daemon = start_daemon(settings + MODULE + f"use chroot = no\nuid = {os.getuid()}\n")
    daemon.rsync("-a", "::mod/sub/one", "::mod/big", f"{tmp_path}/dest/")
    daemon.wait_for_log("sent ")
    lines = daemon.log_lines()[1:]
    host = "UNDETERMINED (127.0.0.1)"
    assert lines[:4] == [
        f"connect from {host}",
        f"rsync allowed access on module mod from {host}",
        f"rsync on mod/sub/one mod/big from {host}",
        "building file list",
    ]
    assert sorted(lines[4:6]) == ["send mod big 1048576 <f+++++++++", "send mod sub/one 4 <f+++++++++"]
    words = lines[6].split()
    assert (words[0], words[2:4], words[5:]) == ("sent", ["bytes", "received"], ["bytes", "total", "size", "1048580"])


@needs_root
@pytest.mark.parametrize(
    ("chroot", "setting", "named"),
    [("no", "", True), ("no", "numeric ids = yes", False), ("yes", "", False), ("yes", "numeric ids = no", False)],
)
def test_numeric_ids_decide_whether_names_are_sent(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, chroot: str, setting: str, named: bool
) -> None:
    """Names are the wire's only place for this one: a user of our own that the client maps by name."""
    os.chown(tree / "big", 1, 1)  # "daemon" on Debian and elsewhere
    daemon = start_daemon(MODULE + f"use chroot = {chroot}\nuid = root\n{setting}\n")
    result = daemon.rsync("-a", "--usermap=daemon:12345", "::mod/big", f"{tmp_path}/dest/")
    assert result.returncode == 0
    assert (tmp_path / "dest" / "big").stat().st_uid == (12345 if named else 1)


@needs_root
@pytest.mark.parametrize(("setting", "deleted"), [("", False), ("ignore errors = yes", True)])
def test_ignore_errors_lets_the_client_delete(
    start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path, setting: str, deleted: bool
) -> None:
    (tree / "sub" / "deep").chmod(0o700)
    daemon = start_daemon(MODULE + setting + "\n")
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "old").touch()
    result = daemon.rsync("-a", "--delete-before", "::mod/", f"{tmp_path}/dest/")
    assert result.returncode == 23
    assert (tmp_path / "dest" / "old").exists() is not deleted


def test_max_verbosity_limits_what_is_said(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\nmax verbosity = 0\n")
    assert daemon.rsync("-avv", "::mod/", f"{tmp_path}/dest/").returncode == 0


def test_timeout_ends_a_client_that_stands_still(start_daemon: Start, tree: pathlib.Path) -> None:
    import socket

    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\ntimeout = 1\n")
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as sock:
        sock.sendall(b"@RSYNCD: 31.0 md5\nmod\n")
        sock.sendall(b"--server\0--sender\0-re.LsfxCIvu\0.\0mod/\0\0")
        sock.sendall(b"\x03md5" + b"\x04\0\0\x07" + bytes(3))
        while sock.recv(65536):
            pass
    daemon.wait_for_log("io timeout after 1 seconds from UNDETERMINED (127.0.0.1) -- exiting")


def test_timeout_ends_a_client_that_does_not_read(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tree / "huge").write_bytes(b"")
    os.truncate(tree / "huge", 1 << 30)
    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\ntimeout = 1\n")
    client = subprocess.Popen(["rsync", "-a", daemon.url + "mod/", f"{tmp_path}/dest/"], stderr=subprocess.DEVNULL)
    while not list((tmp_path / "dest").glob(".huge.*")):
        time.sleep(0.01)
    children = pathlib.Path(f"/proc/{client.pid}/task/{client.pid}/children").read_text().split()
    stopped = [client.pid, *map(int, children)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        daemon.wait_for_log("io timeout after 1 seconds -- exiting")
        daemon.wait_for_log("rsync error: timeout in data send/receive (code 30)")
        daemon.signal(signal.SIGTERM)  # the worker is gone although the client still holds its connection
        assert daemon.process.wait(timeout=20) == 0
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)
        client.wait()


def test_client_that_leaves_is_one_line_in_the_log(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tree / "huge").write_bytes(b"")
    os.truncate(tree / "huge", 1 << 30)
    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\n")
    command = ["rsync", "-a", daemon.url + "mod/", f"{tmp_path}/dest/"]
    client = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    while not list((tmp_path / "dest").glob(".huge.*")):
        time.sleep(0.01)
    os.killpg(client.pid, signal.SIGKILL)  # its receiver is a second process
    client.wait()
    daemon.wait_for_log("rsync error: ")
    assert "worker failed" not in daemon.log_text()


def test_sigterm_lets_a_running_transfer_end(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    daemon = start_daemon(MODULE + f"use chroot = no\nuid = {os.getuid()}\n")
    command = ["rsync", "-a", "--bwlimit=600", daemon.url + "mod/", f"{tmp_path}/dest/"]
    client = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    daemon.wait_for_log("building file list")
    daemon.signal(signal.SIGTERM)
    assert (client.communicate(timeout=30)[1], client.returncode) == ("", 0)
    assert (daemon.process.wait(timeout=10), daemon.pid_file.exists()) == (0, False)
    assert listing(tmp_path / "dest") == listing(tree)


GUARD = """
import sys
import prsync.privileges as privileges
import prsync.session.daemon.process.module as module
dropped = False
real = privileges.drop
def drop(*arguments):
    global dropped
    real(*arguments)
    dropped = True
module.drop = drop
def audit(event, arguments):
    if dropped and event in ("import", "ctypes.dlopen", "os.exec", "subprocess.Popen", "socket.getaddrinfo"):
        import os
        os.write(2, f"AFTER THE DROP: {event} {arguments[:1]}\\n".encode())
        os._exit(99)
sys.addaudithook(audit)
"""


@needs_root
def test_nothing_is_loaded_after_the_drop(start_daemon: Start, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    settings = "transfer logging = yes\nauth users = ann\nsecrets file = DIR/secrets\nexclude = /secret\n"
    (tmp_path / "secrets").write_text("ann:apple\n")
    (tmp_path / "secrets").chmod(0o600)
    (tree / "sub" / ".rsync-filter").write_text("- two\n")
    daemon = start_daemon(MODULE + "use chroot = yes\n" + settings, prelude=GUARD)
    environment = {**os.environ, "RSYNC_PASSWORD": "apple"}
    url = daemon.url.replace("//", "//ann@")
    for options in (["-aHzF"], ["-ac", "--timeout=5", "--bwlimit=9000"], ["-aX"], ["-a", "--files-from=:/none"], ["-n", "-rv"]):
        result = daemon.rsync(*options, url + "mod/", f"{tmp_path}/dest/", env=environment)
        assert result.returncode in (0, 4), (result, daemon.log_text())
    daemon.rsync("-a", url + "mod/*[", f"{tmp_path}/dest/", env=environment)
    daemon.rsync("-a", f"{tree}/", url + "mod/", env=environment)
    code, errors = daemon.stop()
    assert (code, errors) == (0, "")
    assert "worker failed" not in daemon.log_text()
    assert (tmp_path / "dest" / "sub" / "deep").is_dir()
