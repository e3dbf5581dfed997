"""Hosts of their own on one machine: network namespaces on a bridge, each with a link of a limited rate (needs root).

The limits are the kernel's (tc, token bucket), outside all programs, and the same for whatever runs on a host.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "10.77.0."
BURST = "256kb"
QUEUE = "2mb"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


@dataclass
class Host:
    """A machine of the demo. `rate`: of its link, in Mbit/s, in each direction."""

    name: str
    address: str
    rate: int
    namespace: str
    port: str
    """The bridge's end of its link."""


@dataclass
class Network:
    """All hosts, their processes and the counters of their links. Use as a context manager: nothing is left behind."""

    tag: str
    hosts: dict[str, Host] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Network:
        # Orders of a process: the switch's namespace is kept by one that does nothing but wait.
        self.switch = f"{self.tag}-switch"
        _run("ip", "netns", "add", self.switch)
        _run("ip", "-n", self.switch, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", self.switch, "link", "set", "bridge", "up")
        self.keeper = self._spawn(self.switch, ["sleep", "infinity"], subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for name in (*(host.namespace for host in self.hosts.values()), self.switch):
            found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
            for pid in found:  # daemons' children that left their process group
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def add_host(self, name: str, rate: int) -> Host:
        """A host and its link, not yet limited."""
        number = len(self.hosts) + 1
        host = Host(name, f"{PREFIX}{number}", rate, f"{self.tag}-{name}", f"to-{name}"[:15])
        self.hosts[name] = host
        _run("ip", "netns", "add", host.namespace)
        _run("ip", "-n", host.namespace, "link", "set", "lo", "up")
        _run("ip", "-n", self.switch, "link", "add", host.port, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        _run("ip", "-n", self.switch, "link", "set", host.port, "master", "bridge", "up")
        _run("ip", "-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
        _run("ip", "-n", host.namespace, "link", "set", "eth0", "up")
        return host

    def limit_links(self) -> None:
        """From now on each link carries its rate in each direction and no more."""
        for host in self.hosts.values():
            for namespace, device in (host.namespace, "eth0"), (self.switch, host.port):
                bucket = ("tbf", "rate", f"{host.rate}mbit", "burst", BURST, "limit", QUEUE)
                _run("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", *bucket)

    def start(self, host: str, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """A process on a host, until the network is closed; its output goes to `log`."""
        with open(log, "ab") as output:
            return self._spawn(self.hosts[host].namespace, command, output.fileno())

    def _spawn(self, namespace: str, command: Sequence[str], output: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """As a machine that loses power: the process and all its children."""
        family = _family(process.pid)
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def sent(self) -> Mapping[str, int]:
        """Bytes, with all headers, that each host has put on its link so far."""
        return {name: counts[0] for name, counts in self.counters().items()}

    def counters(self) -> Mapping[str, tuple[int, int]]:
        """Bytes that each host has sent and received so far, by its name."""
        ports = {host.port: name for name, host in self.hosts.items()}
        found = {}
        for line in Path(f"/proc/{self.keeper.pid}/net/dev").read_text().splitlines()[2:]:
            device, _, fields = line.partition(":")
            if device.strip() in ports:
                numbers = fields.split()
                found[ports[device.strip()]] = (int(numbers[0]), int(numbers[8]))
        return found


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(each for child in children for each in _family(int(child)))]
