"""The scheduler at work: greenlets that start when it says so, wait for another turn, and borrow slots to spare.

What becomes of their requests is told here too, as it decides how many more there may be.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import gevent
from gevent.hub import Waiter

from downloader.alarm import Alarm
from downloader.errors import StatusError
from downloader.retry import PATIENCE
from downloader.schedule import Scheduler
from downloader.tail import Tail
from downloader.troubles import Troubles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.errors import ItemError
    from downloader.hosts import Host, Ticket
    from downloader.items import Running
    from downloader.options import Options

TICK = 0.5
"""Seconds between two looks at how much the running transfers have received."""


class Slots:
    """The slots of a run. ``start`` is called with the index of each new item that may go; it returns whether it does.

    An item holds a slot from then on until `finish`, and again after each `wait`.
    """

    def __init__(
        self,
        options: Options,
        start: Callable[[int], bool],
        *,
        idle: Callable[[], None] = lambda: None,
        note: Callable[[str], None] = lambda _: None,
        warn: Callable[[str], None] = lambda _: None,
        running: Mapping[int, Running] | None = None,
    ) -> None:
        """``idle`` is called where slots are free that no queued item can use.

        ``note`` is told of each change of a host's level, ``warn`` of hosts that are to be left alone or down.
        ``running`` has the transfers in flight by their items' index.
        """
        self._start = start
        self._note = note
        self._idle = idle
        self._transfers = running if running is not None else {}
        self._scheduler = Scheduler(jobs=options.jobs, per_host=options.per_host, delay=options.pause)
        self._grants: dict[int, Waiter[None]] = {}
        self._loop = gevent.get_hub().loop
        self._arranging = False
        self._alarm = Alarm(self.pump)
        self._ticking = Alarm(self._tick)
        self.troubles = Troubles(note, warn, self._scheduler.busy)
        self._untold: dict[str, Host] = {}  # changes that are told at the next tick: what comes together is one
        self.tail = Tail()
        """The large files that are running and can be helped with slots to spare."""
        self._stopped = False

    def add(self, index: int, host: str) -> None:
        """Queue a new item."""
        self._scheduler.add(index, host)
        self.pump()
        if self._scheduler.idle and not self._stopped:  # now, so that reading goes on while it goes well
            self._idle()

    def finish(self, index: int) -> None:
        """Free the slot of an item."""
        self._scheduler.finish(index)
        self.pump()

    def wait(self, index: int, host: str, delay: float) -> None:
        """Wait for another slot, of ``host``, for ``delay`` seconds at least; blocks the calling greenlet."""
        self._scheduler.add_again(index, host, not_before=time.monotonic() + delay)
        self._await_grant(index)

    def move(self, index: int, host: str) -> Ticket:
        """Change the item's slot for one of ``host``; blocks the calling greenlet."""
        self._scheduler.move(index, host)
        self._await_grant(index)
        return self.ticket(index)

    def _await_grant(self, index: int) -> None:
        waiter: Waiter[None] = Waiter()
        self._grants[index] = waiter
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

    @property
    def several(self) -> bool:
        """Whether there are items of more than one host."""
        return self._scheduler.several

    def end_of_list(self) -> None:
        """No new item will come: slots to spare are for those that run."""
        self.tail.begun = True
        self.pump()

    # What became of a request; to be told while its slot is held.

    def ticket(self, index: int) -> Ticket:
        """Return what the item got its slot with. Raises KeyError if it holds none."""
        return self._scheduler.ticket(index)

    def heard(self, host: Host) -> None:
        """The host has begun to answer a request."""
        if host.heard():
            self.troubles.back(host.name)
        if host.limit.level != host.told:  # changed while it let nobody in, when nobody was told
            self._untold[host.name] = host

    def answered(self, ticket: Ticket, took: float | None, size: int) -> None:
        """The host has answered within ``took`` seconds (None: unknown) with ``size`` bytes."""
        host = ticket.host
        epoch = host.limit.epoch
        self._scheduler.answered(ticket, time.monotonic(), took, size)
        if not host.health.well:
            self.heard(host)
        if host.limit.epoch != epoch:
            self._tell(host)

    def refused(self, ticket: Ticket, failure: ItemError) -> bool:
        """The host has refused a request with ``failure``, as `schedule.Scheduler.refused`."""
        host = ticket.host
        epoch, falls, was_down, held = host.limit.epoch, host.limit.falls, host.health.probe_at, host.held_until
        self.heard(host)
        now = time.monotonic()
        by_rate = isinstance(failure, StatusError) and failure.status == 429
        counts = self._scheduler.refused(ticket, now, failure.retry_after, by_rate=by_rate)
        if host.limit.epoch != epoch:
            self._untold[host.name] = host
        if host.limit.falls != falls or host.name in self._untold:
            self.troubles.slowed(host.name, now, host.limit.level, host.limit.falls - falls)
        if host.held_until > held:
            self.troubles.held(host.name, now, host.held_until, str(failure), refuses=True)
        self._tell_down(host, was_down, str(failure))
        return counts

    def stalled(self, ticket: Ticket, reason: str, size: int) -> bool:
        """The host has gone silent after ``size`` bytes of a response; tell whether it is given up."""
        host = ticket.host
        was_down = host.health.probe_at
        down = host.stalled(time.monotonic(), size)
        self._tell_down(host, was_down, reason)
        return down

    def unreachable(self, ticket: Ticket, reason: str, *, silent: bool) -> bool:
        """No host was found because of ``reason``; tell whether it is given up."""
        host = ticket.host
        now, epoch, was_down, held = time.monotonic(), host.limit.epoch, host.health.probe_at, host.held_until
        down = self._scheduler.unreachable(ticket, now, silent=silent)
        host.health.why = reason
        if down and was_down is None:
            self._untold.pop(host.name, None)
            self._tell_down(host, was_down, reason)
        elif host.answers and host.limit.epoch != epoch:
            self._untold[host.name] = host
        if not down and host.held_until > held:
            self.troubles.held(host.name, now, host.held_until, reason)
        return down

    def _tell_down(self, host: Host, was_down: float | None, reason: str) -> None:
        """Tell that the host is given up because of ``reason``, unless ``was_down`` says that it was before."""
        if was_down is None and host.health.probe_at is not None:
            host.health.why = reason
            self.troubles.down(host.name, host.health.gave_up_after, reason)

    def _tell_untold(self, slow: Sequence[str] = ()) -> None:
        for name in slow:
            self._note(f"{name}: a file was no faster in several ranges at once: its files are not split any more")
        while self._untold:
            self._tell(next(iter(self._untold.values())))

    def _tell(self, host: Host) -> None:
        self._untold.pop(host.name, None)
        why = "it could not be reached" if host.health.tries else host.limit.why
        if host.limit.level != host.told:
            host.told = host.limit.level
            self.troubles.changed(host.name, host.limit.level, why)

    def _tick(self) -> None:
        """Have the scheduler know what long transfers bring."""
        received: dict[Host, tuple[int, int]] = {}
        for index, running in self._transfers.items():
            if not self._scheduler.holds(index):  # on its way to another host
                continue
            host = self._scheduler.ticket(index).host
            size, silent = received.get(host, (0, 0))
            came = running.received - running.resumed
            # The ranges of a split file that have ended are known already.
            received[host] = size + came - running.counted, silent + (came == 0)
        now = time.monotonic()
        epochs = {host: host.limit.epoch for host in received}
        for host in self._scheduler.flowed(now, received):
            self.heard(host)
        for host, epoch in epochs.items():
            if host.limit.epoch != epoch:
                self._untold[host.name] = host
        slow = self.tail.look(now)
        if self._untold or slow:  # those who are told may wait for their reader, the hub may not
            gevent.spawn(self._tell_untold, slow)
        self.pump()

    def closed_for(self, host: Host) -> float:
        """Return the seconds for which a host wants no request at all, 0 for none."""
        return self._scheduler.closed_for(host, time.monotonic()) if self._scheduler.closed else 0.0

    def held_for(self, host: Host) -> float:
        """Return the seconds for which nothing is to be asked of a host, 0 or less for none."""
        return self._scheduler.not_before(host) - time.monotonic()

    def may_ask(self, host: Host) -> bool:
        """Tell whether somebody who has a slot of the host may send another request."""
        return not self._stopped and self._scheduler.may_ask(host, time.monotonic())

    def hold(self, host: str, seconds: float) -> None:
        """Start nothing new on ``host`` for so long; where that is too long to wait, its items are refused."""
        now = time.monotonic()
        self._scheduler.hold(host, now + seconds, most=now + PATIENCE)
        if seconds > PATIENCE:
            self.troubles.closed(host, seconds)
        else:
            self.troubles.held(host, now, now + seconds)

    def found(self, *, every: bool = False) -> list[str]:
        """Return what was found out about hosts, as `troubles.Troubles.found`."""
        return self.troubles.found(self._scheduler.hosts(), every=every)

    def stop(self) -> None:
        """Start nothing any more."""
        self._stopped = True
        self._scheduler.drain()

    def close(self) -> None:
        """Start nothing and ring no more. Idempotent."""
        self._stopped = True
        self._alarm.close()
        self._ticking.close()
        self._tell_untold()

    def pump(self) -> None:
        """Start what may start now, and see to what may start later."""
        if self._stopped:
            return
        while self._give(self._scheduler.start(time.monotonic())):
            pass  # what has ended while it was queued leaves its slot to the next
        if not self._arranging:  # once for the dozens of requests that may end in one turn of the hub
            self._arranging = True
            self._loop.run_callback(self._arrange)

    def _arrange(self) -> None:
        """Set the alarm for what may start later, and have idle slots used."""
        self._arranging = False
        if self._stopped:
            return
        now = time.monotonic()
        due = self._scheduler.next_time()
        if due is not None:
            self._alarm.set(due, now)
        if self._scheduler.running:
            self._ticking.keep(now + TICK, now)
        if self._scheduler.idle:
            self._idle()
            self.tail.offer()

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
