"""The body of one response on its way: gathered into larger writes, or cut off once it does not matter any more."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import gevent

from downloader import errors
from downloader.hashes import blake2b
from downloader.media import HEAD_BYTES
from downloader.request import build, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from downloader.blocks import Ending
    from downloader.context import Context
    from downloader.framing import Framing
    from downloader.items import Address, Checksum, Item, Progress
    from downloader.partfile import Part, PartAside
    from downloader.request import Request
    from downloader.resume import Ask

GATHER = 64 * 1024
"""Bytes that are gathered before they are written: libcurl hands out 16 KiB at a time, whatever it received."""
GATHER_CHUNKS = 256
"""Chunks that are gathered at most, where they are small."""
MAX_REDIRECTS = 10
READ = 1024 * 1024
"""Bytes of a part that are read at a time, in a thread."""
IGNORED = 64 * 1024
"""Bytes of a redirect's or an error's body that are read to keep the connection; a longer one costs it."""


class Enough(Exception):
    """Ends an exchange whose other bytes do not matter."""


class Gatherer:
    """Gathers the chunks of one body and hands them on as fewer, larger lists with their size."""

    __slots__ = ("_write", "chunks", "held")

    def __init__(self, write: Callable[[list[bytes], int], None]) -> None:
        self._write = write
        self.chunks: list[bytes] = []
        self.held = 0

    def take(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.chunks.append(chunk)
        self.held += len(chunk)
        if self.held >= GATHER or len(self.chunks) >= GATHER_CHUNKS:
            self.flush()

    def flush(self) -> None:
        """Hand on what was gathered."""
        chunks, held, self.chunks, self.held = self.chunks, self.held, [], 0
        if held:
            self._write(chunks, held)


@dataclass(slots=True)
class Whole:
    """A body that has come to its end, in memory or in a part. Its methods raise as `files.translate` says."""

    chunks: list[bytes]
    """All of it, where there is no part."""
    part: Part | None
    size: int
    """Bytes."""
    framing: Framing
    """What told its end."""

    def ending(self) -> Ending:
        """Tell whether it has its format's own end. Blocks the calling greenlet only."""
        from downloader.endings import ending  # for the few that need it

        if self.part is not None:
            return self.part.in_thread(lambda fd: ending(lambda at, count: os.pread(fd, count, at), self.size))
        body = b"".join(self.chunks)
        return ending(lambda offset, count: body[offset : offset + count], self.size)

    def head(self) -> bytes:
        """Return its first `media.HEAD_BYTES`, or all of it."""
        return b"".join(self.chunks)[:HEAD_BYTES] if self.part is None else self.part.read(0, HEAD_BYTES)

    def fingerprint(self) -> bytes:
        """Return what only the same bytes have. Blocks the calling greenlet only."""
        if self.part is None:
            return _digest(self.chunks)
        return self.part.in_thread(lambda fd: _digest(os.pread(fd, READ, at) for at in range(0, self.size, READ)))


class Aside(NamedTuple):
    """A whole body that is kept while another one of the same file comes."""

    part: PartAside
    chunks: list[bytes]
    size: int
    """Bytes."""
    checked: tuple[Checksum, ...]
    progress: Progress


def _digest(chunks: Iterable[bytes]) -> bytes:
    found = blake2b(digest_size=32)
    for chunk in chunks:
        found.update(chunk)
    return found.digest()


class Source:
    """Where the bytes of a file come from during one try. ``http1``: over HTTP/1.1, whose framing proves their end."""

    __slots__ = ("_http1", "_redirects", "address", "deadline", "origin")

    def __init__(self, origin: Address, address: Address, deadline: float | None, *, http1: bool = False) -> None:
        self.origin = origin
        """The item's own address or a mirror's."""
        self.address = address
        """Where that redirected to."""
        self.deadline = deadline
        """Monotonic seconds, None for no end."""
        self._redirects = 0
        self._http1 = http1

    def follow(self, location: str, *, insecure: bool) -> None:
        """Go where a response redirects to. Raises `errors.RedirectError` as `request.follow`, and after too many."""
        self._redirects += 1
        if self._redirects > MAX_REDIRECTS:
            raise errors.RedirectError(f"more than {MAX_REDIRECTS} redirects, the last to {self.address.url}")
        self.address = follow(self.address, location, insecure=insecure)

    def request(self, item: Item, context: Context, ask: Ask | None) -> Request:
        """Return the request for ``item``, all of it or the range ``ask``. Raises as `left`."""
        options = context.options
        deadline = None if self.deadline is None else self.left(options.max_time)
        request = build(item, self.address, options, cookies=context.cookies, deadline=deadline, ask=ask)
        request.http1 = self._http1
        return request

    def check(self, error: errors.TransferError, most: float | None) -> None:
        """Raise `errors.DeadlineExceeded` where an exchange has failed with ``error`` because that has come."""
        # As far as libcurl's clock can be trusted.
        over = self.deadline is not None and time.monotonic() >= self.deadline - 0.01
        if over and isinstance(error, errors.TimedOut):
            raise late(most) from error

    def timer(self, most: float | None) -> gevent.Timeout:
        """Return what raises `errors.DeadlineExceeded` at the deadline in the greenlet that waits within it."""
        left = self.left(most)
        return gevent.Timeout(left, None if left is None else late(most))

    def left(self, most: float | None) -> float | None:
        """Return the seconds until the deadline, ``most`` after the start; raises `errors.DeadlineExceeded` after."""
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise late(most)
        return left


def late(most: float | None) -> errors.DeadlineExceeded:
    """Return the error of an item that has taken its ``most`` seconds."""
    return errors.DeadlineExceeded(f"not done within --max-time {most:g} s")
