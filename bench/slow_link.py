"""python -m bench.slow_link: CPU of a classic transfer over a slow link, prsync beside stock rsync; needs root.

Two hosts of their own (demo/network.py), whose links the kernel limits alike. One file of random bytes is pulled or pushed by
each pairing of programs in turn, A B A B; each copy is compared with its source. CPU is that of all processes of a side.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.processes import cpu_with_children
from bench.trees import differences, write_random
from bench.workload import DAEMON_PAIRS, MIB
from demo.actors import PRSYNC, PRSYNCD, STOCK, environment
from demo.network import Network

SIZE = 96 * MIB
EXPECTED = 1.5
"""Highest CPU of prsync with prsyncd, divided by stock rsync's."""
CLIENT, SERVER = "client", "server"
PORTS = {"rsyncd": 8741, "prsyncd": 8742}
START_LIMIT = 15.0


@dataclass(frozen=True)
class Run:
    seconds: float
    client_cpu: float
    daemon_cpu: float


class SlowLink:
    """Both daemons on one host, over the folder that is pulled and the one that is pushed to."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.source, self.copy = folder / "source", folder / "copy"
        self.daemons = {name: self._start(name, port) for name, port in PORTS.items()}

    def _start(self, name: str, port: int) -> subprocess.Popen[bytes]:
        config = self.folder / f"{name}.conf"
        config.write_text(
            f"use chroot = no\nuid = root\ngid = root\n[data]\npath = {self.source}\n[copy]\npath = {self.copy}\nread only = no\n"
        )
        address = self.network.hosts[SERVER].address
        command = [STOCK, "--daemon"] if name == "rsyncd" else PRSYNCD
        words = [*command, "--no-detach", f"--config={config}", f"--port={port}", f"--address={address}"]
        process = self.network.start(SERVER, words, self.folder / f"{name}.log")
        limit = time.monotonic() + START_LIMIT
        asked = self.network.on(CLIENT, [STOCK, "--contimeout=2", f"rsync://{address}:{port}/"])
        while subprocess.run(asked, capture_output=True, check=False).returncode:
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{name} does not start; see {self.folder}/{name}.log")
            time.sleep(0.1)
        return process

    def run(self, pair: str, way: str) -> Run:
        client, _, daemon = pair.partition("-")
        shutil.rmtree(self.copy, ignore_errors=True)
        self.copy.mkdir()
        url = f"rsync://{self.network.hosts[SERVER].address}:{PORTS[daemon]}"
        ends = [f"{url}/data/", f"{self.copy}/"] if way == "pull" else [f"{self.source}/", f"{url}/copy/"]
        own = [*PRSYNC, "--mirrors=off"] if client == "prsync" else [STOCK]
        process = self.daemons[daemon]
        before, start = cpu_with_children(process.pid), time.monotonic()
        started = subprocess.Popen(self.network.on(CLIENT, [*own, "-a", *ends]), stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(started.pid, 0)
        seconds = time.monotonic() - start
        if status or differences(self.source, self.copy, content=True):
            raise RuntimeError(f"{pair}, {way}: status {os.waitstatus_to_exitcode(status)}, or another tree")
        return Run(seconds, usage.ru_utime + usage.ru_stime, self._settled_cpu(process.pid) - before)

    @staticmethod
    def _settled_cpu(pid: int) -> float:
        """Once the connection's process has ended and been waited for."""
        last, found = -1.0, cpu_with_children(pid)
        while found != last:
            time.sleep(0.2)
            last, found = found, cpu_with_children(pid)
        return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.slow_link", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each pairing (default: 3)")
    parser.add_argument("--rate", type=int, default=40, metavar="MBIT", help="of the links (default: 40)")
    parser.add_argument("--way", action="append", choices=("pull", "push"), help="only this one")
    parser.add_argument("--scale", type=float, default=1.0, metavar="FACTOR", help="of the file's size; below 1: to try it")
    options = parser.parse_args()
    environment()
    folder = Path(tempfile.mkdtemp(prefix="prsync-slow-", dir="/dev/shm"))
    folder.chmod(0o755)
    failed = False
    try:
        (folder / "source").mkdir()
        write_random(folder / "source" / "file", int(SIZE * options.scale), 1)
        with Network() as network:
            for name in CLIENT, SERVER:
                network.add_host(name, options.rate)
            link = SlowLink(network, folder)
            network.limit_links()
            for way in options.way or ("pull", "push"):
                failed |= measure(link, way, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(failed)


def measure(link: SlowLink, way: str, rounds: int) -> bool:
    """Whether something failed. Prints a line for each pairing, the first is what the others are measured by."""
    runs: dict[str, list[Run]] = {pair: [] for pair in DAEMON_PAIRS}
    failed = False
    for _ in range(rounds):
        for pair in DAEMON_PAIRS:
            try:
                runs[pair].append(link.run(pair, way))
            except RuntimeError as failure:
                print(f"FAILED: {failure}", flush=True)
                failed = True
    print(f"{way}\n  client, daemon      seconds  CPU s          ratio", flush=True)
    base = 0.0
    for pair, found in runs.items():
        if not found:
            continue
        client, daemon = (statistics.median(getattr(run, side) for run in found) for side in ("client_cpu", "daemon_cpu"))
        base = base or client + daemon
        seconds = statistics.median(run.seconds for run in found)
        ratio = (client + daemon) / base
        cells = f"{pair.replace('-', ', '):18}  {seconds:7.2f}  {client:.2f} + {daemon:.2f}    {ratio:6.2f}"
        above = pair == DAEMON_PAIRS[1] and ratio > EXPECTED
        print(f"  {cells}{f'  expected at most {EXPECTED}' * above}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
