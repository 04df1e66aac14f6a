"""Where containers end: chunks, pages and objects with lengths. Boxes are in a module of their own.

Programs that write to a pipe cannot come back to fill lengths in: they leave zero, or more than any file has.
"""

from __future__ import annotations

from struct import Struct

from downloader.blocks import Blocks, Ending

_STREAMED = 0x7F00_0000
"""Least length that SoX, arecord, mpg123, FFmpeg and others leave in a 32-bit field when they do not know it."""

_CHUNK = {"<": Struct("<4sI"), ">": Struct(">4sI")}
_DS64 = Struct("<4s4xQ")


def _told(body: Blocks, end: int, length: int) -> Ending:
    """Judge by the 32-bit ``length`` that a file gives itself, by which it ends at offset ``end``."""
    if length == 0 or (length >= _STREAMED and end > body.size):
        return Ending.UNKNOWN
    return body.reaches(end)


def _form(body: Blocks, at: int, length: int, order: str) -> Ending:
    """Judge the RIFF or IFF form at offset ``at`` by its ``length``, which leaves out eight bytes of header.

    Many writers leave the last padding byte out, and some count the header: what is missing then is no chunk.
    """
    end = at + 8 + length
    if body.size < end <= body.size + 8 and _chunks_end(body, at + 12, order):
        return Ending.PRESENT
    return _told(body, end, length)


def riff(body: Blocks) -> Ending:
    """RIFF: the length of the form, and of each that follows in an AVI of more than one (OpenDML AVI 1.02).

    Multimedia Programming Interface and Data Specifications 1.0, chapter 2; RF64: EBU Tech 3306.
    """
    order = ">" if body.at(0, 4) == b"RIFX" else "<"
    at = 0
    while True:
        head, form = body.fields(at, _CHUNK[order]), body.at(at + 8, 4)
        if head is None or len(form) < 4:
            return Ending.MISSING
        if head[0] in (b"RF64", b"BW64") and head[1] == 0xFFFF_FFFF:
            return _riff64(body)
        end = at + 8 + head[1]
        found = _form(body, at, head[1], order)
        if found is Ending.PRESENT and form == b"WAVE" and not _agrees(body, order):
            return Ending.UNKNOWN
        if found is not Ending.PRESENT or form[:3] != b"AVI" or not _goes_on(body.at(end, 12)):
            return found
        at = end


def _riff64(body: Blocks) -> Ending:
    wide = body.fields(12, _DS64)
    if wide is None:
        return Ending.MISSING
    unknown = wide[0] != b"ds64" or wide[1] in (0, 2**64 - 1)
    return Ending.UNKNOWN if unknown else body.reaches(8 + wide[1])


def _chunks_end(body: Blocks, at: int, order: str) -> bool:
    """Whether the body ends where one of the chunks from ``at`` on does."""
    while chunk := body.fields(at, _CHUNK[order]):
        end = at + 8 + chunk[1]
        if end >= body.size:
            return bool(end == body.size)
        at = end + chunk[1] % 2
    return at == body.size


def _agrees(body: Blocks, order: str) -> bool:
    """Whether a WAV has the samples that it counts; the lengths of an empty file may never be filled in."""
    at = 12
    while chunk := body.fields(at, _CHUNK[order]):
        end = at + 8 + chunk[1]
        if chunk[0] == b"data":
            return bool(end <= body.size and (chunk[1] or end == body.size))
        at = end + chunk[1] % 2
    return False


def _goes_on(following: bytes) -> bool:
    """Whether an AVI's next form starts here."""
    return following != b"" and b"RIFF".startswith(following[:4]) and b"AVIX".startswith(following[8:])


def iff(body: Blocks) -> Ending:
    """IFF: the length of the form (EA IFF 85 section 3), in AIFF, pictures of the Amiga, and DjVu behind ``AT&T``."""
    at = 4 if body.at(0, 4) == b"AT&T" else 0
    head = body.fields(at, _CHUNK[">"])
    if head is None:
        return Ending.MISSING
    return _form(body, at, head[1], ">")


_ENDS = 4


def ogg(body: Blocks) -> Ending:
    """Ogg: whole pages, the last of each logical stream marked as such (RFC 3533 section 6).

    Where whole pages end without the mark, it is not known: recorded radio never has it.
    """
    running: set[bytes] = set()
    at = 0
    while (page := body.at(at, 27 + 255)).startswith(b"OggS\0"):
        table = page[27 : 27 + page[26]] if len(page) >= 27 else b""
        end = at + 27 + len(table) + sum(table)
        if len(page) < 27 or len(table) < page[26] or end > body.size:
            return Ending.MISSING
        if page[5] & _ENDS:
            running.discard(page[14:18])
        else:
            running.add(page[14:18])
        at = end
    if page and b"OggS\0".startswith(page):
        return Ending.MISSING
    return Ending.UNKNOWN if running else Ending.PRESENT


_EBML, _SEGMENT, _VOID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\xec"


def matroska(body: Blocks) -> Ending:
    """Matroska and WebM: the length of the segment (RFC 8794 section 6, RFC 9559 section 5.1)."""
    at = 0
    while (head := body.at(at, 12)) and (head[:4] in (_EBML, _SEGMENT) or head[:1] == _VOID):
        name = 1 if head[:1] == _VOID else 4
        width = 9 - head[name].bit_length() if len(head) > name else 9
        if len(head) < name + width:
            return Ending.MISSING if width < 9 or len(head) == name else Ending.UNKNOWN
        length = int.from_bytes(head[name : name + width], "big") & (1 << 7 * width) - 1
        at += name + width + length
        if head[:4] == _SEGMENT:
            unknown = length in (0, (1 << 7 * width) - 1)  # live streams
            return Ending.UNKNOWN if unknown else body.reaches(at)
    return Ending.MISSING if _SEGMENT.startswith(head) else Ending.UNKNOWN


