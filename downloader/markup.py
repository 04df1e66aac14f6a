"""Text that comes where media should: HTML, XML, JSON and plain text, and what they say of themselves.

HTML is recognised as the WHATWG MIME Sniffing standard does (section 7.1), and a little more readily:
nobody wants a page saved as a picture. SVG is the one text among these that is media.
"""

from __future__ import annotations

import codecs
import re

from downloader.probes import Sniffed, found, is_binary

PAGE_BYTES = 8192
"""First bytes of a page in which its title is looked for."""

_TITLE_LENGTH = 60

_HTML = Sniffed("text/html", ".html", "html")
_XML = Sniffed("application/xml", ".xml", "xml")
_UNDECIDED = Sniffed(None, None, "xml")  # the root element is not among the first bytes
_JSON = Sniffed("application/json", ".json", "json")
_TEXT = Sniffed("text/plain", ".txt", "text")
_BINARY = Sniffed(None, None, "binary")
_SVG = found("image/svg+xml")
_DASH = Sniffed("application/dash+xml", ".mpd", "xml")

_PLAYLISTS = (
    (b"#EXTM3U", Sniffed("application/vnd.apple.mpegurl", ".m3u8", "text")),
    (b"[playlist]", Sniffed("application/x-scpls", ".pls", "text")),
)

_SPACE = b"\t\n\x0c\r "
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

# The standard's tags first, then others that pages cut short by their servers start with.
_HTML_TAG = re.compile(
    rb"<(?:!doctype\s+html|html|head|script|iframe|h[1-6]|div|font|table|a|style|title|b|body|br|p"
    rb"|meta|link|base|center|form|img|span|ul|ol|li|pre|hr|i|u|em|strong|noscript|main|section|header|nav|article"
    rb"|frameset|input|button|label|small|dl|tr|td|tt|code|blockquote|template)(?=[\s/>]|$)",
    re.IGNORECASE,
)
_PAGE_WITHIN = re.compile(rb"<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)

# What may stand before a root element: white space, the XML declaration, instructions, comments.
_PROLOG = re.compile(rb"(?:\s++|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)
_DOCTYPE = re.compile(rb"<!DOCTYPE\s+(?:[\w.-]+:)?([\w.-]+)", re.IGNORECASE)
_SUBSET = re.compile(rb"<!DOCTYPE[^\[>]*+(?:\[.*?\]\s*+)?>", re.IGNORECASE | re.DOTALL)
_ROOT = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)(?=[\s/>])")
_ELEMENT = re.compile(rb"<[A-Za-z_][\w.:-]*(?:\s+[\w:.-]+\s*=|\s*/?>)")

_JSON_START = re.compile(
    rb"\{\s*(?:\"|\}|$)|\[\s*(?:[\"{\[\]]|$|(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(?:[,\]]|$))"
)

_TITLE = re.compile(r"<title(?:\s[^>]*)?>([^<]*+(?:<(?!/title)[^<]*+)*+)", re.IGNORECASE | re.ASCII)
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_CHARSETS = frozenset({
    "utf-8", "ascii", "iso8859-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "iso8859-15",
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874",
    "koi8-r", "koi8-u", "shift_jis", "cp932", "euc_jp", "euc_kr", "cp949", "gb2312", "gbk", "gb18030", "big5",
})  # fmt: skip
"""Character sets of pages. Python's other codecs are none, or cost too much on hostile input."""


def classify(head: bytes) -> Sniffed:
    """Tell what text these bytes are, or that they are binary. They carry no signature of media."""
    text, encoding = utf8(head)
    start = text.lstrip(_SPACE)
    if start.startswith(b"<"):
        markup = _markup(start)
        if markup is not None:
            return markup
    if is_binary(text):
        return _BINARY if encoding is None or b"\0" in text else _TEXT
    for magic, playlist in _PLAYLISTS:
        if start[: len(magic)].lower() == magic.lower():
            return playlist
    if _JSON_START.match(start):
        return _JSON
    return _HTML if _PAGE_WITHIN.search(text) else _TEXT


def utf8(head: bytes) -> tuple[bytes, str | None]:
    """Bring text to UTF-8 without byte order mark; name its encoding where there was a sign of one."""
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            text = head[len(bom) :]
            return (text if encoding == "utf-8" else _recode(text, encoding)), encoding
    # UTF-16 without a mark shows by its zeros around the first angle bracket.
    if head[:1] == b"<" and head[1:2] == b"\0" and head[3:4] == b"\0":
        return _recode(head, "utf-16-le"), "utf-16-le"
    if head[:2] == b"\0<" and head[2:3] == b"\0":
        return _recode(head, "utf-16-be"), "utf-16-be"
    return head, None


def _recode(text: bytes, encoding: str) -> bytes:
    return text.decode(encoding, "replace").encode("utf-8", "replace")


def _markup(start: bytes) -> Sniffed | None:
    """Decide among HTML, SVG and other XML; ``start`` begins with an angle bracket."""
    if _HTML_TAG.match(start):
        return _HTML
    prolog = _PROLOG.match(start)
    rest = start[prolog.end() :] if prolog else start
    is_xml = start.startswith(b"<?xml")
    doctype = _DOCTYPE.match(rest)
    if doctype is not None:
        if doctype[1].lower() in (b"svg", b"html"):
            return _SVG if doctype[1].lower() == b"svg" else _HTML
        subset = _SUBSET.match(rest)
        if subset is None:
            return _UNDECIDED
        is_xml, rest = True, rest[_end(_PROLOG, rest, subset.end()) :]
    root = _ROOT.match(rest)
    if root is None:
        if is_xml:
            return _UNDECIDED
        # An unfinished or lone comment: a page by the standard, though an SVG may follow.
        return _HTML if start.startswith(b"<!--") else None
    name = root[1].lower()
    if name == b"svg":
        return _SVG
    if name == b"html" or _HTML_TAG.match(rest):
        return _HTML
    if name == b"mpd":
        return _DASH
    return _XML if is_xml or _ELEMENT.match(rest) else None


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    matched = pattern.match(text, at)
    return matched.end() if matched else at


def title(head: bytes) -> str | None:
    """Return a page's title fit for one line of a message: at most 60 characters, no control characters.

    None where there is none in the first `PAGE_BYTES` bytes.
    """
    matched = _TITLE.search(_decode(head[:PAGE_BYTES]))
    if matched is None:
        return None
    from html import unescape  # late: its table of entities is needed for refusals only

    return _one_line(unescape(matched[1]))


def excerpt(head: bytes) -> str | None:
    """Return the beginning of a text, as fit for a message as a `title`; None where it is blank."""
    return _one_line(_decode(head[: 8 * _TITLE_LENGTH]))


def _decode(head: bytes) -> str:
    text, encoding = utf8(head)
    if encoding is None:
        declared = _CHARSET.search(text)
        charset = _charset(declared[1].decode("ascii", "replace")) if declared else None
        try:
            return text.decode(charset or "utf-8", "strict" if charset is None else "replace")
        except UnicodeDecodeError as error:
            if error.start < len(text) - 3:  # else the cut fell inside a character
                return text.decode("cp1252", "replace")
    return text.decode("utf-8", "ignore")


def _charset(label: str) -> str | None:
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    return name if name in _CHARSETS else None


def _one_line(text: str) -> str | None:
    line = "".join(filter(str.isprintable, " ".join(text.split())))
    line = " ".join(line.split())
    return line[: _TITLE_LENGTH - 1].rstrip() + "…" if len(line) > _TITLE_LENGTH else line or None
