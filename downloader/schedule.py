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
hold no slot: they lie in a heap until their time, then go to the front of their host's queue.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heappop, heappush
from itertools import chain, count
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from downloader.health import Health
from downloader.limits import CEILING, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOSED_HOSTS: Final = 4096
"""Hosts remembered for wanting to be left alone for longer than anybody waits."""
KNOWN_HOSTS: Final = 4096
"""Hosts of which it is remembered what they can stand, though nothing is asked of them just now."""


class Host:
    """A host and what is known of it."""

    __slots__ = (
        *("answers", "asked_at", "before", "flowed", "health", "held_until", "in_ring", "limit"),
        *("name", "queue", "received", "running", "wake_at"),
    )

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.queue: deque[int] = deque()
        self.limit = Limit(most)
        self.health = Health()
        self.running = 0
        """Requests in flight, borrowed slots included."""
        self.answers = 0
        """Requests it has answered."""
        self.before = 0, 0
        """Its level, and how often that had fallen, when it last began to let nobody in."""
        self.flowed = 0
        """Body bytes it had sent when that was last looked at."""
        self.received = 0
        """Body bytes of its requests that have ended."""
        self.held_until = 0.0
        """When it may be asked again after it wanted to be left alone."""
        self.asked_at = -inf
        """When the last request began."""
        self.in_ring = False
        self.wake_at = 0.0
        """When it enters the ring again by itself; 0 where it is not waiting for a time."""


