"""Source and destination arguments: which remote, over what, which paths (options.c:check_for_hostspec, main.c:start_client)."""

from __future__ import annotations

from typing import NamedTuple

from prsync.errors import FileSelectionError, UnsupportedError, UsageError

RSYNC_PORT = 873
URL_PREFIX = "rsync://"


class Spec(NamedTuple):
    """One remote argument. host may hold "user@". port: 0 remote shell, -1 a daemon's default port."""

    host: str
    path: str
    port: int


class Target(NamedTuple):
    """What a pull from a daemon is about."""

    user: str | None
    host: str
    port: int
    paths: tuple[str, ...]  # module/path, one for each source argument
    destination: str | None  # None: list only


def _split_host(text: str, is_url: bool) -> tuple[str, str, int] | None:
    """options.c:parse_hostspec: (user and host, path, port)."""
    start = user_end = 0
    host_end: int | None = None
    port = 0
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


def host_and_path(text: str) -> Spec | None:
    """options.c:check_for_hostspec; None for a local path."""
    if text[: len(URL_PREFIX)].lower() == URL_PREFIX:
        found = _split_host(text[len(URL_PREFIX) :], True)
        if found:
            return Spec(found[0], found[1], found[2] or -1)
    found = _split_host(text, False)
    if not found:
        return None
    host, path, _ = found
    return Spec(host, path[1:], -1) if path.startswith(":") else Spec(host, path, 0)


def pull_target(arguments: tuple[str, ...], default_port: int, files_from_host: str | None) -> Target:
    """The daemon and the paths that a command line names.

    Raises UsageError where rsync does too, and UnsupportedError for local copies, pushes and remote shells.
    """
    if not arguments:
        raise UsageError("rsync: no source given (see --help)")
    first = host_and_path(arguments[0])
    if first is None:
        return _refuse_local(arguments)
    sources, destination = arguments, None
    if len(arguments) > 1 and not arguments[-1].startswith(":"):
        if host_and_path(arguments[-1]):
            raise UsageError("The source and destination cannot both be remote.")
        sources, destination = arguments[:-1], arguments[-1]
    if files_from_host and files_from_host != first.host:
        raise UsageError("--files-from hostname is not the same as the transfer hostname")
    paths = [first.path]
    for argument in sources[1:]:
        spec = host_and_path(argument)
        if spec is None:
            raise UsageError(f"Unexpected local arg: {argument} (if it is a remote file, prefix it with a colon)")
        if spec.host and spec.host != first.host:
            raise UsageError("All source args must come from the same machine.")
        if spec.port != first.port:
            what = "port number" if spec.port and first.port else "hostspec format"
            raise UsageError(f"All source args must use the same {what}.")
        paths.append(spec.path)
    if not first.port:
        raise UnsupportedError(f"prsync: {arguments[0]}: transfers over a remote shell are not supported yet; use rsync:// or ::")
    if first.path.startswith("/"):
        raise FileSelectionError("ERROR: The remote path must start with a module name not a /")
    user, at, host = first.host.rpartition("@")
    port = first.port if first.port > 0 else default_port or RSYNC_PORT
    return Target(user if at else None, host, port, tuple(paths), destination)


def _refuse_local(arguments: tuple[str, ...]) -> Target:
    """Pushes and local copies have their place here; they are not supported yet."""
    for argument in arguments[1:-1]:
        if host_and_path(argument):
            raise UsageError(f"Unexpected remote arg: {argument}")
    if len(arguments) > 1 and host_and_path(arguments[-1]):
        raise UnsupportedError(f"prsync: {arguments[-1]}: pushing to a remote is not supported yet")
    if len(arguments) == 1:
        raise UnsupportedError(f"prsync: {arguments[0]}: listing local files is not supported yet")
    raise UnsupportedError("prsync: copying between local paths is not supported yet")
