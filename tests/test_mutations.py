"""Mutated sessions against every side, for a short time; `make mutations` takes ten minutes for each.

With the sanitizers (tools/sanitized) the same cases look for errors in the core; as built for use they measure memory.
"""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import struct
import sys
import time

import pytest
from mutation import recordings
from mutation.daemon_side import DaemonCases
from mutation.findings import Findings, alarm_in
from mutation.mutate import change_frames, frames_start, mutate, split_frames
from mutation.scenes import GUARDED, Scene
from mutation.sides import SIDES, make_cases, run_some

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
@pytest.mark.parametrize("side", SIDES)
def test_side_survives_mutated_sessions(side: str, scene: Scene, tmp_path: pathlib.Path) -> None:
    findings = Findings(tmp_path / "found")
    cases = make_cases(side, scene, findings, SANITIZED, 5)
    start = time.monotonic()
    number = 0
    while time.monotonic() < start + SECONDS:
        number += run_some(cases, "test", number, 40)
    assert not findings.found and findings.runs


# One kind of session for each, all files in one list: what is said does not depend on time then.
UNCHANGED = {
    "client-pull": ("PULLS", ["-aH", "--stats", "--no-inc-recursive"]),
    "client-push": ("PUSHES", ["-aH", "--stats", "--no-inc-recursive"]),
    "client-shell": ("PULLS", ["-aH", "--stats", "--no-inc-recursive"]),
    "daemon-receive": ("PUSHES", ["-aH", "--delete", "--no-inc-recursive"]),
    "server-send": ("PULLS", ["-aH", "--no-inc-recursive"]),
    "server-receive": ("PUSHES", ["-aH", "--delete", "--no-inc-recursive"]),
    "read-batch": ("PUSHES", ["-aH", "--stats"]),
}


@NEEDS_RSYNC
@pytest.mark.parametrize("side", UNCHANGED)
def test_recorded_session_played_unchanged_comes_to_its_end(
    side: str, scene: Scene, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the mutations would be tried on sessions that fail anyway."""
    kinds, arguments = UNCHANGED[side]
    monkeypatch.setattr(recordings, "PULLS", [])
    monkeypatch.setattr(recordings, "PUSHES", [])
    monkeypatch.setattr(recordings, kinds, [arguments])
    monkeypatch.setattr(recordings, "own_pulls", lambda *_: [])
    monkeypatch.setattr(recordings, "own_pushes", lambda *_: [])
    findings = Findings(tmp_path / "found")
    cases = make_cases(side, scene, findings, SANITIZED, 1)
    cases.memory_most = sys.maxsize  # as the system counts a child's peak, it is at least what this long-lived parent has
    recording = cases.recordings[0]
    if isinstance(cases, DaemonCases):
        cases.replay([(recording, recording.scripts[0], False)])
        place = scene.writable(0)
    else:
        cases.play(recording, recording.scripts, "unchanged")
        place = scene.place
        output = cases.output.read_bytes()
        assert b"Total file size" in output if "--stats" in arguments else not output
    assert not findings.found
    if side != "server-send":
        assert (place / "large").read_bytes() == (scene.tree / "large").read_bytes()


def test_damage_by_a_session_is_noticed(scene: Scene) -> None:
    scene.prepare(scene.place)
    assert scene.damage(scene.place, []) is None
    (scene.place / "large").write_bytes(b"a part")
    assert "neither old nor new" in (scene.damage(scene.place, []) or "")
    assert scene.damage(scene.place, ["--inplace"]) is None
    (scene.place / ".large.AbC123").write_bytes(b"")
    assert "temporary file" in (scene.damage(scene.place, []) or "")
    (scene.place / "outside" / "more").write_bytes(GUARDED)
    assert "outside" in (scene.damage(scene.place, []) or "")


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
