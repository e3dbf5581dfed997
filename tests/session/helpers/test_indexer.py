"""The indexer: its orders, its turns, and prsyncctl index."""

from __future__ import annotations

import os
import pathlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from daemon_harness import Daemon
from hypothesis import given
from hypothesis import strategies as st

from prsync.engine.digests import digest_file
from prsync.engine.index import DigestIndex
from prsync.errors import UsageError
from prsync.session.helpers.indexer import BadOrder, Client, Indexer, IndexServer, walk
from prsync.session.operator.index import warm_index


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "tree"
    (root / "d" / "e").mkdir(parents=True)
    for number in range(600):
        (root / "d" / f"f{number}").write_bytes(b"%d" % number)
    (root / "d" / "e" / "deep").write_bytes(b"deep")
    (root / "d" / "link").symlink_to("e")
    os.mkfifo(root / "fifo")
    return root


@pytest.fixture
def indexer(tree: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Indexer]:
    root = os.open(tree, os.O_RDONLY)
    with DigestIndex(tmp_path / "index", writer=True) as index:
        yield Indexer(index, root)
    os.close(root)


names = st.binary(min_size=1, max_size=30).map(lambda b: b.replace(b"\0", b"x"))


@given(st.lists(st.tuples(st.sampled_from([0, 1]), names)), st.integers(1, 7), st.binary(max_size=5))
def test_orders_come_apart_wherever_they_are_split(orders: list[tuple[int, bytes]], size: int, behind: bytes) -> None:
    data = b"".join(bytes([flags]) + name + b"\0" for flags, name in orders)
    client = Client()
    for at in range(0, len(data), size):
        assert not client.take(data[at : at + size])
    assert list(client.queue) == orders
    assert client.take(b"\x40\0" + b"\0" + behind.replace(b"\0", b"x"))
    assert list(client.queue) == orders


@pytest.mark.parametrize("data", [b"\0\0", b"\1\0", b"\2name\0", b"\x40name\0", b"\0" + b"x" * 5000])
def test_what_is_no_order_is_refused(data: bytes) -> None:
    with pytest.raises(BadOrder):
        Client().take(data)


def test_walk_finds_regular_files_and_follows_no_link(tree: pathlib.Path) -> None:
    root = os.open(tree, os.O_RDONLY)
    found = [name for batch in walk(root, None) for name in batch]
    assert len(found) == len(set(found)) == 601
    assert b"d/e/deep" in found
    hidden = [name for batch in walk(root, lambda path, is_dir: is_dir and path == b"d/e") for name in batch]
    assert sorted(set(found) - set(hidden)) == [b"d/e/deep"]
    os.close(root)


def test_warming_hashes_all_then_nothing_then_what_changed(indexer: Indexer, tree: pathlib.Path) -> None:
    first = indexer.warm()
    assert (first.hashed, first.known, first.failed) == (601, 0, 0)
    assert indexer.warm().hashed == 0
    (tree / "d" / "f1").write_bytes(b"other")
    (tree / "d" / "f2").unlink()
    again = indexer.warm()
    assert (again.hashed, again.known, again.removed) == (1, 599, 1)
    assert again.line() == "1 files hashed (5 bytes), 599 known already, 1 removed"


def test_turn_does_a_bounded_part_and_its_digests_are_visible(indexer: Indexer, tree: pathlib.Path) -> None:
    client = Client()
    client.take(b"".join(b"\0d/f%d\0" % n for n in range(600)) + b"\1d/e/deep\0")
    turns = 0
    while client.has_work:
        indexer.turn(client)
        turns += 1
    assert turns == 4 and client.counts.hashed == 601
    entry = indexer.index.lookup(indexer.root, [b"d/e/deep"], block_sums=True)[0]
    assert entry.root == digest_file(tree / "d" / "e" / "deep").root and entry.block_sums


