"""Whole media files of exactly as many bytes as are asked for, filled with noise.

Each is structured as its format says, so that `downloader.endings` finds the end of the whole file, and of no part of
it: its lengths are true, and the noise holds no mark of an end. What is no structure has the noise's bytes at their
places, and no 256 bytes in a row are structure alone: two files made of different noise differ everywhere.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from support import samples
from support.whole_files import box, brand, element, part, segment

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST = 1024
"""Bytes that each of them has at least."""


class Kind(NamedTuple):
    """A kind of file."""

    make: Callable[[bytes], bytes]
    """Makes the file from as many bytes of noise as it is to have."""
    type: str
    """Its media type."""
    ends: bool = True
    """Whether its format tells where it ends."""


def _jpeg(noise: bytes) -> bytes:
    head = samples.jpeg()[:20] + segment(0xDB, bytes([0] + [1] * 64))
    head += segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 1) + b"\x01\x11\x00") + segment(
        0xDA, b"\x01\x01\x00\x00\x3f\x00"
    )
    # Behind FF there would have to be a stuffed zero (ITU-T T.81 section B.1.1.5).
    return head + noise[len(head) : -2].replace(b"\xff", b"\xfe") + b"\xff\xd9"


def _png(noise: bytes) -> bytes:
    """Chunks of image data of up to 50,000 bytes, with their checksums."""
    plain = samples.png()
    start, last = plain[:33], plain[-12:]
    chunks, left, at = [start], len(noise) - len(start) - len(last), len(start)
    while left:
        size = min(left, 50_012)
        if 0 < left - size < 12:
            size -= 12  # what is left must hold a chunk of its own
        data = noise[at + 8 : at + size - 4]
        chunks.append(struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data)))
        left, at = left - size, at + size
    return b"".join([*chunks, last])


def _gif(noise: bytes) -> bytes:
    """One picture in sub-blocks of 255 bytes."""
    file = bytearray(noise)
    start = b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x08"
    at, end = len(start), len(file) - 2
    file[:at] = start
    full, rest = divmod(end - at, 256)
    file[at : at + 256 * full : 256] = b"\xff" * full
    at += 256 * full
    if rest == 1:  # a sub-block of no bytes would be the last
        file[at - 256] = 254
        at, rest = at - 1, 2
    if rest:
        file[at] = rest - 1
    file[end:] = b"\0;"
    return bytes(file)


def _wav(noise: bytes) -> bytes:
    size = len(noise)
    head = struct.pack("<4sI4s", b"RIFF", size - 8, b"WAVE") + part(
        b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    )
    return head + struct.pack("<4sI", b"data", size - len(head) - 8) + noise[len(head) + 8 :]


def _mp4(noise: bytes) -> bytes:
    """The index before the media, as for streaming."""
    head = brand(b"isom") + box(b"moov", box(b"mvhd", bytes(100)))
    return head + box(b"mdat", noise[len(head) + 8 :])


def _mov(noise: bytes) -> bytes:
    """The index behind the media, as a camera leaves it."""
    head, least = brand(b"qt  "), 8 + 8 + 100 + 8
    data = noise[len(head) + 8 : -least - 200]
    index = box(b"moov", box(b"mvhd", bytes(100)) + box(b"udta", noise[-200:]))
    return head + box(b"mdat", data) + index


def _webm(noise: bytes) -> bytes:
    head = element(b"\x1a\x45\xdf\xa3", b"\x42\x82\x84webm", 1)
    taken = len(head) + 4 + 8 + 4 + 8
    return head + element(b"\x18\x53\x80\x67", element(b"\x1f\x43\xb6\x75", noise[taken:], 8), 8)


def _mp3(noise: bytes) -> bytes:
    """A frame whose Xing header counts the bytes, and the head of the next."""
    head, frame = b"\xff\xfb\x90\xc4", 417
    start = head + bytes(17) + b"Xing" + struct.pack(">III", 3, len(noise) // frame, len(noise))
    return start + noise[len(start) : frame] + head + noise[frame + len(head) :]


def _transport_stream(noise: bytes) -> bytes:
    file = bytearray(noise)
    file[::188] = b"G" * len(file[::188])
    return bytes(file)


def _tiff(noise: bytes) -> bytes:
    return b"II*\0" + struct.pack("<I", len(noise) // 4 * 2) + noise[8:]


KINDS = {
    "jpg": Kind(_jpeg, "image/jpeg"),
    "png": Kind(_png, "image/png"),
    "gif": Kind(_gif, "image/gif"),
    "tif": Kind(_tiff, "image/tiff", ends=False),
    "mp3": Kind(_mp3, "audio/mpeg"),
    "wav": Kind(_wav, "audio/wav"),
    "mp4": Kind(_mp4, "video/mp4"),
    "mov": Kind(_mov, "video/quicktime"),
    "webm": Kind(_webm, "video/webm"),
    "ts": Kind(_transport_stream, "video/mp2t", ends=False),
}
"""All of them, by the extensions of their names."""
