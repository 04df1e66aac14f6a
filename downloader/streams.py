"""Standard input and named pipes, read without holding up the hub."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import gevent
from gevent import monkey

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 128 << 10
_READABLE = 1

_select = monkey.get_original("select", "select")


def stdin_chunks() -> Iterator[bytes | None]:
    """Give what standard input holds as it comes; None whenever nothing more is there right now."""
    return _chunks(0)


def stream_chunks(path: str) -> Iterator[bytes | None]:
    """Give what the named pipe or device at ``path`` holds as it comes. Raises OSError where it cannot be opened."""
    # Opening a pipe waits for its writer: in a thread, so that others go on.
    fd = gevent.get_hub().threadpool.apply(os.open, (path, os.O_RDONLY | os.O_CLOEXEC))
    try:
        yield from _chunks(fd)
    finally:
        os.close(fd)


def _chunks(fd: int) -> Iterator[bytes | None]:
    if stat.S_ISREG(os.fstat(fd).st_mode):
        while chunk := os.read(fd, _CHUNK):
            yield chunk
        return
    hub = gevent.get_hub()
    watcher = hub.loop.io(fd, _READABLE)
    try:
        while True:
            if not _select([fd], [], [], 0)[0]:
                yield None
                hub.wait(watcher)
            chunk = os.read(fd, _CHUNK)
            if not chunk:
                return
            yield chunk
    finally:
        watcher.stop()
        watcher.close()
