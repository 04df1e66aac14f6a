"""Where pictures end: each function walks through one format and says whether its end is there.

A walk answers UNKNOWN where the bytes do not have the structure of their format.
"""

from __future__ import annotations

import re
from array import array
from struct import Struct, error, unpack_from
from sys import byteorder

from downloader.blocks import LARGEST_READ, Blocks, Ending
from downloader.markup import utf8

_SEGMENT = Struct(">H")
_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_BEHIND_FILL = re.compile(rb"\xff[^\xff]")
_IN_LS_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")


def jpeg(body: Blocks) -> Ending:
    """JPEG: to the EOI marker, over segments with lengths and entropy-coded data (ITU-T T.81 section B.1.1).

    What was put behind that for newer readers counts where it tells its end: the pictures of the Multi-Picture Format
    (CIPA DC-007 section 5.2), among them the gain map of Ultra HDR. The video of a motion photo does not.
    """
    return _markers(body, _IN_SCAN)


def jpeg_ls(body: Blocks) -> Ending:
    """JPEG-LS: as JPEG, but only a bit is stuffed behind FF in a scan (ITU-T T.87 section A.1)."""
    return _markers(body, _IN_LS_SCAN)


def _markers(body: Blocks, in_scan: re.Pattern[bytes]) -> Ending:
    at, pictures, hides, contains = 2, 0, False, False
    while len(start := body.at(at, 2)) == 2:
        marker = start[1]
        if start[0] != 0xFF:
            return Ending.UNKNOWN
        if marker == 0xD9:
            body.unseen = hides or (contains and not pictures)
            return Ending.UNKNOWN if body.unseen and pictures <= body.size else body.reaches(max(at + 2, pictures))
        if marker == 0xFF:  # fill bytes
            at = _find(body, _BEHIND_FILL, at)
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # TEM, RSTn: no length
            at += 2
        elif marker < 0xC0 or marker == 0xD8:
            return Ending.UNKNOWN
        else:
            start_of_data, at = at + 4, _behind_segment(body, at + 2)
            if at < 0:
                return Ending.UNKNOWN
            if marker == 0xDA:
                at = _find(body, in_scan, at)
            elif marker == 0xE1 and (told := _data(body, start_of_data, at, _XMP)):
                hides, contains = hides or _VIDEO.search(told) is not None, contains or b":Directory" in told
            elif marker == 0xE2 and not pictures and (told := _data(body, start_of_data, at, _MPF)):
                pictures = _behind_pictures(told, start_of_data + len(_MPF))
                contains |= not pictures
    return Ending.MISSING


_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_VIDEO = re.compile(rb"MotionPhoto|MicroVideo")
_MPF = b"MPF\0"
_PICTURES = 0xB002


def _data(body: Blocks, at: int, end: int, name: bytes) -> bytes:
    """Return what follows ``name`` in a segment's data, which reach from ``at`` to ``end``; empty in any other."""
    return body.at(at, end - at)[len(name) :] if body.at(at, len(name)) == name else b""


