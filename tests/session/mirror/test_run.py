"""prsync-mirror with a real origin and a real client, each on an address of its own."""

from __future__ import annotations

import contextlib
import filecmp
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from daemon_harness import Daemon, free_port

OWNER = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""
SCRIPT = "import sys; from prsync.commands.main import mirror_main; sys.exit(mirror_main())"


class RunningMirror:
    """A prsync-mirror on 127.0.0.`host`; `said` is what it has printed."""

    def __init__(self, home: pathlib.Path, origin: Daemon, host: int, *options: str, port: int = 0) -> None:
        self.folder = home / f"mirror{host}"
        self.folder.mkdir(exist_ok=True)
        self.address = f"127.0.0.{host}"
        self.port = port or free_port()
        self.out = self.folder / "out"
        self.url = f"rsync://{self.address}:{self.port}/m"
        words = [
            f"--address={self.address}", f"--port={self.port}", f"--state-dir={self.folder}/state",
            f"--daemon-log={self.folder}/log", *options, f"{origin.url}m", f"{self.folder}/tree",
        ]  # fmt: skip
        with open(self.out, "wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self.out.read_text()

    def wait_for(self, text: str, count: int = 1) -> None:
        end = time.monotonic() + 30
        while self.said.count(text) < count:
            assert time.monotonic() < end, f"{text!r} is missing in:\n{self.said}"
            time.sleep(0.02)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout=15)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


StartMirror = Callable[..., RunningMirror]


@pytest.fixture
def origin(home: pathlib.Path) -> Iterator[Daemon]:
    folder = home / "origin"
    tree = folder / "tree"
    (tree / "deep").mkdir(parents=True)
    for number in range(30):
        (tree / "deep" / f"file{number}").write_bytes(os.urandom(2000 + number))
    (tree / "big").write_bytes(os.urandom(5 << 20))
    daemon = Daemon(folder, f"state dir = DIR/state\nuse chroot = no\n[m]\npath = DIR/tree\nnominate = registered\n{OWNER}")
    yield daemon
    daemon.stop()


@pytest.fixture
def start_mirror(home: pathlib.Path, origin: Daemon) -> Iterator[StartMirror]:
    running: list[RunningMirror] = []

    def start(host: int, *options: str, port: int = 0) -> RunningMirror:
        running.append(RunningMirror(home, origin, host, *options, port=port))
        return running[-1]

    yield start
    for mirror in running:
        mirror.stop()


