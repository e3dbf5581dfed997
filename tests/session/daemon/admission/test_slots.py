"""`max connections`: slots in rsync's lock file, shared with the real rsyncd."""

import os
import pathlib
import socket
import time
from collections.abc import Callable

import pytest
from daemon_harness import Daemon
from servers import StockDaemon

from prsync.session.daemon.admission.slots import Slots


def take_in_child(path: str, limit: int, kind: str = "take") -> tuple[int, int]:
    """(pid, answer) of a child that takes a slot and lives on: locks belong to processes."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write_end, b"1" if getattr(Slots(path, limit, limit), kind)() else b"0")
        time.sleep(60)
        os._exit(0)
    answer = int(os.read(read_end, 1))
    os.close(read_end)
    os.close(write_end)
    return pid, answer


def test_slots_are_taken_until_the_limit_and_freed_by_death(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "lock")
    children = [take_in_child(path, 2) for _ in range(3)]
    try:
        assert [answer for _, answer in children] == [1, 1, 0]
        os.kill(children[0][0], 9)
        os.waitpid(children[0][0], 0)
        assert Slots(path, 2).take()
    finally:
        for pid, _ in children[1:]:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def test_slot_that_was_given_up_can_be_taken_by_another(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "lock")
    slots = Slots(path, 1)
    assert slots.take() and slots.take()
    pid, answer = take_in_child(path, 1)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert not answer
    slots.release()
    pid, answer = take_in_child(path, 1)
    try:
        assert answer and not slots.take()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert slots.take()


def test_nominate_slots_are_counted_apart_from_those_for_data(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "lock")
    children = [take_in_child(path, 1, kind) for kind in ("take", "take_nominate", "take_nominate", "take")]
    for pid, _ in children:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert [answer for _, answer in children] == [1, 1, 0, 0]


def test_no_limit_needs_no_file() -> None:
    assert Slots("/nonexistent/lock", 0).take()


def test_negative_limit_admits_nobody(tmp_path: pathlib.Path) -> None:
    assert not Slots(str(tmp_path / "lock"), -1).take()


def test_lock_file_that_cannot_be_opened_raises() -> None:
    with pytest.raises(OSError):
        Slots("/nonexistent/lock", 1)


def enter(port: int) -> socket.socket:
    """A client that is within module m and says nothing more."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    sock.sendall(b"@RSYNCD: 31.0\nm\n")
    return sock


def answer_of(sock: socket.socket) -> str:
    text = b""
    while b"@RSYNCD: OK" not in text and b"@ERROR" not in text:
        chunk = sock.recv(4096)
        if not chunk:
            break
        text += chunk
    return text.decode()


def test_stock_rsyncd_and_prsyncd_share_the_slots(start_daemon: Callable[..., Daemon], tmp_path: pathlib.Path) -> None:
    module = "[m]\npath = DIR\nmax connections = 2\nuse chroot = no\n"
    daemon = start_daemon(module)
    stock = StockDaemon(tmp_path, f"lock file = {tmp_path}/lock\nreverse lookup = no\n" + module.replace("DIR", str(tmp_path)))
    try:
        with enter(stock.port) as first, enter(daemon.port) as second:
            assert "@RSYNCD: OK" in answer_of(first) and "@RSYNCD: OK" in answer_of(second)
            for other in (stock.port, daemon.port):
                with enter(other) as third:
                    assert "@ERROR: max connections (2) reached -- try again later" in answer_of(third)
        assert "max connections (2) reached" in daemon.log_lines()
    finally:
        stock.stop()
