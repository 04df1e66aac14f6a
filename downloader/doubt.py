"""Whether a body is whole where its framing cannot prove it: by the format's own end, or by asking again. Pure.

====================================  ============  ==========  ===================  =================
what told the end                     its own end   its own     no such end,         asked again and
                                      is there      is missing  or none known        the same bytes
====================================  ============  ==========  ===================  =================
its length, or the last chunk         whole         whole       whole                whole
Content-Length, and bytes behind it   whole         ask again   whole                cut
the end of the connection             whole         ask again   whole                whole
the end of a stream without a length  whole         ask again   ask over HTTP/1.1    cut
====================================  ============  ==========  ===================  =================

HTTP/1.1 tells the end of nearly every body, so a stream is asked for again over that. Where the second request is
refused, as with links that are good for one, the first body counts unless its own end is missing.
"""

from __future__ import annotations

from downloader.blocks import Ending
from downloader.framing import Framing

_SENTENCES = {
    Framing.SURPLUS: "the server sent more bytes than its Content-Length promised, which end in the middle of the file",
    Framing.CLOSED: "the connection was closed in the middle of the file",
    Framing.UNSURE: "the stream was ended in the middle of the file",
}


def doubt(framing: Framing, ending: Ending) -> str | None:
    """Say why a body may be cut whose end was told by ``framing``; None where it is taken for whole.

    ``ending`` is whether it has its format's own end.
    """
    if framing is Framing.PROVEN or ending is Ending.PRESENT:
        return None
    if ending is Ending.MISSING:
        return f"{_SENTENCES[framing]}: its format's own end is missing"
    return "the stream ended without a length" if framing is Framing.UNSURE else None


def settles(framing: Framing) -> bool:
    """Whether a body that is doubted counts as whole once the same bytes came before."""
    return framing is Framing.CLOSED
