"""The book of a module's leases. Pure: time, in seconds on the caller's clock, is an argument.

A request is checked by a probe before it becomes a lease; a lease lives for a time and is renewed; reports bring the next probe
forward, and only failed probes take a mirror out of nominations (protocol-spec/nominate-1.md §2 lease, limits.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from urllib.parse import urlsplit

import attrs

from prsync.protocol import limits
from prsync.protocol.frames import Lease, LeaseStep, SourceKind, SourceReport, Verdict
from prsync.registry.nomination import Candidate, network_of
from prsync.sources.addresses import ForbiddenSource, SourceURL, parse_source_url, plain_address

DOUBTS = frozenset({Verdict.DEAD, Verdict.STALLED, Verdict.CORRUPT, Verdict.STALE})  # verdicts that ask for a probe
WAIT_DOUBLINGS = 4  # of the wait for a mirror that is not ready


class LeaseRefused(Exception):
    """A request that cannot be granted; its text is the reason that the mirror's operator reads."""


def lease_url(text: str, address: str) -> SourceURL:
    """The URL of a request that came from `address`. Raises LeaseRefused: not an rsync URL, or somebody else's host.

    An empty host means the connection's own address. Whoever names another could turn clients on it.
    """
    own = str(plain_address(address))
    try:
        parts = urlsplit(text)
        if parts.scheme != "rsync":
            raise LeaseRefused(f"{text!r} cannot be registered: only rsync URLs can")
        if not parts.hostname:
            host = f"[{own}]" if ":" in own else own
            text = f"rsync://{host}{parts.netloc}{parts.path}"
        url = parse_source_url(text)
    except ValueError as error:
        raise LeaseRefused(f"{text!r} is not a URL: {error}") from None
    except ForbiddenSource as error:
        raise LeaseRefused(error.text) from None
    try:
        same = str(plain_address(url.host)) == own
    except ValueError:
        same = False
    if not same:
        raise LeaseRefused(
            f"{url.host} is not your address, which is {own}: another one needs authentication, which is not supported yet; "
            "leave the host out"
        )
    return attrs.evolve(url, host=own)


@attrs.define
class Record:
    """One mirror of the book. `expires`: of the lease, or of the check. `checked`: a probe has succeeded, so it is a lease."""

    url: str
    address: str
    nonce: bytes
    seconds: int
    expires: float
    prefixes: tuple[str, ...] = ()
    capacity: int = 0
    checked: bool = False
    fresh: bool = True  # probed since it came into this book: a lease read back from storage is not nominated before
    draining: bool = False  # the mirror's own wish
    drained: bool = False  # the operator's
    failures: int = 0  # probes that failed one after the other
    why: str = ""  # the last of them
    waits: int = 0  # probes of the check that found it not ready
    probing: bool = False
    probe_at: float = 0.0
    received: int = 0  # bytes that clients say they got from it
    verdict: Verdict | None = None  # of the last report
    reported: float | None = None

    @property
    def suspect(self) -> bool:
        return self.failures > 0 or not self.fresh

    @property
    def state(self) -> str:
        if not self.checked:
            return "checking"
        if self.drained or self.draining:
            return "draining"
        return "suspect" if self.suspect else "granted"


@attrs.frozen
class Outcome:
    """What a probe found. `final`: another try cannot help (false data, a foreign nonce). `wait`: not ready, seconds to wait.
    `asked`: the mirror was connected to, or at least called; else the probe does not count against its budget."""

    good: bool
    why: str = ""
    final: bool = False
    wait: float | None = None
    asked: bool = True


