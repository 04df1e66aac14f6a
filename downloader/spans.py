"""Sets of bytes as half-open ranges: what of a file is there, and what is missing.

A list of spans is *normal* when it is sorted, and its spans are not empty and neither overlap nor touch. Each set of
bytes has exactly one normal list; everything here takes normal lists and leaves or returns them so.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter

Span = tuple[int, int]
"""The bytes from the first number up to, and without, the second."""

_start = itemgetter(0)
_end = itemgetter(1)


def add(spans: list[Span], start: int, end: int) -> None:
    """Add the bytes of [start, end) to ``spans``, in place; an empty range adds nothing."""
    if start >= end:
        return
    if spans:
        first, last = spans[-1]
        if first <= start <= last:  # the usual case: the last span grows at its end
            if end > last:
                spans[-1] = (first, end)
            return
        if start < first:
            # All that [start, end) overlaps or touches becomes one span with it.
            low = bisect_left(spans, start, key=_end)
            high = bisect_right(spans, end, lo=low, key=_start)
            if low < high:
                start, end = min(start, spans[low][0]), max(end, spans[high - 1][1])
            spans[low:high] = [(start, end)]
            return
    spans.append((start, end))


def gaps(spans: list[Span], total: int) -> list[Span]:
    """Return what is missing of ``total`` bytes, as a normal list."""
    missing = []
    at = 0
    for start, end in spans:
        if start >= total:
            break
        if at < start:
            missing.append((at, start))
        at = end
    if at < total:
        missing.append((at, total))
    return missing


def covered(spans: list[Span]) -> int:
    """Return the number of bytes in ``spans``."""
    return sum(end - start for start, end in spans)


def is_normal(spans: object) -> bool:
    """Whether ``spans``, which may be anything that was read from disk, is a normal list.

    The spans may be lists as well as tuples, as JSON knows no tuples.
    """
    if not isinstance(spans, list):
        return False
    at = -1
    for span in spans:
        if not (isinstance(span, list | tuple) and len(span) == 2 and all(type(number) is int for number in span)):
            return False
        if not at < span[0] < span[1]:
            return False
        at = span[1]
    return True
