"""What a file is called: choosing a name, extensions, collisions. Pure.

A *name* is one path component, or several joined by ``/``, relative to the output folder. Every function here but
`sanitise`, `relative` and `from_url` expects a name that one of those three has made.
"""

from __future__ import annotations

import re

from downloader.disposition import filename
from downloader.mediatypes import MEDIA_EXTENSIONS
from downloader.safenames import (
    DEFAULT,
    DEPTH_LIMIT,
    LIMIT,
    PATH_LIMIT,
    PLAIN,
    SHORTEST,
    components,
    fit,
    joined,
    key,
    last_segment,
    relative,
    sanitise,
    shortened,
    split,
    url_hash,
)
from downloader.templates import FIELDS, Template, fields

__all__ = [
    "DEFAULT",
    "DEPTH_LIMIT",
    "FIELDS",
    "LIMIT",
    "PATH_LIMIT",
    "SHORTEST",
    "Template",
    "choose",
    "collided",
    "from_url",
    "key",
    "known_beforehand",
    "numbered",
    "relative",
    "sanitise",
    "shortened",
    "split",
    "url_hash",
    "with_extension",
]

_PAGE_EXTENSION = re.compile(r"\.(?:action|ashx|aspx?|axd|cfm|cgi|do|fcgi|html?|jspx?|php|phtml)")


def from_url(url: str) -> str:
    """Return the last path segment of an absolute URL, percent-decoded and sanitised; else `DEFAULT`.

    Decoding comes first, so an encoded ``/`` cannot make a path. Query and fragment never count. Of a path
    that ends in ``/`` the last segment that is not empty is taken, as curl does.
    """
    at = url.rfind("/") + 1
    name = url[at:]
    if at > len("https://") and PLAIN.fullmatch(name) and not ("%" in name or "?" in url or "#" in url):  # most URLs
        return name
    return sanitise(last_segment(url))


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
    if has == added.lower() or _is_real(has) or (_is_page(has) and added.lower() not in MEDIA_EXTENSIONS):
        return name
    folder, slash, last = name.rpartition("/")
    return folder + slash + fit(last, added)


def _is_page(extension: str) -> bool:
    return _PAGE_EXTENSION.fullmatch(extension) is not None


def _is_real(extension: str) -> bool:
    return 2 <= len(extension) <= 6 and not _is_page(extension)


_KEPT = frozenset(filter(_is_real, MEDIA_EXTENSIONS))


def collided(name: str, url: str, *, digits: int = 8, limit: int = LIMIT) -> str:
    """Return ``stem~HEX.ext``, with ``digits`` (at most 16) digits of the URL's `url_hash`, in ``limit`` bytes."""
    return _suffixed(name, f"~{url_hash(url)[:digits]}", limit)


def numbered(name: str, number: int, *, limit: int = LIMIT) -> str:
    """Return ``stem (number).ext``, in ``limit`` bytes."""
    return _suffixed(name, f" ({number})", limit)


def _suffixed(name: str, suffix: str, limit: int) -> str:
    folder, slash, last = name.rpartition("/")
    stem, extension = split(last)
    return folder + slash + fit(stem, suffix + extension, limit)


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
        folders = components(explicit)
    proposed = filename(disposition) if disposition else None
    name = sanitise(proposed or last_segment(url) or (last_segment(final_url) if final_url else ""))
    name = with_extension(name, extension)
    if template is not None:
        name = with_extension(template.render(fields(name, url, index)), extension)
    return joined([*folders, *name.split("/")]) if folders else name


def known_beforehand(*, explicit: str | None, template: Template | None, url: str, index: int) -> str | None:
    """Return the name `choose` will give if it is certain enough to look for the file before any request.

    It is with an explicit name; with a template that needs no response and makes a name with an extension
    (else the media type adds one); and where the URL itself ends like a media file.
    """
    if explicit and not explicit.endswith("/"):
        return relative(explicit)
    if template is None or template.needs_response:
        name = from_url(url)
        extension = split(name)[1].lower()
        if extension not in MEDIA_EXTENSIONS:
            return None
        if template is None and not explicit:  # nothing that `choose` would add
            return name if extension in _KEPT else None
    name = choose(explicit=explicit, template=template, url=url, index=index)
    return name if _is_real(split(name)[1].lower()) else None