class Ticket(NamedTuple):
    """What a request began with."""

    host: Host
    epoch: int
    """Of the host's level."""
    begun: float
    again: bool = False
    """Whether the item was tried before."""


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
        self._delayed: list[tuple[float, int, int, str]] = []
        self._holds: list[tuple[float, int, str]] = []
        self._closed: dict[str, float] = {}
        self._again: set[int] = set()
        self._borrowed = 0
        self._queued = 0
        self._order = count()

    @property
    def running(self) -> int:
        """Items that hold a slot."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """Items that could start as far as their own waits go."""
        return self._queued

    @property
    def delayed(self) -> int:
        """Items that wait for their next try."""
        return len(self._delayed)

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

    def add(self, item: int, host: str, *, not_before: float | None = None) -> None:
        """Queue ``item`` behind its host's others; with ``not_before``, in front of them once that time has come."""
        if not_before is not None:
            heappush(self._delayed, (not_before, next(self._order), item, host))
            self._again.add(item)
            return
        state = self._host(host)
        state.queue.append(item)
        self._queued += 1
        self._enter_ring(state)

    def start(self, now: float) -> list[int]:
        """Return the items that start now, in order; each holds a slot until `finish`."""
        if self._delayed or self._holds:
            self._wake(now)
        started: list[int] = []
        while self._ring and len(self._running) + self._borrowed < self._jobs:
            host = self._ring.popleft()
            host.in_ring = False
            if not host.queue or host.running >= host.limit.level:
                continue
            if (self._delay or host.held_until > now) and self._waits(host, now):
                continue
            item = host.queue.popleft()
            self._queued -= 1
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
        self._forget(host)

    # What became of requests: to be told before the slot is freed.

    def ticket(self, item: int) -> Ticket:
        """Return what the running item's request began with."""
        return self._running[item]

    def answered(self, ticket: Ticket, now: float, took: float | None, size: int) -> None:
        """The host has answered a request, as `limits.Limit.answered`."""
        host = ticket.host
        host.answers += 1
        host.received += size
        if not host.health.well:
            host.health.answered()
        host.limit.answered(now, ticket.epoch, host.running, took, size, again=ticket.again)

    def refused(self, ticket: Ticket, now: float, pause: float | None) -> bool:
        """The host wants fewer requests, and none for ``pause`` seconds; False where that may be the file's fault."""
        host = ticket.host
        host.health.answered()
        return host.limit.refused(now, ticket.epoch, host.running - 1, pause=pause, again=ticket.again)

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
        if wait and theirs:
            self.hold(host.name, now + wait)
        return health.probe_at is not None

    def flowed(self, now: float, received: dict[str, int]) -> None:
        """The running requests have received so many bytes up to now, by host; to be called about twice a second."""
        for name, size in received.items():
            host = self._hosts.get(name)
            if host is None:
                continue
            total = host.received + size
            if host.health.tries and total > host.flowed:
                host.health.answered()  # somebody is in there
            host.flowed = total
            if host.running >= host.limit.level:
                host.limit.flowed(now, total)
                self._enter_ring(host)

    # Borrowed slots.

    def borrow(self, host: str, now: float) -> bool:
        """Give a running item of ``host`` one more slot, if there is one that no queued item could take."""
        state = self._hosts.get(host)
        if state is None or state.queue or self._ring or len(self._running) + self._borrowed >= self._jobs:
            return False
        if state.running >= state.limit.level or self._not_before(state) > now or state.health.probe_at is not None:
            return False
        state.running += 1
        state.asked_at = now
        self._borrowed += 1
        return True

    def wanted(self, host: str) -> bool:
        """Tell whether a queued item could start if a borrowed slot of ``host`` were given back."""
        state = self._hosts.get(host)
        return bool(self._ring) or (state is not None and bool(state.queue))

    def give_back(self, host: str) -> None:
        """Free a slot that was borrowed. Raises KeyError where ``host`` has none."""
        state = self._hosts[host]
        state.running -= 1
        self._borrowed -= 1
        self._enter_ring(state)
        self._forget(state)

    # Waits.

    def hold(self, host: str, until: float, *, most: float = inf) -> None:
        """Start nothing new on ``host`` before the time ``until``; the later of two such times counts.

        A time later than ``most`` is not waited for: the host is `closed_for` it instead.
        """
        if until > most:
            if len(self._closed) >= CLOSED_HOSTS:
                self._closed.clear()
            self._closed[host] = until
            return
        state = self._host(host)
        if until > state.held_until:
            state.held_until = until
            self._wait_until(state, until)

    def closed_for(self, host: Host, now: float) -> float:
        """Return the seconds for which a host wants no request at all, 0 for none."""
        return max(0.0, self._closed.get(host.name, now) - now) if self._closed else 0.0

    def next_time(self) -> float | None:
        """Return when a wait ends, or None where nothing waits for the clock."""
        if not self._delayed and not self._holds:
            return None
        return min(heap[0][0] for heap in (self._delayed, self._holds) if heap)

    def drain(self) -> list[int]:
        """Take out and return everything that holds no slot, queued and delayed, in no particular order."""
        items = [item for host in self._hosts.values() for item in host.queue]
        items += [item for _, _, item, _ in self._delayed]
        for host in self._hosts.values():
            host.queue.clear()
        self._delayed.clear()
        self._again.clear()
        self._queued = 0
        return items

    def _wake(self, now: float) -> None:
        due: list[tuple[int, str]] = []
        while self._delayed and self._delayed[0][0] <= now:
            _, _, item, name = heappop(self._delayed)
            due.append((item, name))
        for item, name in reversed(due):  # to the front, the first one last
            host = self._host(name)
            host.queue.appendleft(item)
            self._queued += 1
            self._enter_ring(host)
        while self._holds and self._holds[0][0] <= now:
            _, _, name = heappop(self._holds)
            held = self._hosts.get(name)
            if held is not None and held.wake_at:
                held.wake_at = 0.0
                if not self._waits(held, now):
                    held.held_until = 0.0
                    self._enter_ring(held)
                    self._forget(held)

    def _not_before(self, host: Host) -> float:
        return max(host.held_until, host.asked_at + self._delay) if self._delay else host.held_until

    def _waits(self, host: Host, now: float) -> bool:
        """Tell whether the host must be left alone for now, and see to it that it is asked afterwards."""
        until = self._not_before(host)
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
        if not host.in_ring and host.queue and host.running < host.limit.level and not host.wake_at:
            host.in_ring = True
            self._ring.append(host)

    def _forget(self, host: Host) -> None:
        if host.queue or host.running or host.wake_at or self._hosts.get(host.name) is not host:
            return
        del self._hosts[host.name]
        if host.limit.epoch or host.health.tries or self._delay:
            self._known[host.name] = host
            if len(self._known) > KNOWN_HOSTS:
                self._known.popitem(last=False)
