"""Makes the one result of an item from what is known at its end. Pure but for the clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from downloader.items import Progress, Result

if TYPE_CHECKING:
    from downloader.errors import GdlError
    from downloader.items import BadItem, Item, Running, Saved, Status

_NOTHING = Progress()


def saved(item: Item, running: Running, progress: Progress, file: Saved) -> Result:
    """Return the result of an item whose file is in place."""
    result = _result("saved", item, running, progress)
    result.path = file.path
    result.bytes = file.size
    if file.digests:
        result.checksum = str(file.digests[0])
        result.sha256 = next((digest.hexdigest for digest in file.digests if digest.algorithm == "sha256"), None)
    return result


def skipped(
    item: Item, reason: str, path: str | None, running: Running | None = None, progress: Progress = _NOTHING
) -> Result:
    """Return the result of an item that needs no download, because of ``reason``."""
    result = _result("skipped", item, running, progress)
    result.reason = reason
    result.path = path
    return result


def failed(item: Item, error: GdlError, running: Running | None = None, progress: Progress = _NOTHING) -> Result:
    """Return the result of an item that ends with ``error``, whose traceback is dropped: it would hold the body."""
    error.__traceback__ = None
    result = _result("failed", item, running, progress)
    result.reason = str(error)
    result.error = error
    result.bytes = running.received if running else 0
    return result


def bad(item: BadItem) -> Result:
    """Return the result of a list line that is no item."""
    return Result(
        url=item.url,
        status="failed",
        reason=str(item.error),
        error=item.error,
        source=item.source,
        line=item.line,
        text=item.text,
        extra=item.extra,
    )


def _result(status: Status, item: Item, running: Running | None, progress: Progress) -> Result:
    return Result(
        url=item.url,
        status=status,
        final_url=progress.final_url,
        content_type=progress.content_type,
        http_status=progress.http_status,
        attempts=running.attempts if running else 0,
        elapsed=time.monotonic() - running.started if running else 0.0,
        source=item.source,
        line=item.line,
        text=item.text,
        extra=item.extra,
    )
