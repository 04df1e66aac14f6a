"""A host and what is known of it, and what each request to it begins with: plain data that `schedule` keeps."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final, NamedTuple

from downloader.health import GRACE, Health
from downloader.limits import Limit

MOST_REFUSALS: Final = 12
"""How often in a row a host may refuse a single request."""
LONG_REFUSED: Final = 60.0
"""Seconds for which it may do so all the same: longer than a limit by the minute."""
MOST_STALLS: Final = 16
"""How often in a row a host may go silent in what it sends, with nothing coming whole between: two rounds of what
nothing is known of (`limits.START`)."""
LITTLE: Final = 1024
"""Bytes below which such a response has brought nothing."""


class Host:
    """A host and what is known of it."""

    __slots__ = (
        *("answers", "asked_at", "away", "before", "begun", "delayed", "flowed", "health", "held_until"),
        *("in_ring", "limit", "name", "queue", "received", "refusals", "refused_for", "running", "stalls", "told"),
        *("_refused_since", "_stalled_since", "wake_at", "whole"),
    )

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.queue: deque[int] = deque()
        """Items that have not begun."""
        self.begun: deque[int] = deque()
        """Items that go before them: they want another try, or were redirected here."""
        self.delayed = 0
        """Items that will be among those when the time of their next try has come."""
        self.away = 0
        """Items that it has redirected to other hosts, and that wait for a slot of those."""
        self.limit = Limit(most)
        self.told = self.limit.level
        """The level that was told last."""
        self.health = Health()
        self.running = 0
        """Requests in flight, borrowed slots included."""
        self.answers = 0
        """Requests it has answered."""
        self.before = 0, 0
        """Its level, and how often that had fallen, when it last began to let nobody in."""
        self.flowed = 0
        """Body bytes it had sent when that was last looked at."""
        self.received = 0
        """Body bytes of its requests that have ended."""
        self.held_until = 0.0
        """When it may be asked again after it wanted to be left alone."""
        self.refusals = 0
        """How often in a row it has refused even a single request."""
        self.refused_for = self._refused_since = 0.0
        """The seconds between the first and the last of them."""
        self.stalls = 0
        """How often in a row it has gone silent in what it sent."""
        self._stalled_since = 0.0
        self.whole = False
        """Whether it has ever sent something to its end."""
        self.asked_at = -inf
        """When the last request began."""
        self.in_ring = False
        self.wake_at = 0.0
        """When it enters the ring again by itself; 0 where it is not waiting for a time."""

    def heard(self) -> bool:
        """It has begun to answer a request; tell whether it was down, and is not any more."""
        was_down = self.health.probe_at is not None
        if was_down and (self.hopeless or self.stalls >= MOST_STALLS):  # one more of the same tells of nothing else
            return False
        self.health.answered()
        return was_down

    def refuses(self, now: float) -> None:
        """It has refused even a single request."""
        if not self.refusals:
            self._refused_since = now
        self.refusals += 1
        self.refused_for = now - self._refused_since

    def stalled(self, now: float, size: int) -> bool:
        """It has gone silent after ``size`` bytes of a response; tell whether it is down now."""
        if size < LITTLE:
            if not self.stalls:
                self._stalled_since = now
            self.stalls += 1
            lasts = not self.whole or now - self._stalled_since >= GRACE  # not all that were under way at once
            if self.stalls >= MOST_STALLS and lasts and self.health.probe_at is None:
                self.health.give_up(now, self.stalls)
        return self.health.probe_at is not None

    @property
    def hopeless(self) -> bool:
        """Whether to refuse requests is all that it has done for long."""
        return self.refusals >= MOST_REFUSALS and self.refused_for >= LONG_REFUSED

    @property
    def busy(self) -> bool:
        """Whether there is anything to be had from it."""
        return bool(self.queue or self.begun or self.running or self.delayed or self.away)


class Ticket(NamedTuple):
    """What a request begins with."""

    host: Host
    epoch: int
    """Of the host's level."""
    begun: float
    again: bool = False
    """Whether the item was tried before."""
