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

HTTP/1.1 tells the end of nearly every body, so a stream is asked for again over that. What the table says holds for
what comes out of a Content-Encoding, too: of gzip any number of members may follow (RFC 1952 section 2.2). A body that
is refused though more bytes might have been taken (it is empty, too short to be recognised or for ``--min-size``, or
lacks the end of its Content-Encoding) is asked for again likewise, and then only the second response counts.

Where the first body is not known to be cut, it is put aside, and then either counts::

    the second request brings                   counts
    ──────────────────────────────────────────  ──────
    an error, a refusal, a body that is cut     first    links that are good for one request
    a body of another format                    first    what such links show instead, such as a picture
    a shorter body that is not proven           first    it may be cut itself
    a shorter body that is proven               second   the file is another one by now
    a body that is as long, or longer           second
"""

from __future__ import annotations

from downloader.blocks import Ending
from downloader.framing import Framing
from downloader.media import sniff

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


def replaces(first: bytes, first_size: int, second: bytes, second_size: int, framing: Framing) -> bool:
    """Whether a second body counts instead of one that may be cut. ``framing`` told the end of the second.

    ``first`` and ``second`` are their first `media.HEAD_BYTES`, or all of them; sizes are in bytes.
    """
    # A body that was cut early may not be recognised yet: the second then begins with it.
    if not second.startswith(first) and sniff(first).type != sniff(second).type:
        return False
    return framing is Framing.PROVEN or second_size >= first_size


def settles(framing: Framing) -> bool:
    """Whether a body that is doubted counts as whole once the same bytes came before."""
    return framing is Framing.CLOSED
