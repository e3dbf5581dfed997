"""Pulls through a swarm of real processes: an origin, mirrors, a stock rsyncd; each fault alone and all together."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from daemon_harness import Daemon
from fault_proxy import ConnectProxy, FaultProxy
from servers import StockDaemon

import prsync

MIB = 1 << 20
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(pathlib.Path(prsync.__file__).parents[1])}
WORLD = f"uid = {os.getuid()}\ngid = {os.getgid()}\nstate dir = DIR/state\nuse chroot = no\n"
MODULE = "[m]\npath = DIR/tree\ndigest index = yes\n"


def fill(top: pathlib.Path, seed: int = 1) -> None:
    rng = random.Random(seed)
    for directory in ("a/b", "c"):
        (top / directory).mkdir(parents=True)
        for i in range(60):
            (top / directory / f"f{i}").write_bytes(rng.randbytes(rng.choice([0, 1, 300, 4_000, 50_000])))
    (top / "big").write_bytes(rng.randbytes(24 * MIB + 17))
    (top / "c" / "middle").write_bytes(rng.randbytes(2 * MIB))
    (top / "link").symlink_to("big")
    for path in top.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1_500_000_000, 1_500_000_000))


def contents(top: pathlib.Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        data = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(top))] = (data, status.st_mode, int(status.st_mtime))
    return found


class PasswordTrap:
    """A mirror that wants a password; `heard` is all that it was told."""

    def __init__(self) -> None:
        self.heard = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client, contextlib.suppress(OSError):
                    client.sendall(b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n@RSYNCD: AUTHREQD abcdefgh\n")
                    while data := client.recv(4096):
                        self.heard += data


class Swarm:
    """An origin whose mirrors are made one by one; then `start` and `pull`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.tree = folder / "origin" / "tree"
        self.tree.mkdir(parents=True)
        fill(self.tree)
        self.lines: list[str] = []
        self.running: list[Daemon | FaultProxy | StockDaemon] = []
        self.origin: Daemon | None = None
        self.user = ""  # of the URL, with an @

    def _daemon(self, name: str, text: str) -> Daemon:
        daemon = Daemon(self.folder / name, WORLD + text)
        self.running.append(daemon)
        index(daemon)
        return daemon

    def mirror(
        self, name: str, fault: str = "none", change: Callable[[pathlib.Path], None] | None = None, rate: int = 0
    ) -> FaultProxy:
        copy = self.folder / name / "tree"
        shutil.copytree(self.tree, copy, symlinks=True)
        if change:
            change(copy)
        daemon = self._daemon(name, MODULE)
        proxy = FaultProxy(daemon.port, fault, rate=rate)
        self.running.append(proxy)
        self.lines.append(f"mirror = rsync://127.0.0.1:{proxy.port}/m\n")
        return proxy

    def stock_mirror(self) -> None:
        copy = self.folder / "stock"
        shutil.copytree(self.tree, copy, symlinks=True)
        daemon = StockDaemon(self.folder, f"[m]\npath = {copy}\n")
        self.running.append(daemon)
        self.lines.append(f"mirror = {daemon.url('m')} stock\n")

    def start(self, settings: str = "") -> Daemon:
        (self.folder / "origin").mkdir(exist_ok=True)
        self.origin = self._daemon("origin", MODULE + "".join(self.lines) + settings)
        return self.origin

    def command(self, *options: str, source: str = "m/") -> list[str]:
        assert self.origin
        url = self.origin.url.replace("//", f"//{self.user}") + source
        # A stall limit far beyond what a busy machine makes of a good mirror.
        return [sys.executable, "-m", "prsync", "-a", "--stats", "--mirror-timeout=20", *options, url, "dest/"]

    def pull(self, *options: str, source: str = "m/", stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        command, world = self.command(*options, source=source), {**ENVIRONMENT, **more}
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, input=stdin, timeout=90, env=world)

    def pull_without_fetcher(self, proxy: FaultProxy, *options: str) -> subprocess.CompletedProcess[str]:
        """A pull whose fetcher is killed once `proxy` has let some data through."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = self.command(*options)
        with subprocess.Popen(command, cwd=self.folder, text=True, env=ENVIRONMENT, **pipes) as client:  # type: ignore[call-overload]
            wait_until(lambda: proxy.data_bytes > MIB)
            (fetcher,) = pathlib.Path(f"/proc/{client.pid}/task/{client.pid}/children").read_text().split()
            os.kill(int(fetcher), signal.SIGKILL)
            out, errors = client.communicate(timeout=60)
        return subprocess.CompletedProcess(command, client.returncode, out, errors)

    def sources(self, result: subprocess.CompletedProcess[str]) -> dict[int, str]:
        """The statistics' line for each source, by port."""
        found = {}
        for line in result.stdout.splitlines():
            if line.startswith("Source rsync://127.0.0.1:"):
                found[int(line.split(":")[2].split("/")[0])] = line
        return found

    def stop(self) -> None:
        # Proxies first: a daemon lets running transfers end.
        for item in sorted(self.running, key=lambda item: not isinstance(item, FaultProxy)):
            if isinstance(item, FaultProxy):
                item.close()
            else:
                item.stop()


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def index(daemon: Daemon) -> None:
    code = "import sys; from prsync.commands.main import control_main; sys.exit(control_main(sys.argv[1:]))"
    subprocess.run(
        [sys.executable, "-c", code, "index", "m", "--config", str(daemon.conf)], check=True, capture_output=True, timeout=60
    )


