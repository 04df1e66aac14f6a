"""What is remembered of each origin while its connections live; bounded, and forgotten without harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downloader.responses import Head

ORIGINS = 4096
"""Origins remembered."""


class Origin:
    """How the server of one scheme, host and port has behaved."""

    __slots__ = ("fresh", "http1", "pipewait", "secure")

    def __init__(self, *, secure: bool, waits: bool) -> None:
        self.secure = secure
        self.fresh = False
        """Whether each request gets a connection of its own: it has sent responses that nobody asked for."""
        self.http1 = False
        """Whether it is asked over HTTP/1.1, as its streams of HTTP/2 or HTTP/3 have ended without a proof."""
        self.pipewait = secure and waits
        """Whether a request waits for a connection under way that others may share, rather than open another.

        Only TLS negotiates HTTP/2 (RFC 9113 section 3.2). Where the answer came in HTTP/1, waiting would only set
        one handshake behind the other.
        """

    def answered(self, head: Head, *, asked: bool) -> None:
        """Note in which HTTP version a response came; ``asked``: it was to be HTTP/1.1."""
        over_http1 = head.version.startswith("1")
        self.pipewait = self.secure and not over_http1
        if asked and over_http1 and head.status == 200:  # what it serves so it may serve all files
            self.http1 = True


class Origins:
    """The origins met last, each by its ``scheme://host:port``.

    ``waits`` is for a first request that goes alone: the others may then count on its connection (see `resolving`).
    """

    def __init__(self, *, waits: bool, most: int = ORIGINS) -> None:
        self._waits = waits
        self._most = most
        self._origins: dict[str, Origin] = {}

    def __len__(self) -> int:
        return len(self._origins)

    def get(self, key: str) -> Origin:
        """Return what is known of an origin; of the one met first, room for another makes forget."""
        origin = self._origins.get(key)
        if origin is None:
            if len(self._origins) >= self._most:
                del self._origins[next(iter(self._origins))]
            origin = self._origins[key] = Origin(secure=key.startswith("https:"), waits=self._waits)
        return origin
