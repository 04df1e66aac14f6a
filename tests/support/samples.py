"""Small media made in code: real ones as far as their size allows, the same at every run."""

from __future__ import annotations

import hashlib
import io
import struct
import wave
import zlib

_COMMENT_MOST = 65533
"""Bytes in one JPEG comment segment: its length field, two bytes itself, counts up to 65535."""


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _huffman(kind: int) -> bytes:
    return _segment(0xC4, bytes([kind, 1, *[0] * 15, 0]))  # a single code of one bit, for the value 0


_JPEG_START = b"\xff\xd8" + _segment(0xE0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0101, 0, 1, 1, 0, 0))
_JPEG_IMAGE = (
    _segment(0xDB, bytes([0] + [1] * 64))
    + _segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 1) + b"\x01\x11\x00")  # 8 by 8, grey, baseline
    + _huffman(0x00)
    + _huffman(0x10)
    + _segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
    + b"\x3f\xff\xd9"
)
SMALLEST_PICTURE = len(_JPEG_START) + len(_JPEG_IMAGE) + 4


def picture(seed: int, size: int = 20_000) -> bytes:
    """A JPEG that decodes, of exactly ``size`` bytes: filler hides in comments. Differs with ``seed``."""
    room = size - len(_JPEG_START) - len(_JPEG_IMAGE)
    if room < 4:
        raise ValueError(f"no JPEG is as small as {size} bytes")
    filler = hashlib.shake_256(seed.to_bytes(8, "big")).digest(room)
    comments = []
    while room:
        piece = min(room, _COMMENT_MOST + 4)
        if 0 < room - piece < 4:
            piece -= 4  # what is left must hold a segment of its own
        comments.append(_segment(0xFE, filler[room - piece + 4 : room]))
        room -= piece
    return _JPEG_START + b"".join(comments) + _JPEG_IMAGE


def jpeg() -> bytes:
    """A small JPEG."""
    return picture(0, 600)


def png(width: int = 4, height: int = 4) -> bytes:
    """A grey PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x80" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def gif() -> bytes:
    """A GIF of one black pixel."""
    return b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"


def mp3(frames: int = 20) -> bytes:
    """Silence: an empty ID3v2.3 tag and MPEG-1 layer III frames of 128 kbit/s at 44.1 kHz."""
    return b"ID3\x03\0\0\0\0\0\0" + (b"\xff\xfb\x90\xc4" + bytes(413)) * frames


def _box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(data), kind) + data


_MP4_START = _box(b"ftyp", struct.pack(">4sI4s4s", b"isom", 512, b"isom", b"mp41"))
_MP4_START += _box(b"moov", _box(b"mvhd", bytes(100)))
MP4_HEAD = len(_MP4_START) + 8
"""Bytes of an MP4 before its media."""


def mp4(size: int = 2000) -> bytes:
    """An MP4 of exactly ``size`` bytes: its type, an index without tracks, and media data of zeros."""
    if size < MP4_HEAD:
        raise ValueError(f"no MP4 is as small as {size} bytes")
    return _MP4_START + _box(b"mdat", bytes(size - MP4_HEAD))


def wav(samples: int = 800) -> bytes:
    """Silence as PCM, 8 kHz, one channel of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * samples))
    return buffer.getvalue()


def page(title: str = "Sign in") -> bytes:
    """An HTML page, as servers send it instead of a picture."""
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>Sorry.</body></html>\n".encode()
