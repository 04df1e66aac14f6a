"""The scheduler at work: greenlets that start when it says so, wait for another turn, and borrow slots to spare."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import gevent
from gevent.hub import Waiter

from downloader.alarm import Alarm
from downloader.retry import PATIENCE
from downloader.schedule import Scheduler
from downloader.text import format_duration
from downloader.urls import host_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.context import Context
    from downloader.errors import ItemError
    from downloader.options import Options


class Slots:
    """The slots of a run. ``start`` is called with the index of each new item that may go; it returns whether it does.

    An item holds a slot from then on until `finish`, and again after each `wait`.
    """

    def __init__(self, options: Options, start: Callable[[int], bool]) -> None:
        self._start = start
        self._scheduler = Scheduler(jobs=options.jobs, per_host=options.per_host)
        self._grants: dict[int, Waiter[None]] = {}
        self._alarm = Alarm(self.pump)
        self._stopped = False

    def add(self, index: int, host: str) -> None:
        """Queue a new item."""
        self._scheduler.add(index, host)
        self.pump()

    def finish(self, index: int) -> None:
        """Free the slot of an item."""
        self._scheduler.finish(index)
        self.pump()

    def wait(self, index: int, host: str, delay: float) -> None:
        """Wait for another slot, of ``host``, for ``delay`` seconds at least; blocks the calling greenlet."""
        waiter: Waiter[None] = Waiter()
        self._grants[index] = waiter
        self._scheduler.add(index, host, not_before=time.monotonic() + delay)
        try:
            self.pump()
            waiter.get()
        except BaseException:
            if self._grants.pop(index, None) is None:  # granted, but killed before it could take it
                self.finish(index)
            raise

    def borrow(self, host: str) -> bool:
        """Take another slot of ``host`` for an item that has one, if there is one to spare."""
        return not self._stopped and self._scheduler.borrow(host, time.monotonic())

    def give_back(self, host: str) -> None:
        """Free a borrowed slot."""
        self._scheduler.give_back(host)
        self.pump()

    def wanted(self, host: str) -> bool:
        """Tell whether an item waits that could have a slot which was borrowed of ``host``."""
        return self._scheduler.wanted(host)

    def closed_for(self, index: int) -> float:
        """Return the seconds for which the host of a running item wants no request at all, 0 for none."""
        return self._scheduler.closed_for(index, time.monotonic())

    def hold(self, host: str, seconds: float) -> None:
        """Start nothing new on ``host`` for so long; where that is too long to wait, its items are refused."""
        now = time.monotonic()
        self._scheduler.hold(host, now + seconds, most=now + PATIENCE)

    def stop(self) -> None:
        """Start nothing any more."""
        self._stopped = True
        self._scheduler.drain()

    def close(self) -> None:
        """Ring no more. Idempotent."""
        self._alarm.close()

    def pump(self) -> None:
        """Start what may start now, and set the alarm for what may start later."""
        if self._stopped:
            return
        now = time.monotonic()
        while self._give(self._scheduler.start(now)):
            pass  # what has ended while it was queued leaves its slot to the next
        due = self._scheduler.next_time()
        if due is not None:
            self._alarm.set(due, now)

    def _give(self, started: list[int]) -> bool:
        """Let the items go; tell whether any had ended meanwhile, so that its slot is free again."""
        freed = False
        for index in started:
            grant = self._grants.pop(index, None)
            if grant is not None:
                gevent.get_hub().loop.run_callback(grant.switch, None)
            elif not self._start(index):
                self._scheduler.finish(index)
                freed = True
        return freed


class Help:
    """The slots that one item may borrow for its helpers, of the host of the ``url`` it asks in this try."""

    __slots__ = ("_context", "_slots", "url")

    def __init__(self, slots: Slots, context: Context) -> None:
        self.url = ""
        self._slots = slots
        self._context = context

    def borrow(self) -> bool:
        """Take a slot if there is one to spare."""
        return self._slots.borrow(host_key(self.url))

    def give_back(self) -> None:
        """Return a borrowed slot."""
        self._slots.give_back(host_key(self.url))

    def wanted(self) -> bool:
        """Tell whether an item waits for a slot like the borrowed one."""
        return self._slots.wanted(host_key(self.url))

    def refused(self, failure: ItemError, final_url: str | None = None) -> None:
        """Do as a Retry-After says, for the host that is asked and for the one it redirected to."""
        if failure.retry_after:
            for host in {host_key(self.url), host_key(final_url or self.url)}:
                self._slots.hold(host, failure.retry_after)
                self._context.note(f"{host} wants to be left alone for {format_duration(failure.retry_after)}")
