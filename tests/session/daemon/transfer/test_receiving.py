"""Uploads to prsyncd: what stock rsyncd gives for the same command, what a hostile client cannot do, and what an end leaves."""

from __future__ import annotations

import os
import pathlib
import shlex
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from daemon_harness import Daemon
from flist_tools import END, wire_entry
from kills import await_end, children
from kinds_of_tree import Snapshot, blob, snapshot
from pairs import RSYNC, Server, client, masked
from push_client import PushClient
from tap import Tap

Start = Callable[..., Daemon]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_rsync = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

WHEN = 1_000_000_000
MODULES = {
    "plain": "",
    "locked": "read only = yes",
    "sealed": "write only = yes",
    "no-delete": "refuse options = delete compress",
    "no-during": "refuse options = delete-during",
    "no-inplace": "refuse options = inplace",
    "no-partial": "refuse options = partial",
    "few": "refuse options = * !a !v",
    "hides": "exclude = secret /hid /dir/inner",
    "root": "use chroot = yes",
    "inner": "use chroot = yes",
    "links": "munge symlinks = no",
}
# One command for both daemons: SRC is the source, MODULE:: the daemon's. Exit code, output and tree must be the same.
# Those behind a ~ are for the slow runs: much of a refusal's time is rsyncd's own waiting.
ALIKE = """
-a SRC/ locked::
~ -an SRC/ locked::
-a SRC/ sealed::
-az SRC/ no-delete::
-a --delete-after SRC/ no-delete::
~ -a --delete-excluded SRC/ no-delete::
-a --delete SRC/ no-during::
-a --append SRC/ no-inplace::
~ -a --inplace SRC/ no-partial::
-a --delay-updates SRC/ no-partial::
~ -aP SRC/ no-partial::
-az SRC/ few::
~ -rt --links SRC/ few::
~ -a SRC/ few::
-a SRC/ hides::
~ -a --delete-excluded SRC/ hides::
-a SRC/file hides::sub/../secret
-a SRC/ hides::hid/
-a --backup-dir=/hid SRC/ hides::
~ -a --temp-dir=/hid SRC/ hides::
-a --link-dest=/hid SRC/ hides::sub/
-ai --link-dest=../../../basis SRC/ plain::new/
-a -b --backup-dir=../bak SRC/file plain::extra
-a -b --backup-dir=.. SRC/file plain::extra
~ -a -b --backup-dir=/bak SRC/file plain::extra
-a --temp-dir=../sub SRC/ plain::
~ -a --temp-dir=nope SRC/ plain::
-a SRC/ plain::../../x
~ -a SRC/ plain::in/
-a SRC/ links::
~ -a --mkpath SRC/ plain::a/b/c/
~ -a SRC/ plain::a/b/c/
-a SRC/ plain::extra/
~ -a SRC/file SRC/secret plain::extra
~ -a SRC/dir plain::extra
~ -a SRC/file plain::s*
-ai --files-from=:/list SRC/ plain::
-ai --protocol=30 --files-from=:../list SRC/ plain::
-a -M--log-file=/y SRC/ plain::
~ -a -M--write-devices SRC/ plain::
~ -a -M--insecure-links SRC/ plain::
~ -a -M--daemon SRC/ plain::
~ -a -M--no-such SRC/ plain::
~ -a --max-delete=1 --delete SRC/ plain::
-a --delete '--filter=:n .rules' SRC/ plain::
-a --delete '--filter=dir-merge,n broken' SRC/ plain::
-a SRC/ none::
""".strip().splitlines()
ALIKE_IN_CHROOT = """
-ai --link-dest=../basis SRC/ root::new/
~ -a --link-dest=../nope SRC/ root::new/
-a -b --backup-dir=../bak SRC/file root::sub/extra
-a SRC/ root::hid/../../x
~ -ai --copy-dest=/basis SRC/ inner::new/
-a SRC/ inner::
""".strip().splitlines()


def fill_module(root: pathlib.Path) -> None:
    for name in ("sub", "hid", "basis"):
        (root / name).mkdir(parents=True)
    for name, text in {
        "hid/f": "h",
        "secret": "old",
        "extra": "extra",
        "sub/extra": "extra",
        "basis/file": "new",
        "list": "file\ndir/inner\r\n\nnone\n",
        ".rules": "P extra\n",
    }.items():
        (root / name).write_text(text)
    (root / "in").symlink_to("sub")
    old(root)


def old(root: pathlib.Path) -> None:
    for path in [*root.rglob("*"), root]:
        os.utime(path, (WHEN, WHEN), follow_symlinks=False)


