"""Does a body have its format's own end? For where HTTP cannot prove that it is complete.

The format is recognised by the first bytes, never by labels. Formats that are not in the table have no end that
could be relied on, among them AC-3, DTS, MPEG transport streams, TIFF with the raw pictures built on it, OpenEXR
and FITS.

What no walk can see: a cut exactly between two boxes, chunks, pages or forms behind which the file could have
ended, such as before the second form of an AVI or before the next link of a chained Ogg. The padding byte of the
last odd chunk in RIFF and IFF is not missed, nor is what an application put behind a JPEG unless the picture tells
of it: the lengths of more pictures are known from their index, and where XMP tells of a video, as in Android's
motion photos, the end is not known. Bytes of another kind that somebody put behind a FLAC file, fewer than its
largest frame has, look like a cut.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from downloader import audio, boxes, containers, pictures
from downloader.blocks import Blocks, Ending
from downloader.media import HEAD_BYTES, sniff

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ending", "ending"]


class _Format(NamedTuple):
    walk: Callable[[Blocks], Ending]
    mark: bytes = b""
    """Its last bytes. They count at the very end alone where the structure is broken or too long to be walked."""


def ending(read: Callable[[int, int], bytes], size: int) -> Ending:
    """Tell whether the end of its format is in a body of ``size`` bytes.

    ``read(offset, count)`` returns up to ``count`` bytes of it. It is called a few times as a rule, at most
    `blocks.MOST_STEPS` times for `blocks.MOST_BYTES` in all. Nothing is raised but what ``read`` raises.
    """
    body = Blocks(read, size)
    known = _FORMATS.get(sniff(body.at(0, HEAD_BYTES)).type or "")
    if known is None:
        return Ending.UNKNOWN
    found = known.walk(body)
    if body.spent:
        found = Ending.UNKNOWN
    if found is Ending.UNKNOWN and known.mark and not body.unseen:
        if body.ends_with(known.mark):
            return Ending.PRESENT
        return Ending.UNKNOWN if body.spent else Ending.MISSING
    return found


def _length(layout: str, plus: int = 0) -> Callable[[Blocks], Ending]:
    """Make the walk for a format with its length in one field of the header, less ``plus`` bytes."""
    field = Struct(layout)

    def walk(body: Blocks) -> Ending:
        length = body.fields(0, field)
        if length is None:
            return Ending.MISSING
        return body.reaches(length[0] + plus) if 0 < length[0] < 1 << 62 else Ending.UNKNOWN

    return walk


_MOVIE, _HEIF, _JP2 = _Format(boxes.movie), _Format(boxes.heif), _Format(boxes.jp2)
_RIFF, _IFF = _Format(containers.riff), _Format(containers.iff)
_TAGGED = _Format(audio.tagged)
_OGG, _MATROSKA, _ASF = _Format(containers.ogg), _Format(containers.matroska), _Format(containers.asf)

_FORMATS = {
    "image/jpeg": _Format(pictures.jpeg, b"\xff\xd9"),
    "image/jls": _Format(pictures.jpeg_ls, b"\xff\xd9"),
    "image/png": _Format(pictures.png, b"\0\0\0\0IEND\xaeB`\x82"),
    "image/x-jng": _Format(pictures.png, b"\0\0\0\0IEND\xaeB`\x82"),
    "image/x-mng": _Format(pictures.mng, b"\0\0\0\0MEND\x21\x20\xf7\xd5"),
    "image/gif": _Format(pictures.gif, b"\0;"),
    "image/qoi": _Format(pictures.qoi, bytes(7) + b"\1"),
    "image/svg+xml": _Format(pictures.svg, b"</svg>"),
    "image/bmp": _Format(pictures.bmp),
    "image/vnd.microsoft.icon": _Format(pictures.icon),
    "image/vnd.adobe.photoshop": _Format(pictures.psd),
    "image/j2c": _Format(pictures.codestream, b"\xff\xd9"),
    "image/jp2": _JP2,
    "image/jpx": _JP2,
    "image/jpm": _JP2,
    "image/jph": _JP2,
    "image/jxl": _Format(boxes.jxl),
    "image/heic": _HEIF,
    "image/heif": _HEIF,
    "image/avif": _HEIF,
    "image/x-canon-cr3": _MOVIE,
    "image/webp": _RIFF,
    "image/vnd.djvu": _IFF,
    "image/x-ilbm": _IFF,
    "image/icns": _Format(_length(">4xI")),
    "image/emf": _Format(_length("<48xI")),  # MS-EMF section 2.3.4.2
    "video/mp4": _MOVIE,
    "video/quicktime": _MOVIE,
    "video/3gpp": _MOVIE,
    "video/3gpp2": _MOVIE,
    "video/mj2": _MOVIE,
    "video/x-msvideo": _RIFF,
    "video/x-amv": _RIFF,
    "video/matroska": _MATROSKA,
    "video/webm": _MATROSKA,
    "video/ogg": _OGG,
    "video/x-ms-asf": _ASF,
    "video/x-ms-wmv": _ASF,
    "video/x-flv": _Format(containers.flv),
    "video/mpeg": _Format(containers.mpeg),
    "audio/mpeg": _Format(audio.mp3),
    "audio/flac": _Format(audio.flac),
    "audio/aac": _TAGGED,
    "audio/ape": _TAGGED,
    "audio/wavpack": _TAGGED,
    "audio/x-musepack": _TAGGED,
    "audio/x-tta": _TAGGED,
    "audio/mp4": _MOVIE,
    "audio/ogg": _OGG,
    "audio/wav": _RIFF,
    "audio/qcelp": _RIFF,
    "audio/aiff": _IFF,
    "audio/x-8svx": _IFF,
    "audio/x-w64": _Format(_length("<16xQ")),
    "audio/x-dff": _Format(_length(">4xQ", 12)),
    "audio/x-dsf": _Format(_length("<12xQ")),
    "audio/midi": _Format(containers.midi),
    "audio/basic": _Format(containers.au),
    "audio/x-caf": _Format(containers.caf),
}
