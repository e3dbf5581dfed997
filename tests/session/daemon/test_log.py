"""The daemon's log: rsync's format, no line within a line, reopened after a rotation."""

import os
import pathlib
import re
import syslog

import pytest

from prsync.session.daemon.log import DaemonLog

PLACE = ("rsyncd", syslog.LOG_DAEMON)


def test_line_has_date_and_pid(tmp_path: pathlib.Path) -> None:
    DaemonLog(str(tmp_path / "log"), *PLACE).line("hello")
    text = (tmp_path / "log").read_text()
    assert re.fullmatch(rf"\d{{4}}/\d\d/\d\d \d\d:\d\d:\d\d \[{os.getpid()}\] hello\n", text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [(b"a\nb", b"a\\#012b"), (b"a\rb\x1b[1m\x7f", b"a\\#015b\\#033[1m\x7f"), (b"tab\tstays", b"tab\tstays"),
     (b"\\#012", b"\\#134#012"),
     ("caf\u00e9".encode(), "caf\u00e9".encode()), (b"\xff\x9b", b"\xff\\#233")],
)  # fmt: skip
def test_control_characters_are_escaped(tmp_path: pathlib.Path, raw: bytes, shown: bytes) -> None:
    DaemonLog(str(tmp_path / "log"), *PLACE).line(raw)
    assert (tmp_path / "log").read_bytes().split(b"] ", 1)[1] == shown + b"\n"


def test_reopened_log_is_the_new_file(tmp_path: pathlib.Path) -> None:
    log = DaemonLog(str(tmp_path / "log"), *PLACE)
    (tmp_path / "log").rename(tmp_path / "old")
    log.reopen()
    log.line("later")
    assert "later" in (tmp_path / "log").read_text() and not (tmp_path / "old").read_text()


def test_log_that_cannot_be_opened_falls_back_to_syslog(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda level, text: lines.append(text))
    log = DaemonLog(str(tmp_path / "none" / "log"), *PLACE)
    log.line("hello")
    assert len(lines) == 2 and "No such file" in lines[0] and lines[1] == "hello"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_symlink_of_another_user_is_not_followed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog, "syslog", lambda level, text: None)
    (tmp_path / "target").touch()
    (tmp_path / "log").symlink_to("target")
    DaemonLog(str(tmp_path / "log"), *PLACE).line("trusted")
    assert "trusted" in (tmp_path / "target").read_text()
    os.chown(tmp_path / "log", 1234, 1234, follow_symlinks=False)
    DaemonLog(str(tmp_path / "log"), *PLACE).line("misled")
    assert "misled" not in (tmp_path / "target").read_text()
