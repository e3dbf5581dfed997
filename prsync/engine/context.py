"""The transfer context: options in, log lines, events and statistics out. Wraps csrc/core/context.h."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from prsync.engine.native import ffi, lib
from prsync.errors import EngineError, ExitCode


class Status(enum.IntEnum):
    """What a call into the core answers (PS_OK …); failures are raised as EngineError instead."""

    OK = lib.PS_OK
    AGAIN = lib.PS_AGAIN
    FULL = lib.PS_FULL
    DONE = lib.PS_DONE


class Event(NamedTuple):
    """One entry of the core's event array."""

    kind: int
    code: int
    a: int
    b: int
    text: bytes


class Context:
    """Owns a ps_ctx. `options` is the C struct ps_opts: set its fields before other parts are made on it."""

    def __init__(self) -> None:
        self.handle: Any = ffi.gc(lib.ps_ctx_new(), lib.ps_ctx_free)
        self.options: Any = lib.ps_ctx_opts(self.handle)
        self.stats: Any = lib.ps_ctx_stats(self.handle)

    def check(self, status: int) -> Status:
        """Turns a status code into Status; raises EngineError with rsync's exit code for PS_FAIL."""
        if status == lib.PS_FAIL:
            error = lib.ps_ctx_error(self.handle)
            text = ffi.string(error.text).decode("utf-8", "replace")
            code = error.exit_code
            failure = EngineError(text or "the core failed without a reason", ExitCode(code) if code else ExitCode.STREAM_IO)
            failure.told = bool(error.told)
            raise failure
        return Status(status)

    def go_classic(self) -> None:
        """No mirror was nominated: nothing joins the swarm. To be called before the file list has come."""
        lib.ps_ctx_go_classic(self.handle)

    def set_string(self, which: int, text: bytes) -> None:
        self.check(lib.ps_ctx_set_string(self.handle, which, text, len(text)))

    def add_alternate_dir(self, path: bytes) -> None:
        self.check(lib.ps_ctx_add_alt_dir(self.handle, path, len(path)))

    def set_chmod(self, operations: Sequence[tuple[int, int, int]]) -> None:
        """Compiled --chmod rules: (mode_and, mode_or, PS_CHMOD_* flags) in order."""
        array = ffi.new("ps_chmod_op[]", [list(op) for op in operations])
        self.check(lib.ps_ctx_set_chmod(self.handle, array, len(operations)))

    def drain_log(self) -> Iterator[tuple[int, bytes]]:
        """The log records since the last call: (PS_LOG_* code, text with its newlines)."""
        size = ffi.new("size_t *")
        data = lib.ps_ctx_log(self.handle, size)
        if not size[0]:
            return
        raw = bytes(ffi.buffer(data, size[0]))
        lib.ps_ctx_log_clear(self.handle)
        at = 0
        while at < len(raw):
            length = int.from_bytes(raw[at + 1 : at + 5], "little")
            yield raw[at], raw[at + 5 : at + 5 + length]
            at += 5 + length

    def drain_events(self) -> list[Event]:
        count = ffi.new("uint32_t *")
        events = lib.ps_ctx_events(self.handle, count)
        if not count[0]:
            return []
        size = ffi.new("size_t *")
        text = lib.ps_ctx_event_text(self.handle, size)
        raw = bytes(ffi.buffer(text, size[0])) if size[0] else b""
        found = [
            Event(e.kind, e.code, e.a, e.b, raw[e.text_off : e.text_off + e.text_len])
            for e in (events[i] for i in range(count[0]))
        ]
        lib.ps_ctx_events_clear(self.handle)
        return found

    @property
    def input_is_plain(self) -> bool:
        """By the options: what the remote sends is data alone, not multiplexed."""
        return bool(lib.ps_ctx_input_is_plain(self.handle))

    @property
    def io_error(self) -> int:
        return int(lib.ps_ctx_io_error(self.handle))

    def add_io_error(self, bits: int) -> None:
        lib.ps_ctx_add_io_error(self.handle, bits)

    @property
    def got_transfer_error(self) -> bool:
        return bool(lib.ps_ctx_got_xfer_error(self.handle))

    def note_transfer_error(self) -> None:
        lib.ps_ctx_note_xfer_error(self.handle)

    def cancel(self) -> None:
        """Ends a running call soon; the only method that another thread may call."""
        lib.ps_cancel(self.handle)
