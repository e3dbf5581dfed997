from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.protocol import limits
from prsync.protocol.frames import Lease, LeaseStep, SourceReport, Verdict
from prsync.registry.leases import LeaseBook, LeaseRefused, Outcome, Record, lease_url

NONCE = bytes(range(16))
ADDRESS = "192.0.2.7"
URL = "rsync://192.0.2.7/m"
REQUEST = Lease(LeaseStep.REQUEST, "rsync:///m", 100, NONCE)
GOOD = Outcome(True)


def granted(book: LeaseBook, now: float = 0.0, address: str = ADDRESS, request: Lease = REQUEST) -> Record:
    answer = book.receive(request, address, now)
    assert answer and answer.step is LeaseStep.CHECKING, answer
    (record,) = book.due(now)
    answer = book.probed(record, GOOD, now)
    assert answer and answer.step is LeaseStep.GRANTED
    return record


def refusal(book: LeaseBook, frame: Lease, address: str = ADDRESS, now: float = 0.0) -> str:
    answer = book.receive(frame, address, now)
    assert answer and answer.step is LeaseStep.REFUSED
    return answer.reason


@pytest.mark.parametrize(
    "text, address, url",
    [
        ("rsync:///m", "192.0.2.7", "rsync://192.0.2.7/m"),
        ("rsync://:8730/m", "192.0.2.7", "rsync://192.0.2.7:8730/m"),
        ("rsync://192.0.2.7/m/sub", "192.0.2.7", "rsync://192.0.2.7/m/sub"),
        ("rsync:///m", "2001:db8::7", "rsync://[2001:db8::7]/m"),
        ("rsync://[2001:DB8:0::7]/m", "2001:db8::7", "rsync://[2001:db8::7]/m"),
        ("rsync:///m", "::ffff:192.0.2.7", "rsync://192.0.2.7/m"),
    ],
)
def test_lease_url_takes_the_connections_address(text: str, address: str, url: str) -> None:
    assert str(lease_url(text, address)) == url


@pytest.mark.parametrize(
    "text, reason",
    [
        ("rsync://192.0.2.8/m", "is not your address"),
        ("rsync://mirror.example/m", "is not your address"),
        ("http:///m", "only rsync URLs"),
        ("rsync://:25/m", "port 25 belongs to another service"),
        ("rsync://user@:873/m", "credentials"),
        ("rsync:///", "names no module"),
        ("rsync:///m/../x", "path is not allowed"),
        ("rsync://:x/m", "not a URL"),
        ("", "only rsync URLs"),
    ],
)
def test_lease_url_of_somebody_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(LeaseRefused, match=reason):
        lease_url(text, ADDRESS)


def test_request_is_a_lease_only_after_a_good_probe() -> None:
    book = LeaseBook()
    assert book.receive(REQUEST, ADDRESS, 0.0) == Lease(LeaseStep.CHECKING, URL)
    assert book.candidates(0.0) == ()
    (record,) = book.due(0.0)
    assert book.due(0.0) == []
    assert book.probed(record, GOOD, 5.0) == Lease(LeaseStep.GRANTED, URL, seconds=100)
    (candidate,) = book.candidates(5.0)
    assert (candidate.url, candidate.expires, candidate.checked, candidate.suspect) == (URL, 105.0, True, False)


def test_request_is_refused_with_the_probes_reason() -> None:
    book = LeaseBook()
    book.receive(REQUEST, ADDRESS, 0.0)
    (record,) = book.due(0.0)
    assert book.probed(record, Outcome(False, "no data"), 1.0) == Lease(LeaseStep.REFUSED, URL, reason="no data")
    assert book.records == ()


def test_mirror_that_is_not_ready_is_probed_again_until_the_check_ends() -> None:
    book = LeaseBook()
    book.receive(REQUEST, ADDRESS, 0.0)
    (record,) = book.due(0.0)
    assert book.probed(record, Outcome(False, "still hashing", wait=2.0), 0.0) is None
    assert book.due(1.9) == [] and book.due(2.0) == [record]
    late = limits.CHECK_SECONDS - 1
    assert book.probed(record, Outcome(False, "still hashing", wait=2.0), late) == Lease(
        LeaseStep.REFUSED, URL, reason="still hashing"
    )


