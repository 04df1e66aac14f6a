"""How long to wait before another try: gdl's own bounds, and what a Retry-After field asks for. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from downloader.grammar import BLANKS, LONGEST

BASE = 0.5
"""Seconds before the first retry, before jitter."""
CAP = 60.0
"""Most seconds between two tries that gdl chooses by itself."""
PATIENCE = 600.0
"""Most seconds gdl waits because a server says so; a longer Retry-After fails the item now."""


# A date has a comma of its own, behind its day.
_MEMBER = r"(?:[ \t]*(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,)?[^,]*"
# Dates are read by a parser of the standard library, which would take other digits and blanks than ASCII's as well.
_DATE = r"(?:[A-Za-z]{3,9},)?[A-Za-z0-9 \t:.+-]{1,50}"


def retry_after(value: str | None, *, now: float) -> float | None:
    """Return the seconds a Retry-After field asks for (RFC 9110 section 10.2.3), or None without a usable one.

    Of several, with commas between them, the longest wait counts: it is the kindest. ``now`` is the time in Unix
    seconds that a date is compared with: the response's own Date where it has one.
    """
    if not value:
        return None
    waits = (_wait(member.strip(BLANKS), now) for member in re.findall(_MEMBER, value[:LONGEST]))
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(value: str, now: float) -> float | None:
    if value.isascii() and value.isdecimal():
        return float(value.lstrip("0")[:9] or 0)
    when = http_date(value)
    return None if when is None else max(0.0, when - now)


def http_date(value: str | None) -> float | None:
    """Return an HTTP date (RFC 9110 section 5.6.7) in Unix seconds, or None for anything else."""
    value = (value or "").strip(BLANKS)
    if not re.fullmatch(_DATE, value):
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