@pytest.fixture
def swarm(tmp_path: pathlib.Path) -> Iterator[Swarm]:
    made = Swarm(tmp_path)
    yield made
    made.stop()


def received(line: str) -> int:
    return int(line.split(": ", 1)[1].split(" bytes")[0].replace(",", ""))


def data_bytes(top: pathlib.Path) -> int:
    return sum(p.stat().st_size for p in top.rglob("*") if p.is_file() and not p.is_symlink())


def test_swarm_pull_takes_everything_from_the_mirrors(swarm: Swarm) -> None:
    first, second = swarm.mirror("m1"), swarm.mirror("m2")
    origin = swarm.start()
    result = swarm.pull()
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)
    lines = swarm.sources(result)
    assert received(lines[first.port]) + received(lines[second.port]) == data_bytes(swarm.tree)
    assert received(lines[first.port]) > 0 and received(lines[second.port]) > 0
    assert received(lines[origin.port]) == 0


def test_swarm_pull_uses_a_stock_rsyncd_too(swarm: Swarm) -> None:
    swarm.stock_mirror()
    origin = swarm.start()
    result = swarm.pull()
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)
    lines = swarm.sources(result)
    assert received(lines[origin.port]) == 0
    assert sum(map(received, lines.values())) == data_bytes(swarm.tree)


def stock_sessions(swarm: Swarm) -> int:
    return (swarm.folder / "stock.log").read_text().count(" connect from ")


def test_files_that_came_bad_are_asked_for_again_together(swarm: Swarm) -> None:
    culprit = swarm.mirror("m1", "flip")
    swarm.stock_mirror()
    swarm.start()
    for _ in range(10):  # until the culprit was asked at all: the stock daemon may have delivered everything before
        before = stock_sessions(swarm)
        result = swarm.pull()
        assert result.returncode == 0, result.stderr
        assert contents(swarm.folder / "dest") == contents(swarm.tree)
        if "corrupt" in swarm.sources(result)[culprit.port]:
            break
        shutil.rmtree(swarm.folder / "dest")
    assert "corrupt" in swarm.sources(result)[culprit.port]
    assert stock_sessions(swarm) - before <= 20  # the tree has 120 small files


def test_swarm_pull_of_a_subdirectory_asks_for_the_right_paths(swarm: Swarm) -> None:
    swarm.mirror("m1")
    swarm.start()
    result = swarm.pull(source="m/a/b")
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest" / "b") == contents(swarm.tree / "a" / "b")
    assert any(received(line) for line in swarm.sources(result).values())


def old_release(copy: pathlib.Path) -> None:
    for path in [copy / "big", *(copy / "c").iterdir(), *(copy / "a" / "b").iterdir()]:
        path.write_bytes(b"an older release")


