"""How long to wait before another try: gdl's own bounds, and what a Retry-After field asks for. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

BASE = 0.5
"""Seconds before the first retry, before jitter."""
CAP = 60.0
"""Most seconds between two tries that gdl chooses by itself."""
PATIENCE = 600.0
"""Most seconds gdl waits because a server says so; a longer Retry-After fails the item now."""


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
