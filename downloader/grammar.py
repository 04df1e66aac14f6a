"""What values of header fields are made of (RFC 9110 section 5.6): blanks, tokens, lists, media types. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

BLANKS = " \t\r\n"
"""What may stand around a value and is no part of it, at the end of a line too (sections 5.5 and 5.6.3).

Python's own idea of white space is Unicode's. In header bytes decoded as latin-1 it has A0 and 85 as well, with which
letters of UTF-8 end, such as ``à``.
"""
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What the name of a field is made of, and each half of a media type (section 5.6.2)."""

LONGEST = 1024
"""Characters that are read of a value whose members are short: a media type has 255 at most (RFC 6838 section 4.2)."""


def members(value: str) -> list[str]:
    """Split a list of tokens at its commas, in lower case. Empty members do not count (section 5.6.1.2)."""
    return [member for each in value.split(",") if (member := each.strip(BLANKS).lower())]


@lru_cache(maxsize=128)  # a run sees few, and a stranger's may be long
def media_type(value: str | None) -> str | None:
    """Return the type that a Content-Type names, in lower case and without parameters; None where it is none.

    Of several, as proxies join them by commas, the last that is not ``*/*`` counts: WHATWG Fetch extracts it so.
    """
    found = None
    for member in _between_commas((value or "")[:LONGEST]):
        name = member.partition(";")[0].strip(BLANKS).lower()
        family, _, subtype = name.partition("/")
        if TOKEN.fullmatch(family) and TOKEN.fullmatch(subtype) and (found is None or name != "*/*"):
            found = name
    return found


def _between_commas(value: str) -> list[str]:
    """Split at the commas outside of quoted strings."""
    if "," not in value:
        return [value]
    return re.findall(r'(?:"(?:[^"\\]++|\\.?)*+"?|[^",]++)++', value, re.DOTALL)