def _behind_pictures(index: bytes, base: int) -> int:
    """Return the offset behind all pictures that an ``index`` at offset ``base`` lists; 0 where it makes no sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(index[:4])
    if order is None:
        return 0
    try:
        (directory,) = unpack_from(f"{order}I", index, 4)
        (fields,) = unpack_from(f"{order}H", index, directory)
        for number in range(fields):
            tag, length, at = unpack_from(f"{order}H2xII", index, directory + 2 + 12 * number)
            if tag == _PICTURES:
                pictures = [unpack_from(f"{order}4xII4x", index, at + 16 * entry) for entry in range(length // 16)]
                return base + max((offset + size for size, offset in pictures if offset), default=0)
    except error:  # the index ends before
        pass
    return 0


def _behind_segment(body: Blocks, at: int) -> int:
    """Return the offset behind the segment whose length is at ``at``; -1 where it is less than a length takes."""
    length = body.fields(at, _SEGMENT)
    if length is None:
        return body.size
    return at + length[0] if length[0] >= 2 else -1


def _find(body: Blocks, pattern: re.Pattern[bytes], at: int) -> int:
    """Return where the two bytes of ``pattern`` stand next; the end of the body where they do not."""
    while True:
        block, start = body.around(at, 2)
        if start == len(block):
            return body.size
        if found := pattern.search(block, start):
            return at - start + found.start()
        at += max(1, len(block) - start - 1)  # the first of the two may be the last byte of this block


_TILE_PART = Struct(">4xI")
_EOC = re.compile(rb"\xff\xd9")


def codestream(body: Blocks, at: int = 0) -> Ending:
    """JPEG 2000: main header, tile-parts with lengths, EOC marker (ITU-T T.800 sections A.2 to A.4)."""
    at += 2
    while len(start := body.at(at, 2)) == 2:
        if start == b"\xff\xd9":
            return Ending.PRESENT
        if start == b"\xff\x90":  # SOT
            fields = body.fields(at + 2, _TILE_PART)
            if fields is None:
                return Ending.MISSING
            if 0 < fields[0] < 12:
                return Ending.UNKNOWN
            # Without a length it is the last tile-part, and coded data hold no FF90 to FFFF (section B.10.1).
            at = at + fields[0] if fields[0] else _find(body, _EOC, at + 12)
        elif start[0] != 0xFF:
            return Ending.UNKNOWN
        else:
            at = _behind_segment(body, at + 2)
            if at < 0:
                return Ending.UNKNOWN
    return Ending.MISSING


_CHUNK = Struct(">I4s")


def png(body: Blocks) -> Ending:
    """PNG, animated or not, and JNG: to the IEND chunk (PNG specification section 5.3, JNG section 3)."""
    return _chunks(body, b"IEND")


def mng(body: Blocks) -> Ending:
    """MNG: to the MEND chunk, over the IEND chunks of its pictures (MNG section 4.1)."""
    return _chunks(body, b"MEND")


def _chunks(body: Blocks, last: bytes) -> Ending:
    at = 8
    while chunk := body.fields(at, _CHUNK):
        length, kind = chunk
        if length > 0x7FFF_FFFF or not kind.isalpha():
            return Ending.UNKNOWN
        at += 12 + length
        if kind == last:
            return body.reaches(at)
    return Ending.MISSING


_LARGEST_SUB_BLOCKS = re.compile(rb"(?:\xff.{255})*+", re.DOTALL)


def gif(body: Blocks) -> Ending:
    """GIF: to the trailer, over extensions and pictures in sub-blocks (GIF89a sections 15 to 27)."""
    head = body.at(0, 13)
    if len(head) < 13:
        return Ending.MISSING
    at = 13 + _colours(head[10])
    while start := body.at(at, 10):
        if start[:1] == b";":
            return Ending.PRESENT
        if start[:1] == b"!":
            at = _behind_sub_blocks(body, at + 2)
        elif start[:1] == b",":
            at = _behind_sub_blocks(body, at + 11 + _colours(start[-1]))
        elif start[:1] == b"\0":  # one block terminator too many: decoders skip it
            at += 1
        else:
            return Ending.UNKNOWN
    return Ending.MISSING


def _colours(flags: int) -> int:
    """Return the size in bytes of a colour table, 0 where the flags say that there is none."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_sub_blocks(body: Blocks, at: int) -> int:
    """Return the offset behind the block terminator of data sub-blocks, each of which starts with its size."""
    while True:
        block, start = body.around(at, 1)
        position, steps = start, 0
        while position < len(block):
            length = block[position]
            steps += 1
            if not length:
                body.charge(steps)
                return at - start + position + 1
            full = _LARGEST_SUB_BLOCKS.match(block, position) if length == 255 else None
            position = max(full.end() if full else 0, position + 1 + length)
        if position == start:
            return body.size
        body.charge(steps)
        at += position - start


# A pixel seen before is named by its index, never twice in a row: two zeros can only be the start of the end.
_QOI_END = bytes(7) + b"\x01"
_LARGEST_QOI = 4 << 20  # a second's work for ten times as many bytes
_QOI = re.compile(rb"(?:[\x01-\x7f\xc0-\xfd]|\0(?!\0|\Z)|[\x80-\xbf].|\xfe.{3}|\xff.{4})*+", re.DOTALL)


def qoi(body: Blocks) -> Ending:
    """QOI: operations of one to five bytes each, then eight bytes that end them (qoiformat.org)."""
    if body.size > _LARGEST_QOI:
        return Ending.UNKNOWN
    at = 14
    while True:
        block, start = body.around(at, len(_QOI_END))
        run = _QOI.match(block, start)
        behind = run.end() if run else start
        if block.startswith(_QOI_END, behind):
            return Ending.PRESENT
        if len(block) - behind >= len(_QOI_END):
            return Ending.UNKNOWN
        if behind == start:
            return Ending.MISSING
        at += behind - start


