"""A host and what is known of it, and what each request to it begins with: plain data that `schedule` keeps."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final, NamedTuple

from downloader.health import Health
from downloader.limits import Limit

MOST_REFUSALS: Final = 12
"""How often in a row a host may refuse a single request: with the waits between, longer than a limit by the minute."""


class Host:
    """A host and what is known of it."""

    __slots__ = (
        *("answers", "asked_at", "away", "before", "begun", "delayed", "flowed", "health", "held_until"),
        *("in_ring", "limit", "name", "queue", "received", "refusals", "running", "told", "wake_at"),
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
        """How often in a row it has refused even a single request, not saying for how long."""
        self.asked_at = -inf
        """When the last request began."""
        self.in_ring = False
        self.wake_at = 0.0
        """When it enters the ring again by itself; 0 where it is not waiting for a time."""

    def heard(self) -> bool:
        """It has begun to answer a request; tell whether it was down, and is not any more."""
        was_down = self.health.probe_at is not None
        if was_down and self.hopeless:  # then one more refusal is no sign of anything else
            return False
        self.health.answered()
        return was_down

    @property
    def hopeless(self) -> bool:
        """Whether to refuse requests is all that it has done for long."""
        return self.refusals >= MOST_REFUSALS

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
