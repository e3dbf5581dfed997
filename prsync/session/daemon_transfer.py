"""A worker's transfer: the client's arguments, negotiation, the sender (the end of rsync_module, main.c:start_server)."""

from __future__ import annotations

import attrs

from prsync.config import Module
from prsync.session.daemon_connection import Worker
from prsync.session.daemon_text import Refusal


@attrs.frozen
class Entered:
    """A module that was entered: the process has its final root, directory, user and groups."""

    module: Module
    protocol: int
    user: str
    read_only: bool
    root: int  # descriptor of the module's directory
    directory: str  # the module's path as this process sees it
    full_path: str  # and as the machine does
    munge_links: bool
    chrooted: bool


def serve_transfer(worker: Worker, entered: Entered) -> int:
    raise Refusal("transfers are not supported yet")
