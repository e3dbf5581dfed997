"""The daemon's side of nominate/1 in the core: digest answers, peer connections. Wraps csrc/api/serve_api.h."""

from __future__ import annotations

from typing import Any

from prsync.engine.context import Context, Status
from prsync.engine.index import DigestIndex
from prsync.engine.native import ffi, lib

ASK = lib.PS_PEER_ASK


def split_frames(raw: bytes) -> list[bytes]:
    """Frames as the core hands them over: u32 length, bytes; and so on."""
    frames, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        frames.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


def _bytes(call: Any, handle: Any) -> bytes:
    size = ffi.new("size_t *")
    data = call(handle, size)
    return bytes(ffi.buffer(data, size[0])) if size[0] else b""


class Digester:
    """Answers digests? within a session, from the index alone. `send`: the ps_send handle; `root`: the ps_root handle."""

    def __init__(self, context: Context, send: Any, root: Any, index: DigestIndex | None) -> None:
        self._context = context
        self._parts = (send, root, index)  # must outlive the handle
        handle = lib.ps_digester_new(context.handle, send, root, ffi.NULL if index is None else index.handle)
        self._handle: Any = ffi.gc(handle, lib.ps_digester_free)

    def ask(self, body: bytes) -> None:
        """A digests? frame without its type byte. EngineError: malformed."""
        self._context.check(lib.ps_digester_ask(self._handle, body, len(body)))

    def step(self) -> Status:
        """FULL: output first; AGAIN: all is answered or pending."""
        return self._context.check(lib.ps_digester_step(self._handle))

    def retry(self, give_up: bool) -> None:
        self._context.check(lib.ps_digester_retry(self._handle, give_up))

    @property
    def pending(self) -> int:
        return int(lib.ps_digester_pending(self._handle))

    def given(self) -> tuple[int, int]:
        """(files whose digests were given, their bytes)."""
        files, size = ffi.new("uint32_t *"), ffi.new("uint64_t *")
        lib.ps_digester_given(self._handle, files, size)
        return int(files[0]), int(size[0])

    def take_wanted(self) -> bytes:
        """What the indexer should hash: u8 flags, name, NUL; and so on."""
        wanted = _bytes(lib.ps_digester_wanted, self._handle)
        lib.ps_digester_wanted_clear(self._handle)
        return wanted


class Peer:
    """A peer connection after its handshake: bytes in, bytes out; fetches are served, other frames handed out."""

    def __init__(self, context: Context, root: Any, index: DigestIndex | None, rules: Any = None) -> None:
        self.context = context
        self._parts = (root, index, rules)
        handle = lib.ps_peer_new(
            context.handle, ffi.NULL if rules is None else rules, root, ffi.NULL if index is None else index.handle
        )
        self._handle: Any = ffi.gc(handle, lib.ps_peer_free)
        self._size: Any = ffi.new("size_t *")
        self._input: Any = None
        self.counts: Any = lib.ps_peer_get_counts(self._handle)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Only after a step that answered AGAIN; the data stay as they are until the next such answer."""
        self._input = ffi.from_buffer("uint8_t[]", data)
        self.context.check(lib.ps_peer_feed(self._handle, self._input, len(self._input)))

    def step(self) -> Status:
        """AGAIN: needs input. FULL: take output or frames. DONE: the remote said bye. OK: call again."""
        return self.context.check(lib.ps_peer_step(self._handle))

    def output(self) -> memoryview:
        data = lib.ps_peer_out(self._handle, self._size)
        return memoryview(ffi.buffer(data, self._size[0])) if self._size[0] else memoryview(b"")

    def sent(self, count: int) -> None:
        lib.ps_peer_sent(self._handle, count)

    def put_frame(self, frame: bytes) -> None:
        self.context.check(lib.ps_peer_put_frame(self._handle, frame, len(frame)))

    def take_frames(self) -> list[bytes]:
        frames = split_frames(_bytes(lib.ps_peer_frames, self._handle))
        lib.ps_peer_frames_clear(self._handle)
        return frames

    def set_busy(self, seconds: int) -> None:
        """seconds > 0: fetches are answered `busy`; 0: they are served; ASK: the next one makes `step` answer FULL first, so
        that a slot can be looked for (`counts.queued` says that there is one)."""
        lib.ps_peer_set_busy(self._handle, seconds)

    def take_wanted(self) -> bytes:
        wanted = _bytes(lib.ps_peer_wanted, self._handle)
        lib.ps_peer_wanted_clear(self._handle)
        return wanted
