"""A worker: the daemon's child for one connection, from the greeting to the module (clientserver.c:start_daemon)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from prsync.config.model import Config
from prsync.net.connection import Connection
from prsync.options.daemon import DaemonOptions
from prsync.privileges import open_trusted
from prsync.session.daemon.admission.host_access import NO_ADDRESS, host_name, peer_address, remote_shell_address
from prsync.session.daemon.admission.text_phase import GREETING, Hangup, Refusal, TextStream, parse_greeting
from prsync.session.daemon.connection import Worker, linger
from prsync.session.daemon.log import DaemonLog
from prsync.session.daemon.process.module import serve_module

MOTD_LIMIT = 1 << 20
EARLY_INPUT = "#early_input="
EARLY_INPUT_LIMIT = 5120


def serve(sock: Connection, config: Config, options: DaemonOptions, log: DaemonLog) -> int:
    """Serves one connection to its end; the exit code. What goes wrong is said to the client or logged, never raised."""
    worker = Worker(sock, config, options, log, dict(options.environment), TextStream(sock))
    try:
        return _talk(worker)
    except Hangup as hangup:
        if str(hangup):
            log.line(f"{hangup} from {worker.host} ({worker.address}) -- exiting")
        return 1
    except Refusal as refusal:
        if refusal.log:
            log.line(refusal.log)
        try:
            worker.text.send(f"@ERROR: {refusal.text}\n")
        except Hangup:
            return 1
        linger(sock)
        return 1


def _talk(worker: Worker) -> int:
    config, text, log = worker.config, worker.text, worker.log
    world = config.globals
    try:
        worker.address = _address(worker)
    except OSError:  # the client was gone before it was served
        raise Hangup("") from None
    if world.flag("reverse lookup"):
        worker.host = host_name(worker.address, log.line)
    log.line(f"connect from {worker.host} ({worker.address})")
    if isinstance(worker.sock, socket.socket):
        worker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if worker.sock.family != socket.AF_UNIX:
            worker.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    text.set_deadline(worker.handshake_seconds(world))
    text.send(GREETING.encode() + _message_of_the_day(world.text("motd file", worker.environment)))
    greeting = parse_greeting(text.line())
    name = text.line()
    if name.startswith(EARLY_INPUT):
        # Only exec hooks, which are not supported yet, would see it; a client may send it all the same.
        size = name[len(EARLY_INPUT) :]
        if not (size.isascii() and size.isdigit() and 0 < int(size) <= EARLY_INPUT_LIMIT):
            raise Refusal("invalid early_input length")
        text.exactly(int(size))
        name = text.line()
    if not name or name == "#list":
        log.line(f"module-list request from {worker.host} ({worker.address})")
        text.send(_listing(config, worker.environment))
        linger(worker.sock)
        return 0
    if name.startswith("#"):
        raise Refusal(f"Unknown command '{name}'")
    module = config.module(name)
    if module is None:
        raise Refusal(f"Unknown module '{name}'", f"unknown module '{name}' tried from {worker.host} ({worker.address})")
    return serve_module(worker, module, greeting)


def _address(worker: Worker) -> str:
    if not isinstance(worker.sock, socket.socket):
        return remote_shell_address(worker.options.environment)
    return peer_address(worker.sock.getpeername()) if worker.sock.family != socket.AF_UNIX else NO_ADDRESS


def _message_of_the_day(path: str) -> bytes:
    """The file's text and an empty line; only the empty line where it cannot be read, as with rsync."""
    if not path:
        return b""
    try:
        with os.fdopen(open_trusted(path, os.O_RDONLY), "rb") as file:
            return file.read(MOTD_LIMIT) + b"\n"
    except OSError:
        return b"\n"


def _listing(config: Config, environment: Mapping[str, str]) -> str:
    shown = [m for m in config.modules if m.values.flag("list")]
    return "".join(f"{m.name:<15}\t{m.values.text('comment', environment)}\n" for m in shown) + "@RSYNCD: EXIT\n"
