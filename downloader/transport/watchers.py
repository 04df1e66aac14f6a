"""libcurl's sockets and its timer as watchers of the hub.

libcurl's callbacks only set watchers; what these see is handed to ``drive``, from the hub and never from inside
libcurl. Where many sockets are ready at once and the processor has time to spare, the first few go first: what comes of
them may be further requests, which are under way then while the rest is seen to.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pycurl

if TYPE_CHECKING:
    from collections.abc import Callable


FEW = 4
"""Sockets that go first."""
SPARE = 0.7
"""The part of the time below which the processor has some to spare. Without any, larger batches take less of it."""


class Watchers:
    """Watch what ``multi`` asks for, and call ``drive(fd, events)`` when it is there."""

    def __init__(self, multi: Any, loop: Any, drive: Callable[[int, int], None]) -> None:
        self._multi = multi
        self._loop = loop
        self._drive = drive
        self._sockets: dict[int, tuple[Any, int]] = {}
        self._idle: dict[int, Any] = {}  # watchers that are stopped, by the number of the socket they were for
        self._ready: dict[int, int] = {}  # events by socket
        self._looked, self._used = time.perf_counter(), time.process_time()
        self._timer: Any = None
        self._due = 0.0
        self._kicked = False
        self._closed = False
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)

    def __len__(self) -> int:
        """How many sockets are watched."""
        return len(self._sockets)

    def stop_timer(self) -> None:
        """Watch no time any more, and nothing new."""
        self._closed = True
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def close(self) -> None:
        """Watch nothing any more; to be called when libcurl is done with its sockets."""
        self.stop_timer()
        for watcher, _ in self._sockets.values():
            watcher.stop()
            watcher.close()
        for watcher in self._idle.values():
            watcher.close()
        self._sockets.clear()
        self._idle.clear()
        self._ready.clear()

    # Called by libcurl.

    def _on_socket(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        known = self._sockets.get(fd)
        if known is not None:
            watcher, events = known
            if events == what:
                return
            watcher.stop()
            self._idle[fd] = watcher
            del self._sockets[fd]
            self._ready.pop(fd, None)
        if what in (pycurl.POLL_IN, pycurl.POLL_OUT, pycurl.POLL_INOUT) and not self._closed:
            # POLL_IN, POLL_OUT, CSELECT_IN, CSELECT_OUT and libev's READ, WRITE all are 1 and 2.
            watcher = self._idle.pop(fd, None)
            if watcher is None:
                watcher = self._loop.io(fd, what)
            else:
                watcher.events = what  # also where it is the same: that has libev ask anew whose number it is
            self._sockets[fd] = watcher, what
            watcher.start(self._on_ready, fd, pass_events=True)

    def _on_timer(self, milliseconds: int) -> None:
        if milliseconds < 0:
            if self._timer is not None:
                self._timer.close()
                self._timer = None
        elif milliseconds == 0:
            # Deferred: libcurl must not be entered again from its own callback.
            if not self._kicked and not self._closed:
                self._kicked = True
                self._loop.run_callback(self._on_kick)
        elif not self._closed:
            # A timer that fires too early costs one empty call; moving it each time costs more.
            due = self._loop.now() + milliseconds / 1000
            if self._timer is not None:
                if self._due <= due:
                    return
                self._timer.close()
            self._arm(due)

    # Called by the hub.

    def _arm(self, due: float) -> None:
        self._due = due
        self._timer = self._loop.timer(max(0.0, due - self._loop.now()))
        self._timer.start(self._on_due)

    def _on_due(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._drive(pycurl.SOCKET_TIMEOUT, 0)
        if self._timer is None and not self._closed:
            # libcurl repeats its timer only when it changes: keep the one it believes in.
            milliseconds = self._multi.timeout()
            if milliseconds >= 0:
                self._arm(self._loop.now() + max(milliseconds, 1) / 1000)

    def _on_kick(self) -> None:
        self._kicked = False
        self._drive(pycurl.SOCKET_TIMEOUT, 0)

    def _on_ready(self, events: int, fd: int) -> None:
        if not self._ready:
            self._loop.run_callback(self._hand_over)
        self._ready[fd] = events

    def _hand_over(self) -> None:
        ready = self._ready
        few = FEW if len(ready) > FEW and self._has_time() else 0
        while ready:
            fd = next(iter(ready))
            self._drive(fd, ready.pop(fd))
            few -= 1
            if not few and ready:
                self._loop.run_callback(self._hand_over)
                return

    def _has_time(self) -> bool:
        """Tell whether the processor has had time to spare since this was last asked."""
        now, used = time.perf_counter(), time.process_time()
        spare = used - self._used < SPARE * (now - self._looked)
        self._looked, self._used = now, used
        return spare
