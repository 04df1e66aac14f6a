"""How far a response's framing proves that its body came whole. Pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downloader.responses import Head


class Framing(Enum):
    """What the end of a body was told by."""

    PROVEN = auto()
    """Its length, or the last chunk: nothing is missing (RFC 9112 section 6.3)."""
    SURPLUS = auto()
    """Its Content-Length, but bytes waited behind it: the length may be too small."""
    CLOSED = auto()
    """The end of its connection, which may as well have broken (RFC 9112 section 8)."""
    UNSURE = auto()
    """The end of a stream of HTTP/2 or HTTP/3 without a length: libcurl takes one that was reset with NO_ERROR for one
    that ended (RFC 9113 section 8.1)."""


PROVEN = Framing.PROVEN  # looking a member up in its class takes as long as all of `framing`
_, _SURPLUS, _CLOSED, _UNSURE = Framing


def framing(head: Head, *, surplus: bool | None) -> Framing:
    """Return what told the end of a body that libcurl calls complete; ``surplus``: bytes waited behind it.

    Where that is not known (None), its Content-Length proves no more than the end of its connection would.
    """
    fields = head.fields
    if not head.version.startswith("1"):
        return PROVEN if "content-length" in fields else _UNSURE
    if head.is_chunked:  # whatever the Content-Length says
        return PROVEN
    if "content-length" not in fields or surplus is None:
        return _CLOSED
    return _SURPLUS if surplus else PROVEN
