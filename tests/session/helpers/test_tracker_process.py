"""A running prsyncd with a tracker, another as the mirror: lease steps over real connections, probes, nominations."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from daemon_harness import Daemon

from prsync.config.model import load_config
from prsync.net.connect import Route
from prsync.protocol.frames import Hello, Lease, LeaseStep, Report, SourceReport, Verdict
from prsync.session.helpers.index_place import IndexPlace, index_place, nonce_file
from prsync.session.helpers.sockets import connect
from prsync.session.operator.index import warm_index
from prsync.sources.addresses import SourceURL
from prsync.sources.link import PeerLink

NONCE = bytes(range(16))
OWNER = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""
Start = Callable[..., Daemon]


@pytest.fixture
def start(home: pathlib.Path) -> Iterator[Start]:
    running: list[Daemon] = []

    def begin(name: str, module: str) -> Daemon:
        folder = home / name
        folder.mkdir(exist_ok=True)
        text = f"state dir = DIR/state\nuse chroot = no\n[m]\npath = DIR/tree\ndigest index = yes\n{OWNER}{module}"
        running.append(Daemon(folder, text))
        return running[-1]

    yield begin
    for daemon in running:
        daemon.stop()


@pytest.fixture
def origin(start: Start, home: pathlib.Path) -> Daemon:
    tree = home / "origin" / "tree"
    (tree / "deep").mkdir(parents=True)
    for number in range(20):
        (tree / "deep" / f"file{number}").write_bytes(os.urandom(1000 + number))
    (tree / "big").write_bytes(os.urandom(3 << 20))
    return start("origin", "nominate = registered\n")


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def listens(place: IndexPlace) -> bool:
    try:
        connect(place).close()
    except OSError:
        return False
    return True


def make_mirror(start: Start, origin: Daemon, change: Callable[[pathlib.Path], None] | None = None) -> Daemon:
    tree = origin.folder.parent / "mirror" / "tree"
    shutil.copytree(origin.folder / "tree", tree)
    if change:
        change(tree)
    mirror = start("mirror", "nominate = off\n")
    config = load_config(str(mirror.conf), {})
    module = config.module("m")
    assert module
    place = index_place(config, module, {})
    wait_until(lambda: listens(place))
    pathlib.Path(nonce_file(place)).write_bytes(NONCE)
    warm_index(str(mirror.conf), "m", os.environ)
    return mirror


def link(daemon: Daemon, address: str = "127.0.0.1") -> PeerLink:
    return PeerLink(SourceURL("rsync", "127.0.0.1", daemon.port, "m"), Route(bind_address=address), Hello(), 30)


def ask(daemon: Daemon, lease: Lease) -> Lease:
    """The last answer to a step."""
    with link(daemon) as peer:
        peer.send(lease)
        while True:
            answer = peer.receive()
            assert isinstance(answer, Lease)
            if answer.step is not LeaseStep.CHECKING:
                peer.bye()
                return answer


def request(mirror: Daemon, seconds: int = 600) -> Lease:
    return Lease(LeaseStep.REQUEST, f"rsync://:{mirror.port}/m", seconds, NONCE)


def test_mirror_is_probed_then_granted_renewed_and_released(start: Start, origin: Daemon) -> None:
    mirror = make_mirror(start, origin)
    url = f"rsync://127.0.0.1:{mirror.port}/m"
    assert ask(origin, request(mirror)) == Lease(LeaseStep.GRANTED, url, seconds=600)
    assert f"mirror {url} is registered" in origin.log_text()
    mirror.wait_for_log("(peer: 3 ranges, 0 missing, 0 busy)")
    assert ask(origin, Lease(LeaseStep.RENEW, url, 500)).seconds == 500
    with link(origin) as peer:
        peer.send(Lease(LeaseStep.RELEASE, url))
        peer.bye()
    origin.wait_for_log(f"the mirror at 127.0.0.1 has released its lease of {url}")
    assert ask(origin, Lease(LeaseStep.RENEW, url)).reason == f"there is no lease for {url}: request one"


def test_mirror_with_other_data_is_refused(start: Start, origin: Daemon) -> None:
    def spoil(tree: pathlib.Path) -> None:
        for file in tree.rglob("file*"):
            file.write_bytes(b"something else")

    answer = ask(origin, request(make_mirror(start, origin, spoil)))
    assert answer.step is LeaseStep.REFUSED and "files tried, or has another release of them" in answer.reason


def test_daemon_that_did_not_ask_is_not_registered(start: Start, origin: Daemon) -> None:
    mirror = make_mirror(start, origin)
    answer = ask(origin, Lease(LeaseStep.REQUEST, f"rsync://:{mirror.port}/m", 600, bytes(16)))
    assert answer.step is LeaseStep.REFUSED and "broke off" in answer.reason
    mirror.wait_for_log("a probe showed the nonce of a request that was not made here")


def test_request_for_another_address_or_a_dead_port_is_refused(start: Start, origin: Daemon) -> None:
    assert "is not your address" in ask(origin, Lease(LeaseStep.REQUEST, "rsync://127.0.0.9:8730/m", 0, NONCE)).reason
    assert "could not be checked" in ask(origin, Lease(LeaseStep.REQUEST, "rsync://:1024/m", 0, NONCE)).reason


def test_leases_survive_the_tracker_and_are_probed_again(start: Start, origin: Daemon) -> None:
    mirror = make_mirror(start, origin)
    url = f"rsync://127.0.0.1:{mirror.port}/m"
    ask(origin, request(mirror))
    os.kill(tracker_pid(origin), signal.SIGKILL)
    origin.wait_for_log("the tracker of module m has ended: it is started again")
    origin.wait_for_log(f"mirror {url} is granted now")
    assert ask(origin, Lease(LeaseStep.RENEW, url, 500)).step is LeaseStep.GRANTED


def tracker_pid(daemon: Daemon) -> int:
    """The child of the supervisor that holds the leases open."""
    wait_until(lambda: _tracker(daemon) is not None)
    found = _tracker(daemon)
    assert found is not None
    return found


def _tracker(daemon: Daemon) -> int | None:
    children = pathlib.Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    for pid in children:
        for number in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            if os.path.basename(os.path.realpath(number)) == "leases":
                return int(pid)
    return None


def test_tracker_is_not_root(start: Start, origin: Daemon) -> None:
    if os.geteuid() == 0:
        assert os.stat(f"/proc/{tracker_pid(origin)}").st_uid != 0


def test_report_of_bad_data_has_the_mirror_probed_again(start: Start, origin: Daemon) -> None:
    mirror = make_mirror(start, origin)
    url = f"rsync://127.0.0.1:{mirror.port}/m"
    ask(origin, request(mirror))
    mirror.wait_for_log("(peer: 3 ranges, 0 missing, 0 busy)")
    mirror.stop()
    with link(origin) as peer:
        peer.send(Report((SourceReport(url, 5, 1, bad_pieces=1, verdict=Verdict.CORRUPT),)))
        peer.bye()
    origin.wait_for_log(f"mirror {url} is suspect now: it could not be checked")


def test_short_lease_ends_by_itself(start: Start, origin: Daemon) -> None:
    mirror = make_mirror(start, origin)
    ask(origin, request(mirror, 1))
    origin.wait_for_log(f"the lease of rsync://127.0.0.1:{mirror.port}/m has ended")
