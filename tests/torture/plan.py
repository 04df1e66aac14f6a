"""What the server does with each request: drawn from the seed, the file, and how many requests for it came before."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torture.world import File

HONEST = "honest"
REST = "200 with the rest"
FAULTY = {True: 0.7, False: 0.45}
"""The share of requests that go wrong while a file's faults last, for large files and for others."""
CHANGES = 0.2
"""The probability that a file changes before a request, while it still may."""
KIB = 1 << 10
SMALL_ENOUGH = 20 * KIB
"""Bytes of a file whose response travels in one segment on loopback, so that what is too much of it is seen."""
ONE_RECORD = 14 * KIB
"""The same for one record of TLS, which has 16 KiB (RFC 8446 section 5.1)."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Something that goes wrong, and when it can."""

    name: str
    weight: int
    """How often, compared to the others that fit."""
    ranged: bool | None = None
    """Whether it takes a request with a Range, or one without; None for either."""
    fits: Callable[[File], bool] = lambda _file: True


def _cut_shows(file: File) -> bool:
    # A body that ends with its connection may always have been whole, unless its own end is missing.
    return file.framing != "close" or file.ends


def _surplus_shows(file: File) -> bool:
    if file.framing != "length" or file.summed:
        return file.framing == "length"
    return file.ends and max(file.sizes) < {"http": SMALL_ENOUGH, "https": ONE_RECORD, "h2": 0}[file.protocol]


def _keeps_connection(file: File) -> bool:
    return file.framing != "close" and file.protocol != "h2"


def _streams(file: File) -> bool:
    return file.protocol == "h2"


def _cut_stream_shows(file: File) -> bool:
    # The name that the server gives keeps no other gdl from asking: of two, neither knows which request comes next.
    return file.protocol == "h2" and (file.ends or file.style != "server-named")


BEHAVIOURS = (
    # Bodies that do not arrive as they should.
    Behaviour("truncated", 20, fits=_cut_shows),
    Behaviour("reset", 20),
    Behaviour("stall", 5),
    Behaviour("pause", 4),
    Behaviour("slow", 10),
    Behaviour("length too long", 4),
    Behaviour("length too short", 5, fits=_surplus_shows),
    Behaviour("broken chunk", 4),
    Behaviour("no last chunk", 3),
    Behaviour("chunked", 4),
    Behaviour("gzip", 4),
    Behaviour("broken gzip", 2),
    # Streams of HTTP/2, and the same over HTTP/1.1 where gdl has come to prefer that.
    Behaviour("stream ends early", 20, fits=_cut_stream_shows),
    Behaviour("stream reset, NO_ERROR", 20, fits=_cut_stream_shows),
    Behaviour("stream reset", 10, fits=_streams),
    Behaviour("stream reset, no length", 10, fits=_cut_stream_shows),
    Behaviour("stream without a length", 10, fits=_streams),
    Behaviour("GOAWAY", 5, fits=_streams),
    Behaviour("GOAWAY and gone", 5, fits=_streams),
    Behaviour("GOAWAY and gone, no length", 5, fits=_cut_stream_shows),
    # Answers that nobody asked for.
    Behaviour("surplus answer", 8, fits=_keeps_connection),
    Behaviour("surplus answer, later", 8, fits=_keeps_connection),
    # No file at all.
    Behaviour("503", 2),
    Behaviour("503 retry after", 2),
    Behaviour("500", 2),
    Behaviour("429", 2),
    Behaviour("404", 1),
    Behaviour("closed", 4),
    Behaviour("reset at once", 4),
    Behaviour("web page", 3),
    Behaviour("redirect", 5),
    Behaviour("redirect elsewhere", 40, fits=lambda file: file.elsewhere),
    # Other bytes.
    Behaviour("an older version", 5, fits=lambda file: not file.summed),
    Behaviour("decoy", 5, fits=lambda file: file.summed),
    # Answers to ranges.
    Behaviour("200 to a range", 8, True),
    Behaviour(REST, 14, True),
    Behaviour("200 with the rest, Content-Range", 8, True),
    Behaviour("200 with the rest, redirected", 8, True),
    Behaviour("200 of another length", 14, True),
    Behaviour("If-Range ignored", 10, True),
    Behaviour("If-Range ignored, no validator", 8, True),
    Behaviour("206 other start", 6, True),
    Behaviour("206 beyond the end", 6, True),
    Behaviour("206 ends early", 8, True),
    Behaviour("206 other total", 6, True),
    Behaviour("206 unknown total", 5, True),
    Behaviour("206 no Content-Range", 6, True),
    Behaviour("206 garbled Content-Range", 4, True),
    Behaviour("206 multipart", 6, True),
    Behaviour("206 other ETag", 6, True),
    Behaviour("206 no validator", 6, True),
    Behaviour("206 gzip", 4, True),
    Behaviour("206 decoy", 8, True, lambda file: file.summed),
    Behaviour("416", 5, True),
    Behaviour("416 Content-Range", 5, True),
    # Ranges nobody asked for.
    Behaviour("206 unasked, all", 3, False),
    Behaviour("206 unasked, start", 4, False),
    Behaviour("206 unasked, end", 4, False),
)


CUT = frozenset(
    {
        *("truncated", "reset", "stall", "broken chunk", "no last chunk"),
        *("stream ends early", "stream reset, NO_ERROR", "stream reset", "stream reset, no length"),
        *("GOAWAY and gone", "GOAWAY and gone, no length"),
    }
)
"""Bodies that end too early."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one request."""

    behaviour: str
    fraction: float
    """From 0 to 1: where a body is cut, how far a range is off."""
    pace: int | None
    """Bytes a second; None for as fast as it goes."""
    changes: bool
    """Whether the file has changed just before, if it still can."""
    fault: int = 0
    """Its number among the faults of the file, counted down; below `world.MOST_FAULTS`."""

    def leaves_doubt(self, file: File) -> bool:
        """Whether what comes may be a cut body of which nothing tells but a second request.

        That is to be answered well: where it is refused, the body counts. It is the next one for the file, as no gdl
        asks for what another one is fetching.
        """
        return file.protocol == "h2" and not file.ends and self.behaviour in CUT


def decide(seed: int, file: File, number: int, *, ranged: bool, faults_left: int, rests: bool = False) -> Decision:
    """What becomes of the request ``number`` (from 0) for ``file``; ``rests``: for a path that sends rests as files."""
    rng = Random(f"{seed}/request/{file.index}/{number}")  # noqa: S311
    fraction = rng.random()
    changes = rng.random() < CHANGES
    if ranged and rests:
        return Decision(REST, fraction, None, changes=False)
    if faults_left <= 0:
        return Decision(HONEST, fraction, rng.choice((None, None, 8000 * KIB)), changes=False)
    pace = rng.choice((None, None, 6000 * KIB, 3000 * KIB, 1500 * KIB, 600 * KIB)) if file.large else None
    if rng.random() >= FAULTY[file.large]:
        return Decision(HONEST, fraction, pace, changes)
    fitting = [one for one in BEHAVIOURS if one.ranged in (None, ranged) and one.fits(file)]
    # A range is rare enough to be answered in a way that only ranges can be.
    weights = [one.weight * (2 if one.ranged else 1) for one in fitting]
    [chosen] = rng.choices(fitting, weights)
    return Decision(chosen.name, fraction, pace, changes, faults_left)
