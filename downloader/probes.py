"""Formats that a fixed signature does not settle: containers to be opened, weak magic numbers to be checked.

Each probe is called with first bytes whose signature fits already, and returns what they are, or None when
they are not what the signature promised. None of them raises, whatever the bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from downloader.mediatypes import extension_for, is_media

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["media", "html", "xml", "json", "text", "binary", "empty"]


class Sniffed(NamedTuple):
    """What first bytes were recognised as."""

    type: str | None
    """Media type, in the spelling of `mediatypes.canonical`; None where the bytes do not tell."""
    extension: str | None
    """The usual extension of such files, with its dot."""
    kind: Kind
    """``binary`` is anything that is no text and no picture, video or audio we know."""


Probe: TypeAlias = "Callable[[bytes], Sniffed | None]"

_BINARY_BYTE = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def is_binary(head: bytes) -> bool:
    """Whether there is a binary data byte among them (WHATWG MIME Sniffing, section 3)."""
    return _BINARY_BYTE.search(head) is not None


def found(name: str, extension: str | None = None) -> Sniffed:
    """Make the value for bytes recognised as ``name``; its usual extension unless another is given."""
    return Sniffed(name, extension or extension_for(name), "media" if is_media(name) else "binary")


_MATROSKA, _WEBM = found("video/matroska"), found("video/webm")
_QUICKTIME, _MP4 = found("video/quicktime"), found("video/mp4")
_OPUS, _SPEEX, _OGG = found("audio/ogg", ".opus"), found("audio/ogg", ".spx"), found("audio/ogg")
_OGG_FLAC, _OGV = found("audio/ogg", ".oga"), found("video/ogg")
_ASF, _WMV = found("video/x-ms-asf"), found("video/x-ms-wmv")
_MP3, _MP2, _MP1 = found("audio/mpeg"), found("audio/mpeg", ".mp2"), found("audio/mpeg", ".mp1")
_AAC, _AC3, _EAC3 = found("audio/aac"), found("audio/ac3"), found("audio/eac3")
_TS, _M2TS, _MPEG = found("video/mp2t"), found("video/mp2t", ".m2ts"), found("video/mpeg")

_RIFF_FORMS = {
    b"WEBP": found("image/webp"),
    b"AVI ": found("video/x-msvideo"),
    b"AVIX": found("video/x-msvideo"),
    b"AMV ": found("video/x-amv"),
    b"CDXA": found("video/mpeg"),
    b"WAVE": found("audio/wav"),
    b"RMID": found("audio/midi", ".rmi"),
    b"QLCM": found("audio/qcelp"),
}

_IFF_FORMS = {
    b"AIFF": found("audio/aiff"),
    b"AIFC": found("audio/aiff", ".aifc"),
    b"8SVX": found("audio/x-8svx"),
    b"ILBM": found("image/x-ilbm"),
    b"PBM ": found("image/x-ilbm"),
}

_BRANDS = {
    b"avif": found("image/avif"),
    b"avis": found("image/avif"),
    b"heic": found("image/heic"),
    b"heix": found("image/heic"),
    b"heim": found("image/heic"),
    b"heis": found("image/heic"),
    b"hevc": found("image/heic"),
    b"hevx": found("image/heic"),
    b"mif1": found("image/heif"),
    b"mif2": found("image/heif"),
    b"msf1": found("image/heif"),
    b"crx ": found("image/x-canon-cr3"),
    b"jp2 ": found("image/jp2"),
    b"jpx ": found("image/jpx"),
    b"jpm ": found("image/jpm"),
    b"jph ": found("image/jph"),
    b"mjp2": found("video/mj2"),
    b"mj2s": found("video/mj2"),
    b"qt  ": _QUICKTIME,
    b"M4A ": found("audio/mp4"),
    b"M4B ": found("audio/mp4", ".m4b"),
    b"M4P ": found("audio/mp4", ".m4p"),
    b"F4A ": found("audio/mp4", ".f4a"),
    b"F4B ": found("audio/mp4", ".f4a"),
    b"M4V ": found("video/mp4", ".m4v"),
    b"M4VH": found("video/mp4", ".m4v"),
    b"M4VP": found("video/mp4", ".m4v"),
    b"F4V ": found("video/mp4", ".f4v"),
    b"f4v ": found("video/mp4", ".f4v"),
}
"""Major brands (ISO/IEC 14496-12, mp4ra.org) that mean more than an MP4; ``3g?`` is handled apart."""

_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_SKIPPED_BOXES = (b"free", b"skip", b"wide", b"pnot", b"uuid")
_OPENING_BOXES = dict.fromkeys((b"moov", b"mdat", *_SKIPPED_BOXES), _QUICKTIME) | dict.fromkeys(
    (b"moof", b"sidx", b"emsg", b"prft"), _MP4
)
BOXES = frozenset({b"ftyp", b"styp", *_OPENING_BOXES})
"""Types of box an MP4 or QuickTime file, or a segment of one, starts with."""


def unless_text(name: str, extension: str | None = None) -> Probe:
    """Make a probe for a magic number that a text may start with as well."""
    media = found(name, extension)
    return lambda head: media if is_binary(head) else None


def riff(head: bytes) -> Sniffed | None:
    """RIFF and its big relatives: the form is named at offset 8."""
    return _RIFF_FORMS.get(head[8:12])


def iff(head: bytes) -> Sniffed | None:
    """IFF, as AIFF and Amiga pictures use it."""
    return _IFF_FORMS.get(head[8:12])


def boxes(head: bytes) -> Sniffed | None:
    """ISO base media and QuickTime: the first box that tells, behind any that are only room."""
    at, seen = 0, None
    for _ in range(4):
        name = head[at + 4 : at + 8]
        if name in (b"ftyp", b"styp"):
            return _brand(head, at)
        if name not in _OPENING_BOXES:
            break
        if at == 0 and head[0] and not is_binary(head):
            return None  # four letters of a text
        seen = _OPENING_BOXES[name]
        if name not in _SKIPPED_BOXES:
            break
        at += max(8, int.from_bytes(head[at : at + 4], "big"))
    return seen


def _brand(head: bytes, at: int) -> Sniffed:
    end = at + int.from_bytes(head[at : at + 4], "big")
    major = head[at + 8 : at + 12]
    compatible = [head[i : i + 4] for i in range(at + 16, min(end, len(head), at + 256), 4)]
    if major in (b"mif1", b"mif2", b"msf1"):
        # The structural brand of all HEIF files: which codec, the compatible ones say.
        major = next((brand for brand in _PICTURE_BRANDS if brand in compatible), major)
    if major[:2] == b"3g":
        return found("video/3gpp2") if major[2:3] == b"2" else found("video/3gpp")
    known = _BRANDS.get(major)
    if known is None and major.strip(b"\0 ") == b"":
        known = next((_BRANDS[brand] for brand in compatible if brand in _BRANDS), None)
    return known or _MP4


def ebml(head: bytes) -> Sniffed:
    """Tell WebM from Matroska by their DocType element (RFC 8794 section 11.2.4), ID 0x4282."""
    at = head.find(b"\x42\x82", 4, 256)
    return _WEBM if at > 0 and b"webm" in head[at + 2 : at + 15] else _MATROSKA


def ogg(head: bytes) -> Sniffed:
    """Ogg: every logical stream shows itself in the first pages (RFC 3533), video before audio."""
    if any(mark in head for mark in (b"\x80theora", b"\x01video\0", b"BBCD\0", b"OVP80")):
        return _OGV
    first = head[27 + (head[26] if len(head) > 26 else 0) :]
    if first.startswith(b"OpusHead"):
        return _OPUS
    if first.startswith(b"Speex  "):
        return _SPEEX
    return _OGG_FLAC if first.startswith(b"\x7fFLAC") else _OGG


def asf(head: bytes) -> Sniffed:
    """ASF: a video stream, where its properties come early enough to be seen."""
    video = b"\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b"
    return _WMV if video in head else _ASF


def bmp(head: bytes) -> Sniffed | None:
    """BMP: ``BM`` alone is two letters, so its second header must have a size that exists."""
    known = int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)
    return found("image/bmp") if known else None


def ico(head: bytes) -> Sniffed | None:
    """Icon and cursor: a count, and a first picture that lies behind the directory."""
    count, offset = int.from_bytes(head[4:6], "little"), int.from_bytes(head[18:22], "little")
    if not 0 < count <= 1024 or offset < 6 + 16 * count:
        return None
    return found("image/vnd.microsoft.icon", ".cur" if head[2] == 2 else ".ico")


def pcx(head: bytes) -> Sniffed | None:
    """PCX: starts with a line feed, so version, encoding, depth, reserved byte and planes must all fit."""
    fits = len(head) > 65 and head[1] in (0, 2, 3, 4, 5) and head[2] == 1 and head[3] in (1, 2, 4, 8)
    return found("image/vnd.zbrush.pcx") if fits and head[64] == 0 and head[65] in (1, 2, 3, 4) else None


def monkeys_audio(head: bytes) -> Sniffed | None:
    """Monkey's Audio: a version number that was ever in use follows."""
    return found("audio/ape") if 3000 < int.from_bytes(head[4:6], "little") < 5000 else None


