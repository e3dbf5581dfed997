"""Runs of which one process is killed at a chosen point: after so many bytes between the ends, or so many changes of files."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import random
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import killing_shell
from killing_shell import Trigger
from kinds_of_tree import BEFORE, write
from pairs import PRSYNC, RSYNC, environment
from tap import Tap
from ways import Pair, Stage, copy_tree

LIMIT = 30.0
MARK = "PRSYNC_TEST_RUN"
TEMPORARY = re.compile(r"\.(?P<name>.+)\.[A-Za-z0-9]{6}")
CHANGES = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200  # IN_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE
Files = dict[str, tuple[bytes, int]]


def two_states(folder: pathlib.Path) -> None:
    """`one`: old; `two`: new. Many small files, some larger ones with edits; in each directory some changed, new, gone, same."""
    for state in ("one", "two"):
        dice = random.Random(9)
        for number in range(400):
            path = folder / state / f"d{number % 7}" / f"file{number:03}"
            path.parent.mkdir(parents=True, exist_ok=True)
            data, kind = dice.randbytes(dice.randint(1, 20_000)), number % 5
            if state == "two" and kind < 2:
                data = data[::-1]
            if not (state == "one" and kind == 2 or state == "two" and kind == 3):
                write(path, data, when=BEFORE + (10**9 if state == "two" and kind < 2 else 0))
        for number in range(4):
            data = bytearray(dice.randbytes(900_000))
            if state == "two":
                data[400_000 : 400_000 + number * 20_000] = b"edited" * number
            write(folder / state / f"large{number}", bytes(data), when=BEFORE + (5 * 10**9 if state == "two" else 0))
        for path in (folder / state, *(folder / state).glob("d*")):
            if path.is_dir():
                os.utime(path, ns=(BEFORE, BEFORE))


def files(folder: pathlib.Path) -> Files:
    """Content and time of each file."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def half_made(found: Files, old: Files, new: Files) -> list[str]:
    """Names that are neither a whole old nor a whole new file, nor a temporary one."""
    return [name for name in found if found[name] not in (old.get(name), new.get(name)) and not is_temporary(name, new)]


def is_temporary(name: str, new: Files) -> bool:
    folder, _, last = name.rpartition("/")
    matched = TEMPORARY.fullmatch(last)
    return bool(matched) and os.path.join(folder, matched["name"]) in new


def processes_of(run: str) -> list[int]:
    """All that have inherited the run's mark."""
    found = []
    wanted = f"{MARK}={run}".encode()
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def await_end(pids: Callable[[], Sequence[int]], limit: float = LIMIT) -> list[int]:
    """Waits until there are none of these processes; those that are there still after the limit."""
    until = time.monotonic() + limit
    while found := pids():
        handles = []
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                handles.append(os.pidfd_open(pid))
        ended = all(select.select([handle], [], [], max(0.0, until - time.monotonic()))[0] for handle in handles)
        for handle in handles:
            os.close(handle)
        if not ended:
            return list(found)
    return []


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class KilledRun:
    """One run of a client, of which `victim` ("client" or "remote") gets SIGKILL at `point`."""

    def __init__(
        self, stage: Stage, way: str, pair: Pair, words: Sequence[str], place: pathlib.Path, victim: str, point: int | None
    ) -> None:
        self.stage, self.way, self.pair, self.place, self.victim, self.point = stage, way, pair, place, victim, point
        self.mark = str(place)
        self.words = [*words, *stage.ends(way, pair[1], "two/", place)]
        self.daemon = stage.servers["stock" if pair[1] == "stock" else "prsyncd"].process.pid
        self.lasting = set(children(self.daemon))
        self.status, self.errors, self.count, self.struck = 0, b"", 0, False

    def _start(self, words: Sequence[str]) -> None:
        program = (RSYNC,) if self.pair[0] == "stock" else PRSYNC
        with open(self.place / "errors", "wb") as errors:
            self.process = subprocess.Popen(
                [*program, *words],
                cwd=self.place,
                env=environment(**{MARK: self.mark}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def _workers(self) -> list[int]:
        return [pid for pid in children(self.daemon) if pid not in self.lasting]

    def _strike(self) -> None:
        for pid in [self.process.pid] if self.victim == "client" else self._workers():
            os.kill(pid, signal.SIGKILL)

    def run(self) -> KilledRun:
        {"daemon": self._through_a_daemon, "shell": self._through_a_shell, "local": self._locally}[self.way.partition("-")[0]]()
        self.errors = (self.place / "errors").read_bytes()
        (self.place / "errors").unlink()
        return self

    def _finish(self) -> None:
        """The client ends, and with it all processes of the run at both ends."""
        self.status = self.process.wait(LIMIT)
        left = await_end(lambda: [*processes_of(self.mark), *self._workers()])
        assert left == [], [pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]

    def _through_a_daemon(self) -> None:
        trigger = Trigger(self.point, self._strike)

        def count(data: bytes, position: int = 0) -> bytes:
            trigger.passed(len(data))
            return data

        server = self.stage.servers["stock" if self.pair[1] == "stock" else "prsyncd"]
        with Tap(server.port, count, count) as tap:
            self._start([word.replace(f":{server.port}/", f":{tap.port}/") for word in self.words])
            self._finish()
        self.count, self.struck = trigger.count, trigger.struck

    def _through_a_shell(self) -> None:
        report = self.place / "report"
        shell = f"{sys.executable} -S {killing_shell.__file__} {self.point or 0} {self.victim} {report}"
        self._start([shell if word == self.stage.shell else word for word in self.words])
        self._finish()
        assert report.exists(), (self.place / "errors").read_bytes()
        self.count, self.struck = (int(word) for word in report.read_text().split())
        report.unlink()

    def _locally(self) -> None:
        trigger = Trigger(self.point, self._strike)
        with watched(self.place / "copy") as changes:
            self._start(self.words)
            ended = os.pidfd_open(self.process.pid)
            while changes in (ready := select.select([changes, ended], [], [], LIMIT)[0]):
                for _ in events(os.read(changes, 1 << 16)):
                    trigger.passed(1)
            os.close(ended)
            assert ready, "nothing happens"
            self._finish()
        self.count, self.struck = trigger.count, trigger.struck


@contextlib.contextmanager
def watched(folder: pathlib.Path) -> Iterator[int]:
    """A descriptor that tells what happens to the files of a tree (inotify)."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = int(libc.inotify_init1(os.O_CLOEXEC))
    assert handle >= 0, os.strerror(ctypes.get_errno())
    for path in (folder, *(each for each in folder.rglob("*") if each.is_dir())):
        assert libc.inotify_add_watch(handle, os.fsencode(path), CHANGES) >= 0, os.strerror(ctypes.get_errno())
    yield handle
    os.close(handle)


def events(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        _, mask, _, length = struct.unpack_from("iIII", data, at)
        yield mask
        at += 16 + length


def prepare(stage: Stage, name: str) -> pathlib.Path:
    """A place with the old state as the destination."""
    place = stage.place(name)
    copy_tree(stage.folder / "one", place / "copy")
    return place
