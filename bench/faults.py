"""python -m bench.faults: what one faulty mirror of four costs, and all four faults of eight; needs root.

An origin, mirrors and a client as hosts of their own (demo/network.py), each server's link limited alike by the kernel. A round
pulls once undisturbed and once with each fault: a mirror that is killed or stopped in the middle of its work, that has an older
release, or whose proxy flips bits in all file data. Each result is compared with the origin's tree, the culprits in `--stats`
and in the origin's log with those that there were. Ratios are of the same round's undisturbed run.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo.actors import MODULE, PRSYNC, PRSYNCCTL, PRSYNCD, Run, Stage, differences, environment
from demo.network import Network

MIB = 1 << 20
KINDS = ("dead", "stalled", "stale", "corrupt")
FAULTY_SHARE = 0.05  # of all data, which a mirror has sent when it is killed or stopped
PROXY_PORT = 8730
NEW_RELEASE, OLD_RELEASE = 1_700_000_000, 1_600_000_000


@dataclass
class Mirror:
    name: str
    url: str
    process: subprocess.Popen[bytes]


@dataclass
class Faults:
    """The stage, an origin for each set of mirrors, and what was measured."""

    stage: Stage
    rate: int
    stall_limit: int
    failures: list[str] = field(default_factory=list)
    total: int = 0

    def make_trees(self, divisor: int) -> None:
        chance = random.Random(1)
        tree = self.stage.folder / "tree"
        for number in range(2000 // divisor):
            folder = tree / f"d{number % 40}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"f{number}").write_bytes(chance.randbytes(chance.randint(1024, 20480)))
        for number in range(40 // divisor):
            (tree / f"middle{number}").write_bytes(chance.randbytes(3 * MIB))
        (tree / "large").write_bytes(chance.randbytes(100 * MIB // divisor))
        self.old = self.stage.folder / "old"
        shutil.copytree(tree, self.old)
        for path in self.old.rglob("*"):
            if path.is_file():
                path.write_bytes(chance.randbytes(path.stat().st_size))
        for top, stamp in (tree, NEW_RELEASE), (self.old, OLD_RELEASE):
            for path in (top, *top.rglob("*")):
                os.utime(path, (stamp, stamp))
        self.total = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())

    def _daemon(self, name: str, path: Path, lines: str = "") -> subprocess.Popen[bytes]:
        config = self.stage.config(name, "", f"path = {path}\ndigest index = yes\n{lines}")
        process = self.stage.daemon(name, name, PRSYNCD, config)
        done = self.stage.on(name, [*PRSYNCCTL, f"--config={config}", "index", MODULE])
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr}")
        return process

    def start_mirror(self, name: str, kind: str) -> Mirror:
        address = self.stage.network.hosts[name].address
        process = self._daemon(name, self.old if kind == "stale" else self.stage.folder / "tree")
        if kind != "corrupt":
            return Mirror(name, f"rsync://{address}/{MODULE}", process)
        switch = self.stage.folder / "flip"
        switch.touch()
        words = [sys.executable, "-m", "demo.corrupter", address, str(PROXY_PORT), address, "873", str(switch)]
        self.stage.network.start(name, words, self.stage.log / "corrupter.err")
        return Mirror(name, f"rsync://{address}:{PROXY_PORT}/{MODULE}", process)

    def pull(self, title: str, kinds: Sequence[str], number: int) -> Run:
        """With so many mirrors, the last of which have these faults."""
        mirrors = [self.start_mirror(f"mirror{at}", kind) for at, kind in enumerate([*[""] * (number - len(kinds)), *kinds])]
        lines = "".join(f"mirror = {each.url}\n" for each in mirrors)
        origin = self._daemon("origin", self.stage.folder / "tree", lines)
        for host in self.stage.network.hosts.values():
            self.stage.network.limit_link(host)
        target = self.stage.folder / "target"
        words = [*PRSYNC, "-a", "--stats", f"--mirror-timeout={self.stall_limit}"]
        source = f"rsync://{self.stage.network.hosts['origin'].address}/{MODULE}/"
        run = self.stage.pull("client", [*words, source, f"{target}/"], watch=self._watch(mirrors, kinds))
        self._check(title, run, {each.url: kind for each, kind in zip(mirrors[number - len(kinds) :], kinds, strict=True)})
        shutil.rmtree(target)
        for process in [origin, *(each.process for each in mirrors)]:
            self.stage.network.kill(process)
        for host in self.stage.network.hosts.values():
            self.stage.network.free_link(host)
        return run

    def _watch(self, mirrors: Sequence[Mirror], kinds: Sequence[str]) -> Callable[[float, Mapping[str, int]], None]:
        waiting = {kind: mirror for mirror, kind in zip(mirrors[len(mirrors) - len(kinds) :], kinds, strict=True)}

        def watch(seconds: float, sent: Mapping[str, int]) -> None:
            for kind in "dead", "stalled":
                if kind in waiting and sent[waiting[kind].name] >= FAULTY_SHARE * self.total:
                    self._strike(waiting.pop(kind), kind)

        return watch

    def _strike(self, mirror: Mirror, kind: str) -> None:
        if kind == "dead":
            self.stage.network.kill(mirror.process)
            return
        os.kill(mirror.process.pid, signal.SIGSTOP)
        for child in Path(f"/proc/{mirror.process.pid}/task/{mirror.process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGSTOP)

    def _check(self, title: str, run: Run, culprits: Mapping[str, str]) -> None:
        found = differences(self.stage.folder / "tree", self.stage.folder / "target")
        named = {}
        for line in run.output.splitlines():
            if found_in := re.fullmatch(r"Source (\S+): .*? \((\w+)(: .*)?\)", line):
                named[found_in[1].rstrip("/")] = found_in[2]
        log = (self.stage.log / "origin.log").read_text()
        problems = [f"exit status {run.status}"] * bool(run.status) + found[:3]
        problems += [
            f"{url} is called {named.get(url, 'nothing')}, not {kind}" for url, kind in culprits.items() if kind != named.get(url)
        ]
        problems += [f"{url} is called {verdict}" for url, verdict in named.items() if url not in culprits]
        problems += [f"{url} was not reported to the origin" for url in culprits if url not in log]
        self.failures += [f"{title}: {problem}" for problem in problems]
        if problems:
            print(run.output, file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each case (default: 3)")
    parser.add_argument("--rate", type=int, default=50, metavar="MBIT", help="of each server's link (default: 50)")
    parser.add_argument("--stall-limit", type=int, default=3, metavar="SECONDS", help="--mirror-timeout (default: 3)")
    parser.add_argument("--quick", action="store_true", help="a smaller tree, to try it")
    options = parser.parse_args()
    environment()
    folder = Path(tempfile.mkdtemp(prefix="prsync-faults-", dir="/dev/shm"))
    folder.chmod(0o755)
    (folder / "log").mkdir()
    try:
        with Network() as network:
            for name in ("origin", "client", *(f"mirror{number}" for number in range(8))):
                network.add_host(name, options.rate * 10 if name == "client" else options.rate)
            faults = Faults(Stage(network, folder, folder / "log"), options.rate, options.stall_limit)
            faults.make_trees(10 if options.quick else 1)
            measure(faults, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for failure in faults.failures:
        print(f"not as expected: {failure}")
    return 1 if faults.failures else 0


def measure(faults: Faults, rounds: int) -> None:
    cases: list[tuple[str, tuple[str, ...], int]] = [(kind, (kind,), 4) for kind in KINDS]
    ratios: dict[str, list[float]] = {}
    for _ in range(rounds):
        base = {4: faults.pull("undisturbed", (), 4).seconds, 8: faults.pull("undisturbed", (), 8).seconds}
        print(f"undisturbed: {base[4]:.2f} s with four mirrors, {base[8]:.2f} s with eight", flush=True)
        for title, kinds, number in [*cases, ("all of eight", KINDS, 8)]:
            seconds = faults.pull(title, kinds, number).seconds
            ratios.setdefault(title, []).append(seconds / base[number])
            print(f"  {title}: {seconds:.2f} s, {seconds / base[number]:.2f}", flush=True)
    for title, found in ratios.items():
        print(f"{title}: median {statistics.median(found):.2f}, most {max(found):.2f} of the undisturbed run")


if __name__ == "__main__":
    sys.exit(main())
