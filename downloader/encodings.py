"""Content codings that a server applies unasked, undone (RFC 9110 section 8.4.1). Pure.

libcurl would do it too, but takes a compressed body that breaks off for a whole one.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from downloader.errors import BodyError
from downloader.responses import CODINGS, codings

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 1024 * 1024
"""Bytes that are handed out at once at most, however well they were compressed."""
MOST_EXPANSION = 200
"""How many times larger than its encoding data may be, from `BOMB_FROM` bytes on: media hardly gets smaller at all."""
BOMB_FROM = 64 * 1024 * 1024

_GZIP = 16 + zlib.MAX_WBITS


class Decoder:
    """Undoes a Content-Encoding. Raises `errors.BodyError` for one that gdl does not know, and for broken data."""

    def __init__(self, content_encoding: str) -> None:
        known = [coding for coding in codings(content_encoding) if coding in CODINGS]
        # One upon another is how bombs are made: honest servers compress once.
        if len(known) > 1 or any(coding not in ("gzip", "deflate") for coding in known):
            raise _final(f"the server sent the file encoded as {content_encoding[:40]!r}, which nobody asked for")
        self._layer = _Layer(known[0]) if known else None
        self._taken = 0
        self._given = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Give what the next ``data`` stands for, in pieces of at most `LARGEST` bytes."""
        if self._layer is None:
            yield data
            return
        self._taken += len(data)
        for piece in self._layer.decode(data):
            self._given += len(piece)
            if self._given > max(BOMB_FROM, MOST_EXPANSION * self._taken):
                raise _final("the body grows beyond measure when its encoding is undone")
            yield piece

    @property
    def ended(self) -> bool:
        """Whether the data so far is complete."""
        return self._layer is None or self._layer.ended


def _final(message: str) -> BodyError:
    """Return an error that another try would meet again."""
    error = BodyError(message)
    error.retryable = False
    return error


class _Layer:
    """One coding: gzip with any number of members (RFC 1952), or deflate with or without its zlib frame."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._start = b""
        self._inflater = zlib.decompressobj(_GZIP) if coding == "gzip" else None

    @property
    def ended(self) -> bool:
        return self._inflater is not None and self._inflater.eof

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._inflater is None:
            self._start += data
            if len(self._start) < 2:
                return
            data, self._start = self._start, b""
            # Many servers send bare deflate data without the zlib frame that the standard wants around it.
            framed = data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0
            self._inflater = zlib.decompressobj(zlib.MAX_WBITS if framed else -zlib.MAX_WBITS)
        try:
            while data:
                if self._inflater.eof:
                    if self._coding != "gzip":
                        raise BodyError("there are bytes behind the end of the compressed body")
                    self._inflater = zlib.decompressobj(_GZIP)
                if piece := self._inflater.decompress(data, LARGEST):
                    yield piece
                data = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
        except zlib.error as error:
            raise BodyError(f"the {self._coding} encoding is broken") from error
