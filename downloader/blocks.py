"""A body read in blocks, and what can be said of its end. The formats' own modules walk through it.

Whatever the bytes, a walk costs a bounded number of steps and a bounded number of bytes read.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from struct import Struct

BLOCK = 32_768
"""Bytes read at once where a walk goes through every byte."""

LARGEST_READ = 1 << 20
"""Most bytes looked at in one piece, so that no single step takes more than some 40 ms."""

MOST_STEPS = 100_000
MOST_BYTES = 64 << 20
"""Bounds of one walk, in fields looked at and in bytes read. A JPEG of 20 MB takes 640 steps and 20 MB."""

_STEPS, _BYTES_A_STEP = 3000, 50  # a body of 64 KiB has 4,300 steps, done in 10 ms; whole files take far fewer
_LEAST_READ = 1024  # small chunks that follow each other need no read each
_TAIL = 4096
_PADDING = b"\0\t\n\r "


class Ending(Enum):
    """Whether a body has the end that its format gives every whole file."""

    PRESENT = "present"
    """All that the format asks for is there. Any bytes may follow: they do no harm."""
    MISSING = "missing"
    """The format has an end mark or tells its length, and the body stops before: it was cut."""
    UNKNOWN = "unknown"
    """The format has no end of its own, or this file does not tell, or it is too long to be walked through."""


class Blocks:
    """The bytes of a body of ``size`` bytes. ``read`` takes an offset and a count, as `os.pread` does.

    When a walk has used up its steps or its bytes, `spent` is true and every look finds the body's end.
    """

    __slots__ = ("_block", "_bytes", "_read", "_start", "_steps", "size", "spent", "unseen")

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self.size = size
        self.spent = False
        self.unseen = False
        """Whether something follows of which the walk knows no end, so that no mark at the very end counts either."""
        self._read = read
        self._block, self._start = b"", 0
        self._steps, self._bytes = min(MOST_STEPS, _STEPS + size // _BYTES_A_STEP), MOST_BYTES

    def around(self, offset: int, least: int) -> tuple[bytes, int]:
        """Return a block, and where in it ``offset`` is: followed by ``least`` bytes unless the body ends before."""
        self.charge(1)
        start = offset - self._start
        if start < 0 or start + least > len(self._block):
            self._load(offset, max(least, BLOCK))
            start = 0
        return (b"", 0) if self.spent else (self._block, start)

    def at(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``: fewer at the end of the body, none when spent."""
        self.charge(1)
        start = offset - self._start
        if start < 0 or start + count > len(self._block):
            self._load(offset, max(count, _LEAST_READ))
            start = 0
        return b"" if self.spent else self._block[start : start + count]

    def fields(self, offset: int, layout: Struct) -> tuple[Any, ...] | None:
        """Unpack the fields at ``offset``; None where the body ends before they do."""
        data = self.at(offset, layout.size)
        return layout.unpack(data) if len(data) == layout.size else None

    def _load(self, offset: int, count: int) -> None:
        wanted = max(0, min(count, self.size - offset))
        self._bytes -= wanted
        self.spent |= self._bytes < 0 or wanted > LARGEST_READ
        self._block, self._start = self._read(offset, wanted) if wanted and not self.spent else b"", offset

    def charge(self, steps: int) -> None:
        """Account for the steps of a walk."""
        self._steps -= steps
        self.spent |= self._steps < 0

    def reaches(self, end: int) -> Ending:
        """Whether the body holds all bytes before offset ``end``, where its format says that it ends."""
        return Ending.PRESENT if end <= self.size else Ending.MISSING

    def ends_with(self, mark: bytes) -> bool:
        """Whether ``mark`` is the last of the body but for a little padding. Works in a spent body too."""
        start = max(0, self.size - _TAIL)
        return self._read(start, self.size - start).rstrip(_PADDING).endswith(mark)
