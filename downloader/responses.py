"""The head of a response as plain data: status and header fields."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


CODINGS = frozenset({"gzip", "deflate", "compress", "br", "zstd", "dcb", "dcz"})
"""Content codings (RFC 9110 section 8.4.1 and IANA's registry). Anything else in the field is a mistake, such as the
``aws-chunked`` that stores keep, and says nothing of the bytes."""


def codings(content_encoding: str) -> list[str]:
    """Return the names in a Content-Encoding field, in lower case and without ``x-``."""
    return [coding.strip().lower().removeprefix("x-") for coding in content_encoding.split(",")]


@dataclass(slots=True)
class Head:
    """Status and header fields of a final response (RFC 9110 sections 5 and 15)."""

    status: int
    version: str
    """``1.0``, ``1.1``, ``2`` or ``3``."""
    fields: dict[str, str]
    """Values by lower-case name, decoded as latin-1; of repeated fields the first counts, but for Connection."""

    @classmethod
    def parse(cls, lines: Iterable[bytes]) -> Head:
        """Read raw header lines, a status line first. Lenient: a line that is no field is ignored.

        A further status line starts over: what came before was a 1xx, or a 401 that libcurl answered.
        """
        text = b"".join(lines).decode("latin-1")
        # This runs for every response, so a status line is looked for once and not in every line.
        block = text[text.rfind("\nHTTP/") + 1 :].split("\n")
        status, version = _status_line(block.pop(0)) if block[0].startswith("HTTP/") else (0, "")
        fields: dict[str, str] = {}
        for line in block:
            name, colon, value = line.partition(":")
            if colon:
                name = name.lower()
                if name not in fields:
                    fields[name] = value.strip()
                elif name == "connection":
                    fields[name] += f", {value.strip()}"
        return cls(status, version, fields)

    def get(self, name: str) -> str | None:
        """Return the field's value by its lower-case ``name``, or None."""
        return self.fields.get(name)

    @property
    def content_type(self) -> str | None:
        """The media type without parameters, in lower case."""
        value = self.fields.get("content-type")
        return value.split(";", 1)[0].strip().lower() or None if value else None

    @property
    def content_length(self) -> int | None:
        """Body bytes promised on the wire, or None (RFC 9110 section 8.6)."""
        value = self.fields.get("content-length")
        if value is not None and "," in value and len(set(map(str.strip, value.split(",")))) == 1:
            value = value.partition(",")[0].strip()  # repeated, but of one mind (RFC 9110 section 8.6)
        return int(value) if value is not None and value.isascii() and value.isdecimal() and len(value) < 19 else None

    @property
    def keeps_connection(self) -> bool:
        """Whether the server means to keep the connection open (RFC 9112 section 9.3)."""
        return self.version == "1.1" and "close" not in self.fields.get("connection", "").lower()

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
def _status_line(line: str) -> tuple[int, str]:
    """Status and version of a status line (RFC 9112 section 4); 0 where the status is no number."""
    version, *rest = line.partition(":")[0].split(None, 2)
    return int(rest[0]) if rest and len(rest[0]) == 3 and rest[0].isdecimal() else 0, version[5:]
