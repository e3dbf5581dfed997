"""`prsyncd`: from the command line to the listening supervisor (clientserver.c:daemon_main)."""

from __future__ import annotations

import importlib
import os
import pkgutil
import socket
import stat
import sys
from collections.abc import Callable

import prsync.engine
import prsync.options
import prsync.protocol
from prsync.config.model import DEFAULT_CONFIG, USER_CONFIG, Config, load_config
from prsync.engine.flist import prewarm_ids
from prsync.errors import ExitCode, FileError
from prsync.net.connection import PipeConnection
from prsync.options.daemon import DaemonOptions
from prsync.session.daemon.process.pid_file import PidFile
from prsync.session.daemon.process.sockets import open_listeners
from prsync.session.daemon.process.supervisor import Supervisor, log_for
from prsync.session.daemon.process.worker import serve

DEFAULT_PORT = 873
# trio is run by trackers only; the codecs are those of name lookups and of the text phase.
PRELOADED = ("encodings.idna", "encodings.latin_1", "encodings.ascii", "encodings.utf_8")

Say = Callable[[str], None]


def run_daemon(options: DaemonOptions, say: Say) -> int:
    """Runs the daemon until it is told to stop; returns the exit code. `say` prints one line for the user.

    Raises PrsyncError for what keeps it from starting: ConfigError for the configuration (its text has a line a problem),
    SocketError, FileError for the pid file.
    """
    over_shell = options.server  # a remote shell's daemon serves the one connection that it is given
    config = load_config(options.config or default_config(), options.environment, options.overrides)
    if options.check_config:
        return _check(config, say)
    config.usable()
    if over_shell or _stdin_is_socket():
        return _serve_one(config, options, over_shell)
    start = config.start
    port = options.port or start.number("port") or DEFAULT_PORT
    address = _said(options.address, start.text("address", options.environment))
    settings = _said(options.socket_options, start.text("socket options", options.environment))
    sockets, failures = open_listeners(address, port, options.family, start.number("listen backlog"), settings)
    pid_file = PidFile(start.text("pid file", options.environment))
    _preload()
    if options.detach:
        _detach(pid_file)
    else:
        pid_file.create()
    log = log_for(config, options)
    for line in [str(p) for p in config.problems] + (failures if options.verbose > 1 else []):
        log.line(line)
    try:
        return Supervisor(options, config, log, sockets, port, pid_file.remove).run()
    finally:
        pid_file.remove()


def default_config() -> str:
    return DEFAULT_CONFIG if os.geteuid() == 0 else USER_CONFIG


def _said(option: str | None, configured: str) -> str:
    return configured if option is None else option


def _check(config: Config, say: Say) -> int:
    """--check-config: every problem, a line each. Also those that a start only logs are failures here."""
    for problem in config.problems:
        say(str(problem))
    if not config.problems:
        say(f"{config.path}: no problems, {len(config.modules)} modules")
    return int(ExitCode.SYNTAX) if config.problems else 0


def _preload() -> None:
    """Loads what a worker may need after it has lost the files to load it from, and the right to read them."""
    for name in PRELOADED:
        importlib.import_module(name)
    for package in (prsync.engine, prsync.options, prsync.protocol):
        for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(found.name)
    prewarm_ids()


def _stdin_is_socket() -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(0).st_mode)
    except OSError:
        return False


def _serve_one(config: Config, options: DaemonOptions, over_shell: bool) -> int:
    """Started by inetd, with the connection as standard input, or by a remote shell, with one as input and output."""
    _preload()
    numbers = [os.dup(number) for number in ((0, 1) if over_shell else (0,))]
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(2 if over_shell else 3):  # a remote shell carries what is said on standard error
        os.dup2(null, number)
    log = log_for(config, options)
    for problem in config.problems:
        log.line(str(problem))
    if not over_shell:
        return serve(socket.socket(fileno=numbers[0]), config, options, log)
    connection = PipeConnection(*numbers)
    try:
        return serve(connection, config, options, log)
    finally:
        connection.close()


def _detach(pid_file: PidFile) -> None:
    """Leaves the terminal. The starting process ends when the child has its pid file, with an error if it has not."""
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            failure = pipe.read().decode("utf-8", "replace")
        if failure != "ok":
            os.write(2, f"prsyncd: {failure or 'the daemon ended while starting'}\n".encode())
            os._exit(ExitCode.FILE_IO)
        os._exit(0)
    os.close(read_end)
    try:
        pid_file.create()
    except FileError as error:
        os.write(write_end, error.text.encode("utf-8", "surrogateescape"))
        os._exit(ExitCode.FILE_IO)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    os.write(write_end, b"ok")
    os.close(write_end)