# fault, change of its tree, verdict, part of why it was dropped: a dead one may fail in several ways, a stale one is not dropped
FAULTS = [
    ("kill", None, "dead", " "),
    ("stall", None, "stalled", "nothing came for "),
    ("flip", None, "corrupt", "a piece did not match the origin's digest"),
    ("none", old_release, "stale", ""),
]


@pytest.mark.parametrize(("fault", "change", "verdict", "reason"), FAULTS, ids=[f[2] for f in FAULTS])
def test_one_faulty_mirror_of_four_is_named_and_nobody_else(
    swarm: Swarm, fault: str, change: Callable[[pathlib.Path], None] | None, verdict: str, reason: str
) -> None:
    # The stall limit must lie well within the run.
    rate, limit = (3 * MIB // 4, 4) if fault == "stall" else (3 * MIB // 2, 20)
    for name in ("m1", "m2", "m3"):
        swarm.mirror(name, rate=rate)
    culprit = swarm.mirror("m4", fault, change, rate=rate)
    origin = swarm.start()
    result = swarm.pull(f"--mirror-timeout={limit}")
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)
    lines = swarm.sources(result)
    named = {port: line for port, line in lines.items() if line.endswith(")")}
    assert list(named) == [culprit.port], lines
    assert f"({verdict}{': ' if reason else ')'}" in named[culprit.port] and reason in named[culprit.port]
    warned = [line for line in result.stderr.splitlines() if line.startswith("prsync: warning: ")]
    assert bool(warned) == bool(reason) and all(f":{culprit.port}/m: " in line for line in warned), warned
    assert any(reason in line for line in warned) == bool(reason)
    origin.wait_for_log(f"127.0.0.1:{culprit.port}/m")


def test_all_four_faults_of_eight_mirrors_still_make_the_tree(swarm: Swarm) -> None:
    for name in ("m1", "m2", "m3", "m4"):
        swarm.mirror(name, rate=40 * MIB)
    for number, (fault, change, _, _) in enumerate(FAULTS):
        swarm.mirror(f"bad{number}", fault, change, rate=40 * MIB)
    swarm.start()
    result = swarm.pull("--mirror-timeout=3")
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)


def take_slot(origin: Daemon) -> socket.socket:
    holder = origin.connect()
    holder.sendall(b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\nm\n")
    origin.read_until(holder, b"@RSYNCD: OK\n")
    return holder


def test_full_house_nominates_a_prsync_client_and_refuses_a_stock_one(swarm: Swarm) -> None:
    swarm.mirror("m1")
    origin = swarm.start("max connections = 1\nmax nominate connections = 5\n")
    holder = take_slot(origin)
    stock = subprocess.run(
        ["/usr/bin/rsync", "-a", origin.url + "m/", "stockdest/"], cwd=swarm.folder, capture_output=True, text=True
    )
    assert stock.returncode == 5 and "max connections (1) reached" in stock.stdout + stock.stderr
    result = swarm.pull()
    holder.close()
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)


def test_mirrors_off_and_only_do_what_they_say(swarm: Swarm) -> None:
    swarm.mirror("m1")
    origin = swarm.start()
    off = swarm.pull("--mirrors=off")
    assert off.returncode == 0 and not swarm.sources(off)
    shutil.rmtree(swarm.folder / "dest")
    only = swarm.pull("--mirrors=only")
    assert only.returncode == 0, only.stderr
    assert origin.port not in swarm.sources(only)
    assert contents(swarm.folder / "dest") == contents(swarm.tree)


def test_second_release_takes_only_gaps_of_changed_files(swarm: Swarm) -> None:
    swarm.mirror("m1")
    swarm.start()
    assert swarm.pull().returncode == 0
    data = bytearray((swarm.tree / "big").read_bytes())
    data[5 * MIB : 5 * MIB + 100] = bytes(100)
    for top in (swarm.tree, swarm.folder / "m1" / "tree"):
        (top / "big").write_bytes(data)
        os.utime(top / "big", (1_600_000_000, 1_600_000_000))
    for daemon in swarm.running:
        if isinstance(daemon, Daemon):
            index(daemon)
    result = swarm.pull()
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)
    assert 0 < sum(map(received, swarm.sources(result).values())) < 100_000