_PNM = re.compile(rb"P([1-7Ff])(?:\s+|#[^\n]*\n)*+(?:-?\d+[ \t\r\n]|WIDTH |HEIGHT |DEPTH )")
_PNM_TYPES = {
    b"14": found("image/x-portable-bitmap"),
    b"25": found("image/x-portable-graymap"),
    b"36": found("image/x-portable-pixmap"),
    b"7": found("image/x-portable-arbitrarymap"),
    b"Ff": found("image/x-portable-floatmap"),
}


def pnm(head: bytes) -> Sniffed | None:
    """Netpbm's formats: a letter, a digit and a size in decimal digits, comments between."""
    size = _PNM.match(head)
    if size is None:
        return None
    return next(media for digits, media in _PNM_TYPES.items() if size[1] in digits)


_XBM = re.compile(rb"#define\s+\w*width\s+\d+\s")


def xbm(head: bytes) -> Sniffed | None:
    """XBM: C source that starts with the picture's width."""
    return found("image/x-xbitmap") if _XBM.match(head) else None


def program_stream(head: bytes) -> Sniffed | None:
    """MPEG-PS: the marker bits behind the pack start code, for MPEG-2 or MPEG-1."""
    mark = head[4] if len(head) > 4 else 0
    return _MPEG if mark & 0xC4 == 0x44 or mark & 0xF1 == 0x21 else None


