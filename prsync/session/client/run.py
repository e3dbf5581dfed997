"""What a client's run is given, and what its sessions share: the login, the route, the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from prsync.net.connect import Route
from prsync.net.handshake import Login
from prsync.options.model import Options
from prsync.options.operands import Target
from prsync.protocol.filter_syntax import CvsSources
from prsync.session.client.output import Output

if TYPE_CHECKING:
    from prsync.session.client.batch_writing import BatchFile


class Run(NamedTuple):
    """All that a run is given. Nothing is read from the environment but through it."""

    options: Options
    target: Target
    route: Route
    login: Login
    output: Output
    checksum_list: str = ""  # RSYNC_CHECKSUM_LIST
    compress_list: str = ""  # RSYNC_COMPRESS_LIST
    umask: int = 0o022
    directory: bytes = b"/"  # where the client was started
    started: float = 0.0  # time.monotonic() then
    batch: BatchFile | None = None  # that is written
    words: tuple[str, ...] = ()  # the command as it was given, for the script of a batch
    cvs_sources: Callable[[], CvsSources] = CvsSources  # what -C reads

    @property
    def role(self) -> str:
        """As messages name it."""
        return "sender" if self.target.push else "Receiver"