class Both:
    """A stock daemon and ours over modules of the same kind."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.source = folder / "src"
        (self.source / "dir").mkdir(parents=True)
        for name in ("file", "secret", "dir/inner"):
            (self.source / name).write_text("new")
        (self.source / "dir" / "broken").write_text("nonsense x\n")
        (self.source / "dir" / "up").symlink_to("../../../x")
        (self.source / "absolute").symlink_to("/etc/passwd")
        old(self.source)
        self.servers = {}
        for kind in ("stock", "prsyncd"):
            text = "".join(
                f"[{name}]\npath = DIR/{kind}/{'./' * (name == 'inner')}{name}\n"
                f"{'' if 'read only' in more else 'read only = no'}\n{more}\n"
                for name, more in MODULES.items()
            )
            self.servers[kind] = Server(kind, folder, text)

    def run(self, kind: str, command: str) -> tuple[int, tuple[bytes, ...], tuple[bytes, ...], Snapshot]:
        *words, place = shlex.split(command.replace("SRC", str(self.source)))
        name, _, path = place.partition("::")
        module = self.folder / kind / name
        if name in MODULES:
            fill_module(module)
        server = self.servers[kind]
        done = client("stock", [*words, f"{server.url}{name}/{path}"], self.folder)
        masks = {str(server.port): "PORT", f"/{kind}/": "/KIND/"}
        errors = masked(done.stderr, masks, without_noise)
        tree = snapshot(module)
        os.rename(module, self.folder / f"{kind}-{name}-{len(list(self.folder.iterdir()))}") if module.exists() else None
        return done.returncode, masked(done.stdout, masks, lambda line: line), errors, tree


def without_noise(line: bytes) -> bytes | None:
    """rsyncd often closes before its client has read all of its words."""
    return None if b"Connection reset by peer" in line or b"Broken pipe" in line else line


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    made = Both(tmp_path_factory.mktemp("both"))
    yield made
    for server in made.servers.values():
        server.stop()


def rows() -> Iterator[object]:
    for row in (*ALIKE, *ALIKE_IN_CHROOT):
        marks = [pytest.mark.slow] * row.startswith("~") + [needs_root] * (row in ALIKE_IN_CHROOT)
        yield pytest.param(row.removeprefix("~ "), marks=marks)


@needs_rsync
@pytest.mark.parametrize("command", list(rows()))
def test_upload_gives_what_rsyncd_gives(both: Both, command: str) -> None:
    assert both.run("prsyncd", command) == both.run("stock", command)


UPLOADS = "[mod]\npath = DIR/mod\nread only = no\nuse chroot = no\n" + ("uid = 0\ngid = 0\n" if os.geteuid() == 0 else "")


@pytest.fixture
def module(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "mod" / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    return tmp_path / "mod"


@needs_rsync
def test_upload_is_logged_as_one(start_daemon: Start, module: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("seven b")
    (module / "gone").write_text("x")
    daemon = start_daemon(UPLOADS + "transfer logging = yes\nlog format = %o %m %f %l %i\n")
    result = daemon.rsync("-t", "-d", "--delete", f"{tmp_path}/file", "::mod/")
    assert (result.returncode, result.stderr) == (0, "")
    daemon.wait_for_log("total size 7")
    lines = daemon.log_lines()
    assert "rsync to mod/ from UNDETERMINED (127.0.0.1)" in lines
    assert "recv mod file 7 >f+++++++++" in lines
    assert any(line.startswith("sent ") and line.endswith("  total size 7") for line in lines)


# ---- hostile clients ------------------------------------------------------------------------------------------------

LINK, DIRECTORY = 0o120777, 0o40755


def link_to(target: bytes) -> bytes:
    return bytes([len(target)]) + target


@pytest.mark.parametrize(
    ("entries", "code", "says"),
    [
        (wire_entry(b"../outside/x"), 4, "unsafe pathname"),
        (wire_entry(b"sub/../../outside/x"), 4, "unsafe pathname"),
        (wire_entry(b"/etc/x"), 4, "unsafe pathname"),
        (wire_entry(b"."), 2, "non-directory transfer-root entry"),
        (wire_entry(b"x", mode=0o777), 2, "invalid file mode"),
        (wire_entry(b"x", LINK, extra=b"\xdf\xff\xff\x0f"), 22, "overflow"),
        (wire_entry(b"x" * 4096), 22, "overflow"),
    ],
)
def test_list_that_leads_outside_ends_the_run(
    start_daemon: Start, module: pathlib.Path, entries: bytes, code: int, says: str
) -> None:
    pusher = PushClient(start_daemon(UPLOADS).port, b"mod")
    pusher.send(wire_entry(b"first") + entries + END)
    said, told = pusher.end()
    assert told == code and says in said
    assert sorted(os.listdir(module)) == ["sub"] and not os.listdir(module.parent / "outside")


@pytest.mark.parametrize("munge", ["yes", "no"])
def test_list_that_goes_on_below_its_own_link_is_kept_within(start_daemon: Start, module: pathlib.Path, munge: str) -> None:
    """A symlink and a file below it, in one list."""
    pusher = PushClient(start_daemon(UPLOADS + f"munge symlinks = {munge}\n").port, b"mod")
    pusher.send(wire_entry(b"way", LINK, extra=link_to(b"../outside")) + wire_entry(b"way/x") + END)
    pusher.send_file(1, b"data")
    pusher.end()
    assert not os.listdir(module.parent / "outside")


@pytest.mark.parametrize("at", ["sub", "sub/deep"])
def test_symlink_that_takes_the_place_of_a_directory_is_not_followed(start_daemon: Start, module: pathlib.Path, at: str) -> None:
    """Somebody with access to the module swaps it in between the file's request and its data."""
    outside = module.parent / "outside"
    (outside / "deep").mkdir()
    pusher = PushClient(start_daemon(UPLOADS).port, b"mod")
    names = (wire_entry(b"sub", DIRECTORY), wire_entry(b"sub/deep", DIRECTORY), wire_entry(b"sub/deep/x", size=4))
    pusher.send(b"".join(names) + END)
    pusher.wait_for_request()
    os.rename(module / at, module / "moved")
    (module / at).symlink_to(outside if at == "sub" else outside / "deep")
    pusher.send_file(2, b"data")
    pusher.send(b"\0\0\0")
    pusher.sock.shutdown(1)
    pusher.end()
    assert [path for path in outside.rglob("*") if path.name != "deep"] == []
    assert not list(module.rglob(".x.*"))


