"""Programs that hear mutated recordings: the client over sockets and remote shells or with a batch file, the server on its
standard input. Each case is a fork of this process, in which prsync is loaded."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import signal
import socket
import sys
import time
import traceback

from prsync.commands.main import main
from prsync.errors import ExitCode

from .extension import sample_frames
from .findings import MEMORY_MOST, SANITIZED_EXTRA, Findings, alarm_in
from .mutate import mutate
from .play import Player, Recording, Script
from .recordings import filled_in
from .scenes import Scene, end_group

CASE_SECONDS = 20
STEP_SECONDS = 0.002


class ProgramCases:
    """What is the same for all: subclasses say how the program is connected."""

    as_client = False  # whether the client's turns are played
    port = 8730

    def __init__(self, scene: Scene, recordings: list[Recording], findings: Findings, sanitized: bool) -> None:
        self.scene, self.recordings, self.findings = scene, recordings, findings
        self.memory_most = MEMORY_MOST + (SANITIZED_EXTRA if sanitized else 0)
        self.samples = sample_frames(self.port)
        self.output = scene.folder / "output"

    def run(self, seed: str) -> None:
        rng = random.Random(seed)
        recording = rng.choice(self.recordings)
        scripts = list(recording.scripts)
        if rng.random() < 0.02:
            scripts = [Script(s.port, [(self.as_client, rng.randbytes(rng.randrange(1, 2000)))]) for s in scripts]
        else:
            for at in {rng.randrange(len(scripts)) for _ in range(rng.choice((1, 1, 2)))}:
                turns = mutate(rng, scripts[at].turns, self.as_client, self.samples)
                scripts[at] = Script(scripts[at].port, turns)
        self.play(recording, scripts, seed, rng.random() < 0.1)

    def play(self, recording: Recording, scripts: list[Script], seed: str, reset: bool = False) -> None:
        self.scene.prepare(self.scene.place, recording.full)
        players = self.open(scripts, reset)
        pid = os.fork()
        if not pid:
            self._be_the_program(filled_in(self.scene, recording.arguments, self.port_of(scripts)))
        try:
            status, kibibytes, hung = self._serve(pid, scripts, players, reset)
        finally:
            for player in players:
                player.close()
            end_group(pid)
        problem = self._judge(status, hung) or self.scene.damage(self.scene.place, recording.arguments)
        if self.findings.note_memory(kibibytes) > self.memory_most:
            problem = problem or f"memory: {kibibytes >> 10} MiB"
        self.findings.runs += 1
        if problem:
            kept = [(script.port, script.turns) for script in scripts]
            self.findings.add(problem, recording.name, seed, kept, recording.arguments, recording.full)

    # ---- how it is connected

    def port_of(self, scripts: list[Script]) -> int:
        """What PORT stands for."""
        return self.port

    def open(self, scripts: list[Script], reset: bool) -> list[Player]:
        """Before the fork: the players that are connected from the start."""
        return []

    def accept(self, left: list[Script], players: list[Player], reset: bool) -> None:
        """Whoever connects gets a player."""

    def plug(self) -> int:
        """In the fork: what the program has as its standard input."""
        return os.open(os.devnull, os.O_RDONLY)

    # ----

    def _be_the_program(self, words: list[str]) -> None:
        code = 99
        try:
            os.setsid()
            source = self.plug()
            file = os.open(self.output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            for descriptor, number in ((source, 0), (source if self.as_client else file, 1), (file, 2)):
                os.dup2(descriptor, number)
            os.close(source)
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
            faulthandler.enable(2)
            faulthandler.register(signal.SIGUSR1, 2, all_threads=True)
            os.chdir(self.scene.folder)
            code = main(words)
        except BaseException:  # noqa: BLE001 - that is what is looked for
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _serve(self, pid: int, scripts: list[Script], players: list[Player], reset: bool) -> tuple[int, int, bool]:
        """Plays until the program has ended: its status and memory, and whether it had to be ended."""
        left = list(scripts)
        end, hung = time.monotonic() + CASE_SECONDS, False
        while True:
            self.accept(left, players, reset)
            for player in players:
                if not player.over:
                    player.step()
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                return status, usage.ru_maxrss, hung
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL if hung else signal.SIGUSR1)
                hung, end = True, time.monotonic() + 1
            time.sleep(STEP_SECONDS)

    def _judge(self, status: int, hung: bool) -> str | None:
        output = self.output.read_bytes() if self.output.exists() else b""
        if hung:
            return f"hang: {output[-3000:].decode('utf-8', 'replace')}"
        if os.WIFSIGNALED(status):
            return f"signal {os.WTERMSIG(status)}: {output[-3000:].decode('utf-8', 'replace')}"
        if alarm := alarm_in(output):
            return alarm
        if os.WEXITSTATUS(status) not in set(ExitCode):
            return f"exit code {os.WEXITSTATUS(status)}: {output[-2000:].decode('utf-8', 'replace')}"
        return None


class ClientCases(ProgramCases):
    """It connects to the recorded ports: nominations name them. A remote shell connects too."""

    def __init__(self, scene: Scene, recordings: list[Recording], findings: Findings, sanitized: bool) -> None:
        ports = sorted({script.port for recording in recordings for script in recording.scripts})
        self.port = ports[-1]
        super().__init__(scene, recordings, findings, sanitized)
        self.listeners: dict[int, socket.socket] = {}
        for port in ports:
            try:
                self.listeners[port] = socket.create_server(("127.0.0.1", port), backlog=20)
            except OSError:  # a case of a run that still goes on
                self.listeners[port] = socket.create_server(("127.0.0.1", 0), backlog=20)
            self.listeners[port].setblocking(False)

    def port_of(self, scripts: list[Script]) -> int:
        return int(self.listeners[scripts[0].port].getsockname()[1])

    def plug(self) -> int:
        for listener in self.listeners.values():
            listener.close()
        return super().plug()

    def accept(self, left: list[Script], players: list[Player], reset: bool) -> None:
        for port, listener in self.listeners.items():
            with contextlib.suppress(BlockingIOError):
                sock, _ = listener.accept()
                mine = [script for script in left if script.port == port]
                if mine:
                    left.remove(mine[0])
                players.append(Player(sock, mine[0].turns if mine else [], False, reset))


class ServerCases(ProgramCases):
    """It has one end of a pair of sockets as its standard input and output."""

    as_client = True

    def open(self, scripts: list[Script], reset: bool) -> list[Player]:
        ours, self._theirs = socket.socketpair()
        self._player = Player(ours, scripts[0].turns, True, reset)
        return [self._player]

    def plug(self) -> int:
        self._player.sock.close()
        return self._theirs.detach()

    def accept(self, left: list[Script], players: list[Player], reset: bool) -> None:
        self._theirs.close()


class BatchCases(ProgramCases):
    """It reads a file."""

    def open(self, scripts: list[Script], reset: bool) -> list[Player]:
        (self.scene.folder / "batch").write_bytes(b"".join(data for _, data in scripts[0].turns))
        return []
