"""--read-batch: a pull whose remote is a file (main.c:do_cmd with read_batch, batch.c)."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from prsync.errors import ExitCode, FileError, StreamError, UsageError
from prsync.net.channel import Channel
from prsync.net.streams import FileStream
from prsync.options.older_protocols import refuse_beyond
from prsync.options.remote_arguments import allows_incremental
from prsync.privileges import open_trusted
from prsync.protocol.batch import BatchHead, HeadDecoder
from prsync.protocol.negotiation import Compat, Negotiated, NegotiationClient, Send
from prsync.protocol.numbers import encode_varint
from prsync.session.client.batch_options import adjust
from prsync.session.client.batch_writing import open_error
from prsync.session.client.output import INFO
from prsync.session.client.pull import Pull
from prsync.session.client.rules import prepare
from prsync.session.client.run import Run
from prsync.session.client.transfer import wishes_of

STANDARD_INPUT = 0


class Link(NamedTuple):
    """A batch in place of a handshake."""

    channel: Channel
    rest: bytes
    login: None = None


def read_batch(run: Run) -> ExitCode:
    prepared = prepare(run)
    stream = FileStream(_open(run))
    try:
        channel = Channel(stream, who=run.role)
        head, rest = _read_head(channel, run.options.protocol)
        incremental = allows_incremental(run.options)
        options, lines = adjust(run.options, head.flags, head.protocol)
        options = options.replace(trust_sender=1, protocol=head.protocol)
        if options.info_at_least("MISC", 1):
            for line in lines:
                run.output.say(INFO, line)
        refuse_beyond(options, head.protocol)
        run = run._replace(options=options)
        return Pull(run, Link(channel, rest), _agreed(run, head, incremental), prepared, None).run()
    finally:
        stream.close()


def _open(run: Run) -> int:
    name = run.options.batch_name or ""
    if name == "-":
        return os.dup(STANDARD_INPUT)
    try:
        descriptor = open_trusted(name, os.O_RDONLY)
    except OSError as error:
        raise FileError(open_error(run, name, error)) from None
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        os.close(descriptor)
        shown = name if name.startswith("/") else os.path.join(os.fsdecode(run.directory), name)
        raise FileError(f'Batch file "{shown}" is neither a regular file nor a FIFO')
    return descriptor


def _read_head(channel: Channel, newest: int) -> tuple[BatchHead, bytes]:
    decoder = HeadDecoder(newest)
    early = StreamError(f"rsync: connection unexpectedly closed (0 bytes received so far) [{channel.who}]")
    while (head := decoder.head()) is None:
        decoder.feed(channel.receive(early))
    return head, decoder.rest


def _agreed(run: Run, head: BatchHead, incremental: bool) -> Negotiated:
    """compat.c:setup_protocol: nothing is negotiated with a file; names are the options', or what a batch has by itself."""
    options = run.options
    if Compat.INC_RECURSE in head.compat and not incremental:
        raise UsageError("Incompatible options specified for inc-recursive batch file.")
    wishes = wishes_of(run, head.protocol)._replace(inc_recurse=True, checksum_list="", compress_list="")
    if head.protocol >= 29 and not options.do_compression:
        wishes = wishes._replace(compress=False, compress_choice=None)
    client = NegotiationClient(wishes)
    if head.protocol >= 30:
        client.feed(encode_varint(int(head.compat & ~Compat.VARINT_FLIST_FLAGS)))
    client.feed((head.seed & 0xFFFFFFFF).to_bytes(4, "little"))
    while not isinstance(found := client.next_event(), Negotiated):
        if isinstance(found, Send) or found is None:
            raise StreamError("the batch file's head asks for an answer")
    return found._replace(flags=head.compat)