@pytest.mark.parametrize("head", [(-1, 700, 2, 0), (1 << 30, 1 << 20, 2, 0), (1, 0, 2, 0), (1, 700, 99, 0), (1, 700, 2, 701)])
def test_numbers_out_of_bounds_end_the_run_and_leave_the_old_file(
    start_daemon: Start, module: pathlib.Path, head: tuple[int, int, int, int]
) -> None:
    (module / "x").write_text("old")
    pusher = PushClient(start_daemon(UPLOADS).port, b"mod")
    pusher.send(wire_entry(b"x", size=4) + END)
    pusher.wait_for_request()
    pusher.send_file(0, b"data", head)
    said, told = pusher.end()
    assert told == 2 and "[receiver]" in said.lower()
    assert (module / "x").read_text() == "old" and sorted(os.listdir(module)) == ["sub", "x"]


def test_data_of_another_checksum_never_takes_the_old_files_place(start_daemon: Start, module: pathlib.Path) -> None:
    (module / "x").write_text("old")
    pusher = PushClient(start_daemon(UPLOADS).port, b"mod")
    pusher.send(wire_entry(b"x", size=4) + END)
    pusher.wait_for_request()
    body = bytes([1]) + struct.pack("<H", 0x8000) + bytes(16)
    pusher.send(body + struct.pack("<i", 4) + b"data" + bytes(4) + bytes(16))
    pusher.sock.shutdown(1)
    pusher.end()
    assert (module / "x").read_text() == "old" and sorted(os.listdir(module)) == ["sub", "x"]


def test_names_of_files_from_are_not_taken_from_the_client_of_an_upload(start_daemon: Start, module: pathlib.Path) -> None:
    said, told = PushClient(start_daemon(UPLOADS).port, b"mod", options=(b"--files-from=-", b"--from0")).end()
    assert told == 4 and "--files-from" in said


# ---- ends -----------------------------------------------------------------------------------------------------------


class Gate:
    """Lets so many bytes of the client pass, then none until it is opened."""

    def __init__(self, count: int) -> None:
        self.count, self.passed = count, 0
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, data: bytes) -> bytes:
        self.passed += len(data)
        if self.passed >= self.count and not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(30)
        return data


def await_data(module: pathlib.Path) -> None:
    """Until a temporary file has some."""
    end = time.monotonic() + 20
    while not any(path.stat().st_size for path in module.glob(".big.*")):
        assert time.monotonic() < end
        time.sleep(0.005)


@needs_rsync
@pytest.mark.parametrize(("options", "left"), [((), []), (("--partial-dir=.part",), [".part"])])
def test_ended_worker_leaves_old_files_and_nothing_else(
    start_daemon: Start, module: pathlib.Path, tmp_path: pathlib.Path, options: tuple[str, ...], left: list[str]
) -> None:
    (tmp_path / "big").write_bytes(blob(1, 2_000_000))
    (module / "big").write_bytes(b"old")
    daemon = start_daemon(UPLOADS)
    gate = Gate(1_000_000)
    with Tap(daemon.port, ask=gate) as tap:
        done: list[int] = []
        command = ["-t", "--no-W", *options, f"{tmp_path}/big", f"rsync://127.0.0.1:{tap.port}/mod/"]
        running = threading.Thread(target=lambda: done.append(client("stock", command, tmp_path).returncode))
        running.start()
        assert gate.reached.wait(30)
        await_data(module)
        workers = children(daemon.process.pid)
        assert len(workers) == 1
        os.kill(workers[0], signal.SIGTERM)
        assert not await_end(lambda: [pid for pid in workers if pid in children(daemon.process.pid)])
        gate.opened.set()
        running.join(30)
    assert done == [20] and (module / "big").read_bytes() == b"old"
    assert sorted(os.listdir(module)) == sorted([*left, "big", "sub"])
