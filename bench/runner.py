"""Runs one workload: A B A B … over all pairs of a client and a daemon, and checks each result."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Daemon, RunFailed, RunUnended, Sample, launchers, measure, start_daemon, touch_memory
from bench.trees import differences
from bench.workload import Workload

STOCK = "/usr/bin/rsync"
ORIGIN, STOCK_ADDRESS = "127.0.0.1", "127.0.0.1"
ORIGIN_PORT, STOCK_PORT = 8731, 8732


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
    unended: bool = False
    """It was ended after `wall` seconds, its limit, and did not run again."""


class Bench:
    """The folders and commands that all workloads share. `folder` is on a tmpfs and belongs to us."""

    def __init__(self, folder: Path, divisor: int, rounds: int, say: Callable[[str], None]) -> None:
        self.folder, self.divisor, self.rounds, self.say = folder, divisor, rounds, say
        self.client, self.daemon, self.control = launchers(folder)
        self.source, self.basis, self.destination = folder / "source", folder / "basis", folder / "destination"
        self.log = folder / "client.log"
        self.failures: list[str] = []

    def run(self, workload: Workload, wanted: Sequence[str]) -> list[Figures]:
        """Of the first pair and of those that are wanted (none: all). Raises RunFailed where the first pair fails."""
        pairs = [pair for pair in workload.pairs if not wanted or pair in (workload.pairs[0], *wanted)]
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
        modules = f"[data]\npath = {self.source}\n{lines}[push]\npath = {self.destination}\nread only = no\n"
        modules += f"[basis]\npath = {self.basis}\nread only = no\n"
        config.write_text(f"use chroot = no\nuid = root\ngid = root\n{own}{modules}")
        command = self.daemon if kind == "prsyncd" else [STOCK, "--daemon"]
        daemon = start_daemon(command, config, address, port, self.folder / f"{kind}-{address}.log")
        if in_swarm:
            subprocess.run([*self.control, f"--config={config}", "index", "data"], check=True, stdout=subprocess.DEVNULL)
        return daemon

    def _compare(self, workload: Workload, pairs: Sequence[str], daemons: dict[str, list[Daemon]]) -> list[Figures]:
        unended, memory = set(), {}
        for pair in pairs:
            try:
                memory[pair] = self._once(workload, pair, daemons, sampling=True)
            except RunUnended as failure:
                self.say(f"  {failure}")
                unended.add(pair)
            except RunFailed as failure:
                if pair == pairs[0]:
                    raise
                self.failures.append(str(failure))
                self.say(f"  FAILED: {failure}")
        timed: dict[str, list[Sample]] = {pair: [] for pair in memory}
        for number in range(self.rounds):
            for pair in memory:
                timed[pair] += [self._once(workload, pair, daemons) for _ in range(workload.repeats)]
            self.say(f"  round {number + 1}: " + "  ".join(f"{pair} {timed[pair][-1].wall:.3f} s" for pair in memory))
        ended = {pair: _figures(pair, timed[pair], memory[pair]) for pair in memory}
        endless = {pair: Figures(pair, workload.run_limit, [], 0, 0, 0, 0, 0, unended=True) for pair in unended}
        return [(ended | endless)[pair] for pair in pairs if pair in ended or pair in endless]

    def _once(self, workload: Workload, pair: str, daemons: dict[str, list[Daemon]], *, sampling: bool = False) -> Sample:
        client, _, daemon = pair.partition("-")
        destination = self.basis if workload.keep_destination else self.destination
        if workload.clients == 1 and not workload.keep_destination:
            _remove(destination)
            if workload.make_basis:
                _copy(self.basis, destination)
            else:
                destination.mkdir()
        address, port = (STOCK_ADDRESS, STOCK_PORT) if daemon == "rsyncd" else (ORIGIN, ORIGIN_PORT)
        url = f"rsync://{address}:{port}/"
        module = "basis/" if workload.keep_destination else "push/"
        ends = {
            "pull": [url + "data/" + workload.path, *([f"{destination}/"] if workload.clients == 1 else [])],
            "push": [f"{self.source}/", url + module],
            "local": [f"{self.source}/", f"{destination}/"],
        }[workload.way]
        words = [word.replace("FOLDER", str(self.folder)) for word in workload.arguments]
        touch_memory(workload.touched // self.divisor)
        sample = measure(
            [*([STOCK] if client == "rsync" else self.client), *words, *ends],
            daemons.get(daemon, []),
            self.log,
            sample_memory=sampling,
            limit=workload.run_limit,
            clients=workload.clients,
        )
        if workload.clients > 1:
            found = _missing_lines(self.log, self.source)
        else:
            found = differences(self.source, destination, content=sampling)
        if found:
            raise RunFailed(f"{workload.name}, {pair}: the trees differ:\n  " + "\n  ".join(found))
        return sample

    def _run_command(self, workload: Workload) -> list[Figures]:
        """A command without a tree."""
        commands = dict(zip(workload.pairs, ([STOCK], self.client), strict=True))
        timed: dict[str, list[Sample]] = {pair: [] for pair in commands}
        for number in range(1 + self.rounds * workload.repeats):
            for pair, command in commands.items():
                sample = measure([*command, *workload.arguments], [], self.log, sample_memory=False, limit=workload.run_limit)
                if number:
                    timed[pair].append(sample)
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


def _missing_lines(log: Path, tree: Path) -> list[str]:
    """A listing has a line for each entry."""
    with open(log, "rb") as lines:
        listed = sum(1 for _ in lines)
    there = 1 + sum(len(names) + len(files) for _, names, files in os.walk(tree))
    return [] if listed == there else [f"{listed} lines for {there} entries"]


def _remove(tree: Path) -> None:
    if tree.exists():
        subprocess.run(["rm", "-rf", "--", str(tree)], check=True)


def _copy(tree: Path, to: Path) -> None:
    subprocess.run(["cp", "-a", "--", str(tree), str(to)], check=True)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
