"""Numbers and strangers' text made fit for people: sizes, durations, display width, no control characters.

Sizes are SI, powers of 1000, as servers and disks count them. What a list or a server calls a thing may hold
escape sequences or newlines: `printable` for screens and `escaped` for files take their power away.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

SPACES = (
    " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's white space, for text that has been decoded to what people read."""
EDGES = SPACES + "."
"""White space and dots: what no name may start or end with."""

_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")

# C0, DEL and C1 drive terminals; line separators forge lines; the others reorder or hide text (UAX 9).
# Lone surrogates stand for bytes that are no UTF-8.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def file_name(path: str) -> str:
    """Return what to call a file that was named on the command line: its name is UTF-8, whatever the locale is."""
    try:
        return os.fsencode(path).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # it comes from a program
        return path


def format_size(count: float) -> str:
    """Write a number of bytes: ``999 B``, ``2.1 kB``, ``12.4 MB``; one digit after the point below 100."""
    if count < 999.5:
        return f"{count:.0f} B"
    value = float(count)
    for unit in _UNITS:
        value /= 1000
        if value < 99.95:
            return f"{value:.1f} {unit}"
        if value < 999.5:
            break
    return f"{value:.0f} {unit}"


def format_rate(bytes_per_second: float) -> str:
    """Write a rate as ``1.2 MB/s``."""
    return format_size(bytes_per_second) + "/s"


def format_duration(seconds: float) -> str:
    """Write a duration in its two leading units: ``8.2 s``, ``42 s``, ``1m23s``, ``2h05m``, ``3d04h``."""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60}m{total % 60:02d}s"
    if total < 86_400:
        return f"{total // 3600}h{total // 60 % 60:02d}m"
    return f"{total // 86_400}d{total // 3600 % 24:02d}h"


def counted(count: int, noun: str) -> str:
    """Write ``1 file``, ``2 files``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """Make text safe for a terminal, on one line: tabs and newlines become blanks, other controls U+FFFD."""
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda match: " " if match[0] in "\t\n\r" else "\ufffd", text)


def escaped(text: str) -> str:
    r"""Put text on one line, losing nothing: each control character as ``\uXXXX``, which JSON reads back."""
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def has_control(text: str) -> bool:
    """Tell whether there is any character that `printable` would replace."""
    return not text.isprintable() and _CONTROL.search(text) is not None


def width(text: str) -> int:
    """Count the columns printable text takes on a terminal, at most: terminals differ on joined emoji."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


@lru_cache(maxsize=4096)
def _columns(character: str) -> int:
    from wcwidth import wcwidth  # late: importing it takes longer than a short run of plain names

    if character == "\ufe0f":
        return 1  # it makes the symbol before it wide on some terminals
    return max(wcwidth(character), 0)


@lru_cache(maxsize=256)
def fit(text: str, columns: int, ellipsis: str = "…") -> str:
    """Make text exactly ``columns`` wide: pad its end, or cut its middle so that the extension stays.

    A base character keeps its combining marks, and a wide character is never halved.
    """
    excess = width(text) - columns
    if excess <= 0:
        return text + " " * -excess
    room = columns - width(ellipsis)
    if room < 1:
        return ellipsis[:columns].ljust(columns)
    dot = text.rfind(".")
    extension = width(text[dot:]) if dot > 0 else 0
    tail = _tail(text, max(room // 2, min(extension, room * 2 // 3)))
    head = _head(text, room - width(tail))
    return (head + ellipsis + tail) + " " * (room - width(head) - width(tail))


def _head(text: str, columns: int) -> str:
    for end, character in enumerate(text):
        columns -= _columns(character)
        if columns < 0:
            return text[:end]
    return text


def _tail(text: str, columns: int) -> str:
    start = len(text)
    for at in range(len(text) - 1, -1, -1):
        own = _columns(text[at])
        columns -= own
        if columns < 0:
            break
        if own:  # a mark without its base would sit on the ellipsis
            start = at
    return text[start:]
