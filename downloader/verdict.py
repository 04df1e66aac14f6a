"""What a response means for the file that was asked for: save it, look elsewhere, or fail. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from downloader import errors
from downloader.retry import PATIENCE, http_date, retry_after
from downloader.text import format_duration, format_size

if TYPE_CHECKING:
    from downloader.options import Options
    from downloader.responses import Head

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may pass (RFC 9110 section 15, RFC 6585 section 4)."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOGIN = "needs a login: give credentials in the URL, by --netrc or by --cookies"
STATE_FROM = 1024 * 1024
"""Bytes from which on a part is worth continuing, and so worth a state file."""


@dataclass(slots=True)
class Save:
    """The body is the file."""

    total: int | None
    """Bytes the file must have, where the response says so."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """The file is elsewhere."""

    location: str


def decide(head: Head, options: Options, *, now: float) -> Save | Redirect | errors.TransferError:
    """Return what ``head`` means; ``now`` is the time in Unix seconds, for a Retry-After that is a date."""
    status = head.status
    if status in (200, 203):
        total = None if head.encoded or "transfer-encoding" in head.fields else head.content_length
        return check_size(total, options, complete=True) or Save(total)
    location = head.get("location")
    if status in _REDIRECTS and location:
        return Redirect(location)
    if status == 206:
        return errors.BodyError("the server sent a part of the file (206) that nobody asked for")
    error = errors.StatusError(_sentence(status), status=status)
    if status in TRANSIENT:
        error.retryable = True
        error.retry_after = retry_after(head.get("retry-after"), now=http_date(head.get("date")) or now)
        if error.retry_after is not None and error.retry_after > PATIENCE:
            wait = format_duration(min(error.retry_after, 1e9))
            error.args = (f"{error}; the server asks to be left alone for {wait} (Retry-After), too long to wait",)
    return error


def check_size(size: int | None, options: Options, *, complete: bool) -> errors.SizeError | None:
    """Return the error for a file of ``size`` bytes (``complete``) or of at least that many, None where it fits."""
    if size is None:
        return None
    if options.max_size is not None and size > options.max_size:
        more = "" if complete else "more than "
        return errors.SizeError(f"the file has {more}{_compared(size, options.max_size, '--max-size')}")
    if complete and options.min_size is not None and size < options.min_size:
        return errors.SizeError(f"the file has {_compared(size, options.min_size, '--min-size')}")
    return None


def _compared(size: int, limit: int, option: str) -> str:
    shown, bound = format_size(size), format_size(limit)
    if shown == bound:
        shown, bound = f"{size:,} bytes", f"{limit:,} bytes"
    return f"{shown}, {option} is {bound}"


def check_length(received: int, total: int | None) -> errors.BodyError | None:
    """Return the error where a complete body does not have the ``total`` bytes promised."""
    if total is None or received == total:
        return None
    return errors.BodyError(f"the server promised {total:,} bytes and sent {received:,}")


def state(head: Head, *, url: str, total: int | None) -> dict[str, object] | None:
    """Return what must be remembered of a part for a later run to continue it, or None where it cannot be.

    That takes a length worth the trouble, bytes as the server stores them, and a validator that changes with
    every byte: a strong ETag, or a Last-Modified at least a minute older than Date (RFC 9110 section 8.8.2.2).
    """
    if total is None or total < STATE_FROM or (head.get("accept-ranges") or "").lower() == "none":
        return None
    etag = head.get("etag")
    strong = etag if etag and etag.startswith('"') else None
    modified, date = http_date(head.get("last-modified")), http_date(head.get("date"))
    old_enough = modified is not None and date is not None and modified <= date - 60
    if not strong and not old_enough:
        return None
    return {
        "version": 1,
        "url": url,
        "total": total,
        "etag": strong,
        "last_modified": head.get("last-modified") if old_enough else None,
    }


def _sentence(status: int) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "no standard status"
    text = f"HTTP {status} {phrase}"
    if status == 401:
        return f"{text}: {_LOGIN}"
    if status == 407:
        return f"{text}: the proxy needs a login; give it as --proxy http://USER:PASSWORD@HOST:PORT"
    if status in _REDIRECTS:
        return f"{text} without a Location"
    return text
