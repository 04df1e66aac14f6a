"""Which range of one file is fetched by whom. Pure: it hands out pieces and is told what became of them.

Each byte of the file is in one of three states::

    missing ── take(), take_at(), extend() ──▶ running ── advance() ──▶ done
       ▲                                          │
       └──────────────── release() ───────────────┘

A running byte belongs to one piece, so no byte is written twice. Where nothing is missing, `Segments.take` cuts the
running piece that has most left in two; its writer finds less room in it than before, and ends earlier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader.spans import Span, add, covered, gaps, is_normal

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_PIECE = 1024 * 1024
"""Bytes that make a request of their own worth while, as long as nothing is known of the server."""
GRAIN = 64 * 1024
"""Bytes that cuts are aligned to where that fits, so that two writers share no page of the file."""
BOUNDS = 128 * 1024, MIN_PIECE, 64 * MIN_PIECE
"""Bounds of what is learned to be worth a request: the least at a file's end, the least elsewhere, and the most."""
WORTH = 20.0
"""How much longer than the wait for it the bytes of a piece should take: then asking costs a twentieth at most. Pieces
no longer than that keep all transfers busy to the end, whatever the speed of each."""


def worth(previous: float, waited: float, took: float, size: int) -> float:
    """Return the bytes that are worth a request, ``previous`` having been thought of it before.

    Now ``size`` bytes were ``waited`` for and then ``took`` so many seconds. None at all tell nothing of the server.
    """
    if not size:
        return previous
    most = float(BOUNDS[2])
    # Bytes that came all at once would have it grow beyond what later ones could bring down again.
    wanted = min(most, WORTH * waited * size / took) if took > 0 else most
    return (previous + wanted) / 2


class Piece:
    """A range that is fetched: the bytes of [start, at) were written by it, those of [at, end) are to come.

    ``end`` is None for a body of unknown length. Only `Segments` changes a piece; a released one has no room.
    """

    __slots__ = ("at", "end", "start")

    def __init__(self, start: int, end: int | None) -> None:
        self.start = start
        self.at = start
        self.end = end

    def __repr__(self) -> str:
        return f"Piece({self.start}, at={self.at}, end={self.end})"


class Segments:
    """A file of ``total`` bytes (None: unknown), of which those of ``done`` are there.

    ``done`` is a normal list of spans and ``received`` its number of bytes, both for reading only. Raises ValueError
    for spans that are not normal or reach beyond ``total``; of a body of unknown length only the beginning can be done.
    """

    def __init__(self, total: int | None, done: Iterable[Span] = ()) -> None:
        self.total = total
        self.done: list[Span] = [(start, end) for start, end in done]
        self.received = covered(self.done)
        self.least = MIN_PIECE
        """Bytes that are worth a request: no running piece is cut into smaller ones."""
        self.most: int | None = None
        """Bytes a piece has at most; None for no bound."""
        self._running: list[Piece] = []
        if not is_normal(self.done):
            raise ValueError(f"not a normal list of spans: {self.done}")
        if self.done and (self.done[-1][1] > total if total is not None else self.done != [(0, self.received)]):
            raise ValueError(f"{self.done} does not fit a length of {total}")

    @property
    def complete(self) -> bool:
        """Whether the length is known and all of it is done."""
        return self.received == self.total

    @property
    def running(self) -> int:
        """Pieces that are fetched now."""
        return len(self._running)

    @property
    def unclaimed(self) -> bool:
        """Whether bytes are missing that nobody fetches."""
        if self.total is None:
            return not self._running
        return self.received + sum(_left(piece) for piece in self._running) < self.total

    @property
    def splittable(self) -> bool:
        """Whether `take` would find anything, be it by cutting a running piece."""
        return self.unclaimed or any(_left(piece) >= 2 * self.least for piece in self._running)

    def fit(self, worth: float) -> None:
        """Have further pieces be of a size for which ``worth`` bytes are worth a request, within `BOUNDS`."""
        smallest, least, most = BOUNDS
        self.least = int(min(least, max(smallest, worth)))
        self.most = int(min(most, max(least, worth)))

    def take(self) -> Piece | None:
        """Hand out a piece: the first gap that nobody fetches, else half of what the slowest piece has left.

        It has at most `most` bytes. Returns None where there is no gap and no piece long enough to be cut. Of a body
        of unknown length the piece has no end, and there is one at a time.
        """
        if self.total is None:
            return None if self._running else self._run(self.received, None)
        if self.unclaimed:
            start, end = self._free(self.total)[0]
            return self._run(start, self._bounded(start, end))
        longest = max(self._running, key=_left, default=None)
        if longest is None or longest.end is None or _left(longest) < 2 * self.least:
            return None
        end = longest.end
        middle = longest.at + _left(longest) // 2
        aligned = -(-middle // GRAIN) * GRAIN
        longest.end = aligned if end - aligned >= self.least else middle
        return self._run(longest.end, self._bounded(longest.end, end))

    def take_at(self, start: int) -> Piece | None:
        """Hand out the gap that nobody fetches and that begins exactly at ``start``; None where there is no such."""
        if self.total is None:
            return self.take() if start == self.received else None
        end = self._free_from(start, self.total)
        return None if end is None else self._run(start, end)

    def advance(self, piece: Piece, count: int) -> None:
        """``count`` more bytes were written where ``piece`` is. Raises ValueError for more than it has room for."""
        before = piece.at
        after = before + count
        if count < 0 or (piece.end is not None and after > piece.end):
            raise ValueError(f"no room for {count} bytes in {piece}")
        add(self.done, before, after)
        self.received += count
        piece.at = after

    def room(self, piece: Piece) -> int | None:
        """Return how many bytes ``piece`` may still take; None where its length is unknown."""
        return None if piece.end is None else piece.end - piece.at

    def extend(self, piece: Piece, limit: int | None) -> bool:
        """Let a full piece go on into the gap right behind it, where there is one that nobody fetches.

        ``limit`` is the end of what its response brings (None: all of the file). Returns whether it has room now.
        """
        if piece.at != piece.end:
            return True
        if self.total is None or piece not in self._running:
            return False
        end = self._free_from(piece.at, self.total)
        if end is not None:
            piece.end = end if limit is None else max(piece.at, min(end, limit))
        return piece.at < piece.end

    def release(self, piece: Piece) -> None:
        """Nobody fetches ``piece`` any more: what it did not write is missing again. May be called twice."""
        if piece in self._running:
            self._running.remove(piece)
            piece.end = piece.at

    def finish(self) -> None:
        """A body of unknown length has ended: its length is what is there. Nothing happens where it was known."""
        if self.total is None:
            for piece in list(self._running):
                self.release(piece)
            self.total = self.received

    def _run(self, start: int, end: int | None) -> Piece:
        piece = Piece(start, end)
        self._running.append(piece)
        return piece

    def _bounded(self, start: int, end: int) -> int:
        """The end of a piece from ``start``; what it would leave is not less than the least piece."""
        if self.most is None or end - start < self.most + self.least:
            return end
        return start + self.most

    def _free(self, total: int) -> list[Span]:
        """What is missing and fetched by nobody."""
        busy = self.done.copy()
        for piece in self._running:
            if piece.end is not None:
                add(busy, piece.at, piece.end)
        return gaps(busy, total)

    def _free_from(self, start: int, total: int) -> int | None:
        """The end of the gap that begins at ``start``."""
        return next((end for first, end in self._free(total) if first == start), None)


def _left(piece: Piece) -> int:
    return 0 if piece.end is None else piece.end - piece.at
