"""The command line of `prsync-mirror`: its own options; all others are the pull's."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence

import attrs

from prsync.commands.client_environment import pull_from_daemon
from prsync.errors import UnsupportedError, UsageError
from prsync.options.model import Options, parse_arguments
from prsync.options.operands import Target
from prsync.protocol import limits

HELP = f"""\
Usage: prsync-mirror [OPTION]... rsync://[USER@]ORIGIN[:PORT]/MODULE DEST
Pulls the module into DEST, serves DEST as a module of the same name, and registers it at the origin.
--interval=SECONDS       pull again so long after the end of a pull (else only at SIGHUP)
--port=PORT              port to serve on (root: 873, else 8730)
--address=ADDRESS        address to serve on and to connect from
--capacity=NUMBER        connections that get data at once (default: no limit)
--lease=SECONDS          life of the lease; it is renewed at a third of it (default: {limits.LEASE_SECONDS_DEFAULT})
--state-dir=DIR          digests and settings (root: /var/lib/prsync, else ~/.local/state/prsync)
--daemon-log=FILE        log of the serving daemon (default: syslog)
--version, --help        show the version, this help
All other options are those of the pull (see prsync --help); without any: -a --delete
"""
TEXTS = ("address", "state-dir", "daemon-log")
NUMBERS = {"interval": (1, 10**9), "port": (1, 65535), "capacity": (1, 10**6), "lease": (1, limits.LEASE_SECONDS_MAX)}
PORT_OF_ROOT, PORT = 873, 8730
PULL_DEFAULT = ("-a", "--delete")


@attrs.frozen
class MirrorOptions:
    """`pull`: the arguments of the pull, source and destination included."""

    pull: tuple[str, ...]
    options: Options
    target: Target
    module: str
    folder: str
    texts: Mapping[str, str]
    numbers: Mapping[str, int]


def parse_mirror_options(arguments: Sequence[str], environment: Mapping[str, str]) -> MirrorOptions:
    """Raises UsageError and UnsupportedError."""
    texts: dict[str, str] = {}
    numbers: dict[str, int] = {}
    rest: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in (*TEXTS, *NUMBERS):
            rest.append(word)
            continue
        if not equals:
            if not words:
                raise UsageError(f"prsync-mirror: --{name}: missing argument")
            value = words.pop(0)
        if name in TEXTS:
            texts[name] = value
        else:
            numbers[name] = _number(name, value)
    return _check(rest, texts, numbers, environment)


def _number(name: str, value: str) -> int:
    least, most = NUMBERS[name]
    if not re.fullmatch("[0-9]{1,10}", value) or not least <= int(value) <= most:
        raise UsageError(f"prsync-mirror: --{name}={value}: must be a number from {least} to {most}")
    return int(value)


def _check(
    rest: list[str], texts: Mapping[str, str], numbers: Mapping[str, int], environment: Mapping[str, str]
) -> MirrorOptions:
    if not any(word.startswith("-") for word in rest):
        rest = [*PULL_DEFAULT, *rest]
    if "address" in texts:
        rest = [f"--address={texts['address']}", *rest]
    options = parse_arguments(rest, environment)
    if len(options.arguments) != 2:
        raise UsageError("prsync-mirror: one source and one destination are needed: rsync://ORIGIN/MODULE DEST")
    target = pull_from_daemon(options)
    if target.destination is None:
        raise UsageError("prsync-mirror: a destination is needed: rsync://ORIGIN/MODULE DEST")
    module, _, below = target.paths[0].partition("/")
    if below.strip("/"):
        raise UnsupportedError(f"prsync-mirror: {target.paths[0]}: mirrors of a part of a module are not supported yet")
    if not module:
        raise UsageError("prsync-mirror: the source names no module")
    refused = {"--dry-run": options.dry_run, "--list-only": options.list_only, "--relative": options.relative_paths}
    for name, given in refused.items():
        if given > 0:
            raise UsageError(f"prsync-mirror: {name} and serving what was pulled do not go together")
    if not options.recurse:
        raise UsageError("prsync-mirror: without -r or -a there would be nothing to serve")
    return MirrorOptions(tuple(rest), options, target, module, os.path.abspath(target.destination), texts, numbers)


def run(arguments: Sequence[str], say: Callable[[str], None]) -> int:
    """From the arguments to the end; the exit code. Raises PrsyncError."""
    from prsync.commands.client_environment import login_of, route_of
    from prsync.session.helpers.index_place import default_state_dir
    from prsync.session.mirror.lease import Registrar
    from prsync.session.mirror.place import MirrorPlace, Service
    from prsync.session.mirror.run import MirrorJob, run_mirror
    from prsync.sources.addresses import SourceURL

    given = parse_mirror_options(arguments, os.environ)
    target, numbers = given.target, given.numbers
    origin = SourceURL("rsync", target.host, target.port, given.module)
    port = numbers.get("port", PORT_OF_ROOT if os.geteuid() == 0 else PORT)
    capacity = numbers.get("capacity", 0)
    service = Service(
        given.module, given.folder, str(origin), port, given.texts.get("address", ""), capacity,
        os.path.abspath(given.texts["daemon-log"]) if "daemon-log" in given.texts else "",
    )  # fmt: skip
    place = MirrorPlace(given.texts.get("state-dir") or default_state_dir(os.environ), service)
    if place.end_leftover():
        say("prsync-mirror: the daemon of a mirror that was killed has been ended")
    nonce = secrets.token_bytes(limits.NONCE_BYTES)
    index = place.write(nonce)
    lease = numbers.get("lease", limits.LEASE_SECONDS_DEFAULT)
    url = f"rsync://:{port}/{given.module}"  # the host is ours: the origin knows it by the connection
    registrar = Registrar(origin, route_of(given.options), login_of(given.options, target), url, nonce, lease, capacity)
    job = MirrorJob(given.pull, numbers.get("interval", 0), place.config, index, registrar, os.environ)
    return run_mirror(job, say)
