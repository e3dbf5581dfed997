"""Runs one workload: A B A B … over all pairs of a client and a daemon, and checks each result."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Daemon, RunFailed, Sample, launchers, measure, start_daemon, touch_memory
from bench.trees import differences
from bench.workload import Workload

STOCK = "/usr/bin/rsync"
ORIGIN, STOCK_ADDRESS = "127.0.0.1", "127.0.0.1"
ORIGIN_PORT, STOCK_PORT = 8731, 8732
ALL_PAIRS = ("rsync-rsyncd", "prsync-prsyncd", "prsync-rsyncd", "rsync-prsyncd")
"""Client and daemon; the first is what the others are measured by."""
SWARM_PAIRS = ("rsync-rsyncd", "prsync-swarm")


@dataclass(frozen=True)
class Figures:
    """Medians of the timed runs of one pair; peaks of memory from a run of its own."""

    pair: str
    wall: float
    walls: list[float]
    client_cpu: float
    daemon_cpu: float
    wire: int
    client_memory: int
    daemon_memory: int


class Bench:
    """The folders and commands that all workloads share. `folder` is on a tmpfs and belongs to us."""

    def __init__(self, folder: Path, divisor: int, rounds: int, say: Callable[[str], None]) -> None:
        self.folder, self.divisor, self.rounds, self.say = folder, divisor, rounds, say
        self.client, self.daemon, self.control = launchers(folder)
        self.source, self.basis, self.destination = folder / "source", folder / "basis", folder / "destination"
        self.log = folder / "client.log"

    def run(self, workload: Workload, pairs: Sequence[str]) -> list[Figures]:
        """Raises RunFailed."""
        pairs = [pair for pair in (SWARM_PAIRS if workload.mirrors else ALL_PAIRS) if pair in pairs]
        if workload.make_source is None:
            return self._run_command(workload)
        self._make(workload)
        try:
            with self._daemons(workload, pairs) as daemons:
                return self._compare(workload, pairs, daemons)
        finally:
            for tree in self.source, self.basis, self.destination:
                _remove(tree)

    def _make(self, workload: Workload) -> None:
        assert workload.make_source is not None
        self.source.mkdir()
        workload.make_source(self.source, self.divisor)
        if workload.make_basis:
            self.basis.mkdir()
            workload.make_basis(self.source, self.basis, self.divisor)

    @contextmanager
    def _daemons(self, workload: Workload, pairs: Sequence[str]) -> Iterator[dict[str, list[Daemon]]]:
        """The daemons by name; each listens all the time, and waits while another's turn is measured."""
        started: dict[str, list[Daemon]] = {}
        wanted = {pair.partition("-")[2] for pair in pairs}
        try:
            if "rsyncd" in wanted:
                started["rsyncd"] = [self._start("rsyncd", STOCK_ADDRESS, STOCK_PORT)]
            if "prsyncd" in wanted:
                started["prsyncd"] = [self._start("prsyncd", ORIGIN, ORIGIN_PORT)]
            if "swarm" in wanted:
                addresses = [f"127.0.0.{number + 2}" for number in range(workload.mirrors)]
                mirrors = [self._start("prsyncd", address, ORIGIN_PORT, in_swarm=True) for address in addresses]
                origin = self._start("prsyncd", ORIGIN, ORIGIN_PORT, addresses, in_swarm=True)
                started["swarm"] = [origin, *mirrors]
            yield started
        finally:
            for daemon in (each for group in started.values() for each in group):
                daemon.stop()

    def _start(self, kind: str, address: str, port: int, mirrors: Sequence[str] = (), *, in_swarm: bool = False) -> Daemon:
        """in_swarm: with the digests of all files, as a mirror's operator or `prsync-mirror` sees to."""
        config = self.folder / f"{kind}-{address}.conf"
        own = f"state dir = {self.folder}/state-{address}\n" if kind == "prsyncd" else ""
        own += "digest index = yes\n" if in_swarm else ""
        lines = "".join(f"mirror = rsync://{each}:{ORIGIN_PORT}/data/\n" for each in mirrors)
        config.write_text(f"use chroot = no\nuid = root\ngid = root\n{own}[data]\npath = {self.source}\n{lines}")
        command = self.daemon if kind == "prsyncd" else [STOCK, "--daemon"]
        daemon = start_daemon(command, config, address, port, self.folder / f"{kind}-{address}.log")
        if in_swarm:
            subprocess.run([*self.control, f"--config={config}", "index", "data"], check=True, stdout=subprocess.DEVNULL)
        return daemon

    def _compare(self, workload: Workload, pairs: Sequence[str], daemons: dict[str, list[Daemon]]) -> list[Figures]:
        memory = {pair: self._once(workload, pair, daemons, sampling=True) for pair in pairs}
        timed: dict[str, list[Sample]] = {pair: [] for pair in pairs}
        for number in range(self.rounds):
            for pair in pairs:
                timed[pair] += [self._once(workload, pair, daemons) for _ in range(workload.repeats)]
            self.say(f"  round {number + 1}: " + "  ".join(f"{pair} {timed[pair][-1].wall:.3f} s" for pair in pairs))
        return [_figures(pair, timed[pair], memory[pair]) for pair in pairs]

    def _once(self, workload: Workload, pair: str, daemons: dict[str, list[Daemon]], *, sampling: bool = False) -> Sample:
        client, _, daemon = pair.partition("-")
        if sampling or not workload.keep_destination:
            _remove(self.destination)
        if workload.make_basis and not self.destination.exists():
            _copy(self.basis, self.destination)
        else:
            self.destination.mkdir(exist_ok=True)
        address, port = (STOCK_ADDRESS, STOCK_PORT) if daemon == "rsyncd" else (ORIGIN, ORIGIN_PORT)
        url = f"rsync://{address}:{port}/data/{workload.path}"
        command = [STOCK] if client == "rsync" else self.client
        touch_memory(workload.touched // self.divisor)
        sample = measure(
            [*command, *workload.arguments, url, f"{self.destination}/"], daemons[daemon], self.log, sample_memory=sampling
        )
        found = differences(self.source, self.destination, content=sampling)
        if found:
            raise RunFailed(f"{workload.name}, {pair}: the trees differ:\n  " + "\n  ".join(found))
        return sample

    def _run_command(self, workload: Workload) -> list[Figures]:
        """A command without a daemon."""
        commands = {"rsync-rsyncd": [STOCK], "prsync-prsyncd": self.client}
        timed: dict[str, list[Sample]] = {pair: [] for pair in commands}
        for command in commands.values():
            measure([*command, *workload.arguments], [], self.log, sample_memory=False)
        for _ in range(self.rounds * workload.repeats):
            for pair, command in commands.items():
                timed[pair].append(measure([*command, *workload.arguments], [], self.log, sample_memory=False))
        return [_figures(pair, samples, samples[0]) for pair, samples in timed.items()]


def _figures(pair: str, timed: Sequence[Sample], memory: Sample) -> Figures:
    return Figures(
        pair,
        statistics.median(each.wall for each in timed),
        [round(each.wall, 4) for each in timed],
        # Processes' times come in hundredths of a second: a mean says more than a median where they are short.
        statistics.mean(each.client_cpu for each in timed),
        statistics.mean(each.daemon_cpu for each in timed),
        int(statistics.median(each.wire for each in timed)),
        memory.client_memory,
        memory.daemon_memory,
    )


def _remove(tree: Path) -> None:
    if tree.exists():
        subprocess.run(["rm", "-rf", "--", str(tree)], check=True)


def _copy(tree: Path, to: Path) -> None:
    subprocess.run(["cp", "-a", "--", str(tree), str(to)], check=True)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
