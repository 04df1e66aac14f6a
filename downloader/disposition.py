"""The file name in a Content-Disposition header (RFC 6266; ``filename*`` is RFC 8187).

Lenient where servers are sloppy and the meaning is plain: a missing type or closing quote, spaces in an
unquoted name, raw UTF-8 in quotes, a quoted ``filename*``. Of a parameter sent twice the first usable one
counts. Encoded words (RFC 2047) and continuations (``filename*0``, RFC 2231) belong to mail: not decoded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from downloader.grammar import BLANKS
from downloader.text import EDGES

if TYPE_CHECKING:
    from collections.abc import Iterator

# One parameter (or the type), up to its ';': name, quoted-string, token. It matches at every position and
# gives nothing back, so that walking a hostile header takes linear time.
_PARAMETER = re.compile(
    r'[ \t\r\n;]*+([^;=]*+)(?:=[ \t\r\n]*+(?:"((?:[^"\\]++|\\.?)*+)"?[^;]*+|([^;]*+)))?',
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:\\")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# An escape of anything but RFC 3986's unreserved characters, which nobody has a reason to escape.
_NEEDED_ESCAPE = re.compile(r"%(?!2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])")


def filename(value: str) -> str | None:
    """Return the file name a Content-Disposition value proposes, None without a usable one. Never raises.

    ``value`` is the field value decoded as latin-1, as header bytes usually are. The disposition type does
    not matter: ``inline`` names a file too. Only the last path component comes back (RFC 6266 section 4.3);
    it is not sanitised yet. A malformed ``filename*`` yields to ``filename``.
    """
    extended: list[str] = []
    plain: list[str] = []
    for match in _PARAMETER.finditer(value):
        before, quoted, token = match.groups(default="")
        name = before.strip(BLANKS).rpartition(" ")[2].lower()
        if name == "filename*":
            extended.append(quoted or token)
        elif name == "filename":
            plain.append(_unescape(quoted) or token)
    return next(_usable(extended, plain), None)


def _usable(extended: list[str], plain: list[str]) -> Iterator[str]:
    for raw in extended:
        decoded = _decode_extended(raw)
        if decoded is not None and (name := _last_component(decoded)):
            yield name
    for raw in plain:
        if name := _last_component(_decode_plain(raw)):
            yield name


def _unescape(quoted: str) -> str:
    """Undo quoted-pairs (RFC 9110 section 5.6.4), but not in a Windows path sent as it is."""
    if _DRIVE.match(quoted):
        return quoted
    return _QUOTED_PAIR.sub(r"\1", quoted)


def _decode_extended(raw: str) -> str | None:
    """Decode ``charset'language'percent-encoded`` (RFC 8187 section 3.2); None where it is malformed."""
    charset, _, rest = raw.partition("'")
    _, quote, text = rest.partition("'")
    charset = charset.strip(BLANKS).lower()
    if not quote or charset not in {"utf-8", "iso-8859-1"} or _BROKEN_ESCAPE.search(text):
        return None
    try:
        return unquote_to_bytes(text.strip(BLANKS).strip('"').encode("latin-1")).decode(charset)
    except UnicodeError:
        return None


def _decode_plain(raw: str) -> str:
    """Decode the value of ``filename``: as UTF-8 where it is valid, else as latin-1.

    Percent-encoding has no meaning here, yet servers send it and browsers undo it. So do we where every
    escape is whole, the result is UTF-8 and some escape was needed: ``%E5%9B%BE.jpg`` is decoded, while
    ``foo-%41.jpg`` is taken as it is.
    """
    try:
        text = raw.encode("latin-1").decode("utf-8")
    except UnicodeError:
        text = raw
    if _BROKEN_ESCAPE.search(text) or not _NEEDED_ESCAPE.search(text):
        return text
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        return text


def _last_component(path: str) -> str | None:
    # Decoded by now, so that white space is what people take for it.
    return path.strip(BLANKS).replace("\\", "/").rstrip("/").rpartition("/")[2].strip(EDGES) or None
