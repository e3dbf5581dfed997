"""Each supported parameter of rsyncd.conf changes what a daemon does, and as in stock rsyncd. A new one needs a row or a test."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import subprocess
from collections.abc import Iterator

import attrs
import pytest
from kinds_of_tree import ROOT, write
from pairs import PRSYNC, RSYNC, SOURCES, Server, client, environment, free_port, pull
from tap import Tap

from prsync.config.table import PARAMETERS, Support

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")


@attrs.frozen
class Row:
    """A module with `lines` behaves otherwise than one with `plain`, for a stock client with `words`."""

    parameter: str
    lines: str
    words: str = "-rtlp"
    plain: str = ""
    root: bool = False
    logged: bool = False  # the effect is in the daemon's log
    stdin: bytes = b""

    @property
    def name(self) -> str:
        return re.sub(r"\W", "-", self.parameter) + "-" + re.sub(r"\W+", "-", self.lines)[:20]


EFFECTS = (
    Row("path", "path = DIR/other"),
    Row("exclude", "exclude = b*"),
    Row("include", "include = b*\nexclude = *", plain="exclude = *"),
    Row("exclude from", "exclude from = DIR/patterns"),
    Row("include from", "include from = DIR/patterns\nexclude = *", plain="exclude = *"),
    Row("filter", "filter = - b*"),
    Row("hosts allow", "hosts allow = 10.0.0.1"),
    Row("hosts deny", "hosts deny = 127.0.0.0/8"),
    Row("max connections", "max connections = -1"),
    Row("refuse options", "refuse options = times"),
    Row("ignore errors", "uid = nobody\nignore errors = yes", "-rlpt --delete", plain="uid = nobody", root=True),
    Row("auth users", "auth users = you\nsecrets file = DIR/secrets"),
    Row("secrets file", "auth users = me\nsecrets file = DIR/secrets", plain="auth users = me\nsecrets file = DIR/wrong"),
    Row(
        "strict modes",
        "auth users = me\nsecrets file = DIR/open\nstrict modes = no",
        plain="auth users = me\nsecrets file = DIR/open",
    ),
    Row("write only", "write only = yes"),
    Row("munge symlinks", "munge symlinks = yes", plain="munge symlinks = no"),
    Row("uid", "uid = root", plain="uid = nobody", root=True),
    Row("gid", "uid = nobody\ngid = 54322", plain="uid = nobody\ngid = nogroup", root=True),
    Row("transfer logging", "transfer logging = yes", logged=True),
    Row("log format", "transfer logging = yes\nlog format = %o=%f", plain="transfer logging = yes", logged=True),
    Row("forward lookup", "forward lookup = no\nhosts allow = localhost", plain="hosts allow = localhost"),
)

ELSEWHERE = {
    "auth digest": "tests/session/daemon/admission/test_authentication.py::test_digest_below_the_floor_is_named",
    "max verbosity": "tests/session/daemon/transfer/test_sending.py::test_max_verbosity_limits_what_is_said",
    "address": "tests/session/daemon/process/test_start.py::test_all_addresses_are_listened_on",
    "motd file": "tests/session/daemon/process/test_start.py::test_message_of_the_day_precedes_the_listing",
    "pid file": "tests/session/daemon/process/test_start.py::test_detached_daemon_writes_its_pid_and_serves",
    "port": "tests/session/daemon/process/test_start.py::test_all_addresses_are_listened_on",
    "lock file": "tests/session/daemon/admission/test_slots.py::test_stock_rsyncd_and_prsyncd_share_the_slots",
    "log file": "tests/session/daemon/process/test_start.py::test_sighup_rereads_and_reopens_the_log",
    "numeric ids": "tests/session/daemon/transfer/test_sending.py::test_numeric_ids_decide_whether_names_are_sent",
    "use chroot": "tests/session/daemon/transfer/test_sending.py::test_inner_path_of_a_chroot_is_the_module",
    "timeout": "tests/session/daemon/transfer/test_sending.py::test_timeout_ends_a_client_that_stands_still",
    "comment": "tests/test_parameter_effects.py::test_listing_shows_comments_of_listed_modules",
    "list": "tests/test_parameter_effects.py::test_listing_shows_comments_of_listed_modules",
    "dont compress": "tests/test_parameter_effects.py::test_dont_compress_sends_matching_files_as_they_are",
    "reverse lookup": "tests/test_parameter_effects.py::test_reverse_lookup_puts_the_name_into_the_log",
    "syslog facility": "tests/session/daemon/test_log.py::test_log_that_cannot_be_opened_falls_back_to_syslog",
    "syslog tag": "tests/session/daemon/test_log.py::test_log_that_cannot_be_opened_falls_back_to_syslog",
    "read only": "tests/test_parameter_effects.py::test_read_only_refuses_what_changes_the_module",
    "socket options": "tests/test_parameter_effects.py::test_socket_options_and_backlog_are_set",
    "listen backlog": "tests/test_parameter_effects.py::test_socket_options_and_backlog_are_set",
    "nominate": "tests/session/daemon/nominate/test_session.py::test_bit_is_set_only_where_both_sides_have_use_for_it",
    "mirror": "tests/session/daemon/nominate/test_session.py::test_ranges_come_from_the_nominated_mirror",
    "nominate origin": "tests/session/daemon/nominate/test_session.py::test_hello_is_answered_by_the_nomination_before_the_list",
    "max nominate connections": "tests/session/daemon/nominate/test_peer.py::test_peers_are_limited_by_their_own_limit",
    "digest index": "tests/session/daemon/nominate/test_peer.py::test_fetch_over_a_peer_connection_brings_the_bytes",
    "state dir": "tests/session/daemon/nominate/test_peer.py::test_fetch_over_a_peer_connection_brings_the_bytes",
}


def module(number: int, which: str) -> str:
    return f"m{number}{which}"


class Daemons:
    """Both daemons with two modules for each row."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        for name in ("tree", "other"):
            (folder / name / "sub").mkdir(parents=True)
            write(folder / name / "b-file", b"data of " + name.encode())
        write(folder / "tree/sub/leaf", b"leaf")
        write(folder / "tree/group-only", b"x", 0o640)
        write(folder / "tree/private", b"x", 0o600)
        (folder / "tree/link").symlink_to("b-file")
        (folder / "tree/munged").symlink_to("/rsyncd-munged/b-file")
        (folder / "tree/locked").mkdir(mode=0o700)
        if ROOT:
            os.chown(folder / "tree/group-only", 0, 54322)
        write(folder / "patterns", b"b*\n")
        for name, mode in (("secrets", 0o600), ("wrong", 0o600), ("open", 0o644)):
            write(folder / name, b"me:word\n" if name != "wrong" else b"me:other\n", mode)
        write(folder / "tree/text.txt", b"words " * 5000)
        for above in (folder, *folder.parents[:3]):
            if above.owner() == folder.owner() and above != pathlib.Path("/tmp"):
                above.chmod(0o755)
        text = "".join(
            f"[{module(number, which)}]\n{'' if 'path =' in lines else f'path = {folder}/tree'}\n{lines}\n"
            for number, row in enumerate(EFFECTS)
            for which, lines in (("plain", row.plain), ("set", row.lines))
        )
        text += "[said]\ncomment = some words\npath = DIR/tree\n[unsaid]\npath = DIR/tree\nlist = no\n"
        text += "[raw]\npath = DIR/tree\ndont compress = *.txt\n[named]\npath = DIR/tree\nreverse lookup = yes\n"
        text += "[rw]\npath = DIR/other\nread only = no\n"
        self.servers = {kind: Server(kind, folder, text) for kind in ("stock", "prsyncd")}
        self.count = 0

    def outcome(self, kind: str, number: int, which: str) -> object:
        row, server = EFFECTS[number], self.servers[kind]
        self.count += 1
        place = self.folder / f"run{self.count}"
        (place / "copy").mkdir(parents=True)
        (place / "copy/stale").touch()
        begin = server.log.stat().st_size
        url = module(number, which)
        words = [*row.words.split(), "--no-motd"]
        result = pull(
            "stock",
            server,
            words,
            [f"{url}/"],
            place,
            clean=lambda line: line.replace(url.encode(), b"MODULE"),
            USER="me",
            RSYNC_PASSWORD="word",
        )
        logged = sorted(re.findall(r"\] ((?:send|recv|\w+=).*)", self.log_since(server, begin, url))) if row.logged else []
        subprocess.run(["rm", "-rf", place], check=True)
        tree = {name: (facts[0], *facts[3:6]) for name, facts in result.tree.items() if name != b"."}
        said = [line for line in result.lines if not line.startswith((b"sent", b"total size", b"["))]
        refused = any(b"configured to refuse" in line for line in result.errors)  # then the code depends on who is quicker
        return (
            refused or result.code,
            said,
            [line for line in result.errors if b"@ERROR" in line or b"Permission" in line],
            tree,
            logged,
        )

    def log_since(self, server: Server, begin: int, url: str) -> str:
        """The log of one session, complete."""
        end = b"sent "
        for _ in range(1000):
            text = server.log.read_bytes()[begin:]
            if end in text:
                return text.decode().replace(url, "MODULE")
            socket.socketpair()[0].close()
            os.sched_yield()
            subprocess.run(["true"], check=True)
        raise AssertionError("no end in the log")


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    made = Daemons(tmp_path_factory.mktemp("parameters"))
    yield made
    for server in made.servers.values():
        server.stop()


