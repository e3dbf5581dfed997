"""The supervisor's own processes: an indexer for each module with a digest index, a tracker where mirrors register. They are
started, watched, started again.

Decisions are made here, by the clock that is given; forking is the supervisor's.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Sequence

import attrs

from prsync.config.model import Config, Module, Values
from prsync.session.daemon.log import DaemonLog

BACK_OFF_FIRST, BACK_OFF_MOST = 1.0, 60.0
STEADY_SECONDS = 60.0  # whoever ran for so long is started again at once
READY_SECONDS = 3.0  # that the start of a helper may hold up the supervisor

Fork = Callable[[Callable[[], int]], int]  # runs the function in a child, its answer being the exit code; the pid, 0: failed
Serve = Callable[[Config, Module, int, Callable[[], None]], int]  # (configuration, module, the parent's pipe, ready)


@attrs.frozen
class Kind:
    """A sort of helper: its name, which modules want one, and its life. Kinds are started in order: one can build on the last."""

    name: str
    wanted: Callable[[Values], bool]
    serve: Serve


@attrs.define
class Helper:
    """One process. `due`: when it is to be started, None while it runs."""

    kind: Kind
    module: Module
    pid: int = 0
    started: float = 0.0
    due: float | None = 0.0
    back_off: float = BACK_OFF_FIRST


class Helpers:
    def __init__(self, log: DaemonLog, fork: Fork, kinds: Sequence[Kind], now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._fork = fork
        self._kinds = kinds
        self._now = now
        self._helpers: dict[tuple[str, str], Helper] = {}  # by kind and module
        self._config: Config | None = None
        # The reading end of a pipe that is at its end once the supervisor is gone: each child lets go of the other one.
        self.alive, self._held = os.pipe2(os.O_CLOEXEC)
        self._leaving: set[int] = set()  # told to end

    @property
    def pids(self) -> set[int]:
        return {h.pid for h in self._helpers.values() if h.pid} | self._leaving

    def let_go(self) -> None:
        """In a child of the supervisor: does not hold what tells of the supervisor's end."""
        os.close(self._held)

    def apply(self, config: Config) -> None:
        """Starts what the configuration asks for, ends what it does not, and renews what it has changed."""
        wanted = {(k.name, m.name): (k, m) for k in self._kinds for m in config.modules if k.wanted(m.values)}
        state = None if self._config is None else self._config.start
        for key, helper in list(self._helpers.items()):
            if key not in wanted or wanted[key][1].values != helper.module.values or config.start != state:
                self._end(helper)
                del self._helpers[key]
        self._config = config
        for key, (kind, module) in wanted.items():
            if key not in self._helpers:
                self._helpers[key] = Helper(kind, module, due=self._now())
        self.start_due()

    def start_due(self) -> None:
        """Starts those whose time has come, and waits a moment until they are ready."""
        for kind in self._kinds:
            due = [h for h in self._helpers.values() if h.kind is kind and h.due is not None and h.due <= self._now()]
            ready = [self._start(helper) for helper in due]
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
        name = f"the {helper.kind.name} of module {helper.module.name}"
        self._log.line(f"{name} has ended: it is started again in {helper.back_off:.0f} seconds", warning=True)

    def _start(self, helper: Helper) -> int:
        """The reading end of the pipe by which it says that it is ready, or that it has failed."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        config, module = self._config, helper.module
        assert config is not None

        def run() -> int:
            os.close(read_end)
            return helper.kind.serve(config, module, self.alive, lambda: os.close(write_end))

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
