"""Ports, and the real rsync as a daemon: what tests of every package need."""

from __future__ import annotations

import os
import pathlib
import select
import shutil
import socket
import subprocess

RSYNC = shutil.which("rsync") or ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_answer(process: subprocess.Popen[bytes], port: int) -> None:
    """Until the daemon takes connections."""
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None, "the daemon ended"
            select.select([], [], [], 0.01)
    raise AssertionError("the daemon does not answer")


class StockDaemon:
    """rsync --daemon in the foreground with the modules of `text`, in which FOLDER stands for `folder`, where its files are."""

    def __init__(self, folder: pathlib.Path, text: str) -> None:
        assert RSYNC
        self.folder, self.port = folder, free_port()
        config = folder / "stock.conf"
        head = f"use chroot = no\nport = {self.port}\naddress = 127.0.0.1\nlog file = {folder}/stock.log\n"
        if os.geteuid() == 0:
            head += "uid = 0\ngid = 0\n"
        config.write_text(head + text.replace("FOLDER", str(folder)))
        self.process = subprocess.Popen([RSYNC, "--daemon", "--no-detach", f"--config={config}"], stdin=subprocess.DEVNULL)
        await_answer(self.process, self.port)

    def url(self, path: str = "") -> str:
        return f"rsync://127.0.0.1:{self.port}/{path}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
