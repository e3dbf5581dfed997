"""A mirror's side of its lease: when which step is due (pure), and one step over a peer connection (blocking)."""

from __future__ import annotations

import attrs

from prsync.errors import PrsyncError
from prsync.net.connect import Route
from prsync.net.handshake import Login
from prsync.protocol import limits
from prsync.protocol.frames import Hello, Lease, LeaseStep
from prsync.sources.addresses import SourceURL
from prsync.sources.base import reason_of
from prsync.sources.link import PeerLink

RENEW_SHARE = 3  # a lease is renewed when this part of its life has passed
AGAIN_FIRST, AGAIN_MOST = 10.0, 600.0  # seconds before a refused request is made again; doubling
ANSWER_SECONDS = limits.CHECK_SECONDS + 10  # for a whole step


@attrs.define
class LeaseKeeper:
    """Decides the next step. Time in seconds on the caller's clock is an argument everywhere."""

    held: bool = False
    due: float = 0.0
    expires: float = 0.0
    _wait: float = AGAIN_FIRST

    @property
    def step(self) -> LeaseStep:
        return LeaseStep.RENEW if self.held else LeaseStep.REQUEST

    def granted(self, seconds: int, now: float) -> None:
        self.held, self._wait = True, AGAIN_FIRST
        self.expires = now + seconds
        self.due = now + seconds / RENEW_SHARE

    def refused(self, now: float) -> float:
        """Seconds until the next try. After a refused renewal the lease is requested anew at once."""
        if self.held:
            self.held, self.due = False, now
            return 0.0
        return self._postpone(now)

    def failed(self, now: float) -> float:
        """The origin could not be asked; a lease that is held is not lost by that. Seconds until the next try."""
        if self.held and now >= self.expires:
            self.held = False
        return self._postpone(now, (self.expires - now) / RENEW_SHARE if self.held else AGAIN_MOST)

    def hurry(self, now: float) -> None:
        """There is news: what the origin refused or doubted before, it may grant now."""
        self.due, self._wait = now, AGAIN_FIRST

    def _postpone(self, now: float, most: float = AGAIN_MOST) -> float:
        wait = min(self._wait, max(most, 1.0))
        self._wait = min(2 * self._wait, AGAIN_MOST)
        self.due = now + wait
        return wait


@attrs.frozen
class Registrar:
    """The origin's registry as a mirror reaches it. `url`: where the mirror serves; its empty host means our own address."""

    origin: SourceURL
    route: Route
    login: Login
    url: str
    nonce: bytes
    seconds: int
    capacity: int

    def ask(self, step: LeaseStep) -> Lease:
        """Takes one step and waits for its answer (granted, refused; none for a release). Raises PrsyncError."""
        request = Lease(step, self.url, self.seconds, self.nonce, capacity=self.capacity)
        with PeerLink(self.origin, self.route, Hello(), ANSWER_SECONDS, self.login) as link:
            link.send(request)
            answer = request
            while answer.step not in (LeaseStep.RELEASE, LeaseStep.GRANTED, LeaseStep.REFUSED):
                frame = link.receive()
                if isinstance(frame, Lease):
                    answer = frame
            link.bye()
            return answer


def why(error: PrsyncError) -> str:
    return reason_of(error)