def edit_many(swarm: Swarm) -> None:
    """Another release: a few bytes in each of many small files and in many places of the large one."""
    changed = [*(swarm.tree / "many").iterdir(), swarm.tree / "big"]
    for path in changed:
        data = bytearray(path.read_bytes())
        for at in range(9_000, len(data), 1_500_000):
            data[at : at + 20] = bytes(20)
        for top in [swarm.tree, *swarm.folder.glob("m*/tree"), *swarm.folder.glob("stock")]:
            copy = top / path.relative_to(swarm.tree)
            copy.write_bytes(data)
            os.utime(copy, (1_600_000_000, 1_600_000_000))
    for daemon in swarm.running:
        if isinstance(daemon, Daemon):
            index(daemon)


@pytest.mark.parametrize("kind", ["peer", "stock", "flip"])
def test_second_release_asks_for_many_small_gaps_together(swarm: Swarm, kind: str) -> None:
    (swarm.tree / "many").mkdir()
    for number in range(150):
        (swarm.tree / "many" / str(number)).write_bytes(random.Random(number).randbytes(20_000))
        os.utime(swarm.tree / "many" / str(number), (1_500_000_000, 1_500_000_000))
    bad = swarm.mirror("m1")
    if kind != "peer":
        swarm.stock_mirror()
    origin = swarm.start()
    assert swarm.pull().returncode == 0
    edit_many(swarm)
    bad.fault = "flip" if kind == "flip" else "stall" if kind == "stock" else "none"
    bad.after = 0
    before = stock_sessions(swarm) if kind != "peer" else 0
    result = swarm.pull()
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)
    lines = swarm.sources(result)
    assert received(lines[origin.port]) == 0
    # A gap is a block of 700 bytes, of the large file 5 KB; what came bad is fetched once more.
    assert 0 < sum(map(received, lines.values())) < 500_000
    if kind != "peer":
        assert 0 < stock_sessions(swarm) - before <= 45


def test_bandwidth_limit_spans_all_sources(swarm: Swarm) -> None:
    swarm.mirror("m1"), swarm.mirror("m2")
    swarm.start()
    before = time.monotonic()
    result = swarm.pull("--bwlimit=10m")
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - before > 0.8 * data_bytes(swarm.tree) / (10 * MIB)


def test_killed_fetcher_costs_the_mirrors_and_not_the_run(swarm: Swarm) -> None:
    proxy = swarm.mirror("m1", rate=8 * MIB)
    origin = swarm.start()
    result = swarm.pull_without_fetcher(proxy)
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)
    assert result.stderr.splitlines() == [
        "prsync: warning: the fetcher process ended (signal 9): no mirror is used from now on, what is left comes from the origin"
    ]
    lines = swarm.sources(result)
    assert received(lines[origin.port]) > 0 and received(lines[proxy.port]) > 0
    assert not any(line.endswith(")") for line in lines.values())  # nobody is blamed


@pytest.mark.parametrize("house", ["free", "full"])
def test_killed_fetcher_without_the_origins_data_fails_what_is_left(swarm: Swarm, house: str) -> None:
    proxy = swarm.mirror("m1", rate=8 * MIB)
    origin = swarm.start("max connections = 1\nmax nominate connections = 5\n")
    holder = take_slot(origin) if house == "full" else None
    result = swarm.pull_without_fetcher(proxy, *([] if holder else ["--mirrors=only"]))
    if holder:
        holder.close()
    assert result.returncode == (5 if holder else 23), result.stderr
    errors = result.stderr.splitlines()
    assert "the fetcher process ended (signal 9): no mirror is used from now on, what is left cannot be fetched" in errors[0]
    undelivered = [line for line in errors[1:-1] if "no source delivered" in line]
    assert undelivered == errors[1:-1]
    came = contents(swarm.folder / "dest")
    assert len(undelivered) == len(contents(swarm.tree)) - len(came) > 0
    assert not [name for name in came if pathlib.PurePath(name).name.startswith(".")]


