"""A worker's transfer: the client's arguments, negotiation, the role (the end of rsync_module, main.c:start_server)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import attrs

from prsync.engine.mux import MSG_IO_TIMEOUT, MSG_NOMINATE
from prsync.errors import ExitCode, PrsyncError, StartError, StreamError, TransferTimeout, end_line
from prsync.net.connection import stream_of
from prsync.options.model import Options, as_bytes, as_text
from prsync.options.older_protocols import refuse_beyond
from prsync.options.read import Reader
from prsync.options.remote_arguments import limit_verbosity, refused_rows
from prsync.protocol.negotiation import Negotiated, NegotiationServer
from prsync.session.daemon.connection import Entered, Worker, become_busy, interruptible, linger
from prsync.session.daemon.transfer.access import access_refused
from prsync.session.daemon.transfer.arguments import Received, read_arguments
from prsync.session.daemon.transfer.input import MuxInput
from prsync.session.daemon.transfer.job import Job, last_words
from prsync.session.daemon.transfer.negotiation import PROGRAM, negotiate, tell_failure, wishes_of
from prsync.session.daemon.transfer.receiving import ReceiverJob
from prsync.session.daemon.transfer.sending import SenderJob
from prsync.session.daemon.transfer.site import ModuleSite
from prsync.session.loop import Loop, Ticks

if TYPE_CHECKING:
    from prsync.session.daemon.nominate.session import NominatedSender


@attrs.frozen
class Request:
    """What the client asked for, read and judged. `failure`: what it is to be told instead of getting it."""

    options: Options
    paths: tuple[bytes, ...]
    failure: PrsyncError | None


def serve_transfer(worker: Worker, entered: Entered, received: Received, nominate: type[NominatedSender]) -> int:
    """From the first arguments to the goodbye; the exit code. Raises Hangup and Refusal while that is still the way to say it.

    nominate: makes the pump for a client that speaks nominate/1.
    """
    request = _read_request(worker, entered, received)
    options = request.options
    role = "sender" if options.am_sender else "Receiver"
    module_timeout = entered.module.values.number("timeout")
    timeout = options.io_timeout
    if module_timeout > 0 and (not timeout or module_timeout < timeout):
        timeout = module_timeout
    worker.text.set_deadline(None)
    worker.text.idle_limit = timeout or None
    try:
        negotiated = _negotiate(worker, entered, options)
    except PrsyncError as error:
        worker.log.line(error.text, warning=True)
        worker.log.line(end_line(error.code, PROGRAM, role), warning=True)
        return int(error.code)
    if request.failure is not None:
        return tell_failure(worker, negotiated, request.failure, role)
    extension = entered.extension
    if extension is not None and extension.no_data and not negotiated.nominate:
        refusal = StartError(f"@ERROR: {extension.refusal} -- try again later")
        return tell_failure(worker, negotiated, refusal, role)
    nominated: NominatedSender | None = None
    try:
        kind = SenderJob if options.am_sender else ReceiverJob
        job = kind(ModuleSite(worker, entered), options, request.paths, negotiated)
        job.prepare(source := MuxInput(worker.text, job.context))
        if isinstance(job, SenderJob) and extension is not None and negotiated.nominate:
            nominated = nominate(worker, extension, job, as_bytes(entered.module.name))
        elif source.frames:
            raise StreamError(f"unexpected tag {MSG_NOMINATE} [{role}]")
    except PrsyncError as error:
        return tell_failure(worker, negotiated, error, role)
    become_busy()
    limit = min((limit for limit in (options.bwlimit, worker.options.bwlimit) if limit), default=0)
    code = _drive(worker, job, nominated, timeout, limit)
    if nominated is not None:
        worker.log.line(nominated.log_line())
    return code


def _read_request(worker: Worker, entered: Entered, received: Received) -> Request:
    """The arguments, parsed; with --secluded-args the second batch too. The request is logged."""
    refused = entered.module.values.text("refuse options", worker.environment)
    options, failure = _parse(received, refused)
    if failure is None and options.protect_args:
        plain = received.options
        received = read_arguments(worker.text, unescape=False)
        received = attrs.evolve(received, options=(*plain, *received.options))
        options, failure = _parse(received, refused)
    if received.request:
        user = f"{entered.user}@" if entered.user else ""
        way = "on" if options.am_sender else "to"
        worker.log.line(f"rsync {way} {as_text(received.request)} from {user}{worker.host} ({worker.address})")
    options = limit_verbosity(options, entered.module.values.number("max verbosity"))
    return Request(options, received.paths, failure or access_refused(entered, options))


def _parse(received: Received, refused: str) -> tuple[Options, PrsyncError | None]:
    words = [as_text(word) for word in (*received.options, b".", *received.paths)]
    reader = Reader({}, server=True, refused=refused_rows(refused))
    try:
        return reader.parse_server(words), None
    except PrsyncError as error:
        # What was read until then decides how the client can be told (clientserver.c: RERR_UNSUPPORTED for any error).
        error.code = ExitCode.UNSUPPORTED
        return Options(**{**reader.values, "am_server": True, "client_info": reader.get("shell_cmd") or ""}), error


def _negotiate(worker: Worker, entered: Entered, options: Options) -> Negotiated:
    """compat.c:setup_protocol, on the blocking socket."""
    refuse_beyond(options, entered.protocol)
    nominates = options.am_sender and entered.extension is not None and entered.extension.nominates
    wishes = wishes_of(options, entered.protocol, worker.options.environment, nominates)
    server = NegotiationServer(wishes, options.client_info, options.checksum_seed or secrets.randbits(31))
    return negotiate(worker, server)


def _drive(worker: Worker, job: Job, nominated: NominatedSender | None, timeout: int, bandwidth: int) -> int:
    """To the goodbye, or to the failure that the client and the log are told of."""
    if timeout and job.context.options.protocol >= 31:
        job.pump.message(MSG_IO_TIMEOUT, timeout.to_bytes(4, "little"))
    loop = Loop(
        stream_of(worker.sock),
        nominated or job.pump,
        who=job.role,
        timeout=timeout,
        bandwidth=bandwidth * 1024,
        before=job.before,
        companion=Ticks(nominated.tick) if nominated else None,
    )
    failure: PrsyncError | None = None
    with interruptible():
        try:
            loop.run()
        except PrsyncError as error:
            failure = error
    code, told = job.pump.exit_code(), None
    if failure is not None:
        told = job.told(failure)
        job.pump.abort(last_words(job, failure))
        loop.say_farewell(failure)
        code = failure.code if told is None else told
    worker.log.line(f"sent {loop.sent} bytes  received {loop.received} bytes  total size {job.context.stats.total_size}")
    if code and (failure is None or told is not None):
        worker.log.line(end_line(code, PROGRAM, job.role), warning=True)
    if failure is not None and not isinstance(failure, TransferTimeout):
        linger(worker.sock)
    return int(code)
