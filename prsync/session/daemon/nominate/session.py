"""A session whose client can take data from mirrors: hello, nomination, digests beside rsync's sender.

The nomination precedes the file list, as the client's hello precedes its filter list (protocol-spec/nominate-1.md §1, §2).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prsync.engine.context import Status
from prsync.engine.mux import MSG_NOMINATE
from prsync.engine.serve import Digester
from prsync.errors import ExitCode, PrsyncError, StreamError
from prsync.options.model import as_text
from prsync.protocol.extension import FrameStates, State
from prsync.protocol.frames import ControlFrame, FrameType, Hello, decode_frame, encode_frame
from prsync.protocol.limits import PENDING_SECONDS
from prsync.registry.nomination import nominate
from prsync.session.daemon.connection import Worker
from prsync.session.daemon.nominate.offer import Extension
from prsync.session.daemon.transfer.arguments import clean_path
from prsync.session.daemon.transfer.sending import SenderJob
from prsync.transfer.pump import Want

RETRY_SECONDS = 0.1  # between looks into the index for what the indexer works on,
RETRY_SECONDS_EACH = 1 / 20_000  # and for each such file a little more: a look costs a system call


class NominatedSender:
    """The sender's pump with answers to digests? in its output. `log_line` says what the client got of it."""

    def __init__(
        self, worker: Worker, extension: Extension, job: SenderJob, module: bytes, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Answers the client's hello. Raises StreamError when there is none yet."""
        self._worker = worker
        self._extension = extension
        self._job = job
        self._module = module
        self._now = now
        self._sender = job.pump
        self._digester = Digester(job.context, job.send.handle, job.root.handle, extension.access.index)
        self._states = FrameStates(State.DAEMON_AGREED)
        self._named = 0
        self._pending = 0  # at the last look
        self._progress = self._retry_at = now()
        job.on_frame = self._receive
        for frame in job.frames:
            self._receive(frame)
        if self._states.state is State.DAEMON_AGREED:
            raise StreamError("the client agreed on nominate/1 and sent no hello before its filter list")

    @property
    def ended(self) -> bool:
        return self._sender.ended

    def room(self) -> memoryview | None:
        return self._sender.room()

    def received(self, count: int) -> None:
        self._sender.received(count)

    def run(self) -> Want:
        while True:
            self._retry_when_due()
            want = self._sender.run()
            status = self._digester.step()
            wanted = self._digester.take_wanted()
            if wanted:
                self._extension.access.want(wanted)
            if want is Want.NOTHING:
                return want
            if status is Status.FULL:
                return Want.OUTPUT
            if status is Status.AGAIN:
                return want

    def output(self) -> memoryview:
        return self._sender.output()

    def sent(self, count: int) -> None:
        self._sender.sent(count)

    def settle(self) -> bool:
        return self._sender.settle()

    def keep_alive(self) -> None:
        self._sender.keep_alive()

    def drain(self) -> None:
        self._sender.drain()

    def abort(self, failure: PrsyncError | None) -> None:
        self._sender.abort(failure)

    def exit_code(self) -> ExitCode:
        return self._sender.exit_code()

    def tick(self) -> float | None:
        access = self._extension.access
        access.flush()
        if self._digester.pending:
            return max(0.01, self._retry_at - self._now())
        return RETRY_SECONDS if access.waiting else None

    def _retry_when_due(self) -> None:
        """Looks again for what is pending; without any progress for so long it is given up."""
        pending, now = self._digester.pending, self._now()
        if pending < self._pending or not self._pending:
            self._progress = now
        self._pending = pending
        if pending and now >= self._retry_at:
            self._digester.retry(now - self._progress >= PENDING_SECONDS)
            self._retry_at = now + RETRY_SECONDS + pending * RETRY_SECONDS_EACH

    def _receive(self, payload: bytes) -> None:
        if not payload or not self._states.receive(payload[0]):
            return
        if payload[0] == FrameType.DIGESTS_REQUEST:
            self._digester.ask(payload[1:])
            return
        frame = decode_frame(payload)
        if isinstance(frame, Hello):
            self._welcome(frame)

    def _welcome(self, hello: Hello) -> None:
        extension, client = self._extension, self._worker.address
        salt = self._module[:64]
        answer = nominate(extension.mirrors, hello, self._wish(), client, self._now(), extension.origin, salt)
        self._named = len(answer.mirrors)
        extension.registry.named(tuple(mirror.url for mirror in answer.mirrors if not mirror.listed))
        self._send(Hello(no_data=extension.no_data))
        self._send(answer)

    def _wish(self) -> str:
        """What the client asks for, within the module; "": several things, or wildcards."""
        if len(self._job.paths) != 1:
            return ""
        path = clean_path(self._job.paths[0].partition(b"/")[2], keep_dot_dirs=False).rstrip(b"/")
        return "" if path == b"." or any(char in path for char in b"*?[") else as_text(path)

    def _send(self, frame: ControlFrame) -> None:
        self._sender.message(MSG_NOMINATE, encode_frame(frame))

    def log_line(self) -> str:
        files, size = self._digester.given()
        mode = ", no data" if self._extension.no_data else ""
        return (
            f"nominated {self._named} mirrors to {self._worker.host} ({self._worker.address}){mode}:"
            f" digests of {files} files, {size} bytes"
        )
