"""hosts allow and hosts deny are judged as access.c does."""

import pytest

from prsync.session.daemon.admission import host_access as daemon_access
from prsync.session.daemon.admission.host_access import UNDETERMINED, UNKNOWN, check_access, host_name, peer_address

V4, V6, HOST = "192.0.2.10", "2001:db8::5", "www.example.org"


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks a real name server."""

    def forward(name: str) -> tuple[str, list[str], list[str]]:
        if name == "mirror.example.org":
            return name, [], [V4]
        raise OSError("no such host")

    monkeypatch.setattr(daemon_access.socket, "gethostbyname_ex", forward)


MATCHES = [
    (V4, HOST, "192.0.2.10", True),
    (V4, HOST, "192.0.2.11", False),
    (V4, HOST, "192.0.2.0/24", True),
    (V4, HOST, "192.0.2.0/28", True),
    (V4, HOST, "192.0.2.16/28", False),
    (V4, HOST, "192.0.2.0/255.255.255.0", True),
    (V4, HOST, "192.0.0.10/255.255.0.255", True),
    (V4, HOST, "0.0.0.0/0", True),
    (V4, HOST, "::/0", False),
    (V4, HOST, "192.0.2.0/33", False),
    (V4, HOST, "192.0.2.0/x", False),
    (V4, HOST, "192.0.2.0/", False),
    (V4, HOST, "192.0.2.*", False),
    (V4, "192.0.2.10", "192.0.2.*", True),
    (V4, HOST, "www.example.org", True),
    (V4, HOST, "WWW.Example.ORG", True),
    (V4, HOST, "*.example.org", True),
    (V4, HOST, "*.example.com", False),
    (V4, HOST, "10.0.0.1,*.example.org", True),
    (V4, HOST, "10.0.0.1\t*.example.org", True),
    (V4, HOST, "mirror.example.org", True),
    (V4, HOST, "unresolvable.example.org", False),
    (V6, HOST, "2001:db8::5", True),
    (V6, HOST, "2001:db8::/32", True),
    (V6, HOST, "2001:db9::/32", False),
    (V6, HOST, "2001:db8::/129", False),
    (V6, HOST, "2001:db8::/ffff:ffff::", True),
    (V6, HOST, "192.0.2.10", False),
    ("127.0.0.1", HOST, "127.1", True),
    ("fe80::1%lo", HOST, "fe80::1", True),
    ("fe80::1%lo", HOST, "fe80::1%eth9", False),
    (V4, HOST, "999.0.0.1", False),
]


@pytest.mark.parametrize(("address", "host", "allow", "allowed"), MATCHES)
def test_allow_list_admits_only_who_matches(address: str, host: str, allow: str, allowed: bool) -> None:
    assert check_access(address, host, allow, "", True, lambda line: None).allowed is allowed


BOTH = [
    ("", "", True),
    ("", V4, False),
    ("", "10.0.0.1", True),
    (V4, "*", True),
    ("10.0.0.1", "*", False),
    ("10.0.0.1", "10.0.0.2", True),
    ("10.0.0.1", "", False),
    ("", "unresolvable.example.org", False),
]


@pytest.mark.parametrize(("allow", "deny", "allowed"), BOTH)
def test_lists_are_asked_in_rsyncs_order(allow: str, deny: str, allowed: bool) -> None:
    assert check_access(V4, HOST, allow, deny, True, lambda line: None).allowed is allowed


def test_without_forward_lookup_no_name_is_resolved() -> None:
    assert not check_access(V4, HOST, "mirror.example.org", "", False, lambda line: None).allowed


def test_configured_name_takes_the_place_of_an_undetermined_one() -> None:
    assert check_access(V4, UNDETERMINED, "mirror.example.org", "", True, lambda line: None).host == "mirror.example.org"
    assert check_access(V4, HOST, "mirror.example.org", "", True, lambda line: None).host == HOST


def test_malformed_mask_is_logged() -> None:
    lines: list[str] = []
    check_access(V4, HOST, "192.0.2.0/40", "", True, lines.append)
    assert lines == ["malformed mask in 192.0.2.0/40"]


@pytest.mark.parametrize(("raw", "text"), [("::ffff:10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("10.0.0.1", "10.0.0.1")])
def test_mapped_address_is_shown_as_the_one_it_is(raw: str, text: str) -> None:
    assert peer_address((raw,)) == text


@pytest.mark.parametrize(
    ("name", "forward", "expected"),
    [(HOST, V4, HOST), (HOST, "192.0.2.99", UNKNOWN), ("192.0.2.10", V4, UNKNOWN), (None, V4, UNKNOWN), (HOST, None, UNKNOWN)],
)
def test_host_name_must_lead_back(monkeypatch: pytest.MonkeyPatch, name: str | None, forward: str | None, expected: str) -> None:
    def reverse(address: object, flags: int) -> tuple[str, str]:
        if name is None:
            raise OSError(0, "no name")
        return name, "0"

    def addresses(host: str, port: None, type: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if forward is None:
            raise OSError(0, "no address")
        return [(2, 1, 6, "", (forward, 0))]

    monkeypatch.setattr(daemon_access.socket, "getnameinfo", reverse)
    monkeypatch.setattr(daemon_access.socket, "getaddrinfo", addresses)
    lines: list[str] = []
    assert host_name(V4, lines.append) == expected
    assert bool(lines) == (expected == UNKNOWN)
