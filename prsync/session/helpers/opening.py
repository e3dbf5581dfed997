"""What a helper opens of its module as the daemon's user, and its drop to the module's user."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence

import attrs

from prsync.config.model import Module
from prsync.engine.confinement import drop_rights
from prsync.errors import ConfigError, FileError
from prsync.privileges import open_directory
from prsync.session.daemon.admission.identity import module_identity
from prsync.session.daemon.admission.text_phase import Refusal
from prsync.session.helpers.index_place import IndexPlace
from prsync.session.helpers.sockets import listen


@attrs.frozen
class OpenedModule:
    """`root`: descriptor of the module's directory, `path` its name. `helper`: whom messages speak of."""

    helper: str
    path: str
    root: int
    listener: socket.socket | None
    uid: int | None
    groups: Sequence[int]

    def drop(self) -> None:
        """The process has the module's user and groups from here on. Raises FileError."""
        try:
            drop_rights(self.uid, self.groups)
        except OSError as error:
            raise FileError(f"{self.helper}: {error.filename} failed: {error.strerror}") from error


def module_environment(module: Module, environment: Mapping[str, str]) -> dict[str, str]:
    """What the module's parameters are expanded with."""
    return {**environment, "RSYNC_MODULE_NAME": module.name}


@contextlib.contextmanager
def refusal_is_fault(module: Module) -> Iterator[None]:
    """There is no client that could be refused: the configuration is wrong."""
    try:
        yield
    except Refusal as refusal:
        raise ConfigError(f"module {module.name}: {refusal.log or refusal.text}") from None


def open_module(
    name: str, module: Module, place: IndexPlace, environment: Mapping[str, str], *, serve: bool = True, root_allowed: bool = True
) -> OpenedModule:
    """Makes the helper's folder and opens the module's directory. `name`: the kind of helper; `serve`: it listens, too;
    `root_allowed`: it may stay root where the module says so. Raises PrsyncError."""
    known = module_environment(module, environment)
    helper = f"the {name} of module {module.name}"
    values = module.values
    with refusal_is_fault(module):
        uid, groups = module_identity(values.text("uid", known), values.text("gid", known))
        if not root_allowed and (os.geteuid() if uid is None else uid) == 0:
            uid, groups = module_identity("nobody", "")
    prepare(place, uid, groups[0] if groups else None)
    path = values.text("path", known)
    try:
        root = open_directory(path)
        listener = listen(place) if serve else None
    except OSError as error:
        raise FileError(f"{helper} cannot use {error.filename or place.parent}: {error.strerror}") from error
    return OpenedModule(helper, path, root, listener, uid, groups)


def prepare(place: IndexPlace, uid: int | None, gid: int | None) -> None:
    """Makes the folders. Raises FileError, also for a folder that belongs to somebody else."""
    wanted = os.geteuid() if uid is None else uid
    try:
        _make_open_folder(place.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(place.folder, 0o700)
            if wanted != os.geteuid():
                os.chown(place.folder, wanted, -1 if gid is None else gid, follow_symlinks=False)
        status = os.lstat(place.folder)
    except OSError as error:
        raise FileError(f"cannot make the folder {place.folder} of module {place.name}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != wanted:
        raise FileError(f"{place.folder} is no folder of the module's user (uid {wanted}): remove it")


def _make_open_folder(path: str) -> None:
    """With what is missing above it; whatever the umask: the module's user must be able to get there."""
    if os.path.isdir(path):
        return
    _make_open_folder(os.path.dirname(path))
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)
