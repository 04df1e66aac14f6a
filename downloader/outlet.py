"""Lines for a pipe, a terminal or a file, written without holding up the hub when nobody reads them."""

from __future__ import annotations

import os
import select
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

import gevent
from gevent import monkey
from gevent.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIPE_BUF = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe takes in one piece, so that lines of several writers do not mix (POSIX write())."""
LARGEST = 16 << 10
"""Bytes that a terminal is given in one piece, so that a frame does not flicker."""
ROOM = 64 << 10
"""Bytes that may wait for their reader before `Outlet.wait_for_room` waits, too."""
PATIENCE = 1.0
"""Seconds a stream that nobody reads may hold up the end of a run that was told to stop."""
_STEP = 0.1

_start_new_thread = monkey.get_original("_thread", "start_new_thread")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")
_select = monkey.get_original("select", "select")


class Outlet:
    """A descriptor for lines. Nobody who writes waits: what its reader does not take yet is kept.

    A regular file is written at once. Anything else may wait for a reader, in ways that nothing tells beforehand (a
    terminal that is held, a pipe with other writers), so a thread does it. The first write that fails is told to
    ``failed``, which may be called on the hub and so must not block; what comes after goes nowhere.
    """

    def __init__(self, fd: int | None, failed: Callable[[OSError], None] = lambda _error: None) -> None:
        self._fd = fd
        self._failed = failed
        self._at_once, self._most = _nature(fd)
        self._waiting = bytearray()
        self._moved = Event()
        self._patience: float | None = None
        self._hurried = 0.0
        # Shared with the thread, which works from `_hand_over` until it calls `_done`.
        self._busy = False
        self._handed = bytearray()
        self._error: OSError | None = None
        self._progress = 0.0
        self._go: Any = None
        self._done: Any = None

    @property
    def ready(self) -> bool:
        """Whether all that was written before is with its reader."""
        return self._fd is not None and not self._busy

    def write(self, data: bytes) -> None:
        """Write ``data`` behind what waits already. Neither blocks nor switches."""
        if self._fd is None or not data:
            return
        if self._at_once:
            try:
                _write(self._fd, data)
            except OSError as error:
                self._fail(error)
            return
        self._waiting += data
        if not self._busy:
            self._hand_over()

    def wait_for_room(self) -> None:
        """Wait while more than `ROOM` bytes wait; blocks the calling greenlet only."""
        while self._fd is not None and len(self._waiting) > ROOM:
            self._moved.clear()
            self._moved.wait()

    def drain(self) -> None:
        """Wait until all is written or, in a hurry, its reader has taken nothing for too long."""
        while self._busy:
            if self._patience is not None:
                since = max(self._hurried, self._progress)
                if time.monotonic() - since >= self._patience:
                    self._give_up()
                    return
            self._moved.clear()
            self._moved.wait(_STEP)

    def hurry(self, patience: float = PATIENCE) -> None:
        """Have `drain` give up once its reader has taken nothing for ``patience`` seconds from now on."""
        self._patience = patience
        self._hurried = time.monotonic()

    def close(self) -> None:
        """Write what is left, as `drain`, and close the descriptor. Idempotent."""
        self.drain()
        fd = self._fd
        self._give_up()
        if fd is not None:
            try:
                os.close(fd)
            except OSError as error:
                self._failed(error)

    def _hand_over(self) -> None:
        """Have the thread write what waits."""
        if self._go is None:
            self._done = gevent.get_hub().loop.async_()
            self._go = _allocate_lock()
            self._go.acquire()
            _start_new_thread(self._work, (self._go, self._done, self._fd))
        self._busy = True
        self._handed, self._waiting = self._waiting, bytearray()
        self._progress = time.monotonic()
        self._done.start(self._on_done)
        self._go.release()

    def _on_done(self) -> None:
        """Go on, on the hub, when the thread has written what it was handed."""
        self._done.stop()
        self._busy = False
        if self._error is not None:
            self._fail(self._error)
        elif self._waiting:
            self._hand_over()
        self._moved.set()

    def _fail(self, error: OSError) -> None:
        self._give_up()
        self._failed(error)

    def _give_up(self) -> None:
        """Send what comes nowhere. A thread that hangs in its write is left alone."""
        self._fd = None
        self._waiting.clear()
        if self._busy:
            self._done.stop()
        elif self._go is not None:
            self._done.close()
            self._handed = bytearray()
            self._go.release()  # a thread that is handed nothing ends
        self._busy, self._go = False, None
        self._moved.set()

    def _work(self, go: Any, done: Any, fd: int) -> None:
        """In the thread: write whatever is handed over."""
        while True:
            go.acquire()
            if not self._handed:
                return
            try:
                for piece in _pieces(self._handed, self._most):
                    if self._fd is None:
                        break
                    _write(fd, piece)
                    self._progress = time.monotonic()
            except OSError as error:
                self._error = error
            if self._fd is None:  # given up meanwhile
                return
            done.send()


def descriptor(stream: TextIO | None) -> int | None:
    """Return the descriptor of a standard stream; None for no stream, or what a program has put in its place."""
    if stream is not None:
        with suppress(OSError, ValueError):
            return stream.fileno()
    return None


def _nature(fd: int | None) -> tuple[bool, int]:
    """Tell whether the descriptor takes everything at once, and how many bytes it is to be given in one piece."""
    if fd is None:
        return True, LARGEST
    try:
        status = os.fstat(fd)
        takes_all = stat.S_ISREG(status.st_mode) or os.path.samestat(status, os.stat(os.devnull))
    except OSError:
        return True, LARGEST
    return takes_all, LARGEST if stat.S_ISCHR(status.st_mode) else PIPE_BUF


def _pieces(data: bytearray, most: int) -> Iterator[bytes]:
    """Cut ``data`` into pieces of at most ``most`` bytes, at ends of lines where there are any."""
    at = 0
    while at < len(data):
        end = at + most
        if end < len(data):
            end = data.rfind(b"\n", at, end) + 1 or end
        yield bytes(data[at:end])
        at = end


def _write(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # another program has made it so
            _select([], [fd], [])
