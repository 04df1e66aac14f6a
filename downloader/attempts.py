"""All tries of one item: where each asks, how long it waits for its turn, and what a failure means for the next."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from downloader import errors, outcomes, urls
from downloader.certainty import Certainty
from downloader.outcomes import Outcome
from downloader.slot import Slot, given_up
from downloader.transfer import Download
from downloader.tries import Tries

if TYPE_CHECKING:
    from downloader.context import Context, Name
    from downloader.items import Running, Saved, Tally
    from downloader.slots import Slots

FREE_REFUSALS = 20
"""How often a busy host may send an item away before that uses up its retries."""


class Attempts:
    """Brings one item to its file. To be made with a slot held; at its end, whatever that is, none is."""

    __slots__ = (
        "_addresses",
        "_answers",
        "_certainty",
        "_context",
        "_failed",
        "_free",
        "_item",
        "_refusals",
        "_running",
        "_shown",
        "_slot",
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
        self._slot = Slot(slots, running)
        self._failed: set[int] = set()
        self._free = False
        self._refusals = self._answers = 0
        self._addresses = (name.item.address, *name.item.mirrors)
        self._tries = Tries.first(len(self._addresses), context.options.retries)
        self.download = Download(context, name, running, self._slot)
        self._certainty: Certainty | None = None

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
        slots, slot, index, running = self._slots, self._slot, self._item.index, self._running
        address = self._addresses[self._tries.address]
        running.attempts = self._tries.attempt
        self._shown[index] = running
        slot.take(slots.ticket(index))
        try:
            self.download.destination.check_beforehand()
            slot.check()
            try:
                self.download.attempt(address, deadline)
            except errors.TransferError as error:
                if (framing := self.download.doubts(error)) is None:
                    raise
                self._certain().replace(error, framing, address, deadline)
            else:
                if self.download.unproven is not None:
                    self._certain().prove(address, deadline)
        except errors.ItemError as error:
            failure = self._tell(error)
            slot.hold(failure)  # before the slot goes to the next one
            return failure
        else:
            reply = self.download.reply
            took, size = self._came() if reply is None else (reply.took, reply.size)
            slots.answered(slot.ticket, took, size)
        finally:
            del self._shown[index]
            self._tally.received += running.received - running.resumed
            if slot.held:  # not if it was interrupted on its way to another host
                slots.finish(index)
        return None

    def _certain(self) -> Certainty:
        self._certainty = self._certainty or Certainty(self.download, self._context.note)
        return self._certainty

    def _came(self) -> tuple[float | None, int]:
        """Return how long the last response took, None if it did not come whole, and the bytes of use in it."""
        reply, running = self.download.reply, self._running
        if reply is not None:
            return reply.took, reply.size
        return None, max(0, running.received - running.resumed - running.counted)

    def _tell(self, error: errors.ItemError) -> errors.ItemError:
        """Have the host's failure count, and return what it is for the item."""
        slots, ticket, host = self._slots, self._slot.ticket, self._slot.host
        self._free = False
        outcome = outcomes.of(error, heard=self._slot.heard_of, known=host.health.has_answered)
        if outcome in (Outcome.ANSWERED, Outcome.STALLED):
            took, size = self._came()
            slots.answered(ticket, took, size)
            if outcome is Outcome.STALLED and slots.stalled(ticket, str(error), size):
                return given_up(host, str(error))
        elif outcome is Outcome.REFUSED:
            goes_on = host.running > 1 or host.answers > self._answers
            self._answers = host.answers
            # A connection that broke before any response may be this URL's fault, so it costs one of its retries.
            self._set_free(slots.refused(ticket, error) and goes_on and self._slot.heard_of)
            if host.health.probe_at is not None:
                return given_up(host, str(error))
            if host.hopeless:
                error.retryable = False
                error.args = (f"{error}; the host has refused {host.refusals} requests in a row",)
        elif outcome is not Outcome.NOTHING:
            if slots.unreachable(ticket, str(error), silent=outcome is Outcome.SILENT):
                return given_up(host, str(error))
            self._set_free(host.health.has_answered and isinstance(error, errors.NotConnected))
        return error

    def _set_free(self, free: bool) -> None:
        """Take note that it was the host that failed, and whether it is expected to do better soon."""
        self._refusals += 1
        self._free = free and self._refusals <= (FREE_REFUSALS if self._context.options.retries else 0)

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
        if found is None:
            raise self._told(failure, last=True)
        tries, delay = found
        host = urls.host_key(self._addresses[tries.address].url)
        held = self._slots.held_for(self._slot.host) if host == self._slot.name else 0.0
        # Others first, as it may be this file alone that is refused; but what a Retry-After asks for is in the delay.
        if held > 0 and self._slot.host.refusals and not failure.retry_after:
            delay += held
        if deadline is not None and time.monotonic() + max(delay, held) >= deadline:
            raise self._told(failure, last=True)
        failure = self._told(failure)
        self._context.ledger.yield_place(item.index)
        for listener in self._context.listeners:
            listener.retrying(item, failure, max(delay, held), self._tries.attempt)
        self._tries = tries
        self._tally.waiting += 1
        try:
            self._slots.wait(item.index, host, delay)
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