def link_names(top: pathlib.Path) -> None:
    """Hard links within a directory and across directories, of a large and of an empty file too."""
    for old, new in [("a/b/f1", "a/b/g1"), ("big", "a/big"), ("big", "z"), ("c/f2", "a/f2"), ("c/middle", "c/middle2")]:
        (top / old).write_bytes((top / old).read_bytes() or b"something")
        os.utime(top / old, (1_500_000_000, 1_500_000_000))
        os.link(top / old, top / new)
    (top / "c" / "empty").touch()
    os.link(top / "c" / "empty", top / "a" / "empty")


def link_groups(top: pathlib.Path) -> set[frozenset[str]]:
    found: dict[int, set[str]] = {}
    for path in top.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found.setdefault(path.stat().st_ino, set()).add(str(path.relative_to(top)))
    return {frozenset(names) for names in found.values()}


@pytest.mark.parametrize("house", ["free", "only", "full"])
def test_hard_links_are_made_of_what_mirrors_deliver(swarm: Swarm, house: str) -> None:
    link_names(swarm.tree)
    swarm.mirror("m1")
    origin = swarm.start("max connections = 1\nmax nominate connections = 5\n")
    stock = subprocess.run(
        ["/usr/bin/rsync", "-aHi", origin.url + "m/", "stockdest/"], cwd=swarm.folder, capture_output=True, text=True, check=True
    )
    holder = take_slot(origin) if house == "full" else None
    result = swarm.pull("-Hi", *(["--mirrors=only"] if house == "only" else []))
    if holder:
        holder.close()
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)
    assert link_groups(swarm.folder / "dest") == link_groups(swarm.tree)
    lines = swarm.sources(result)
    once = sum((swarm.tree / min(names)).stat().st_size for names in link_groups(swarm.tree))
    assert sum(received(line) for port, line in lines.items() if port != origin.port) == once
    assert f"Literal data: {once:,} bytes" in result.stdout.splitlines()  # the origin has sent nothing
    items = {line for line in result.stdout.splitlines() if line[:2] in (">f", "hf")}
    assert items == {line for line in stock.stdout.splitlines() if line[:2] in (">f", "hf")}


@pytest.mark.parametrize("how", ["environment", "standard input"])
def test_login_is_for_the_origins_peer_connection_and_for_no_mirror(swarm: Swarm, how: str) -> None:
    swarm.mirror("m1", change=lambda copy: (copy / "big").unlink())
    trap = PasswordTrap()
    swarm.lines.append(f"mirror = rsync://127.0.0.1:{trap.port}/m\n")
    secrets = swarm.folder / "secrets"
    secrets.write_text("ann:much too secret\n")
    secrets.chmod(0o600)
    origin = swarm.start(f"auth users = ann\nsecrets file = {secrets}\n")
    swarm.user = "ann@"
    if how == "environment":
        result = swarm.pull(RSYNC_PASSWORD="much too secret")
    else:  # which can be read only once
        result = swarm.pull("--password-file=-", stdin="much too secret\n")
    trap.listener.close()
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)
    assert received(swarm.sources(result)[origin.port]) >= (swarm.tree / "big").stat().st_size
    assert trap.heard and b"ann" not in trap.heard  # an answer begins with the user
    wrong = swarm.pull(RSYNC_PASSWORD="wrong")
    assert wrong.returncode == 5 and "auth failed on module m" in wrong.stderr + wrong.stdout


def test_swarm_goes_through_the_proxy_that_is_set(swarm: Swarm) -> None:
    mirror = swarm.mirror("m1")
    origin = swarm.start()
    proxy = ConnectProxy()
    result = swarm.pull(RSYNC_PROXY=f"127.0.0.1:{proxy.port}")
    proxy.close()
    assert result.returncode == 0, result.stderr
    assert contents(swarm.folder / "dest") == contents(swarm.tree)
    assert proxy.targets == {origin.port, mirror.port}
    assert received(swarm.sources(result)[mirror.port]) == data_bytes(swarm.tree)
