"""The parameter `mirror`."""

import pytest

from prsync.protocol.frames import SourceKind
from prsync.registry.listed import parse_mirror


@pytest.mark.parametrize(
    "value, kind, url",
    [
        ("rsync://host/mod", SourceKind.PEER, "rsync://host/mod"),
        ("rsync://host:8730/mod/below stock", SourceKind.RSYNCD, "rsync://host:8730/mod/below"),
        ("  rsync://[2001:db8::1]/mod\tstock ", SourceKind.RSYNCD, "rsync://[2001:db8::1]/mod"),
    ],
)
def test_mirror_is_read_as_kind_and_url(value: str, kind: SourceKind, url: str) -> None:
    candidate = parse_mirror(value)
    assert (candidate.kind, candidate.url, candidate.listed) == (kind, url, True)


@pytest.mark.parametrize(
    "value",
    ["", "rsync://host", "rsync://user@host/mod", "file:///srv", "rsync://host/mod other", "http://host/ stock",
     "rsyncs://host/mod", "http://host/pub", "https://host/pub", "ftp://host/pub", "rsync://host:25/mod", "rsync://host/a/../b"],
)  # fmt: skip
def test_mirror_that_clients_could_not_use_is_refused(value: str) -> None:
    with pytest.raises(ValueError):
        parse_mirror(value)
