"""Our sender as the client of a stock `rsync --server`: a blocking handshake, then the pump over a socket pair."""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable

import stock
from servers import RSYNC

from prsync.engine.context import Context
from prsync.engine.flist import FileLists, Lister, Root
from prsync.engine.native import lib
from prsync.engine.rules import RuleSet
from prsync.engine.sending import Send
from prsync.errors import PrsyncError
from prsync.protocol.filter_list import FilterTraits, client_filter_list
from prsync.protocol.filters import FilterParser
from prsync.transfer.pump import Pump, Want
from prsync.transfer.sender import Sender

SECONDS = 30  # without anything that moves


def new_context(setup: Callable[[Context], None] | None = None) -> Context:
    context = Context()
    options = context.options
    options.role = lib.PS_ROLE_SENDER
    options.recurse = options.links = options.perms = options.times = options.owner = options.group = 1
    options.devices = options.specials = options.implied_dirs = 1
    options.max_size = options.min_size = options.max_delete = options.super = options.whole_file = -1
    options.compress_level = -(2**31)
    options.am_root = int(os.geteuid() == 0)
    context.set_string(lib.PS_STR_CURR_DIR, b"/")
    if setup:
        setup(context)
    return context


def run_pump(connection: socket.socket, pump: Pump) -> None:
    """Moves bytes in both directions, as they are ready, until the pump has ended."""
    connection.setblocking(False)
    while True:
        want = pump.run()
        output = pump.output()
        if want is Want.NOTHING and not output:
            return
        if want is Want.OUTPUT and not output:
            continue
        if not output and pump.settle():
            continue
        room = None if want is Want.NOTHING else pump.room()
        readers = [connection] if room is not None else []
        readable, writable, _ = select.select(readers, [connection] if output else [], [], SECONDS)
        assert readable or writable, "nothing moves"
        sent = 0
        if writable:
            with contextlib.suppress(BlockingIOError):
                sent = connection.send(output)
        del output
        pump.sent(sent)
        if readable and room is not None:
            pump.received(connection.recv_into(room))


def push(
    sources: list[pathlib.Path | str],
    destination: pathlib.Path | str,
    *,
    letters: str = "logDtpr",
    arguments: tuple[str, ...] = (),
    setup: Callable[[Context], None] | None = None,
    protocol: int = 32,
    checksum: bytes = b"xxh128",
    filters: tuple[str, ...] = (),
    delete: bool = False,
    directory: pathlib.Path | str = "/",
    names: list[bytes] | None = None,
) -> stock.Outcome:
    """`setup` sets our options, `letters` and `arguments` are the server's; `delete`: the server reads a filter list."""
    context = new_context(setup)
    log: list[tuple[int, bytes]] = []
    code, error = 0, ""
    ours, theirs = socket.socketpair()
    words = [RSYNC, "--server", f"-{letters}e.iLsfxCIvu", *arguments, ".", str(destination)]
    server = subprocess.Popen(words, stdin=theirs, stdout=theirs, cwd=directory)
    theirs.close()
    with ours:
        ours.sendall(struct.pack("<i", protocol))
        assert struct.unpack("<i", stock.read_exactly(ours, 4))[0] >= 32
        stock.agree(ours, context, protocol, checksum)
        parser = FilterParser(lambda name: pathlib.Path(os.fsdecode(name)).read_bytes(), protocol=protocol, am_sender=True)
        for rule in filters:
            parser.filter(rule.encode())
        traits = FilterTraits(am_sender=True, protocol=protocol, delete_mode=delete)
        head = client_filter_list(parser, traits)
        rules = RuleSet(context, parser.rules, cvs=parser.cvs_rules, parse=parser.merge_file)
        lists, root = FileLists(context), Root.everything(context)
        lister = Lister(lists, root, rules.handle)
        lister.from_anywhere(os.fsencode(directory))
        for source in sources:
            lister.argument(os.fsencode(source))
        if names is not None:
            lister.names(names)
        send = Send(context, lists, lister, root, rules)
        if head:
            send.put(head)
        sender = Sender(send, lambda c, t: log.append((c, t)))
        try:
            run_pump(ours, sender)
            code = int(sender.exit_code())
        except PrsyncError as problem:
            code, error = int(problem.code), problem.text
            sender.abort(problem)
            ours.setblocking(True)
            ours.sendall(sender.output())
    server_code = wait(server)
    return stock.Outcome(max(code, server_code), error, log, context)


def wait(process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + SECONDS
    while process.poll() is None:
        assert time.monotonic() < end, "the server does not end"
        select.select([], [], [], 0.01)
    return process.returncode
