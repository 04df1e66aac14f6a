"""Names that every common file system takes: sanitising, paths of several components, limits, comparison. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unicodedata import category, normalize
from urllib.parse import unquote_to_bytes

from downloader.errors import NameRefused
from downloader.hashes import digest
from downloader.mediatypes import MEDIA_EXTENSIONS
from downloader.text import EDGES, SPACES

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT = "download"
"""The name of last resort."""
LIMIT = 245
"""Bytes a component may have in UTF-8: the 255 of common file systems less those of ``.part.json``."""
SHORTEST = 48
"""Bytes a component may have in any folder: no more than what sets two names apart takes, and an extension."""
PATH_LIMIT = 3840
"""Bytes a whole name may have: Linux's PATH_MAX of 4096 less some room for the output folder."""
DEPTH_LIMIT = 64
"""Components a whole name may have."""
_FORBIDDEN = frozenset('<>:"|?*\\/')
# Control, format (bidirectional overrides, zero width), surrogate, line and paragraph separator.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Windows takes these for devices in every folder and whatever the extension.
_RESERVED = r"(?:con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³]|conin\$|conout\$) *(?:\.|\Z)"
_DEVICE = re.compile(_RESERVED, re.IGNORECASE)
_PART_SUFFIX = re.compile(r"\.(part(?:\.json)?)\Z", re.IGNORECASE)
PLAIN = re.compile(
    rf"(?!(?i:{_RESERVED}))(?![ .])[ !#-)+-.0-9;=@-Z\[\]-{{}}~]{{1,{LIMIT}}}"
    r"(?<![ .])(?<!(?i:\.part))(?<!(?i:\.part\.json))",
    re.ASCII,
)
"""An ASCII name that is safe already: most names, so it is decided by one match."""
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")
_SEPARATOR = re.compile(r"[/\\]")


def sanitise(name: str) -> str:
    """Turn any text into one path component that every common file system takes; a result stays as it is.

    NFC; separators, control and format characters, surrogates and ``<>:"|?*`` become ``_``; white space and
    dots go from both ends; a device name gets a ``_`` in front; at most `LIMIT` bytes, cut before the
    extension; nothing left becomes `DEFAULT`. A final ``.part`` or ``.part.json`` becomes ``_part`` or
    ``_part.json``, in any case of letters, so that no file is taken for another's partial one.
    """
    if PLAIN.fullmatch(name):
        return name
    name = name.strip(EDGES)
    if len(name) > 4 * LIMIT:  # normalising takes quadratic time where combining marks pile up
        name = name[: 3 * LIMIT] + name[-LIMIT // 4 :]
    name = "".join(
        "_" if c in _FORBIDDEN or category(c) in _FORBIDDEN_CATEGORIES else c for c in normalize("NFC", name)
    )
    if not name:
        return DEFAULT
    if _DEVICE.match(name):
        name = "_" + name
    return _PART_SUFFIX.sub(r"_\1", fit(*split(name)))


def relative(name: str) -> str:
    """Sanitise an explicit name, possibly with ``/`` for sub-folders, component by component.

    Empty and ``.`` components are dropped. Raises `NameRefused` for an absolute name (one that starts with a
    slash, a backslash or a drive, ``C:a``), for one with a ``..`` component, one that names nothing and one
    that is too long.
    """
    parts = components(name)
    if not parts:
        raise NameRefused(f"{shown(name)} names no file")
    return joined(parts)


def components(name: str) -> list[str]:
    """Split a name at its slashes and sanitise the parts; raises as `relative` does."""
    if _ABSOLUTE.match(name):
        raise NameRefused(f"{shown(name)} is absolute; a name is taken inside the output folder")
    if any(component.strip(SPACES) == ".." for component in _SEPARATOR.split(name)):
        raise NameRefused(f"{shown(name)} has a '..', which could leave the output folder")
    return cleaned(name.split("/"))


def cleaned(parts: Sequence[str]) -> list[str]:
    """Sanitise parts of a path and drop the empty ones."""
    return [sanitise(part) for part in parts if part.strip(EDGES)]


def joined(parts: Sequence[str]) -> str:
    """Join sanitised parts of a path; raises `NameRefused` where that is too long or too deep."""
    name = "/".join(parts)
    if len(parts) > DEPTH_LIMIT or len(name.encode()) > PATH_LIMIT:
        raise NameRefused(f"{shown(name)} is too long or too deep for a path")
    return name


def shown(name: str) -> str:
    """Quote a name for a message, cut to 80 characters."""
    return repr(name if len(name) <= 80 else name[:79] + "…")


def host_and_path(url: str) -> tuple[str, str]:
    """Split an absolute URL into authority and path, without the path's first slash."""
    authority, _, path = url.partition("#")[0].partition("?")[0].partition("://")[2].partition("/")
    return authority, path


def last_segment(url: str) -> str:
    """Return the last path segment that is not empty, percent-decoded, not yet sanitised."""
    return decoded(host_and_path(url)[1].rstrip("/").rpartition("/")[2]).strip(EDGES)


def decoded(segment: str) -> str:
    """Undo percent-encoding: UTF-8 where it is valid, else latin-1."""
    if "%" not in segment:
        return segment
    data = unquote_to_bytes(segment.encode("utf-8", "surrogatepass"))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def split(name: str) -> tuple[str, str]:
    """Split a name into stem and extension, the latter with its dot or empty.

    An extension is 1 to 10 ASCII letters and digits. Digits alone are none, as in ``photo.2024`` and ``v1.2``,
    but for the media's few (``.264``).
    """
    stem, _, ending = name.rpartition(".")
    if not stem or stem[-1] == "/" or len(ending) > 10 or not (ending.isalnum() and ending.isascii()):
        return name, ""
    extension = "." + ending
    if ending.isdigit() and extension not in MEDIA_EXTENSIONS:
        return name, ""
    return stem, extension


def fit(stem: str, tail: str, limit: int = LIMIT) -> str:
    """Join both within ``limit`` bytes, cutting the stem, and not between a letter and its marks."""
    room = limit - len(tail.encode())
    data = stem.encode()
    if len(data) > room:
        kept = data[:room].decode("utf-8", "ignore")
        end = len(kept)
        while end and category(stem[end]).startswith("M"):
            end -= 1
        stem = (kept[:end] or kept).rstrip(EDGES)
    return stem + tail


def shortened(name: str, limit: int) -> str:
    """Cut the components of a name that have more than ``limit`` bytes, before their extensions."""
    return "/".join([fit(*split(component), limit) for component in name.split("/")])


def url_hash(url: str) -> str:
    """Return 16 hexadecimal digits that stand for a URL, the same on every machine and at every run."""
    return digest(url, 8).hex()


def key(name: str) -> str:
    """Return what two names must not share, because some file systems fold case and normalisation."""
    if name.isascii():
        return name.lower()
    return normalize("NFC", normalize("NFD", name).casefold())