def transport_stream(head: bytes) -> Sniffed | None:
    """MPEG-TS: sync bytes every 188 bytes (204 with error correction), or every 192 behind a time code."""
    if head[0:565:188].startswith(b"GGG") or head[0:613:204].startswith(b"GGG"):
        return _TS if is_binary(head) else None
    return _M2TS if head[4:581:192].startswith(b"GGG") and is_binary(head) else None


_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Kilobits per second by version (2 stands for 2.5 as well) and layer (ISO/IEC 11172-3, 13818-3)."""


def mpeg_audio(head: bytes, at: int = 0) -> Sniffed | None:
    """MPEG audio without a tag: two frame headers that agree, the first frame's length apart.

    One alone says little: a twentieth of all bytes that follow 0xFF would pass.
    """
    header, length = head[at : at + 4], _frame_length(head[at : at + 4])
    following = head[at + length : at + length + 4]
    if not length or len(following) < 4 or following[:2] != header[:2] or (following[2] ^ header[2]) & 0x0C:
        return None
    return (_MP3, _MP2, _MP1)[(header[1] >> 1 & 3) - 1]


def _frame_length(header: bytes) -> int:
    """Bytes from one MPEG audio frame to the next; 0 where this is not the header of one."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate, frequency, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or rate in (0, 15) or frequency == 3:
        return 0
    bits = _BITRATES[1 if version == 3 else 2, layer][rate - 1] * 1000
    hertz = (44100, 48000, 32000)[frequency] // {3: 1, 2: 2, 0: 4}[version]
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // hertz + padding


def adts(head: bytes, at: int = 0) -> Sniffed | None:
    """AAC in ADTS frames (ISO/IEC 13818-7): two headers that agree, the first frame's length apart."""
    header = head[at : at + 7]
    if len(header) < 7 or header[2] >> 2 & 15 > 12:
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    following = head[at + length : at + length + 3]
    agree = len(following) == 3 and following[:2] == header[:2] and not (following[2] ^ header[2]) & 0xFC
    return _AAC if length > 7 and agree else None


_AC3_BITRATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def ac3(head: bytes) -> Sniffed | None:
    """AC-3 and E-AC-3 (ETSI TS 102 366): fields with values that exist, and the next frame where it is in reach."""
    if len(head) < 6:
        return None
    stream, frequency, code = head[5] >> 3, head[4] >> 6, head[4] & 0x3F
    if stream > 16 or (stream <= 10 and (frequency == 3 or code >= 2 * len(_AC3_BITRATES))):
        return None
    if stream > 10:
        length = ((head[2] & 7) << 8 | head[3]) * 2 + 2
    else:
        words = _AC3_BITRATES[code // 2] * 96_000 // (48_000, 44_100, 32_000)[frequency]
        length = 2 * (words + (code & 1 if frequency == 1 else 0))
    if head[length : length + 2] not in (b"", b"\x0b", b"\x0b\x77"):
        return None
    return _AC3 if stream <= 10 else _EAC3


def id3(head: bytes) -> Sniffed | None:
    """ID3v2: a tag that stands before MP3 as a rule, but before AAC, FLAC and others at times."""
    if len(head) < 10 or head[3] not in (2, 3, 4) or max(head[6:10]) > 0x7F:
        return None
    at = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + (10 if head[5] & 0x10 else 0)
    for magic, media in _BEHIND_TAG:
        if head.startswith(magic, at):
            return media
    tagged_aac = head[at : at + 1] == b"\xff" and head[at + 1 : at + 2] in (
        b"\xf0",
        b"\xf1",
        b"\xf8",
        b"\xf9",
    )
    return _AAC if tagged_aac else mpeg_audio(head, at) or _MP3


_BEHIND_TAG = (
    (b"fLaC", found("audio/flac")),
    (b"MAC ", found("audio/ape")),
    (b"wvpk", found("audio/wavpack")),
    (b"TTA1", found("audio/x-tta")),
)
