from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator

import pytest
from daemon_harness import Daemon


@pytest.fixture
def start_daemon(tmp_path: pathlib.Path) -> Iterator[Callable[..., Daemon]]:
    running: list[Daemon] = []

    def start(text: str, prelude: str = "", before: Callable[[pathlib.Path], None] | None = None) -> Daemon:
        running.append(Daemon(tmp_path, text, prelude, before))
        return running[-1]

    yield start
    for daemon in running:
        daemon.stop()


@pytest.fixture
def home() -> Iterator[pathlib.Path]:
    """A folder that processes that are not root can get at: pytest's own is private."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)
