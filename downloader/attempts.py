"""All tries of one item: where each asks, how long it waits for its turn, and what a failure means for the next."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from downloader import errors, outcomes, urls
from downloader.outcomes import Outcome
from downloader.slots import Help
from downloader.text import format_duration
from downloader.transfer import Download
from downloader.tries import Tries

if TYPE_CHECKING:
    from downloader.context import Context, Name
    from downloader.items import Running, Saved, Tally
    from downloader.schedule import Ticket
    from downloader.slots import Slots

FREE_REFUSALS = 20
"""How often a busy host may send an item away before that uses up its retries."""


class Attempts:
    """Brings one item to its file. To be made with a slot held; at its end, whatever that is, none is."""

    __slots__ = (
        "_addresses",
        "_answers",
        "_context",
        "_failed",
        "_free",
        "_help",
        "_item",
        "_refusals",
        "_running",
        "_shown",
        "_slots",
        "_tally",
        "_tries",
        "download",
    )

    def __init__(
        self, context: Context, slots: Slots, name: Name, running: Running, shown: dict[int, Running], tally: Tally
    ) -> None:
        """``shown`` has the transfers in flight by their items' index, for the display."""
        self._context = context
        self._slots = slots
        self._item = name.item
        self._running = running
        self._shown = shown
        self._tally = tally
        self._help = Help(slots, running)
        self._failed: set[int] = set()
        self._free = False
        self._refusals = self._answers = 0
        self._addresses = (name.item.address, *name.item.mirrors)
        self._tries = Tries.first(len(self._addresses), context.options.retries)
        self.download = Download(context, name, running, self._help)

    def run(self) -> Saved:
        """Try until the file is in place. Raises `context.Skip`, or what ends the item otherwise."""
        limit = self._context.options.max_time
        deadline = None if limit is None else self._running.started + limit
        while True:
            failure = self._attempt(deadline)
            if failure is None:
                try:
                    return self.download.publish()
                except errors.FileLost as error:
                    self.download.discard()
                    failure = error
            self._prepare_next(failure, deadline)

    def _attempt(self, deadline: float | None) -> errors.ItemError | None:
        slots, index, running = self._slots, self._item.index, self._running
        address = self._addresses[self._tries.address]
        running.attempts = self._tries.attempt
        self._shown[index] = running
        ticket = slots.ticket(index)
        self._help.host = host = ticket.host
        self._help.heard_of = False
        try:
            left = slots.closed_for(host)
            if left:
                raise errors.StatusError(f"not asked: the host wants to be left alone for {format_duration(left)}")
            if not (host.health.well or host.health.may_ask(time.monotonic())):
                raise _given_up(host.health.tries, host.health.why)
            self.download.destination.check_beforehand()
            self.download.attempt(address, deadline)
        except errors.ItemError as error:
            failure = self._tell(error, ticket)
            self._help.refused(failure, self.download.progress.final_url)  # before its slot goes to the next one
            return failure
        else:
            reply = self.download.reply
            rest = running.received - running.resumed - running.counted
            took, size = (None, max(0, rest)) if reply is None else (reply.took, reply.size)
            slots.answered(ticket, took, size)
        finally:
            del self._shown[index]
            self._tally.received += running.received - running.resumed
            slots.finish(index)
        return None

    def _tell(self, error: errors.ItemError, ticket: Ticket) -> errors.ItemError:
        """Have the host's failure count, and return what it is for the item."""
        slots, host = self._slots, ticket.host
        self._free = False
        outcome = outcomes.of(error, heard=self._help.heard_of)
        if outcome is Outcome.ANSWERED:
            reply = self.download.reply
            slots.answered(ticket, None if reply is None else reply.took, 0)
        elif outcome is Outcome.REFUSED:
            self._refusals += 1
            goes_on = host.running > 1 or host.answers > self._answers
            self._answers = host.answers
            counts = slots.refused(ticket, error.retry_after)
            most = FREE_REFUSALS if self._context.options.retries else 0
            self._free = counts and goes_on and self._refusals <= most
        elif outcome is not Outcome.NOTHING:
            tries = slots.unreachable(ticket, str(error), silent=outcome is Outcome.SILENT)
            if tries:
                return _given_up(tries, str(error))
        return error

    def _prepare_next(self, failure: errors.ItemError, deadline: float | None) -> None:
        """Wait for the next try's turn. Raises ``failure`` where none may help."""
        download, item = self.download, self._item
        found = self._tries.next(
            failure,
            progressed=download.headway.progressed,
            bound=download.headway.bound(self._addresses[self._tries.address].url),
            jitter=random.random(),  # noqa: S311 jitter, no secret
            free=self._free,
        )
        if found is None or (deadline is not None and time.monotonic() + found[1] >= deadline):
            raise self._told(failure, last=True)
        failure = self._told(failure)
        tries, delay = found
        self._context.ledger.yield_place(item.index)
        for listener in self._context.listeners:
            listener.retrying(item, failure, delay, self._tries.attempt)
        self._tries = tries
        self._tally.waiting += 1
        try:
            self._slots.wait(item.index, urls.host_key(self._addresses[tries.address].url), delay)
        finally:
            self._tally.waiting -= 1
        self._running.restart()

    def _told(self, failure: errors.ItemError, *, last: bool = False) -> errors.ItemError:
        """Say whose failure it is where there are several addresses; the ``last`` was not the only one."""
        self._failed.add(self._tries.address)
        others = len(self._failed) - 1
        if len(self._addresses) > 1 and isinstance(failure, errors.TransferError):
            whose = f"{self._addresses[self._tries.address].url}: " if self._tries.address else ""
            more = "another address" if others == 1 else f"{others} other addresses"
            also = f" (and {more} failed, too)" if last and others else ""
            failure.args = (f"{whose}{failure}{also}",)
        return failure


def _given_up(tries: int, reason: str) -> errors.HostDown:
    return errors.HostDown(f"host unreachable: gave up after {tries} tries: {reason}")
