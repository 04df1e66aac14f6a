"""What a request came to: the response's head, and how long the server took for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from downloader.responses import Head


class Reply(NamedTuple):
    """A response that is complete. Its times begin with the request, on a connection that was there by then."""

    head: Head
    waited: float
    """Seconds until the first byte of the answer."""
    took: float
    """Seconds until its end, with what ``--limit-rate`` held it back and a connection that turned out to be dead."""
    size: int
    """Bytes of body, as they came."""
