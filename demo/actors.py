"""The programs of the demo: daemons on their hosts, clients, and what a client's --stats says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo.network import Network

STOCK = "/usr/bin/rsync"
PRSYNC = (sys.executable, "-c", "import sys; from prsync.commands.main import main; sys.exit(main())")
PRSYNCD = (sys.executable, "-c", "import sys; from prsync.commands.main import daemon_main; sys.exit(daemon_main())")
PRSYNC_MIRROR = (sys.executable, "-c", "import sys; from prsync.commands.main import mirror_main; sys.exit(mirror_main())")
PRSYNCCTL = (sys.executable, "-c", "import sys; from prsync.commands.main import control_main; sys.exit(control_main())")
MODULE = "release"
START_SECONDS = 15.0
RUN_SECONDS = 90.0
TIMED_OUT = 124  # the status of a run that was ended because it took too long
SAMPLE_SECONDS = 0.05


class DemoFailed(Exception):
    """The demo cannot go on."""


@dataclass(frozen=True)
class Run:
    """A client's run: seconds, its --stats, and bytes on the hosts' links during it, with all headers."""

    seconds: float
    status: int
    output: str
    sent: Mapping[str, int]
    origin_traffic: int
    """Both directions of the origin's link."""
    together: Mapping[int, float] = field(default_factory=dict)
    """Seconds during which so many hosts, the client aside, sent at more than a twentieth of their link's rate."""

    def number(self, title: str) -> int:
        found = re.search(rf"^{re.escape(title)}: ([\d,]+)", self.output, re.MULTILINE)
        return int(found[1].replace(",", "")) if found else 0

    @property
    def sources(self) -> dict[str, tuple[int, str]]:
        """Bytes of file data and remarks of each source, by its URL's address and port."""
        found = re.findall(r"^Source \w+://([^/]+)/\S*: ([\d,]+) bytes(.*)$", self.output, re.MULTILINE)
        return {address: (int(count.replace(",", "")), rest) for address, count, rest in found}


@dataclass
class Stage:
    """A network, a folder for all files, and the environment of the programs."""

    network: Network
    folder: Path
    log: Path

    def config(self, name: str, lines: str, module: str) -> Path:
        path = self.folder / f"{name}.conf"
        state = self.folder / f"{name}-state"
        path.write_text(f"use chroot = yes\nlog file = {self.log}/{name}.log\nstate dir = {state}\n{lines}[{MODULE}]\n{module}")
        return path

    def daemon(self, host: str, name: str, command: Sequence[str], config: Path, port: int = 873) -> subprocess.Popen[bytes]:
        """Starts a daemon and waits until it answers."""
        address = self.network.hosts[host].address
        words = [*command, "--daemon", "--no-detach", f"--config={config}", f"--port={port}", f"--address={address}"]
        process = self.network.start(host, words, self.log / f"{name}.err")
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit and process.poll() is None:
            if not self.on(host, [STOCK, "--contimeout=2", f"rsync://{address}:{port}/"]).returncode:
                return process
            time.sleep(0.1)
        raise DemoFailed(f"{name} does not start: {(self.log / f'{name}.err').read_text()[-1000:]}")

    def on(self, host: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command on a host to its end."""
        words = self.network.on(host, command)
        try:
            return subprocess.run(words, capture_output=True, text=True, timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired as expired:
            output = [(each or b"").decode(errors="replace") for each in (expired.stdout, expired.stderr)]
            output[1] += f"not at its end after {RUN_SECONDS:.0f} s"
            return subprocess.CompletedProcess(words, TIMED_OUT, *output)

    def pull(self, host: str, command: Sequence[str], *, watch: Callable[[float, Mapping[str, int]], None] | None = None) -> Run:
        """Times a client. `watch` is called every 50 ms with the seconds and what the client's host received so far."""
        before = self.network.counters()
        ended = threading.Event()
        together: dict[int, float] = {}
        start = time.monotonic()
        sampler = threading.Thread(target=self._sample, args=(host, before, start, ended, together, watch))
        sampler.start()
        try:
            done = self.on(host, command)
        finally:
            seconds = time.monotonic() - start
            ended.set()
            sampler.join()
        after = self.network.counters()
        sent = {name: after[name][0] - before[name][0] for name in after}
        traffic = sum(after["origin"]) - sum(before["origin"])
        return Run(seconds, done.returncode, done.stdout + done.stderr, sent, traffic, together)

    def _sample(
        self,
        host: str,
        before: Mapping[str, tuple[int, int]],
        start: float,
        ended: threading.Event,
        together: dict[int, float],
        watch: Callable[[float, Mapping[str, int]], None] | None,
    ) -> None:
        last, last_time = before, start
        while not ended.wait(SAMPLE_SECONDS):
            now, counts = time.monotonic(), self.network.counters()
            span = now - last_time
            busy = sum(
                counts[name][0] - last[name][0] > span * each.rate * 1e6 / 8 / 20
                for name, each in self.network.hosts.items()
                if name != host
            )
            together[busy] = together.get(busy, 0.0) + span
            last, last_time = counts, now
            if watch:
                watch(now - start, {name: counts[name][0] - before[name][0] for name in counts})


def differences(left: Path, right: Path) -> list[str]:
    """By stock rsync, contents and all attributes, locally: lines for what differs."""
    done = subprocess.run(
        [STOCK, "-aHcni", "--delete", "--numeric-ids", f"{left}/", f"{right}/"], capture_output=True, text=True, check=False
    )
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def environment() -> None:
    """The programs find this checkout, whatever folder they run in."""
    root = str(Path(__file__).resolve().parent.parent)
    os.environ["PYTHONPATH"] = root
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in ("RSYNC_PROXY", "RSYNC_CONNECT_PROG", "RSYNC_PASSWORD"):
        os.environ.pop(name, None)
