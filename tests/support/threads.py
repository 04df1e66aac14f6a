"""The hub's threads, all busy while a test looks at who has to wait for one."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import gevent

from downloader import files

if TYPE_CHECKING:
    from collections.abc import Iterator


def descriptor() -> int:
    """A descriptor to be given away."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def busy_threads() -> Iterator[None]:
    """Meanwhile every thread of the hub waits."""
    release = threading.Event()
    begun: list[int] = []

    def wait(fd: int) -> None:
        begun.append(fd)
        release.wait(60)

    count = gevent.get_hub().threadpool.maxsize
    waiting = [gevent.spawn(files.in_thread, wait, descriptor) for _ in range(count)]
    try:
        while len(begun) < count:
            gevent.sleep(0.001)
        yield
    finally:
        release.set()
        gevent.joinall(waiting)
