"""Digests of a file that comes in pieces: computed as the bytes pass where they come in order, else in a thread."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from downloader.items import Checksum

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from downloader.items import Item
    from downloader.options import Algorithm, Options
    from downloader.partfile import Part

READ = 1024 * 1024
"""Bytes read and hashed at a time by the thread; other threads run in between."""


class Digests:
    """The digests of one file by ``algorithms``, in their order."""

    def __init__(self, algorithms: Iterable[Algorithm]) -> None:
        import hashlib  # loads OpenSSL, which takes 5 ms

        self._hashers = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm in algorithms}
        self._at = 0

    def update(self, offset: int, chunks: Sequence[bytes]) -> None:
        """Take the file's bytes from ``offset`` on, where these are the next; others are read again by `finish`."""
        if offset == self._at:
            for chunk in chunks:
                self._at += len(chunk)
                for hasher in self._hashers.values():
                    hasher.update(chunk)

    def finish(self, part: Part | None, total: int) -> tuple[Checksum, ...]:
        """Return the digests of all ``total`` bytes; what has not passed in order is read from ``part``.

        Blocks the calling greenlet only, however large the file is. Raises as `files.translate` says.
        """
        if part is not None and self._at < total:
            stop: list[bool] = []
            try:
                part.in_thread(partial(self._read_rest, stop))
            finally:
                stop.append(True)
        if self._at != total:
            raise ValueError(f"{self._at} bytes were hashed, not {total}")
        return tuple(Checksum(algorithm, hasher.hexdigest()) for algorithm, hasher in self._hashers.items())

    def _read_rest(self, stop: Sequence[bool], fd: int) -> None:
        while not stop and (chunk := os.pread(fd, READ, self._at)):
            self._at += len(chunk)
            for hasher in self._hashers.values():
                hasher.update(chunk)


def digests_of(item: Item, options: Options) -> Digests | None:
    """Return what computes the digests that are wanted of an item's file: to be told, and to be checked."""
    wanted: dict[Algorithm, None] = {}
    if options.checksum_algorithm is not None:
        wanted[options.checksum_algorithm] = None
    if item.checksum is not None:
        wanted[item.checksum.algorithm] = None
    return Digests(wanted) if wanted else None
