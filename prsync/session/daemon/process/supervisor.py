"""The daemon's parent: listens, forks a worker on accept, rereads the configuration, ends in order.

Plain blocking Python: no threads, and trio is imported but never run here, so that a fork is safe at any time.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable

import attrs

from prsync.config.model import Config, Module, load_config
from prsync.engine.confinement import end_with_parent, end_with_pipe
from prsync.options.daemon import DaemonOptions
from prsync.session.daemon.log import DaemonLog
from prsync.session.daemon.process.worker import serve
from prsync.session.helpers.index_place import keeps_digests, registers
from prsync.session.helpers.indexer_process import serve_index
from prsync.session.helpers.processes import Helpers, Kind
from prsync.version import __version__

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
OVERLOAD_PAUSE = 2.0  # seconds after a fork that failed, as rsyncd waits


def log_for(config: Config, options: DaemonOptions) -> DaemonLog:
    """The supervisor's log, which is that of every worker until a module has its own."""
    values = config.start
    path = options.log_file if options.log_file is not None else values.text("log file", options.environment)
    return DaemonLog(path, values.text("syslog tag", options.environment), values.number("syslog facility"))


@attrs.define
class Supervisor:
    options: DaemonOptions
    config: Config
    log: DaemonLog
    sockets: list[socket.socket]
    port: int
    before_waiting: Callable[[], None]  # called when no more connections are taken, before running transfers have ended
    workers: set[int] = attrs.field(factory=set)
    pending: list[int] = attrs.field(factory=list)  # signals that came and are not acted upon yet
    stopping: bool = False
    helpers: Helpers = attrs.field(init=False)
    pipe: tuple[int, ...] = ()  # by which a signal wakes the loop

    def __attrs_post_init__(self) -> None:
        self.helpers = Helpers(
            self.log,
            self._fork,
            (Kind("indexer", keeps_digests, self._index), Kind("tracker", registers, self._track)),
        )

    def run(self) -> int:
        """Serves until SIGTERM or SIGINT. Returns the exit code."""
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in SIGNALS:
            signal.signal(number, lambda caught, frame: self.pending.append(caught))
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self.log.line(f"prsyncd version {__version__} starting, listening on port {self.port}")
        poller = select.poll()
        poller.register(wake_read, select.POLLIN)
        for sock in self.sockets:
            poller.register(sock, select.POLLIN)
        self.pipe = (wake_read, wake_write)
        gc.collect()
        gc.freeze()
        self.helpers.apply(self.config)
        while self.sockets or self.workers:
            left = self.helpers.seconds_left()
            ready = [number for number, _ in poller.poll(None if left is None else left * 1000 + 1)]
            if wake_read in ready:
                _drain(wake_read)
            self._handle_signals(poller)
            for sock in [s for s in self.sockets if s.fileno() in ready]:
                self._accept(sock)
            if not self.stopping:
                self.helpers.start_due()
        self.helpers.stop()
        return 0

    def _handle_signals(self, poller: select.poll) -> None:
        while self.pending:
            number = self.pending.pop(0)
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self.reread()
                self.log.reopen()
            else:
                self._stop(poller, number)
        self._reap()

    def _stop(self, poller: select.poll, number: int) -> None:
        """Idle workers end at once, running transfers go on to their end; a second signal ends those too."""
        again, self.stopping = self.stopping, True
        for sock in self.sockets:
            poller.unregister(sock)
            sock.close()
        self.sockets.clear()
        if not again:
            self.log.line(f"prsyncd stops: {signal.Signals(number).name}")
            self.before_waiting()
        for pid in self.workers:
            os.kill(pid, signal.SIGTERM if again else signal.SIGUSR2)

    def _reap(self) -> None:
        while self.workers or self.helpers.pids:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.workers.clear()
                return
            if not pid:
                return
            if self.helpers.ended(pid):
                continue
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) not in (signal.SIGUSR2, signal.SIGTERM):
                self.log.line(f"prsyncd: worker {pid} was ended by signal {os.WTERMSIG(status)}", warning=True)
            self.workers.discard(pid)

    def reread(self) -> None:
        """Takes the configuration as it is now; keeps the old one when it has fatal problems, and says so."""
        fresh = load_config(self.config.path, self.options.environment, self.options.overrides)
        for problem in fresh.problems:
            self.log.line(str(problem))
        if fresh.fatal:
            self.log.line(f"the configuration {self.config.path} has errors: the old one stays in force", warning=True)
            # The stamps are taken over, so that the same errors are not reported with every connection.
            self.config = attrs.evolve(self.config, stamps=fresh.stamps)
            return
        self.config = fresh
        self.helpers.apply(fresh)

    def _accept(self, sock: socket.socket) -> None:
        try:
            connection, _ = sock.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self.log.failure("accept failed", error)
                time.sleep(OVERLOAD_PAUSE)
            return
        # rsyncd reads its configuration for each connection: whoever edits it expects that.
        if self.config.changed_on_disk():
            self.reread()
        pid = self._fork(lambda: serve(connection, self.config, self.options, self.log))
        connection.close()
        if pid:
            self.workers.add(pid)
        else:
            time.sleep(OVERLOAD_PAUSE)

    def _index(self, config: Config, module: Module, parent: int, ready: Callable[[], None]) -> int:
        return serve_index(config, module, self.options.environment, self.log, parent, ready)

    def _track(self, config: Config, module: Module, parent: int, ready: Callable[[], None]) -> int:
        # Only here: what it is made of, trio above all, would be in every worker.
        from prsync.session.helpers.tracker_process import serve_tracker

        return serve_tracker(config, module, self.options.environment, self.log, parent, ready)

    def _fork(self, work: Callable[[], int]) -> int:
        """Runs `work` in a child, which ends with its answer. The child's pid, 0 when there is none."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [*SIGNALS, signal.SIGUSR2])
        parent = os.getpid()
        try:
            pid = os.fork()
            if not pid:
                self._work(work, parent)
            return pid
        except OSError as error:
            self.log.failure("could not create child server process", error)
            return 0
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [*SIGNALS, signal.SIGUSR2])

    def _work(self, work: Callable[[], int], parent: int) -> None:
        """In the child, which never returns from here."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*SIGNALS, signal.SIGUSR2):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            self.helpers.let_go()
            # A supervisor that is killed tells nobody: its children are told by the kernel, and clear up as when it stops them.
            if not end_with_parent(parent, signal.SIGTERM):
                end_with_pipe(self.helpers.alive, signal.SIGTERM)
            for sock in self.sockets:
                sock.close()
            for end in self.pipe:
                os.close(end)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [*SIGNALS, signal.SIGUSR2])
            code = work()
        except BaseException as error:  # noqa: BLE001 - a worker's failure is one line in the log, whatever it was
            self.log.line(f"prsyncd: a worker failed: {type(error).__name__}: {error}", warning=True)
        finally:
            os._exit(code)


def _drain(number: int) -> None:
    try:
        while os.read(number, 4096):
            pass
    except BlockingIOError:
        return
