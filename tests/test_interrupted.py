"""Runs that are interrupted, cut off, refused or spoilt: rsync's exit code, every old file as it was, nothing half-made."""

from __future__ import annotations

import os
import pathlib
import random
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest
from kills import MARK, KilledRun, await_end, files, half_made, is_temporary, prepare, processes_of, two_states
from kinds_of_tree import ROOT, blob, write
from not_yet import marks
from pairs import PAIRS, PRSYNC, RSYNC, Server, client, environment
from tap import Tap
from ways import DIRECT_WAYS, Pair, Stage, needs

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

BIG = 1_500_000
HELD = BIG // 2  # how far a held transfer comes
ENDS = {
    "SIGINT": 20,
    "SIGTERM": 20,
    "SIGHUP": 20,
    "SIGKILL": -9,
    "cut": 12,  # the connection ends within the file's data
}
LEFT: dict[tuple[str, ...], set[str]] = {(): set(), ("--partial",): {"new"}, ("--partial-dir=.part",): {".part", ".part/new"}}


@pytest.fixture(scope="module", params=["stock", "prsyncd"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(f"from-{request.param}")
    (folder / "data").mkdir()
    write(folder / "data/new", blob(5, BIG))
    write(folder / "data/old", b"changed at the source")
    (folder / "closed").mkdir()
    write(folder / "closed/a", b"a")
    write(folder / "closed/b", b"b", 0o000)
    running = Server(request.param, folder, "[data]\npath = DIR/data\n[closed]\npath = DIR/closed\n" + "uid = nobody\n" * ROOT)
    open_to_all(folder)
    yield running
    running.stop()


def open_to_all(folder: pathlib.Path) -> None:
    for above in (folder, *folder.parents[:3]):
        if above.owner() == folder.owner() and above != pathlib.Path("/tmp"):
            above.chmod(0o755)


class Held:
    """Passes on half of the data and tells so; then nothing until it may go on."""

    def __init__(self) -> None:
        self.reached_in, self.reached_out = os.pipe()
        self.go_in, self.go_out = os.pipe()
        self.cut = False
        self.position = 0

    def __call__(self, data: bytes, position: int) -> bytes | None:
        if position < HELD <= position + len(data):
            os.write(self.reached_out, b"x")
            os.read(self.go_in, 1)
            return None if self.cut else data
        return data

    def of_the_client(self, data: bytes) -> bytes:
        """The same for what goes the other way."""
        position, self.position = self.position, self.position + len(data)
        return self(data, position) or b""

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Until the half has passed; the client must not end before."""
        ended = os.pidfd_open(process.pid)
        ready = select.select([self.reached_in, ended], [], [], 30)[0]
        os.close(ended)
        assert self.reached_in in ready

    def close(self) -> None:
        for end in (self.reached_in, self.reached_out, self.go_in, self.go_out):
            os.close(end)


def names(folder: pathlib.Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def wait_for_growth(copy: pathlib.Path) -> None:
    """The client has written some of the new file, under whatever name it has until it is complete."""
    for _ in range(2000):
        if any(path.stat().st_size > 100_000 for path in copy.rglob(".new.*")):
            return
        select.select([], [], [], 0.005)
    raise AssertionError(names(copy))


@pytest.mark.parametrize("words", LEFT, ids=" ".join)
@pytest.mark.parametrize("end", ENDS)
def test_ended_run_leaves_what_rsync_leaves(server: Server, tmp_path: pathlib.Path, end: str, words: tuple[str, ...]) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    write(copy / "old", b"as it was", when=5)
    held = Held()
    with Tap(server.port, held) as tap:
        command = [*PRSYNC, "-a", "--mirrors=off", *words, f"rsync://127.0.0.1:{tap.port}/data/new"]
        process = subprocess.Popen([*command, f"{copy}/"], env=environment(), cwd="/", stderr=subprocess.PIPE)
        held.wait(process)
        wait_for_growth(copy)
        if end == "cut":
            held.cut = True
        else:
            process.send_signal(getattr(signal, end))
            process.wait(20)
        os.write(held.go_out, b"x")
        errors = process.communicate(timeout=20)[1]
    held.close()
    assert process.returncode == ENDS[end] and b"Traceback" not in errors
    assert (copy / "old").read_bytes() == b"as it was" and (copy / "old").stat().st_mtime_ns == 5
    left = names(copy) - {"old"}
    if end == "SIGKILL":
        assert all(name.startswith(".new.") for name in left)  # what nobody could clean up; as rsync's
        return
    assert left == LEFT[words]
    for name in left - {".part"}:
        kept = (copy / name).read_bytes()
        assert 0 < len(kept) < BIG and blob(5, BIG).startswith(kept)
    again = client("prsync", ["-a", *words, server.url + "data/", f"{copy}/"], tmp_path)
    assert again.returncode == 0 and names(copy) == {"old", "new"} and (copy / "new").read_bytes() == blob(5, BIG)


@pytest.mark.parametrize(("times", "code"), [(1, 0), (9, 23)])
def test_spoilt_data_is_sent_again_and_never_kept(server: Server, tmp_path: pathlib.Path, times: int, code: int) -> None:
    """A byte of the file's data is another; checksums find it, and the file is asked for once more."""
    copy = tmp_path / "copy"
    copy.mkdir()
    write(copy / "new", b"as it was", when=5)
    mark = blob(5, BIG)[700_000:700_016]
    spoilt = []

    def spoil(data: bytes, position: int) -> bytes:
        if mark in data and len(spoilt) < times:
            spoilt.append(position)
            return data.replace(mark, b"\0" * len(mark))
        return data

    with Tap(server.port, spoil) as tap:
        url = f"rsync://127.0.0.1:{tap.port}/data/new"
        done = client("prsync", ["-a", "-W", "--mirrors=off", url, f"{copy}/"], tmp_path)
    if not spoilt:
        pytest.skip("the mark fell between two chunks")
    assert done.returncode == code and names(copy) == {"new"}
    assert (copy / "new").read_bytes() == (b"as it was" if code else blob(5, BIG))


def test_stream_with_a_gap_ends_as_a_protocol_error(server: Server, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    write(copy / "old", b"as it was", when=5)

    def spoil(data: bytes, position: int) -> bytes:  # some bytes are missing
        return data[1000:] if position < HELD <= position + len(data) else data

    with Tap(server.port, spoil) as tap:
        url = f"rsync://127.0.0.1:{tap.port}/data/"
        done = client("prsync", ["-a", "--mirrors=off", "--timeout=5", "--exclude=old", url, f"{copy}/"], tmp_path)
    assert done.returncode in (2, 12, 30) and b"Traceback" not in done.stderr
    assert names(copy) == {"old"} and (copy / "old").read_bytes() == b"as it was"


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_unreadable_source_is_left_out(server: Server, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    write(copy / "b", b"as it was", when=5)
    done = client("prsync", ["-a", server.url + "closed/", f"{copy}/"], tmp_path)
    assert done.returncode == 23 and b"rsync: [sender] send_files failed to open" in done.stderr
    assert names(copy) == {"a", "b"} and (copy / "b").read_bytes() == b"as it was"


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_full_disk_ends_with_11_and_keeps_old_files(server: Server, tmp_path: pathlib.Path) -> None:
    codes = {}
    for kind in ("stock", "prsync"):
        copy = tmp_path / kind
        copy.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=800k", "none", copy], check=False).returncode:
            pytest.skip("cannot mount")
        try:
            write(copy / "new", b"as it was", when=5)
            done = client(kind, ["-a", server.url + "data/new", f"{copy}/"], tmp_path)
            codes[kind] = done.returncode, names(copy), (copy / "new").read_bytes(), b"No space left" in done.stderr
        finally:
            subprocess.run(["umount", copy], check=True)
    assert codes["prsync"] == codes["stock"] == (11, {"new"}, b"as it was", True)


KILLS = ("-a", "--delete")
VICTIMS = ("client", "remote")
STATUSES = {"client": {-signal.SIGKILL}, "remote": {10, 12, 255}}
"""A survivor sees a stream that ends (12), one that takes nothing more (10), or what its remote shell says."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("kills"), two_states)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def lengths() -> dict[tuple[object, ...], int]:
    """How many units an undisturbed run has, by way and programs."""
    return {}


def kill_cases() -> Iterator[object]:
    """A hundred points over all ways, programs and victims; six of them, with prsync at both ends, in the default run."""
    quick = {("daemon-pull", "client"), ("daemon-pull", "remote"), ("daemon-push", "client"), ("daemon-push", "remote")}
    quick |= {("shell-push", "remote"), ("local", "client")}
    for way in (*DIRECT_WAYS, "local"):
        for pair in PAIRS if way != "local" else PAIRS[:1]:
            for victim in VICTIMS if way != "local" else VICTIMS[:1]:
                for number in range(4):
                    slow = (way, victim) not in quick or pair != PAIRS[0] or number > 0
                    yield pytest.param(
                        way,
                        pair,
                        victim,
                        number,
                        id=f"{way}-{'-'.join(pair)}-{victim}-{number}",
                        marks=[*marks(*needs(way, pair)), *([pytest.mark.slow] * slow)],
                    )


@pytest.mark.parametrize(("way", "pair", "victim", "number"), list(kill_cases()))
def test_killed_run_leaves_whole_files_and_nothing_that_stays(
    stage: Stage, lengths: dict[tuple[object, ...], int], way: str, pair: Pair, victim: str, number: int
) -> None:
    old, new = files(stage.folder / "one"), files(stage.folder / "two")
    name = f"{way}-{'-'.join(pair)}"
    if (way, pair) not in lengths:
        whole = KilledRun(stage, way, pair, KILLS, prepare(stage, f"{name}-whole-{victim}{number}"), victim, None).run()
        assert (whole.status, whole.errors) == (0, b"") and files(whole.place / "copy") == new
        lengths[way, pair] = whole.count
    chance = random.Random(f"{name} {victim} {number}")
    point = int(lengths[way, pair] * chance.uniform(0.02, 0.98))
    run = KilledRun(stage, way, pair, KILLS, prepare(stage, f"{name}-{victim}-{number}"), victim, point).run()
    assert run.struck and run.status in STATUSES[victim], run.errors
    assert b"Traceback" not in run.errors
    found = files(run.place / "copy")
    assert half_made(found, old, new) == []
    receiver = "client" if way.endswith("pull") else "remote"
    program = pair[0] if receiver == "client" else pair[1]
    if way != "local" and victim != receiver and program != "stock":  # who survives clears up; stock's two processes may not
        assert [each for each in found if is_temporary(each, new)] == []
    again = KilledRun(stage, way, pair, KILLS, run.place, victim, None).run()
    assert (again.status, again.errors) == (0, b"") and files(run.place / "copy") == new
    assert names(run.place / "copy") == names(stage.folder / "two")


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=marks(*needs(way, ("stock", "prsyncd")))) for way in ("daemon-pull", "daemon-push")]
)
def test_killed_supervisor_leaves_no_process(tmp_path: pathlib.Path, way: str) -> None:
    """In the middle of a transfer, with all helpers running."""
    (tmp_path / "data").mkdir()
    write(tmp_path / "data/new", blob(5, BIG))
    mark = str(tmp_path)
    text = "state dir = DIR/state\n[data]\npath = DIR/data\nread only = no\ndigest index = yes\nnominate = registered\n"
    if ROOT:  # with a change of user the kernel forgets what a process wants to hear of its parent's end
        text += "uid = nobody\ngid = nogroup\n"
        shutil.chown(tmp_path / "data", "nobody")
        open_to_all(tmp_path)
    daemon = Server("prsyncd", tmp_path, text, **{MARK: mark})
    held = Held()
    with Tap(daemon.port, held if way == "daemon-pull" else None, held.of_the_client if way == "daemon-push" else bytes) as tap:
        url = f"rsync://127.0.0.1:{tap.port}/data/"
        words = ["-a", url, f"{tmp_path}/copy/"] if way == "daemon-pull" else ["-a", f"{tmp_path}/data/new", url + "copy/"]
        process = subprocess.Popen([RSYNC, *words], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        held.wait(process)
        assert len(processes_of(mark)) > 2  # a worker, and helpers
        daemon.process.kill()
        daemon.process.wait(20)
        left = await_end(lambda: processes_of(mark), 5)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        os.write(held.go_out, b"x")
        assert left == []
        assert process.wait(20) in (10, 12, 20)  # 20: told by the worker
    held.close()
    assert names(tmp_path / "data") == ({"new"} if way == "daemon-pull" else {"new", "copy"})
