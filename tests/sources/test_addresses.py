import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.errors import SocketError
from prsync.net.connect import Route
from prsync.net.proxy import Proxy
from prsync.sources.addresses import (
    DENIED_PORTS,
    ForbiddenSource,
    SourceURL,
    address_is_allowed,
    check_address,
    longest_below,
    parse_source_url,
)
from prsync.sources.base import SourceRefused, SourceSettings
from prsync.sources.connection import open_connection

ALLOWED = [
    ("192.0.2.1", "192.0.2.9"),
    ("8.8.8.8", "1.1.1.1"),
    ("8.8.8.8", "10.0.0.1"),
    ("10.1.2.3", "10.9.9.9"),
    ("10.1.2.3", "192.168.1.1"),
    ("127.0.0.3", "127.0.0.1"),
    ("::1", "127.0.0.1"),
    ("fe80::1%eth0", "fe80::2"),
    ("fd00::5", "fd00::1"),
    ("2001:4860:4860::8888", "1.1.1.1"),
    ("::ffff:8.8.8.8", "1.1.1.1"),
    ("8.8.8.8", ""),
]
REFUSED = [
    ("127.0.0.1", "1.1.1.1"),
    ("127.0.0.1", "10.0.0.1"),
    ("::1", "1.1.1.1"),
    ("::ffff:127.0.0.1", "1.1.1.1"),
    ("10.0.0.1", "1.1.1.1"),
    ("10.0.0.1", "127.0.0.1"),
    ("192.168.1.1", "1.1.1.1"),
    ("169.254.1.1", "10.0.0.1"),
    ("169.254.169.254", "1.1.1.1"),
    ("100.64.0.1", "1.1.1.1"),
    ("0.0.0.0", "127.0.0.1"),
    ("224.0.0.1", "1.1.1.1"),
    ("255.255.255.255", "10.0.0.1"),
    ("fe80::1", "2001:4860:4860::8888"),
    ("fd00::5", "2001:4860:4860::8888"),
    ("127.0.0.1", ""),
    ("10.0.0.1", ""),
    ("224.0.0.1", ""),
]


@pytest.mark.parametrize(("address", "origin"), ALLOWED)
def test_address_in_reach_of_the_origin_is_allowed(address: str, origin: str) -> None:
    assert address_is_allowed(address, origin)


@pytest.mark.parametrize(("address", "origin"), REFUSED)
def test_address_that_an_origin_may_not_name_is_refused(address: str, origin: str) -> None:
    assert not address_is_allowed(address, origin)
    with pytest.raises(ForbiddenSource, match="may not be contacted"):
        check_address(address, origin, SourceURL("rsync", "h", 873, "m"))


@given(st.ip_addresses())
def test_address_check_never_fails_otherwise(address: object) -> None:
    assert address_is_allowed(str(address), "1.1.1.1") in (True, False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rsync://mirror.example/debian", SourceURL("rsync", "mirror.example", 873, "debian")),
        ("rsync://[2001:db8::1]:8730/m/sub%20dir/", SourceURL("rsync", "2001:db8::1", 8730, "m/sub dir/")),
        ("https://mirror.example/", SourceURL("https", "mirror.example", 443, "")),
        ("ftp://mirror.example/pub", SourceURL("ftp", "mirror.example", 21, "pub")),
    ],
)
def test_url_of_a_source_is_parsed(url: str, expected: SourceURL) -> None:
    assert parse_source_url(url) == expected


def test_url_shows_module_and_rest() -> None:
    url = parse_source_url("rsync://h:8730/mod/a/b/")
    assert (url.module, url.below, str(url)) == ("mod", "a/b", "rsync://h:8730/mod/a/b/")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ssh://h/x",
        "rsync://user:secret@h/m",
        "rsync://user@h/m",
        "rsync:///m",
        "rsync://h",
        "rsync://h/",
        "rsync://h:25/m",
        "http://h:6379/x",
        "rsync://h:99999/m",
        "rsync://h:abc/m",
        "rsync://h/m/../x",
        "rsync://h/m%0ax",
        "rsync://[::1/m",
        "",
        "/local/path",
    ],
)
def test_url_that_is_no_allowed_source_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ForbiddenSource) as caught:
        parse_source_url(url)
    assert "\n" not in caught.value.text and "secret" not in caught.value.text


def test_ports_of_our_own_schemes_are_not_denied() -> None:
    assert not {873, 874, 80, 443, 21} & DENIED_PORTS


def test_longest_below_counts_bytes_and_passes_over_what_is_no_source() -> None:
    assert longest_below(["rsync://h/m", "rsync://h/m/a/b/", "rsync://h/m/é", "file:///a/very/long/path"]) == 3
    assert longest_below([]) == 0


@given(st.one_of(st.text(max_size=60), st.text(max_size=60).map("rsync://h/".__add__), st.text(max_size=60).map("rsync://".__add__)))
def test_url_of_anything_is_a_source_or_refused(text: str) -> None:
    with contextlib.suppress(ForbiddenSource):
        assert parse_source_url(text).port not in DENIED_PORTS


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "::1", "localhost", "a.LOCALHOST.", "10.0.0.1"])
def test_host_behind_a_proxy_is_judged_as_it_is_written(host: str) -> None:
    route = Route(proxy=Proxy("127.0.0.1", "1"), timeout=1)  # nobody listens there
    with pytest.raises(SourceRefused, match="may not be contacted"):
        open_connection(SourceSettings(SourceURL("rsync", host, 873, "m"), route, ""))
    with pytest.raises(SocketError):
        open_connection(SourceSettings(SourceURL("rsync", host, 873, "m"), route, "", is_origin=True))


def test_name_behind_a_proxy_is_the_proxys_to_resolve() -> None:
    route = Route(proxy=Proxy("127.0.0.1", "1"), timeout=1)
    with pytest.raises(SocketError):
        open_connection(SourceSettings(SourceURL("rsync", "no.such.name.invalid", 873, "m"), route, ""))
