"""The head of a response as plain data: its status, and the header fields that gdl reads.

Fields of one name are one list (RFC 9110 section 5.3): where a field is defined as a list, their values are joined with
commas, in their order. Other fields may come once only. Where one of them comes more often, this counts:

- ETag, Last-Modified, Content-Range: what all of them say; where they differ, nothing. They prove that bytes belong
  together, and a proof that contradicts itself is none.
- Location: likewise. Browsers and libcurl do not follow a response that names two places either.
- Content-Type: the last one that is a media type and not ``*/*``, as WHATWG Fetch extracts it.
- Content-Disposition: the first one that names a file. Browsers refuse the whole response where they differ; gdl does
  not, since the bytes are right under either name.
- Date: the earliest one. It makes Last-Modified the weaker proof and a Retry-After the longer wait.
- Retry-After: all of them, for `retry.retry_after` to find the longest wait. That is the kindest.

A field without a value says nothing, so it never hides another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

from downloader.disposition import filename
from downloader.grammar import BLANKS, media_type, members
from downloader.retry import http_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Field = Literal[
    "accept-ranges",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "location",
    "proxy-connection",
    "retry-after",
    "transfer-encoding",
]
"""A field that gdl reads. The others of a head are not kept."""

_READ: frozenset[str] = frozenset(get_args(Field))

REPEATED = 100
"""Lines of a head that are read though their field has come before; no honest server sends nearly so many."""

CODINGS = frozenset({"gzip", "deflate", "compress", "br", "zstd", "dcb", "dcz"})
"""Content codings (RFC 9110 section 8.4.1 and IANA's registry). Anything else in the field is a mistake, such as the
``aws-chunked`` that stores keep, and says nothing of the bytes."""


_NAME = re.compile("[^\\x00-\x20\"'\\x7f]+")


def codings(content_encoding: str) -> list[str]:
    """Return the names in a Content-Encoding field, in lower case and without ``x-``.

    A coding is a token without parameters. Parameters that a server gives it (``gzip;q=1.0``) are left aside, and so is
    what else no token has: quotes, control characters, blanks in place of a comma.
    """
    return [
        name.removeprefix("x-")
        for member in members(content_encoding)
        for name in _NAME.findall(member.partition(";")[0])
    ]


_DIGITS = 18  # of a length that fits into 63 bits for certain

_Line = tuple[str | None, str]
"""A line of a head: the field that gdl reads, and its value. None for any other field, and for one that says nothing;
empty for a line that is no field, but a status line or the continuation of another line."""

_UNREAD: _Line = None, ""
_VARYING: frozenset[str] = frozenset(
    {"content-disposition", "content-length", "content-range", "etag", "last-modified", "location"}
)
"""Fields whose values differ from one response to the next."""


class _Lines(dict[bytes, _Line]):
    """What lines of heads mean. Short ones are remembered, as servers repeat most of them, until there are too many."""

    most = 500
    longest = 100  # bytes

    def __missing__(self, line: bytes) -> _Line:
        name, _, raw = line.partition(b":")
        found = _UNREAD
        if name.startswith((b"HTTP/", b" ", b"\t")):
            found = "", ""
        else:
            # Blanks before the colon are an error that recipients mend (RFC 9112 section 5.1); browsers do too.
            field = name.rstrip(b" \t").lower().decode("latin-1")
            if field in _READ and (value := raw.strip(b" \t\r\n").decode("latin-1")):
                found = field, value
        if found[0] not in _VARYING and len(line) <= self.longest:
            if len(self) >= self.most:
                self.clear()
            self[line] = found
        return found


_LINES = _Lines()


@dataclass(slots=True)
class Head:
    """Status and header fields of a final response (RFC 9110 sections 5 and 15)."""

    status: int
    version: str
    """``1.0``, ``1.1``, ``2`` or ``3``."""
    fields: dict[str, str]
    """Values by lower-case name, decoded as latin-1. Only what gdl reads and what has a value."""

    @classmethod
    def parse(cls, lines: Sequence[bytes]) -> Head:
        """Read raw header lines, a status line first. Lenient: a line that is no field is ignored.

        A further status line starts over: what came before was a 1xx, or a 401 that libcurl answered.
        """
        status, version = 0, ""
        fields: dict[str, str] = {}
        repeated: list[tuple[str, str]] = []
        # This runs for every response: most lines have come before, so that one look-up tells all of them.
        for line in lines:
            field, value = _LINES[line]
            if field is None:
                continue
            if not field:
                if line.startswith((b" ", b"\t")):
                    return cls.parse(_unfolded(lines))
                status, version = _status_line(line)
                fields, repeated = {}, []
            elif field not in fields:
                fields[field] = value
            elif len(repeated) < REPEATED:
                repeated.append((field, value))
        if repeated:
            _settle(fields, repeated)
        return cls(status, version, fields)

    def get(self, name: Field) -> str | None:
        """Return the field's value, or None."""
        return self.fields.get(name)

    @property
    def content_type(self) -> str | None:
        """The media type without parameters, in lower case; None where the field has none."""
        return media_type(self.fields.get("content-type"))

    @property
    def content_length(self) -> int | None:
        """Body bytes promised on the wire, below 10^18, or None (RFC 9110 section 8.6)."""
        value = self.fields.get("content-length")
        if value is not None and "," in value:  # repeated: all must be the same (RFC 9112 section 6.3)
            value, *others = (each.strip(BLANKS) for each in value.split(","))
            value = value if set(others) == {value} else None
        if value is None or not (value.isascii() and value.isdecimal()):
            return None
        if len(value) > _DIGITS:  # with zeros before, as many as a server likes
            value = value.lstrip("0") or "0"
        return int(value) if len(value) <= _DIGITS else None

    @property
    def keeps_connection(self) -> bool:
        """Whether the connection stays open behind the body (RFC 9112 sections 6.3 and 9.3), as libcurl sees it."""
        # Old proxies have a field of their own for it, which libcurl heeds behind one.
        said = [word for name in ("connection", "proxy-connection") for word in members(self.fields.get(name, ""))]
        if "close" in said or not (self.version == "1.1" or (self.version == "1.0" and "keep-alive" in said)):
            return False
        if "transfer-encoding" in self.fields:  # libcurl waits for the connection's end where the body is not chunked
            return self.is_chunked
        return "content-length" in self.fields or self.status in (204, 304)  # else only a close can end the body

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks, so that a Content-Length does not count (RFC 9112 section 6.3).

        Of transfer codings libcurl takes none but these and ``identity``, which says nothing.
        """
        return "transfer-encoding" in self.fields and "chunked" in members(self.fields["transfer-encoding"])

    @property
    def takes_ranges(self) -> bool | None:
        """Whether the server says that it sends ranges of bytes (RFC 9110 section 14.3), None where it does not say."""
        units = members(self.fields.get("accept-ranges", ""))
        if "none" in units:
            return False
        return True if "bytes" in units else None

    @property
    def closes_connection(self) -> bool:
        """Whether it is an HTTP/1 connection that the server means to close."""
        return self.version.startswith("1") and not self.keeps_connection

    @property
    def encoded(self) -> bool:
        """Whether there is a content encoding to undo, so that the length on the wire is not the file's."""
        value = self.fields.get("content-encoding")
        return value is not None and any(coding in CODINGS for coding in codings(value))


@lru_cache(maxsize=16)  # a run sees few different ones
def _status_line(line: bytes) -> tuple[int, str]:
    """Status and version of a status line (RFC 9112 section 4); 0 where the status is no number."""
    version, _, rest = line.decode("latin-1").replace("\t", " ").strip(BLANKS).partition(" ")
    status = rest.lstrip(" ").partition(" ")[0]
    return int(status) if len(status) == 3 and status.isascii() and status.isdecimal() else 0, version[5:]


def _unfolded(lines: Iterable[bytes]) -> list[bytes]:
    """Put lines that begin with a blank or tab to the one they continue (RFC 9112 section 5.2).

    Newer releases of libcurl have done it already.
    """
    whole: list[list[bytes]] = []
    for line in lines:
        if not (whole and line.startswith((b" ", b"\t"))):
            whole.append([])
        whole[-1].append(line.strip(b" \t\r\n"))
    return [b" ".join(filter(None, parts)) for parts in whole]


def _settle(fields: dict[str, str], repeated: Iterable[tuple[str, str]]) -> None:
    """Replace values in ``fields`` by what they mean together with those that came again."""
    values: dict[str, list[str]] = {}
    for name, value in repeated:
        values.setdefault(name, [fields[name]]).append(value)
    for name, several in values.items():
        counts = _COUNTS.get(name, ", ".join)(several)
        if counts is None:
            del fields[name]
        else:
            fields[name] = counts


def _agreed(values: list[str]) -> str | None:
    return values[0] if len(set(values)) == 1 else None


def _last_type(values: list[str]) -> str:
    return next((value for value in reversed(values) if media_type(value) not in (None, "*/*")), values[0])


def _first_named(values: list[str]) -> str:
    return next((value for value in values if filename(value) is not None), values[0])


def _earliest(values: list[str]) -> str | None:
    dates = [(date, value) for value in values if (date := http_date(value)) is not None]
    return min(dates)[1] if dates else None


_COUNTS: dict[str, Callable[[list[str]], str | None]] = {
    "content-disposition": _first_named,
    "content-range": _agreed,
    "content-type": _last_type,
    "date": _earliest,
    "etag": _agreed,
    "last-modified": _agreed,
    "location": _agreed,
}
"""What counts of several values, where it is not all of them as one list."""
