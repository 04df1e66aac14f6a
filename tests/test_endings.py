"""Whether a body has its format's own end: whole, cut, followed by other bytes, broken, hostile."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import samples
from support.cli import REPOSITORY
from support.whole_files import (
    APE_TAG,
    ID3V1_TAG,
    PROGRESSIVE,
    SVG,
    TELLS_NOTHING,
    WHOLE,
    Whole,
    asf,
    bmp,
    box,
    brand,
    chunk,
    flac,
    flac_frame,
    flac_head,
    mp3,
    page,
    part,
    pictures,
    psd,
    riff,
    segment,
    sub_blocks,
)
from test_media import SAMPLES

from downloader import media
from downloader.blocks import BLOCK, LARGEST_READ, MOST_BYTES, MOST_STEPS
from downloader.endings import Ending, ending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRESENT, MISSING, UNKNOWN = Ending

DEMO = sorted((REPOSITORY / "downloader" / "demo" / "media").iterdir())
CHANCE = random.Random(7)  # noqa: S311 - it need not be secret
TRAILERS = {
    "zeros": bytes(7),
    "line end": b"\r\n",
    "archive": b"PK\3\4" + CHANCE.randbytes(300),
    "picture": samples.jpeg(),
    "video": samples.mp4(500),
    "letters": b"SEFT" * 30,
    "ones": b"\xff" * 200,
}
WITH_TRAILERS = {name: whole for name, whole in WHOLE.items() if whole.trailers}
NOISE = CHANCE.randbytes(60_000).replace(b"\xff\xd9", b"\xff\xd8").replace(b"\0;", b"\0:")

each_whole = pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)


class Reader:
    """Reads a body and counts how: it may be longer than any memory."""

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self.size, self._read = size, read
        self.reads = self.bytes = 0

    def __call__(self, offset: int, count: int) -> bytes:
        assert 0 <= offset < self.size
        assert 0 < count <= LARGEST_READ
        self.reads += 1
        self.bytes += count
        return self._read(offset, min(count, self.size - offset))

    def look(self) -> Ending:
        found = ending(self, self.size)
        assert self.reads <= MOST_STEPS + 2
        assert self.bytes <= MOST_BYTES + LARGEST_READ
        return found


def look(data: bytes) -> Ending:
    return Reader(len(data), lambda offset, count: data[offset : offset + count]).look()


@each_whole
def test_a_whole_file_has_its_end(whole: Whole) -> None:
    assert media.sniff(whole.data).type == whole.type
    assert look(whole.data) is PRESENT


@each_whole
def test_a_file_cut_anywhere_lacks_it(whole: Whole) -> None:
    sizes = [size for size in range(1, len(whole.data)) if media.sniff(whole.data[:size]).type == whole.type]
    found = {size: look(whole.data[:size]) for size in sizes}
    assert len(sizes) > len(whole.data) // 2
    assert {len(whole.data) - size for size, said in found.items() if said is PRESENT} == whole.harmless
    assert {size for size, said in found.items() if said is UNKNOWN} == whole.doubtful


@pytest.mark.parametrize("whole", WITH_TRAILERS.values(), ids=WITH_TRAILERS)
def test_bytes_behind_the_end_do_no_harm(whole: Whole) -> None:
    assert {name: look(whole.data + trailer) for name, trailer in TRAILERS.items()} == dict.fromkeys(TRAILERS, PRESENT)


@given(st.sampled_from(sorted(WITH_TRAILERS)), st.binary(min_size=4, max_size=300))
def test_nor_do_any_other_bytes(name: str, trailer: bytes) -> None:
    assert look(WHOLE[name].data + trailer) is PRESENT


@pytest.mark.parametrize("data", TELLS_NOTHING.values(), ids=TELLS_NOTHING)
def test_a_file_that_does_not_tell_is_not_judged(data: bytes) -> None:
    assert look(data) is UNKNOWN


STARTS_WHOLE = {
    "wav whose lengths were never filled in": {44},
    "caf whose lengths were never filled in": {85},
    "mp3 of two parts": {len(mp3()), len(mp3()) + 3},
}
"""Lengths at which a cut leaves a file that is whole by itself: an empty one, or the first part."""


@pytest.mark.parametrize(("name", "data"), TELLS_NOTHING.items(), ids=TELLS_NOTHING)
def test_nor_taken_for_whole_when_it_is_cut(name: str, data: bytes) -> None:
    assert {size for size in range(len(data)) if look(data[:size]) is PRESENT} <= STARTS_WHOLE.get(name, set())


@given(st.integers(0, 70), st.binary(min_size=1, max_size=8))
def test_an_index_of_pictures_may_say_anything(at: int, noise: bytes) -> None:
    whole = pictures(samples.jpeg(), samples.jpeg())
    start = whole.index(b"MPF\0") + 4 + at
    assert look(whole[:start] + noise + whole[start + len(noise) :]) in Ending


@pytest.mark.parametrize("path", DEMO, ids=lambda path: path.name)
def test_files_of_real_encoders(path: Path) -> None:
    data = path.read_bytes()
    assert look(data) is PRESENT
    needed = len(data.rstrip(b"\n")) if path.suffix == ".svg" else len(data)
    cuts = {*CHANCE.sample(range(600, needed), 100), *range(needed - 20, needed)}
    assert {look(data[:size]) for size in cuts} == {MISSING}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_first_bytes_of_real_files_are_not_taken_for_whole(name: str) -> None:
    assert look(SAMPLES[name][2]) is not PRESENT


FAKES = {
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0", b"\xff\xd9"),
    "jpeg without its first segment": (b"\xff\xd8\xff\xe0\0\1", b"\xff\xd9"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + bytes(17), b"\0\0\0\0IEND\xaeB`\x82"),
    "gif": (b"GIF89a\1\0\1\0\0\0\0", b"\0;"),
    "qoi": (b"qoif" + bytes(12), bytes(7) + b"\1"),
    "j2k": (b"\xff\x4f\xff\x51\0\2\0", b"\xff\xd9"),
}


@pytest.mark.parametrize(("head", "mark"), FAKES.values(), ids=FAKES)
def test_where_the_structure_is_broken_only_the_last_bytes_count(head: bytes, mark: bytes) -> None:
    assert look(head + NOISE) is MISSING
    assert look(head + NOISE[:100] + mark + NOISE) is MISSING
    assert look(head + NOISE + mark) is PRESENT
    assert look(head + NOISE + mark + b"\r\n\0\0\0") is PRESENT
    assert look((head + NOISE + mark)[:-1]) is MISSING


def test_a_broken_structure_without_an_end_mark_is_not_judged() -> None:
    assert look(brand(b"mp42") + NOISE) is UNKNOWN
    assert look(b"OggS\0\2" + NOISE) is not PRESENT
    assert look(b"MThd\0\0\0\6\0\1\0\2\0\1" + b"\xff" * 400) is UNKNOWN
    assert look(b"\x1aE\xdf\xa3\0" + NOISE) is UNKNOWN
    assert look(b"\x1aE\xdf\xa3\x80" + NOISE) is UNKNOWN


def test_a_jpeg_may_have_anything_between_its_scans() -> None:
    tables = segment(0xDB, bytes(65)) + segment(0xFE, b"\xff\xd9" * 30) + segment(0xDC, bytes(2))
    whole = PROGRESSIVE[:-2] + b"\xff" * 70_000 + tables[1:] + b"\xff\xd9"
    assert look(whole) is PRESENT
    assert look(whole[:-2]) is MISSING


@pytest.mark.parametrize("before", range(BLOCK - 24, BLOCK + 2))
def test_a_marker_may_lie_across_two_blocks(before: int) -> None:
    start = PROGRESSIVE.index(b"\x12\xff\x00\x34")
    whole = PROGRESSIVE[:start] + bytes(before) + PROGRESSIVE[start:]
    assert look(whole) is PRESENT
    assert look(whole[:-1]) is MISSING


@pytest.mark.parametrize("unit", [b"\xfe\0\0\0", b"\xff\0\0\0\0", b"\x80\0", b"\0\x41"])
@pytest.mark.parametrize("before", range(4))
def test_a_pixel_may_lie_across_two_blocks(unit: bytes, before: int) -> None:
    whole = b"qoif" + bytes(10) + b"\x41" * before + unit * 40_000 + bytes(7) + b"\1"
    assert look(whole + NOISE) is PRESENT
    assert look(whole[:-1]) is MISSING


def test_large_sub_blocks_are_skipped_whole() -> None:
    gif = samples.gif()
    whole = gif[:-6] + b"\x02" + sub_blocks(*[255] * 9000) + sub_blocks(*[254] * 900)[:-1] + b"\0;"
    reader = Reader(len(whole), lambda offset, count: whole[offset : offset + count])
    assert reader.look() is PRESENT
    assert reader.reads < 100
    assert look(whole[:-1]) is MISSING


def test_a_form_that_counts_its_own_header_is_whole() -> None:
    whole = WHOLE["wav"].data
    assert look(b"RIFF" + struct.pack("<I", len(whole)) + whole[8:]) is PRESENT
    assert look(b"RIFF" + struct.pack("<I", len(whole) + 1) + whole[8:]) is MISSING


def test_a_wav_whose_lengths_contradict_each_other_is_not_judged() -> None:
    assert look(riff(b"WAVE", part(b"fmt ", bytes(16)), b"data" + struct.pack("<I", 5000) + bytes(90))) is UNKNOWN


def test_an_empty_wav_is_whole() -> None:
    assert look(riff(b"WAVE", part(b"fmt ", bytes(16)), part(b"data", b""))) is PRESENT


def test_a_movie_needs_its_index_and_its_media() -> None:
    start, index, frames = brand(b"isom"), box(b"moov", box(b"mvhd", bytes(100))), box(b"mdat", bytes(200))
    assert look(start + index) is MISSING
    assert look(start + frames) is MISSING
    assert look(start + box(b"free", bytes(50))) is MISSING
    assert look(start + box(b"skip") + index + box(b"abcd", bytes(9)) + frames) is PRESENT
    assert look(start + frames + index[:-1]) is MISSING
    assert look(start + index + frames + box(b"free", bytes(50))[:-1]) is MISSING


def test_media_of_several_gigabytes_are_found_by_their_lengths() -> None:
    size = 9 << 30
    head = brand(b"isom") + struct.pack(">I4sQ", 1, b"mdat", size)
    index = box(b"moov", box(b"mvhd", bytes(100)))
    whole = {0: head, len(brand(b"isom")) + size: index}

    def read(offset: int, count: int) -> bytes:
        return next(
            (data[offset - at :][:count] for at, data in whole.items() if at <= offset < at + len(data)), bytes(count)
        )

    total = len(brand(b"isom")) + size + len(index)
    reader = Reader(total, read)
    assert reader.look() is PRESENT
    assert reader.reads < 6
    assert Reader(total - 1, read).look() is MISSING
    assert Reader(8 << 30, read).look() is MISSING


def test_all_logical_streams_of_an_ogg_must_end() -> None:
    begun = page(2, 1, 30) + page(2, 2, 30)
    assert look(begun + page(4, 1, 50)) is UNKNOWN
    assert look(begun + page(4, 1, 50) + page(4, 2, 50)) is PRESENT
    chained = page(2, 1, 30) + page(4, 1, 30) + page(2, 2, 30) + page(4, 2, 30)
    assert look(chained) is PRESENT
    assert look(chained[:-1]) is MISSING


def test_a_bmp_is_judged_by_its_pixels_first() -> None:
    whole = bmp(5, 7, 24)
    assert look(bmp(5, 7, 24, told=26)[:-1]) is MISSING
    assert look(bmp(5, 7, 24, told=len(whole) + 2)) is UNKNOWN
    assert look(bmp(5, 7, 24, told=len(whole) + 2)[:-1]) is MISSING


@pytest.mark.parametrize(("start", "code"), [(b"\0\0\1\xba\x44", b"\0\0\1\xb9"), (b"\0\0\1\xb3\x16", b"\0\0\1\xb7")])
def test_an_end_code_of_mpeg_counts_where_it_is(start: bytes, code: bytes) -> None:
    stream = start + b"\x55" * 400
    assert look(stream + code) is PRESENT
    assert look(stream + code + bytes(2000)) is PRESENT
    assert look(stream + code[:-1]) is UNKNOWN
    assert look(riff(b"CDXA", part(b"data", stream))) is PRESENT
    assert look(riff(b"CDXA", part(b"data", stream))[: -1 - len(stream) % 2]) is MISSING


def test_tags_at_the_end_of_audio_prove_it() -> None:
    plain = samples.mp3()
    assert look(plain + ID3V1_TAG) is PRESENT
    assert look(plain + APE_TAG) is PRESENT
    assert look(plain + APE_TAG + ID3V1_TAG) is PRESENT
    assert look(plain + ID3V1_TAG[:-1]) is UNKNOWN
    assert look(b"wvpk" + bytes(400) + APE_TAG) is PRESENT


def test_what_may_stand_behind_counted_mp3_frames() -> None:
    assert look(mp3(behind=bytes(300))) is PRESENT
    assert look(mp3(behind=b"\xff\xfb\x90\xc4" + bytes(413))) is UNKNOWN
    assert look(mp3(behind=NOISE)) is UNKNOWN
    assert look(mp3(behind=ID3V1_TAG[:-30])) is MISSING


def test_what_may_stand_behind_the_last_frame_of_a_flac() -> None:
    for behind in (bytes(50), ID3V1_TAG, APE_TAG, APE_TAG + ID3V1_TAG, NOISE[:100]):
        assert look(flac(behind=behind)) is PRESENT
        assert look(flac(largest=0, behind=behind)) is (MISSING if behind == NOISE[:100] else PRESENT)
    assert look(b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + flac()) is PRESENT
    assert look(flac(total=9078)) is MISSING


@pytest.mark.parametrize(
    ("code", "count"), [(1, 192), (2, 576), (5, 4608), (6, 200), (7, 300), (8, 256), (12, 4096), (15, 32768)]
)
def test_the_last_frame_of_a_flac_is_found_by_its_number_and_its_samples(code: int, count: int) -> None:
    for number in (0, 3, 200, 3000, 40_000):
        whole = flac_head(number * 4608 + count, block=4608) + flac_frame(number, count, code=code)
        assert look(whole) is PRESENT
        assert look(whole[:-1]) is MISSING
        assert look(flac_head(number * 4608 + count + 1, block=4608) + flac_frame(number, count, code=code)) is MISSING


def test_an_flv_is_cut_where_its_last_tag_is() -> None:
    data = TELLS_NOTHING["flv"]
    found = {size: look(data[:size]) for size in range(13, len(data))}
    assert found[13] is found[13 + 47] is found[13 + 94] is UNKNOWN
    assert {found[13 + 47 - 20], found[13 + 94 - 1], found[len(data) - 5]} == {MISSING}


def test_lengths_that_cannot_be_are_not_followed() -> None:
    assert look(b"\xff\xd8\xff\xe0\0\2\xff\2" + bytes(90)) is MISSING
    assert look(b"\xff\xd8\xff\xe0\0\2\xff\2" + bytes(90) + b"\xff\xd9") is PRESENT
    j2k = WHOLE["j2k"].data
    length = j2k.index(b"\xff\x90") + 6
    assert look(j2k[:length] + b"\0\0\0\5" + j2k[length + 4 :]) is PRESENT
    assert look(j2k[:length] + b"\0\0\0\5" + j2k[length + 4 : -1]) is MISSING
    assert look(b"\xff\x4f\xff\x51\0\1" + bytes(50)) is MISSING
    assert look(psd(2)) is UNKNOWN
    assert look(asf(data=-1)) is UNKNOWN


def test_a_bmp_of_run_lengths_that_does_not_count_them_goes_by_its_size() -> None:
    whole = bmp(5, 7, 8, rle=bytes(55))
    uncounted = whole[:34] + bytes(4) + whole[38:]
    assert look(uncounted) is PRESENT
    assert look(uncounted[:-1]) is MISSING
    assert look(uncounted[:2] + bytes(4) + uncounted[6:]) is UNKNOWN


@pytest.mark.parametrize("size", [4000, 300_000, LARGEST_READ + 1])
def test_an_svg_of_any_size_ends_with_its_root_element(size: int) -> None:
    filler = b"<path d='M 0 0'/>" * (size // 17)
    whole = SVG.replace(b"<g/>", b"<g>" + filler + b"</g>")
    assert look(whole) is PRESENT
    assert look(whole + b"\n\n") is PRESENT
    assert look(whole[:-1]) is MISSING
    assert look(whole[: len(whole) // 2]) is MISSING


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=12)), max_size=6))
def test_broken_files_raise_nothing(name: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(WHOLE[name].data)
    for at, new in changes:
        data[at % len(data) : at % len(data) + len(new)] = new
    assert look(bytes(data)) in Ending


@given(st.sampled_from(sorted(WHOLE)), st.integers(4, 200), st.binary(max_size=3000))
def test_random_bytes_raise_nothing(name: str, kept: int, noise: bytes) -> None:
    assert look(WHOLE[name].data[:kept] + noise) in Ending


@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 3000))
def test_a_reader_that_returns_less_than_the_size_raises_nothing(name: str, left: int) -> None:
    data = WHOLE[name].data
    assert ending(lambda offset, count: data[: left % len(data)][offset : offset + count], len(data)) in Ending


JPEG_HEAD = PROGRESSIVE[: PROGRESSIVE.index(b"\x12\xff\x00\x34")]
GIF_HEAD = samples.gif()[:-5]
HOSTILE = {
    "jpeg of segments": (b"\xff\xd8", b"\xff\xe0\0\2"),
    "jpeg of fill bytes": (b"\xff\xd8\xff\xe0\0\2", b"\xff"),
    "jpeg of restarts": (b"\xff\xd8\xff\xe0\0\2", b"\xff\xd0"),
    "jpeg of scans": (JPEG_HEAD, b"\xff\xda\0\2"),
    "jpeg of one scan": (JPEG_HEAD, b"\xff\0"),
    "png of chunks": (WHOLE["png"].data[:33], chunk(b"tEXt")),
    "gif of sub-blocks": (GIF_HEAD, b"\1;"),
    "gif of terminators": (GIF_HEAD + b"\0", b"\0"),
    "gif of extensions": (GIF_HEAD + b"\0", b"!\1\0"),
    "qoi": (b"qoif" + bytes(10), b"\x41"),
    "svg of elements": (b"", b"<svg>"),
    "svg of comments": (b"<svg>", b"<!--"),
    "svg of quotes": (b"<svg>", b"<svg a='"),
    "boxes": (brand(b"isom"), box(b"free")),
    "unknown boxes": (brand(b"isom"), box(b"abcd")),
    "boxes in a box": (brand(b"isom") + struct.pack(">I4sQ", 1, b"moov", 4 << 30), box(b"abcd")),
    "fragments": (brand(b"iso5"), box(b"moof") + box(b"mdat")),
    "riff": (b"RIFF\xf4\xff\xff\x6eWAVE", part(b"abcd", b"")),
    "avi of forms": (riff(b"AVI "), riff(b"AVIX")),
    "ogg pages": (page(2, 1, 30), page(0, 1)),
    "ogg streams": (page(2, 1, 30), page(0, 1) + page(2, 2) + page(2, 3) + page(2, 4)),
    "ebml": (b"\x1aE\xdf\xa3\x80", b"\xec\x80"),
    "midi": (b"MThd\0\0\0\6\0\1\xff\xff\0\1", part(b"abcd", b"")),
    "caf": (b"caff\0\1\0\0", b"free" + bytes(8)),
    "asf": (WHOLE["asf"].data[:16] + struct.pack("<Q", 1 << 40) + bytes(6), bytes(16) + struct.pack("<Q", 24)),
    "flv": (b"FLV\1\5\0\0\0\x09\0\0\0\0", b"\x09" + bytes(14)),
    "j2k": (b"\xff\x4f\xff\x51\0\2", b"\xff\x52\0\2"),
    "psd": (b"8BPS\0\2" + bytes(6) + b"\xff" * 12 + bytes(4) + bytes(16) + b"\0\1", b"\0"),
    "flac": (b"fLaC\0\0\0\x22" + b"\1" * 34, b"\xff\xf8\x19\0"),
}


@pytest.mark.parametrize(("head", "unit"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("size", [65_536, 5 << 30])
def test_the_cost_of_a_hostile_body_is_bounded(head: bytes, unit: bytes, size: int) -> None:
    run = unit * (LARGEST_READ // len(unit) + 2)

    def read(offset: int, count: int) -> bytes:
        start = head[offset : offset + count]
        into = max(0, offset - len(head)) % len(unit)
        return start + run[into : into + count - len(start)]

    reader = Reader(size, read)
    assert reader.look() is not PRESENT
    if size == 65_536:
        assert reader.reads < 150
