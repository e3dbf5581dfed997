"""Helpers' sockets: whose they are, how they are reached, and what is made of the answers."""

from __future__ import annotations

import os
import pathlib
import stat
import threading
from collections.abc import Callable, Iterator

import pytest

from prsync.errors import FileError
from prsync.session.helpers.index_place import IndexPlace
from prsync.session.helpers.sockets import ask, connect, listen

NAMES = ["m", "n" * 80]  # with its folder the second is longer than a socket's name may be


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture(params=NAMES, ids=["short", "long"])
def place(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> IndexPlace:
    folder = tmp_path / ("deep" * 10)
    folder.mkdir()
    return IndexPlace(str(folder), request.param)


@pytest.fixture
def answers(place: IndexPlace) -> Iterator[Callable[[bytes], None]]:
    """Has a helper that takes one question, and answers so."""
    threads: list[threading.Thread] = []
    listener = listen(place)
    listener.setblocking(True)

    def serve(answer: bytes) -> None:
        def run() -> None:
            with listener.accept()[0] as sock:
                assert sock.recv(100) == b"what?"
                sock.sendall(answer)

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield serve
    for thread in threads:
        thread.join(10)
    listener.close()


def test_listen_socket_is_its_owners_alone_whatever_the_umask(place: IndexPlace, umask: int) -> None:
    here = os.getcwd()
    for _ in range(2):  # the second time in the place of the first
        listen(place).close()
        mode = os.stat(os.path.join(place.parent, place.socket_name)).st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600 & ~umask
    assert (os.getcwd(), os.umask(umask)) == (here, umask)


def test_connect_where_nobody_listens_raises(place: IndexPlace) -> None:
    with pytest.raises(FileNotFoundError):
        connect(place)
    listen(place).close()
    with pytest.raises(ConnectionRefusedError):
        connect(place)
    assert ask(place, "the helper", b"what?") is None


def test_ask_gives_the_line(place: IndexPlace, answers: Callable[[bytes], None]) -> None:
    answers(b"an answer\n")
    assert ask(place, "the helper", b"what?") == b"an answer"


def test_ask_that_is_not_answered_raises(place: IndexPlace, answers: Callable[[bytes], None]) -> None:
    answers(b"half an ans")
    with pytest.raises(FileError, match="the helper ended before it answered"):
        ask(place, "the helper", b"what?")


def test_ask_waits_no_longer_than_it_is_told(place: IndexPlace) -> None:
    listener = listen(place)
    with pytest.raises(FileError, match="the helper cannot be asked: no answer in time"):
        ask(place, "the helper", b"what?", 0.01)
    listener.close()
