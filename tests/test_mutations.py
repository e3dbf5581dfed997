"""Mutated sessions against the client and the daemon, for a short time; `make mutations` takes ten minutes for each side.

With the sanitizers (tools/sanitized) the same cases look for errors in the core; as built for use they measure memory.
"""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import struct
import time

import pytest
from mutation.client_side import ClientCases
from mutation.daemon_side import DaemonCases, record_requests_of
from mutation.findings import Findings, alarm_in
from mutation.mutate import change_frames, frames_start, mutate, split_frames
from mutation.play import Proxy, Recording
from mutation.scenes import OURS, Scene, StockDaemon, record, record_pulls, unsanitized

SANITIZED = "PRSYNC_SANITIZED" in os.environ
SECONDS = float(os.environ.get("PRSYNC_MUTATION_SECONDS", "20"))
NEEDS_RSYNC = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs the real rsync")


@pytest.fixture
def scene(tmp_path: pathlib.Path) -> Scene:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        os.chmod(folder, 0o755)  # the daemon's workers give up root
    return Scene(tmp_path)


@pytest.mark.slow
@NEEDS_RSYNC
def test_client_survives_servers_that_say_mutated_sessions(scene: Scene, tmp_path: pathlib.Path) -> None:
    with unsanitized():
        recordings = record_pulls(scene, 6)
    findings = Findings(tmp_path / "found")
    cases = ClientCases(scene, recordings, findings, SANITIZED)
    start = time.monotonic()
    number = 0
    while time.monotonic() < start + SECONDS:
        cases.run(f"test:{number}")
        number += 1
    assert not findings.found and findings.runs


@pytest.mark.slow
@NEEDS_RSYNC
def test_daemon_survives_clients_that_say_mutated_sessions(scene: Scene, tmp_path: pathlib.Path) -> None:
    findings = Findings(tmp_path / "found")
    cases = DaemonCases(scene, record_requests_of(scene, 4), findings, SANITIZED)
    start = time.monotonic()
    number = 0
    while time.monotonic() < start + SECONDS:
        cases.batch([f"test:{number + i}" for i in range(40)])
        number += 40
    assert not findings.found and findings.runs


@pytest.fixture
def recorded(scene: Scene) -> Recording:
    """prsync's pull from a stock daemon, all files in one list."""
    with unsanitized():
        daemon = StockDaemon(scene.folder, "[m]\npath = FOLDER/tree\n")
        proxy = Proxy(daemon.port)
        recording = record(scene, proxy, OURS, "m", ["-aH", "--stats", "--no-inc-recursive"])
        proxy.close()
        daemon.stop()
    return recording


@NEEDS_RSYNC
def test_recorded_session_played_unchanged_comes_to_its_end(scene: Scene, recorded: Recording, tmp_path: pathlib.Path) -> None:
    """Else the mutations would be tried on sessions that fail anyway."""
    findings = Findings(tmp_path / "found")
    cases = ClientCases(scene, [recorded], findings, SANITIZED)
    cases.play(recorded, recorded.scripts, "unchanged")
    assert not findings.found
    assert b"Total file size" in cases.output.read_bytes() and b"rsync error" not in cases.output.read_bytes()
    assert (cases.destination / "large").read_bytes() == (scene.tree / "large").read_bytes()


def message(code: int, data: bytes) -> bytes:
    return struct.pack("<I", (7 + code) << 24 | len(data)) + data


def test_frames_of_a_turn_are_found_behind_a_handshake_and_stay_whole() -> None:
    stream = message(0, b"list") + message(117, b"\1frame") + message(0, bytes(200))
    turn = b"@RSYNCD: OK\n\x81\xff" + stream
    assert frames_start(turn) == len(turn) - len(stream)
    assert split_frames(stream + b"\1") == ([(0, b"list"), (117, b"\1frame"), (0, bytes(200))], b"\1")
    for seed in range(200):
        changed = change_frames(random.Random(seed), stream, [b"\x0b"])
        assert split_frames(changed)[1] == b""


def test_mutations_are_those_of_their_seed_and_leave_the_other_side_alone() -> None:
    turns = [(True, b"greeting\n"), (False, message(0, bytes(100))), (True, b"module\n"), (False, b"x" * 50)]
    for seed in range(200):
        once = mutate(random.Random(seed), turns, False, [])
        assert once == mutate(random.Random(seed), turns, False, [])
        assert [turn for turn in once if turn[0]] == [turn for turn in turns if turn[0]] or len(once) < len(turns)


@pytest.mark.parametrize("output", [b"ok\nTraceback (most recent\n", b"a worker failed: X", b"==1==ERROR: AddressSanitizer: x"])
def test_output_that_should_not_be_is_noticed(output: bytes) -> None:
    assert alarm_in(output)
    assert alarm_in(b"rsync error: error in rsync protocol data stream (code 12)\n") is None
