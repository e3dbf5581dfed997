"""Buffers of received bytes for a core that uses its input in place: some are filled while it is busy with another.

So input is read on while the output is blocked, within bounds, and neither side of a session can hold up the other.
"""

from __future__ import annotations

from collections import deque

from prsync.engine.native import ffi

BUFFERS = 4
BUFFER_BYTES = 256 * 1024
# Not cleared: what a side with little to say does not fill takes no memory.
_allocate = ffi.new_allocator(should_clear_after_alloc=False)


class ReadAhead:
    """`closed`: the remote sends nothing more; what has been received is still to be taken."""

    def __init__(self) -> None:
        self.closed = False
        self._made = 0
        self._free: list[memoryview] = []
        self._waiting: deque[tuple[memoryview, int]] = deque()
        self._used: memoryview | None = None

    def room(self) -> memoryview | None:
        """Where to receive into, None: nothing more now."""
        if self.closed:
            return None
        if self._waiting and self._waiting[-1][1] < BUFFER_BYTES:
            buffer, count = self._waiting[-1]
            return buffer[count:]
        if not self._free:
            if self._made == BUFFERS:
                return None
            self._made += 1
            self._free.append(memoryview(ffi.buffer(_allocate("uint8_t[]", BUFFER_BYTES))))
        return self._free[-1]

    def received(self, count: int) -> None:
        """`count` bytes lie at the start of `room`; 0: the remote has closed the stream."""
        if count == 0:
            self.closed = True
        elif self._waiting and self._waiting[-1][1] < BUFFER_BYTES:
            buffer, before = self._waiting.pop()
            self._waiting.append((buffer, before + count))
        else:
            self._waiting.append((self._free.pop(), count))

    def take(self) -> memoryview | None:
        """The next bytes, None: there are none. What was taken before has been used up."""
        if self._used is not None:
            self._free.append(self._used)
            self._used = None
        if not self._waiting:
            return None
        self._used, count = self._waiting.popleft()
        return self._used[:count]
