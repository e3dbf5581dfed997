"""What a client's session takes from the environment: login, route, proxy, lists of names."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time

from prsync.errors import ExitCode, PrsyncError, UnsupportedError
from prsync.net.connect import DEFAULT_SHELL, Route
from prsync.net.handshake import Login
from prsync.net.proxy import parse_proxy
from prsync.options.model import Options, as_bytes
from prsync.options.operands import Target, Way, transfer_target
from prsync.privileges import read_umask
from prsync.protocol.filter_syntax import CvsSources
from prsync.session.client.output import Output
from prsync.session.client.run import Run

PASSWORD_BYTES = 511


def make_run(options: Options, output: Output, words: tuple[str, ...] = ()) -> Run:
    """`words`: the command as it was given. Raises UsageError and UnsupportedError before anything is connected."""
    environment = os.environ
    target = transfer_target(options)
    if options.logfile_name:
        output.open_log(options.logfile_name)
    return Run(
        options=options,
        target=target,
        route=route_of(options),
        login=login_of(options, target),
        output=output,
        checksum_list=environment.get("RSYNC_CHECKSUM_LIST", ""),
        compress_list=environment.get("RSYNC_COMPRESS_LIST", ""),
        umask=read_umask(),
        directory=os.getcwdb(),
        started=time.monotonic(),
        words=words,
        cvs_sources=cvs_sources,
    )


def pull_from_daemon(options: Options) -> Target:
    """What a mirror pulls. Raises UnsupportedError for transfers of other kinds."""
    target = transfer_target(options)
    if target.way is not Way.DAEMON or target.push:
        raise UnsupportedError("prsync-mirror: a mirror pulls from a daemon: name rsync://HOST/MODULE and a directory")
    return target


def cvs_sources() -> CvsSources:
    """exclude.c:get_cvs_excludes: ~/.cvsignore and CVSIGNORE."""
    text = None
    if home := os.environ.get("HOME"):
        with contextlib.suppress(OSError), open(os.path.join(home, ".cvsignore"), "rb") as file:
            text = file.read()
    variable = os.environ.get("CVSIGNORE")
    return CvsSources(text, None if variable is None else os.fsencode(variable))


def route_of(options: Options) -> Route:
    proxy = os.environ.get("RSYNC_PROXY")
    return Route(
        family=options.address_family,
        bind_address=options.bind_address,
        timeout=max(options.connect_timeout, 0),
        proxy=parse_proxy(proxy) if proxy else None,
        program=os.environ.get("RSYNC_CONNECT_PROG"),
        environment=os.environ,
        shell=os.environ.get("RSYNC_RSH", DEFAULT_SHELL) if options.shell_cmd is None else options.shell_cmd,
    )


def login_of(options: Options, target: Target) -> Login:
    user = target.user or os.environ.get("USER") or os.environ.get("LOGNAME") or "nobody"

    def password() -> bytes:
        """authenticate.c:auth_client: --password-file, RSYNC_PASSWORD, or the terminal."""
        if options.password_file is not None:
            return read_password(options.password_file)
        given = os.environ.get("RSYNC_PASSWORD")
        if given is not None:
            return os.fsencode(given)
        import getpass
        import warnings

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", getpass.GetPassWarning)
                return os.fsencode(getpass.getpass("Password: "))
        except (EOFError, getpass.GetPassWarning):
            raise PrsyncError(
                f"prsync: {target.host} wants a password for {user}: set RSYNC_PASSWORD or use --password-file",
                ExitCode.START_CLIENT,
            ) from None

    return Login(as_bytes(user), password)


def read_password(name: str) -> bytes:
    """authenticate.c:getpassf: the first line; "-" is standard input. Raises PrsyncError (exit 1)."""
    if name == "-":
        raw = sys.stdin.buffer.readline(PASSWORD_BYTES)
    else:
        try:
            raw = _read_private(name)
        except OSError as error:
            raise PrsyncError(
                f"rsync: could not open password file {name}: {error.strerror} ({error.errno})", ExitCode.SYNTAX
            ) from None
    line = next((line for line in raw.replace(b"\r", b"\n").split(b"\n") if line), None)
    if line is None:
        raise PrsyncError(f"ERROR: failed to read a password from {name}", ExitCode.SYNTAX)
    return line


def _read_private(name: str) -> bytes:
    from prsync.privileges import open_trusted

    descriptor = open_trusted(name, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise PrsyncError("ERROR: password file must not be other-accessible", ExitCode.SYNTAX)
        if os.geteuid() == 0 and status.st_uid != 0:
            raise PrsyncError("ERROR: password file must be owned by root when running as root", ExitCode.SYNTAX)
        return file.read(PASSWORD_BYTES)
