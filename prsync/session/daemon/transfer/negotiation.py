"""What a worker says and hears outside of a pump, after `@RSYNCD: OK`: the negotiation, and the reason of a failure."""

from __future__ import annotations

from prsync.errors import ExitCode, PrsyncError
from prsync.protocol.negotiation import Negotiated, NegotiationServer, Send
from prsync.session.client.output import EXIT_NAMES
from prsync.session.daemon.connection import Worker, linger
from prsync.session.daemon.transfer.input import MSG_ERROR, MSG_ERROR_EXIT, frame
from prsync.transfer.messages import message_code
from prsync.version import __version__

LAST_WORDS_SECONDS = 10


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
    text = error.text.encode("utf-8", "surrogateescape") + b"\n"
    end = end_line(error.code, role)
    worker.log.line(error.text, warning=True)
    worker.log.line(end, warning=True)
    told = message_code(MSG_ERROR, negotiated.protocol)
    out = frame(told, text) + frame(told, end.encode() + b"\n")
    if negotiated.protocol >= 31:
        out += frame(MSG_ERROR_EXIT, int(error.code).to_bytes(4, "little"))
    worker.sock.settimeout(LAST_WORDS_SECONDS)
    try:
        worker.sock.sendall(out)
    except OSError:
        return int(error.code)
    linger(worker.sock)
    return int(error.code)


def end_line(code: ExitCode, role: str = "sender") -> str:
    """log.c:log_exit."""
    kind = "warning" if code == ExitCode.VANISHED else "error"
    return f"rsync {kind}: {EXIT_NAMES.get(code, 'unexplained error')} (code {int(code)}) at prsyncd [{role}={__version__}]"
