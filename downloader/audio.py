"""Where audio files without a container end: by tags at the end, or by lengths that encoders leave at the start."""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from struct import Struct

from downloader.blocks import Blocks, Ending

_APE_TAG = Struct("<8s4xI16x")


def tagged(body: Blocks) -> Ending:
    """Whether there is an ID3v1 or APEv2 tag, which stand at the end of a file; if not, it is not known."""
    return Ending.PRESENT if _before_tags(body) < body.size else Ending.UNKNOWN


def _before_tags(body: Blocks) -> int:
    """Return the offset where the tags at the end of the body start, its size where there are none."""
    end = body.size
    if body.at(max(0, end - 128), 3) == b"TAG":
        end -= 128
    footer = body.fields(max(0, end - _APE_TAG.size), _APE_TAG)
    if footer is not None and footer[0] == b"APETAGEX":
        end = max(0, end - footer[1])
    return end


_ID3 = Struct(">3s2xB4s")
_XING_AT = (36, 21, 13)  # behind header and side information: MPEG-1 stereo, its mono and MPEG-2 stereo, MPEG-2 mono
_XING = Struct(">4sIII")


def mp3(body: Blocks) -> Ending:
    """MP3: a tag at the end, or the count of bytes in the Xing header, which counts from its own frame on.

    Where the bytes go on behind the count, it is not known: podcasts are glued from parts, each with a count.
    """
    if tagged(body) is Ending.PRESENT:
        return Ending.PRESENT
    start = _behind_id3(body)
    for place in _XING_AT:
        xing = body.fields(start + place, _XING)
        if xing is not None and xing[0] in (b"Xing", b"Info"):
            count = xing[3] if xing[1] & 1 else xing[2]
            end = start + count
            if not xing[1] & 2 or not count:
                return Ending.UNKNOWN
            rest = body.at(end, 4096)
            if rest and b"TAG".startswith(rest[:3]):
                return Ending.MISSING if len(rest) < 128 else Ending.UNKNOWN
            return Ending.UNKNOWN if rest.strip(b"\0") else body.reaches(end)
    return Ending.UNKNOWN


def _behind_id3(body: Blocks) -> int:
    """Return the offset behind the ID3v2 tag at the start, 0 where there is none (ID3v2.4.0 section 3.1)."""
    tag = body.fields(0, _ID3)
    if tag is None or tag[0] != b"ID3":
        return 0
    high, middle, low, last = bytes(tag[2])
    return 10 + (high << 21 | middle << 14 | low << 7 | last) + (10 if tag[1] & 0x10 else 0)


_STREAM = Struct(">2xH3x3sQ")
_FRAME = re.compile(rb"\xff[\xf8\xf9][\x10-\xff][\x00-\xaf]")
_TAIL = 256 << 10
_MOST_FRAMES = 64


def flac(body: Blocks) -> Ending:
    """FLAC: the frame with the last of the samples that STREAMINFO counts, whole by its checksum.

    RFC 9639 sections 8.2, 9.1 and 9.3. Encoders that write to a pipe count no samples. Bytes behind the frame
    do no harm where they are a tag, zeros, or more than the largest frame has.
    """
    stream = body.fields(_behind_id3(body) + 8, _STREAM)
    if stream is None:
        return Ending.MISSING
    block, largest, samples = stream[0], int.from_bytes(stream[1], "big"), stream[2] & (1 << 36) - 1
    if not samples:
        return Ending.UNKNOWN
    end = _before_tags(body)
    tail = body.at(max(0, end - _TAIL), min(end, _TAIL))
    for found in reversed(deque(_FRAME.finditer(tail), _MOST_FRAMES)):
        frame = tail[found.start() :]
        if _samples_with(frame, block) == samples:
            whole = 0 < largest < len(frame) or _crc(frame, 16, 0x8005) == 0
            return Ending.PRESENT if whole else Ending.MISSING
    return Ending.MISSING


def _samples_with(frame: bytes, block: int) -> int:
    """Return how many samples there are up to the end of a frame, 0 where it is none."""
    extra = max(0, 8 - (frame[4] ^ 0xFF).bit_length() - 1) if len(frame) > 4 else 7
    size_at = 5 + extra
    size, rate = frame[2] >> 4, frame[2] & 15
    size_bytes = {6: 1, 7: 2}.get(size, 0)
    header = frame[: size_at + size_bytes + {12: 1, 13: 2, 14: 2}.get(rate, 0) + 1]
    if extra > 6 or len(header) < size_at + 1 or _crc(header, 8, 0x07):
        return 0
    number = frame[4] & 0x7F >> extra
    for byte in frame[5:size_at]:
        number = number << 6 | byte & 0x3F
    if size_bytes:
        count = int.from_bytes(frame[size_at : size_at + size_bytes], "big") + 1
    else:
        count = 192 if size == 1 else 576 << size - 2 if size < 6 else 256 << size - 8
    return number * (1 if frame[1] & 1 else block) + count


def _crc(data: bytes, width: int, polynomial: int) -> int:
    """Return the checksum of a frame or its header; 0 for what ends with its own."""
    table, mask, crc = _crc_table(width, polynomial), (1 << width) - 1, 0
    for byte in data:
        crc = crc << 8 & mask ^ table[crc >> width - 8 ^ byte]
    return crc


@lru_cache(maxsize=2)
def _crc_table(width: int, polynomial: int) -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << width - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial | 1 << width if crc >> width - 1 else 0)
        table.append(crc)
    return table
