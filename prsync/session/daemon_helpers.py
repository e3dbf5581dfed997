"""The supervisor's own processes, one for each module that has a digest index: started, watched, started again.

Decisions are made here, by the clock that is given; forking is the supervisor's.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable

import attrs

from prsync.config import Config, Module
from prsync.session.daemon_log import DaemonLog
from prsync.session.index_place import keeps_digests

BACK_OFF_FIRST, BACK_OFF_MOST = 1.0, 60.0
STEADY_SECONDS = 60.0  # whoever ran for so long is started again at once
READY_SECONDS = 3.0  # that the start of a helper may hold up the supervisor

Fork = Callable[[Callable[[], int]], int]  # runs the function in a child, its answer being the exit code; the pid, 0: failed
Serve = Callable[[Config, Module, int, Callable[[], None]], int]  # (configuration, module, the parent's pipe, ready)


@attrs.define
class Helper:
    """A module's indexer. `due`: when it is to be started, None while it runs."""

    module: Module
    pid: int = 0
    started: float = 0.0
    due: float | None = 0.0
    back_off: float = BACK_OFF_FIRST


class Helpers:
    def __init__(self, log: DaemonLog, fork: Fork, serve: Serve, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._fork = fork
        self._serve = serve
        self._now = now
        self._helpers: dict[str, Helper] = {}
        self._config: Config | None = None
        # Its reading end is at its end once the supervisor is gone, and the workers that it has left.
        self._alive, self._held = os.pipe2(os.O_CLOEXEC)
        self._leaving: set[int] = set()  # told to end

    @property
    def pids(self) -> set[int]:
        return {h.pid for h in self._helpers.values() if h.pid} | self._leaving

    def apply(self, config: Config) -> None:
        """Starts what the configuration asks for, ends what it does not, and renews what it has changed."""
        wanted = {module.name: module for module in config.modules if keeps_digests(module.values)}
        state = None if self._config is None else self._config.start
        for name, helper in list(self._helpers.items()):
            if name not in wanted or wanted[name].values != helper.module.values or config.start != state:
                self._end(helper)
                del self._helpers[name]
        self._config = config
        for name, module in wanted.items():
            if name not in self._helpers:
                self._helpers[name] = Helper(module, due=self._now())
        self.start_due()

    def start_due(self) -> None:
        """Starts those whose time has come, and waits a moment until they are ready."""
        ready: list[int] = []
        for helper in self._helpers.values():
            if helper.due is not None and helper.due <= self._now():
                ready.append(self._start(helper))
        end = time.monotonic() + READY_SECONDS
        for number in ready:
            select.select([number], [], [], max(0.0, end - time.monotonic()))
            os.close(number)

    def seconds_left(self) -> float | None:
        """Until the next start; None: none is due."""
        due = [h.due for h in self._helpers.values() if h.due is not None]
        return max(0.0, min(due) - self._now()) if due else None

    def ended(self, pid: int) -> bool:
        """A child of the supervisor has ended. False: it was none of these."""
        if pid in self._leaving:
            self._leaving.discard(pid)
            return True
        for helper in self._helpers.values():
            if helper.pid == pid:
                self._plan_restart(helper)
                return True
        return False

    def stop(self) -> None:
        for helper in self._helpers.values():
            self._end(helper)
        self._helpers.clear()

    def _plan_restart(self, helper: Helper) -> None:
        now = self._now()
        helper.back_off = BACK_OFF_FIRST if now - helper.started >= STEADY_SECONDS else min(2 * helper.back_off, BACK_OFF_MOST)
        helper.pid, helper.due = 0, now + helper.back_off
        text = f"the indexer of module {helper.module.name} has ended: it is started again in {helper.back_off:.0f} seconds"
        self._log.line(text, warning=True)

    def _start(self, helper: Helper) -> int:
        """The reading end of the pipe by which it says that it is ready, or that it has failed."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        config, module = self._config, helper.module
        assert config is not None

        def run() -> int:
            os.close(read_end)
            os.close(self._held)
            return self._serve(config, module, self._alive, lambda: os.close(write_end))

        helper.pid = self._fork(run)
        helper.started, helper.due = self._now(), None
        os.close(write_end)
        if not helper.pid:
            helper.due = self._now() + helper.back_off
        return read_end

    def _end(self, helper: Helper) -> None:
        if helper.pid:
            os.kill(helper.pid, signal.SIGTERM)
            self._leaving.add(helper.pid)
        helper.pid, helper.due = 0, None
