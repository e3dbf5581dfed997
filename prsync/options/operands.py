"""Source and destination arguments: which remote, over what, which paths (options.c:check_for_hostspec, main.c:start_client)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from prsync.errors import StartError, UsageError

if TYPE_CHECKING:
    from prsync.options.model import Options

RSYNC_PORT = 873
URL_PREFIX = "rsync://"


class Spec(NamedTuple):
    """One remote argument. host may hold "user@". port: 0 for a remote shell, else a daemon's (-1: where none is named)."""

    host: str
    path: str
    port: int


class Way(Enum):
    """How the other side is reached."""

    DAEMON = "daemon"  # over a socket
    SHELL = "shell"  # a server that a remote shell starts
    SHELL_DAEMON = "shell daemon"  # a daemon for one connection that a remote shell starts
    LOCAL = "local"
    BATCH = "batch"  # there is none: a file has what it sent


class Target(NamedTuple):
    """What is transferred, and between which two places."""

    user: str | None
    host: str  # "" for a local copy
    port: int  # SHELL_DAEMON: what the shell is to find in RSYNC_PORT, 0 where none is named
    paths: tuple[str, ...]  # the sources: module/path or path of a remote, local paths for a push or a local copy
    destination: str | None  # None: list only
    way: Way
    push: bool  # this side has the sources; true for a local copy too


def _split_host(text: str, is_url: bool) -> tuple[str, str, int | None] | None:
    """options.c:parse_hostspec: (user and host, path, port where one follows the host)."""
    start = user_end = 0
    host_end: int | None = None
    port: int | None = None
    at = 0
    while True:
        if at >= len(text):
            if not is_url:
                return None
            host_end = at if host_end is None else host_end
            break
        letter = text[at]
        if letter in ":/":
            host_end = at if host_end is None else host_end
            at += 1
            if letter == "/":
                if not is_url:
                    return None
            elif is_url:
                digits = at
                while at < len(text) and text[at] in "0123456789":
                    at += 1
                port = int(text[digits:at] or 0)
                if at < len(text):
                    if text[at] != "/":
                        return None
                    at += 1
            break
        if letter == "@":
            user_end = at + 1
            start = at + 1
        elif letter == "[":
            if at != start:
                return None
            start = at + 1
            while at < len(text) and text[at] not in "]/":
                at += 1
            host_end = at
            if text[at : at + 1] != "]" or (at + 1 < len(text) and text[at + 1] not in "/:") or host_end == start:
                return None
        at += 1
    return text[:user_end] + text[start:host_end], text[at:], port


def host_and_path(text: str, port: int = 0) -> Spec | None:
    """options.c:check_for_hostspec; None for a local path. `port`: the daemon's, where the argument names none."""
    if text[: len(URL_PREFIX)].lower() == URL_PREFIX:
        found = _split_host(text[len(URL_PREFIX) :], True)
        if found:
            named = port if found[2] is None else found[2]
            return Spec(found[0], found[1], named or -1)
    found = _split_host(text, False)
    if not found:
        return None
    host, path, _ = found
    return Spec(host, path[1:], port or -1) if path.startswith(":") else Spec(host, path, 0)


def transfer_target(options: Options) -> Target:
    """What the command line's arguments name. Raises UsageError and StartError where rsync ends for the same reason."""
    arguments = options.arguments
    if not arguments:
        raise UsageError("rsync: no source given (see --help)")
    if options.read_batch:
        return _batch_target(options)
    source = host_and_path(arguments[0], options.rsync_port)
    if source:
        target = _pull_target(options, source)
    else:
        destination = host_and_path(arguments[-1], options.rsync_port) if len(arguments) > 1 else None
        target = _push_target(options, destination) if destination else _local_target(options)
    _check_way(options, target)
    return target


