"""The supervisor's indexers: which ones run, and when one is started again. Forks and clock are the test's."""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Callable

import pytest

from prsync.config.model import Config, load_config
from prsync.session.helpers.index_place import keeps_digests
from prsync.session.helpers.processes import Helpers, Kind


class World:
    """Counts what is forked and killed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: pathlib.Path) -> None:
        self.time = 100.0
        self.next_pid = 1000
        self.killed: list[int] = []
        self.lines: list[str] = []
        self.fails = False
        self.conf = folder / "conf"
        monkeypatch.setattr(os, "kill", lambda pid, number: self.killed.append(pid) if number == signal.SIGTERM else None)
        kinds = [Kind("indexer", keeps_digests, lambda *args: 0)]
        self.helpers = Helpers(self, self.fork, kinds, lambda: self.time)  # type: ignore[arg-type]

    def line(self, text: str, warning: bool = False) -> None:
        self.lines.append(text)

    def fork(self, work: Callable[[], int]) -> int:
        if self.fails:
            return 0
        self.next_pid += 1
        return self.next_pid

    def config(self, text: str) -> Config:
        self.conf.write_text(text)
        return load_config(str(self.conf), {})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> World:
    return World(monkeypatch, tmp_path)


ONE = "[a]\npath=/a\ndigest index=yes\n"
TWO = ONE + "[b]\npath=/b\nmirror=rsync://host/b\n"


@pytest.mark.parametrize(
    "text, count",
    [
        ("[a]\npath=/a\n", 0),
        (ONE, 1),
        (TWO, 2),
        (TWO + "nominate=off\n", 1),
        (TWO + "digest index=no\n", 1),
        ("[a]\npath=/a\nnominate=registered\n", 1),
    ],
)
def test_modules_that_keep_digests_have_an_indexer(world: World, text: str, count: int) -> None:
    world.helpers.apply(world.config(text))
    assert len(world.helpers.pids) == count


def test_reread_ends_renews_and_keeps(world: World) -> None:
    world.helpers.apply(world.config(TWO))
    assert world.helpers.pids == {1001, 1002}
    world.helpers.apply(world.config(TWO.replace("path=/b", "path=/c")))
    assert world.killed == [1002] and 1003 in world.helpers.pids and 1001 in world.helpers.pids
    assert world.helpers.ended(1002) and world.helpers.pids == {1001, 1003}
    world.helpers.apply(world.config(ONE))
    assert world.killed == [1002, 1003]
    world.helpers.apply(world.config("state dir=/elsewhere\n" + ONE))
    assert world.killed[-1] == 1001
    world.helpers.stop()
    assert not world.helpers.ended(77)


def test_indexer_that_ends_is_started_again_ever_later(world: World) -> None:
    world.helpers.apply(world.config(ONE))
    waits = []
    for _ in range(8):
        assert world.helpers.ended(next(iter(world.helpers.pids)))
        left = world.helpers.seconds_left()
        assert left is not None
        waits.append(left)
        world.helpers.start_due()
        assert not world.helpers.pids
        world.time += left
        world.helpers.start_due()
        assert world.helpers.seconds_left() is None
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    world.time += 61
    world.helpers.ended(next(iter(world.helpers.pids)))
    assert world.helpers.seconds_left() == 1


def test_fork_that_fails_is_tried_again(world: World) -> None:
    world.fails = True
    world.helpers.apply(world.config(ONE))
    assert world.helpers.seconds_left() == 1
    world.fails = False
    world.time += 1
    world.helpers.start_due()
    assert world.helpers.pids == {1001}
