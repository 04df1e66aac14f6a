"""What a request came to: the response's head, and how long its response took."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from downloader.framing import Framing
    from downloader.responses import Head


class Reply(NamedTuple):
    """A response that is complete."""

    head: Head
    took: float
    """Seconds from the request, on a connection that was there by then, to the response's end: with what
    ``--limit-rate`` held it back, and with a connection that turned out to be dead."""
    size: int
    """Bytes of body, as they came."""
    framing: Framing
    """What told its end."""