@pytest.mark.parametrize("number", range(len(EFFECTS)), ids=[row.name for row in EFFECTS])
def test_parameter_has_stocks_effect(daemons: Daemons, number: int) -> None:
    if EFFECTS[number].root and not ROOT:
        pytest.skip("needs root")
    plain, stock, ours = (
        daemons.outcome(*run) for run in (("stock", number, "plain"), ("stock", number, "set"), ("prsyncd", number, "set"))
    )
    assert plain != stock, "the row shows nothing: stock rsyncd does the same without the parameter"
    assert ours == stock


def test_every_supported_parameter_is_tested() -> None:
    tested = {row.parameter for row in EFFECTS} | ELSEWHERE.keys()
    assert {row.name for row in PARAMETERS.values() if row.support is Support.FULL} - tested == set()


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_test_of_a_parameter_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert f"def {name}(" in (SOURCES / path).read_text()


def test_listing_shows_comments_of_listed_modules(daemons: Daemons) -> None:
    listings = [client("stock", [server.url], daemons.folder).stdout for server in daemons.servers.values()]
    assert listings[0] == listings[1] and b"said           \tsome words\n" in listings[1] and b"unsaid" not in listings[1]


def test_dont_compress_sends_matching_files_as_they_are(daemons: Daemons, tmp_path: pathlib.Path) -> None:
    """Stock rsyncd compresses them all the same."""
    received = []
    for name in ("said", "raw"):
        with Tap(daemons.servers["prsyncd"].port) as tap:
            done = client(
                "stock", ["-z", "--zc=zlib", f"rsync://127.0.0.1:{tap.port}/{name}/text.txt", f"{tmp_path}/{name}"], tmp_path
            )
        assert done.returncode == 0
        received.append(tap.received)
    assert received[0] < 10_000 and received[1] > 25_000


