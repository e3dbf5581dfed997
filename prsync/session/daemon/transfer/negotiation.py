"""What a worker says and hears outside of a pump, after `@RSYNCD: OK`: the negotiation, and the reason of a failure."""

from __future__ import annotations

from collections.abc import Mapping

from prsync.engine.mux import MSG_ERROR, MSG_ERROR_EXIT, message_frame
from prsync.errors import PrsyncError, end_line
from prsync.options.model import NOT_SPECIFIED_LEVEL, Options
from prsync.options.remote_arguments import allows_incremental
from prsync.protocol.negotiation import Negotiated, NegotiationServer, Send, Wishes
from prsync.session.daemon.connection import Worker, linger
from prsync.transfer.messages import message_code

LAST_WORDS_SECONDS = 10
PROGRAM = "prsyncd"  # that a server's last lines name, behind a remote shell too


def negotiate(worker: Worker, server: NegotiationServer) -> Negotiated:
    """compat.c:setup_protocol, on the blocking socket. Raises PrsyncError, Hangup."""
    while True:
        event = server.next_event()
        if isinstance(event, Negotiated):
            worker.text.give_back(server.rest)
            return event
        if isinstance(event, Send):
            worker.text.send(event.data)
        else:
            server.feed(worker.text.some(4096))


def tell_failure(worker: Worker, negotiated: Negotiated, error: PrsyncError, role: str) -> int:
    """The reason of a failure in multiplexed messages, as rsync's server tells it (option_error, cleanup.c)."""
    worker.log.line(error.text, warning=True)
    worker.log.line(end_line(error.code, PROGRAM, role), warning=True)
    worker.sock.settimeout(LAST_WORDS_SECONDS)
    try:
        worker.sock.sendall(failure_messages(error, negotiated.protocol, role))
    except OSError:
        return int(error.code)
    linger(worker.sock)
    return int(error.code)


def failure_messages(error: PrsyncError, protocol: int, role: str) -> bytes:
    """What a client is sent where there is no pump yet."""
    told = message_code(MSG_ERROR, protocol)
    text = error.text.encode("utf-8", "surrogateescape") + b"\n"
    out = message_frame(told, text) + message_frame(told, end_line(error.code, PROGRAM, role).encode() + b"\n")
    return out + (message_frame(MSG_ERROR_EXIT, int(error.code).to_bytes(4, "little")) if protocol >= 31 else b"")


def wishes_of(options: Options, protocol: int, environment: Mapping[str, str], nominate: bool = False) -> Wishes:
    """What a server brings to the negotiation."""
    return Wishes(
        protocol,
        checksum_choice=options.checksum_choice,
        compress_choice=options.compress_choice,
        compress=bool(options.do_compression),
        compress_level=None if options.compress_level == NOT_SPECIFIED_LEVEL else options.compress_level,
        checksum_list=environment.get("RSYNC_CHECKSUM_LIST", ""),
        compress_list=environment.get("RSYNC_COMPRESS_LIST", ""),
        inc_recurse=allows_incremental(options),
        nominate=nominate,
    )
