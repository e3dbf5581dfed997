"""What a mirror keeps in its state folder: the daemon's generated configuration, the nonce, and a lock against a second one."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import time
from urllib.parse import quote

import attrs

from prsync.config.model import load_config
from prsync.errors import ConfigError, FileError
from prsync.session.helpers.index_place import IndexPlace, index_place, nonce_file

LEFTOVER_SECONDS, LOOK_SECONDS = 10.0, 0.05
NAME_LIMIT = 100  # characters of the module's name that the folder's name shows


@attrs.frozen
class Service:
    """How the mirror serves. address "": all. capacity: connections at once that send data, 0 no limit. log "": syslog."""

    module: str
    folder: str  # the destination, absolute
    origin: str
    port: int
    address: str = ""
    capacity: int = 0
    log: str = ""


class MirrorPlace:
    """The state folder of one mirror, locked as long as this object lives. Raises FileError."""

    def __init__(self, parent: str, service: Service) -> None:
        mark = hashlib.sha256(os.fsencode(service.folder)).hexdigest()[:12]
        shown = quote(service.module, safe=" ", errors="surrogateescape")[:NAME_LIMIT]
        self.folder = os.path.join(os.path.abspath(parent), "mirror", f"{shown}-{mark}")
        self.config = os.path.join(self.folder, "rsyncd.conf")
        self.pid_file = os.path.join(self.folder, "pid")
        self._service = service
        try:
            os.makedirs(self.folder, 0o755, exist_ok=True)
            self._lock = os.open(os.path.join(self.folder, "running"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileError(f"another prsync-mirror serves {service.folder} already") from None
        except OSError as error:
            raise FileError(f"cannot use the state folder {self.folder}: {error.strerror}") from error

    def write(self, nonce: bytes) -> IndexPlace:
        """Writes the configuration and the nonce. Raises ConfigError for names that a configuration cannot hold."""
        service = self._service
        self._replace(self.config, configuration(service, self.folder).encode("utf-8", "surrogateescape"))
        config = load_config(self.config, {})
        module = config.module(service.module)
        if config.problems or module is None or module.values.text("path") != service.folder:
            why = str(config.problems[0]) if config.problems else "such a name cannot stand in an rsyncd.conf"
            raise ConfigError(f"module {service.module!r} cannot be served from {service.folder!r}: {why}")
        place = index_place(config, module, {})
        try:
            os.makedirs(place.parent, 0o755, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot use the state folder {place.parent}: {error.strerror}") from error
        self._replace(nonce_file(place), nonce)
        return place

    def end_leftover(self, seconds: float = LEFTOVER_SECONDS) -> bool:
        """Ends the daemon of a prsync-mirror that was killed, and waits until it listens no more. False: there is none."""
        found = _holder(self.pid_file)
        if not found:
            return False
        deadline = time.monotonic() + seconds
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(found, signal.SIGTERM)
        while _holder(self.pid_file) == found:
            if time.monotonic() > deadline:
                raise FileError(f"process {found}, the daemon of a mirror that was killed, does not end: end it by hand")
            time.sleep(LOOK_SECONDS)
        return True

    def _replace(self, path: str, data: bytes) -> None:
        try:
            fresh = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fresh, "wb") as file:
                file.write(data)
            os.rename(path + ".new", path)
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror}") from error


def _holder(pid_file: str) -> int:
    """The process that holds the pid file locked; 0: none."""
    try:
        with open(pid_file, "r+b") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read(32) or 0)
    except (OSError, ValueError):
        return 0
    return 0


def configuration(service: Service, folder: str) -> str:
    """The daemon's rsyncd.conf: one module, read only, with peer connections and without nominations of its own."""
    world = {
        "port": service.port,
        "address": service.address,
        "log file": service.log,
        "pid file": os.path.join(folder, "pid"),
        "lock file": os.path.join(folder, "slots"),
        "state dir": folder,
        "reverse lookup": "no",
    }
    module = {
        "path": service.folder,
        "comment": f"mirror of {service.origin}",
        "read only": "yes",
        "nominate": "off",
        "digest index": "yes",
        "max connections": service.capacity,
    }
    lines = [f"{name} = {value}" for name, value in world.items() if value]
    lines += [f"[{service.module}]", *(f"{name} = {value}" for name, value in module.items() if value)]
    return "\n".join(lines) + "\n"
