"""What a mirror keeps in its state folder: the daemon's generated configuration, the nonce, and a lock against a second one."""

from __future__ import annotations

import fcntl
import hashlib
import os
from urllib.parse import quote

import attrs

from prsync.config import load_config
from prsync.errors import ConfigError, FileError
from prsync.session.index_place import IndexPlace, index_place, nonce_file

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

    def _replace(self, path: str, data: bytes) -> None:
        try:
            fresh = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fresh, "wb") as file:
                file.write(data)
            os.rename(path + ".new", path)
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror}") from error


def configuration(service: Service, folder: str) -> str:
    """The daemon's rsyncd.conf: one module, read only, with peer connections and without nominations of its own."""
    world = {
        "port": service.port,
        "address": service.address,
        "log file": service.log,
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
