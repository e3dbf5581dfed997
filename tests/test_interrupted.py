"""Runs that are interrupted, cut off, refused or spoilt: rsync's exit code, every old file as it was, nothing half-made."""

from __future__ import annotations

import os
import pathlib
import select
import signal
import subprocess
from collections.abc import Iterator

import pytest
from kinds_of_tree import ROOT, blob, write
from pairs import PRSYNC, RSYNC, Server, client, environment
from tap import Tap

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
    for above in (folder, *folder.parents[:3]):
        if above.owner() == folder.owner() and above != pathlib.Path("/tmp"):
            above.chmod(0o755)
    yield running
    running.stop()


class Held:
    """Passes on half of the data and tells so; then nothing until it may go on."""

    def __init__(self) -> None:
        self.reached_in, self.reached_out = os.pipe()
        self.go_in, self.go_out = os.pipe()
        self.cut = False

    def __call__(self, data: bytes, position: int) -> bytes | None:
        if position < HELD <= position + len(data):
            os.write(self.reached_out, b"x")
            os.read(self.go_in, 1)
            return None if self.cut else data
        return data

    def wait(self) -> None:
        assert select.select([self.reached_in], [], [], 30)[0]

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
        held.wait()
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