def test_lease_ends_unless_it_is_renewed() -> None:
    book = LeaseBook()
    granted(book)
    assert book.next_event() == 100.0
    renewal = Lease(LeaseStep.RENEW, "rsync:///m", 100)
    assert book.receive(renewal, ADDRESS, 90.0) == Lease(LeaseStep.GRANTED, URL, seconds=100)
    assert book.expire(189.9) == []
    assert [record.url for record in book.expire(190.0)] == [URL]
    assert refusal(book, renewal, now=191.0) == f"there is no lease for {URL}: request one"


def test_release_ends_the_lease_and_only_by_its_own_address() -> None:
    book = LeaseBook()
    granted(book)
    assert "is not your address" in refusal(book, Lease(LeaseStep.RELEASE, URL), "192.0.2.8")
    assert book.receive(Lease(LeaseStep.RELEASE, "rsync:///other"), ADDRESS, 0.0) is None and book.records
    assert book.receive(Lease(LeaseStep.RELEASE, URL), ADDRESS, 0.0) is None and not book.records


@pytest.mark.parametrize("first, second, same", [
    ("192.0.2.7", "192.0.2.8", False), ("2001:db8::1", "2001:db8::2", True), ("2001:db8::1", "2001:db8:0:1::1", False),
])  # fmt: skip
def test_one_lease_for_an_address(first: str, second: str, same: bool) -> None:
    book = LeaseBook()
    granted(book, address=first)
    answer = book.receive(Lease(LeaseStep.REQUEST, "rsync://:8730/m", 0, NONCE), second, 0.0)
    assert answer and (answer.step is LeaseStep.REFUSED) is same
    assert ("has a lease already" in answer.reason) is same


def test_request_again_for_the_same_url_is_checked_again() -> None:
    book = LeaseBook()
    granted(book)
    assert granted(book, 10.0) in book.records and len(book.records) == 1


def test_request_is_refused_without_nonce_or_for_a_step_of_daemons() -> None:
    book = LeaseBook()
    assert "no nonce" in refusal(book, Lease(LeaseStep.REQUEST, "rsync:///m"))
    assert "cannot send the step granted" in refusal(book, Lease(LeaseStep.GRANTED, "rsync:///m"))


def test_budget_of_probes_bounds_requests_of_an_address() -> None:
    book = LeaseBook()
    for _ in range(limits.PROBE_BUDGET):
        book.receive(REQUEST, ADDRESS, 0.0)
        (record,) = book.due(0.0)
        book.probed(record, Outcome(False, "no"), 0.0)
    assert "checked too often: try again in 3601 seconds" in refusal(book, REQUEST)
    granted(book, 0.0, "192.0.2.8")
    book.expire(limits.PROBE_BUDGET_SECONDS)
    granted(book, limits.PROBE_BUDGET_SECONDS)


def test_check_of_a_mirror_that_is_never_ready_leaves_most_of_its_budget() -> None:
    book = LeaseBook()
    book.receive(REQUEST, ADDRESS, 0.0)
    tries, now = 0, 0.0
    while book.records:
        for record in book.due(now):
            tries += 1
            book.probed(record, Outcome(False, "still hashing", wait=1.0), now)
        now += 0.5
        book.expire(now)
    assert 8 < tries < limits.PROBE_BUDGET // 2
    granted(book, now)


def test_probe_for_which_the_origin_lacks_digests_costs_no_budget() -> None:
    book = LeaseBook()
    for now in range(2 * limits.PROBE_BUDGET):
        book.receive(REQUEST, ADDRESS, float(now))
        (record,) = book.due(float(now))
        book.probed(record, Outcome(False, "no digests", wait=1.0, asked=False), float(now))
    granted(book, 100.0)


@pytest.mark.parametrize("verdict, sooner", [
    (Verdict.FINE, False), (Verdict.REFUSED, False), (Verdict.DEAD, True), (Verdict.CORRUPT, True), (Verdict.STALE, True),
    (Verdict.STALLED, True),
])  # fmt: skip
def test_report_brings_a_probe_and_removes_nobody(verdict: Verdict, sooner: bool) -> None:
    book = LeaseBook()
    record = granted(book, request=Lease(LeaseStep.REQUEST, "rsync:///m", 5000, NONCE))
    book.report(SourceReport(URL, 7, 1, verdict=verdict), 50.0)
    assert book.due(50.0) == ([record] if sooner else [])
    (candidate,) = book.candidates(50.0)
    assert not candidate.suspect and record.received == 7 and record.reported == 50.0


