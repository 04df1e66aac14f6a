"""Signals that are heard whatever a run is at, even in a call of the system that does not return.

A handler runs only when such a call has returned: on a network or FUSE mount that does not answer that may be never,
and since there is a handler the signal does not end the process either. So the signals are blocked, and a thread waits
for them (sigwait(3)) and hands each to the hub. Where the hub gives no sign of life then, another one ends the process.
"""

from __future__ import annotations

import os
import select
import signal
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

PATIENCE = 12
"""Steps in a row without a sign of life from the hub after which the process is ended."""
STEP = 0.1
"""Seconds of a step. Steps are counted, so that a process that was stopped has the rest of them when it goes on."""

_poll = monkey.get_original("select", "poll")


class Signals:
    """A context in which ``heard`` is called with the number of each signal that comes, in a greenlet of its own.

    From the first signal on, the process is ended with exit code 128 and its number where the hub has no turn to give.
    """

    def __init__(self, numbers: Iterable[signal.Signals], heard: Callable[[int], None]) -> None:
        self._numbers = frozenset(numbers)
        self._heard = heard
        self._arrived: list[int] = []
        self._first = 0
        self._over = Event()
        self._alive = Event()
        self._threads: list[Thread] = []

    def __enter__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)  # of threads to come, too
        self._bell: Any = gevent.get_hub().loop.async_(ref=False)
        self._bell.start(self._answer)
        if self._numbers:
            self._start(self._wait)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if self._threads:
            signal.pthread_kill(self._threads[0].ident or 0, min(self._numbers))
        for thread in self._threads:
            thread.join()
        self._bell.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def _start(self, function: Callable[[], None]) -> None:
        thread = Thread(target=function, daemon=True)
        self._threads.append(thread)
        thread.start()

    # In threads.

    def _wait(self) -> None:
        while True:
            number = signal.sigwait(self._numbers)
            if self._over.is_set():
                return
            self._arrived.append(number)
            self._bell.send()
            if not self._first:
                self._first = number
                self._start(self._watch)

    def _watch(self) -> None:
        missed = 0
        while missed < PATIENCE:
            self._alive.clear()
            self._bell.send()
            if self._over.wait(STEP):
                return
            missed = 0 if self._alive.is_set() else missed + 1
        _say(b"gdl: ended at once: a call of the system does not return, as on a mount that does not answer\n")
        os._exit(128 + self._first)

    # On the hub.

    def _answer(self) -> None:
        self._alive.set()
        while self._arrived:
            gevent.spawn(self._heard, self._arrived.pop(0))


def _say(line: bytes) -> None:
    """Write to standard error, if that takes it at once."""
    poll = _poll()
    poll.register(2, select.POLLOUT)
    if poll.poll(0):
        os.write(2, line)
