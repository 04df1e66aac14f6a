"""What a file is called: choosing a name, making it safe, extensions, collisions.

A *name* is one path component, or several joined by ``/``, relative to the output folder. Every function here
but `sanitise`, `relative` and `from_url` expects a name that one of those three has made. All are pure.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING
from unicodedata import category, normalize
from urllib.parse import unquote_to_bytes

from downloader.disposition import filename
from downloader.errors import NameRefused, UsageError
from downloader.mediatypes import MEDIA_EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT = "download"
"""The name of last resort."""
LIMIT = 245
"""Bytes a component may have in UTF-8: the 255 of common file systems less those of ``.part.json``."""
PATH_LIMIT = 3840
"""Bytes a whole name may have: Linux's PATH_MAX of 4096 less some room for the output folder."""
DEPTH_LIMIT = 64
"""Components a whole name may have."""
FIELDS = ("name", "stem", "ext", "host", "path", "index", "hash")
"""What a template may use."""

_PAGE_EXTENSION = re.compile(r"\.(?:action|ashx|aspx?|axd|cfm|cgi|do|fcgi|html?|jspx?|php|phtml)")
# White space and dots: what no name may start or end with.
_EDGES = (
    " .\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)
_FORBIDDEN = frozenset('<>:"|?*\\/')
# Control, format (bidirectional overrides, zero width), surrogate, line and paragraph separator.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Windows takes these for devices in every folder and whatever the extension.
_RESERVED = r"(?:con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³]|conin\$|conout\$) *(?:\.|\Z)"
_DEVICE = re.compile(_RESERVED, re.IGNORECASE)
_PART_SUFFIX = re.compile(r"\.(part(?:\.json)?)\Z", re.IGNORECASE)
# An ASCII name that is safe already: most names, so it is decided by one match.
_PLAIN = re.compile(
    rf"(?!{_RESERVED})(?![ .])[ !#-)+-.0-9;=@-Z\[\]-{{}}~]{{1,{LIMIT}}}(?<![ .])(?<!\.part)(?<!\.part\.json)",
    re.IGNORECASE | re.ASCII,
)
_EXTENSION = re.compile(r"(?<=[^/])\.[A-Za-z0-9]{1,10}\Z")
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")
_SEPARATOR = re.compile(r"[/\\]")


def sanitise(name: str) -> str:
    """Turn any text into one path component that every common file system takes; a result stays as it is.

    NFC; separators, control and format characters, surrogates and ``<>:"|?*`` become ``_``; white space and
    dots go from both ends; a device name gets a ``_`` in front; at most `LIMIT` bytes, cut before the
    extension; nothing left becomes `DEFAULT`. A final ``.part`` or ``.part.json`` becomes ``_part`` or
    ``_part.json``, in any case of letters, so that no file is taken for another's partial one.
    """
    if _PLAIN.fullmatch(name):
        return name
    name = name.strip(_EDGES)
    if len(name) > 4 * LIMIT:  # normalising takes quadratic time where combining marks pile up
        name = name[: 3 * LIMIT] + name[-LIMIT // 4 :]
    name = "".join(
        "_" if c in _FORBIDDEN or category(c) in _FORBIDDEN_CATEGORIES else c for c in normalize("NFC", name)
    )
    if not name:
        return DEFAULT
    if _DEVICE.match(name):
        name = "_" + name
    return _PART_SUFFIX.sub(r"_\1", _fit(*split(name)))


def relative(name: str) -> str:
    """Sanitise an explicit name, possibly with ``/`` for sub-folders, component by component.

    Empty and ``.`` components are dropped. Raises `NameRefused` for an absolute name (one that starts with a
    slash, a backslash or a drive, ``C:a``), for one with a ``..`` component, one that names nothing and one
    that is too long.
    """
    components = _components(name)
    if not components:
        raise NameRefused(f"{_shown(name)} names no file")
    return _joined(components)


def _components(name: str) -> list[str]:
    if _ABSOLUTE.match(name):
        raise NameRefused(f"{_shown(name)} is absolute; a name is taken inside the output folder")
    if any(component.strip() == ".." for component in _SEPARATOR.split(name)):
        raise NameRefused(f"{_shown(name)} has a '..', which could leave the output folder")
    return _cleaned(name.split("/"))


def _cleaned(components: Sequence[str]) -> list[str]:
    return [sanitise(component) for component in components if component.strip(_EDGES)]


def _joined(components: Sequence[str]) -> str:
    name = "/".join(components)
    if len(components) > DEPTH_LIMIT or len(name.encode()) > PATH_LIMIT:
        raise NameRefused(f"{_shown(name)} is too long or too deep for a path")
    return name


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:79] + "…")


