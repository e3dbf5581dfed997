"""Probes: whether a mirror is the one that asked, and holds the origin's data (design: registration makes nobody a target).

The tracker picks the samples from its own digest index; `probe` connects back, shows the nonce of the request, and fetches.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs

from prsync.engine.digests import DIGEST_LENGTH, piece_digest, piece_length
from prsync.engine.index import DigestIndex, IndexStatus
from prsync.errors import EngineError, PrsyncError, StreamError
from prsync.net.connect import Route
from prsync.protocol import limits
from prsync.protocol.frames import Bye, Hello
from prsync.registry.leases import Outcome
from prsync.registry.nomination import carries
from prsync.sources.addresses import parse_source_url
from prsync.sources.base import Entry, reason_of
from prsync.sources.link import Answer, PeerLink

CONNECT_SECONDS = 10.0
PROBE_DEADLINE = 60.0  # for a whole probe
NOT_READY_SECONDS = 1.0  # until the next try at a mirror that still hashes
NOT_YET_KNOWN = 5  # reason of a missing frame: digest not known yet
TRIES = 16  # looks into the index for each sample: some entries are picked twice, or are not as recorded any more


@attrs.frozen
class Sample:
    """One piece of a file of the origin's: `digest` is the piece's, `number` its index, `size` the file's in bytes."""

    path: bytes
    size: int
    mtime: int
    root: bytes
    number: int
    digest: bytes

    @property
    def entry(self) -> Entry:
        step = piece_length(self.size)
        start = self.number * step
        return Entry(self.path, self.size, self.mtime, self.root, start, min(step, self.size - start))

    def is_sound(self, data: bytes | bytearray) -> bool:
        return len(data) == self.entry.length and piece_digest(data, self.number, self.size) == self.digest


def pick_samples(
    index: DigestIndex, root_fd: int, prefixes: tuple[str, ...], chance: random.Random, most: int = limits.PROBE_SAMPLES
) -> list[Sample]:
    """Random pieces of different files that are as the index says, and not empty; fewer where there are not so many."""
    found: dict[bytes, Sample] = {}
    for _ in range(TRIES * most):
        picked = index.entry_at(chance.randbytes(DIGEST_LENGTH))
        if picked is None or len(found) == most:
            break
        if picked.name in found or not carries(prefixes, picked.name.decode("utf-8", "surrogateescape")):
            continue
        (entry,) = index.lookup(root_fd, [picked.name])
        if entry.status is not IndexStatus.HIT or not entry.size:
            continue
        number = chance.randrange(len(entry.pieces) // DIGEST_LENGTH)
        digest = entry.pieces[number * DIGEST_LENGTH : (number + 1) * DIGEST_LENGTH]
        found[entry.name] = Sample(entry.name, entry.size, entry.mtime, entry.root, number, digest)
    return list(found.values())


def probe(url: str, nonce: bytes, samples: Sequence[Sample], route: Route | None = None) -> Outcome:
    """Blocking, within PROBE_DEADLINE. Good when PROBE_RANGES samples (or all, where there are fewer) came and are sound."""
    if not samples:
        return Outcome(False, "the origin has no digests of its files yet", wait=NOT_READY_SECONDS, asked=False)
    target = parse_source_url(url)
    try:
        with PeerLink(target, route or Route(timeout=CONNECT_SECONDS), Hello(nonce=nonce), PROBE_DEADLINE) as link:
            if link.hello.nonce != nonce:
                return Outcome(False, "the daemon there knows nothing of this request", final=True)
            outcome = _check(link, samples)
            link.send(Bye())
            return outcome
    except StreamError as error:
        return Outcome(False, f"the connection to it broke off: {reason_of(error)}")
    except EngineError as error:
        return Outcome(False, f"it breaks the protocol: {reason_of(error)}")
    except PrsyncError as error:
        return Outcome(False, f"it could not be checked: {reason_of(error)}")


def _check(link: PeerLink, samples: Sequence[Sample]) -> Outcome:
    good, lacking, pending = 0, 0, 0
    for sample in samples:
        (answer,) = link.fetch([sample.entry])
        if answer.busy is not None:
            return Outcome(False, "all its slots are taken", wait=max(float(answer.busy), NOT_READY_SECONDS))
        if answer.missing is None and not sample.is_sound(answer.data):
            return Outcome(False, f"its data of {_shown(sample)} are not the origin's", final=True)
        good += answer.missing is None
        pending += answer.missing == NOT_YET_KNOWN
        lacking += _is_lacking(answer)
        if good == limits.PROBE_RANGES:
            break
    if good >= min(limits.PROBE_RANGES, len(samples)):
        return Outcome(True)
    if pending and good + pending >= min(limits.PROBE_RANGES, len(samples)):
        return Outcome(False, "it has not hashed its files yet", wait=NOT_READY_SECONDS)
    return Outcome(False, f"it lacks {lacking} of {good + lacking + pending} files tried, or has another release of them")


def _is_lacking(answer: Answer) -> bool:
    return answer.missing is not None and answer.missing != NOT_YET_KNOWN


def _shown(sample: Sample) -> str:
    return repr(sample.path.decode("utf-8", "backslashreplace"))[:120]
