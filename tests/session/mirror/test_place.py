"""The state folder of a mirror that was killed."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys

from prsync.session.mirror.place import MirrorPlace, Service

HOLDER = """
import fcntl, os, signal, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
file.write(str(os.getpid()))
file.flush()
print(flush=True)
signal.pause()
"""


def test_end_leftover_ends_the_daemon_that_holds_the_pid_file(tmp_path: pathlib.Path) -> None:
    """Where the kernel does not end it with the mirror."""
    place = MirrorPlace(str(tmp_path), Service("m", str(tmp_path / "tree"), "rsync://origin/m", 1))
    assert not place.end_leftover()
    with subprocess.Popen([sys.executable, "-c", HOLDER, place.pid_file], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.read(1)
        assert place.end_leftover()
        assert holder.wait(10) == -signal.SIGTERM
    assert not place.end_leftover()
