"""The sockets by which helpers are asked: where they listen, how they are reached, what they answer."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator

from prsync.errors import FileError
from prsync.session.helpers.index_place import IndexPlace

ADDRESS_BYTES = 107  # of a socket's name, by the kernel
ANSWER_BYTES = 64 << 10  # read at once of an answer


def listen(place: IndexPlace) -> socket.socket:
    """A helper's socket, in the place of one that was left behind. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(sock.fileno(), stat.S_IRUSR | stat.S_IWUSR)  # before there is a name by which others could reach it
        with _address(place) as address:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address)
            sock.bind(address)
        sock.listen(64)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def connect(place: IndexPlace) -> socket.socket:
    """A connection to the helper. Raises OSError where none runs."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        with _address(place) as address:
            sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def ask(place: IndexPlace, helper: str, question: bytes, seconds: float | None = None) -> bytes | None:
    """The line that a helper answers, without its newline; None where none runs. `helper`: its name in messages. `seconds`: how
    long each part of the answer may take. Raises FileError."""
    try:
        with connect(place) as sock:
            sock.settimeout(seconds)
            sock.sendall(question)
            answer = b""
            while not answer.endswith(b"\n"):
                data = sock.recv(ANSWER_BYTES)
                if not data:
                    raise FileError(f"{helper} ended before it answered: see the daemon's log")
                answer += data
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise FileError(f"{helper} cannot be asked: {error.strerror or 'no answer in time'}") from error
    return answer.removesuffix(b"\n")


@contextlib.contextmanager
def _address(place: IndexPlace) -> Iterator[str]:
    """The socket's name; one that is too long for the kernel is counted from its folder's descriptor."""
    name = os.path.join(place.parent, place.socket_name)
    if len(os.fsencode(name)) <= ADDRESS_BYTES:
        yield name
        return
    folder = os.open(place.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{place.socket_name}"
    finally:
        os.close(folder)
