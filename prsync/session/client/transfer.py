"""What a client's transfers have in common, whichever way the files go: the loop, the end, the summary (main.c:client_run)."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Protocol

from prsync.engine.context import Context
from prsync.errors import ExitCode, PrsyncError
from prsync.net.channel import Channel
from prsync.net.handshake import Login
from prsync.options.model import NOT_SPECIFIED_LEVEL
from prsync.options.remote_arguments import allows_incremental
from prsync.protocol.negotiation import Wishes
from prsync.session.client.output import LOG
from prsync.session.client.run import Run
from prsync.session.client.summary import summary
from prsync.session.loop import Companion, Loop
from prsync.transfer.pump import Pump


def wishes_of(run: Run, protocol: int) -> Wishes:
    """What the client brings to the negotiation."""
    options = run.options
    checksums, compressions = run.checksum_list, run.compress_list
    if options.write_batch:  # whoever reads the batch has no negotiation: what it takes by itself (compat.c:getenv_nstr)
        checksums, compressions = "md5" if protocol >= 30 else "md4", "zlib"
    return Wishes(
        protocol=protocol,
        checksum_choice=options.checksum_choice,
        compress_choice=options.compress_choice,
        compress=bool(options.do_compression),
        compress_level=None if options.compress_level == NOT_SPECIFIED_LEVEL else options.compress_level,
        checksum_list=checksums,
        compress_list=compressions,
        inc_recurse=allows_incremental(options),
    )


class Link(Protocol):
    """What a transfer takes over: a finished handshake, or a batch in place of one."""

    @property
    def channel(self) -> Channel: ...

    @property
    def rest(self) -> bytes: ...

    @property
    def login(self) -> Login | None: ...


class ClientTransfer(ABC):
    """One transfer at the client's end, from the agreed protocol on. Messages go to the output as they come."""

    def __init__(self, run: Run, protocol: int, context: Context, pump: Pump) -> None:
        self.given = run
        self.context, self.pump = context, pump
        self._protocol = protocol

    @abstractmethod
    def move(self) -> None:
        """All data and messages, to the goodbye. Raises PrsyncError for what ends it early."""

    @abstractmethod
    def abort(self, failure: BaseException) -> None:
        """Removes temporary files, or keeps them for --partial; tells the other side, and shows what was still to be said."""

    def run(self) -> ExitCode:
        """To the exit code. Raises PrsyncError for what ended the run early."""
        try:
            self.move()
        except BaseException as failure:
            self.abort(failure)
            raise
        self.pump.drain()
        self.over()
        for code, line in self.summary():
            self.given.output.say(code, line)
        return self._end(self.exit_code())

    def over(self) -> None:  # noqa: B027
        """The transfer has come to its end, its summary is still to be said."""

    def summary(self) -> list[tuple[int, str]]:
        """The lines at the end of the output, with their log codes."""
        seconds = time.monotonic() - self.given.started
        return list(summary(self.given.options, self.context.stats, self._protocol, seconds))

    def exit_code(self) -> ExitCode:
        code = self.pump.exit_code()
        return ExitCode.PARTIAL if code is ExitCode.OK and self.given.output.got_transfer_error else code

    def _end(self, code: ExitCode) -> ExitCode:
        if self.given.options.logfile_name and code is ExitCode.OK:
            stats = self.context.stats
            line = f"sent {stats.total_written} bytes  received {stats.total_read} bytes  total size {stats.total_size}\n"
            self.given.output.say(LOG, line)
        return code


class RemoteTransfer(ClientTransfer):
    """A transfer over a connection."""

    def __init__(
        self, run: Run, link: Link, protocol: int, context: Context, pump: Pump, companion: Companion | None = None
    ) -> None:
        super().__init__(run, protocol, context, pump)
        channel = link.channel
        stats = context.stats
        stats.total_written += channel.sent_bytes
        stats.total_read += channel.received_bytes - len(link.rest)
        self.loop = Loop(
            channel.stream,
            pump,
            who="sender" if run.target.push else "receiver",
            timeout=channel.timeout,
            bandwidth=run.options.bwlimit * 1024 if run.target.push else 0,
            before=link.rest,
            companion=companion,
        )

    def move(self) -> None:
        self.loop.run()

    def abort(self, failure: BaseException) -> None:
        try:
            self.pump.abort(failure if isinstance(failure, PrsyncError) else None)
        finally:
            self.loop.say_farewell(failure)

    def note_timeout(self, seconds: float) -> None:
        """The remote's own timeout (MSG_IO_TIMEOUT): only ever makes ours shorter."""
        if not self.loop.timeout or seconds < self.loop.timeout:
            self.loop.set_timeout(seconds)
