"""Templates for file names: ``{index:06d}{ext}``, ``{host}/{path}``. Parsed once, rendered per item. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from downloader.errors import NameRefused, UsageError
from downloader.safenames import (
    DEFAULT,
    LIMIT,
    cleaned,
    components,
    decoded,
    host_and_path,
    joined,
    sanitise,
    shown,
    split,
    url_hash,
)
from downloader.text import EDGES

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = ("name", "stem", "ext", "host", "path", "index", "hash")
"""What a template may use."""

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
            parts = components("".join("x" if field else literal for field, literal in self._pieces))
        except NameRefused as error:
            raise UsageError(f"--name: {error}") from error
        if not parts or not text.rpartition("/")[2].strip(EDGES):
            raise UsageError(f"--name: {shown(text)} names no file; {{host}}/{{name}} would")

    def render(self, fields: Mapping[str, str | int]) -> str:
        """Return the name these `FIELDS` make; ``/`` comes only from the template's text and from ``path``.

        Each component is sanitised, empty ones are dropped; a last one that is empty becomes `DEFAULT`.
        Raises `NameRefused` for a name that is too long.
        """
        text = "".join(_rendered(field, spec, fields) if field else spec for field, spec in self._pieces)
        folders, _, last = text.rpartition("/")
        return joined([*cleaned(folders.split("/")), sanitise(last)])


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


def fields(name: str, url: str, index: int) -> dict[str, str | int]:
    """Return the values of `FIELDS` for an item's name, URL and place in the run."""
    authority, path = host_and_path(url)
    host = authority.rpartition("@")[2].lower()
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    stem, extension = split(name)
    segments = [decoded(segment).replace("/", "_") for segment in path.split("/")]
    segments[-1] = segments[-1].strip(EDGES) or DEFAULT
    return {
        "name": name,
        "stem": stem,
        "ext": extension,
        "host": host,
        "path": "/".join(segments),
        "index": index,
        "hash": url_hash(url),
    }
