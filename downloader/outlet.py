"""Standard output and standard error, written without holding up the hub when nobody reads them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

import gevent
from gevent import monkey
from gevent.lock import BoundedSemaphore

if TYPE_CHECKING:
    from collections.abc import Callable

_WRITABLE = 2
_PIECE = 4096
"""Bytes that a pipe which is writable takes without blocking (PIPE_BUF)."""
PATIENCE = 1.0
"""Seconds a stream that nobody reads may hold up the end of a run that was told to stop."""

_select = monkey.get_original("select", "select")


class Outlet:
    """A standard stream for lines. A writer waits, and only the writer, while its reader is behind.

    The first write that fails is told to ``failed``; what comes after goes nowhere.
    """

    def __init__(self, stream: TextIO | None, failed: Callable[[OSError], None] = lambda _error: None) -> None:
        self._fd: int | None = None
        with suppress(OSError, ValueError):  # no stream, or one that a program has put in its place
            self._fd = stream.fileno() if stream is not None else None
        self._failed = failed
        self._turn = BoundedSemaphore(1)
        self._hurried = False

    def write(self, data: bytes) -> None:
        """Write ``data``, waiting in the calling greenlet until it fits."""
        with self._turn:
            error = self._write(data)
        if error is not None:  # told only now: whoever hears of it may want to write
            self._failed(error)

    def ready(self) -> bool:
        """Whether a short text could be written now."""
        return self._fd is not None and bool(_select([], [self._fd], [], 0)[1])

    def hurry(self) -> None:
        """Wait no longer than `PATIENCE` from now on: the run is to end."""
        self._hurried = True

    def _write(self, data: bytes) -> OSError | None:
        try:
            while data and self._wait() and self._fd is not None:
                data = data[os.write(self._fd, data[:_PIECE]) :]
        except OSError as error:
            self._give_up()
            return error
        return None

    def _wait(self) -> bool:
        if self.ready():
            return True
        if self._fd is None:
            return False
        hub = gevent.get_hub()
        watcher = hub.loop.io(self._fd, _WRITABLE)
        try:
            # In short turns, so that a hurry is heard of.
            waited = 0.0
            while not self.ready():
                if self._hurried and waited >= PATIENCE:
                    self._give_up()
                    return False
                with suppress(gevent.Timeout), gevent.Timeout(PATIENCE / 4):
                    hub.wait(watcher)
                waited = waited + PATIENCE / 4 if self._hurried else 0.0
        finally:
            watcher.stop()
            watcher.close()
        return True

    def _give_up(self) -> None:
        """Send what comes nowhere, so that Python's own flush at its exit does not fail once more."""
        if self._fd is not None:
            with suppress(OSError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._fd)
                os.close(null)
        self._fd = None
