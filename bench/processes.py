"""Processes under measurement: daemons, one client run, and what /proc tells about them."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096
TICK = os.sysconf("SC_CLK_TCK")
START_LIMIT = 10.0
MEMORY_INTERVAL = 0.01
SETTLING = 0.4  # until the process of a connection that was closed at once has gone


@dataclass(frozen=True)
class Sample:
    """One run: seconds, CPU seconds, bytes on the wire (both directions, with headers), peak Pss in bytes (0: not sampled)."""

    wall: float
    client_cpu: float
    daemon_cpu: float
    wire: int
    client_memory: int = 0
    daemon_memory: int = 0


class RunFailed(Exception):
    """A program under measurement failed, or gave another result."""


class RunUnended(RunFailed):
    """It was ended after its limit."""


@dataclass
class Daemon:
    """A daemon in the foreground, with its children."""

    process: subprocess.Popen[bytes]
    lasting: set[int]
    """Children that are there for all connections, as prsyncd's indexer is."""

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def launchers(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """The commands for prsync, prsyncd and prsyncctl: scripts as `pip install` makes them, for this interpreter."""
    made = []
    for name, function in ("prsync", "main"), ("prsyncd", "daemon_main"), ("prsyncctl", "control_main"):
        path = folder / name
        path.write_text(f"#!{sys.executable}\nimport sys\nfrom prsync.commands.main import {function}\nsys.exit({function}())\n")
        path.chmod(0o755)
        made.append([str(path)])
    return made[0], made[1], made[2]


def start_daemon(command: Sequence[str], config: Path, address: str, port: int, log: Path) -> Daemon:
    """Starts a daemon and waits until it answers."""
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [*command, "--no-detach", f"--config={config}", f"--address={address}", f"--port={port}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    limit = time.monotonic() + START_LIMIT
    while time.monotonic() < limit and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1) as connection:
            answered = connection.recv(8) == b"@RSYNCD:"
            connection.close()
            if answered:
                time.sleep(SETTLING)
                return Daemon(process, set(_children(process.pid)))
        time.sleep(0.02)
    process.kill()
    raise RunFailed(f"{command[0]} does not start; see {log}")


def measure(
    command: Sequence[str], daemons: Sequence[Daemon], log: Path, *, sample_memory: bool, limit: float, clients: int = 1
) -> Sample:
    """Runs a client, or several at once, to the end. The first one's output goes to `log`; a status not 0 raises RunFailed."""
    _wait_until_idle(daemons)
    before = sum(cpu_with_children(each.process.pid) for each in daemons)
    wire = _wire_bytes()
    with open(log, "wb") as output, open(os.devnull, "wb") as nowhere:
        start = time.perf_counter()
        pids = [_spawn(command, nowhere.fileno() if number else output.fileno()) for number in range(clients)]
    watch = _Memory(pids, [each.process.pid for each in daemons]) if sample_memory else None
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    timer = threading.Timer(limit, expire)
    timer.daemon = True
    timer.start()
    ends = [os.wait4(pid, 0) for pid in pids]
    wall = time.perf_counter() - start
    timer.cancel()
    if watch:
        watch.stop()
    command_line = " ".join(command)
    if expired.is_set():
        raise RunUnended(f"{command_line}: not at its end after {limit:.0f} s")
    for _, status, _ in ends:
        if status:
            tail = log.read_text(errors="replace")[-2000:]
            raise RunFailed(f"{command_line}: exit status {os.waitstatus_to_exitcode(status)}\n{tail}")
    _wait_until_idle(daemons)
    return Sample(
        wall,
        sum(usage.ru_utime + usage.ru_stime for _, _, usage in ends),
        sum(cpu_with_children(each.process.pid) for each in daemons) - before,
        _wire_bytes() - wire,
        watch.client if watch else 0,
        watch.daemon if watch else 0,
    )


def _spawn(command: Sequence[str], output: int) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    return os.posix_spawnp(command[0], list(command), os.environ, file_actions=actions)


def touch_memory(size: int) -> None:
    """Makes `size` bytes of memory cheap to take: a guest's first touch of a page costs ten times a later one."""
    if not size:
        return
    with mmap.mmap(-1, size) as memory:
        for start in range(0, size, PAGE):
            memory[start] = 1


def _wait_until_idle(daemons: Sequence[Daemon]) -> None:
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        if all(set(_children(each.process.pid)) <= each.lasting for each in daemons):
            return
        time.sleep(0.01)


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def cpu_with_children(pid: int) -> float:
    """CPU seconds of a process, of its children that ended, and of those that live."""
    fields = _stat_fields(pid)
    own = sum(int(value) for value in fields[11:15]) / TICK if fields else 0.0
    return own + sum(cpu_with_children(child) for child in _children(pid))


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _family(pid: int) -> Iterator[int]:
    yield pid
    for child in _children(pid):
        yield from _family(child)


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def _wire_bytes() -> int:
    """Bytes that the loopback of this network namespace has received so far."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, fields = line.partition(":")
        if name.strip() == "lo":
            return int(fields.split()[0])
    return 0


class _Memory:
    """Samples the Pss of both sides, every 10 ms for one client, until stopped; keeps the highest sums."""

    def __init__(self, clients: Sequence[int], daemons: Sequence[int]) -> None:
        self.client = self.daemon = 0
        self._pids = (list(clients), list(daemons))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def _sample(self) -> None:
        clients, daemons = self._pids
        while not self._ended.wait(MEMORY_INTERVAL * len(clients)):
            self.client = max(self.client, sum(_pss(pid) for each in clients for pid in _family(each)))
            self.daemon = max(self.daemon, sum(_pss(pid) for each in daemons for pid in _family(each)))

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
