"""A stock rsync daemon to pull from, and the smallest client that can: a blocking handshake, then the receiver's pump."""

from __future__ import annotations

import os
import pathlib
import select
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from servers import RSYNC, StockDaemon

from prsync.engine.context import Context
from prsync.engine.native import lib
from prsync.errors import PrsyncError
from prsync.transfer.pump import Want
from prsync.transfer.receiver import Receiver


def serve(root: pathlib.Path, state: pathlib.Path) -> StockDaemon:
    """The tree `root` as module `m`; the daemon's own files go to `state`."""
    return StockDaemon(state, f"[m]\npath = {root}\n")


@dataclass
class Outcome:
    code: int
    error: str
    log: list[tuple[int, bytes]]
    context: Context = field(repr=False)

    def text(self) -> str:
        return b"".join(text for _, text in self.log).decode("utf-8", "replace")


def read_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        assert part, "closed in the handshake"
        data += part
    return data


def read_line(connection: socket.socket) -> str:
    line = b""
    while not line.endswith(b"\n"):
        line += read_exactly(connection, 1)
    return line.decode().rstrip("\n")


def read_varint(connection: socket.socket) -> int:
    first = read_exactly(connection, 1)[0]
    extra = next((n for n, limit in enumerate([0x80, 0xC0, 0xE0, 0xF0, 0xF8]) if first < limit), 5)
    rest = read_exactly(connection, extra)
    return int.from_bytes(rest, "little") | (first & ((1 << (8 - extra)) - 1) if extra else first) << (8 * extra)


def handshake(
    connection: socket.socket, context: Context, letters: str, arguments: list[str], protocol: int, checksum: bytes
) -> None:
    connection.sendall(b"@RSYNCD: %d.0 md5 md4\n" % protocol)
    read_line(connection)
    connection.sendall(b"m\n")
    while (answer := read_line(connection)) != "@RSYNCD: OK":
        assert not answer.startswith("@ERROR"), answer
    words = ["--server", "--sender", f"-{letters}e.iLsfxCIvu" if protocol >= 30 else f"-{letters}", *arguments]
    end = b"\0" if protocol >= 30 else b"\n"
    connection.sendall(b"".join(word.encode() + end for word in words) + end)
    agree(connection, context, protocol, checksum)


def agree(connection: socket.socket, context: Context, protocol: int, checksum: bytes) -> None:
    """compat.c:setup_protocol at the client, once the protocol is known."""
    options = context.options
    options.protocol = protocol
    if protocol < 30:
        options.xfer_sum = options.file_sum = lib.PS_SUM_MD4_SEEDED
        options.checksum_seed = int.from_bytes(read_exactly(connection, 4), "little", signed=True)
        return
    flags = read_varint(connection)
    options.inc_recurse = flags & 1
    options.receiver_symlink_times = flags >> 1 & 1
    options.safe_flist = flags >> 3 & 1
    options.avoid_xattr_optim = flags >> 4 & 1
    options.proper_seed_order = flags >> 5 & 1
    options.inplace_partial_dir = flags >> 6 & 1
    options.varint_flist_flags = flags >> 7 & 1
    options.id0_names = flags >> 8 & 1
    if flags & 0x80:
        size = read_exactly(connection, 1)[0]
        if size & 0x80:
            size = (size & 0x7F) << 8 | read_exactly(connection, 1)[0]
        read_exactly(connection, size)
        connection.sendall(bytes([len(checksum)]) + checksum)
    kinds = {b"xxh128": lib.PS_SUM_XXH128, b"md5": lib.PS_SUM_MD5, b"xxh3": lib.PS_SUM_XXH3, b"sha1": lib.PS_SUM_SHA1}
    options.xfer_sum = options.file_sum = kinds[checksum]
    options.checksum_seed = int.from_bytes(read_exactly(connection, 4), "little", signed=True)


Change = Callable[[bytearray], None]


def pump(
    connection: socket.socket,
    receiver: Receiver,
    change: Change | None = None,
    stop_after: int | None = None,
    behind: bool = False,
    most: int | None = None,
) -> None:
    """Moves bytes until the receiver is done. `change` may alter what was received; stop_after ends the connection early;
    behind: small files are put in place by the core's threads; most: no more bytes are received at once, and the threads are
    waited for after each time."""
    if behind:
        receiver.core.write_behind()
    connection.setblocking(False)
    total = 0
    while True:
        need = receiver.run()
        output = receiver.output()
        if need is Want.NOTHING and not output:
            return
        if need is Want.OUTPUT and not output:
            continue
        if (most or not select.select([connection], [], [], 0)[0]) and receiver.settle():
            continue
        readers = [] if need is Want.NOTHING else [connection]
        readable, writable, _ = select.select(readers, [connection] if output else [], [], 30)
        assert readable or writable, "nothing moves"
        if writable:
            try:
                sent = connection.send(output)
            except BlockingIOError:
                sent = 0
            del output
            receiver.sent(sent)
        if readable:
            room = min(len(receiver.buffer), most or len(receiver.buffer))
            room = room if stop_after is None else min(room, max(stop_after - total, 0))
            count = connection.recv_into(receiver.buffer, room) if room else 0
            total += count
            if change and count:
                piece = bytearray(receiver.buffer[:count])
                change(piece)
                receiver.buffer[:count] = piece
            receiver.received(count)


def pull(
    daemon: StockDaemon,
    destination: pathlib.Path | str | None,
    *,
    source: str = "m/",
    letters: str = "logDtpr",
    arguments: tuple[str, ...] = (),
    setup: Callable[[Context], None] | None = None,
    change: Change | None = None,
    stop_after: int | None = None,
    protocol: int = 32,
    checksum: bytes = b"xxh128",
    filters: bytes = b"\0\0\0\0",
    behind: bool = False,
    most: int | None = None,
) -> Outcome:
    context = Context()
    options = context.options
    options.role = lib.PS_ROLE_RECEIVER
    options.recurse, options.links, options.perms, options.times = 1, 1, 1, 1
    options.owner = options.group = options.devices = options.specials = 1
    options.max_size = options.min_size = options.max_delete = -1
    options.whole_file = -1
    options.implied_dirs = 1
    options.am_root = int(os.geteuid() == 0)
    if setup:
        setup(context)
    log: list[tuple[int, bytes]] = []
    code, error = 0, ""
    with socket.create_connection(("127.0.0.1", daemon.port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handshake(connection, context, letters, [*arguments, ".", source], protocol, checksum)
        receiver = Receiver(context, None if destination is None else str(destination).encode(), lambda c, t: log.append((c, t)))
        receiver.core.put(filters)
        try:
            pump(connection, receiver, change, stop_after, behind, most)
            code = int(receiver.exit_code())
        except PrsyncError as problem:
            code, error = int(problem.code), problem.text
            receiver.drain()
        del receiver
    return Outcome(code, error, log, context)


def same_trees(one: pathlib.Path, two: pathlib.Path) -> str:
    """What rsync itself would change to make `two` equal to `one`; empty when they are the same."""
    assert RSYNC
    found = subprocess.run([RSYNC, "-aHcni", "--delete", f"{one}/", f"{two}/"], capture_output=True, text=True, check=True)
    return found.stdout


def lost_links(differences: str, protocol: int) -> str:
    """The differences without those that protocol 27 must leave: it knows hard links of regular files only."""
    known = ("hS", "hL") if protocol < 28 else ()
    return "".join(line + "\n" for line in differences.splitlines() if not line.startswith(known))
