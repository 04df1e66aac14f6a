"""Small whole files of many formats, made in code: structured as their specifications say, with little in them."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from support import samples


class Whole(NamedTuple):
    """A whole file."""

    type: str
    data: bytes
    harmless: frozenset[int] = frozenset()
    """How many bytes may be cut off its end without its losing it: padding, white space, a tag."""
    doubtful: frozenset[int] = frozenset()
    """Lengths at which nothing shows that it was cut."""
    trailers: bool = True
    """Whether its end is found in front of anything, else only in front of what is known to follow."""


ONE = frozenset({1})


def segment(marker: int, data: bytes) -> bytes:
    """A JPEG marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


_THUMBNAIL = samples.jpeg()
_EXIF = b"\xff\xd8" + segment(0xE1, b"Exif\0\0" + _THUMBNAIL + b"\0\0") + b"\xff" * 5
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>"


def pictures(*others: bytes, order: str = ">", xmp: bytes = b"", gap: int = 0) -> bytes:
    """A JPEG with a Multi-Picture index, and the ``others`` behind it, each after a ``gap``; ``xmp`` before."""
    before = samples.jpeg()[:2] + (segment(0xE1, XMP + xmp) if xmp else b"")
    behind = samples.jpeg()[2:]
    count = 1 + len(others)
    size = 4 + 4 + 8 + 2 + 3 * 12 + 4 + 16 * count  # of the segment, with its marker
    start, end = len(before) + 8, len(before) + size + len(behind)
    entries = struct.pack(order + "IIIHH", 0x20030000, end, 0, 0, 0)
    for other in others:
        end += gap
        entries += struct.pack(order + "IIIHH", 0, len(other), end - start, 0, 0)
        end += len(other)
    fields = ((0xB000, 7, 4, 0x30313030), (0xB001, 4, 1, count), (0xB002, 7, 16 * count, 8 + 2 + 36 + 4))
    index = {">": b"MM\0*", "<": b"II*\0"}[order] + struct.pack(order + "IH", 8, 3)
    index += b"".join(struct.pack(order + "HHII", *field) for field in fields) + bytes(4) + entries
    data = segment(0xE2, b"MPF\0" + index)
    assert len(data) == size
    return before + data + behind + b"".join(bytes(gap) + other for other in others)


_FRAME = struct.pack(">BHHB", 8, 8, 8, 1) + b"\x01\x11\x00"
_SCAN = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
_CODED = b"\x12\xff\x00\x34\xff\xd0\x56\xff\x00\xd9\xff\xd1\xff\xff\xd2\x78"
PROGRESSIVE = _EXIF + segment(0xC2, _FRAME) + (segment(0xC4, bytes(17)) + _SCAN + _CODED) * 3 + b"\xff\xd9"
_LS = b"\xff\xd8\xff\xf7" + struct.pack(">H", 11) + _FRAME + _SCAN + b"\x12\xff\x7f\xd9\xff\x01\xff\xd9"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_PNG = samples.png()
_APNG = (
    _PNG[:33]
    + chunk(b"acTL", bytes(8))
    + chunk(b"fcTL", bytes(26))
    + _PNG[33:-12]
    + chunk(b"fcTL", bytes(26))
    + chunk(b"fdAT", bytes(4) + b"IEND\xaeB`\x82")
    + _PNG[-12:]
)
_MNG = b"\x8aMNG\r\n\x1a\n" + chunk(b"MHDR", bytes(28)) + _PNG[8:] * 2 + chunk(b"MEND")
_JNG = b"\x8bJNG\r\n\x1a\n" + chunk(b"JHDR", bytes(16)) + chunk(b"JDAT", _THUMBNAIL) + chunk(b"IEND")


def sub_blocks(*sizes: int) -> bytes:
    """GIF data sub-blocks that are full of trailers, and their terminator."""
    return b"".join(bytes([size]) + b";" * size for size in sizes) + b"\0"


_GIF = (
    b"GIF89a\x02\0\x02\0\x91\0\0"
    + b";" * 12
    + b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    + (b"!\xf9\x04\0\0\0\0\0,\0\0\0\0\x02\0\x02\0\x80" + b";" * 6 + b"\x02" + sub_blocks(255, 255, 254, 3)) * 2
    + b"\0!\xfe"
    + sub_blocks(7)
    + b";"
)


