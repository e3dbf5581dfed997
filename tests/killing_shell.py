"""A stand-in for a remote shell that kills one end: killing_shell.py POINT VICTIM REPORT HOST COMMAND …

Passes on what both ends say. After POINT bytes (0: never) VICTIM ("client" or "remote") gets SIGKILL. REPORT is a file for the
number of bytes, and whether it came to that. Imports nothing of the tests or of prsync: it must start quickly.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import signal
import subprocess
import sys
from collections.abc import Callable

KILLED = 255  # the status of a remote shell whose command was killed, as OpenSSH's


class Trigger:
    """Calls `strike` when `point` units (bytes or changes) have passed; never where it is None. Counts them all."""

    def __init__(self, point: int | None, strike: Callable[[], None]) -> None:
        self.point, self.strike, self.count, self.struck = point, strike, 0, False

    def passed(self, units: int) -> None:
        self.count += units
        if self.point is not None and self.count >= self.point and not self.struck:
            self.struck = True
            self.strike()


def pass_on(source: int, sink: int, trigger: Trigger) -> bool:
    """What there is; whether more can follow."""
    with contextlib.suppress(OSError):
        data = os.read(source, 1 << 16)
        trigger.passed(len(data))
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(sink, rest) :]
        return bool(data)
    return False


def relay(point: int, victim: str, report: str, command: str) -> int:
    """The status of the command."""
    server = subprocess.Popen(["/bin/sh", "-c", f"exec {command}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    client = os.getppid()
    trigger = Trigger(point or None, lambda: os.kill(client if victim == "client" else server.pid, signal.SIGKILL))
    assert server.stdin and server.stdout
    routes = {0: server.stdin.fileno(), server.stdout.fileno(): 1}
    for each in (signal.SIGPIPE, signal.SIGUSR1):  # a stock receiver whose generator is gone kills its children, us among them
        signal.signal(each, signal.SIG_IGN)
    for end in (0, 1):
        os.set_blocking(end, True)  # rsync gives ends that do not block
    while server.stdout.fileno() in routes:
        for source in select.select(list(routes), [], [])[0]:
            if not pass_on(source, routes[source], trigger) and routes.pop(source) != 1:
                server.stdin.close()
    server.stdout.close()
    with contextlib.suppress(OSError):
        server.stdin.close()
    pathlib.Path(report).write_text(f"{trigger.count} {trigger.struck:d}")
    status = server.wait()
    return status if status >= 0 else KILLED


if __name__ == "__main__":
    _point, _victim, _report, _host, *_command = sys.argv[1:]
    sys.exit(relay(int(_point), _victim, _report, " ".join(_command)))
