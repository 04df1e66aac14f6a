"""The head of a response as plain data: status and header fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


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
        status, version = 0, ""
        fields: dict[str, str] = {}
        for line in b"".join(lines).decode("latin-1").split("\n"):
            name, colon, value = line.partition(":")
            if name.startswith("HTTP/"):
                parts = name.split(None, 2)
                version = parts[0][5:]
                status = int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 0
                fields = {}
            elif colon:
                name, value = name.lower(), value.strip()
                if name == "connection" and name in fields:
                    value = f"{fields.pop(name)}, {value}"
                fields.setdefault(name, value)
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
        return int(value) if value is not None and value.isascii() and value.isdecimal() and len(value) < 19 else None

    @property
    def keeps_connection(self) -> bool:
        """Whether the server means to keep the connection open (RFC 9112 section 9.3)."""
        return self.version == "1.1" and "close" not in self.fields.get("connection", "").lower()

    @property
    def encoded(self) -> bool:
        """Whether a content encoding was undone, so that the length on the wire is not the file's."""
        return self.fields.get("content-encoding", "identity").lower() not in ("identity", "")
