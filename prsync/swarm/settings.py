"""What a run tells its swarm."""

from __future__ import annotations

import socket
from collections.abc import Callable

import attrs

from prsync.protocol import limits


@attrs.frozen
class Settings:
    """What the swarm is told of the run. origin_url: of the module; prefix: where the transfer's names lie within it.
    origin_address: "" where only a proxy knows it.

    bandwidth: bytes a second over all sources, 0 for no limit. only: the origin's data are not to be used.
    open_origin: makes a peer connection to an origin that wants a password, which the fetcher is not told: the socket, past its
    handshake, and what came beyond that. Blocking; raises PrsyncError.
    """

    origin_url: str
    origin_address: str
    prefix: bytes
    family: int = 0
    bind_address: str | None = None
    connect_seconds: float = 0.0
    proxy: tuple[str, str, str] | None = None
    bandwidth: int = 0
    only: bool = False
    open_origin: Callable[[], tuple[socket.socket, bytes]] | None = None
    stall_seconds: float = limits.STALL_SECONDS
