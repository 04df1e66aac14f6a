"""When to try again: a policy that is a value, and the Retry-After field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downloader.errors import ItemError

BASE = 0.5
"""Seconds before the first retry, before jitter."""
CAP = 60.0
"""Most seconds between two tries that gdl chooses by itself."""
PATIENCE = 600.0
"""Most seconds gdl waits because a server says so; a longer Retry-After fails the item now."""


@dataclass(frozen=True, slots=True)
class Retry:
    """What an item has left, and what it went through."""

    left: int
    """Tries left after the one that runs now."""
    history: tuple[str, ...] = ()
    """The kinds of error met so far."""

    @property
    def attempt(self) -> int:
        """The number of the try that runs now, from 1."""
        return len(self.history) + 1

    def next(self, error: ItemError) -> Retry | None:
        """Return the policy for the next try after ``error``, or None where another try may not help."""
        if not error.retryable or self.left <= 0 or (error.retry_after or 0.0) > PATIENCE:
            return None
        return replace(self, left=self.left - 1, history=(*self.history, error.kind))

    def delay(self, error: ItemError, jitter: float) -> float:
        """Return the seconds to wait before this try: what the server asked for, else exponential backoff.

        ``jitter`` is a number from 0 to 1 drawn by the caller; it spreads tries that failed together.
        """
        backoff: float = min(CAP, BASE * 2 ** max(0, len(self.history) - 1)) * (0.5 + jitter / 2)
        if error.retry_after is not None:
            return error.retry_after + min(backoff, 1.0) * jitter
        return backoff


def retry_after(value: str | None, *, now: float) -> float | None:
    """Return the seconds a Retry-After field asks for (RFC 9110 section 10.2.3), or None without a usable one.

    ``now`` is the time in Unix seconds that a date is compared with: the response's own Date where it has one.
    """
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    when = http_date(value)
    return None if when is None else max(0.0, when - now)


def http_date(value: str | None) -> float | None:
    """Return an HTTP date (RFC 9110 section 5.6.7) in Unix seconds, or None for anything else."""
    if not value:
        return None
    from email.utils import parsedate_to_datetime

    try:
        moment: datetime = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
