"""A server behind a remote shell, `prsync --server`: versions, negotiation, the role that is asked for (main.c:start_server)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from prsync.errors import PrsyncError, UsageError
from prsync.net.channel import Channel, Words
from prsync.net.streams import Stream
from prsync.options.model import Options, as_bytes, as_text
from prsync.options.older_protocols import refuse_beyond
from prsync.options.read_server_command import parse_server_command
from prsync.protocol.filter_syntax import CvsSources
from prsync.protocol.negotiation import Negotiated, NegotiationServer, Send
from prsync.protocol.version import Agreed, VersionExchange
from prsync.session.daemon.transfer.input import MuxInput
from prsync.session.daemon.transfer.job import Job, last_words
from prsync.session.daemon.transfer.negotiation import failure_messages, wishes_of
from prsync.session.daemon.transfer.receiving import ReceiverJob
from prsync.session.daemon.transfer.sending import SenderJob
from prsync.session.loop import Loop
from prsync.session.server.confined_site import site_of
from prsync.session.server.site import UserSite, change_directory

WORD_LIMIT = 1 << 16  # bytes of one secluded argument


class Serving(NamedTuple):
    """All that a server is given."""

    stream: Stream
    words: Sequence[str]  # the arguments as they were given
    directory: Callable[[], bytes]  # the current one
    umask: int
    environment: Mapping[str, str]
    cvs_sources: Callable[[], CvsSources]
    log: Callable[[int, bytes], None]  # for the server's own log, --log-file


def run_server(serving: Serving) -> int:
    """From the versions to the goodbye; the exit code. Raises PrsyncError for what cannot be told to the client."""
    options = parse_server_command(serving.words)
    role = "sender" if options.am_sender else "Receiver"
    channel = Channel(serving.stream, options.io_timeout, role)
    words = Words(channel)
    if options.protect_args:
        options = _read_secluded(words, serving.words)
        check_arguments(options)
    change_directory(options.arguments)
    site = site_of(options, UserSite(serving.directory(), serving.umask, serving.cvs_sources, serving.log))
    negotiated, rest = _negotiate(channel, words.take_rest(), options, serving.environment)
    paths = tuple(as_bytes(path) for path in options.arguments[1:])
    job: Job = (SenderJob if options.am_sender else ReceiverJob)(site, options, paths, negotiated)
    try:
        job.prepare(MuxInput(Words(channel, rest), job.context))
    except PrsyncError as failure:
        return _refuse(channel, failure, negotiated.protocol)
    return _drive(channel, job, options)


def check_arguments(options: Options) -> None:
    """Raises UsageError where there are none; with --secluded-args they come later."""
    if not options.arguments:
        raise UsageError("rsync: --server needs a directory and paths behind its options; a remote shell starts it")


def _read_secluded(words: Words, plain: Sequence[str]) -> Options:
    """The second batch of arguments (io.c:read_args). Raises UsageError as the first does."""
    more: list[str] = []
    while word := words.word(WORD_LIMIT):
        more.append(as_text(word))
    return parse_server_command(plain, more[1:] if more[:1] == ["rsync"] else more)


def _negotiate(channel: Channel, rest: bytes, options: Options, environment: Mapping[str, str]) -> tuple[Negotiated, bytes]:
    """compat.c:setup_protocol. Raises PrsyncError."""
    exchange = VersionExchange(options.protocol, options.client_info)
    exchange.feed(rest)
    while not isinstance(event := exchange.next_event(), Agreed):
        if isinstance(event, Send):
            channel.send(event.data)
        else:
            exchange.feed(channel.receive())
    refuse_beyond(options, event.protocol)
    wishes = wishes_of(options, event.protocol, environment)
    server = NegotiationServer(wishes, options.client_info, options.checksum_seed or secrets.randbits(31))
    server.feed(exchange.rest)
    while not isinstance(step := server.next_event(), Negotiated):
        if isinstance(step, Send):
            channel.send(step.data)
        else:
            server.feed(channel.receive())
    return step, server.rest


def _refuse(channel: Channel, failure: PrsyncError, protocol: int) -> int:
    """The reason of a failure before there is a pump, in multiplexed messages."""
    channel.send(failure_messages(failure, protocol, channel.who))
    return int(failure.code)


def _drive(channel: Channel, job: Job, options: Options) -> int:
    loop = Loop(
        channel.stream,
        job.pump,
        who=job.role,
        timeout=options.io_timeout,
        bandwidth=options.bwlimit * 1024 if options.am_sender else 0,
        before=job.before,
    )
    try:
        loop.run()
    except PrsyncError as failure:
        told = job.told(failure)
        job.pump.abort(last_words(job, failure))
        loop.say_farewell(failure)
        return int(failure.code if told is None else told)
    return int(job.pump.exit_code())
