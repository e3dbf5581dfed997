"""What a client wants of the module that it has entered: a transfer, or a peer connection. Its arguments tell."""

from __future__ import annotations

from prsync.session.daemon.connection import Entered, Worker
from prsync.session.daemon.nominate.peer import is_peer, serve_peer
from prsync.session.daemon.nominate.session import NominatedSender
from prsync.session.daemon.transfer.arguments import read_arguments
from prsync.session.daemon.transfer.session import serve_transfer


def serve_session(worker: Worker, entered: Entered) -> int:
    """From `@RSYNCD: OK` to the end of the connection; the exit code. Raises Hangup and Refusal."""
    received = read_arguments(worker.text, unescape=True, protocol=entered.protocol)
    if is_peer(received, entered):
        return serve_peer(worker, entered, received)
    return serve_transfer(worker, entered, received, NominatedSender)