class LeaseBook:
    """All leases of a module, one for each address."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}  # by network
        self._probes: dict[str, deque[float]] = {}

    @property
    def records(self) -> tuple[Record, ...]:
        return tuple(self._records.values())

    def restore(self, records: Iterable[Record], now: float) -> None:
        """Leases of before a restart: they live once more as long as they were granted for, and are probed anew."""
        for record in records:
            kept = attrs.evolve(record, fresh=False, probing=False, probe_at=now, expires=now + record.seconds)
            self._records[network_of(record.address)] = kept

    # ---- steps of a mirror -----------------------------------------------------------------------

    def receive(self, frame: Lease, address: str, now: float) -> Lease | None:
        """A mirror's step, from `address`; the answer, where there is one."""
        try:
            url = lease_url(frame.url, address)
            if frame.step is LeaseStep.REQUEST:
                return self._request(frame, str(url), str(plain_address(address)), now)
            if frame.step is LeaseStep.RENEW:
                return self._renew(frame, str(url), network_of(address), now)
            if frame.step is LeaseStep.RELEASE:
                self._release(str(url), network_of(address))
                return None
        except LeaseRefused as refused:
            return Lease(LeaseStep.REFUSED, frame.url, reason=str(refused))
        return Lease(LeaseStep.REFUSED, frame.url, reason=f"a mirror cannot send the step {frame.step.name.lower()}")

    def _request(self, frame: Lease, url: str, address: str, now: float) -> Lease:
        network = network_of(address)
        if len(frame.nonce) != limits.NONCE_BYTES:
            raise LeaseRefused("the request carries no nonce for the probe")
        old = self._records.get(network)
        if old is not None and old.url != url and old.checked and not old.failures:
            left = max(int(old.expires - now), 1)
            raise LeaseRefused(f"your address has a lease already, for {old.url}, which ends in {left} seconds")
        if old is not None and old.probing:
            raise LeaseRefused("your address is being checked already: try again later")
        if old is None and len(self._records) >= limits.LEASES:
            raise LeaseRefused("the registry is full")
        wait = self._budget_wait(network, now)
        if wait > 0:
            raise LeaseRefused(f"your address was checked too often: try again in {int(wait) + 1} seconds")
        record = Record(
            url, address, frame.nonce, _life(frame.seconds), now + limits.CHECK_SECONDS,
            prefixes=frame.prefixes, capacity=frame.capacity, draining=frame.draining, probe_at=now,
        )  # fmt: skip
        if old is not None and old.url == url:
            record.received, record.verdict, record.reported = old.received, old.verdict, old.reported
            record.drained = old.drained
        self._records[network] = record
        return Lease(LeaseStep.CHECKING, url)

    def _renew(self, frame: Lease, url: str, network: str, now: float) -> Lease:
        record = self._records.get(network)
        if record is None or record.url != url or record.expires <= now:
            raise LeaseRefused(f"there is no lease for {url}: request one")
        if not record.checked:
            return Lease(LeaseStep.CHECKING, url)
        if record.failures >= limits.PROBE_FAILURES:
            del self._records[network]
            raise LeaseRefused(f"the lease for {url} is withdrawn: {record.why}")
        record.draining = frame.draining
        record.seconds = _life(frame.seconds)
        record.expires = now + record.seconds
        if record.suspect and not record.probing:
            record.probe_at = min(record.probe_at, now)  # it may have caught up; the budget bounds it
        return _granted(record)

    def _release(self, url: str, network: str) -> None:
        record = self._records.get(network)
        if record is not None and record.url == url:
            del self._records[network]

    # ---- time and probes -------------------------------------------------------------------------

    def expire(self, now: float) -> list[Record]:
        """Takes out what has run out of time, and returns it."""
        gone = {network: record for network, record in self._records.items() if record.expires <= now}
        for network in gone:
            del self._records[network]
        for network in [n for n, times in self._probes.items() if times[-1] <= now - limits.PROBE_BUDGET_SECONDS]:
            del self._probes[network]
        return list(gone.values())

    def due(self, now: float) -> list[Record]:
        """Those to be probed now: each is marked as being probed, and counted against its budget."""
        found = []
        for network, record in self._records.items():
            if record.probing or record.probe_at > now:
                continue
            wait = self._budget_wait(network, now)
            if wait > 0:
                record.probe_at = now + wait
                continue
            record.probing = True
            self._probes.setdefault(network, deque()).append(now)
            found.append(record)
        return found

    def probed(self, record: Record, outcome: Outcome, now: float) -> Lease | None:
        """Notes a probe's outcome; the answer for whoever waits for the check of a request."""
        record.probing = False
        network = network_of(record.address)
        if not outcome.asked:
            self._give_back(network)
        if self._records.get(network) is not record:
            return None
        if outcome.good:
            return self._passed(record, now)
        record.why = outcome.why
        if not record.checked:
            if outcome.wait is not None and now + outcome.wait < record.expires:
                # Less and less often: the check must end before the budget does.
                record.probe_at = now + outcome.wait * 2.0 ** min(record.waits, WAIT_DOUBLINGS)
                record.waits += 1
                return None
            del self._records[network]
            return Lease(LeaseStep.REFUSED, record.url, reason=outcome.why)
        if outcome.wait is not None:
            # Who refreshes itself or is busy has done nothing wrong.
            record.probe_at = now + max(outcome.wait, limits.PROBE_RETRY_SECONDS)
            return None
        record.failures = limits.PROBE_FAILURES if outcome.final else record.failures + 1
        record.probe_at = now + min(limits.PROBE_RETRY_SECONDS * 2.0 ** (record.failures - 1), limits.PROBE_SECONDS)
        return None

    def _passed(self, record: Record, now: float) -> Lease:
        if not record.checked:
            record.expires = now + record.seconds
        record.checked = record.fresh = True
        record.failures, record.why = 0, ""
        record.probe_at = now + limits.PROBE_SECONDS
        return _granted(record)

    def _budget_wait(self, network: str, now: float) -> float:
        """Seconds until the address may be probed; 0: now."""
        times = self._probes.get(network)
        if not times:
            return 0.0
        while times and times[0] <= now - limits.PROBE_BUDGET_SECONDS:
            times.popleft()
        if not times:
            del self._probes[network]
            return 0.0
        return times[0] + limits.PROBE_BUDGET_SECONDS - now if len(times) >= limits.PROBE_BUDGET else 0.0

    def _give_back(self, network: str) -> None:
        """The last probe of the address was none."""
        times = self._probes.get(network)
        if times:
            times.pop()
            if not times:
                del self._probes[network]

    def next_event(self) -> float | None:
        """When `expire` or `due` have something to do, unless something comes before."""
        times = [record.expires for record in self._records.values()]
        times += [record.probe_at for record in self._records.values() if not record.probing]
        return min(times, default=None)

    # ---- clients and operators -------------------------------------------------------------------

    def report(self, source: SourceReport, now: float) -> None:
        """What a client says of a source. A bad word brings the next probe forward; it removes nobody."""
        record = self.find(source.url)
        if record is None:
            return
        record.received += source.received
        record.verdict, record.reported = source.verdict, now
        if source.verdict in DOUBTS and not record.probing:
            record.probe_at = min(record.probe_at, now)

    def drain(self, url: str, drained: bool = True) -> bool:
        """The operator's word: nominate it no more (or again). False: no such lease."""
        record = self.find(url)
        if record is not None:
            record.drained = drained
        return record is not None

    def find(self, url: str) -> Record | None:
        return next((record for record in self._records.values() if record.url == url), None)

    def candidates(self, now: float) -> tuple[Candidate, ...]:
        """The leases in force, as nominations want them; loads are the caller's to add."""
        return tuple(
            Candidate(
                SourceKind.PEER, r.url, False, r.address, 6 if ":" in r.address else 4, r.prefixes, r.expires,
                r.checked, r.draining or r.drained, r.suspect, 0, r.capacity,
            )
            for r in self._records.values()
            if r.checked and r.expires > now
        )  # fmt: skip


def _life(wanted: int) -> int:
    return min(wanted or limits.LEASE_SECONDS_DEFAULT, limits.LEASE_SECONDS_MAX)


def _granted(record: Record) -> Lease:
    return Lease(LeaseStep.GRANTED, record.url, seconds=record.seconds)
