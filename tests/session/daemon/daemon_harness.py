"""A prsyncd on a port of its own, for tests against the real rsync."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from servers import free_port

SCRIPT = """
import os, sys
from prsync.errors import PrsyncError
from prsync.options.daemon import parse_daemon_options
from prsync.session.daemon.process.start import run_daemon
try:
    sys.exit(run_daemon(parse_daemon_options(sys.argv[1:], os.environ), print))
except PrsyncError as error:
    print(f"prsyncd: {error.text}", file=sys.stderr)
    sys.exit(error.code)
"""


class Daemon:
    """A running prsyncd. `log` and `conf` are its files; `url` ends with a slash."""

    def __init__(
        self, folder: pathlib.Path, text: str, prelude: str = "", before: Callable[[pathlib.Path], None] | None = None
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.conf = folder / "rsyncd.conf"
        self.log = folder / "log"
        self.pid_file = folder / "pid"
        self.write(text)
        if before:
            before(self.conf)
        command = [sys.executable, "-c", prelude + SCRIPT, f"--config={self.conf}", "--no-detach"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.url = f"rsync://127.0.0.1:{self.port}/"
        self._wait()

    def write(self, text: str) -> None:
        head = f"address = 127.0.0.1\nport = {self.port}\npid file = {self.pid_file}\nlog file = {self.log}\n"
        head += f"reverse lookup = no\nlock file = {self.folder}/lock\n"
        self.conf.write_text(head + text.replace("DIR", str(self.folder)))

    def _wait(self) -> None:
        end = time.monotonic() + 20
        while "starting, listening" not in self.log_text():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the daemon does not start: {self.process.communicate(timeout=5)}")
            time.sleep(0.02)

    def log_text(self) -> str:
        return self.log.read_text(errors="surrogateescape") if self.log.exists() else ""

    def log_lines(self) -> list[str]:
        """The log without dates and pids."""
        return [line.split("] ", 1)[1] for line in self.log_text().splitlines()]

    def wait_for_log(self, text: str) -> None:
        end = time.monotonic() + 10
        while text not in self.log_text():
            assert time.monotonic() < end, f"{text!r} is not in the log:\n{self.log_text()}"
            time.sleep(0.02)

    def rsync(self, *arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
        """Runs the real rsync; arguments that begin with :: are this daemon's URLs."""
        words = [self.url + a[2:] if a.startswith("::") else a for a in arguments]
        return subprocess.run(["rsync", *words], capture_output=True, text=True, timeout=60, **kwargs)  # type: ignore[call-overload,no-any-return]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def read_until(self, sock: socket.socket, end: bytes) -> bytes:
        received = b""
        while not received.endswith(end):
            chunk = sock.recv(1)
            assert chunk, received
            received += chunk
        return received

    def talk(self, data: bytes) -> bytes:
        """Sends bytes; returns all that comes until the daemon closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            received = b""
            try:
                while chunk := sock.recv(65536):
                    received += chunk
            except ConnectionResetError:
                pass
            return received

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def stop(self) -> tuple[int, str]:
        """(exit code, what stood on standard error)."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            errors = self.process.communicate(timeout=30)[1]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.returncode, errors
