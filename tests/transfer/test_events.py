"""A no-change run reaches Python by batches: few calls, few events, bounded memory, however many files there are."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
import stock

from prsync.engine.receiving import Receiving
from prsync.transfer.receiver import Receiver

pytestmark = pytest.mark.skipif(not stock.RSYNC, reason="needs the real rsync")

PER_FOLDER = 500
MEASURED = """
import sys
from prsync.commands.main import main
code = main(sys.argv[1:])
# Not ru_maxrss: it counts what the parent had before the exec.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""


def fill(root: pathlib.Path, count: int) -> None:
    for folder in range(count // PER_FOLDER):
        here = root / f"d{folder:04}"
        here.mkdir(parents=True)
        for name in range(PER_FOLDER):
            (here / f"file{name:04}").touch()


@pytest.fixture(params=[20_000, pytest.param(200_000, marks=pytest.mark.slow)], scope="module")
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, pathlib.Path]]:
    folder = tmp_path_factory.mktemp("many")
    fill(folder / "data", request.param)
    subprocess.run(["cp", "-a", folder / "data", folder / "copy"], check=True)
    yield request.param, folder
    subprocess.run(["rm", "-rf", folder], check=True)


def test_no_change_run_makes_few_events(tree: tuple[int, pathlib.Path], monkeypatch: pytest.MonkeyPatch) -> None:
    count, folder = tree
    seen = {"calls": 0, "events": 0}

    def counted(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def wrapper(self: object, *args: object) -> object:
            seen["calls"] += 1
            return original(self, *args)

        monkeypatch.setattr(owner, name, wrapper)

    for owner, name in ((Receiver, "drain"), (Receiving, "feed"), (Receiving, "step")):
        counted(owner, name)
    drained = stock.Context.drain_events

    def counted_events(self: stock.Context) -> list[object]:
        events = drained(self)
        seen["events"] += len(events)
        return list(events)

    monkeypatch.setattr(stock.Context, "drain_events", counted_events)
    daemon = stock.serve(folder / "data", folder)
    try:
        outcome = stock.pull(daemon, folder / "copy")
    finally:
        daemon.stop()
    assert (outcome.code, outcome.error) == (0, "") and len(outcome.log) < 10
    assert outcome.context.stats.num_files >= count
    assert seen["events"] < 1000
    # Each call takes what a receive brought: at most one for some thirty files.
    assert seen["calls"] < max(1000, count // 30), seen


def test_no_change_run_needs_little_memory(tree: tuple[int, pathlib.Path]) -> None:
    """The lists of directories that are done are given back: memory does not grow with the number of files."""
    count, folder = tree
    daemon = stock.serve(folder / "data", folder)
    try:
        command = [sys.executable, "-c", MEASURED, "-a", f"rsync://127.0.0.1:{daemon.port}/m/", f"{folder}/copy/"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    finally:
        daemon.stop()
    assert (done.returncode, done.stdout) == (0, b"")
    assert int(done.stderr) < 80_000, f"{int(done.stderr)} KiB for {count} files"