def test_failed_probes_make_a_suspect_and_then_withdraw_the_lease() -> None:
    book = LeaseBook()
    record = granted(book, request=Lease(LeaseStep.REQUEST, "rsync:///m", 5000, NONCE))
    now = limits.PROBE_SECONDS
    for _ in range(limits.PROBE_FAILURES):
        assert book.due(now) == [record]
        assert book.probed(record, Outcome(False, "dead"), now) is None
        assert book.candidates(now)[0].suspect
        now = record.probe_at
    assert refusal(book, Lease(LeaseStep.RENEW, URL), now=now) == f"the lease for {URL} is withdrawn: dead"


def test_a_good_probe_clears_a_suspect() -> None:
    book = LeaseBook()
    record = granted(book, request=Lease(LeaseStep.REQUEST, "rsync:///m", 5000, NONCE))
    book.due(limits.PROBE_SECONDS)
    book.probed(record, Outcome(False, "dead"), limits.PROBE_SECONDS)
    book.due(record.probe_at)
    book.probed(record, GOOD, record.probe_at)
    assert not book.candidates(700.0)[0].suspect and record.state == "granted"


def test_busy_mirror_is_no_suspect() -> None:
    book = LeaseBook()
    record = granted(book, request=Lease(LeaseStep.REQUEST, "rsync:///m", 5000, NONCE))
    now = limits.PROBE_SECONDS
    book.due(now)
    assert book.probed(record, Outcome(False, "all its slots are taken", wait=1.0), now) is None
    assert not record.suspect and record.probe_at == now + limits.PROBE_RETRY_SECONDS


def test_renewal_of_a_suspect_brings_a_probe() -> None:
    book = LeaseBook()
    record = granted(book, request=Lease(LeaseStep.REQUEST, "rsync:///m", 5000, NONCE))
    now = limits.PROBE_SECONDS
    book.due(now)
    book.probed(record, Outcome(False, "another release"), now)
    assert book.due(now + 1) == []
    book.receive(Lease(LeaseStep.RENEW, URL, 5000), ADDRESS, now + 1)
    assert book.due(now + 1) == [record]


def test_restored_lease_lives_as_long_again_and_waits_for_a_probe() -> None:
    book = LeaseBook()
    book.restore([granted(LeaseBook())], 1000.0)
    (candidate,) = book.candidates(1000.0)
    assert candidate.suspect and candidate.expires == 1100.0
    (record,) = book.due(1000.0)
    book.probed(record, GOOD, 1001.0)
    assert not book.candidates(1001.0)[0].suspect


def test_drained_lease_is_kept_and_not_nominated() -> None:
    book = LeaseBook()
    record = granted(book)
    assert book.drain(URL) and not book.drain("rsync://other/m")
    book.receive(Lease(LeaseStep.RENEW, URL, 100), ADDRESS, 1.0)
    assert book.candidates(1.0)[0].draining and record.state == "draining"
    book.drain(URL, False)
    assert not book.candidates(1.0)[0].draining


@pytest.mark.parametrize("wanted, life", [(0, 900), (5, 5), (10**9, 86_400)])
def test_life_of_a_lease_is_bounded(wanted: int, life: int) -> None:
    record = granted(LeaseBook(), request=Lease(LeaseStep.REQUEST, "rsync:///m", wanted, NONCE))
    assert record.expires == life


STEPS = st.one_of(
    st.tuples(st.sampled_from(LeaseStep), st.integers(1, 3), st.integers(0, 2), st.integers(0, 2000)),
    st.tuples(st.just("probe"), st.booleans(), st.booleans()),
    st.tuples(st.just("report"), st.integers(1, 3), st.sampled_from(Verdict)),
)


@given(st.lists(st.tuples(STEPS, st.floats(0, 400)), max_size=40))
def test_book_keeps_its_promises_whatever_happens(steps: list) -> None:  # type: ignore[type-arg]
    book, now, running = LeaseBook(), 0.0, []
    for step, later in steps:
        now += later
        book.expire(now)
        match step:
            case ("probe", good, final):
                running += book.due(now)
                if running:
                    book.probed(running.pop(0), Outcome(good, "why", final), now)
            case ("report", host, verdict):
                book.report(SourceReport(f"rsync://192.0.2.{host}/m", 1, 1, verdict=verdict), now)
            case (kind, host, port, seconds):
                url = f"rsync://:{8000 + port}/m"
                book.receive(Lease(kind, url, seconds, NONCE), f"192.0.2.{host}", now)
        addresses = [record.address for record in book.records]
        assert len(addresses) == len(set(addresses))
        assert all(c.checked and c.expires and c.expires > now for c in book.candidates(now))
        assert all(r.expires <= now + limits.LEASE_SECONDS_MAX for r in book.records)
