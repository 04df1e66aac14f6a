"""Where files made of boxes end: ISO base media and QuickTime, and the pictures that are built the same way.

Boxes have lengths (ISO/IEC 14496-12 section 4.2), but none says that it is the last. A file is whole when its
boxes are, and when those are there that no such file can do without.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from downloader.blocks import Blocks, Ending
from downloader.pictures import codestream

_HEAD = Struct(">I4s")
_WIDE = Struct(">8xQ")
_NUMBER = Struct(">I")

_FRAGMENTS = frozenset({b"moof", b"styp", b"sidx"})
_MEDIA = frozenset({b"mdat", b"imda"})
_FIRST = frozenset({b"ftyp", b"jP  ", b"JXL "})
_OUTERMOST = _FIRST | _FRAGMENTS | _MEDIA | frozenset({
    b"moov", b"mfra", b"meta", b"meco", b"free", b"skip", b"wide", b"uuid", b"ssix", b"emsg", b"prft",
    b"pdin", b"udta", b"pnot", b"PICT", b"jp2h", b"jp2c", b"jxlc", b"jxlp", b"jxli", b"jxll",
    b"brob", b"jbrd", b"Exif", b"xml ", b"ftbl",
})  # fmt: skip
"""Boxes on the outermost level. What is none of these may as well be what somebody put behind the file."""


class _Box(NamedTuple):
    kind: bytes
    inner: int
    """Offset of what is in it."""
    end: int
    """Offset behind it; -1 for a box without a length, that reaches to the end of the file."""


class _Boxes(NamedTuple):
    """The whole boxes of the outermost level."""

    by_kind: dict[bytes, _Box]
    """The last of each kind."""
    indexes: int
    """How many segment indexes there are."""
    rest: int
    """Bytes behind the last of them, that are no box known here."""

    def last(self, kinds: frozenset[bytes]) -> int:
        """Return the offset behind the last box of these kinds, 0 where there is none."""
        return max((box.end for kind, box in self.by_kind.items() if kind in kinds), default=0)

    def judge(self, whole: bool) -> Ending:
        """Judge a file of which ``whole`` says whether all is there that it cannot do without."""
        if whole:
            return Ending.PRESENT
        return Ending.UNKNOWN if self.rest >= _HEAD.size else Ending.MISSING


def _box(body: Blocks, at: int) -> _Box | None:
    head = body.fields(at, _HEAD)
    if head is None:
        return None
    length, kind = head
    inner = at + 8
    if length == 1:
        wide = body.fields(at, _WIDE)
        length, inner = wide[0] if wide else body.size, at + 16
    if length == 0:
        return _Box(kind, inner, -1)
    return _Box(kind, inner, at + length) if at + length >= inner else None


def _outermost(body: Blocks) -> _Boxes | Ending:
    """Collect the boxes; where one of them settles it alone, say how."""
    found: dict[bytes, _Box] = {}
    at = indexes = 0
    while (box := _box(body, at)) is not None:
        if box.kind in _FIRST and (box.kind in found or b"styp" in found):
            break  # another file behind this one, which may be a segment
        if box.kind in _OUTERMOST:
            if box.end < 0:
                return codestream(body, box.inner) if box.kind == b"jp2c" else Ending.UNKNOWN
            if box.end > body.size:
                return Ending.MISSING
            found[box.kind] = box
            indexes += box.kind == b"sidx"
        elif not 0 <= box.end <= body.size:
            break
        at = box.end
    return _Boxes(found, indexes, body.size - at)


def _inside(body: Blocks, outer: _Box, at: int) -> set[bytes]:
    """Return the kinds of the boxes in another; the first is at offset ``at``."""
    kinds: set[bytes] = set()
    while at < outer.end and (box := _box(body, at)) is not None and box.end > 0:
        kinds.add(box.kind)
        at = box.end
    return kinds


def movie(body: Blocks) -> Ending:
    """MP4, QuickTime and their relatives: the index of the movie and its media, in any order, or fragments."""
    found = _outermost(body)
    if isinstance(found, Ending):
        return found
    if _FRAGMENTS & found.by_kind.keys():
        return _fragmented(body, found)
    index = found.by_kind.get(b"moov")
    if index is None:
        return found.judge(whole=False)
    if _inside(body, index, index.inner) & {b"mvex", b"rmra"}:
        return Ending.UNKNOWN  # the start of a fragmented movie, or a movie whose media are elsewhere
    return found.judge(whole=bool(_MEDIA & found.by_kind.keys()))


def _fragmented(body: Blocks, found: _Boxes) -> Ending:
    """Judge by the index of the fragments: the one at the very end, or the only one before them (section 8.16.3).

    Without either, a movie that ends with a whole fragment may have been meant to go on.
    """
    last = found.last(frozenset({b"moof"}))
    if last > found.last(_MEDIA):
        return found.judge(whole=False)
    if found.last(frozenset({b"mfra"})) > last:
        return Ending.PRESENT
    # An index of a single fragment behind the movie's own index may be the first of many.
    least = 2 if b"moov" in found.by_kind else 1
    end = _indexed(body, found.by_kind[b"sidx"], least) if found.indexes == 1 else 0
    if end:
        return body.reaches(end)
    return Ending.MISSING if 0 < found.rest < _HEAD.size else Ending.UNKNOWN


def _indexed(body: Blocks, index: _Box, least: int) -> int:
    """Return the offset behind all that a segment index refers to; 0 where there are not ``least`` parts."""
    width = 4 if body.at(index.inner, 1) == b"\0" else 8  # of its times and offsets
    at = index.inner + 12 + width
    offset = int.from_bytes(body.at(at, width), "big")
    count = int.from_bytes(body.at(at + width + 2, 2), "big")
    table = body.at(at + width + 4, 12 * count)
    sizes = [_NUMBER.unpack_from(table, place)[0] & 0x7FFF_FFFF for place in range(0, len(table) - 3, 12)]
    return index.end + offset + sum(sizes) if len(sizes) >= least else 0


def heif(body: Blocks) -> Ending:
    """HEIF, with HEVC or AV1 in it: the items' properties and their data (ISO/IEC 23008-12 section 10)."""
    found = _outermost(body)
    if isinstance(found, Ending):
        return found
    properties = found.by_kind.get(b"meta")
    if _MEDIA & found.by_kind.keys():
        return found.judge(whole=properties is not None or b"moov" in found.by_kind)
    if properties and b"idat" in _inside(body, properties, properties.inner + 4):
        return Ending.UNKNOWN  # all the data may be among the properties
    return found.judge(whole=False)


def jp2(body: Blocks) -> Ending:
    """JPEG 2000: the codestream (ITU-T T.800 section I.5.4), or the media it refers to (T.801 section M.11.8)."""
    found = _outermost(body)
    if isinstance(found, Ending):
        return found
    return found.judge(whole=b"jp2c" in found.by_kind or b"mdat" in found.by_kind)


def jxl(body: Blocks) -> Ending:
    """JPEG XL in boxes: the codestream, or the part of it marked as the last; a bare codestream has no mark.

    ISO/IEC 18181-2 sections 9.8 and 9.9.
    """
    if body.at(0, 2) == b"\xff\x0a":
        return Ending.UNKNOWN
    found = _outermost(body)
    if isinstance(found, Ending):
        return found
    part = found.by_kind.get(b"jxlp")
    return found.judge(whole=b"jxlc" in found.by_kind or (part is not None and body.at(part.inner, 1) >= b"\x80"))
