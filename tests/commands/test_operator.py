"""The command line of prsyncctl."""

import pytest

from prsync.commands.main import control_main
from prsync.commands.operator import ControlOptions, parse_control
from prsync.errors import UsageError


@pytest.mark.parametrize(
    "words, options",
    [
        (["index", "m"], ControlOptions("m")),
        (["--config=f", "index", "m"], ControlOptions("m", "f")),
        (["index", "m", "--config", "f"], ControlOptions("m", "f")),
        (["mirrors", "m"], ControlOptions("m", command="mirrors")),
        (["drain", "rsync://h/m"], ControlOptions(command="drain", url="rsync://h/m")),
        (["undrain", "rsync://h/m"], ControlOptions(command="undrain", url="rsync://h/m")),
        (["-h"], ControlOptions(help=True)),
    ],
)
def test_words_are_understood(words: list[str], options: ControlOptions) -> None:
    assert parse_control(words) == options


@pytest.mark.parametrize(
    "words",
    [
        [], ["index"], ["show", "m"], ["mirrors"], ["drain"], ["index", "m", "n"], ["--config"], ["-x", "index", "m"],
    ],
)  # fmt: skip
def test_words_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_control(words)


def test_missing_configuration_is_one_line_and_exit_code_1(capfd: pytest.CaptureFixture[str]) -> None:
    assert control_main(["index", "m", "--config=/nonexistent/conf"]) == 1
    assert capfd.readouterr().err.count("\n") == 1
