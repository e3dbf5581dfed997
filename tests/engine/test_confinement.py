"""What a process gives up, and that it ends with its parent."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys

import pytest

FAMILY = """
import os, signal, sys
from prsync.engine.confinement import drop_rights, end_with_parent, end_with_pipe
alive, held = os.pipe()
parent = os.getpid()
if os.fork():
    os.read(0, 1)
    os.kill(parent, signal.SIGKILL)
os.close(held)
{tie}
os.write(1, b"%d\\n" % os.getpid())
signal.pause()
"""
TIES = {
    "kernel": "assert end_with_parent(parent, signal.SIGTERM)",
    "kernel, then another user": "end_with_parent(parent, signal.SIGTERM); drop_rights(65534, [65534])",
    "pipe": "end_with_pipe(alive, signal.SIGTERM)",
    "parent gone already": "os.write(1, b'%d\\n' % os.getpid()); os.read(alive, 1); end_with_parent(parent, signal.SIGTERM)",
}


@pytest.mark.parametrize("tie", TIES)
def test_child_ends_with_a_parent_that_is_killed(tie: str) -> None:
    if "user" in tie and os.geteuid():
        pytest.skip("needs root")
    words = [sys.executable, "-c", FAMILY.format(tie=TIES[tie])]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            assert not select.select([child], [], [], 0)[0]
            parent.stdin.write(b"x")
            assert parent.wait(10) == -signal.SIGKILL
            assert select.select([child], [], [], 10)[0]
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(child, signal.SIGKILL)
            os.close(child)
