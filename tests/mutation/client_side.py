"""The client against servers that say mutated recordings. Each case is a fork of this process, in which prsync is loaded."""

from __future__ import annotations

import faulthandler
import os
import random
import shutil
import signal
import socket
import sys
import time
import traceback

from prsync.commands.main import main
from prsync.errors import ExitCode

from .findings import MEMORY_MOST, SANITIZED_EXTRA, Findings, alarm_in
from .mutate import mutate
from .play import Player, Recording, Script
from .scenes import Scene, command_words, end_group, sample_frames

CASE_SECONDS = 20
STEP_SECONDS = 0.002


class ClientCases:
    def __init__(self, scene: Scene, recordings: list[Recording], findings: Findings, sanitized: bool) -> None:
        self.scene, self.recordings, self.findings = scene, recordings, findings
        self.memory_most = MEMORY_MOST + (SANITIZED_EXTRA if sanitized else 0)
        ports = sorted({script.port for recording in recordings for script in recording.scripts})
        # The recorded ports: nominations name them.
        self.listeners: dict[int, socket.socket] = {}
        for port in ports:
            self.listen(port)
        self.samples = sample_frames(ports[-1])
        self.guarded = scene.folder / "guarded"
        self.guarded.mkdir()
        (self.guarded / "file").write_bytes(b"not to be touched")
        self.output = scene.folder / "output"
        self.destination = scene.folder / "played"

    def listen(self, port: int) -> None:
        if port not in self.listeners:
            try:
                self.listeners[port] = socket.create_server(("127.0.0.1", port), backlog=20)
            except OSError:  # a case of a run that still goes on
                self.listeners[port] = socket.create_server(("127.0.0.1", 0), backlog=20)
            self.listeners[port].setblocking(False)

    def run(self, seed: str) -> None:
        rng = random.Random(seed)
        recording = rng.choice(self.recordings)
        scripts = list(recording.scripts)
        if rng.random() < 0.02:
            scripts = [Script(s.port, [(False, rng.randbytes(rng.randrange(1, 2000)))]) for s in scripts]
        else:
            for at in {rng.randrange(len(scripts)) for _ in range(rng.choice((1, 1, 2)))}:
                turns = mutate(rng, scripts[at].turns, False, self.samples)
                scripts[at] = Script(scripts[at].port, turns)
        self.play(recording, scripts, seed, rng.random() < 0.1)

    def play(self, recording: Recording, scripts: list[Script], seed: str, reset: bool = False) -> None:
        shutil.rmtree(self.destination, ignore_errors=True)
        shutil.copytree(self.scene.old, self.destination, symlinks=True)
        (self.destination / "outside").symlink_to(self.guarded)
        module = recording.name.split(" ")[0].replace("list", "")
        port = self.listeners[recording.scripts[0].port].getsockname()[1]
        words = command_words(self.scene, port, module, recording.arguments, self.destination)
        pid = os.fork()
        if not pid:
            self._be_the_client(words)
        status, kibibytes, hung = self._serve(pid, scripts, reset)
        problem = self._judge(status, hung)
        if self.findings.note_memory(kibibytes) > self.memory_most:
            problem = problem or f"memory: {kibibytes >> 10} MiB"
        self.findings.runs += 1
        if problem:
            kept = [(script.port, script.turns) for script in scripts]
            self.findings.add(problem, recording.name, seed, kept, recording.arguments)

    def _be_the_client(self, words: list[str]) -> None:
        code = 99
        try:
            os.setsid()
            for listener in self.listeners.values():
                listener.close()
            null = os.open(os.devnull, os.O_RDONLY)
            file = os.open(self.output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            for source, number in ((null, 0), (file, 1), (file, 2)):
                os.dup2(source, number)
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

    def _serve(self, pid: int, scripts: list[Script], reset: bool) -> tuple[int, int, bool]:
        """Plays until the client has ended: its status and memory, and whether it had to be ended."""
        left = list(scripts)
        players: list[Player] = []
        end, hung = time.monotonic() + CASE_SECONDS, False
        try:
            while True:
                for port, listener in self.listeners.items():
                    self._accept(listener, port, left, players, reset)
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
        finally:
            for player in players:
                player.close()
            end_group(pid)

    def _accept(self, listener: socket.socket, port: int, left: list[Script], players: list[Player], reset: bool) -> None:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        mine = [script for script in left if script.port == port]
        if mine:
            left.remove(mine[0])
        players.append(Player(sock, mine[0].turns if mine else [], False, reset))

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
        if self._touched():
            return "something outside of the destination was touched"
        return None

    def _touched(self) -> bool:
        return os.listdir(self.guarded) != ["file"] or (self.guarded / "file").read_bytes() != b"not to be touched"
