"""What is recorded: real programs and prsync, speaking to each other in both directions, over sockets and remote shells.

In arguments FOLDER, PORT and PLACE stand for the scene's folder, the port to be connected to, and the client's own tree.
"""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

from daemon_harness import Daemon
from servers import StockDaemon

from . import shell
from .extension import record_peer, record_session
from .play import Proxy, Recording, Script
from .scenes import Scene, clean_environment, place_name, running

FINE = (0, 23, 25)  # 23: a name that is asked for is not there; 25: --max-delete
STOCK = ["rsync"]
OURS = [sys.executable, "-m", "prsync"]
PULLS = [
    ["-a"],
    ["-aHi", "--delete", "--no-W"],
    ["-az", "--zc=zstd"],
    ["-az", "--zc=lz4", "--protocol=31"],
    ["-az", "--zc=zlibx"],
    ["-az", "--zc=zlib", "--protocol=30"],
    ["-ac", "--delete-after", "--cc=md5"],
    ["-aRv", "--stats", "--protocol=31"],
    ["-r", "--list-only"],
    ["-aH", "--protocol=30", "--partial-dir=.p"],
    ["-a", "-F", "--delete-excluded", "--filter=- *.o", "--filter=:e .own", "-v"],
    ["-nai", "--delete"],
    ["-aH", "--delay-updates", "--numeric-ids", "--no-inc-recursive", "--progress"],
    ["-a", "--link-dest=../alternate", "--max-size=1m"],
    ["-rlptS", "--files-from=FOLDER/names", "--protocol=31"],
    ["-aHz", "--delete", "--protocol=29"],
]
PUSHES = [
    ["-a"],
    ["-aHi", "--delete", "--no-W"],
    ["-aHz", "--delete-after", "--protocol=29"],
    ["-az", "--zc=zstd", "--protocol=31"],
    ["-rlptS", "--files-from=FOLDER/names"],
    ["-aHc", "--delay-updates", "--protocol=30"],
    ["-ab", "--backup-dir=.b", "--delete", "--no-W"],
    ["-aK", "--delete-delay", "--stats"],
    ["-aH", "--partial-dir=.p", "--no-inc-recursive", "--no-W"],
    ["-a", "-F", "--delete-excluded", "--filter=- *.o", "--filter=:e .own", "-v"],
    ["-a", "--link-dest=extraneous", "--max-size=1m", "--delete-before", "--no-W"],
    ["-aRv", "--max-delete=2", "--delete", "--protocol=29"],
    ["-aH", "--inplace", "--no-W", "--protocol=28"],
    ["-nai", "--delete", "--protocol=31"],
    ["-az", "--zc=lz4", "--remove-source-files", "--ignore-existing"],
    ["-aHI", "--copy-dest=docs", "--numeric-ids", "--protocol=29"],
]
SHELL = f"env -u LD_PRELOAD {sys.executable} -ISs {pathlib.Path(shell.__file__).resolve()} PORT"


def filled_in(scene: Scene, words: list[str], port: int) -> list[str]:
    places = {"FOLDER": str(scene.folder), "PORT": str(port), "PLACE": str(scene.place)}
    for name, value in places.items():
        words = [word.replace(name, value) for word in words]
    return words


def record(scene: Scene, proxy: Proxy, program: list[str], arguments: list[str], full: bool = False) -> Recording:
    """A run of the client. `full`: its own tree is the new one."""
    scene.prepare(scene.place, full)
    environment = {**clean_environment(), "USER": "user"}
    words = filled_in(scene, arguments, proxy.ports[0])
    outcome = subprocess.run([*program, *words], capture_output=True, timeout=60, env=environment, cwd=scene.folder)
    if outcome.returncode not in FINE:
        raise AssertionError(f"{program} {words}: {outcome.returncode} {outcome.stderr!r}")
    return Recording(" ".join(arguments), arguments, proxy.take(), full)


def pull_words(arguments: list[str], module: str) -> list[str]:
    source = f"rsync://127.0.0.1:PORT/{module}"
    return [*arguments, source] if "--list-only" in arguments or not module else [*arguments, f"{source}/", "PLACE"]


