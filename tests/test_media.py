"""What counts as media: by bytes, by label, by name, and what a refusal says."""

from __future__ import annotations

import base64
import codecs
import gzip
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import media
from downloader.mediatypes import canonical, type_for
from downloader.options import MEDIA
from downloader.signatures import MAY_BE, RELIABLE

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "media_samples.txt")


def _samples() -> dict[str, tuple[str, str, bytes]]:
    with open(TABLE, encoding="ascii") as file:
        rows = [line.split() for line in file]
    return {row[0]: (row[1], row[2], base64.b64decode(row[3])) for row in rows}


SAMPLES = _samples()
"""First bytes of real files, by name: media type, extension, bytes."""

REST = b"\x00\x01\x02\x03" * 128


def _box(name: bytes, body: bytes = b"") -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + name + body


def _ftyp(major: bytes, *compatible: bytes) -> bytes:
    return _box(b"ftyp", major + b"\0\0\0\0" + b"".join(compatible)) + REST


def _id3(size: int) -> bytes:
    return b"ID3\x04\0\0\0\0" + bytes((size >> 7, size & 127)) + bytes(size)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9"/></svg>'
MP3_FRAMES = (b"\xff\xfb\x90\x64" + bytes(413)) * 2
ADTS_FRAMES = (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)) * 3