def pull(origin: Daemon, dest: pathlib.Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A client on an address of its own."""
    words = ["-a", "--stats", "--address=127.0.0.9", *options, f"{origin.url}m/", str(dest)]
    return subprocess.run([sys.executable, "-m", "prsync", *words], capture_output=True, text=True, timeout=60)


def assert_same(first: pathlib.Path, second: pathlib.Path) -> None:
    names = sorted(p.relative_to(first) for p in first.rglob("*"))
    assert names == sorted(p.relative_to(second) for p in second.rglob("*"))
    files = [str(n) for n in names if (first / n).is_file()]
    assert filecmp.cmpfiles(first, second, files, shallow=False)[0] == files


def bytes_from(output: str, url: str) -> int:
    line = next(line for line in output.splitlines() if line.startswith(f"Source {url}:"))
    return int(line.split(": ", 1)[1].split(" bytes")[0].replace(",", ""))


def test_mirror_pulls_registers_and_serves_a_client(origin: Daemon, start_mirror: StartMirror, home: pathlib.Path) -> None:
    mirror = start_mirror(2)
    mirror.wait_for(f"registered as {mirror.url} for 900 seconds")
    done = pull(origin, home / "copy")
    assert done.returncode == 0, done.stderr
    assert_same(origin.folder / "tree", home / "copy")
    assert bytes_from(done.stdout, mirror.url) > 5 << 20, done.stdout
    assert mirror.stop() == 0
    assert "the lease is released" in mirror.said
    assert f"released its lease of rsync://:{mirror.port}/m" in origin.log_text()
    done = pull(origin, home / "alone")
    assert done.returncode == 0 and "Source " not in done.stdout


def test_mirror_pulls_again_at_sighup_and_serves_what_is_new(
    origin: Daemon, start_mirror: StartMirror, home: pathlib.Path
) -> None:
    mirror = start_mirror(2)
    mirror.wait_for("registered as")
    (origin.folder / "tree" / "new").write_bytes(os.urandom(3 << 20))
    os.unlink(origin.folder / "tree" / "big")
    mirror.process.send_signal(signal.SIGHUP)
    mirror.wait_for("serving: 1 files hashed", 1)
    done = pull(origin, home / "copy")
    assert_same(origin.folder / "tree", home / "copy")
    assert bytes_from(done.stdout, mirror.url) >= 3 << 20, done.stdout


def test_mirror_that_missed_a_release_comes_back_with_the_next_pull(
    origin: Daemon, start_mirror: StartMirror, home: pathlib.Path
) -> None:
    mirror = start_mirror(2)
    mirror.wait_for("registered as")
    for file in (origin.folder / "tree").rglob("*"):
        if file.is_file():
            file.write_bytes(os.urandom(4000))
    assert control(origin, "index", "m")[0] == 0
    assert pull(origin, home / "copy").returncode == 0  # reports the mirror, which is stale
    origin.wait_for_log(f"mirror {mirror.url} is suspect now: it lacks 12 of 12 files")
    assert "Source " not in pull(origin, home / "alone").stdout
    mirror.process.send_signal(signal.SIGHUP)
    origin.wait_for_log(f"mirror {mirror.url} is granted now")
    assert bytes_from(pull(origin, home / "again").stdout, mirror.url) > 100_000


def test_lease_is_renewed_before_it_ends(origin: Daemon, start_mirror: StartMirror) -> None:
    mirror = start_mirror(2, "--lease=3")
    mirror.wait_for("registered as")
    origin.wait_for_log("peer connection on m from UNDETERMINED (127.0.0.2)")
    end = time.monotonic() + 20
    while origin.log_text().count("peer connection on m from UNDETERMINED (127.0.0.2)") < 5:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "has ended" not in origin.log_text() and mirror.said.count("registered as") == 1


def test_lease_of_a_mirror_that_was_killed_ends(origin: Daemon, start_mirror: StartMirror) -> None:
    mirror = start_mirror(2, "--lease=2")
    mirror.wait_for("registered as")
    os.killpg(mirror.process.pid, signal.SIGKILL)
    origin.wait_for_log(f"the lease of {mirror.url} has ended")


def test_mirror_takes_the_place_of_one_that_was_killed(
    origin: Daemon, start_mirror: StartMirror, home: pathlib.Path
) -> None:
    first = start_mirror(2)
    first.wait_for("registered as")
    daemon = os.pidfd_open(int((next(first.folder.glob("state/mirror/*/pid"))).read_text()))
    first.process.kill()
    assert select.select([daemon], [], [], 10)[0]  # its daemon ends with it
    os.close(daemon)
    second = start_mirror(2, port=first.port)
    second.wait_for("registered as")
    assert bytes_from(pull(origin, home / "copy").stdout, second.url) > 5 << 20
    assert "is started again" not in second.said


def test_mirror_that_was_killed_is_registered_again_for_a_release_published_by_a_rename(
    origin: Daemon, start_mirror: StartMirror, home: pathlib.Path
) -> None:
    mirror = start_mirror(2)
    mirror.wait_for("registered as")
    tree, following = origin.folder / "tree", origin.folder / "next"
    following.mkdir()
    for number in range(20):
        (following / f"new{number}").write_bytes(os.urandom(3000 + number))
    tree.rename(origin.folder / "old")
    following.rename(tree)
    shutil.rmtree(origin.folder / "old")
    assert control(origin, "index", "m")[0] == 0
    os.killpg(mirror.process.pid, signal.SIGKILL)
    assert pull(origin, home / "copy").returncode == 0  # reports the mirror, which is dead
    origin.wait_for_log(f"{mirror.url} 0 bytes dead")
    mirror = start_mirror(2, port=mirror.port)
    mirror.wait_for("registered as")
    assert bytes_from(pull(origin, home / "again").stdout, mirror.url) >= 20 * 3000


def test_refusal_is_one_clear_line(home: pathlib.Path) -> None:
    """A module that takes no registrations."""
    folder = home / "origin"
    (folder / "tree").mkdir(parents=True)
    (folder / "tree" / "file").write_bytes(b"data")
    daemon = Daemon(folder, f"state dir = DIR/state\nuse chroot = no\n[m]\npath = DIR/tree\ndigest index = yes\n{OWNER}")
    mirror = RunningMirror(home, daemon, 2)
    try:
        mirror.wait_for("the origin does not grant a lease: registration is off; next try in 10 seconds\n")
    finally:
        mirror.stop()
        daemon.stop()


def test_mirror_that_never_pulled_gives_up_with_the_pulls_code(origin: Daemon, start_mirror: StartMirror) -> None:
    origin.stop()
    mirror = start_mirror(2)
    assert mirror.process.wait(timeout=20) == 10
    assert "the pull ended with exit code 10" in mirror.said and "giving up" in mirror.said


def test_second_mirror_of_the_same_folder_is_refused(origin: Daemon, start_mirror: StartMirror) -> None:
    mirror = start_mirror(2)
    mirror.wait_for("registered as")
    command = [sys.executable, "-c", SCRIPT, f"--state-dir={mirror.folder}/state", f"{origin.url}m", f"{mirror.folder}/tree"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 11 and done.stderr == f"another prsync-mirror serves {mirror.folder}/tree already\n"


def control(origin: Daemon, *words: str) -> tuple[int, str, str]:
    script = "import sys; from prsync.commands.main import control_main; sys.exit(control_main())"
    command = [sys.executable, "-c", script, f"--config={origin.conf}", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


def test_operator_sees_mirrors_and_drains_them(origin: Daemon, start_mirror: StartMirror, home: pathlib.Path) -> None:
    origin.wait_for_log("starting")
    mirror = start_mirror(2)
    mirror.wait_for("registered as")
    assert pull(origin, home / "copy").returncode == 0
    origin.wait_for_log("report from 127.0.0.9")
    code, out, _ = control(origin, "mirrors", "m")
    head, line = out.splitlines()
    assert code == 0 and head.split() == ["URL", "STATE", "EXPIRES", "BYTES", "SHARE", "LAST", "REPORT"]
    assert line.split()[:2] == [mirror.url, "granted"] and line.split()[4:6] == ["100%", "fine"], line
    assert control(origin, "drain", mirror.url) == (0, f"{mirror.url} is nominated no more; its lease stays\n", "")
    assert control(origin, "mirrors", "m")[1].splitlines()[1].split()[1] == "draining"
    assert "Source " not in pull(origin, home / "alone").stdout
    assert control(origin, "undrain", mirror.url)[0] == 0
    assert f"Source {mirror.url}" in pull(origin, home / "again").stdout


@pytest.mark.parametrize("words, line", [
    (("mirrors", "other"), "there is no module other"), (("drain", "rsync://x/m"), "has a lease for rsync://x/m"),
])  # fmt: skip
def test_operators_mistakes_are_one_line(origin: Daemon, words: tuple[str, ...], line: str) -> None:
    tracker_runs(origin)
    code, _, errors = control(origin, *words)
    assert code == 1 and line in errors and errors.count("\n") == 1


def tracker_runs(origin: Daemon) -> None:
    end = time.monotonic() + 15
    while control(origin, "mirrors", "m")[0]:
        assert time.monotonic() < end
        time.sleep(0.05)