def riff(form: bytes, *parts: bytes, order: str = "<", name: bytes = b"RIFF") -> bytes:
    """A RIFF or IFF form."""
    return name + struct.pack(order + "I", 4 + sum(map(len, parts))) + form + b"".join(parts)


def part(kind: bytes, data: bytes, order: str = "<") -> bytes:
    """A chunk in it, with the padding that an odd length asks for."""
    return kind + struct.pack(order + "I", len(data)) + data + bytes(len(data) % 2)


_FORMAT = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
_AVI = (part(b"LIST", b"hdrl" + bytes(60)), part(b"LIST", b"movi00dc" + bytes(40)))
_RF64 = (
    b"ds64" + struct.pack("<IQQQI", 28, 4 + 36 + 24 + 48, 40, 40, 0) + part(b"fmt ", _FORMAT) + part(b"data", bytes(40))
)
_DJVU = b"AT&T" + riff(b"DJVU", part(b"INFO", bytes(10), ">"), part(b"Sjbz", bytes(31), ">"), order=">", name=b"FORM")


def box(kind: bytes, data: bytes = b"", *, wide: bool = False) -> bytes:
    """A box of ISO base media."""
    if wide:
        return struct.pack(">I4sQ", 1, kind, 16 + len(data)) + data
    return struct.pack(">I4s", 8 + len(data), kind) + data


def brand(major: bytes) -> bytes:
    """A file type box."""
    return box(b"ftyp", major + bytes(4) + major)


_MOOV = box(b"moov", box(b"mvhd", bytes(100)) + box(b"trak", box(b"mdia", bytes(50))))
_INIT = box(b"moov", box(b"mvhd", bytes(100)) + box(b"mvex", bytes(32)))
_MDAT = box(b"mdat", bytes(300))
_FRAGMENT = box(b"moof", box(b"mfhd", bytes(8)) + box(b"traf", bytes(40))) + box(b"mdat", bytes(70))
_META = box(b"meta", bytes(4) + box(b"hdlr", bytes(24)) + box(b"iloc", bytes(16)))


def segment_index(*sizes: int, version: int = 0) -> bytes:
    """A segment index of version 0 or 1."""
    times = struct.pack(">II" if version == 0 else ">QQ", 0, 0)
    table = b"".join(struct.pack(">III", size, 1000, 0x9000_0000) for size in sizes)
    return box(b"sidx", struct.pack(">B3xII", version, 1, 1000) + times + struct.pack(">HH", 0, len(sizes)) + table)


_JP = box(b"jP  ", b"\r\n\x87\n") + brand(b"jp2 ") + box(b"jp2h", bytes(30))
_JXL = box(b"JXL ", b"\r\n\x87\n") + brand(b"jxl ")


def codestream(*tiles: bytes, last_has_length: bool = True) -> bytes:
    """A JPEG 2000 codestream; tile-parts hold what looks like its end."""
    parts = b""
    for number, tile in enumerate(tiles):
        length = 14 + len(tile) if last_has_length or number < len(tiles) - 1 else 0
        parts += b"\xff\x90" + struct.pack(">HHIBB", 10, number, length, 0, 1) + b"\xff\x93" + tile
    return (
        b"\xff\x4f"
        + segment(0x51, bytes(39))
        + segment(0x5C, bytes(4))
        + segment(0x52, bytes(10))
        + parts
        + b"\xff\xd9"
    )


_J2K = codestream(b"\xff\xd9\x7f" * 9, b"\x11" * 30)


def page(flags: int, serial: int, *packets: int) -> bytes:
    """An Ogg page with packets of these sizes, each less than 255 bytes."""
    head = b"OggS\0" + struct.pack("<BQIIIB", flags, 0, serial, 0, 0, len(packets))
    return head + bytes(packets) + b"".join(b"OggS"[: size % 5].ljust(size, b"\x04") for size in packets)


_OGG = [page(2, 7, 30), page(2, 9, 40), page(0, 7, 200, 90), page(4, 9, 100), page(0, 7, 254, 254), page(4, 7, 20)]
_ENDS = [sum(map(len, _OGG[:count])) for count in range(1, len(_OGG))]


def element(name: bytes, data: bytes, width: int = 4) -> bytes:
    """An EBML element with a length of so many bytes."""
    return name + (len(data) | 1 << 7 * width).to_bytes(width, "big") + data


