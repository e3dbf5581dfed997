"""The commands: reads the arguments and the environment, prints, and sets the exit code. Nothing else does any of these."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prsync.errors import ExitCode, PrsyncError
from prsync.options.model import Exit, ForDaemon, ForServer, parse_arguments

if TYPE_CHECKING:
    from prsync.options.model import Options

STDOUT, STDERR = 1, 2
OUTPUT_BUFFER = 4096  # --outbuf=B


def main(arguments: Sequence[str] | None = None) -> int:
    """prsync: the client; with --daemon the daemon."""
    words = _words(arguments)

    def run() -> int:
        try:
            options = parse_arguments(words, os.environ, _program())
        except ForServer:
            return _run_server(words)
        except ForDaemon:
            return _run_daemon(words)
        return _run_client(options, words)

    code = _guarded(run)
    if arguments is None:
        _end_quickly()
    return code


def _end_quickly() -> None:
    """The process is about to end: the interpreter need not look for what could be collected first, which takes 5 ms."""
    import gc

    gc.disable()
    gc.freeze()


def daemon_main(arguments: Sequence[str] | None = None) -> int:
    """prsyncd: the same as prsync --daemon."""
    words = _words(arguments)
    return _guarded(lambda: _run_daemon(words))


def mirror_main(arguments: Sequence[str] | None = None) -> int:
    """prsync-mirror: pulls, serves and registers a module."""
    words = _words(arguments)
    return _guarded(lambda: _run_mirror(words))


def control_main(arguments: Sequence[str] | None = None) -> int:
    """prsyncctl: what an operator asks of a daemon's state."""
    words = _words(arguments)
    return _guarded(lambda: _run_control(words))


def _program() -> str:
    """prsync, or rsync where it stands in its place: scripts read the version of what they call."""
    return "rsync" if os.path.basename(sys.argv[0]) == "rsync" else "prsync"


def _words(arguments: Sequence[str] | None) -> list[str]:
    """Arguments as text that gives the typed bytes back when encoded as UTF-8, whatever the locale."""
    given = sys.argv[1:] if arguments is None else arguments
    return [os.fsencode(word).decode("utf-8", "surrogateescape") for word in given]


def _guarded(run: Callable[[], int]) -> int:
    """Turns what ends a run into a line and an exit code."""
    try:
        return run()
    except Exit as end:
        return _print(end.text)
    except PrsyncError as error:
        _write(STDERR, error.text.encode("utf-8", "surrogateescape") + b"\n")
        return int(error.code)
    except BrokenPipeError:
        return int(ExitCode.MESSAGE_IO)
    except KeyboardInterrupt:
        return int(ExitCode.SIGNAL)


def _print(text: str) -> int:
    try:
        _write(STDOUT, text.encode("utf-8", "surrogateescape") + b"\n")
    except OSError:
        return int(ExitCode.MESSAGE_IO)
    return 0


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _Buffered:
    """Writes as soon as `size` bytes have come together; 0: at once."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data
        if len(self._data) >= self._size:
            self.flush()

    def flush(self) -> None:
        data, self._data = self._data, bytearray()
        _write(self._descriptor, bytes(data))


def _run_daemon(words: Sequence[str]) -> int:
    from prsync.options.daemon import HELP, parse_daemon_options
    from prsync.session.daemon.process.start import run_daemon

    options = parse_daemon_options(words, os.environ)
    if options.help:
        return _print(HELP.rstrip("\n"))
    if options.version:
        from prsync.options.help import version_text

        return _print(version_text(program=_program()))
    return run_daemon(options, lambda line: _write(STDOUT, line.encode("utf-8", "surrogateescape") + b"\n"))


def _run_server(words: Sequence[str]) -> int:
    """What a remote shell is asked to start: a server, or a daemon for one connection."""
    from prsync.options.read_server_command import parse_server_command

    try:
        options = parse_server_command(words)
    except ForDaemon:
        return _run_daemon(words)
    from prsync.commands.server_environment import serving_of
    from prsync.session.server.session import run_server

    _raise_on_signals()
    return run_server(serving_of(words, options))


def _run_mirror(words: Sequence[str]) -> int:
    from prsync.commands.mirror import HELP, run

    if words in (["--help"], ["-h"]):
        return _print(HELP.rstrip("\n"))
    if words in (["--version"], ["-V"]):
        from prsync.options.help import version_text

        return _print(version_text())
    return run(words, lambda line: _write(STDERR, line.encode("utf-8", "surrogateescape") + b"\n"))


def _run_control(words: Sequence[str]) -> int:
    from prsync.commands.operator import HELP, parse_control
    from prsync.session.daemon.process.start import default_config
    from prsync.session.operator.index import warm_index

    options = parse_control(words)
    if options.help:
        return _print(HELP.rstrip("\n"))
    config = options.config or default_config()
    if options.command == "index":
        return _print(warm_index(config, options.module, os.environ))
    from prsync.session.operator.mirrors import drain_mirror, show_mirrors

    if options.command == "mirrors":
        return _print(show_mirrors(config, options.module, os.environ))
    return _print(drain_mirror(config, options.url, options.command == "drain", os.environ))


def _run_client(options: Options, words: Sequence[str]) -> int:
    from prsync.commands.client_environment import make_run
    from prsync.session.client.output import Output
    from prsync.session.client.session import run_client

    _raise_on_signals()
    lines = _Buffered(STDOUT, OUTPUT_BUFFER if options.outbuf == "B" else 0)
    output = Output(options, _charset(), lines.write, lambda data: _write(STDERR, data))
    try:
        run = make_run(options, output, (_words(sys.argv[:1])[0], *words))
        try:
            code = run_client(run)
            told = False
        except PrsyncError as error:
            # What ended the remote is in its own messages, the exit code's line among them.
            told = error.told and output.got_error
            code = error.code if error.status is None else error.status
            if not told:
                output.error(error)
        if code and not told:
            output.ended(code, "sender" if options.am_sender else "Receiver")
    finally:
        lines.flush()
    return int(code)


class Interrupted(PrsyncError):
    """SIGINT, SIGTERM or SIGHUP; the exit line says it all."""

    code = ExitCode.SIGNAL


def _raise_on_signals() -> None:
    """A signal ends the run by an exception, once: what follows is the cleaning up."""
    import signal

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(number: int, frame: object) -> None:
        for each in wanted:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted("")

    for number in wanted:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def _charset() -> str:
    """The character set of the locale that the user set; "" for none: bytes above 127 are escaped then.

    From the environment as the process got it: Python changes LC_CTYPE in its copy under the C locale (PEP 538).
    """
    environment: dict[str, str] = dict(os.environ)
    try:
        with open("/proc/self/environ", "rb") as file:
            pairs = (item.partition(b"=") for item in file.read().split(b"\0"))
            environment = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    except OSError:
        pass
    locale = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or "C"
    return locale.partition(".")[2].partition("@")[0]
