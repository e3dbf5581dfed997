"""The command's names, and what it does with --server."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from prsync.commands.main import main
from prsync.errors import ExitCode
from prsync.options.help import capabilities
from prsync.options.table import ROWS, YES
from prsync.version import __version__

RSYNC = shutil.which("rsync")


@pytest.fixture
def as_rsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/bin/rsync"])


def said(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    assert main(words) == ExitCode.OK
    return capfd.readouterr().out


def test_prsync_says_its_own_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert said(["-V"], capfd).startswith(f"prsync  version {__version__}  protocol version 32 ")
    assert json.loads(said(["-VV"], capfd))["program"] == "prsync"
    assert "\nUsage: prsync [OPTION]..." in said(["--help"], capfd)


@pytest.mark.skipif(RSYNC is None, reason="needs the real rsync")
def test_called_rsync_the_version_has_the_shape_of_this_rsyncs(as_rsync: None, capfd: pytest.CaptureFixture[str]) -> None:
    assert RSYNC
    ours = said(["--version"], capfd)
    theirs = subprocess.run([RSYNC, "--version"], capture_output=True, text=True, check=True).stdout
    pattern = r"\Arsync  version (\d+\.\d+\.\d+)  protocol version (\d+)\nCopyright \(C\) .*\nWeb site: https://"
    for text in (ours, theirs):
        assert re.match(pattern, text)
    assert ours.splitlines()[0] == theirs.splitlines()[0] and f"prsync {__version__}" in ours
    heading = re.compile(r"^(\w.*):\n", re.M)
    assert heading.findall(ours) == heading.findall(theirs)

    def words(text: str) -> list[str]:
        listed = text[text.index("Capabilities:\n") + 14 :].partition("\nOptimizations")[0]
        return [word.removeprefix("no ") for word in re.sub(r"\n *", " ", listed).strip().split(", ")]

    assert words(ours) == words(theirs)


@pytest.mark.skipif(RSYNC is None, reason="needs the real rsync")
def test_called_rsync_the_json_has_the_keys_of_this_rsyncs(as_rsync: None, capfd: pytest.CaptureFixture[str]) -> None:
    assert RSYNC
    ours = json.loads(said(["-VV"], capfd))
    theirs = json.loads(subprocess.run([RSYNC, "-VV"], capture_output=True, check=True).stdout)
    assert set(theirs) <= set(ours) and set(theirs["capabilities"]) == set(ours["capabilities"])
    assert all(ours[key] == theirs[key] for key in ("program", "version", "protocol", "license"))


def test_capability_is_said_to_be_there_where_its_option_is() -> None:
    supported = {row.long for row in ROWS if row.support == YES}
    assert capabilities()["inplace"] and capabilities()["xattrs"] is ("xattrs" in supported)


def test_called_rsync_the_help_names_only_what_is_there(as_rsync: None, capfd: pytest.CaptureFixture[str]) -> None:
    text = said(["--help"], capfd)
    assert text.startswith("rsync  version 3.5.0  protocol version 32\n") and "Usage: rsync [OPTION]..." in text
    shown = set(re.findall(r"--([a-z0-9-]+)", text[text.index("Options:") :]))
    assert {"archive", "delete", "info"} <= shown
    assert not shown & {row.long for row in ROWS if row.support != YES}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--server", "-e.LsfxCIvu"], ExitCode.SYNTAX, "rsync: --server needs a directory"),
        (["--server", "--bogus", ".", "x"], ExitCode.SYNTAX, "rsync: on remote machine: --bogus: unknown option"),
        (["--sender", "x"], ExitCode.SYNTAX, "rsync: --sender is for the remote side only"),
    ],
)
def test_server_is_refused_in_one_line(words: list[str], code: int, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code
    told = capfd.readouterr()
    assert told.err.startswith(text) and told.err.count("\n") == 1 and told.out == ""


def test_link_named_rsync_answers_as_rsync(tmp_path: pathlib.Path) -> None:
    program = pathlib.Path(sys.executable).with_name("prsync")
    if not program.exists():
        pytest.skip("prsync is not installed beside the interpreter")
    (tmp_path / "rsync").symlink_to(program)
    ran = subprocess.run([tmp_path / "rsync", "-V"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("rsync  version 3.5.0  protocol version 32\n")