def test_idle_indexer_prunes_when_its_time_has_come(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    clock = [0.0]
    root = os.open(tree, os.O_RDONLY)
    with DigestIndex(tmp_path / "index", writer=True) as index:
        indexer = Indexer(index, root, now=lambda: clock[0])
        indexer.warm()
        (tree / "d" / "f3").unlink()
        assert indexer.idle() == 600 and len(index) == 601
        clock[0] = 600.0
        while indexer.idle() == 0:
            pass
        assert len(index) == 600
    os.close(root)


def test_server_serves_clients_side_by_side_and_ends_with_its_parent(indexer: Indexer, tmp_path: pathlib.Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    read_end, write_end = os.pipe()
    server = IndexServer(indexer, listener, read_end)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for client, order in zip(clients, (b"\x40\0", b"\0d/f5\0", b"\2bad\0"), strict=True):
        client.connect(str(tmp_path / "s"))
        client.sendall(order)
    clients[0].setblocking(False)
    answer = b""
    while not answer:
        assert server.step()
        try:
            answer = clients[0].recv(1000)
        except BlockingIOError:
            continue
    assert answer.endswith(b"removed\n") and b"files hashed" in answer
    assert clients[2].recv(10) == b""
    os.close(write_end)
    while server.step():
        pass
    for client in clients:
        client.close()
    listener.close()


def conf_of(tree: pathlib.Path, settings: str) -> str:
    conf = tree.parent / "ctl.conf"
    conf.write_text(f"state dir = {tree.parent}/state\n[m]\npath = {tree}\nuid = root\ngid = root\n{settings}")
    return str(conf)


def test_prsyncctl_index_without_an_indexer_does_it_itself(tree: pathlib.Path) -> None:
    conf = conf_of(tree, "digest index = yes\n")
    line = in_child(lambda: warm_index(conf, "m", {}))
    assert line == "m: 601 files hashed (" + line.split("(")[1].split(")")[0] + "), 0 known already, 0 removed"


@pytest.mark.parametrize("module, settings", [("x", "digest index = yes\n"), ("m", "")])
def test_prsyncctl_index_of_what_has_no_index_says_so(tree: pathlib.Path, module: str, settings: str) -> None:
    with pytest.raises(UsageError, match="module"):
        warm_index(conf_of(tree, settings), module, {})


def wait_until(done: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def in_child(work: Callable[[], str]) -> str:
    """What drops privileges, or opens an index that this process has open, does so in a child."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(write_end, work().encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(pid, 0)
    return text


def test_daemon_runs_an_indexer_and_starts_it_again(
    start_daemon: Callable[..., Daemon], tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    settings = f"state dir = {tmp_path}/state\n[m]\npath = DIR/tree\ndigest index = yes\n"
    owner = "uid = nobody\n" if os.geteuid() == 0 else ""
    # The module's user must be able to get there.
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    daemon = start_daemon(settings + owner)
    children = pathlib.Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    wait_until(lambda: list(tmp_path.glob("state/index/*.sock")) and children.read_text())
    pid = int(children.read_text().split()[0])
    if owner:
        status = pathlib.Path(f"/proc/{pid}/status")
        wait_until(lambda: "Uid:\t0" not in status.read_text())
    line = in_child(lambda: warm_index(str(daemon.conf), "m", {}))
    assert line.startswith("m: 601 files hashed")
    os.kill(pid, 9)
    daemon.wait_for_log("the indexer of module m has ended: it is started again in 2 seconds")
    assert daemon.stop()[0] == 0


def test_indexer_follows_its_path_to_another_directory(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    root = os.open(tree, os.O_RDONLY)
    with DigestIndex(tmp_path / "index", writer=True) as index:
        indexer = Indexer(index, root, path=str(tree))
        indexer.warm()
        tree.rename(tmp_path / "old")
        (tree / "d").mkdir(parents=True)
        (tree / "d" / "new").write_bytes(b"new")
        assert indexer.warm().hashed == 1
        assert indexer.index.lookup(indexer.root, [b"d/new"])[0].root == digest_file(tree / "d" / "new").root
    os.close(root)
