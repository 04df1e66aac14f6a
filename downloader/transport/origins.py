"""What is remembered of each origin while its connections live; bounded, and forgotten without harm."""

from __future__ import annotations

ORIGINS = 4096
"""Origins remembered."""


class Origin:
    """How the server of one scheme, host and port has behaved."""

    __slots__ = ("keeps", "pipewait", "secure")

    def __init__(self, *, secure: bool, waits: bool) -> None:
        self.secure = secure
        self.keeps = False
        """Whether it has kept a connection open behind a response."""
        self.pipewait = secure and waits
        """Whether a request waits for a connection under way that others may share, rather than open another.

        Only TLS negotiates HTTP/2 (RFC 9113 section 3.2). Where the answer came in HTTP/1, waiting would only set
        one handshake behind the other.
        """

    def answered(self, version: str) -> None:
        """Note which HTTP version a response came in."""
        self.pipewait = self.secure and not version.startswith("1")


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
