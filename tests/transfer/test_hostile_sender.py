"""What a sender says unasked, by hand: files that nobody wants, names, sum heads. The receiver is a daemon's, or a client."""

from __future__ import annotations

import os
import pathlib
import struct

import pytest

from prsync.engine.context import Status
from prsync.engine.flist import Root
from prsync.engine.native import lib
from prsync.engine.receiving import Receiving
from prsync.engine.rules import RuleSet
from prsync.engine.sums import Sum, hash_bytes
from prsync.errors import EngineError, ExitCode
from prsync.protocol.filters import daemon_rules
from tests.engine.flist_tools import ARCHIVE, END, make_context, wire_entry

DIR = 0o40755
ITEM_TRANSFER = 0x8000
NO_SUMS = struct.pack("<4i", 0, 0, 0, 0)


def message(data: bytes) -> bytes:
    return struct.pack("<I", 7 << 24 | len(data)) + data


def a_file(ndx: int, data: bytes, iflags: int = ITEM_TRANSFER) -> bytes:
    """The whole of a file that begins a session's records."""
    tokens = struct.pack("<i", len(data)) + data + bytes(4)
    return bytes([ndx + 1]) + struct.pack("<H", iflags) + NO_SUMS + tokens + hash_bytes(Sum.XXH128, data)


class Server:
    """A daemon's receiver in `module`; `hide`: names that it excludes."""

    def __init__(self, module: pathlib.Path, hide: bytes = b"", **options: int) -> None:
        fields = {**ARCHIVE, "xfer_sum": lib.PS_SUM_XXH128, "implied_dirs": 1, "am_server": 1, "am_daemon": 1, "numeric_ids": 1}
        fields |= {
            "am_root": 0,
            "owner": 0,
            "group": 0,
            "max_size": -1,
            "min_size": -1,
            "max_delete": -1,
            "super": -1,
            "whole_file": -1,
        }
        fields["compress_level"] = -(2**31)
        self.context = make_context(lib.PS_ROLE_RECEIVER, **{**fields, **options})
        self.log: list[tuple[int, bytes]] = []
        self.rules = RuleSet(self.context, daemon=daemon_rules(lambda name: b"", exclude=hide).rules)
        self.root = Root.open(self.context, os.fsencode(module))
        self.core = Receiving(self.context, b"", self.rules.handle, self.root)

    def hear(self, stream: bytes) -> ExitCode:
        """All of it before the generator has done anything; what ends the run."""
        try:
            for at in range(0, len(stream), len(self.core.buffer)):
                part = stream[at : at + len(self.core.buffer)]
                self.core.buffer[: len(part)] = part
                status = self.core.feed(len(part))
                while status is Status.FULL:
                    self.log += self.context.drain_log()
                    status = self.core.feed(0)
        except EngineError as error:
            self.core.abort(error.code)
            self.log.append((0, error.text.encode()))
            return error.code
        return ExitCode.OK

    def said(self) -> bytes:
        self.log += self.context.drain_log()
        return b"".join(text for _, text in self.log)


def test_data_below_an_excluded_directory_is_refused_unasked(tmp_path: pathlib.Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "file").write_text("kept")
    listed = wire_entry(b".", DIR) + wire_entry(b"hidden", DIR) + wire_entry(b"hidden/file", size=3) + END
    server = Server(tmp_path, b"/hidden")
    assert server.hear(message(listed + a_file(2, b"new"))) is ExitCode.PROTOCOL
    assert (tmp_path / "hidden" / "file").read_text() == "kept" and os.listdir(tmp_path / "hidden") == ["file"]
    open_server = Server(tmp_path, b"/other")
    assert open_server.hear(message(listed + a_file(2, b"new"))) is ExitCode.OK
    assert (tmp_path / "hidden" / "file").read_text() == "new"


@pytest.mark.parametrize("small", [True, False])
def test_data_in_place_never_goes_into_what_is_no_file(tmp_path: pathlib.Path, small: bool) -> None:
    """A pipe stands for a device: the generator would put it out of the way, but the data comes first."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    data = b"x" * (10 if small else 300_000)
    listed = wire_entry(b".", DIR) + wire_entry(b"pipe", size=len(data)) + END
    server = Server(tmp_path, inplace=1)
    code = server.hear(message(listed + a_file(1, data)))
    assert code is ExitCode.OK and b"open" in server.said()
    with pytest.raises(BlockingIOError):
        assert not os.read(reader, 1), "it had a writer"
        raise BlockingIOError
    os.close(reader)