def from_url(url: str) -> str:
    """Return the last path segment of an absolute URL, percent-decoded and sanitised; else `DEFAULT`.

    Decoding comes first, so an encoded ``/`` cannot make a path. Query and fragment never count. Of a path
    that ends in ``/`` the last segment that is not empty is taken, as curl does.
    """
    return sanitise(_last_segment(url))


def _host_and_path(url: str) -> tuple[str, str]:
    authority, _, path = url.partition("#")[0].partition("?")[0].partition("://")[2].partition("/")
    return authority, path


def _last_segment(url: str) -> str:
    return _decoded(_host_and_path(url)[1].rstrip("/").rpartition("/")[2]).strip(_EDGES)


def _decoded(segment: str) -> str:
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
    match = _EXTENSION.search(name)
    if match is None or (match[0][1:].isdigit() and match[0] not in MEDIA_EXTENSIONS):
        return name, ""
    return name[: match.start()], match[0]


def with_extension(name: str, extension: str | None) -> str:
    """Add ``extension`` (with or without its dot) to a name that has none, within the limit.

    What `split` finds is an extension if it has up to five characters or is this very extension; else it is
    a word (``portrait.annamaria``). The extension of a page or program (``show.php``) does not count where
    media came: it names what answered, and nothing opens a picture called so.
    """
    if not extension:
        return name
    added = f".{extension.lstrip('.')}"
    has = split(name)[1].lower()
    if _is_real(has) or has == added.lower() or (_is_page(has) and added.lower() not in MEDIA_EXTENSIONS):
        return name
    folder, slash, last = name.rpartition("/")
    return folder + slash + _fit(last, added)


def _is_page(extension: str) -> bool:
    return _PAGE_EXTENSION.fullmatch(extension) is not None


def _is_real(extension: str) -> bool:
    return 2 <= len(extension) <= 6 and not _is_page(extension)


def collided(name: str, url: str, *, digits: int = 8) -> str:
    """Return ``stem~HEX.ext``, with ``digits`` (at most 16) digits of the URL's `url_hash`."""
    return _suffixed(name, f"~{url_hash(url)[:digits]}")


def numbered(name: str, number: int) -> str:
    """Return ``stem (number).ext``."""
    return _suffixed(name, f" ({number})")


def _suffixed(name: str, suffix: str) -> str:
    folder, slash, last = name.rpartition("/")
    stem, extension = split(last)
    return folder + slash + _fit(stem, suffix + extension)


def _fit(stem: str, tail: str) -> str:
    """Join both within `LIMIT` bytes, cutting the stem, and not between a letter and its marks."""
    room = LIMIT - len(tail.encode())
    data = stem.encode()
    if len(data) > room:
        kept = data[:room].decode("utf-8", "ignore")
        end = len(kept)
        while end and category(stem[end]).startswith("M"):
            end -= 1
        stem = (kept[:end] or kept).rstrip(_EDGES)
    return stem + tail