_OBJECT = Struct("<16sQ")
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_BEHIND = frozenset(
    {
        _ASF_DATA,
        bytes.fromhex("90080033b1e5cf1189f400a0c90349cb"),  # simple index
        bytes.fromhex("d329e2d6da35d111903400a0c90349be"),  # index
        bytes.fromhex("f803b1fead12644c840f2a1d2f7ad48c"),  # media object index
        bytes.fromhex("d03fb73c4a0c0348953dedf7b6228f0c"),  # timecode index
    }
)
_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FILE = Struct("<40xQ40xI")


def asf(body: Blocks) -> Ending:
    """ASF: objects with lengths, and the size in the file properties unless broadcast (ASF 1.2 section 3.2).

    Editors of tags leave the size as it was: where all objects are whole but it says more, it is not known.
    """
    at, size, data = 0, 0, False
    while (head := body.fields(at, _OBJECT)) and (head[0] in _ASF_BEHIND if at else head[0] == _ASF_HEADER):
        if head[1] < 24 or (head[0] == _ASF_DATA and head[1] < 50):
            return Ending.UNKNOWN  # a broadcast, whose length was not known
        if head[0] == _ASF_HEADER:
            size = _asf_size(body, at + 30, min(at + head[1], body.size))
        data |= head[0] == _ASF_DATA
        at += head[1]
        if at > body.size:
            return Ending.MISSING
    if not data:
        return Ending.MISSING
    return Ending.PRESENT if 0 < size <= body.size else Ending.UNKNOWN


def _asf_size(body: Blocks, at: int, end: int) -> int:
    """Return the size that the header object's file properties tell; 0 where they do not."""
    while at < end and (head := body.fields(at, _OBJECT)) and head[1] >= 24:
        if head[0] == _FILE_PROPERTIES:
            told = body.fields(at, _FILE)
            return 0 if told is None or told[1] & 1 else int(told[0])
        at += head[1]
    return 0


_FLV_TAG = Struct(">B3s7x")
_FLV_BACK = Struct(">I")


def flv(body: Blocks) -> Ending:
    """FLV: whole tags to the end; where the last is whole, it is not known whether it is the last.

    Adobe Flash Video File Format Specification 10.1, annex E.3.
    """
    at = 13
    back = body.fields(max(0, body.size - 4), _FLV_BACK)
    if back is not None:
        start = body.size - 4 - back[0]
        last = body.fields(start, _FLV_TAG) if start >= at else None
        if last is not None and last[0] in (8, 9, 18) and int.from_bytes(last[1], "big") + 11 == back[0]:
            return Ending.UNKNOWN
    while (tag := body.fields(at, _FLV_TAG)) and tag[0] & 0x1F in (8, 9, 18):
        at += 11 + int.from_bytes(tag[1], "big") + 4
        if at > body.size:
            return Ending.MISSING
    return Ending.UNKNOWN


_MIDI = Struct(">4sI2xH")


def midi(body: Blocks) -> Ending:
    """MIDI: as many track chunks as the header counts (Standard MIDI Files 1.0); the same in RIFF."""
    if body.at(0, 4) == b"RIFF":
        return riff(body)
    head = body.fields(0, _MIDI)
    if head is None:
        return Ending.MISSING
    at, tracks = 8 + head[1], head[2]
    if not tracks:
        return Ending.UNKNOWN
    while tracks and (chunk := body.fields(at, _CHUNK[">"])):
        if not chunk[0].isascii():
            return Ending.UNKNOWN
        tracks -= chunk[0] == b"MTrk"
        at += 8 + chunk[1]
    return Ending.MISSING if tracks else body.reaches(at)


_AU = Struct(">4xII")


def au(body: Blocks) -> Ending:
    """AU: header and samples have lengths, that of the samples may be unknown (audio/basic of Sun and NeXT)."""
    head = body.fields(0, _AU)
    return Ending.MISSING if head is None else _told(body, head[0] + head[1], head[1])


_CAF_CHUNK = Struct(">4sq")
_CAF_DESCRIPTION = Struct(">8x4s4xII8x")
_CAF_CHUNKS = frozenset(b"desc data free kuki chan info mark regn strg uuid umid peak pakt ldsc ovvw edct midi".split())


def caf(body: Blocks) -> Ending:
    """CAF: whole chunks, the samples and the packet table among them where packets differ (Core Audio Format 1.0)."""
    at, wanted = 8, {b"desc", b"data"}
    while (chunk := body.fields(at, _CAF_CHUNK)) and chunk[0] in _CAF_CHUNKS:
        kind, length = chunk
        if length < 0 or (kind == b"data" and length <= 4 and body.size > at + 12 + length):
            return Ending.UNKNOWN  # samples to the end of the file; or their length was never filled in
        if kind == b"desc" and (description := body.fields(at + 12, _CAF_DESCRIPTION)) and 0 in description[1:]:
            wanted.add(b"pakt")
        at += 12 + length
        if at > body.size:
            return Ending.MISSING
        wanted.discard(kind)
    return Ending.MISSING if wanted else Ending.PRESENT


def mpeg(body: Blocks) -> Ending:
    """MPEG: the program end code, or in a video stream the sequence end code, which many files lack.

    ISO/IEC 13818-1 section 2.5.3.2, 13818-2 section 6.2.2; in a RIFF file (Video CD) the length of the form.
    """
    start = body.at(0, 4)
    if start == b"RIFF":
        return riff(body)
    mark = b"\0\0\1\xb9" if start == b"\0\0\1\xba" else b"\0\0\1\xb7"
    return Ending.PRESENT if body.ends_with(mark) else Ending.UNKNOWN
