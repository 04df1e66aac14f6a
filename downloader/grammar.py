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

_TYPE = re.compile(f"{TOKEN.pattern}/{TOKEN.pattern}")
# What stands between commas outside of quoted strings.
_MEMBER = re.compile(r'(?:"(?:[^"\\]++|\\.?)*+"?|[^",]++)++', re.DOTALL)


def members(value: str) -> list[str]:
    """Split a list of tokens at its commas, in lower case. Empty members do not count (section 5.6.1.2)."""
    return [member for each in value.split(",") if (member := each.strip(BLANKS).lower())]


def media_type(value: str | None) -> str | None:
    """Return the type that a Content-Type names, in lower case and without parameters; None where it is none.

    Of several, as proxies join them by commas, the last that is not ``*/*`` counts: WHATWG Fetch extracts it so.
    """
    return _media_type(value[:LONGEST]) if value else None


@lru_cache(maxsize=1024)
def _media_type(value: str) -> str | None:
    found = None
    for member in _MEMBER.findall(value) if "," in value else (value,):
        name = member.partition(";")[0].strip(BLANKS).lower()
        if _TYPE.fullmatch(name) and (found is None or name != "*/*"):
            found = name
    return found
