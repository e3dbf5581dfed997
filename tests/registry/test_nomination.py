import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.protocol import limits
from prsync.protocol.frames import Hello, OriginPlace, SourceKind
from prsync.registry.nomination import Candidate, carries, network_of, nominate

HELLO = Hello(source_kinds=(SourceKind.PEER, SourceKind.RSYNCD))
LISTED = Candidate(SourceKind.PEER, "rsync://listed.example/m", True)
REGISTERED = Candidate(SourceKind.PEER, "rsync://192.0.2.7/m", False, "192.0.2.7", 4, expires=100.0)


def named(
    *candidates: Candidate, hello: Hello = HELLO, path: str = "", client: str = "198.51.100.1", now: float = 10.0
) -> list[str]:
    return [m.url for m in nominate(candidates, hello, path, client, now).mirrors]


def test_nominate_names_listed_and_registered_mirrors() -> None:
    assert set(named(LISTED, REGISTERED)) == {LISTED.url, REGISTERED.url}


@pytest.mark.parametrize(
    "change",
    [
        {"expires": 10.0},
        {"checked": False},
        {"draining": True},
        {"suspect": True},
        {"kind": SourceKind.FTP},
        {"family": 6},
        {"prefixes": ("other",)},
        {"address": "198.51.100.1"},
    ],
)
def test_nominate_leaves_out_a_mirror_that_is_no_use(change: dict[str, object]) -> None:
    hello = attrs.evolve(HELLO, families=(4,))
    assert named(attrs.evolve(REGISTERED, **change), hello=hello, path="dists") == []


def test_nominate_names_one_mirror_per_address() -> None:
    double = attrs.evolve(REGISTERED, url="rsync://192.0.2.7:8730/m")
    assert len(named(REGISTERED, double)) == 1


def test_nominate_puts_less_loaded_mirrors_first() -> None:
    loaded = attrs.evolve(LISTED, url="rsync://busy.example/m", load=3, capacity=4)
    assert named(loaded, LISTED) == [LISTED.url, loaded.url]


def test_nominate_spreads_clients_over_equal_mirrors() -> None:
    mirrors = [attrs.evolve(LISTED, url=f"rsync://m{i}.example/m") for i in range(4)]
    first = {named(*mirrors, client=f"198.51.100.{i}")[0] for i in range(40)}
    assert len(first) == 4


def test_nominate_passes_on_the_origins_place() -> None:
    assert nominate([], HELLO, "", "192.0.2.1", 0, OriginPlace.EQUAL).origin is OriginPlace.EQUAL


@given(st.integers(0, 200))
def test_nominate_never_exceeds_its_limits(count: int) -> None:
    mirrors = [attrs.evolve(LISTED, url=f"rsync://m{i}.example/m") for i in range(count)]
    assert len(named(*mirrors)) == min(count, 2 * limits.SOURCES_MAX)


@pytest.mark.parametrize(
    ("prefixes", "path", "expected"),
    [
        ((), "a/b", True),
        (("a",), "", True),
        (("a",), "a", True),
        (("a",), "a/b", True),
        (("a/b",), "a", True),
        (("a",), "ab", False),
        (("a/b",), "a/c", False),
        (("x", "a/"), "a/b", True),
    ],
)
def test_carries_compares_whole_components(prefixes: tuple[str, ...], path: str, expected: bool) -> None:
    assert carries(prefixes, path) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%e0", "fe80::/64"),
    ],
)
def test_network_of_counts_ipv6_per_64(address: str, expected: str) -> None:
    assert network_of(address) == expected