def _pull_target(options: Options, first: Spec) -> Target:
    sources, destination = options.arguments, None
    if len(sources) > 1 and not sources[-1].startswith(":"):
        if host_and_path(sources[-1]):
            raise UsageError("The source and destination cannot both be remote.")
        sources, destination = sources[:-1], sources[-1]
    _check_files_from(options, first.host)
    paths = [first.path]
    port = first.port
    for argument in sources[1:]:
        spec = host_and_path(argument, port)
        if spec is None:
            raise UsageError(f"Unexpected local arg: {argument} (if it is a remote file, prefix it with a colon)")
        port = spec.port
        if spec.host and spec.host != first.host:
            raise UsageError("All source args must come from the same machine.")
        if port != first.port:
            what = "port number" if port and first.port else "hostspec format"
            raise UsageError(f"All source args must use the same {what}.")
        paths.append(spec.path)
    if not options.list_only:
        if destination is None:  # rsync would take the last remote path for a local one
            raise UsageError("No destination: all arguments are remote ones (--list-only lists them).")
        destination = _local_destination(options, destination)
    return _remote_target(options, first, tuple(paths), destination, push=False)


def _push_target(options: Options, destination: Spec) -> Target:
    _check_files_from(options, destination.host)
    sources = options.arguments[:-1]
    _check_local_sources(sources)
    return _remote_target(options, destination, sources, destination.path, push=True)


def _local_target(options: Options) -> Target:
    """One argument alone is listed."""
    sources, destination = options.arguments, None
    if len(sources) > 1:
        sources, destination = sources[:-1], _local_destination(options, sources[-1])
    if options.files_from_host is not None:
        raise UsageError("--files-from cannot be remote when the transfer is local")
    _check_local_sources(sources)
    return Target(None, "", 0, sources, destination, Way.LOCAL, True)


def _batch_target(options: Options) -> Target:
    """main.c:start_client with read_batch: the last argument is the destination."""
    destination = options.arguments[-1]
    if host_and_path(destination):
        raise UsageError("remote destination is not allowed with --read-batch")
    target = Target(None, "", 0, (), destination or ".", Way.BATCH, False)
    _check_way(options, target)
    return target


def _local_destination(options: Options, argument: str) -> str:
    """main.c:dot_dir_or_error."""
    if argument:
        return argument
    if not options.old_style_args:
        raise UsageError('Empty destination arg specified (use "." or see --old-args).')
    return "."


def _check_local_sources(sources: tuple[str, ...]) -> None:
    for argument in sources:
        if not argument:
            raise UsageError("Empty source arg specified.")
        if host_and_path(argument):
            raise UsageError(f"Unexpected remote arg: {argument}")


def _check_files_from(options: Options, host: str) -> None:
    if options.files_from_host and options.files_from_host != host:
        raise UsageError("--files-from hostname is not the same as the transfer hostname")


def _remote_target(options: Options, remote: Spec, paths: tuple[str, ...], destination: str | None, push: bool) -> Target:
    user, at, host = remote.host.rpartition("@")
    if not remote.port:
        if push:
            destination = destination or "."
        else:
            paths = tuple(path or "." for path in paths)
        return Target(user if at else None, host, 0, paths, destination, Way.SHELL, push)
    # RSYNC_RSH alone does not take a daemon's connection through a shell: only -e does.
    way, default_port = (Way.DAEMON, RSYNC_PORT) if options.shell_cmd is None else (Way.SHELL_DAEMON, 0)
    return Target(user if at else None, host, max(remote.port, 0) or default_port, paths, destination, way, push)


def _check_way(options: Options, target: Target) -> None:
    """What goes with some ways only (main.c:start_client, clientserver.c:start_socket_client)."""
    if target.way in (Way.DAEMON, Way.SHELL_DAEMON):
        module_path = target.destination if target.push else target.paths[0]
        if module_path and module_path.startswith("/"):
            raise StartError("ERROR: The remote path must start with a module name not a /")
    elif options.password_file is not None:
        raise UsageError("The --password-file option may only be used when accessing an rsync daemon.")
    if target.way is Way.DAEMON:
        return
    if options.connect_timeout:
        raise UsageError("The --contimeout option may only be used when connecting to an rsync daemon.")
    if target.host.startswith("-"):
        raise UsageError("Invalid remote host: hostnames may not start with '-'.")
