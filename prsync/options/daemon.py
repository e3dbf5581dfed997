"""The command line of `prsyncd` (= `prsync --daemon`): rsync's daemon options, and --check-config."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from prsync.errors import UnsupportedError, UsageError

HELP = """\
Usage: prsyncd [OPTION]...
--daemon                 run as a daemon (prsyncd always does)
--address=ADDRESS        bind to the specified address
--bwlimit=RATE           limit socket I/O bandwidth
--config=FILE            specify alternate rsyncd.conf file
--check-config           name every problem of the configuration, with file and line, and exit
--dparam=OVERRIDE, -M    override global daemon config parameter
--no-detach              do not detach from the parent
--port=PORT              listen on alternate port number
--log-file=FILE          override the "log file" setting
--log-file-format=FMT    override the "log format" setting
--sockopts=OPTIONS       specify custom TCP options
--verbose, -v            increase verbosity
--ipv4, -4               prefer IPv4
--ipv6, -6               prefer IPv6
--version, -V            print the version and exit
--help, -h               show this help
"""

WITH_VALUE = ("address", "bwlimit", "config", "dparam", "port", "log-file", "log-file-format", "sockopts")
WITHOUT = (
    "daemon", "server", "check-config", "detach", "no-detach", "verbose", "no-verbose", "no-v", "ipv4", "ipv6", "help", "version",
)  # fmt: skip
NOT_YET = ("protocol", "temp-dir")
SHORT = {"M": "dparam", "4": "ipv4", "6": "ipv6", "v": "verbose", "h": "help", "V": "version", "T": "temp-dir"}


@attrs.frozen
class DaemonOptions:
    """What the command line says. None: not said, so the configuration decides."""

    config: str | None = None
    address: str | None = None
    port: int | None = None
    family: int = 0  # 0 any, 4, 6
    detach: bool = True
    bwlimit: int = 0  # KiB/s, 0 none
    log_file: str | None = None
    log_format: str | None = None
    socket_options: str | None = None
    overrides: tuple[str, ...] = ()
    verbose: int = 0
    check_config: bool = False
    server: bool = False  # a remote shell has started it
    help: bool = False
    version: bool = False
    environment: Mapping[str, str] = attrs.field(factory=dict)


def parse_daemon_options(arguments: Sequence[str], environment: Mapping[str, str]) -> DaemonOptions:
    """Reads the arguments behind the program's name. Raises UsageError, or UnsupportedError for what is not built yet."""
    found: dict[str, object] = {"environment": environment}
    overrides: list[str] = []
    verbose = 0
    for name, value in _pairs(list(arguments)):
        if name == "dparam":
            if "=" not in value:
                raise UsageError(f"--dparam value is missing an '=': {value}")
            overrides.append(value)
        elif name == "verbose":
            verbose += 1
        elif name in ("no-verbose", "no-v"):
            verbose = 0
        elif name == "port":
            found["port"] = _port(value)
        elif name == "bwlimit":
            if not value.isascii() or not value.isdigit():
                raise UsageError(f"--bwlimit={value}: must be a number of KiB per second")
            found["bwlimit"] = int(value)
        elif name in ("ipv4", "ipv6"):
            found["family"] = int(name[-1])
        elif name in ("detach", "no-detach"):
            found["detach"] = name == "detach"
        elif name != "daemon":
            found[FIELDS.get(name, name.replace("-", "_"))] = value if name in WITH_VALUE else True
    return DaemonOptions(overrides=tuple(overrides), verbose=verbose, **found)  # type: ignore[arg-type]


FIELDS = {"log-file-format": "log_format", "sockopts": "socket_options"}


def _port(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 0 < int(value) < 65536:
        raise UsageError(f"--port={value}: must be a number from 1 to 65535")
    return int(value)


def _pairs(arguments: list[str]) -> list[tuple[str, str]]:
    """(long name, value) of each option, "" for those without one."""
    pairs: list[tuple[str, str]] = []
    while arguments:
        word = arguments.pop(0)
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            pairs.append((name, _value(f"--{name}", name, value if equals else None, arguments)))
        elif word.startswith("-") and len(word) > 1:
            rest = word[1:]
            while rest:
                letter, rest = rest[0], rest[1:]
                name = SHORT.get(letter, "")
                if name in WITH_VALUE and rest:
                    pairs.append((name, rest.removeprefix("=")))
                    break
                pairs.append((name, _value(f"-{letter}", name, None, arguments)))
        elif not (word == "." and ("server", "") in pairs):  # the place of the paths in a remote shell's command
            raise UsageError(f"{word}: a daemon takes no arguments, only options (in daemon mode)")
    return pairs


def _value(shown: str, name: str, value: str | None, arguments: list[str]) -> str:
    if name in NOT_YET:
        raise UnsupportedError(f"{shown}: prsyncd does not support this option yet")
    if name in WITH_VALUE:
        if value is not None:
            return value
        if not arguments:
            raise UsageError(f"{shown}: missing argument (in daemon mode)")
        return arguments.pop(0)
    if name not in WITHOUT:
        raise UsageError(f"{shown}: unknown option (in daemon mode)")
    if value is not None:
        raise UsageError(f"{shown}: option does not take an argument (in daemon mode)")
    return ""
