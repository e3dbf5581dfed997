"""What a server's two roles have in common for the one that drives them."""

from __future__ import annotations

from typing import Protocol

from prsync.engine.context import Context
from prsync.errors import EngineError, ExitCode, PrsyncError, end_line
from prsync.session.daemon.transfer.input import MuxInput
from prsync.session.daemon.transfer.negotiation import PROGRAM
from prsync.transfer.pump import Pump


class MessagePump(Pump, Protocol):
    def message(self, code: int, data: bytes) -> None:
        """Puts a multiplexed message in the output."""


class Job(Protocol):
    """One transfer from or to this server."""

    role: str
    """As messages name it."""
    context: Context
    before: bytes
    """Received beyond what `prepare` has read."""

    def prepare(self, source: MuxInput) -> None:
        """Reads what comes before the transfer; makes the pump. Raises PrsyncError, Hangup."""

    @property
    def pump(self) -> MessagePump:
        """After `prepare`."""

    def told(self, failure: PrsyncError) -> ExitCode | None:
        """The code with which the client itself has ended the run, None: it has not."""


def client_code(code: int) -> ExitCode:
    return ExitCode(code) if code in set(ExitCode) else ExitCode.STREAM_IO


def last_words(job: Job, failure: PrsyncError) -> PrsyncError:
    """With what rsync adds to a failure's text. What the core says is complete."""
    text = failure.text
    if not isinstance(failure, EngineError) and not text.startswith("rsync: "):
        text = f"rsync: [{job.role}] {text}"
    shown = PrsyncError(f"{text}\n{end_line(failure.code, PROGRAM, job.role)}", failure.code)
    shown.told = failure.told
    return shown