def test_reverse_lookup_puts_the_name_into_the_log(daemons: Daemons, tmp_path: pathlib.Path) -> None:
    found = []
    for server in daemons.servers.values():
        begin = server.log.stat().st_size
        client("stock", ["-r", server.url + "named/", f"{tmp_path}/copy"], tmp_path)
        found.append(re.findall(r"allowed access on module named from (\S+)", daemons.log_since(server, begin, "-")))
    assert found[0] == found[1] != ["UNDETERMINED"]


def test_read_only_refuses_what_changes_the_module(daemons: Daemons, tmp_path: pathlib.Path) -> None:
    left = []
    for server in daemons.servers.values():
        for name in ("said", "rw"):
            done = client("stock", ["-r", "--remove-source-files", server.url + name + "/b-file", f"{tmp_path}/copy/"], tmp_path)
            left.append((done.returncode != 0, (daemons.folder / {"said": "tree", "rw": "other"}[name] / "b-file").exists()))
        write(daemons.folder / "other/b-file", b"data of other")
    assert left == [(True, True), (False, False)] * 2


def start(folder: pathlib.Path, text: str, *words: str) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    config = folder / "own.conf"
    config.write_text(
        f"port = {port}\naddress = 127.0.0.1\nlog file = {folder}/own.log\n{text}[m]\npath = {folder}\nuse chroot = no\n"
    )
    command = [*PRSYNC, "--daemon", "--no-detach", f"--config={config}", *words]
    process = subprocess.Popen(command, env=environment(), cwd="/", stderr=subprocess.PIPE)
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except ConnectionRefusedError:
            os.sched_yield()
    return process, port


def test_dparam_sets_a_global_parameter(tmp_path: pathlib.Path) -> None:
    (tmp_path / "motd").write_text("given by hand\n")
    process, port = start(tmp_path, "", f"--dparam=motdfile={tmp_path}/motd")
    try:
        assert client("stock", [f"rsync://127.0.0.1:{port}/"], tmp_path).stdout.startswith(b"given by hand\n")
    finally:
        process.terminate()
        process.wait(20)


def test_socket_options_and_backlog_are_set(tmp_path: pathlib.Path) -> None:
    """The kernel tells a listening socket's backlog (ss: Send-Q) and its buffer."""
    process, port = start(tmp_path, "listen backlog = 7\nsocket options = SO_RCVBUF=70000,SO_KEEPALIVE\n")
    try:
        shown = subprocess.run(["ss", "-ltnmo", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    finally:
        process.terminate()
        process.wait(20)
    assert re.search(rf"LISTEN +\d+ +7 +127\.0\.0\.1:{port}", shown), shown
    assert "rb140000" in shown
