"""Which item may start now: per-host queues, limits, waits and round robin. Pure: no I/O, the clock passed in.

The engine adds items and reports what became of them; `Scheduler.start` answers which may go. The cases, for one host
(scheme, name and port):

- it has queued items, room below its level (`limits`), and may be asked now: it stands in the ring, and the ring hands
  out one item a turn, so that hosts share the slots fairly and a host's own order is kept;
- it is at its level: off the ring until one of its items ends;
- it is to be left alone (Retry-After, ``--delay``, not reached): off the ring until that time, while others go on;
- it is down (`health`): its items start, so as to be told at once that they are in vain;
- nothing queued, nothing running, no wait: forgotten but for what was found out of the newest such hosts.

A running item may borrow further slots of its host while nobody else could use them. Items that wait for another try
hold no slot: they lie in a heap until their time, then go before those of their host that have not begun. So do items
that were redirected to another host and need a slot of that; while that is busy the first host starts as many fewer,
as a redirect may not hold for long.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heappop, heappush
from itertools import chain, count
from math import inf
from typing import TYPE_CHECKING, Final

from downloader.health import FIRST_WAIT, LONGEST_WAIT
from downloader.hosts import Host, Ticket
from downloader.limits import CEILING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLOSED_HOSTS: Final = 4096
"""Hosts remembered for wanting to be left alone for longer than anybody waits."""
KNOWN_HOSTS: Final = 4096
"""Hosts of which it is remembered what they can stand, though nothing is asked of them just now."""


class Scheduler:
    """Decides the order and the concurrency of items, known here by a number (their index in the run).

    ``jobs`` bounds the running items over all hosts, ``per_host`` those of one host (None: what `limits.Limit` finds).
    ``delay`` is the least time between the starts of two requests to one host. Times are seconds of any one monotonic
    clock.
    """

    def __init__(self, *, jobs: int, per_host: int | None = None, delay: float = 0.0) -> None:
        self._jobs = jobs
        self._most = min(jobs, CEILING if per_host is None else per_host)
        self._delay = delay
        self._hosts: dict[str, Host] = {}
        self._known: OrderedDict[str, Host] = OrderedDict()
        self._ring: deque[Host] = deque()
        self._running: dict[int, Ticket] = {}
        self._delayed: list[tuple[float, int, int, Host]] = []
        self._holds: list[tuple[float, int, str]] = []
        self.closed: OrderedDict[str, float] = OrderedDict()
        """When hosts may be asked again that want to be left alone for longer than anybody waits."""
        self._again: set[int] = set()
        self._away: dict[int, Host] = {}
        self._borrowed = 0
        self._order = count()

    @property
    def running(self) -> int:
        """Items that hold a slot."""
        return len(self._running)

    @property
    def idle(self) -> bool:
        """Whether there are slots that no queued item can use now: more items could, if they are of other hosts."""
        return not self._ring and len(self._running) + self._borrowed < self._jobs

    @property
    def several(self) -> bool:
        """Whether items of more than one host are queued or running."""
        return len(self._hosts) > 1

    def hosts(self) -> Iterator[Host]:
        """Give the hosts of which something is known, those with nothing to do first."""
        return chain(self._known.values(), self._hosts.values())

    def add(self, item: int, host: str) -> None:
        """Queue ``item`` behind its host's others."""
        state = self._host(host)
        state.queue.append(item)
        self._enter_ring(state)

    def add_again(self, item: int, host: str, *, not_before: float) -> None:
        """Queue ``item`` for another try, before those of the host that have not begun, once that time has come."""
        state = self._host(host)
        heappush(self._delayed, (not_before, next(self._order), item, state))
        state.delayed += 1
        self._again.add(item)

    def move(self, item: int, host: str) -> None:
        """Free the slot of ``item``, and queue it for one of the ``host`` it was redirected to."""
        origin, target = self._running[item].host, self._host(host)
        if not target.wake_at:
            self._away[item] = origin
            origin.away += 1
        self.finish(item)
        self._queue_begun(item, target)

    def _arrive(self, item: int) -> None:
        origin = self._away.pop(item, None)
        if origin is not None:
            origin.away -= 1
            self._enter_ring(origin)
            self._forget(origin)

    def _queue_begun(self, item: int, host: Host) -> None:
        host.begun.append(item)
        self._enter_ring(host)

    def start(self, now: float) -> list[int]:
        """Return the items that start now, in order; each holds a slot until `finish`."""
        if self._delayed or self._holds:
            self._wake(now)
        started: list[int] = []
        while self._ring and len(self._running) + self._borrowed < self._jobs:
            host = self._ring.popleft()
            host.in_ring = False
            queue = host.begun or host.queue
            if not queue or host.running + (0 if host.begun else host.away) >= host.limit.level:
                continue
            if (self._delay or host.held_until > now) and self._waits(host, now):
                continue
            item = queue.popleft()
            if self._away:
                self._arrive(item)
            host.running += 1
            host.asked_at = now
            again = item in self._again
            if again:
                self._again.discard(item)
            self._running[item] = Ticket(host, host.limit.epoch, now, again)
            started.append(item)
            self._enter_ring(host)
        return started

    def finish(self, item: int) -> None:
        """Free the slot of ``item``. Raises KeyError if it holds none."""
        host = self._running.pop(item).host
        host.running -= 1
        self._enter_ring(host)
        if not host.running:
            self._forget(host)

    # What became of requests: to be told before the slot is freed.

    def holds(self, item: int) -> bool:
        """Tell whether the item holds a slot."""
        return item in self._running

    def ticket(self, item: int) -> Ticket:
        """Return what the request of ``item`` began with. Raises KeyError if it holds no slot."""
        return self._running[item]

    def answered(self, ticket: Ticket, now: float, took: float | None, size: int) -> None:
        """The host has answered a request, as `limits.Limit.answered`."""
        host = ticket.host
        host.answers += 1
        host.received += size
        host.refusals = 0
        if took is not None:
            host.stalls, host.whole = 0, True
        host.limit.answered(now, ticket.epoch, host.running, took, size, again=ticket.again)

    def refused(self, ticket: Ticket, now: float, pause: float | None, *, by_rate: bool = False) -> bool:
        """The host wants fewer requests, and none for ``pause`` seconds; False where that may be the file's fault.

        Where there cannot be fewer at once there are fewer in a time: it is left alone, ever longer while it refuses,
        until that is hopeless. Where it counts requests (``by_rate``) it is down then.
        """
        host = ticket.host
        told = 0.0 if by_rate and pause is None else pause  # then it is the host's word for certain
        counts = host.limit.refused(now, ticket.epoch, host.running - 1, pause=told, again=ticket.again)
        alone = host.limit.level == 1 and host.held_until <= now and host.health.probe_at is None
        if counts and alone and (by_rate or not pause):
            host.refuses(now)
            if not host.hopeless and not pause:
                self.hold(host.name, now + min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(9, host.refusals - 1)))
            elif host.hopeless and by_rate:
                host.health.give_up(now, host.refusals)
        return counts

    def unreachable(self, ticket: Ticket, now: float, *, silent: bool) -> bool:
        """No host was found, as `health.Health.failed`; tell whether it counts as down now.

        It may be that there were too many requests; but where the last of them ends like that too, and none was
        answered since the first, the host is away, and will stand as many as before when it is back.
        """
        host = ticket.host
        health, limit, others = host.health, host.limit, host.running - 1
        if not health.tries:
            host.before = limit.level, limit.falls
        theirs = limit.refused(now, ticket.epoch, others, pause=0.0, again=ticket.again)
        wait = health.failed(now, ticket.begun, silent=silent, others=others)
        if not others:
            limit.restore(*host.before)
        if health.probe_at is not None:  # those that wait for it are to be told at once
            host.held_until = host.wake_at = 0.0
            self._enter_ring(host)
            return True
        if wait and theirs:
            self.hold(host.name, now + wait)
        return False

    def flowed(self, now: float, received: Mapping[Host, tuple[int, int]]) -> list[Host]:
        """The running items have received so many bytes up to now, so many of them none; by host, about twice a second.

        Return the hosts that are not silent after all.
        """
        back = []
        for host, (size, silent) in received.items():
            total = host.received + size
            if host.health.tries and total > host.flowed:
                back.append(host)
            host.flowed = total
            if host.running >= host.limit.level:
                host.limit.flowed(now, total, host.running - silent)
                self._enter_ring(host)
        return back

    def borrow(self, host: str, now: float) -> bool:
        """Give a running item of ``host`` one more slot, if there is one that no queued item could take."""
        state = self._hosts.get(host)
        if state is None or self.wanted(host) or len(self._running) + self._borrowed >= self._jobs:
            return False
        if state.running >= state.limit.level or not self.may_ask(state, now):
            return False
        state.running += 1
        state.asked_at = now
        self._borrowed += 1
        return True

    def wanted(self, host: str) -> bool:
        """Tell whether a queued item could start if a borrowed slot of ``host`` were given back."""
        state = self._hosts.get(host)
        return bool(self._ring) or (state is not None and bool(state.queue or state.begun))

    def give_back(self, host: str) -> None:
        """Free a slot that was borrowed. Raises KeyError where ``host`` has none."""
        state = self._hosts[host]
        state.running -= 1
        self._borrowed -= 1
        self._enter_ring(state)
        self._forget(state)

    def hold(self, host: str, until: float, *, most: float = inf) -> None:
        """Start nothing new on ``host`` before the time ``until``; the later of two such times counts.

        A time later than ``most`` is not waited for: the host is `closed_for` it instead.
        """
        if until > most:
            self.closed[host] = until
            if len(self.closed) > CLOSED_HOSTS:
                self.closed.popitem(last=False)
            return
        state = self._host(host)
        if until > state.held_until:
            state.held_until = until
            self._wait_until(state, until)
            for item in state.begun if self._away else ():
                self._arrive(item)

    def may_ask(self, host: Host, now: float) -> bool:
        """Tell whether somebody who has a slot of the host may send another request."""
        return self.not_before(host) <= now and host.running <= host.limit.level and host.health.probe_at is None

    def not_before(self, host: Host) -> float:
        """Return the time before which the host is not to be asked."""
        return max(host.held_until, host.asked_at + self._delay) if self._delay else host.held_until

    def busy(self, host: str) -> bool:
        """Tell whether any item is queued, running or waiting for another try of the host."""
        state = self._hosts.get(host)
        return state is not None and state.busy

    def closed_for(self, host: Host, now: float) -> float:
        """Return the seconds for which a host wants no request at all, 0 for none."""
        return max(0.0, self.closed.get(host.name, now) - now)

    def next_time(self) -> float | None:
        """Return when a wait ends, or None where nothing waits for the clock."""
        return min((heap[0][0] for heap in (self._delayed, self._holds) if heap), default=None)

    def drain(self) -> list[int]:
        """Take out and return everything that holds no slot, queued and delayed, in no particular order."""
        items = [item for host in self._hosts.values() for item in (*host.begun, *host.queue)]
        items += [item for _, _, item, _ in self._delayed]
        for host in list(self._hosts.values()):
            host.queue.clear()
            host.begun.clear()
            host.delayed = host.away = 0
            self._forget(host)
        for waiting in (self._delayed, self._again, self._away):
            waiting.clear()
        return items

    def _wake(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            _, _, item, host = heappop(self._delayed)
            host.delayed -= 1
            self._queue_begun(item, host)
        while self._holds and self._holds[0][0] <= now:
            _, _, name = heappop(self._holds)
            held = self._hosts.get(name)
            if held is not None and held.wake_at:
                held.wake_at = 0.0
                if not self._waits(held, now):
                    held.held_until = 0.0
                    self._enter_ring(held)
                    self._forget(held)

    def _waits(self, host: Host, now: float) -> bool:
        """Tell whether the host must be left alone for now, and see to it that it is asked afterwards."""
        until = self.not_before(host)
        if until <= now:
            return False
        self._wait_until(host, until)
        return True

    def _wait_until(self, host: Host, until: float) -> None:
        if not host.wake_at:  # where it is woken too early, it goes on waiting
            host.wake_at = until
            heappush(self._holds, (until, next(self._order), host.name))

    def _host(self, name: str) -> Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._known.pop(name, None) or Host(name, self._most)
            self._hosts[name] = host
        return host

    def _enter_ring(self, host: Host) -> None:
        if not host.in_ring and not host.wake_at and host.running < host.limit.level and (host.queue or host.begun):
            host.in_ring = True
            self._ring.append(host)

    def _forget(self, host: Host) -> None:
        if host.wake_at or host.busy or self._hosts.get(host.name) is not host:
            return
        del self._hosts[host.name]
        if host.limit.epoch or host.health.tries or self._delay:
            self._known[host.name] = host
            if len(self._known) > KNOWN_HOSTS:
                self._known.popitem(last=False)
