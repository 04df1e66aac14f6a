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
_MAGIC = b"\x1f\x8b\x08"


class Decoder:
    """Undoes a Content-Encoding. Raises `errors.BodyError` for one that gdl does not know, and for broken data."""

    def __init__(self, content_encoding: str) -> None:
        known = [coding for coding in codings(content_encoding) if coding in CODINGS]
        # One upon another is how bombs are made. Honest servers compress once, but some of their proxies name gzip
        # a second time, and of these only some have applied it.
        if known not in ([], ["gzip"], ["deflate"], ["gzip", "gzip"]):
            raise _final(f"the server sent the file encoded as {content_encoding[:40]!r}, which nobody asked for")
        self._layers: list[_Layer | _Again] = [_Layer(known[0]), *(_Again() for _ in known[1:])] if known else []
        self._given = [0] * len(self._layers)
        self._taken = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Give what the next ``data`` stands for, in pieces of at most `LARGEST` bytes."""
        self._taken += len(data)
        return self._undo(data, 0)

    def _undo(self, data: bytes, at: int) -> Iterator[bytes]:
        if at == len(self._layers):
            yield data
            return
        for piece in self._layers[at].decode(data):
            self._given[at] += len(piece)
            if self._given[at] > max(BOMB_FROM, MOST_EXPANSION * self._taken):
                raise _final("the body grows beyond measure when its encoding is undone")
            yield from self._undo(piece, at + 1)

    @property
    def ended(self) -> bool:
        """Whether the data so far is complete."""
        return all(layer.ended for layer in self._layers)


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


class _Again:
    """gzip that was named once more: undone only where the data begins like gzip."""

    def __init__(self) -> None:
        self._start: bytes | None = b""
        self._layer: _Layer | None = None

    @property
    def ended(self) -> bool:
        return self._layer.ended if self._layer is not None else not self._start

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._start is not None:
            data, self._start = self._start + data, None
            if data.startswith(_MAGIC):
                self._layer = _Layer("gzip")
            elif _MAGIC.startswith(data):
                self._start = data
                return
        if self._layer is None:
            yield data
        else:
            yield from self._layer.decode(data)
