"""Names of media types: one spelling for each, what patterns they match, which file extensions they go by.

Media types are compared as RFC 9110 section 8.3.1 says: without regard to case, parameters left aside.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from downloader.grammar import media_type

if TYPE_CHECKING:
    import mimetypes

_EXTENSIONS = {
    "image/jpeg": ".jpg .jpeg .jpe .jfif .pjpeg .jif",
    "image/png": ".png .apng",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/avif": ".avif .avifs",
    "image/heic": ".heic .heics .hif",
    "image/heif": ".heif .heifs",
    "image/bmp": ".bmp .dib",
    "image/tiff": ".tif .tiff",
    "image/vnd.microsoft.icon": ".ico .cur",
    "image/svg+xml": ".svg .svgz",
    "image/jxl": ".jxl",
    "image/jp2": ".jp2",
    "image/jpx": ".jpx .jpf",
    "image/jpm": ".jpm",
    "image/jph": ".jph",
    "image/j2c": ".j2k .j2c .jpc",
    "image/jls": ".jls",
    "image/jxr": ".jxr .hdp .wdp",
    "image/vnd.adobe.photoshop": ".psd .psb",
    "image/vnd.djvu": ".djvu .djv",
    "image/vnd.ms-dds": ".dds",
    "image/vnd.radiance": ".hdr .rgbe",
    "image/x-exr": ".exr",
    "image/x-xcf": ".xcf",
    "image/qoi": ".qoi",
    "image/flif": ".flif",
    "image/bpg": ".bpg",
    "image/icns": ".icns",
    "image/ktx": ".ktx",
    "image/ktx2": ".ktx2",
    "image/fits": ".fits .fit .fts",
    "image/wmf": ".wmf",
    "image/emf": ".emf",
    "image/vnd.zbrush.pcx": ".pcx",
    "image/x-tga": ".tga",
    "image/x-sgi": ".sgi",
    "image/x-cmu-raster": ".ras",
    "image/x-ilbm": ".iff .ilbm .lbm",
    "image/x-eps": ".eps .epsf",
    "image/x-portable-anymap": ".pnm",
    "image/x-portable-bitmap": ".pbm",
    "image/x-portable-graymap": ".pgm",
    "image/x-portable-pixmap": ".ppm",
    "image/x-portable-arbitrarymap": ".pam",
    "image/x-portable-floatmap": ".pfm",
    "image/x-xbitmap": ".xbm",
    "image/x-xpixmap": ".xpm",
    "image/x-mng": ".mng",
    "image/x-jng": ".jng",
    "image/mpo": ".mpo",
    "image/openraster": ".ora",
    "image/x-adobe-dng": ".dng",
    "image/x-canon-cr2": ".cr2",
    "image/x-canon-cr3": ".cr3",
    "image/x-canon-crw": ".crw",
    "image/x-epson-erf": ".erf",
    "image/x-fuji-raf": ".raf",
    "image/x-hasselblad-3fr": ".3fr",
    "image/x-kodak-dcr": ".dcr",
    "image/x-minolta-mrw": ".mrw",
    "image/x-nikon-nef": ".nef",
    "image/x-nikon-nrw": ".nrw",
    "image/x-olympus-orf": ".orf",
    "image/x-panasonic-rw2": ".rw2",
    "image/x-pentax-pef": ".pef",
    "image/x-phaseone-iiq": ".iiq",
    "image/x-samsung-srw": ".srw",
    "image/x-sigma-x3f": ".x3f",
    "image/x-sony-arw": ".arw",
    "video/mp4": ".mp4 .m4v .mp4v .f4v .m4s .cmfv",
    "video/quicktime": ".mov .qt",
    "video/3gpp": ".3gp .3gpp",
    "video/3gpp2": ".3g2 .3gpp2",
    "video/webm": ".webm",
    "video/matroska": ".mkv .mk3d",
    "video/x-msvideo": ".avi .divx",
    "video/x-flv": ".flv",
    "video/mpeg": ".mpg .mpeg .mpe .vob .m1v .m2v .mpv",
    "video/mp2t": ".ts .m2ts .mts .m2t",
    "video/x-ms-asf": ".asf",
    "video/x-ms-wmv": ".wmv",
    "video/ogg": ".ogv .ogm",
    "video/mj2": ".mj2 .mjp2",
    "video/mxf": ".mxf",
    "video/h264": ".h264 .264",
    "video/h265": ".h265 .265 .hevc",
    "video/x-realmedia": ".rm .rmvb",
    "video/x-dv": ".dv",
    "video/x-ivf": ".ivf",
    "video/x-y4m": ".y4m",
    "video/x-wtv": ".wtv",
    "video/x-nut": ".nut",
    "video/x-nsv": ".nsv",
    "video/x-flic": ".flc .fli",
    "video/x-amv": ".amv",
    "video/vnd.radgamettools.bink": ".bik .bk2",
    "video/vnd.radgamettools.smacker": ".smk",
    "audio/mpeg": ".mp3 .mp2 .mp1 .mpga .m2a",
    "audio/mp4": ".m4a .m4b .m4p .m4r .f4a .cmfa",
    "audio/3gpp": ".3ga",
    "audio/aac": ".aac .adts",
    "audio/ac3": ".ac3",
    "audio/eac3": ".eac3 .ec3",
    "audio/vnd.dts": ".dts",
    "audio/vnd.dolby.mlp": ".mlp .thd",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg .oga .opus .spx",
    "audio/webm": ".weba",
    "audio/matroska": ".mka",
    "audio/wav": ".wav .wave .rf64 .bwf",
    "audio/x-w64": ".w64",
    "audio/aiff": ".aiff .aif .aifc",
    "audio/basic": ".au .snd",
    "audio/midi": ".mid .midi .kar .rmi",
    "audio/amr": ".amr",
    "audio/amr-wb": ".awb",
    "audio/ape": ".ape",
    "audio/wavpack": ".wv",
    "audio/x-tta": ".tta",
    "audio/x-tak": ".tak",
    "audio/x-musepack": ".mpc .mpp",
    "audio/x-shorten": ".shn",
    "audio/x-caf": ".caf",
    "audio/x-dsf": ".dsf",
    "audio/x-dff": ".dff",
    "audio/x-ms-wma": ".wma",
    "audio/x-realaudio": ".ra",
    "audio/x-voc": ".voc",
    "audio/x-8svx": ".8svx",
    "audio/x-mod": ".mod",
    "audio/x-xm": ".xm",
    "audio/x-it": ".it",
    "audio/x-s3m": ".s3m",
    "audio/x-spc": ".spc",
    "audio/prs.sid": ".sid",
    "audio/qcelp": ".qcp",
    "audio/silk": ".silk .sil",
    "audio/ilbc": ".lbc",
    "text/html": ".html .htm",
    "text/plain": ".txt",
    "application/json": ".json",
    "application/xml": ".xml",
    "application/xhtml+xml": ".xhtml",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/gzip": ".gz",
    "application/vnd.rar": ".rar",
    "application/x-7z-compressed": ".7z",
    "application/x-xz": ".xz",
    "application/zstd": ".zst",
    "application/x-bzip2": ".bz2",
    "application/postscript": ".ps",
    "application/dicom": ".dcm",
    "application/vnd.adobe.flash.movie": ".swf",
    "application/vnd.apple.mpegurl": ".m3u8 .m3u",
    "application/dash+xml": ".mpd",
    "application/x-scpls": ".pls",
}

_ALIASES = {
    "image/jpeg": "image/jpg image/pjpeg image/jpe image/jfif image/x-jpeg image/x-jpg image/x-citrix-jpeg",
    "image/png": "image/x-png image/apng image/vnd.mozilla.apng image/x-citrix-png image/x-apng",
    "image/gif": "image/x-gif",
    "image/webp": "image/x-webp",
    "image/avif": "image/avif-sequence image/x-avif",
    "image/heic": "image/heic-sequence image/x-heic",
    "image/heif": "image/heif-sequence image/x-heif",
    "image/bmp": "image/x-bmp image/x-ms-bmp image/ms-bmp image/x-windows-bmp image/x-bitmap",
    "image/tiff": "image/tif image/x-tiff image/x-tif image/tiff-fx",
    "image/vnd.microsoft.icon": "image/x-icon image/ico image/icon image/x-ico image/x-win-bitmap",
    "image/svg+xml": "image/svg image/svg-xml",
    "image/jp2": "image/jpeg2000 image/jpeg2000-image image/x-jpeg2000-image image/x-jp2",
    "image/j2c": "image/j2k image/x-jp2-codestream",
    "image/jxr": "image/vnd.ms-photo",
    "image/vnd.adobe.photoshop": "image/x-photoshop image/psd image/x-psd application/x-photoshop",
    "image/vnd.djvu": "image/djvu image/x-djvu image/x.djvu",
    "image/vnd.ms-dds": "image/x-dds image/dds",
    "image/vnd.radiance": "image/x-hdr",
    "image/x-exr": "image/aces image/exr",
    "image/qoi": "image/x-qoi",
    "image/icns": "image/x-icns",
    "image/fits": "application/fits",
    "image/wmf": "image/x-wmf application/x-msmetafile",
    "image/emf": "image/x-emf",
    "image/vnd.zbrush.pcx": "image/x-pcx image/pcx",
    "image/x-tga": "image/x-targa image/tga image/targa",
    "image/x-eps": "image/eps application/eps application/x-eps",
    "image/x-xbitmap": "image/x-xbm image/xbm",
    "image/x-xpixmap": "image/xpm image/x-xpm",
    "image/x-adobe-dng": "image/dng",
    "video/mp4": "application/mp4 video/x-m4v video/m4v video/mp4v-es video/iso.segment video/x-mp4 video/x-f4v",
    "video/quicktime": "video/mov video/x-quicktime application/quicktime",
    "video/3gpp": "video/3gp video/x-3gpp",
    "video/3gpp2": "video/3g2",
    "video/webm": "video/x-webm",
    "video/matroska": "video/x-matroska video/mkv video/x-mkv application/x-matroska video/matroska-3d",
    "video/x-msvideo": "video/avi video/msvideo video/vnd.avi video/x-avi video/divx",
    "video/x-flv": "video/flv application/x-flv",
    "video/mpeg": "video/mpg video/x-mpeg video/mp1s video/mp2p video/mpeg2 video/x-mpeg2 video/dvd",
    "video/mp2t": "video/mpegts video/m2ts video/vnd.dlna.mpeg-tts",
    "video/x-ms-asf": "application/vnd.ms-asf video/asf video/x-ms-asf-plugin",
    "video/x-ms-wmv": "video/wmv",
    "video/ogg": "video/x-ogg video/theora video/x-theora video/x-ogm",
    "video/mxf": "application/mxf",
    "video/x-realmedia": "application/vnd.rn-realmedia application/vnd.rn-realmedia-vbr video/vnd.rn-realvideo",
    "video/x-dv": "video/dv",
    "audio/mpeg": "audio/mp3 audio/x-mp3 audio/x-mpeg audio/mpeg3 audio/x-mpeg-3 audio/mpg audio/mpa "
    "audio/mp2 audio/x-mp2",
    "audio/mp4": "audio/x-m4a audio/m4a audio/m4b audio/x-m4b audio/mp4a-latm audio/x-mp4",
    "audio/aac": "audio/aacp audio/x-aac audio/x-hx-aac-adts audio/vnd.dlna.adts",
    "audio/ac3": "audio/x-ac3 audio/vnd.dolby.dd-raw audio/a52",
    "audio/eac3": "audio/x-eac3",
    "audio/vnd.dts": "audio/x-dts audio/dts audio/vnd.dts.hd",
    "audio/flac": "audio/x-flac application/flac",
    "audio/ogg": "audio/x-ogg application/ogg application/x-ogg audio/opus audio/vorbis audio/x-vorbis "
    "audio/x-vorbis+ogg audio/x-opus+ogg audio/x-speex+ogg audio/speex audio/x-speex",
    "audio/webm": "audio/x-webm",
    "audio/matroska": "audio/x-matroska",
    "audio/wav": "audio/wave audio/x-wav audio/vnd.wave audio/x-pn-wav",
    "audio/aiff": "audio/x-aiff sound/aiff audio/aifc audio/x-aifc",
    "audio/basic": "audio/au audio/x-au audio/x-basic",
    "audio/midi": "audio/mid audio/x-midi audio/sp-midi application/x-midi application/midi",
    "audio/amr": "audio/amr-nb",
    "audio/ape": "audio/x-ape audio/x-monkeys-audio application/x-ape",
    "audio/wavpack": "audio/x-wavpack",
    "audio/x-musepack": "audio/musepack",
    "audio/x-realaudio": "audio/vnd.rn-realaudio audio/x-pn-realaudio",
    "audio/x-mod": "audio/mod",
    "text/html": "text/x-html",
    "application/json": "text/json text/x-json application/x-json",
    "application/xml": "text/xml",
    "application/zip": "application/x-zip-compressed application/x-zip",
    "application/gzip": "application/x-gzip",
    "application/vnd.rar": "application/x-rar-compressed application/x-rar",
    "application/vnd.adobe.flash.movie": "application/x-shockwave-flash",
    "application/vnd.apple.mpegurl": "application/x-mpegurl audio/mpegurl audio/x-mpegurl video/mpegurl "
    "video/x-mpegurl application/mpegurl",
    "application/dash+xml": "video/vnd.mpeg.dash.mpd",
    "application/x-scpls": "audio/x-scpls audio/scpls application/pls+xml",
}

GENERIC = frozenset({
    "*/*",
    "application/binary",
    "application/download",
    "application/force-download",
    "application/octet-stream",
    "application/unknown",
    "application/x-binary",
    "application/x-download",
    "application/x-forcedownload",
    "application/x-octet-stream",
    "binary/octet-stream",
    "content/unknown",
    "text/plain",
    "unknown/unknown",
})  # fmt: skip
"""What servers say when they do not know; ``text/plain`` was the default of old Apaches for any file."""

_BEST = {name: extensions.split()[0] for name, extensions in _EXTENSIONS.items()}
_CANONICAL = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
_BY_EXTENSION = {
    extension: name for name, extensions in reversed(_EXTENSIONS.items()) for extension in extensions.split()
}


def is_media(name: str | None) -> bool:
    """Whether ``name`` is a picture, a video or audio."""
    return name is not None and name.startswith(("image/", "video/", "audio/"))


MEDIA_EXTENSIONS = frozenset(
    extension for name in _EXTENSIONS if is_media(name) for extension in _EXTENSIONS[name].split()
)
"""Extensions of picture, video and audio files, lower case, with their dot."""


@lru_cache(maxsize=128)
def canonical(declared: str | None) -> str | None:
    """Bring a Content-Type field value to its plain type, known aliases resolved; None for what is none."""
    name = media_type(declared)
    return None if name is None else _CANONICAL.get(name, name)


@lru_cache(maxsize=1024)
def matches(name: str | None, accept: tuple[str, ...]) -> bool:
    """Whether one of the patterns (``image/*``, ``audio/flac``, ``*/*``) takes canonical ``name``."""
    if "*/*" in accept:
        return True
    if name is None:
        return False
    family = name.partition("/")[0] + "/*"
    return any(pattern.lower() == family or canonical(pattern) == name for pattern in accept)


@lru_cache(maxsize=1024)
def extension_for(name: str) -> str | None:
    """Return the extension, with its dot, that files of a media type go by; None where nobody knows one.

    Never depends on the tables of the system it runs on.
    """
    plain = canonical(name)
    if plain is None or plain in GENERIC - {"text/plain"}:
        return None
    return _BEST.get(plain) or _standard_types().guess_extension(plain)


@lru_cache(maxsize=1024)
def type_for(extension: str | None) -> str | None:
    """Return the media type of files with this extension, in any case; None where we know none."""
    return _BY_EXTENSION.get(extension.lower()) if extension else None


@lru_cache(maxsize=1)
def _standard_types() -> mimetypes.MimeTypes:
    import mimetypes  # rarely needed

    return mimetypes.MimeTypes(filenames=())
