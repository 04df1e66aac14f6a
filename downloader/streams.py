"""Files, pipes and devices, opened and read without holding up the hub."""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING

import gevent
from gevent import monkey

from downloader.turns import give_turn, opening

if TYPE_CHECKING:
    from collections.abc import Generator

CHUNK = 8 << 10
"""Bytes that are read before others get their turn: in the shortest lines they are a matter of some milliseconds."""
_READABLE = 1

_select = monkey.get_original("select", "select")
_poll = monkey.get_original("select", "poll")


def open_file(path: str, flags: int) -> int:
    """Open ``path`` as `os.open` does and return its descriptor; blocks the calling greenlet only. Raises OSError."""
    return opening(path, lambda: os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY, 0o666))


def chunks(source: str | int) -> Generator[bytes | None, None, None]:
    """Give what the file, pipe or device at ``source``, or with this descriptor, holds as it comes.

    None says that nothing more is there right now. Others get their turn between chunks. Raises OSError.
    """
    if isinstance(source, int):
        yield from _read(source)
        return
    fd = open_file(source, os.O_RDONLY)
    try:
        yield from _read(fd)
    finally:
        os.close(fd)


def _read(fd: int) -> Generator[bytes | None, None, None]:
    hub = gevent.get_hub()
    watcher = None if stat.S_ISREG(os.fstat(fd).st_mode) else hub.loop.io(fd, _READABLE)
    try:
        while True:
            if watcher is not None and not _is_readable(fd):
                yield None
                hub.wait(watcher)
            chunk = os.read(fd, CHUNK)
            if not chunk:
                return
            yield chunk
            give_turn()
    finally:
        if watcher is not None:
            watcher.stop()
            watcher.close()


def _is_readable(fd: int) -> bool:
    try:
        return bool(_select([fd], [], [], 0)[0])
    except ValueError:  # beyond the 1024 descriptors that select() knows; poll() does not know all devices everywhere
        poll = _poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(0))