_EBML = element(b"\x1a\x45\xdf\xa3", b"\x42\x82\x88matroska", 1)
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", element(b"\x1f\x43\xb6\x75", bytes(200), 2)


def guid(text: str) -> bytes:
    """A GUID as it lies in an ASF file."""
    first, second, third, *rest = text.split("-")
    return b"".join(bytes.fromhex(word)[::-1] for word in (first, second, third)) + bytes.fromhex("".join(rest))


def asf(*, data: int = 300, told: int | None = None, broadcast: bool = False, index: bool = True) -> bytes:
    """An ASF file; ``told`` is the size that it gives itself."""
    body = guid("75B22636-668E-11CF-A6D9-00AA0062CE6C") + struct.pack("<Q", 50 + data) + bytes(26 + data)
    tail = guid("33000890-E5B1-11CF-89F4-00A0C90349CB") + struct.pack("<Q", 56) + bytes(32) if index else b""
    size = 30 + 40 + 104 + len(body) + len(tail) if told is None else told
    other = guid("5FBF03B5-A92E-11CF-8EE3-00C00C205365") + struct.pack("<Q", 40) + bytes(16)
    properties = (
        guid("8CABDCA1-A947-11CF-8EE4-00C00C205365")
        + struct.pack("<Q16sQ", 104, bytes(16), size)
        + bytes(40)
        + struct.pack("<I12x", broadcast)
    )
    head = guid("75B22630-668E-11CF-A6D9-00AA0062CE6C") + struct.pack("<QIBB", 174, 2, 1, 2)
    return head + other + properties + body + tail


def bmp(width: int, height: int, bits: int, *, told: int | None = None, rle: bytes = b"") -> bytes:
    """A BMP; ``told`` is the size that it gives itself."""
    pixels = rle or bytes((width * bits + 31) // 32 * 4 * abs(height))
    size = 54 + len(pixels) if told is None else told
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, bool(rle), len(rle), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, 54) + header + pixels


_OLD_BMP = b"BM" + struct.pack("<IHHIIHHHH", 26 + 24, 0, 0, 26, 12, 3, 2, 1, 24) + bytes(24)


def icon(kind: int) -> bytes:
    """An icon or cursor of two pictures, the second before the first."""
    first, second = _PNG, bytes(40)
    entries = struct.pack("<8xII", len(first), 38 + 40) + struct.pack("<8xII", 40, 38)
    return struct.pack("<HHH", 0, kind, 2) + entries + second + first


def psd(compression: int, *, big: bool = False) -> bytes:
    """A Photoshop file of 3 channels, 5 rows and 9 columns, uncompressed or with rows of lengths 1 to 15."""
    head = b"8BPS" + struct.pack(">H6xHIIHH", 2 if big else 1, 3, 5, 9, 8, 3) + struct.pack(">I", 0)
    head += struct.pack(">I", 10) + bytes(10) + struct.pack(">Q" if big else ">I", 7) + bytes(7)
    lengths = struct.pack(">15I" if big else ">15H", *range(1, 16))
    return head + struct.pack(">H", compression) + (lengths + bytes(120) if compression else bytes(135))


def midi(*tracks: int) -> bytes:
    """A MIDI file with tracks of so many bytes, and a chunk of another kind between."""
    chunks = [part(b"MTrk", bytes(2 * half), ">") for half in tracks]
    chunks.insert(1, part(b"XFIH", bytes(6), ">"))
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), 96) + b"".join(chunks)


def caf(*, packets: int = 4, length: int | None = None, table: bool = False) -> bytes:
    """A CAF file; ``packets`` is the size of each, 0 where they differ."""
    description = struct.pack(">d4sIIIII", 8000.0, b"lpcm", 0, packets, 1, 1, 16)
    data = b"data" + struct.pack(">qI", 4 + 200 if length is None else length, 0) + bytes(200)
    head = b"caff\0\1\0\0desc" + struct.pack(">q", 32) + description + b"free" + struct.pack(">q", 5) + bytes(5)
    return head + data + (b"pakt" + struct.pack(">q", 24) + bytes(24) if table else b"")


