"""Stock rsync as the daemon, prsync as the client; and the same command given to stock rsync."""

from __future__ import annotations

import os
import pathlib
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

RSYNC = shutil.which("rsync")
SOURCES = pathlib.Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class StockDaemon:
    """rsync --daemon with the modules of `text` (FOLDER stands for its folder)."""

    def __init__(self, folder: pathlib.Path, text: str) -> None:
        assert RSYNC
        self.folder, self.port = folder, free_port()
        config = folder / "stock.conf"
        head = f"use chroot = no\nport = {self.port}\naddress = 127.0.0.1\nlog file = {folder}/stock.log\n"
        if os.geteuid() == 0:
            head += "uid = 0\ngid = 0\n"
        config.write_text(head + text.replace("FOLDER", str(folder)))
        self.process = subprocess.Popen([RSYNC, "--daemon", "--no-detach", f"--config={config}"])
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except ConnectionRefusedError:
                select.select([], [], [], 0.01)
        raise AssertionError("the daemon does not answer")

    def url(self, path: str = "") -> str:
        return f"rsync://127.0.0.1:{self.port}/{path}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), "LC_ALL": "C", **more}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "prsync", *words]


def prsync(*words: str, cwd: pathlib.Path | None = None, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    """Runs prsync in its own process, in a folder that is not the sources' unless another is given."""
    return subprocess.run(
        command(*words), input=stdin, capture_output=True, check=False, timeout=60, cwd=cwd or "/", env=environment(**more)
    )


def rsync(*words: str, cwd: pathlib.Path | None = None, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    assert RSYNC
    return subprocess.run(
        [RSYNC, *words], input=stdin, capture_output=True, check=False, timeout=60, cwd=cwd or "/", env=environment(**more)
    )


def stable(output: bytes) -> list[bytes]:
    """Lines of output without what differs from run to run: rates, times, bytes on the wire."""

    def keep() -> Iterator[bytes]:
        for line in output.splitlines():
            if not line.startswith((b"sent ", b"Total bytes", b"File list", b"total size")):
                yield line

    return list(keep())
