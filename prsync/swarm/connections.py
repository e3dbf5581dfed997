"""The swarm's connections as the fetcher is told to make them: which sources there are, and when one is tried again."""

from __future__ import annotations

from collections.abc import Callable

from prsync.errors import PrsyncError
from prsync.protocol import limits
from prsync.protocol.frames import Mirror, Nomination, SourceKind
from prsync.sources.base import SourceRefused, reason_of
from prsync.swarm.bandwidth import slots_for
from prsync.swarm.fetcher import FetcherHandle
from prsync.swarm.fetcher_messages import Message, encode_json
from prsync.swarm.settings import Settings

ORIGIN = 0

Failed = Callable[[int, str, bool], None]  # (source, why, whether another try would end the same way)


class Connections:
    """`urls`: the sources by number, the origin's being ORIGIN. `failed` hears of a connection that was not made."""

    def __init__(self, fetcher: FetcherHandle, settings: Settings, failed: Failed) -> None:
        self.urls: dict[int, Mirror] = {}
        self._fetcher = fetcher
        self._settings = settings
        self._failed = failed
        self._planned: list[tuple[float, int]] = []  # (when, source)

    def start(self, nomination: Nomination, own_data: bool, now: float) -> None:
        """To all that are nominated; `own_data`: and to the origin."""
        self.go()
        if own_data:
            self.urls[ORIGIN] = Mirror(SourceKind.PEER, self._settings.origin_url)
        self.urls |= enumerate(nomination.mirrors[: limits.SOURCES_MAX], start=1)
        for number in self.urls:
            if number == ORIGIN and self._settings.open_origin is not None:
                self.plan(now, number)  # its handshake is waited for: not while the first list comes
            else:
                self.connect(number)

    def go(self) -> None:
        """A fetcher that was just started may use the network."""
        s = self._settings
        slots = slots_for(s.bandwidth)
        route = {"family": s.family, "bind_address": s.bind_address, "connect_seconds": s.connect_seconds, "proxy": s.proxy}
        self._fetcher.post(encode_json(Message.GO, origin=s.origin_address, slots=slots, **route))

    def connect(self, number: int) -> None:
        mirror = self.urls[number]
        handed: dict[str, object] = {}
        if number == ORIGIN and self._settings.open_origin is not None:
            try:
                connection, rest = self._settings.open_origin()
            except PrsyncError as error:
                self._failed(number, reason_of(error), isinstance(error, SourceRefused))
                return
            self._fetcher.hand_over(connection)
            handed = {"connected": True, "rest": rest.hex()}
        fields = {"id": number, "source": mirror.kind, "url": mirror.url, "origin": number == ORIGIN}
        self._fetcher.post(encode_json(Message.SOURCE, **fields, **handed))

    def plan(self, when: float, number: int) -> None:
        """The source is to be connected then."""
        self._planned.append((when, number))

    def take_due(self, now: float) -> list[int]:
        due = [number for when, number in self._planned if when <= now]
        self._planned = [entry for entry in self._planned if entry[0] > now]
        return due

    def forget_plans(self) -> None:
        self._planned.clear()

    @property
    def plans(self) -> list[float]:
        return [when for when, _ in self._planned]