BY_HAND = [
    (_ftyp(b"heic", b"mif1", b"heic"), "image/heic", ".heic"),
    (_ftyp(b"mif1", b"mif1", b"heic", b"miaf"), "image/heic", ".heic"),
    (_ftyp(b"mif1", b"miaf", b"avif"), "image/avif", ".avif"),
    (_ftyp(b"mif1", b"miaf"), "image/heif", ".heif"),
    (_ftyp(b"avis", b"avif", b"msf1"), "image/avif", ".avif"),
    (_ftyp(b"crx ", b"crx ", b"isom"), "image/x-canon-cr3", ".cr3"),
    (_ftyp(b"M4B ", b"isom"), "audio/mp4", ".m4b"),
    (_ftyp(b"M4V ", b"isom"), "video/mp4", ".m4v"),
    (_ftyp(b"dash", b"iso6"), "video/mp4", ".mp4"),
    (_ftyp(b"XXXX"), "video/mp4", ".mp4"),
    (_ftyp(b"\0\0\0\0", b"qt  "), "video/quicktime", ".mov"),
    (_box(b"free") + _ftyp(b"M4A "), "audio/mp4", ".m4a"),
    (_box(b"styp", b"msdh\0\0\0\0") + REST, "video/mp4", ".mp4"),
    (_box(b"moof", REST), "video/mp4", ".mp4"),
    (_box(b"moov", REST), "video/quicktime", ".mov"),
    (_box(b"wide") + _box(b"mdat", REST), "video/quicktime", ".mov"),
    (b"\x41\x42\x43\x44mdat" + REST, "video/quicktime", ".mov"),
    (b"8BPS\0\x01" + REST, "image/vnd.adobe.photoshop", ".psd"),
    (b"\xff\x0a" + REST, "image/jxl", ".jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n" + _ftyp(b"jxl "), "image/jxl", ".jxl"),
    (b"II\xbc\x01" + REST, "image/jxr", ".jxr"),
    (b"MM\0*\0\0\0\x08" + REST, "image/tiff", ".tif"),
    (b"II*\0\x10\0\0\0CR\x02\0" + REST, "image/x-canon-cr2", ".cr2"),
    (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 2 +X 2\n", "image/vnd.radiance", ".hdr"),
    (b"gimp xcf v011\0" + REST, "image/x-xcf", ".xcf"),
    (b"AT&TFORM\0\0\1\0DJVU" + REST, "image/vnd.djvu", ".djvu"),
    (b"\0\0\2\0\1\0\x20\x20\0\0\0\0\0\0\xa8\x0c\0\0\x16\0\0\0" + REST, "image/vnd.microsoft.icon", ".cur"),
    (b"/* XPM */\nstatic char *x[] = {", "image/x-xpixmap", ".xpm"),
    (b"P3\n# by hand\n2 2 255\n0 0 0 9 9 9\n", "image/x-portable-pixmap", ".ppm"),
    (b"\x1aE\xdf\xa3\x42\x86\x81\x01\x42\x82\x88matroska" + REST, "video/matroska", ".mkv"),
    (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x0f\x42\x82\x01\0\0\0\0\0\0\x04webm" + REST, "video/webm", ".webm"),
    (b"MThd\0\0\0\x06\0\x01\0\x02", "audio/midi", ".mid"),
    (b"RIFF\x10\0\0\0RMID" + REST, "audio/midi", ".rmi"),
    (b"#!AMR\n" + REST, "audio/amr", ".amr"),
    (b"MAC \x96\x0f\0\0" + REST, "audio/ape", ".ape"),
    (b"DSD \x1c\0\0\0\0\0\0\0" + REST, "audio/x-dsf", ".dsf"),
    (b".ra\xfd\0\x04" + REST, "audio/x-realaudio", ".ra"),
    (b"FORM\0\0\1\0AIFC" + REST, "audio/aiff", ".aifc"),
    (bytes(1080) + b"M.K." + REST, "audio/x-mod", ".mod"),
    (_id3(200) + MP3_FRAMES, "audio/mpeg", ".mp3"),
    (_id3(9000), "audio/mpeg", ".mp3"),
    (_id3(63) + ADTS_FRAMES, "audio/aac", ".aac"),
    (_id3(90) + b"fLaC\0\0\0\x22" + REST, "audio/flac", ".flac"),
    (MP3_FRAMES, "audio/mpeg", ".mp3"),
    (ADTS_FRAMES, "audio/aac", ".aac"),
    ((b"\x47\x40\x11\x10" + bytes(184)) * 3, "video/mp2t", ".ts"),
    ((b"\x47\x40\x11\x10" + bytes(200)) * 3, "video/mp2t", ".ts"),
    ((b"\0\x01\x02\x03\x47\x40\x11\x10" + bytes(184)) * 3, "video/mp2t", ".m2ts"),
    (SVG, "image/svg+xml", ".svg"),
    (codecs.BOM_UTF8 + b"\n " + SVG, "image/svg+xml", ".svg"),
    (b'<?xml version="1.0"?>\n<!-- Made by hand -->\n' + SVG, "image/svg+xml", ".svg"),
    (b"<!-- a comment first -->" + SVG, "image/svg+xml", ".svg"),
    (b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" [<!ENTITY', "image/svg+xml", ".svg"),
    (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b>">]><!-- c --><s:svg xmlns:s="y">', "image/svg+xml", ".svg"),
    (codecs.BOM_UTF16_LE + SVG.decode().encode("utf-16-le"), "image/svg+xml", ".svg"),
]
"""Made after the formats' specifications: what the tools at hand do not write."""

ALL_MEDIA = [(head, name) for name, _, head in SAMPLES.values()] + [(head, name) for head, name, _ in BY_HAND]

PAGES = [
    b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
    b"\n\t <!doctype HTML>\n<html>",
    codecs.BOM_UTF8 + b"<html lang=en>",
    codecs.BOM_UTF16_LE + "<html><title>Anmelden</title>".encode("utf-16-le"),
    codecs.BOM_UTF16_BE + "<html>".encode("utf-16-be"),
    "<!DOCTYPE html><p>hello".encode("utf-16-le"),
    b"<!-- saved from a server --><p>Forbidden</p>",
    b"<!-- a comment that does not end",
    b"<h1>404 Not Found</h1>",
    b"<center><h1>403 Forbidden</h1></center>",
    b"<script>location = '/login'</script>",
    b"<a href=/>here</a>",
    b"<br>",
    b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x.dtd"><html/>',
    b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">',
    b"Notice: undefined index in /srv/www/i.php\n<!DOCTYPE html>\n<html>",
    b"<HTML><BODY>\0\0</BODY>",
]

LABELS = [
    None, "", "image/jpeg", "image/x-unheard-of", "image/svg+xml", "video/mp4", "audio/mpeg", "text/plain", "text/html",
    "application/octet-stream", "application/json; charset=utf-8", "IMAGE/JPG", "image/*", "rubbish", "a/b/c", "é/ü",
]  # fmt: skip

NAMES = [None, "", ".jpg", ".MP4", ".nef", ".tga", ".php", ".é"]


def _judge(
    head: bytes,
    declared: str | None = None,
    name_extension: str | None = None,
    accept: tuple[str, ...] = MEDIA,
    size: int | None = None,
) -> media.Verdict:
    return media.judge(head, declared=declared, name_extension=name_extension, accept=accept, size=size)


@pytest.mark.parametrize("name", SAMPLES)
def test_real_files_are_recognised_by_their_first_bytes(name: str) -> None:
    media_type, extension, head = SAMPLES[name]
    assert media.sniff(head) == media.Sniffed(media_type, extension, "media")


@pytest.mark.parametrize(("head", "media_type", "extension"), BY_HAND)
def test_files_made_after_their_specification_are_recognised(head: bytes, media_type: str, extension: str) -> None:
    assert media.sniff(head) == media.Sniffed(media_type, extension, "media")


@pytest.mark.parametrize("declared", LABELS)
def test_media_are_taken_under_any_label(declared: str | None) -> None:
    for head, _ in ALL_MEDIA:
        assert _judge(head, declared, ".php").refusal is None


@pytest.mark.parametrize("declared", LABELS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_refused_under_any_label(page: bytes, declared: str | None) -> None:
    for name_extension in NAMES:
        refusal = _judge(page, declared, name_extension).refusal
        assert refusal is not None
        assert refusal.startswith("server sent an HTML page")


@given(
    page=st.sampled_from(PAGES),
    space=st.text("\t\n\x0c\r ", max_size=9),
    tail=st.binary(max_size=99),
    declared=st.sampled_from(LABELS) | st.text(max_size=30),
    name_extension=st.sampled_from(NAMES),
)
def test_a_page_stays_one_whatever_follows_it(
    page: bytes, space: str, tail: bytes, declared: str, name_extension: str | None
) -> None:
    if page[:1] in (b"<", b"\n") and b"\0" not in page[:4] and not page.startswith(b"<!-- "):
        page = space.encode() + page + b">" + tail
    assert _judge(page, declared, name_extension).refusal is not None


@given(head=st.binary(max_size=3000), declared=st.text(max_size=40) | st.none(), name=st.text(max_size=5))
def test_no_bytes_make_it_raise(head: bytes, declared: str | None, name: str) -> None:
    media.enough(head)
    media.title(head)
    for accept in (MEDIA, ("*/*",), ("text/html", "application/*")):
        verdict = _judge(head, declared, name, accept, len(head))
        assert verdict.refusal is None or verdict.refusal.isprintable()


@given(sample=st.sampled_from([head for head, _ in ALL_MEDIA]), cut=st.integers(0, 600), tail=st.binary(max_size=600))
def test_a_damaged_file_does_not_make_it_raise(sample: bytes, cut: int, tail: bytes) -> None:
    head = sample[:cut] + tail
    media.enough(head)
    _judge(head, "image/jpeg", ".jpg", MEDIA, len(head))


@pytest.mark.parametrize(("head", "media_type"), ALL_MEDIA)
def test_enough_means_that_more_bytes_change_nothing(head: bytes, media_type: str) -> None:
    for length in range(1, len(head)):
        if media.enough(head[:length]):
            assert media.sniff(head[:length]).type == media_type


def test_common_pictures_are_enough_at_once_and_pages_with_their_title() -> None:
    assert media.enough(SAMPLES["jpeg.jpg"][2][:16])
    assert media.enough(SAMPLES["webp.webp"][2][:16])
    assert not media.enough(b"")
    assert not media.enough(b"<html><head>")
    assert media.enough(b"<html><head><title>Sign in</title>")
    assert not media.enough(b"RIFF")
    assert media.enough(b"\1" * media.HEAD_BYTES)
    assert media.enough(b"<html>" + b" " * media.PAGE_BYTES)


def test_random_bytes_are_hardly_ever_taken_for_media() -> None:
    chance = random.Random(1)  # noqa: S311
    heads = [first + chance.randbytes(2047) for first in (b"\xff", b"G", b"\0", b"\x0b", b"") for _ in range(4000)]
    heads = [head for head in heads if head[:2] != b"\xff\x0a"]  # all there is to a bare JPEG XL
    assert sum(media.sniff(head).kind == "media" for head in heads) <= 8


@pytest.mark.parametrize(
    ("head", "kind", "media_type"),
    [
        (b"", "empty", None),
        (b'{"error": "not found"}', "json", "application/json"),
        (b" [1, 2]", "json", "application/json"),
        (codecs.BOM_UTF8 + b"[]", "json", "application/json"),
        (b"[00:12.00] la la", "text", "text/plain"),
        (b"Not found\r\n", "text", "text/plain"),
        (b"BMW makes cars", "text", "text/plain"),
        (b"MAC address missing", "text", "text/plain"),
        (b"For free, or skip it", "text", "text/plain"),
        (b"P6 is a format", "text", "text/plain"),
        (b"G" * 2000, "text", "text/plain"),
        (b"fLaCs", "text", "text/plain"),
        ("ßüä".encode("latin-1"), "text", "text/plain"),
        (codecs.BOM_UTF16_LE + "plain".encode("utf-16-le"), "text", "text/plain"),
        (b"<3 you", "text", "text/plain"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "xml", "application/xml"),
        (b"<Error><Code>AccessDenied</Code></Error>", "xml", "application/xml"),
        (b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'>", "xml", "application/dash+xml"),
        (b"<?xml version='1.0'?><!-- " + b"x" * 9000, "xml", None),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n", "text", "application/vnd.apple.mpegurl"),
        (b"%PDF-1.7\n\xe2\xe3", "binary", "application/pdf"),
        (b"PK\x03\x04\x14\0", "binary", "application/zip"),
        (b"\x01\x02\x03", "binary", None),
        (b"\xff\xfb\x90\x64" + b"\xff" * 600, "text", "text/plain"),
    ],
)
def test_what_is_not_media_is_told_apart(head: bytes, kind: str, media_type: str | None) -> None:
    sniffed = media.sniff(head)
    assert (sniffed.kind, sniffed.type) == (kind, media_type)


JUNK = b"\x01\x02\x03\x04" * 100
TIFF = b"II*\0\x08\0\0\0" + REST


@pytest.mark.parametrize(
    ("head", "declared", "name_extension", "accept", "expected"),
    [
        # the bytes do not tell: the label does, unless its formats all have a signature
        (JUNK, "image/x-tga", None, MEDIA, ("image/x-tga", ".tga")),
        (JUNK, "audio/mpeg", None, MEDIA, ("audio/mpeg", ".mp3")),
        (JUNK, "image/x-unheard-of", None, MEDIA, ("image/x-unheard-of", None)),
        (JUNK, "image/jpeg", ".jpg", MEDIA, None),
        (JUNK, "image/jpeg", ".tga", MEDIA, None),
        (JUNK, "application/json", ".tga", MEDIA, None),
        # the label does not tell either: the name does, likewise
        (JUNK, None, ".TGA", MEDIA, ("image/x-tga", ".tga")),
        (JUNK, "application/octet-stream", ".crw", MEDIA, ("image/x-canon-crw", ".crw")),
        (JUNK, "text/plain; charset=x", ".mp3", MEDIA, ("audio/mpeg", ".mp3")),
        (JUNK, "binary/octet-stream", ".jpg", MEDIA, None),
        (JUNK, "application/octet-stream", ".exe", MEDIA, None),
        (JUNK, None, None, MEDIA, None),
        (JUNK, None, ".mp3", ("image/*",), None),
        # text that is media
        (b"hello", "image/x-unheard-of", None, MEDIA, ("image/x-unheard-of", None)),
        (b"0\nSECTION\n2\nHEADER\n", "image/vnd.dxf", ".dxf", MEDIA, ("image/vnd.dxf", None)),
        (b"hello", "image/jpeg", None, MEDIA, None),
        (b"hello", None, ".tga", MEDIA, None),
        (b'{"a": 1}', "image/x-unheard-of", None, MEDIA, None),
        (b"<a1>b</a1>", "image/x-unheard-of", None, MEDIA, None),
        (b"<?xml version='1.0'?><Error/>", "image/svg+xml", ".svg", MEDIA, None),
        (b"<?xml version='1.0'?><!-- " + b"x" * 9000, "image/svg+xml", None, MEDIA, ("image/svg+xml", ".svg")),
        (b"<?xml version='1.0'?><!-- " + b"x" * 9000, "text/xml", ".svg", MEDIA, ("image/svg+xml", ".svg")),
        (b"#EXTM3U\n", "audio/x-mpegurl", ".m3u8", MEDIA, None),
        (b"#EXTM3U\n", "text/plain", None, ("audio/mpegurl",), ("application/vnd.apple.mpegurl", ".m3u8")),
        # containers: the label or the name is more precise than the bytes
        (TIFF, "image/tiff", ".tif", MEDIA, ("image/tiff", ".tif")),
        (TIFF, "image/x-nikon-nef", None, MEDIA, ("image/x-nikon-nef", ".nef")),
        (TIFF, "application/octet-stream", ".dng", MEDIA, ("image/x-adobe-dng", ".dng")),
        (TIFF, "image/jpeg", None, MEDIA, ("image/tiff", ".tif")),
        (_ftyp(b"isom"), "audio/mp4", None, ("audio/*",), ("audio/mp4", ".m4a")),
        (_ftyp(b"isom"), None, ".m4a", ("audio/*",), ("audio/mp4", ".m4a")),
        (_ftyp(b"isom"), "video/mp4", ".m4a", ("audio/*",), None),
        (_ftyp(b"isom"), "audio/mp4", None, ("video/*",), ("video/mp4", ".mp4")),
        (_ftyp(b"M4A "), "video/mp4", None, ("video/*",), None),
        (SAMPLES["wma.wma"][2], "audio/x-ms-wma", None, ("audio/*",), ("audio/x-ms-wma", ".wma")),
        (gzip.compress(b"<svg/>"), "image/svg+xml", ".svgz", MEDIA, ("image/svg+xml", ".svgz")),
        (gzip.compress(b"<svg/>"), None, ".svg", MEDIA, ("image/svg+xml", ".svgz")),
        (gzip.compress(b"<?xml?>" + b" " * 9000), "image/svg+xml", None, MEDIA, ("image/svg+xml", ".svgz")),
        (gzip.compress(REST * 9), "image/svg+xml", ".svgz", MEDIA, None),
        (gzip.compress(PAGES[0]), "image/svg+xml", ".svg", MEDIA, None),
        (gzip.compress(b""), "image/svg+xml", ".svg", MEDIA, None),
        (b"\x1f\x8b\x08\0" + REST, "image/svg+xml", ".svgz", MEDIA, None),
        (b"\x1f\x8b\x08\0" + REST, "image/jpeg", None, MEDIA, None),
        # other patterns
        (SAMPLES["png.png"][2], "image/jpeg", ".jpg", ("image/x-png",), ("image/png", ".png")),
        (SAMPLES["png.png"][2], "image/jpeg", ".jpg", ("image/jpeg",), None),
        (SAMPLES["png.png"][2], "image/png", ".png", ("IMAGE/PNG",), ("image/png", ".png")),
        (PAGES[0], "image/jpeg", None, ("text/html",), ("text/html", ".html")),
        (PAGES[0], "application/xhtml+xml", None, ("application/xhtml+xml",), ("application/xhtml+xml", ".xhtml")),
        (PAGES[0], "text/css", None, ("text/css",), None),
        (b"a { }", "text/css", None, ("text/css",), ("text/css", ".css")),
        (b"hello", "application/octet-stream", None, ("text/*",), ("text/plain", ".txt")),
        (b"<rss version='2'/>", "application/rss+xml", None, ("application/*",), ("application/rss+xml", ".xml")),
        (b'{"a": 1}', "text/plain", None, ("application/json",), ("application/json", ".json")),
        (b"%PDF-1.7\n\0", "text/html", None, ("application/pdf",), ("application/pdf", ".pdf")),
        (JUNK, "application/pdf", None, ("application/pdf",), None),
        # anything
        (JUNK, "image/jpeg", None, ("*/*",), ("image/jpeg", ".jpg")),
        (JUNK, None, None, ("*/*",), (None, None)),
        (PAGES[0], "image/jpeg", None, ("image/*", "*/*"), ("text/html", ".html")),
        (b"", "image/jpeg", None, ("*/*",), ("image/jpeg", ".jpg")),
        (b"a { }", "text/css", None, ("*/*",), ("text/css", ".css")),
        (b"oops", "image/jpeg", None, ("*/*",), ("text/plain", ".txt")),
    ],
)  # fmt: skip
def test_bytes_label_and_name_decide_together(
    head: bytes,
    declared: str | None,
    name_extension: str | None,
    accept: tuple[str, ...],
    expected: tuple[str | None, str | None] | None,
) -> None:
    verdict = _judge(head, declared, name_extension, accept)
    if expected is None:
        assert verdict.refusal
    else:
        assert verdict == media.Verdict(*expected)


@pytest.mark.parametrize(
    ("head", "declared", "size", "accept", "sentence"),
    [
        (PAGES[0], "image/jpeg", 2100, MEDIA, 'server sent an HTML page, 2.1 kB, titled "Sign in"'),
        (b"<html>", "image/jpeg", None, MEDIA, "server sent an HTML page"),
        (b"", "image/jpeg", 0, MEDIA, "server sent an empty body"),
        (SAMPLES["tagged.mp3"][2], None, 2_100_000, ("image/*",),
         "server sent audio/mpeg, 2.1 MB, and --accept asks for image/*"),
        (b"Rate limit\nexceeded", "image/png", 19, MEDIA, "server sent plain text, 19 B: Rate limit exceeded"),
        (b'{"error":"gone"}', None, 16, MEDIA, 'server sent JSON, 16 B: {"error":"gone"}'),
        (b"<Error>no</Error>", None, None, MEDIA, "server sent an XML document: <Error>no</Error>"),
        (b"#EXTM3U\n", None, 8, MEDIA, "server sent an HLS playlist, 8 B: a list of media, not the media itself"),
        (JUNK, "image/jpeg", 400, MEDIA, "server says image/jpeg but the bytes are not, 400 B"),
        (b"%PDF-1.7\n\0", "image/jpeg", 9, MEDIA,
         "server says image/jpeg but the bytes are not: they are application/pdf, 9 B"),
        (b"%PDF-1.7\n\0", "application/pdf", 9, ("image/*", "video/*"),
         "server sent application/pdf, 9 B, and --accept asks for image/*, video/*"),
        (JUNK, "application/octet-stream", 400, ("image/*",),
         "server sent unknown binary data, 400 B, labelled application/octet-stream, and --accept asks for image/*"),
    ],
)  # fmt: skip
def test_a_refusal_names_what_came(
    head: bytes, declared: str | None, size: int | None, accept: tuple[str, ...], sentence: str
) -> None:
    assert _judge(head, declared, None, accept, size).refusal == sentence


@pytest.mark.parametrize(
    ("page", "title"),
    [
        (b"<title>Sign in</title>", "Sign in"),
        (b"<TITLE data-x='1'>\n  Sign &amp; \t in&hellip; </TITLE>", "Sign & in…"),
        (b"<title></title>", None),
        (b"<title> &#x1b;[31mred&#7; </title>", "[31mred"),
        (b"<title>half a titl", "half a titl"),
        (b"<title>a < b</title>", "a < b"),
        (b"<title>" + b"long " * 40, "long " * 11 + "long…"),
        ("<title>登录</title>".encode(), "登录"),
        ("<meta charset=gbk><title>登录</title>".encode("gbk"), "登录"),
        ("<meta charset=rot13><title>é</title>".encode(), "é"),
        ("<title>café</title>".encode("latin-1"), "café"),
        (codecs.BOM_UTF16_BE + "<title>登录</title>".encode("utf-16-be"), "登录"),
        ("<title>登录".encode()[:-1], "登"),
        (b"no page", None),
        (b" " * media.PAGE_BYTES + b"<title>late</title>", None),
    ],
)
def test_a_title_is_made_fit_for_one_line(page: bytes, title: str | None) -> None:
    assert media.title(page) == title


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("image/jpeg", ".jpg"),
        ("IMAGE/JPG; q=1", ".jpg"),
        ("audio/x-wav", ".wav"),
        ("video/x-matroska", ".mkv"),
        ("audio/mp3", ".mp3"),
        ("text/css", ".css"),
        ("application/octet-stream", None),
        ("image/x-unheard-of", None),
        ("rubbish", None),
    ],
)
def test_a_type_has_one_best_extension(name: str, extension: str | None) -> None:
    assert media.extension_for(name) == extension


def test_the_tables_agree_with_each_other() -> None:
    for name in RELIABLE | set(MAY_BE) | {name for names in MAY_BE.values() for name in names}:
        assert canonical(name) == name
    for extension in media.MEDIA_EXTENSIONS:
        assert extension == extension.lower()
        assert extension.startswith(".")
        media_type = type_for(extension)
        assert media_type is not None
        assert canonical(media_type) == media_type
        assert media.extension_for(media_type) in media.MEDIA_EXTENSIONS
    assert {".jpg", ".png", ".mp4", ".mp3", ".webm", ".svg"} <= media.MEDIA_EXTENSIONS
    assert not {".html", ".php", ".txt", ".pdf", ".m3u8"} & media.MEDIA_EXTENSIONS