def push_words(arguments: list[str]) -> list[str]:
    return [*arguments, "PLACE/", f"rsync://127.0.0.1:PORT/{place_name(0)}/"]


def shell_pull_words(scene: Scene, arguments: list[str]) -> list[str]:
    words = [*arguments, "-e", SHELL, f"h:{scene.tree}/"]
    return words if "--list-only" in arguments else [*words, "PLACE"]


@contextlib.contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


@contextlib.contextmanager
def remote_host(server: list[str]) -> Iterator[Proxy]:
    """Where remote shells come to."""
    door = shell.Door(server, clean_environment())
    try:
        with proxied(door.port) as proxy:
            yield proxy
    finally:
        door.close()


# ---- what is played to the client ---------------------------------------------------------------


def client_pulls(scene: Scene, most: int) -> list[Recording]:
    return stock_pulls(scene, most) + own_pulls(scene, max(most // 2, 1))


def stock_pulls(scene: Scene, most: int) -> list[Recording]:
    with running(StockDaemon(scene.folder, "[m]\npath = FOLDER/tree\n")) as stock, proxied(stock.port) as proxy:
        found = [record(scene, proxy, OURS, pull_words(arguments, "m")) for arguments in PULLS[:most]]
        return [*found, record(scene, proxy, OURS, pull_words([], ""))]


def own_pulls(scene: Scene, most: int) -> list[Recording]:
    """From prsyncd, and from a mirror of it."""
    found = []
    with running(scene.start_daemon("mirror")) as mirror, proxied(mirror.port) as mirror_proxy:
        daemon = scene.start_daemon("origin", mirror_proxy.ports[0])
        with running(daemon), proxied(daemon.port) as proxy:
            for arguments in PULLS[:most]:
                found.append(record(scene, proxy, OURS, pull_words([*arguments, "--mirrors=off"], "m")))
            for arguments in (["-a"], ["-aH", "--delete", "--stats"], ["-a", "--partial", "--mirrors=auto"]):
                record(scene, proxy, OURS, pull_words(arguments, "n"))  # digests come to be known
                mirror_proxy.take()
                time.sleep(1)
                taken = record(scene, proxy, OURS, pull_words(arguments, "n"))
                found.append(taken._replace(scripts=taken.scripts + mirror_proxy.take()))
    return found


def pushed(scene: Scene, proxy: Proxy, program: list[str], words: list[str]) -> Recording:
    scene.prepare(scene.writable(0))
    return record(scene, proxy, program, words, full=True)


def client_pushes(scene: Scene, most: int) -> list[Recording]:
    """Daemons that take what prsync sends."""
    return stock_pushes(scene, most) + own_pushes(scene, max(most // 2, 1))


def stock_pushes(scene: Scene, most: int) -> list[Recording]:
    name = place_name(0)
    text = f"[{name}]\npath = FOLDER/{name}\nread only = no\n"
    with running(StockDaemon(scene.folder, text)) as stock, proxied(stock.port) as proxy:
        return [pushed(scene, proxy, OURS, push_words(arguments)) for arguments in PUSHES[:most]]


def own_pushes(scene: Scene, most: int) -> list[Recording]:
    with running(scene.start_daemon("daemon", writable=True)) as daemon, proxied(daemon.port) as proxy:
        return [pushed(scene, proxy, OURS, push_words(arguments)) for arguments in PUSHES[:most]]


def client_shells(scene: Scene, most: int) -> list[Recording]:
    """Servers behind a remote shell, stock ones and prsync's, in both directions."""
    found = []
    for server, count in ((STOCK, most), ([*OURS], max(most // 2, 1))):
        with remote_host(server) as proxy:
            for arguments in PULLS[:count]:
                found.append(record(scene, proxy, OURS, shell_pull_words(scene, arguments)))
            for arguments in PUSHES[:count]:
                far = scene.writable(0)
                found.append(pushed(scene, proxy, OURS, [*arguments, "-e", SHELL, "PLACE/", f"h:{far}/"]))
    return found


def batches(scene: Scene, most: int) -> list[Recording]:
    """Batch files as rsync writes them. A script has one turn then: the file."""
    found = []
    file = scene.folder / "written"
    for arguments in [words for words in PUSHES if not {"--remove-source-files", "-nai"} & set(words)][:most]:
        scene.prepare(scene.place)
        arguments = [word for word in arguments if not word.startswith("--zc")]  # a batch has zlib's tokens
        words = filled_in(scene, [*arguments, f"--write-batch={file}", "FOLDER/tree/", "PLACE"], 0)
        outcome = subprocess.run([*STOCK, *words], capture_output=True, timeout=60, cwd=scene.folder)
        if outcome.returncode not in FINE:
            raise AssertionError(f"{words}: {outcome.returncode} {outcome.stderr!r}")
        played = [word for word in arguments if not word.startswith(("-F", "--filter", "--files-from"))]
        name = f"batch of {' '.join(arguments)}"
        found.append(Recording(name, [*played, "--read-batch=FOLDER/batch", "PLACE"], [Script(0, [(False, file.read_bytes())])]))
    return found


# ---- what is played to servers ------------------------------------------------------------------


def daemon_pulls(scene: Scene, daemon: Daemon, most: int) -> list[Recording]:
    """Clients of every kind as they speak to prsyncd."""
    found = []
    with proxied(daemon.port) as proxy:
        for arguments in PULLS[:most]:
            found.append(record(scene, proxy, STOCK, pull_words(arguments, "m")))
            found.append(record(scene, proxy, OURS, pull_words(arguments, "f")))
        found.append(record(scene, proxy, STOCK, pull_words([], "")))
        found.append(record(scene, proxy, STOCK, pull_words(["-a", f"--password-file={password_file(scene)}"], "a")))
        found.append(record(scene, proxy, OURS, pull_words(["-a"], "n")))
        record_peer(scene, proxy.ports[0])
        found += [Recording("peer", [], proxy.take())] * 6
        record_session(proxy.ports[0])
        found += [Recording("nominate", [], proxy.take())] * 6
    return found


def daemon_pushes(scene: Scene, daemon: Daemon, most: int) -> list[Recording]:
    """Clients as they send to prsyncd."""
    found = []
    with proxied(daemon.port) as proxy:
        for arguments in PUSHES[:most]:
            found.append(pushed(scene, proxy, STOCK, push_words(arguments)))
        for arguments in PUSHES[: max(most // 2, 1)]:
            found.append(pushed(scene, proxy, OURS, push_words(arguments)))
    return found


def of_server(recording: Recording) -> Recording:
    """The recording of a client with its remote shell, as the server behind the shell hears it, with its arguments."""
    (script,) = recording.scripts
    line, _, rest = script.turns[0][1].partition(b"\n")
    words = shell.server_words(line + b"\n")
    return recording._replace(arguments=words, scripts=[Script(0, [(True, rest), *script.turns[1:]])])


def server_pulls(scene: Scene, most: int) -> list[Recording]:
    found = []
    with remote_host(OURS) as proxy:
        for program, count in ((STOCK, most), (OURS, max(most // 2, 1))):
            for arguments in PULLS[:count]:
                found.append(of_server(record(scene, proxy, program, shell_pull_words(scene, arguments))))
    return found


def server_pushes(scene: Scene, most: int) -> list[Recording]:
    """The server's place is the scene's own then; the client sends the tree."""
    found = []
    with remote_host(OURS) as proxy:
        for program, count in ((STOCK, most), (OURS, max(most // 2, 1))):
            for arguments in [words for words in PUSHES if "--remove-source-files" not in words][:count]:
                words = [*arguments, "-e", SHELL, f"{scene.tree}/", "h:PLACE/"]
                found.append(of_server(record(scene, proxy, program, words)))
    return found


def password_file(scene: Scene) -> pathlib.Path:
    path = scene.folder / "password"
    path.write_text("word\n")
    path.chmod(0o600)
    return path
