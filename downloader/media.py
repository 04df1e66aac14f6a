"""Is this body media? Decided by its declared type, its first bytes and its name together.

Bytes that are recognised count more than any label: an MP4 is taken though it is called ``text/plain``,
a page is refused though it is called ``image/jpeg``. A label counts where the bytes say nothing, unless it
is of a format whose files all have a signature known here: then the missing signature proves it wrong.

No sniffing library serves as a second opinion: `filetype` takes every 50th random body that starts with
0xFF for media, `puremagic` costs 0.3 ms a call, and unknown bytes under a plausible label are taken anyhow.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from downloader.markup import PAGE_BYTES, classify, excerpt, title
from downloader.mediatypes import (
    GENERIC,
    MEDIA_EXTENSIONS,
    canonical,
    extension_for,
    is_media,
    matches,
    type_for,
)
from downloader.probes import Sniffed
from downloader.signatures import HEAD_BYTES, MAY_BE, RELIABLE, identify
from downloader.text import format_size

__all__ = [
    "HEAD_BYTES",
    "MEDIA_EXTENSIONS",
    "PAGE_BYTES",
    "Sniffed",
    "Verdict",
    "enough",
    "extension_for",
    "judge",
    "settled",
    "sniff",
    "title",
]

_EMPTY = Sniffed(None, None, "empty")

_SETTLED_AT = 512
"""Bytes after which no signature but that of untagged MPEG audio asks for more."""

_AT_ONCE = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "audio/flac", "audio/wav"})
"""Types that their first 16 bytes settle."""

_PLAYLISTS = {
    "application/vnd.apple.mpegurl": "an HLS playlist",
    "application/x-scpls": "a playlist",
    "application/dash+xml": "a DASH manifest",
}


class Verdict(NamedTuple):
    """Whether a body is taken, and as what."""

    type: str | None
    """The media type of the bytes where they were recognised, else the declared one."""
    extension: str | None
    """The extension for a file without one, with its dot."""
    refusal: str | None = None
    """Why it is refused, as a sentence for `errors.NotMedia`; None when it is taken."""


def sniff(head: bytes) -> Sniffed:
    """Recognise a body by its first bytes; up to `HEAD_BYTES` of them are looked at."""
    if not head:
        return _EMPTY
    return identify(head) or classify(head[:HEAD_BYTES])


def enough(head: bytes) -> bool:
    """Whether more bytes would not change what `judge` says: recognised media, or enough to name it."""
    if len(head) >= PAGE_BYTES:
        return True
    sniffed = sniff(head)
    if sniffed.kind == "media":
        return len(head) >= (16 if sniffed.type in _AT_ONCE else _SETTLED_AT)
    if sniffed.kind == "html":  # nothing can save it: only its title is still wanted
        return b"</title" in head.lower()
    return len(head) >= HEAD_BYTES


def settled(head: bytes) -> bool:
    """Whether a body that begins with ``head`` is no media for certain once `judge` has refused it."""
    return len(head) >= HEAD_BYTES or sniff(head).kind == "html"


def judge(
    head: bytes,
    *,
    declared: str | None,
    name_extension: str | None,
    accept: tuple[str, ...],
    size: int | None,
) -> Verdict:
    """Decide whether a body is what ``accept`` asks for.

    ``head`` holds its first bytes: all of a short body, otherwise as many as `enough` asks for.
    ``declared`` is the Content-Type field as it came, ``name_extension`` the extension of the URL's or the
    server's name, dot included, ``size`` the body's length in bytes where it is known.
    """
    said, named = canonical(declared), type_for(name_extension)
    sniffed = sniff(head)
    if sniffed.kind == "media":
        return _judge_media(sniffed, said, named, accept, size)
    if "*/*" in accept:
        name = _plain_name(sniffed, said, named)
        return Verdict(name, extension_for(name) if name else None)
    if sniffed.kind == "empty":
        return Verdict(said, None, "server sent an empty body")
    if sniffed.kind == "binary":
        return _judge_binary(sniffed, head, said, named, accept, size)
    return _judge_text(sniffed, head, said, named, accept, size)


def _judge_media(
    sniffed: Sniffed, said: str | None, named: str | None, accept: tuple[str, ...], size: int | None
) -> Verdict:
    precise = _more_precise(sniffed, said, named)
    if precise is not None and matches(precise, accept):
        return Verdict(precise, extension_for(precise) or sniffed.extension)
    if matches(sniffed.type, accept):
        return Verdict(sniffed.type, sniffed.extension)
    return _refuse(sniffed.type, f"server sent {sniffed.type}{_sized(size)}, and {_asks(accept)}")


def _more_precise(sniffed: Sniffed, said: str | None, named: str | None) -> str | None:
    """Return what the label or the name says about the contents of a container, if the bytes allow it."""
    if sniffed.type == "image/tiff":
        # Raw pictures of many cameras are TIFF files with tags of their own.
        raws = (claim for claim in (said, named) if claim and claim not in RELIABLE)
        return next((claim for claim in raws if claim.startswith("image/")), None)
    allowed = MAY_BE.get(sniffed.type or "")
    if allowed is None:
        return None
    if said in allowed:
        return said
    return named if named in allowed and (said is None or not is_media(said)) else None


def _judge_binary(
    sniffed: Sniffed,
    head: bytes,
    said: str | None,
    named: str | None,
    accept: tuple[str, ...],
    size: int | None,
) -> Verdict:
    if matches(sniffed.type, accept):
        return Verdict(sniffed.type, sniffed.extension)
    precise = _more_precise(sniffed, said, named)
    if precise is not None and matches(precise, accept):
        if sniffed.type != "application/gzip":
            return Verdict(precise, extension_for(precise))
        if _is_zipped_svg(head):
            return Verdict(precise, ".svgz")
    claim = named if said is None or said in GENERIC else said
    if claim is None or not matches(claim, accept):
        what = sniffed.type or "unknown binary data"
        label = f", labelled {said}" if said and said != sniffed.type else ""
        return _refuse(sniffed.type or said, f"server sent {what}{_sized(size)}{label}, and {_asks(accept)}")
    if claim in RELIABLE:
        who = "server says" if claim == said else "the name says"
        known = f": they are {sniffed.type}" if sniffed.type else ""
        return _refuse(sniffed.type, f"{who} {claim} but the bytes are not{known}{_sized(size)}")
    return Verdict(claim, extension_for(claim))


def _is_zipped_svg(head: bytes) -> bool:
    try:
        inner = sniff(zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head[:HEAD_BYTES], HEAD_BYTES))
    except zlib.error:
        return False
    return inner.type == "image/svg+xml" or (inner.kind == "xml" and inner.type is None)


def _judge_text(
    sniffed: Sniffed,
    head: bytes,
    said: str | None,
    named: str | None,
    accept: tuple[str, ...],
    size: int | None,
) -> Verdict:
    if sniffed.type is None:  # XML whose root element is still to come
        claim = said if said is not None and is_media(said) else named
        if claim == "image/svg+xml" and matches(claim, accept):
            return Verdict(claim, ".svg")
    if said is not None and matches(said, accept) and _may_be_text(said, sniffed):
        return Verdict(said, extension_for(said) or (None if is_media(said) else sniffed.extension))
    if matches(sniffed.type, accept) or (sniffed.kind != "html" and matches("text/plain", accept)):
        return Verdict(sniffed.type, sniffed.extension)
    return _refuse(sniffed.type, f"server sent {_described(sniffed, head, size)}")


def _may_be_text(said: str, sniffed: Sniffed) -> bool:
    """Whether text of this kind may be what its label says."""
    if sniffed.kind == "html":
        return said in ("text/html", "application/xhtml+xml")
    if sniffed.kind == "xml":
        return said.endswith(("+xml", "/xml")) and said not in RELIABLE
    if is_media(said):
        return sniffed.kind == "text" and sniffed.type == "text/plain" and said not in RELIABLE
    return said not in GENERIC and said not in RELIABLE


def _plain_name(sniffed: Sniffed, said: str | None, named: str | None) -> str | None:
    """Name the type of bytes that are not media, when anything is taken."""
    if sniffed.kind in ("binary", "empty"):
        claim = named if said is None or said in GENERIC else said
        return sniffed.type or claim or said
    if said is not None and said not in GENERIC and _may_be_text(said, sniffed):
        return said
    return sniffed.type or "application/xml"


def _described(sniffed: Sniffed, head: bytes, size: int | None) -> str:
    playlist = _PLAYLISTS.get(sniffed.type or "")
    if playlist is not None:
        return f"{playlist}{_sized(size)}: a list of media, not the media itself"
    if sniffed.kind == "html":
        said = title(head)
        return f"an HTML page{_sized(size)}" + (f', titled "{said}"' if said else "")
    what = {"json": "JSON", "xml": "an XML document"}.get(sniffed.kind, "plain text")
    said = excerpt(head)
    return f"{what}{_sized(size)}" + (f": {said}" if said else "")


def _refuse(name: str | None, sentence: str) -> Verdict:
    return Verdict(name, extension_for(name) if name else None, sentence)


def _sized(size: int | None) -> str:
    return "" if size is None else f", {format_size(size)}"


def _asks(accept: tuple[str, ...]) -> str:
    return "--accept asks for " + ", ".join(accept)
