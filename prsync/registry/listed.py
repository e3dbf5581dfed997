"""Mirrors that the configuration lists by hand: the parameter `mirror`."""

from __future__ import annotations

from prsync.protocol.frames import SourceKind
from prsync.registry.nomination import Candidate
from prsync.sources.addresses import ForbiddenSource, parse_source_url

STOCK = "stock"
NOT_YET = ("rsyncs", "http", "https", "ftp")  # no client can take from them yet: to list one would have no effect


def parse_mirror(value: str) -> Candidate:
    """`URL`, or `URL stock` where the server is rsync's own. The URL stands for the module's top directory.

    rsync://HOST/MODULE is a prsyncd or prsync-mirror that serves the module to peers. Raises ValueError with the reason.
    """
    words = value.split()
    if not words or len(words) > 2 or words[1:] not in ([], [STOCK]):
        raise ValueError(f'"mirror = {value}": must be a URL, and "{STOCK}" behind it for a server that is rsync\'s own')
    try:
        url = parse_source_url(words[0])
    except ForbiddenSource as error:
        raise ValueError(error.text) from None
    if url.scheme in NOT_YET:
        raise ValueError(f'"mirror = {value}": {url.scheme} is not supported yet: list the mirror by its rsync URL')
    kind = SourceKind.RSYNCD if words[1:] else SourceKind.PEER
    return Candidate(kind, str(url), listed=True)