_QOI = (
    b"qoif" + struct.pack(">IIBB", 9, 9, 4, 0) + b"\xfe\0\0\0\0\x3f\xff\0\0\0\0\x80\0\0\x40\xc0" * 9 + bytes(7) + b"\1"
)


def mp3(*, counted: bool = True, behind: bytes = b"") -> bytes:
    """A tag, a frame with a Xing header, silence."""
    plain = samples.mp3(3)
    count = len(plain) - 10 + 417
    xing = (
        b"\xff\xfb\x90\xc4" + bytes(17) + b"Xing" + struct.pack(">III", 3 if counted else 1, 3, count if counted else 0)
    )
    return plain[:10] + xing.ljust(417, b"\0") + plain[10:] + behind


APE_TAG = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0)
ID3V1_TAG = b"TAG" + bytes(125)


def crc(data: bytes, width: int, polynomial: int) -> bytes:
    """The checksum of FLAC frames and headers, bit by bit."""
    value = 0
    for byte in data:
        value ^= byte << width - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial | 1 << width if value >> width - 1 else 0)
    return value.to_bytes(width // 8, "big")


def flac_frame(number: int, count: int, *, variable: bool = False, code: int = 7) -> bytes:
    """A FLAC frame of ``count`` samples, as RFC 9639 section 9.1 frames them; inside are starts of others.

    ``code`` tells the count: 6 and 7 that it follows in one byte or two, others that it is a usual one.
    """
    sync, coded = b"\xff\xf9" if variable else b"\xff\xf8", struct.pack(">B" if code == 6 else ">H", count - 1)
    head = sync + bytes([code << 4 | 12, 8]) + chr(number).encode() + (coded if code in (6, 7) else b"") + b"\x08"
    frame = head + crc(head, 8, 0x07) + b"\xff\xf8\x79\x08\0" * 11
    return frame + crc(frame, 16, 0x8005)


def flac_head(total: int, *, block: int = 1000, largest: int = 80) -> bytes:
    """The signature and the STREAMINFO block; ``total`` samples, ``largest`` frame and ``block`` are what it tells."""
    info = struct.pack(">HH", block, block) + bytes(3) + largest.to_bytes(3, "big")
    return b"fLaC\x80\0\0\x22" + info + (8000 << 44 | 15 << 36 | total).to_bytes(8, "big") + bytes(16)


def flac(*, total: int = 9077, largest: int = 80, variable: bool = False, behind: bytes = b"") -> bytes:
    """Ten frames, the last shorter than the others."""
    step = 1000 if variable else 1
    frames = [flac_frame(step * number, 1000 if number < 9 else 77, variable=variable) for number in range(10)]
    return flac_head(total, largest=largest) + b"".join(frames) + behind


SVG = (
    b'<?xml version="1.0"?>\n<!-- <svg> -->\n<!DOCTYPE svg PUBLIC "-//W3C//DTD" "x" [<!ENTITY a "</svg>">]>\n'
    b'<svg xmlns="http://www.w3.org/2000/svg" title="a > b"><svg width="9"/><style><![CDATA[ </svg> ]]></style>'
    b"<svg x='</svg>'><g/></svg ><!-- </svg> --><svgs/></svg>"
)

_STARTED = frozenset(range(len(brand(b"iso5") + _INIT), len(brand(b"iso5") + _INIT) + 8))
_NO_XING = frozenset(range(10, 47))

WHOLE = {
    "jpeg": Whole("image/jpeg", samples.jpeg()),
    "progressive jpeg with a thumbnail": Whole("image/jpeg", PROGRESSIVE),
    "jpeg of two pictures": Whole("image/jpeg", pictures(samples.jpeg())),
    "jpeg of three pictures": Whole("image/jpeg", pictures(samples.jpeg(), _PNG, order="<", gap=5)),
    "jpeg with a gain map": Whole("image/jpeg", pictures(samples.jpeg(), xmp=b"<Container:Directory>GainMap")),
    "jpeg that lists itself alone": Whole("image/jpeg", pictures()),
    "jpeg with xmp": Whole("image/jpeg", b"\xff\xd8" + segment(0xE1, XMP + b"<dc:title>") + samples.jpeg()[2:]),
    "jpeg-ls": Whole("image/jls", _LS),
    "png": Whole("image/png", _PNG),
    "animated png": Whole("image/png", _APNG),
    "mng": Whole("image/x-mng", _MNG),
    "jng": Whole("image/x-jng", _JNG),
    "gif": Whole("image/gif", samples.gif()),
    "animated gif": Whole("image/gif", _GIF),
    "webp": Whole("image/webp", riff(b"WEBP", part(b"VP8L", bytes(120)))),
    "webp, odd": Whole(
        "image/webp", riff(b"WEBP", part(b"VP8X", bytes(10)), part(b"ALPH", bytes(3)), part(b"VP8 ", bytes(99))), ONE
    ),
    "avi": Whole("video/x-msvideo", riff(b"AVI ", *_AVI, part(b"idx1", bytes(16)))),
    "avi of two forms": Whole(
        "video/x-msvideo",
        riff(b"AVI ", *_AVI) + riff(b"AVIX", _AVI[1]),
        harmless=frozenset({len(riff(b"AVIX", _AVI[1]))}),
    ),
    "wav": Whole("audio/wav", samples.wav()),
    "wav, odd": Whole("audio/wav", riff(b"WAVE", part(b"fmt ", _FORMAT), part(b"data", bytes(77))), ONE),
    "wav, big-endian": Whole(
        "audio/wav", riff(b"WAVE", part(b"fmt ", _FORMAT, ">"), part(b"data", bytes(78), ">"), order=">", name=b"RIFX")
    ),
    "wav of 64 bits": Whole("audio/wav", b"RF64\xff\xff\xff\xffWAVE" + _RF64),
    "midi in riff": Whole("audio/midi", riff(b"RMID", part(b"data", midi(20)))),
    "aiff": Whole(
        "audio/aiff",
        riff(b"AIFF", part(b"COMM", bytes(18), ">"), part(b"SSND", bytes(80), ">"), order=">", name=b"FORM"),
    ),
    "aiff, odd": Whole(
        "audio/aiff",
        riff(b"AIFC", part(b"COMM", bytes(18), ">"), part(b"SSND", bytes(81), ">"), order=">", name=b"FORM"),
        ONE,
    ),
    "ilbm": Whole(
        "image/x-ilbm",
        riff(b"ILBM", part(b"BMHD", bytes(20), ">"), part(b"BODY", bytes(80), ">"), order=">", name=b"FORM"),
    ),
    "djvu, odd": Whole("image/vnd.djvu", _DJVU, ONE),
    "mp4": Whole("video/mp4", brand(b"isom") + box(b"free") + _MDAT + _MOOV),
    "mp4, index first": Whole("video/mp4", brand(b"isom") + _MOOV + _MDAT),
    "mp4 of 64 bits": Whole("video/mp4", brand(b"isom") + box(b"mdat", bytes(300), wide=True) + _MOOV),
    "m4a": Whole("audio/mp4", brand(b"M4A ") + _MOOV + box(b"free", bytes(40)) + _MDAT),
    "quicktime": Whole("video/quicktime", box(b"wide") + _MDAT + _MOOV),
    "3gp": Whole("video/3gpp", brand(b"3gp4") + _MOOV + _MDAT),
    "cr3": Whole("image/x-canon-cr3", brand(b"crx ") + _MOOV + box(b"uuid", bytes(60)) + _MDAT),
    "mj2": Whole("video/mj2", box(b"jP  ", b"\r\n\x87\n") + brand(b"mjp2") + _MDAT + _MOOV),
    "fragmented mp4 with an index": Whole(
        "video/mp4",
        brand(b"iso5") + _INIT + segment_index(len(_FRAGMENT), len(_FRAGMENT)) + _FRAGMENT * 2,
        doubtful=_STARTED,
    ),
    "fragmented mp4 with a late index": Whole(
        "video/mp4",
        brand(b"iso5") + _INIT + _FRAGMENT * 2 + box(b"mfra", box(b"mfro", bytes(8))),
        doubtful=_STARTED | {len(brand(b"iso5") + _INIT + _FRAGMENT * count) for count in (1, 2)},
    ),
    "segment": Whole(
        "video/mp4",
        box(b"styp", b"msdh" + bytes(4)) + segment_index(len(_FRAGMENT), version=1) + _FRAGMENT,
        doubtful=frozenset({16}),
    ),
    "heic": Whole("image/heic", brand(b"heic") + _META + _MDAT),
    "avif": Whole("image/avif", brand(b"avif") + _MDAT + _META),
    "avif sequence": Whole("image/avif", brand(b"avis") + _META + _MOOV + _MDAT),
    "jp2": Whole("image/jp2", _JP + box(b"jp2c", _J2K)),
    "jp2, last box without a length": Whole("image/jp2", _JP + bytes(4) + b"jp2c" + _J2K),
    "j2k": Whole("image/j2c", _J2K),
    "j2k, last tile without a length": Whole(
        "image/j2c", codestream(b"\xff\xd9\x7f" * 9, b"\xff\x11" * 30, last_has_length=False)
    ),
    "jxl": Whole("image/jxl", _JXL + box(b"jxlc", bytes(90))),
    "jxl in parts": Whole(
        "image/jxl", _JXL + box(b"jxlp", bytes(4) + bytes(50)) + box(b"jxlp", b"\x80\0\0\1" + bytes(50))
    ),
    "ogg": Whole("audio/ogg", b"".join(_OGG), doubtful=frozenset(_ENDS)),
    "matroska": Whole("video/matroska", _EBML + element(b"\xec", bytes(9), 1) + element(_SEGMENT, _CLUSTER * 2, 8)),
    "webm": Whole("video/webm", _EBML.replace(b"\x88matroska", b"\x88webm\0\0\0\0") + element(_SEGMENT, _CLUSTER, 2)),
    "asf": Whole("video/x-ms-asf", asf(), doubtful=frozenset(range(524, 548))),
    "bmp": Whole("image/bmp", bmp(5, 7, 24)),
    "bmp, top down": Whole("image/bmp", bmp(5, -7, 1, told=0)),
    "bmp, run lengths": Whole("image/bmp", bmp(5, 7, 8, rle=bytes(55))),
    "bmp of OS/2": Whole("image/bmp", _OLD_BMP),
    "icon": Whole("image/vnd.microsoft.icon", icon(1)),
    "cursor": Whole("image/vnd.microsoft.icon", icon(2)),
    "icns": Whole(
        "image/icns", part(b"icns", b"", ">")[:4] + struct.pack(">I", 8 + 108) + part(b"ic07", bytes(100), ">")
    ),
    "emf": Whole("image/emf", struct.pack("<II32x4sII", 1, 108, b" EMF", 0x10000, 200) + bytes(148)),
    "qoi": Whole("image/qoi", _QOI),
    "psd": Whole("image/vnd.adobe.photoshop", psd(0)),
    "psd, run lengths": Whole("image/vnd.adobe.photoshop", psd(1)),
    "psb": Whole("image/vnd.adobe.photoshop", psd(1, big=True)),
    "svg": Whole("image/svg+xml", SVG),
    "svg, self-closed": Whole("image/svg+xml", b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg' />\n", ONE),
    "svg in UTF-16": Whole("image/svg+xml", SVG.decode().encode("utf-16")),
    "w64": Whole("audio/x-w64", b"riff.\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + struct.pack("<Q", 300) + bytes(276)),
    "dsdiff": Whole("audio/x-dff", b"FRM8" + struct.pack(">Q", 200) + b"DSD " + bytes(196)),
    "dsf": Whole("audio/x-dsf", b"DSD " + struct.pack("<QQ", 28, 300) + bytes(280)),
    "au": Whole("audio/basic", b".snd" + struct.pack(">IIIII", 28, 200, 3, 8000, 1) + bytes(4 + 200)),
    "midi": Whole("audio/midi", midi(20, 30, 4)),
    "caf": Whole("audio/x-caf", caf()),
    "caf with a packet table": Whole("audio/x-caf", caf(packets=0, table=True)),
    "mp3": Whole("audio/mpeg", mp3(), doubtful=_NO_XING, trailers=False),
    "mp3 with a tag at its end": Whole("audio/mpeg", mp3(behind=ID3V1_TAG), frozenset({128}), _NO_XING, trailers=False),
    "flac": Whole("audio/flac", flac(), trailers=False),
    "flac of blocks that differ": Whole("audio/flac", flac(variable=True), trailers=False),
}
"""Whole files of every format whose end is known, by name."""

_MP4 = samples.mp4(500)
TELLS_NOTHING = {
    "motion photo": b"\xff\xd8" + segment(0xE1, XMP + b'<Item:Semantic="MotionPhoto">') + samples.jpeg()[2:] + _MP4,
    "motion photo of an older kind": b"\xff\xd8"
    + segment(0xE1, XMP + b'<GCamera:MicroVideoOffset="516">')
    + samples.jpeg()[2:]
    + _MP4,
    "motion photo with a gain map": pictures(samples.jpeg(), xmp=b"<Container:Directory>GainMap MotionPhoto") + _MP4,
    "jpeg with a list of items alone": b"\xff\xd8"
    + segment(0xE1, XMP + b"<Container:Directory>")
    + samples.jpeg()[2:] * 2,
    "jpeg whose index of pictures is broken": pictures(samples.jpeg()).replace(b"MM\0*\0\0\0\b", b"MM\0*\0\1\0\b"),
    "wav that was streamed": riff(b"WAVE", part(b"fmt ", _FORMAT)).replace(b"RIFF\x1c\0\0\0", b"RIFF\xff\xff\xff\xff")
    + b"data\xff\xff\xff\xff"
    + bytes(90),
    "wav whose lengths were never filled in": riff(b"WAVE", part(b"fmt ", _FORMAT), part(b"data", b"")) + bytes(900),
    "wav of SoX": b"RIFF\x24\xf0\xff\x7fWAVE" + part(b"fmt ", _FORMAT) + b"data\0\xf0\xff\x7f" + bytes(90),
    "wav of 64 bits that was streamed": b"RF64\xff\xff\xff\xffWAVEds64"
    + struct.pack("<IQQQI", 28, 2**64 - 1, 0, 0, 0)
    + bytes(50),
    "avi that was streamed": b"RIFF\0\0\0\0AVI " + b"".join(_AVI),
    "aiff of SoX": b"FORM\x7f\0\0\x2eAIFF" + part(b"COMM", bytes(18), ">") + bytes(90),
    "webm that was streamed": _EBML + _SEGMENT + b"\x01\xff\xff\xff\xff\xff\xff\xff" + _CLUSTER,
    "mp4, last box to the end": brand(b"isom") + _MOOV + bytes(4) + b"mdat" + bytes(90),
    "fragmented mp4": brand(b"iso5") + _INIT + _FRAGMENT * 3,
    "fragmented mp4, an index before each fragment": brand(b"iso5")
    + _INIT
    + (segment_index(len(_FRAGMENT)) + _FRAGMENT) * 3,
    "start of a fragmented mp4": brand(b"iso5") + _INIT,
    "quicktime that refers to other files": box(b"moov", box(b"rmra", bytes(40))),
    "heic without media data": brand(b"heic")
    + box(b"meta", bytes(4) + box(b"iloc", bytes(16)) + box(b"idat", bytes(80))),
    "jxl without boxes": b"\xff\x0a" + bytes(90),
    "jxl, last box to the end": _JXL + bytes(4) + b"jxlc" + bytes(90),
    "radio in ogg": b"".join(_OGG[:-1]),
    "asf that was broadcast": asf(broadcast=True, told=0),
    "asf whose tags were edited": asf(told=5000),
    "bmp with a wrong size": bmp(5, 7, 24, told=9999),
    "au that was streamed": b".snd" + struct.pack(">IIIII", 24, 0xFFFF_FFFF, 3, 8000, 1) + bytes(200),
    "caf that was streamed": caf(length=-1),
    "caf whose lengths were never filled in": caf(length=4),
    "midi of no tracks": b"MThd\0\0\0\6\0\0\0\0\0\x60",
    "flac of unknown length": flac(total=0),
    "mp3 without a count": mp3(counted=False),
    "mp3 of two parts": mp3() + mp3(),
    "mp3": samples.mp3(),
    "flv": b"FLV\1\5\0\0\0\x09\0\0\0\0" + (b"\x09\0\0\x20" + bytes(7 + 32) + b"\0\0\0\x2b") * 3,
    "mpeg program stream": b"\0\0\1\xba\x44" + bytes(400),
    "mpeg transport stream": (b"G" + bytes(187)) * 5,
    "tiff": b"II*\0\x08\0\0\0" + bytes(90),
    "exr": b"v/1\1" + bytes(90),
    "page": samples.page(),
    "nothing": b"",
}
"""Files in which nothing tells whether they are whole, by name."""
