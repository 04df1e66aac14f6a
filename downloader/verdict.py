"""What a response means for the file that was asked for: save it, look elsewhere, or fail. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from downloader import errors, media, naming, resume
from downloader.disposition import filename
from downloader.retry import PATIENCE, http_date, retry_after
from downloader.text import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from downloader.items import Checksum
    from downloader.media import Verdict
    from downloader.options import Options
    from downloader.responses import Head
    from downloader.resume import Ask

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may pass (RFC 9110 section 15, RFC 6585 section 4)."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOGIN = "needs a login: give credentials in the URL, by --netrc or by --cookies"


@dataclass(slots=True)
class Save:
    """The body is the file."""

    total: int | None
    """Bytes the file must have, where the response says so."""


class Continue(NamedTuple):
    """The body is the range that was asked for, or its beginning."""

    start: int
    end: int
    """The byte behind its last one."""
    total: int


class Unfit(NamedTuple):
    """The answer does not continue what is there: the file is to be asked for from its beginning."""

    reason: str


class Redirect(NamedTuple):
    """The file is elsewhere."""

    location: str


def decide(
    head: Head, options: Options, *, now: float, ask: Ask | None = None
) -> Save | Continue | Unfit | Redirect | errors.TransferError:
    """Return what ``head`` means, as the answer to a request for all of the file or for the range ``ask``.

    ``now`` is the time in Unix seconds, for a Retry-After that is a date.
    """
    status = head.status
    if status in (200, 203):
        if ask is not None and (reason := resume.not_whole(head, ask)) is not None:
            return Unfit(f"the server's answer ({status}) is not all of the file: {reason}")
        if ask is None and resume.is_part(head):
            return errors.BodyError(f"the server sent a part of the file ({status}) that nobody asked for")
        framed = head.encoded or head.is_chunked
        total = None if framed else head.content_length
        if total is None and not framed and head.get("content-length") is not None:
            return errors.BodyError("the server's Content-Length makes no sense")
        return check_size(total, options, complete=True) or Save(total)
    if status == 206:
        return _partial(head, options, ask)
    if status == 416 and ask is not None:
        return Unfit("the server has no such range (416)")
    location = head.get("location")
    if status in _REDIRECTS and location:
        return Redirect(location)
    error = errors.StatusError(_sentence(status), status=status)
    if status in TRANSIENT:
        error.retryable = True
        error.retry_after = retry_after(head.get("retry-after"), now=http_date(head.get("date")) or now)
        if error.retry_after is not None and error.retry_after > PATIENCE:
            wait = format_duration(min(error.retry_after, 1e9))
            error.args = (f"{error}; the server asks to be left alone for {wait} (Retry-After), too long to wait",)
    return error


def _partial(head: Head, options: Options, ask: Ask | None) -> Save | Continue | Unfit | errors.TransferError:
    """Decide on a 206 (RFC 9110 section 15.3.7)."""
    found = resume.content_range(head)
    if ask is None:
        # Some servers send it for all of the file, which is as good as a 200.
        whole = found is not None and (found.start, found.end) == (0, found.total)
        if found is None or not whole or head.encoded or head.content_length not in (None, found.total):
            return errors.BodyError("the server sent a part of the file (206) that nobody asked for")
        return check_size(found.total, options, complete=True) or Save(found.total)
    reason = resume.misfit(head, ask)
    if found is None or reason is not None:
        return Unfit(f"the server's answer (206) does not fit: {reason}")
    return check_size(found.total, options, complete=True) or Continue(found.start, found.end, found.total)


def judge(
    first: bytes, head: Head, *, name: str, accept: tuple[str, ...], total: int | None, size: int | None
) -> Verdict | None:
    """Judge a file by its ``first`` bytes, its response and the ``name`` it has if the server gives none.

    ``total`` is its length where that is known, ``size`` the same for a file that ends here. None where more bytes may
    tell more.
    """
    disposition = head.get("content-disposition")
    proposed = filename(disposition) if disposition is not None else None
    judged = media.judge(
        first,
        declared=head.get("content-type"),
        name_extension=naming.split(proposed or name)[1] or None,
        accept=accept,
        size=size if total is None else total,
    )
    # A page's title may come later than the bytes that give it away.
    more = size is None and len(first) < min(media.PAGE_BYTES, total or media.PAGE_BYTES)
    return None if judged.refusal is not None and more else judged


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


def check(size: int, promised: int | None, options: Options) -> errors.TransferError | None:
    """Return the error of a complete body of ``size`` bytes, of which so many were ``promised``."""
    return check_length(size, promised) or check_size(size, options, complete=True)


def check_digests(found: Iterable[Checksum], promised: Checksum | None) -> errors.ChecksumMismatch | None:
    """Return the error where a file's digests deny what was ``promised`` of it."""
    for digest in found:
        if promised is not None and digest.algorithm == promised.algorithm and digest != promised:
            return errors.ChecksumMismatch(f"{digest.algorithm} is {digest.hexdigest}, not {promised.hexdigest}")
    return None


def _sentence(status: int) -> str:
    from http import HTTPStatus  # not for runs in which all goes well

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
