"""The command line of `prsyncctl`."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from prsync.errors import UsageError

HELP = """\
Usage: prsyncctl COMMAND [--config=FILE]
index MODULE             hash what the module's digest index does not know yet
mirrors MODULE           show the mirrors that are registered, what clients got from them, and their last report
drain URL                nominate this mirror no more; its lease stays
undrain URL              nominate it again
--config=FILE            specify alternate rsyncd.conf file
--help, -h               show this help
"""


COMMANDS = ("index", "mirrors", "drain", "undrain")


@attrs.frozen
class ControlOptions:
    module: str = ""
    config: str | None = None
    help: bool = False
    command: str = "index"
    url: str = ""


def parse_control(arguments: Sequence[str]) -> ControlOptions:
    """Reads the arguments behind the program's name. Raises UsageError."""
    words: list[str] = []
    config: str | None = None
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in ("--help", "-h"):
            return ControlOptions(help=True)
        if name == "--config":
            if not equals and not rest:
                raise UsageError("prsyncctl: --config: missing argument")
            config = value if equals else rest.pop(0)
        elif word.startswith("-"):
            raise UsageError(f"prsyncctl: {word}: unknown option")
        else:
            words.append(word)
    if len(words) != 2 or words[0] not in COMMANDS:
        raise UsageError("prsyncctl: what is to be done? index MODULE, mirrors MODULE, drain URL, undrain URL (see --help)")
    command, what = words
    if command.endswith("drain"):
        return ControlOptions("", config, command=command, url=what)
    return ControlOptions(what, config, command=command)
