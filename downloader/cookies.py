"""Cookies from a file in Netscape format, given to the hosts they belong to and to no other (RFC 6265).

Read once, never written: what servers set is not kept, so that no server can fill the memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from downloader.errors import UsageError
from downloader.grammar import BLANKS

_HTTP_ONLY = "#HttpOnly_"
_TIME = re.compile(r"-?[0-9]{1,15}(\.[0-9]{0,15})?")


@dataclass(frozen=True, slots=True)
class _Cookie:
    pair: str = field(repr=False)
    path: str
    secure: bool
    host_only: bool
    expires: int


class CookieFile:
    """The cookies of one file. Raises `errors.UsageError` naming file and line where it cannot be read."""

    def __init__(self, path: str, *, now: float) -> None:
        self._domains: dict[str, list[_Cookie]] = {}
        try:
            with open(path, encoding="utf-8", errors="strict") as file:
                for number, line in enumerate(file, 1):
                    self._read(line.rstrip("\r\n"), f"{path}:{number}", now)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--cookies: cannot read {path}: {error}") from error

    def header(self, url: str) -> str | None:
        """Return the Cookie header for ``url``, or None where no cookie is meant for it (section 5.4)."""
        parts = urlsplit(url)
        host, path, https = (parts.hostname or "").lower(), parts.path or "/", parts.scheme == "https"
        found: list[_Cookie] = []
        domain = host
        while domain:
            for cookie in self._domains.get(domain, ()):
                here = (domain == host or not cookie.host_only) and (https or not cookie.secure)
                if here and _path_matches(cookie.path, path):
                    found.append(cookie)
            # An IP address has no parent domain (section 5.1.3).
            domain = "" if re.fullmatch("[0-9.]+", host) or ":" in host else domain.partition(".")[2]
        found.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(cookie.pair for cookie in found) or None

    def _read(self, line: str, place: str, now: float) -> None:
        line = line.removeprefix("\ufeff").removeprefix(_HTTP_ONLY)
        if not line.strip(BLANKS) or line.startswith("#"):
            return
        fields = line.split("\t")
        if len(fields) == 6:  # some writers drop the tab before an empty value
            fields.append("")
        if len(fields) != 7 or not _TIME.fullmatch(fields[4]):
            raise UsageError(f"{place}: not a cookie line (7 fields with tabs between them, as browsers export)")
        domain, subdomains, path, secure, expires, name, value = fields
        if any(ord(c) < 32 or c in ";\x7f" for c in name + value):
            raise UsageError(f"{place}: the cookie holds a character that no header can carry")
        until = int(float(expires))
        if 0 < until < now:
            return
        cookie = _Cookie(
            pair=f"{name}={value}" if name else value,
            path=path if path.startswith("/") else "/",
            secure=secure.upper() == "TRUE",
            host_only=subdomains.upper() != "TRUE" and not domain.startswith("."),
            expires=until,
        )
        self._domains.setdefault(domain.lower().lstrip("."), []).append(cookie)


def _path_matches(cookie_path: str, path: str) -> bool:
    """Section 5.1.4."""
    return path == cookie_path or (
        path.startswith(cookie_path) and (cookie_path.endswith("/") or path[len(cookie_path)] == "/")
    )
