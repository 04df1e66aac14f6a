"""Signatures of pictures, videos and audio, as data, and the look-up among them.

Signatures are sorted by their first byte, so that the common formats cost one comparison. Formats whose
magic number is at another place, or that open with a box of any length, come after all others.
"""

from __future__ import annotations

from downloader import probes
from downloader.probes import Probe, Sniffed, found, unless_text

HEAD_BYTES = 2048
"""First bytes that decide: room for two frames of MPEG audio at its highest bit rate."""

_PLAIN = (
    (b"\xff\xd8\xff\xf7", "image/jls"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0\x10\0\0\0CR", "image/x-canon-cr2"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"II\xbc", "image/jxr"),
    (b"IIRO", "image/x-olympus-orf"),
    (b"IIRS", "image/x-olympus-orf"),
    (b"MMOR", "image/x-olympus-orf"),
    (b"IIU\0", "image/x-panasonic-rw2"),
    (b"II\x1a\0\0\0HEAPCCDR", "image/x-canon-crw"),
    (b"FUJIFILMCCD-RAW ", "image/x-fuji-raf"),
    (b"\0MRM", "image/x-minolta-mrw"),
    (b"FOVb", "image/x-sigma-x3f"),
    (b"8BPS\0", "image/vnd.adobe.photoshop"),
    (b"\xff\x0a", "image/jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\xffO\xffQ", "image/j2c"),
    (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjpx ", "image/jpx"),
    (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypmjp2", "video/mj2"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"qoif", "image/qoi"),
    (b"DDS \x7c\0\0\0", "image/vnd.ms-dds"),
    (b"v/1\x01", "image/x-exr"),
    (b"#?RADIANCE", "image/vnd.radiance"),
    (b"#?RGBE", "image/vnd.radiance"),
    (b"gimp xcf file\0", "image/x-xcf"),
    (b"gimp xcf v", "image/x-xcf"),
    (b"AT&TFORM", "image/vnd.djvu"),
    (b"FLIF", "image/flif"),
    (b"BPG\xfb", "image/bpg"),
    (b"icns", "image/icns"),
    (b"\xabKTX 11\xbb\r\n\x1a\n", "image/ktx"),
    (b"\xabKTX 20\xbb\r\n\x1a\n", "image/ktx2"),
    (b"SIMPLE  =", "image/fits"),
    (b"\xd7\xcd\xc6\x9a", "image/wmf"),
    (b"\xc5\xd0\xd3\xc6", "image/x-eps"),
    (b"Y\xa6j\x95", "image/x-cmu-raster"),
    (b"\x01\xda\x00\x01", "image/x-sgi"),
    (b"\x01\xda\x01\x01", "image/x-sgi"),
    (b"\x01\xda\x01\x02", "image/x-sgi"),
    (b"\x8aMNG\r\n\x1a\n", "image/x-mng"),
    (b"\x8bJNG\r\n\x1a\n", "image/x-jng"),
    (b"/* XPM */", "image/x-xpixmap"),
    (b"FLV\x01", "video/x-flv"),
    (b"\0\0\x01\xb3", "video/mpeg"),
    (b"\0\0\x01\xb0", "video/mpeg"),
    (b"\0\0\0\x01g", "video/h264"),
    (b"\0\0\0\x01\x09", "video/h264"),
    (b"\0\0\x01g", "video/h264"),
    (b"\0\0\0\x01@\x01", "video/h265"),
    (b"\0\0\0\x01F\x01", "video/h265"),
    (b"\x06\x0e+4\x02\x05\x01\x01\r\x01\x02\x01\x01\x02", "video/mxf"),
    (b".RMF", "video/x-realmedia"),
    (b"\x1f\x07\0", "video/x-dv"),
    (b"DKIF", "video/x-ivf"),
    (b"YUV4MPEG2 ", "video/x-y4m"),
    (b"\xb7\xd8\x00 7I\xda\x11\xa6N\x00\x07\xe9^\xad\x8d", "video/x-wtv"),
    (b"nut/multimedia container\0", "video/x-nut"),
    (b"NSVf", "video/x-nsv"),
    (b"NSVs", "video/x-nsv"),
    (b"BIK", "video/vnd.radgamettools.bink"),
    (b"KB2", "video/vnd.radgamettools.bink"),
    (b"SMK2", "video/vnd.radgamettools.smacker"),
    (b"SMK4", "video/vnd.radgamettools.smacker"),
    (b"ADIF", "audio/aac"),
    (b"\x7f\xfe\x80\x01", "audio/vnd.dts"),
    (b"\xfe\x7f\x01\x80", "audio/vnd.dts"),
    (b"\x1f\xff\xe8\x00", "audio/vnd.dts"),
    (b"\xff\x1f\x00\xe8", "audio/vnd.dts"),
    (b"DTSHDHDR", "audio/vnd.dts"),
    (b"fLaC", "audio/flac"),
    (b"riff.\x91\xcf\x11", "audio/x-w64"),
    (b".snd", "audio/basic"),
    (b"MThd\0\0\0\x06", "audio/midi"),
    (b"#!AMR\n", "audio/amr"),
    (b"#!AMR_MC1.0\n", "audio/amr"),
    (b"#!AMR-WB", "audio/amr-wb"),
    (b"#!iLBC", "audio/ilbc"),
    (b"#!SILK", "audio/silk"),
    (b"\x02#!SILK", "audio/silk"),
    (b"wvpk", "audio/wavpack"),
    (b"TTA1", "audio/x-tta"),
    (b"TTA2", "audio/x-tta"),
    (b"tBaK", "audio/x-tak"),
    (b"MPCK", "audio/x-musepack"),
    (b"MP+", "audio/x-musepack"),
    (b"ajkg", "audio/x-shorten"),
    (b"caff\0", "audio/x-caf"),
    (b"DSD \x1c\0\0\0", "audio/x-dsf"),
    (b"FRM8\0\0", "audio/x-dff"),
    (b".ra\xfd", "audio/x-realaudio"),
    (b"Creative Voice File\x1a", "audio/x-voc"),
    (b"Extended Module: ", "audio/x-xm"),
    (b"IMPM", "audio/x-it"),
    (b"SNES-SPC700 Sound File Data", "audio/x-spc"),
    (b"PSID\0", "audio/prs.sid"),
    (b"RSID\0", "audio/prs.sid"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"7z\xbc\xaf'\x1c", "application/x-7z-compressed"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"BZh", "application/x-bzip2"),
    (b"FWS", "application/vnd.adobe.flash.movie"),
    (b"CWS", "application/vnd.adobe.flash.movie"),
    (b"ZWS", "application/vnd.adobe.flash.movie"),
)
"""Magic numbers at the start of a file. Where one begins another, the longer comes first."""

_PROBED: tuple[tuple[bytes, Probe], ...] = (
    (b"RIFF", probes.riff),
    (b"RIFX", probes.riff),
    (b"RF64", probes.riff),
    (b"BW64", probes.riff),
    (b"FORM", probes.iff),
    (b"\x1aE\xdf\xa3", probes.ebml),
    (b"OggS\0", probes.ogg),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", probes.asf),
    (b"\0\0\x01\xba", probes.program_stream),
    (b"G", probes.transport_stream),
    (b"ID3", probes.id3),
    (b"\xff", probes.mpeg_audio),
    (b"\xff\xf0", probes.adts),
    (b"\xff\xf1", probes.adts),
    (b"\xff\xf8", probes.adts),
    (b"\xff\xf9", probes.adts),
    (b"\x0b\x77", probes.ac3),
    (b"MAC ", probes.monkeys_audio),
    (b"BM", probes.bmp),
    (b"\0\0\x01\0", probes.ico),
    (b"\0\0\x02\0", probes.ico),
    (b"\n", probes.pcx),
    (b"P", probes.pnm),
    (b"#define", probes.xbm),
)

_ELSEWHERE = (
    (4, b"\xf8\x72\x6f\xba", found("audio/vnd.dolby.mlp", ".thd")),
    (4, b"\xf8\x72\x6f\xbb", found("audio/vnd.dolby.mlp")),
    (40, b" EMF\0\0\1\0", found("image/emf")),
    (44, b"SCRM", found("audio/x-s3m")),
    (128, b"DICM", found("application/dicom")),
    (1080, b"M.K.", found("audio/x-mod")),
)

RELIABLE = frozenset({
    "application/gzip", "application/pdf", "application/vnd.rar", "application/x-7z-compressed",
    "application/zip", "audio/3gpp", "audio/aiff", "audio/amr", "audio/amr-wb", "audio/basic", "audio/flac",
    "audio/matroska", "audio/midi", "audio/mp4", "audio/ogg", "audio/wav", "audio/webm", "audio/x-caf",
    "audio/x-dsf", "audio/x-ms-wma", "audio/x-realaudio", "image/avif", "image/bmp", "image/gif",
    "image/heic", "image/heif", "image/j2c", "image/jp2", "image/jpeg", "image/jxl", "image/jxr",
    "image/png", "image/qoi", "image/svg+xml", "image/tiff", "image/vnd.adobe.photoshop", "image/vnd.djvu",
    "image/vnd.microsoft.icon", "image/vnd.ms-dds", "image/vnd.radiance", "image/webp", "image/x-exr",
    "image/x-xcf", "video/3gpp", "video/3gpp2", "video/matroska", "video/mj2", "video/mp4", "video/ogg",
    "video/quicktime", "video/webm", "video/x-flv", "video/x-ms-asf", "video/x-ms-wmv", "video/x-msvideo",
    "video/x-realmedia",
})  # fmt: skip
"""Types whose files all carry a signature known here, so that bytes without it prove a label wrong.

Missing on purpose: streams that may be joined in their middle (MPEG audio and video, AAC, AC-3), formats
without a signature (TGA, raw pictures of many cameras), and those that junk may precede (APE, MXF)."""

_ISO_MEDIA = frozenset({"video/mp4", "audio/mp4", "video/quicktime", "video/3gpp", "video/3gpp2", "audio/3gpp"})
_TAGGED = frozenset({"audio/aac", "audio/flac", "audio/ape", "audio/wavpack", "audio/x-tta", "audio/x-musepack"})

MAY_BE = {
    "video/mp4": _ISO_MEDIA | {"video/mj2"},
    "video/quicktime": _ISO_MEDIA,
    "video/3gpp": _ISO_MEDIA,
    "video/webm": frozenset({"audio/webm"}),
    "video/matroska": frozenset({"audio/matroska", "audio/webm", "video/webm"}),
    "video/x-ms-asf": frozenset({"video/x-ms-wmv", "audio/x-ms-wma"}),
    "video/x-realmedia": frozenset({"audio/x-realaudio"}),
    "audio/ogg": frozenset({"video/ogg"}),
    "audio/mpeg": _TAGGED,
    "image/heif": frozenset({"image/heic", "image/avif"}),
    "image/jpeg": frozenset({"image/mpo", "image/jps"}),
    "application/gzip": frozenset({"image/svg+xml"}),
    "application/zip": frozenset({"image/openraster"}),
}
"""What a container recognised as the key may hold more precisely, when the server or the name says so.

TIFF is not here: half the raw formats of cameras are TIFF files, see `media.judge`."""


def _is_doubtful(magic: bytes) -> bool:
    """Whether a magic number is so short and so much like letters that a text may start with it."""
    return len(magic) <= 4 and magic.isascii() and magic.decode("ascii").isprintable()


def _by_first_byte() -> tuple[tuple[tuple[bytes, Sniffed, Probe | None], ...], ...]:
    nothing = Sniffed(None, None, "binary")
    buckets: list[list[tuple[bytes, Sniffed, Probe | None]]] = [[] for _ in range(256)]
    for magic, name in _PLAIN:
        probe = unless_text(name) if _is_doubtful(magic) else None
        buckets[magic[0]].append((magic, found(name), probe))
    for magic, probe in _PROBED:
        buckets[magic[0]].append((magic, nothing, probe))
    return tuple(map(tuple, buckets))


_BUCKETS = _by_first_byte()


def identify(head: bytes) -> Sniffed | None:
    """Recognise a file by its first bytes; None where no signature fits. ``head`` must not be empty."""
    for magic, media, probe in _BUCKETS[head[0]]:
        if head.startswith(magic):
            if probe is None:
                return media
            if probed := probe(head):
                return probed
    if head[4:8] in probes.BOXES:
        return probes.boxes(head)
    if head[4:5] == b"G" and (probed := probes.transport_stream(head)):
        return probed
    for at, magic, media in _ELSEWHERE:
        if head.startswith(magic, at):
            return media
    return None
