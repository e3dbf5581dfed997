"""Messages on their way to the terminal, to stderr and to the log file."""

from __future__ import annotations

import os
import pathlib

import pytest

from prsync.errors import EXIT_NAMES, ExitCode
from prsync.options.model import Options
from prsync.session.client.output import CLIENT, ERROR, ERROR_XFER, INFO, LOG, WARNING, Output
from prsync.version import __version__


class Sink:
    def __init__(self, **options: int) -> None:
        self.out, self.err = bytearray(), bytearray()
        charset = str(options.pop("charset", ""))
        self.output = Output(Options(**options), charset, self.out.extend, self.err.extend)


@pytest.mark.parametrize(
    ("code", "out", "err"),
    [(INFO, b"x\n", b""), (CLIENT, b"x\n", b""), (LOG, b"", b""), (ERROR, b"", b"x\n"), (WARNING, b"", b"x\n"),
     (ERROR_XFER, b"", b"x\n")],
)  # fmt: skip
def test_code_decides_where_a_message_goes(code: int, out: bytes, err: bytes) -> None:
    sink = Sink()
    sink.output.say(code, "x\n")
    assert (bytes(sink.out), bytes(sink.err)) == (out, err)
    assert sink.output.got_transfer_error == (code == ERROR_XFER)


def test_quiet_leaves_errors_only() -> None:
    sink = Sink(quiet=1)
    sink.output.say(INFO, "x\n")
    sink.output.say(ERROR, "y\n")
    assert (bytes(sink.out), bytes(sink.err)) == (b"", b"y\n")


def test_all_messages_can_go_to_stderr() -> None:
    sink = Sink(msgs2stderr=1)
    sink.output.say(INFO, "x\n")
    assert (bytes(sink.out), bytes(sink.err)) == (b"", b"x\n")


def test_only_the_last_newline_ends_a_message() -> None:
    sink = Sink()
    sink.output.message(INFO, b"a\nb\x1b[2J\n")
    assert bytes(sink.out) == b"a\\#012b\\#033[2J\n"


def test_unfinished_progress_is_ended_before_another_message() -> None:
    sink = Sink()
    for raw in (b"\r  10%", b"\r  20%", b"name\n", b"\r 100%\n", b"more\n"):
        sink.output.message(CLIENT, raw)
    assert bytes(sink.out) == b"\r  10%\r  20%\nname\n\r 100%\nmore\n"


def test_log_file_takes_all_but_the_clients_own(tmp_path: pathlib.Path) -> None:
    sink = Sink()
    sink.output.open_log(str(tmp_path / "log"))
    for code, text in ((INFO, "one\n"), (LOG, "two\n"), (CLIENT, "three\n"), (ERROR, "f\x1bour\n")):
        sink.output.say(code, text)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.partition("] ")[2] for line in lines] == ["one", "two", "f\\#033our"]


def test_log_file_that_cannot_be_opened_is_told(tmp_path: pathlib.Path) -> None:
    sink = Sink()
    sink.output.open_log(str(tmp_path / "no" / "log"))
    assert b"failed to open log-file" in sink.err and b'Ignoring "log file" setting.' in sink.out


@pytest.mark.parametrize("code", [code for code in ExitCode if code])
def test_end_names_every_code(code: ExitCode) -> None:
    sink = Sink()
    sink.output.ended(code, "Receiver")
    kind = b"warning" if code == ExitCode.VANISHED else b"error"
    name = EXIT_NAMES[code].encode()
    assert sink.err == b"rsync %b: %b (code %d) at prsync [Receiver=%b]\n" % (kind, name, code, __version__.encode())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_log_file_is_not_reached_through_a_symlink_of_another_user(tmp_path: pathlib.Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "log").symlink_to("target")
    sink = Sink()
    sink.output.open_log(str(tmp_path / "log"))
    assert not sink.err, "our own symlinks are followed"
    os.chown(tmp_path / "log", 1234, 1234, follow_symlinks=False)
    sink.output.open_log(str(tmp_path / "log"))
    assert b"failed to open log-file" in sink.err
