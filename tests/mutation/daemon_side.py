"""prsyncd against clients that say mutated recordings. Its memory is the highest of all its workers, known when it has ended."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

from daemon_harness import Daemon

from .extension import sample_frames
from .findings import MEMORY_MOST, SANITIZED_EXTRA, Findings, alarm_in
from .mutate import mutate
from .play import Player, Recording, Script, Turn
from .scenes import Scene, connect, place_name, stock_pull_is_right

CASE_SECONDS = 20
AT_ONCE = 3
MIRROR_PORT = 8730  # nobody listens there


def recorded_with_daemon(record: Callable[[Scene, Daemon, int], list[Recording]]) -> Callable[[Scene, int], list[Recording]]:
    """The same with a daemon of its own."""

    def with_daemon(scene: Scene, most: int) -> list[Recording]:
        daemon = scene.start_daemon("daemon", MIRROR_PORT, writable=True)
        try:
            return record(scene, daemon, most)
        finally:
            daemon.stop()

    return with_daemon


def own_place(turns: list[Turn], number: int) -> list[Turn]:
    """A push to the place of this number, which no other case of a batch writes to."""
    here, own = place_name(0).encode(), place_name(number).encode()
    return [(client, data.replace(here, own)) for client, data in turns]


class DaemonCases:
    """The cases go to a daemon that is started anew for every batch."""

    def __init__(self, scene: Scene, recordings: list[Recording], findings: Findings, sanitized: bool) -> None:
        self.scene, self.recordings, self.findings = scene, recordings, findings
        self.memory_most = MEMORY_MOST + (SANITIZED_EXTRA if sanitized else 0)
        self.samples = sample_frames(MIRROR_PORT)

    def make(self, seed: str) -> tuple[Recording, Script, bool]:
        rng = random.Random(seed)
        recording = rng.choice(self.recordings)
        script = rng.choice(recording.scripts)
        if rng.random() < 0.02:
            turns = [(True, rng.randbytes(rng.randrange(1, 2000)))]
        else:
            turns = mutate(rng, script.turns, True, self.samples)
        return recording, Script(script.port, turns), rng.random() < 0.1

    def batch(self, seeds: list[str]) -> None:
        """Plays the cases of these seeds, some at once, to one daemon; then sees whether it is well."""
        self.replay([self.make(seed) for seed in seeds], seeds)

    def replay(self, made: list[tuple[Recording, Script, bool]], seeds: list[str] | None = None) -> None:
        daemon = self.scene.start_daemon("daemon", MIRROR_PORT, writable=True)
        cases = []
        for number, (seed, (recording, script, reset)) in enumerate(zip(seeds or ["again"] * len(made), made, strict=True)):
            if recording.full:
                self.scene.prepare(self.scene.writable(number))
                script = Script(script.port, own_place(script.turns, number))
            cases.append((seed, recording, script, reset))
        problem = None
        try:
            hung = self._play(daemon.port, cases)
            if hung is not None:
                seed, recording, script, _ = cases[hung]
                self._add("hang", seed, [(seed, recording, script)], daemon)
            if not stock_pull_is_right(self.scene, daemon.port):
                problem = "the daemon does not serve any more"
        finally:
            problem = self._end(daemon) or problem
        if problem:
            self._add(problem, cases[0][0], [case[:3] for case in cases], daemon)
        for number, case in enumerate(cases):
            arguments = case[1].arguments
            if case[1].full and (damage := self.scene.damage(self.scene.writable(number), arguments)):
                self._add(damage, case[0], [case[:3]], daemon)

    def _add(self, what: str, seed: str, cases: list[tuple[str, Recording, Script]], daemon: Daemon) -> None:
        scripts = [(0, script.turns) for _, _, script in cases]
        names = ", ".join(sorted({recording.name for _, recording, _ in cases})) if len(cases) < 4 else f"{len(cases)} cases"
        full = any(recording.full for _, recording, _ in cases)
        self.findings.add(what, names, seed, scripts, [case[0] for case in cases], full)

    def _play(self, port: int, cases: list[tuple[str, Recording, Script, bool]]) -> int | None:
        """The number of the first case that did not end."""
        waiting, playing, hung = list(enumerate(cases)), [], None
        while waiting or playing:
            while waiting and len(playing) < AT_ONCE:
                number, (_, _, script, reset) = waiting.pop(0)
                playing.append((number, Player(connect(port), script.turns, True, reset), time.monotonic() + CASE_SECONDS))
            for item in list(playing):
                number, player, end = item
                player.step()
                if not player.over and time.monotonic() > end:
                    hung = number if hung is None else hung
                    player.close()
                if player.over:
                    playing.remove(item)
                    self.findings.runs += 1
            time.sleep(0.001)
        return hung

    def _end(self, daemon: Daemon) -> str | None:
        """What its output, its log or its memory tell against it."""
        process = daemon.process
        daemon.signal(signal.SIGTERM)
        end, usage = time.monotonic() + CASE_SECONDS, None
        while time.monotonic() < end:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            time.sleep(0.01)
        stuck = process.returncode is None
        output = daemon.stop()[1].encode("utf-8", "replace") + daemon.log.read_bytes()
        memory = self.findings.note_memory(usage.ru_maxrss) if usage else 0
        if alarm := alarm_in(output):
            return alarm
        if stuck:
            return "the daemon, or a worker of it, does not end"
        if process.returncode:
            return f"the daemon ended with {process.returncode}"
        if memory > self.memory_most:
            return f"memory: {memory >> 20} MiB"
        return None
