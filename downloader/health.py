"""Whether a host is there at all: a circuit breaker, so that a dead one costs little. Pure, the clock passed in.

Tries in a row that found no host open it: no address or no connection three times, those at the same time counting
once, and with none in flight any more, as there may be room for those; or silence instead of an answer twice, at the
same time or not, as that costs ``--timeout``. A host that has answered in this run gets `GRACE` seconds from the first
of them. While it is open no request is made but one now and then, `PAUSE` seconds apart, then ever longer; an answer
closes it.
"""

from __future__ import annotations

from typing import Final

ROUNDS: Final = 3
SILENT_TRIES: Final = 2
GRACE: Final = 20.0
"""Seconds a host that has answered before may be away, as for a restart."""
PAUSE: Final = 30.0
LONGEST_PAUSE: Final = 600.0
FIRST_WAIT: Final = 0.5
"""Seconds before a host that could not be reached is asked again, doubled up to `LONGEST_WAIT` while it cannot."""
LONGEST_WAIT: Final = 8.0


class Health:
    """What is known of one host."""

    __slots__ = (
        *("_last", "_pause", "_rounds", "_since", "_wait"),
        *("gave_up_after", "has_answered", "probe_at", "tries", "well", "why"),
    )

    def __init__(self) -> None:
        self.tries = 0
        """Tries in a row that found no host."""
        self.gave_up_after = 0
        """How many of them opened the breaker, those at the same time counting once."""
        self.has_answered = False
        """Whether it has ever sent anything."""
        self.probe_at: float | None = None
        """When the next request may be made though the host is down; None where it is not."""
        self.why = ""
        """What the last of them found instead."""
        self.well = False
        """Whether the last that was heard of it is an answer, so that another would be no news."""
        self._rounds = 0
        self._since = self._last = 0.0
        self._pause = PAUSE
        self._wait = FIRST_WAIT

    def answered(self) -> None:
        """The host has sent something."""
        self.well = self.has_answered = True
        if self.tries or self.probe_at is not None:
            self.tries = self._rounds = 0
            self.probe_at = None
            self._pause, self._wait = PAUSE, FIRST_WAIT

    def give_up(self, now: float, tries: int) -> None:
        """Open the breaker after so many ``tries`` in vain."""
        self.well = False
        self.gave_up_after = tries
        self.probe_at = now + self._pause

    def failed(self, now: float, begun: float, *, silent: bool, others: int = 0) -> float:
        """A try that was ``begun`` then found no host; return the seconds to wait before the next.

        ``silent``: there was no refusal, only nothing for ``--timeout``. ``others`` are in flight still: they may have
        been let in, by a host that has no room for more.
        """
        if not self.tries:
            self._since = now
        self.well = False
        self.tries += 1
        if self.probe_at is not None:
            return 0.0
        new = not self._rounds or begun >= self._last
        if new:
            self._rounds += 1
            self._last = now
        enough = (self._rounds >= ROUNDS and not others) or (silent and self.tries >= SILENT_TRIES)
        if enough and (not self.has_answered or now - self._since >= GRACE):
            self.give_up(now, self.tries if silent else self._rounds)
            return 0.0
        if silent or not new:
            return 0.0
        wait, self._wait = self._wait, min(LONGEST_WAIT, 2 * self._wait)
        return wait

    def may_ask(self, now: float) -> bool:
        """Tell whether a request may be made now; where the host is down, one may at a time."""
        if self.probe_at is None:
            return True
        if now < self.probe_at:
            return False
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)
        self.probe_at = now + self._pause
        return True
