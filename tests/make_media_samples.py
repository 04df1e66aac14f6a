"""Write ``media_samples.txt``: the first bytes of real files in many formats, made with ffmpeg and Pillow.

Run by hand where both are installed: ``python tests/make_media_samples.py``. Formats this ffmpeg cannot make
are left out and named. The test reads only the table.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
from typing import Any

from PIL import Image

VIDEO = ["-f", "lavfi", "-i", "testsrc2=size=352x288:rate=25:duration=1"]
AUDIO = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]
BOTH = [*VIDEO, *AUDIO]

FFMPEG: list[tuple[str, str, str, list[str]]] = [
    ("mp4.mp4", "video/mp4", ".mp4", [*BOTH, "-c:v", "libx264"]),
    ("faststart.mp4", "video/mp4", ".mp4", [*BOTH, "-c:v", "libx264", "-movflags", "+faststart"]),
    ("fragmented.mp4", "video/mp4", ".mp4", [*BOTH, "-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov"]),
    ("m4v.m4v", "video/mp4", ".m4v", [*BOTH, "-c:v", "libx264"]),
    ("hevc.mp4", "video/mp4", ".mp4", [*VIDEO, "-c:v", "libx265"]),
    ("m4a.m4a", "audio/mp4", ".m4a", AUDIO),
    ("ipod.m4b", "audio/mp4", ".m4a", [*AUDIO, "-f", "ipod"]),
    ("mov.mov", "video/quicktime", ".mov", [*BOTH, "-c:v", "libx264"]),
    ("3gp.3gp", "video/3gpp", ".3gp", [*VIDEO, "-c:v", "h263"]),
    ("3g2.3g2", "video/3gpp2", ".3g2", [*VIDEO, "-c:v", "h263"]),
    ("f4v.f4v", "video/mp4", ".f4v", [*BOTH, "-c:v", "libx264"]),
    ("webm.webm", "video/webm", ".webm", [*BOTH, "-c:v", "libvpx", "-c:a", "libopus"]),
    ("mkv.mkv", "video/matroska", ".mkv", [*BOTH, "-c:v", "libx264"]),
    ("avi.avi", "video/x-msvideo", ".avi", BOTH),
    ("flv.flv", "video/x-flv", ".flv", [*VIDEO, "-c:v", "flv"]),
    ("mpeg1.mpg", "video/mpeg", ".mpg", [*VIDEO, "-c:v", "mpeg1video"]),
    ("mpeg2.vob", "video/mpeg", ".mpg", [*VIDEO, "-c:v", "mpeg2video"]),
    ("elementary.m2v", "video/mpeg", ".mpg", [*VIDEO, "-c:v", "mpeg2video", "-f", "mpeg2video"]),
    ("mpeg4.m4v", "video/mpeg", ".mpg", [*VIDEO, "-c:v", "mpeg4", "-f", "m4v"]),
    ("ts.ts", "video/mp2t", ".ts", [*BOTH, "-c:v", "libx264"]),
    ("m2ts.m2ts", "video/mp2t", ".m2ts", [*BOTH, "-c:v", "libx264", "-mpegts_m2ts_mode", "1"]),
    ("h264.h264", "video/h264", ".h264", [*VIDEO, "-c:v", "libx264", "-f", "h264"]),
    ("hevc.h265", "video/h265", ".h265", [*VIDEO, "-c:v", "libx265", "-f", "hevc"]),
    ("wmv.wmv", "video/x-ms-wmv", ".wmv", [*BOTH]),
    ("wma.wma", "video/x-ms-asf", ".asf", AUDIO),
    ("ogv.ogv", "video/ogg", ".ogv", [*BOTH, "-c:v", "libtheora", "-c:a", "libvorbis"]),
    ("ogg.ogg", "audio/ogg", ".ogg", [*AUDIO, "-c:a", "libvorbis"]),
    ("opus.opus", "audio/ogg", ".opus", [*AUDIO, "-c:a", "libopus"]),
    ("spx.spx", "audio/ogg", ".spx", [*AUDIO, "-ar", "16000", "-c:a", "libspeex"]),
    ("oga.oga", "audio/ogg", ".oga", [*AUDIO, "-c:a", "flac"]),
    ("rm.rm", "video/x-realmedia", ".rm", [*VIDEO, "-c:v", "rv10"]),
    ("mxf.mxf", "video/mxf", ".mxf", [*VIDEO, "-c:v", "mpeg2video"]),
    ("dv.dv", "video/x-dv", ".dv", [*VIDEO, "-s", "720x576", "-pix_fmt", "yuv420p", "-c:v", "dvvideo"]),
    ("ivf.ivf", "video/x-ivf", ".ivf", [*VIDEO, "-c:v", "libvpx"]),
    ("y4m.y4m", "video/x-y4m", ".y4m", VIDEO),
    ("nut.nut", "video/x-nut", ".nut", VIDEO),
    ("amv.amv", "video/x-amv", ".amv", [*BOTH, "-ar", "22050", "-ac", "1", "-block_size", "882"]),
    ("tagged.mp3", "audio/mpeg", ".mp3", [*AUDIO, "-metadata", "title=A tone"]),
    ("plain.mp3", "audio/mpeg", ".mp3", [*AUDIO, "-id3v2_version", "0", "-write_xing", "0", "-b:a", "128k"]),
    (
        "largest.mp3",
        "audio/mpeg",
        ".mp3",
        [*AUDIO, "-id3v2_version", "0", "-write_xing", "0", "-ar", "32000", "-b:a", "320k"],
    ),
    (
        "slow.mp3",
        "audio/mpeg",
        ".mp3",
        [*AUDIO, "-id3v2_version", "0", "-write_xing", "0", "-ar", "8000", "-b:a", "16k"],
    ),
    ("layer2.mp2", "audio/mpeg", ".mp2", [*AUDIO, "-c:a", "mp2"]),
    ("aac.aac", "audio/aac", ".aac", AUDIO),
    ("ac3.ac3", "audio/ac3", ".ac3", AUDIO),
    ("eac3.eac3", "audio/eac3", ".eac3", AUDIO),
    ("dts.dts", "audio/vnd.dts", ".dts", [*AUDIO, "-c:a", "dca", "-strict", "-2"]),
    ("truehd.thd", "audio/vnd.dolby.mlp", ".thd", [*AUDIO, "-ar", "48000", "-ac", "2", "-strict", "-2"]),
    ("mlp.mlp", "audio/vnd.dolby.mlp", ".mlp", [*AUDIO, "-ar", "48000", "-ac", "2", "-strict", "-2"]),
    ("flac.flac", "audio/flac", ".flac", AUDIO),
    ("wav.wav", "audio/wav", ".wav", AUDIO),
    ("rf64.wav", "audio/wav", ".wav", [*AUDIO, "-rf64", "always"]),
    ("w64.w64", "audio/x-w64", ".w64", AUDIO),
    ("aiff.aiff", "audio/aiff", ".aiff", AUDIO),
    ("au.au", "audio/basic", ".au", AUDIO),
    ("caf.caf", "audio/x-caf", ".caf", AUDIO),
    ("voc.voc", "audio/x-voc", ".voc", AUDIO),
    ("wv.wv", "audio/wavpack", ".wv", AUDIO),
    ("tta.tta", "audio/x-tta", ".tta", AUDIO),
    ("jxl.jxl", "image/jxl", ".jxl", [*VIDEO, "-frames:v", "1", "-c:v", "libjxl"]),
    ("exr.exr", "image/x-exr", ".exr", [*VIDEO, "-frames:v", "1"]),
    ("jls.jls", "image/jls", ".jls", [*VIDEO, "-frames:v", "1", "-c:v", "jpegls"]),
    ("apng.apng", "image/png", ".png", VIDEO),
    ("pam.pam", "image/x-portable-arbitrarymap", ".pam", [*VIDEO, "-frames:v", "1"]),
    ("pfm.pfm", "image/x-portable-floatmap", ".pfm", [*VIDEO, "-frames:v", "1"]),
    ("xbm.xbm", "image/x-xbitmap", ".xbm", [*VIDEO, "-frames:v", "1"]),
    ("sun.ras", "image/x-cmu-raster", ".ras", [*VIDEO, "-frames:v", "1", "-c:v", "sunrast"]),
    ("animated.avif", "image/avif", ".avif", [*VIDEO, "-c:v", "libaom-av1", "-cpu-used", "8"]),
]

PILLOW: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("jpeg.jpg", "image/jpeg", ".jpg", "RGB", {}),
    ("progressive.jpg", "image/jpeg", ".jpg", "RGB", {"progressive": True}),
    ("png.png", "image/png", ".png", "RGB", {}),
    ("gif.gif", "image/gif", ".gif", "P", {}),
    ("webp.webp", "image/webp", ".webp", "RGB", {}),
    ("lossless.webp", "image/webp", ".webp", "RGBA", {"lossless": True}),
    ("avif.avif", "image/avif", ".avif", "RGB", {}),
    ("bmp.bmp", "image/bmp", ".bmp", "RGB", {}),
    ("little.tiff", "image/tiff", ".tif", "RGB", {}),
    ("big.tiff", "image/tiff", ".tif", "RGB", {"big_tiff": True}),
    ("ico.ico", "image/vnd.microsoft.icon", ".ico", "RGBA", {"sizes": [(16, 16), (32, 32)]}),
    ("jp2.jp2", "image/jp2", ".jp2", "RGB", {}),
    ("j2k.j2k", "image/j2c", ".j2k", "RGB", {}),
    ("qoi.qoi", "image/qoi", ".qoi", "RGB", {}),
    ("dds.dds", "image/vnd.ms-dds", ".dds", "RGBA", {}),
    ("icns.icns", "image/icns", ".icns", "RGBA", {}),
    ("pcx.pcx", "image/vnd.zbrush.pcx", ".pcx", "RGB", {}),
    ("ppm.ppm", "image/x-portable-pixmap", ".ppm", "RGB", {}),
    ("pgm.pgm", "image/x-portable-graymap", ".pgm", "L", {}),
    ("pbm.pbm", "image/x-portable-bitmap", ".pbm", "1", {}),
    ("sgi.sgi", "image/x-sgi", ".sgi", "RGB", {}),
]

ROOM = {".mp3": 1500, ".mp2": 1300, ".aac": 1000}
"""Untagged audio shows itself by its second frame."""


def main() -> None:
    """Make every file, keep its beginning."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name, media_type, extension, arguments in FFMPEG:
            path = os.path.join(folder, name)
            command = ["ffmpeg", "-v", "error", "-y", *arguments, "-shortest", path]
            if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
                print("left out:", name, file=sys.stderr)
                continue
            lines.append(line(path, media_type, extension))
        for name, media_type, extension, mode, options in PILLOW:
            path = os.path.join(folder, name)
            Image.effect_mandelbrot((128, 128), (-2, -1.25, 0.5, 1.25), 60).convert(mode).save(path, **options)
            lines.append(line(path, media_type, extension))
    target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "media_samples.txt")
    with open(target, "w", encoding="ascii") as file:
        file.writelines(lines)


def line(path: str, media_type: str, extension: str) -> str:
    """Name, type, extension and the first bytes in base 64, as one line."""
    with open(path, "rb") as file:
        head = file.read(ROOM.get(os.path.splitext(path)[1], 600))
    return f"{os.path.basename(path)} {media_type} {extension} {base64.b64encode(head).decode()}\n"


if __name__ == "__main__":
    main()
