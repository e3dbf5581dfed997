"""Hosts of their own on one machine: network namespaces on a bridge, each with a link of a limited rate (needs root).

The limits are the kernel's (tc, token bucket), outside all programs, and the same for whatever runs on a host.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "10.77.0."
BURST = "256kb"
QUEUE = "2mb"


def _enter(keeper: int, command: Sequence[str]) -> list[str]:
    return ["nsenter", f"--net=/proc/{keeper}/ns/net", *command]


@dataclass
class Host:
    """A machine of the demo. `rate`: of its link, in Mbit/s, in each direction."""

    name: str
    address: str
    rate: int
    keeper: int
    """The process whose network namespace it is."""
    port: str
    """The switch's end of its link."""


@dataclass
class Network:
    """All hosts, their processes and the counters of their links. Use as a context manager: nothing is left behind.

    The namespaces have no names (`ip netns` needs mounts that a container may not allow): each is that of a waiting process.
    """

    hosts: dict[str, Host] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Network:
        self.switch = self._new_namespace()
        self._in(self.switch, "ip", "link", "add", "bridge", "type", "bridge")
        self._in(self.switch, "ip", "link", "set", "bridge", "up")
        return self

    def __exit__(self, *_: object) -> None:
        ours = {os.readlink(f"/proc/{keeper}/ns/net") for keeper in (self.switch, *(h.keeper for h in self.hosts.values()))}
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for entry in Path("/proc").iterdir():  # daemons' children that left their process group
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "ns" / "net") in ours:
                    os.kill(int(entry.name), signal.SIGKILL)
        for process in self.processes:
            process.wait()

    def _new_namespace(self) -> int:
        process = self._spawn(["unshare", "--net", "sleep", "infinity"], subprocess.DEVNULL)
        limit = time.monotonic() + 10
        while os.readlink(f"/proc/{process.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError("no network namespace can be made here")
            time.sleep(0.01)
        return process.pid

    def _in(self, keeper: int, *command: str) -> None:
        done = subprocess.run(_enter(keeper, command), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")

    def add_host(self, name: str, rate: int) -> Host:
        """A host and its link, not yet limited."""
        host = Host(name, f"{PREFIX}{len(self.hosts) + 1}", rate, self._new_namespace(), f"to-{name}")
        self.hosts[name] = host
        end = ("type", "veth", "peer", "name", "eth0", "netns", str(host.keeper))
        self._in(self.switch, "ip", "link", "add", host.port, *end)
        self._in(self.switch, "ip", "link", "set", host.port, "master", "bridge", "up")
        self._in(host.keeper, "ip", "link", "set", "lo", "up")
        self._in(host.keeper, "ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        self._in(host.keeper, "ip", "link", "set", "eth0", "up")
        return host

    def limit_links(self) -> None:
        """From now on each link carries its rate in each direction and no more."""
        for host in self.hosts.values():
            self.limit_link(host)

    def limit_link(self, host: Host) -> None:
        for keeper, device in self._ends(host):
            bucket = ("tbf", "rate", f"{host.rate}mbit", "burst", BURST, "limit", QUEUE)
            self._in(keeper, "tc", "qdisc", "replace", "dev", device, "root", *bucket)

    def free_link(self, host: Host) -> None:
        """Takes the limit away."""
        for keeper, device in self._ends(host):
            self._in(keeper, "tc", "qdisc", "delete", "dev", device, "root")

    def _ends(self, host: Host) -> tuple[tuple[int, str], ...]:
        return (host.keeper, "eth0"), (self.switch, host.port)

    def on(self, host: str, command: Sequence[str]) -> list[str]:
        """The command that runs `command` on a host."""
        return _enter(self.hosts[host].keeper, command)

    def start(self, host: str, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """A process on a host, until the network is closed; its output goes to `log`."""
        with open(log, "ab") as output:
            return self._spawn(self.on(host, command), output.fileno())

    def _spawn(self, command: Sequence[str], output: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
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
        for line in Path(f"/proc/{self.switch}/net/dev").read_text().splitlines()[2:]:
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