_BMP = Struct("<2xI4xIIii2xHII")
_BMP_SMALL = Struct("<HH2xH")
_BMP_PLAIN = (0, 3, 6)


def bmp(body: Blocks) -> Ending:
    """BMP: the pixels, and the size in the file header (BITMAPFILEHEADER, BITMAPINFOHEADER).

    Where the pixels are there and less than the size, it is not known: writers that count wrong are common.
    """
    head = body.fields(0, _BMP)
    if head is None:
        return Ending.MISSING
    told, offset, header, width, height, bits, compression, room = head
    if header == 12 and (small := body.fields(18, _BMP_SMALL)):
        width, height, bits = small
    if header <= 16 or (compression in _BMP_PLAIN and header != 64):
        room = (abs(width) * bits + 31) // 32 * 4 * abs(height)
    if not room:
        return body.reaches(told) if told > offset else Ending.UNKNOWN
    if offset + room > body.size:
        return Ending.MISSING
    return Ending.PRESENT if told <= body.size else Ending.UNKNOWN


_ICONS = Struct("<4xH")
_ICON = Struct("<8xII")


def icon(body: Blocks) -> Ending:
    """Icons and cursors: as far as the directory's pictures reach."""
    head = body.fields(0, _ICONS)
    entries = [body.fields(6 + 16 * number, _ICON) for number in range(head[0] if head else 0)]
    ends = [entry[0] + entry[1] for entry in entries if entry is not None]
    return body.reaches(max(ends)) if ends and len(ends) == len(entries) else Ending.MISSING


_PSD = Struct(">4xH6xHIIH2x")
_LENGTH = {4: Struct(">I"), 8: Struct(">Q")}
_WORD = Struct(">H")


def psd(body: Blocks) -> Ending:
    """Photoshop: three sections with lengths, then the merged picture, raw or with a table of row lengths.

    Adobe Photoshop File Formats Specification, "Image Data Section"; PSB has wider lengths in it.
    """
    head = body.fields(0, _PSD)
    if head is None:
        return Ending.MISSING
    version, channels, height, width, depth = head
    at = 26
    for size in (4, 4, 8 if version == 2 else 4):
        length = body.fields(at, _LENGTH[size])
        if length is None:
            return Ending.MISSING
        at += size + length[0]
    compression = body.fields(at, _WORD)
    if compression is None:
        return Ending.MISSING
    rows = channels * height
    if compression[0] == 0:
        return body.reaches(at + 2 + rows * ((width * depth + 7) // 8))
    if compression[0] != 1:
        return Ending.UNKNOWN
    lengths = array("I" if version == 2 else "H")
    table = body.at(at + 2, rows * lengths.itemsize)
    if len(table) < rows * lengths.itemsize:
        return Ending.MISSING
    lengths.frombytes(table)
    if byteorder == "little":
        lengths.byteswap()
    return body.reaches(at + 2 + len(table) + sum(lengths))


# Every branch takes all that is left where its own end is missing, so that no byte is looked at twice.
_SVG = re.compile(
    rb"<(?:!--(?:.*?-->|.*)|!\[CDATA\[(?:.*?\]\]>|.*)|\?(?:.*?\?>|.*)|!DOCTYPE[^\[>]*+(?:\[[^\]]*+)?"
    rb"|(?P<close>/?)(?:[\w.-]++:)?svg(?=[\s/>])(?:[^>\"']++|\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z))*+(?P<end>>?))",
    re.DOTALL,
)


def svg(body: Blocks) -> Ending:
    """SVG: to the end of the root element, over SVG elements within it, comments and CDATA sections (XML 1.0)."""
    if body.size > LARGEST_READ:
        return Ending.UNKNOWN
    text, _ = utf8(body.at(0, body.size))
    depth = 0
    for token in _SVG.finditer(text):
        body.charge(1)
        if body.spent or token["end"] == b"":
            break
        if token["close"] is None:
            continue
        if token["close"]:
            depth -= 1
        elif text[token.end() - 2 : token.end() - 1] != b"/":
            depth += 1
        if depth <= 0:
            return Ending.PRESENT
    return Ending.MISSING