def url_hash(url: str) -> str:
    """Return 16 hexadecimal digits that stand for a URL, the same on every machine and at every run."""
    return blake2b(url.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def key(name: str) -> str:
    """Return what two names must not share, because some file systems fold case and normalisation."""
    if name.isascii():
        return name.lower()
    return normalize("NFC", normalize("NFD", name).casefold())


_TOKEN = re.compile(r"(\{\{|\}\})|\{([^{}]*)\}|([^{}]+)|[{}]")
_TEXT_SPEC = re.compile(r"(?:.?[<>^])?0?[0-9]*(?:\.[0-9]+)?s?", re.DOTALL)
_INTEGER_SPEC = re.compile(r"(?:.?[<>=^])?[-+ ]?#?0?[0-9]*[_,]?[dxXob]?", re.DOTALL)


class Template:
    """A file name template such as ``{host}/{index:06d}{ext}``, parsed once.

    ``name`` is what the file would be called without a template, ``stem`` and ``ext`` (with its dot, or
    empty) are its parts; ``host`` is the URL's, without a port; ``path`` the URL's folders and file name, so
    that ``{host}/{path}`` mirrors a site; ``index`` the item's number in the run; ``hash`` is `url_hash`.
    Format specifications are Python's for text and, for ``index``, integers; ``{{`` and ``}}`` are braces.
    Raises `UsageError` for anything else, and for a template that names no file inside the output folder.
    """

    def __init__(self, text: str) -> None:
        self._pieces = [_piece(token) for token in _TOKEN.finditer(text)]
        fields = {field for field, _ in self._pieces if field}
        self.needs_response = not fields.isdisjoint({"name", "stem", "ext"})
        """Whether the name depends on what only the response tells: ``name``, ``stem`` or ``ext``."""
        try:
            components = _components("".join("x" if field else literal for field, literal in self._pieces))
        except NameRefused as error:
            raise UsageError(f"--name: {error}") from error
        if not components or not text.rpartition("/")[2].strip(_EDGES):
            raise UsageError(f"--name: {_shown(text)} names no file; {{host}}/{{name}} would")

    def render(self, fields: Mapping[str, str | int]) -> str:
        """Return the name these `FIELDS` make; ``/`` comes only from the template's text and from ``path``.

        Each component is sanitised, empty ones are dropped; a last one that is empty becomes `DEFAULT`.
        Raises `NameRefused` for a name that is too long.
        """
        text = "".join(_rendered(field, spec, fields) if field else spec for field, spec in self._pieces)
        folders, _, last = text.rpartition("/")
        return _joined([*_cleaned(folders.split("/")), sanitise(last)])


def _piece(token: re.Match[str]) -> tuple[str, str]:
    """Parse one token: a field's name and format specification, or no name and literal text."""
    brace, replacement, literal = token.groups()
    place = f"at position {token.start() + 1}"
    if replacement is None:
        if brace is None and literal is None:
            raise UsageError(f"--name: {token[0]} {place} has no partner; {token[0] * 2} is a plain brace")
        return "", literal or brace[0]
    field, _, spec = replacement.partition(":")
    if field not in FIELDS:
        valid = " ".join(f"{{{name}}}" for name in FIELDS)
        raise UsageError(f"--name: {{{replacement}}} {place} is no field; there are {valid}")
    if not _is_format(spec, of_integer=field == "index"):
        example = "06d" if field == "index" else ".20"
        raise UsageError(f"--name: {spec!r} {place} is no format for {field}, as {example!r} is")
    return field, spec


def _is_format(spec: str, *, of_integer: bool) -> bool:
    # Widths are judged before the trial: formatting with a huge one would fill the memory.
    if any(len(digits) > 3 or int(digits) > LIMIT for digits in re.findall("[0-9]+", spec)):
        return False
    if not (_INTEGER_SPEC if of_integer else _TEXT_SPEC).fullmatch(spec):
        return False
    try:
        format(1 if of_integer else "", spec)
    except ValueError:
        return False
    return True


def _rendered(field: str, spec: str, fields: Mapping[str, str | int]) -> str:
    text = format(fields[field], spec)
    return text if field == "path" else text.replace("/", "_")


def _fields(name: str, url: str, index: int) -> dict[str, str | int]:
    authority, path = _host_and_path(url)
    host = authority.rpartition("@")[2].lower()
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    stem, extension = split(name)
    segments = [_decoded(segment).replace("/", "_") for segment in path.split("/")]
    segments[-1] = segments[-1].strip(_EDGES) or DEFAULT
    return {
        "name": name,
        "stem": stem,
        "ext": extension,
        "host": host,
        "path": "/".join(segments),
        "index": index,
        "hash": url_hash(url),
    }


def choose(
    *,
    explicit: str | None,
    template: Template | None,
    url: str,
    index: int,
    disposition: str | None = None,
    extension: str | None = None,
    final_url: str | None = None,
) -> str:
    """Choose a file's name: ``explicit`` > ``template`` > ``disposition`` > the URL's > `DEFAULT`.

    ``explicit`` is the list's NAME, kept as given but sanitised; one that ends in ``/`` is a folder for the
    name chosen otherwise. ``url`` is the item's own, so that a name does not change with a redirect's target;
    ``final_url``, the one that answered, counts only where ``url`` has no path. ``disposition`` is the
    Content-Disposition field value, ``extension`` the media type's, added by `with_extension` to any name but
    an explicit one. Raises `NameRefused` as `relative` does.
    """
    folders: list[str] = []
    if explicit:
        if not explicit.endswith("/"):
            return relative(explicit)
        folders = _components(explicit)
    proposed = filename(disposition) if disposition else None
    name = sanitise(proposed or _last_segment(url) or (_last_segment(final_url) if final_url else ""))
    name = with_extension(name, extension)
    if template is not None:
        name = with_extension(template.render(_fields(name, url, index)), extension)
    return _joined([*folders, *name.split("/")]) if folders else name


def known_beforehand(*, explicit: str | None, template: Template | None, url: str, index: int) -> str | None:
    """Return the name `choose` will give if it is certain enough to look for the file before any request.

    It is with an explicit name; with a template that needs no response and makes a name with an extension
    (else the media type adds one); and where the URL itself ends like a media file.
    """
    if explicit and not explicit.endswith("/"):
        return relative(explicit)
    if template is None or template.needs_response:
        _, extension = split(from_url(url))
        if extension.lower() not in MEDIA_EXTENSIONS:
            return None
    name = choose(explicit=explicit, template=template, url=url, index=index)
    return name if _is_real(split(name)[1].lower()) else None
