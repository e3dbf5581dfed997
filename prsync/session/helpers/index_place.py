"""Where a module's digest index lies, and where its indexer listens: in `state dir`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import attrs

from prsync.config.model import Config, Module, Values
from prsync.errors import FileError

SYSTEM_STATE = "/var/lib/prsync"
NAME_LIMIT = 100  # characters of a module's name that a file's name shows
ANSWER_BYTES = 64 << 10  # read at once of an answer


@attrs.frozen
class IndexPlace:
    """The index lies in a folder that belongs to the module's user; the socket beside it, to whoever started the daemon."""

    parent: str
    name: str

    @property
    def folder(self) -> str:
        return os.path.join(self.parent, self.name)

    @property
    def index(self) -> str:
        return os.path.join(self.folder, "digests")

    @property
    def socket_name(self) -> str:
        return f"{self.name}.sock"


class TrackerPlace(IndexPlace):
    """The tracker's folder and socket, beside those of the index: its user may be another one."""

    @property
    def folder(self) -> str:
        return os.path.join(self.parent, f"{self.name}.registry")

    @property
    def leases(self) -> str:
        return os.path.join(self.folder, "leases")

    @property
    def socket_name(self) -> str:
        return f"{self.name}.tracker"


def registers(values: Values) -> bool:
    """Whether mirrors can register themselves."""
    return values.text("nominate") == "registered"


def tracker_place(place: IndexPlace) -> TrackerPlace:
    return TrackerPlace(place.parent, place.name)


def nonce_file(place: IndexPlace) -> str:
    """Holds the nonces of the lease requests that this machine has sent for the module, 16 bytes each."""
    return os.path.join(place.parent, f"{place.name}.nonces")


def nominates(values: Values) -> bool:
    """Whether the module names mirrors to clients that can use them."""
    choice = values.text("nominate")
    return choice == "registered" or (choice == "listed" and bool(values.texts("mirror")))


def keeps_digests(values: Values) -> bool:
    """`digest index`; where it is not set, modules that nominate have one."""
    wanted = values.flag3("digest index")
    return nominates(values) if wanted is None else wanted


def state_dir(config: Config, environment: Mapping[str, str]) -> str:
    """`state dir`, made absolute; by default the system's, or the user's where we are not root."""
    return os.path.abspath(config.start.text("state dir", environment) or default_state_dir(environment))


def default_state_dir(environment: Mapping[str, str]) -> str:
    if os.geteuid() == 0:
        return SYSTEM_STATE
    home = environment.get("XDG_STATE_HOME") or os.path.join(environment.get("HOME") or "/", ".local", "state")
    return os.path.join(home, "prsync")


def index_place(config: Config, module: Module, environment: Mapping[str, str]) -> IndexPlace:
    """`environment`: the daemon's own, for its state dir."""
    path = module.values.text("path")  # not expanded: each client's environment differs
    mark = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    shown = quote(module.name, safe=" ", errors="surrogateescape")[:NAME_LIMIT]
    return IndexPlace(os.path.join(state_dir(config, environment), "index"), f"{shown}-{mark}")


def prepare(place: IndexPlace, uid: int | None, gid: int | None) -> None:
    """Makes the folders. Raises FileError, also for a folder that belongs to somebody else."""
    wanted = os.geteuid() if uid is None else uid
    mask = os.umask(0o022)  # the module's user must be able to get there
    try:
        os.makedirs(place.parent, 0o755, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(place.folder, 0o700)
            if wanted != os.geteuid():
                os.chown(place.folder, wanted, -1 if gid is None else gid, follow_symlinks=False)
        status = os.lstat(place.folder)
    except OSError as error:
        raise FileError(f"cannot make the folder {place.folder} of module {place.name}: {error.strerror}") from error
    finally:
        os.umask(mask)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != wanted:
        raise FileError(f"{place.folder} is no folder of the module's user (uid {wanted}): remove it")


def listen(place: IndexPlace) -> socket.socket:
    """The indexer's socket, in the place of one that was left behind. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with _within(place.parent):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place.socket_name)
            sock.bind(place.socket_name)
        sock.listen(64)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


def connect(place: IndexPlace) -> socket.socket:
    """A connection to the indexer. Raises OSError where none runs."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        with _within(place.parent):
            sock.connect(place.socket_name)
    except OSError:
        sock.close()
        raise
    return sock


def ask_line(sock: socket.socket, question: bytes, ended: str) -> bytes:
    """A helper's answer to a question, with its newline. Raises FileError with the text `ended` where the connection ends first,
    OSError."""
    sock.sendall(question)
    answer = b""
    while not answer.endswith(b"\n"):
        data = sock.recv(ANSWER_BYTES)
        if not data:
            raise FileError(ended)
        answer += data
    return answer


@contextlib.contextmanager
def _within(folder: str) -> Iterator[None]:
    """A socket's name has room for some hundred characters only: it is used from within its folder."""
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(here)
        os.close(here)
