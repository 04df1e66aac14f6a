"""Which item may start now: per-host queues, limits, waits and round robin. Pure: no I/O, the clock passed in.

The engine adds items and reports their ends; `Scheduler.start` answers which may go. The cases, for one host:

- it has queued items, room below its limit, and nobody asked to leave it alone: it stands in the ring, and the
  ring hands out one item a turn, so that hosts share the slots fairly and a host's own order is kept;
- it is at its limit: off the ring until one of its items ends;
- it asked to be left alone (Retry-After): off the ring until that time, while others go on;
- nothing queued, nothing running, no wait: forgotten, so that a million hosts cost no memory.

A running item may borrow further slots of its host while nobody else could use them.

Items that wait for another try hold no slot: they lie in a heap until their time, then go to the front of their
host's queue.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf

CLOSED_HOSTS = 4096
"""Hosts remembered for wanting to be left alone for longer than anybody waits."""


@dataclass(slots=True)
class _Host:
    name: str
    queue: deque[int] = field(default_factory=deque)
    running: int = 0
    held_until: float = 0.0
    in_ring: bool = False


class Scheduler:
    """Decides the order and the concurrency of items, known here by a number (their index in the run).

    ``jobs`` bounds the running items over all hosts, ``per_host`` those of one host (None: no bound of its own).
    Times are seconds of any one monotonic clock.
    """

    def __init__(self, *, jobs: int, per_host: int | None = None) -> None:
        self._jobs = jobs
        self._per_host = per_host if per_host is not None else jobs
        self._hosts: dict[str, _Host] = {}
        self._ring: deque[_Host] = deque()
        self._running: dict[int, _Host] = {}
        self._delayed: list[tuple[float, int, int, str]] = []
        self._holds: list[tuple[float, int, str]] = []
        self._closed: dict[str, float] = {}
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

    def add(self, item: int, host: str, *, not_before: float | None = None) -> None:
        """Queue ``item`` behind its host's others; with ``not_before``, in front of them once that time has come."""
        if not_before is not None:
            heappush(self._delayed, (not_before, next(self._order), item, host))
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
            if not self._ready(host, now):
                continue
            item = host.queue.popleft()
            self._queued -= 1
            host.running += 1
            self._running[item] = host
            started.append(item)
            self._enter_ring(host)
        return started

    def finish(self, item: int) -> None:
        """Free the slot of ``item``. Raises KeyError if it holds none."""
        host = self._running.pop(item)
        host.running -= 1
        self._enter_ring(host)
        self._forget(host)

    def borrow(self, host: str, now: float) -> bool:
        """Give a running item of ``host`` one more slot, if there is one that no queued item could take."""
        state = self._hosts.get(host)
        if state is None or self._ring or len(self._running) + self._borrowed >= self._jobs:
            return False
        if state.running >= self._per_host or state.held_until > now:
            return False
        state.running += 1
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
            heappush(self._holds, (until, next(self._order), host))

    def closed_for(self, item: int, now: float) -> float:
        """Return the seconds for which the host of the running ``item`` wants no request at all, 0 for none."""
        if not self._closed:
            return 0.0
        return max(0.0, self._closed.get(self._running[item].name, now) - now)

    def next_time(self) -> float | None:
        """Return when a wait ends, or None where nothing waits for the clock."""
        if not self._delayed and not self._holds:
            return None
        times = [heap[0][0] for heap in (self._delayed, self._holds) if heap]
        return min(times)

    def drain(self) -> list[int]:
        """Take out and return everything that holds no slot, queued and delayed, in no particular order."""
        items = [item for host in self._hosts.values() for item in host.queue]
        items += [item for _, _, item, _ in self._delayed]
        for host in self._hosts.values():
            host.queue.clear()
        self._delayed.clear()
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
            if held is not None and held.held_until <= now:
                held.held_until = 0.0
                self._enter_ring(held)
                self._forget(held)

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(name)
        return host

    def _ready(self, host: _Host, now: float) -> bool:
        return bool(host.queue) and host.running < self._per_host and host.held_until <= now

    def _enter_ring(self, host: _Host) -> None:
        if not host.in_ring and host.queue and host.running < self._per_host:
            host.in_ring = True
            self._ring.append(host)

    def _forget(self, host: _Host) -> None:
        if not host.queue and not host.running and not host.held_until and self._hosts.get(host.name) is host:
            del self._hosts[host.name]
