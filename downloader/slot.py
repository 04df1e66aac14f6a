"""The slot of one item: of which host it is, what becomes of its requests, and what it borrows for its helpers."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

import gevent

from downloader import errors, outcomes
from downloader.hosts import Ticket
from downloader.outcomes import Outcome
from downloader.text import format_duration
from downloader.urls import host_key

if TYPE_CHECKING:
    from downloader.errors import ItemError
    from downloader.hosts import Host
    from downloader.items import Running
    from downloader.slots import Slots
    from downloader.tail import File


class Slot:
    """The slot that an item holds during a try, and those it borrows of the same host for its helpers.

    The host is that of the try's address, or what that has redirected to. It is told what becomes of each request,
    whoever makes it.
    """

    __slots__ = ("_first", "_running", "_slots", "heard_of", "held", "host", "ticket")

    host: Host
    ticket: Ticket

    def __init__(self, slots: Slots, running: Running) -> None:
        self._slots = slots
        self._running = running

    def take(self, ticket: Ticket) -> None:
        """Begin with a slot that was granted."""
        self.ticket = ticket
        self.host = ticket.host
        self.held = True
        """Not while it is on its way to another host."""
        self.heard_of = False
        """Whether the host has answered a request of this ticket."""
        self._first = True

    @property
    def name(self) -> str:
        """Of the host."""
        return self.host.name

    def check(self) -> None:
        """Raise `errors.StatusError` or `errors.HostDown` where the host is not to be asked at all."""
        left = self._slots.closed_for(self.host)
        if left:
            raise errors.StatusError(f"not asked: the host wants to be left alone for {format_duration(left)}")
        health = self.host.health
        if not (health.well or health.may_ask(time.monotonic())):
            raise given_up(self.host, health.why)

    def await_turn(self, deadline: float | None) -> None:
        """Wait until the next request of the item may be sent, or for the ``deadline``; blocks the calling greenlet."""
        if self._first:  # what the slot was granted for
            self._first = False
            return
        while (wait := self._slots.held_for(self.host)) > 0:
            left = inf if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return
            gevent.sleep(min(wait, left))
        self.host.asked_at = time.monotonic()

    def follow(self, url: str, took: float | None, size: int) -> None:
        """Go where the host has redirected to, in ``took`` seconds and ``size`` bytes, as for `answered`.

        Another host's requests take another host's slots: blocks until there is one. Raises as `check`.
        """
        name = host_key(url)
        if name == self.host.name:
            return
        self._slots.answered(self.ticket, took, size)
        self.held = False
        self.take(self._slots.move(self._running.item.index, name))
        self.check()

    def heard(self) -> None:
        """The host has begun to answer: whatever becomes of that, it is there."""
        self.heard_of = True
        if not self.host.health.well:
            self._slots.heard(self.host)

    # Helpers.

    def borrow(self) -> bool:
        """Take a slot if there is one to spare."""
        return self._slots.borrow(self.host.name)

    def give_back(self) -> None:
        """Return a borrowed slot."""
        self._slots.give_back(self.host.name)

    def may_go_on(self) -> bool:
        """Tell whether a borrowed slot may be used once more: the host may be asked, and nobody waits for the slot."""
        return self._slots.may_ask(self.host) and not self._slots.wanted(self.host.name)

    def share(self, file: File) -> None:
        """Have ``file`` helped with slots to spare when the list has come to its end, if that makes it faster."""
        self._slots.tail.add(file)

    def unshare(self, file: File) -> None:
        """Offer ``file`` no slots any more. Idempotent."""
        self._slots.tail.remove(file)

    def begin(self) -> Ticket:
        """Return what a request for a range of the file begins with."""
        now = self.host.asked_at = time.monotonic()
        return Ticket(self.host, self.host.limit.epoch, now)

    def answered(self, ticket: Ticket, took: float | None, size: int) -> None:
        """A range has come within ``took`` seconds (None: unknown), of which ``size`` bytes were of use."""
        self._running.counted += size
        self._slots.answered(ticket, took, size)

    def failed(self, ticket: Ticket, failure: ItemError) -> None:
        """A helper's request has failed, by which the host may ask to leave it alone."""
        outcome = outcomes.of(failure, heard=True)  # as the file's first response was
        if outcome is Outcome.REFUSED:
            self._slots.refused(ticket, failure)
        elif outcome in (Outcome.ANSWERED, Outcome.STALLED):
            self._slots.answered(ticket, None, 0)
        self.hold(failure)

    def hold(self, failure: ItemError) -> None:
        """Do as a Retry-After says."""
        if failure.retry_after:
            self._slots.hold(self.host.name, failure.retry_after)


def given_up(host: Host, reason: str) -> errors.HostDown:
    """Return the error of an item whose host is down."""
    return errors.HostDown(f"host unreachable: gave up after {host.health.gave_up_after} tries: {reason}")
