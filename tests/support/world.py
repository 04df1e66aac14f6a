"""A run without a network: the real scheduler and the real policy of retries, on a virtual clock against model servers.

`World` does in one heap of events what the engine, the slots and the attempts do in greenlets, in the same order. What
must hold in every world it checks by itself, at each start and each end; what was lost, refused or slow it counts.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from downloader import errors, outcomes
from downloader.attempts import FREE_REFUSALS
from downloader.engine import MOST_AHEAD
from downloader.outcomes import Outcome
from downloader.retry import PATIENCE
from downloader.schedule import KNOWN_HOSTS, Scheduler
from downloader.slots import TICK
from downloader.tries import Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from downloader.hosts import Host, Ticket

TURNAROUND = 0.001
"""Seconds from a slot's grant to when its request is sent."""
HOUR = 3600.0


class File(NamedTuple):
    """One item of the list."""

    host: str
    size: int = 22_000
    broken: bool = False
    """Its server can never send it."""


class Request:
    """A try that is under way."""

    __slots__ = ("begun", "ended", "file", "index", "received", "sent")

    def __init__(self, index: int, file: File, begun: float) -> None:
        self.index = index
        self.file = file
        self.begun = self.sent = begun
        self.received: Callable[[], float] = lambda: 0.0
        """The body bytes it has brought so far."""
        self.ended = False


class Server(Protocol):
    """A model of a server: ``ask`` leads to one call of `World.answer` or `World.fail`, now or later."""

    @property
    def connecting(self) -> float:
        """Seconds it takes to make a connection."""

    def ask(self, world: World, request: Request) -> None:
        """A request has arrived."""


class _Item:
    """What the world knows of an item that is under way."""

    __slots__ = ("answers", "file", "free", "refusals", "tries")

    def __init__(self, file: File, retries: int) -> None:
        self.file = file
        self.tries = Tries.first(1, retries)
        self.refusals = self.answers = 0
        self.free = False


def busy(retry_after: float | None = None, status: int = 503) -> errors.StatusError:
    """The answer that asks for fewer requests."""
    error = errors.StatusError(f"HTTP {status}", status=status)
    error.retryable = True
    error.retry_after = retry_after
    return error


class World:
    """A run over ``servers`` by host; ``run`` it once, then read what became of it."""

    def __init__(
        self,
        servers: Mapping[str, Server],
        *,
        jobs: int = 128,
        per_host: int | None = None,
        delay: float = 0.0,
        retries: int = 5,
        timeout: float = 30.0,
        seed: int = 1,
        strict: bool = False,
    ) -> None:
        """``strict`` looks at every host at every start, which takes time."""
        self.now = 1000.0
        self.began = self.now
        self.random = random.Random(seed)  # noqa: S311 - it need not be secret
        self.scheduler = Scheduler(jobs=jobs, per_host=per_host, delay=delay)
        self.saved: set[int] = set()
        self.failed: dict[int, errors.ItemError] = {}
        self.requests = self.refused = 0
        self.ended_at: dict[str, float] = {}
        """When the last item of a host ended."""
        self.saved_at = self.now
        """When the last item was saved."""
        self.in_flight: Counter[str] = Counter()
        self.most_in_flight: Counter[str] = Counter()
        self.levels: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
        """By host, when its level became what, and why."""
        self._servers = servers
        self._jobs, self._per_host, self._delay = jobs, per_host, delay
        self._retries, self._timeout, self._strict = retries, timeout, strict
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._items: dict[int, _Item] = {}
        self._running: dict[int, Request] = {}
        self._idle_connections: Counter[str] = Counter()
        self._held: dict[str, float] = {}
        self._last_start: dict[str, float] = {}
        self._passed_over: Counter[str] = Counter()
        self._window = max(512, 8 * jobs)
        self._list: Iterator[tuple[int, File]] = iter(())
        self._exhausted = self._pumping = False
        self._room = True
        self._tick_at = inf

    @property
    def wall(self) -> float:
        """Seconds of the run so far."""
        return self.now - self.began

    # The clock.

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Call ``do`` so many seconds from now."""
        self._count += 1
        heappush(self._events, (self.now + seconds, self._count, do))

    def run(self, files: Iterable[File]) -> World:
        """Download ``files``; return when each has ended."""
        self._list = enumerate(files)
        self._feed()
        while self._items:
            assert self.wall < 100 * HOUR, "it never ends"
            due = self.scheduler.next_time()
            soonest = self._events[0][0] if self._events else inf
            if due is not None and due < min(soonest, self._tick_at):
                assert due >= self.now, "the clock stands still"
                self.now = due
                self._pump()
                later = self.scheduler.next_time()
                assert later is None or later > due, "what was due is due still"
            elif self._tick_at < soonest:
                self.now = self._tick_at
                self._tick()
            else:
                assert self._events, "items are left, and nothing will ever happen"
                self.now, _, do = heappop(self._events)
                do()
            if self._room:
                self._feed()
        assert not self.scheduler.running
        assert not any(host.busy for host in self.scheduler.hosts())
        return self

    # The engine.

    def _feed(self) -> None:
        self._room = False
        while not self._exhausted and len(self._items) < self._window:
            entry = next(self._list, None)
            if entry is None:
                self._exhausted = True
                break
            index, file = entry
            self._items[index] = _Item(file, self._retries)
            self.scheduler.add(index, file.host)
            self._pump()

    def _emit(self, index: int, failure: errors.ItemError | None) -> None:
        file = self._items.pop(index).file
        assert index not in self.saved, "an item has ended twice"
        assert index not in self.failed, "an item has ended twice"
        if failure is None:
            self.saved.add(index)
            self.saved_at = self.now
        else:
            self.failed[index] = failure
        self.ended_at[file.host] = self.now
        if len(self._items) <= self._window - max(1, self._window // 8):
            self._room = True

    # The slots.

    def _pump(self) -> None:
        started = self.scheduler.start(self.now)
        self._check_started(started)
        for index in started:
            self._attempt(index)
        if self.scheduler.running and self._tick_at == inf:
            self._tick_at = self.now + TICK
        if self.scheduler.idle and len(self._items) > self._window * 7 // 8 and self._window < MOST_AHEAD:
            self._window = min(MOST_AHEAD, 2 * self._window)
            self._room = True

    def _tick(self) -> None:
        self._tick_at = inf
        received: dict[Host, tuple[int, int]] = {}
        for index, request in self._running.items():
            host = self.scheduler.ticket(index).host
            size, silent = received.get(host, (0, 0))
            came = int(request.received())
            received[host] = size + came, silent + (came == 0)
        for host in self.scheduler.flowed(self.now, received):
            host.heard()
        for host in received:
            self._note(host)
        self._pump()

    # One attempt.

    def _attempt(self, index: int) -> None:
        item = self._items[index]
        host = self.scheduler.ticket(index).host
        request = Request(index, item.file, self.now)
        self._running[index] = request
        failure: errors.ItemError | None = None
        if self.scheduler.closed_for(host, self.now):
            failure = errors.StatusError("not asked")
        elif not host.health.may_ask(self.now):
            failure = errors.HostDown(host.health.why)
        if failure is not None:
            self.after(0, lambda: self._end(request, failure, heard=False))
            return
        assert self._held.get(host.name, 0.0) <= self.now or host.health.probe_at is not None, "it was to be left alone"
        assert self.now - self._last_start.get(host.name, -inf) >= self._delay - 1e-9, "too soon after the last"
        self._last_start[host.name] = self.now
        self.in_flight[host.name] += 1
        self.most_in_flight[host.name] = max(self.most_in_flight[host.name], self.in_flight[host.name])
        assert self._per_host is None or self.in_flight[host.name] <= self._per_host
        self.requests += 1
        server = self._servers[host.name]
        setup = TURNAROUND
        if self._idle_connections[host.name]:
            self._idle_connections[host.name] -= 1
        else:
            setup += server.connecting

        def send() -> None:
            request.sent = self.now
            server.ask(self, request)

        self.after(setup, send)
        if self._timeout < inf:
            self.after(self._timeout, lambda: self._time_out(request))

    def _time_out(self, request: Request) -> None:
        if not request.ended and not request.received():
            self.fail(request, errors.TimedOut("nothing was heard"))

    def answer(self, request: Request, failure: errors.StatusError | None = None) -> None:
        """The server has answered, with the file or with ``failure``."""
        if not request.ended:
            self._idle_connections[request.file.host] += 1
            self.in_flight[request.file.host] -= 1
            self._end(request, failure, heard=True)

    def fail(self, request: Request, failure: errors.ItemError) -> None:
        """There was no answer."""
        if not request.ended:
            self.in_flight[request.file.host] -= 1
            self._end(request, failure, heard=False)

    def _end(self, request: Request, failure: errors.ItemError | None, *, heard: bool) -> None:
        request.ended = True
        index, item, scheduler = request.index, self._items[request.index], self.scheduler
        ticket = self.scheduler.ticket(index)
        host = ticket.host
        if failure is None:
            scheduler.answered(ticket, self.now, self.now - request.sent, request.file.size)
        else:
            failure = self._tell(item, failure, ticket, self.now - request.sent, heard=heard)
            if failure.retry_after:
                self._held[host.name] = max(self._held.get(host.name, 0.0), self.now + failure.retry_after)
                scheduler.hold(host.name, self.now + failure.retry_after, most=self.now + PATIENCE)
        if heard:
            host.heard()
        self._note(host)
        del self._running[index]
        scheduler.finish(index)
        self._pump()
        if failure is None:
            self._emit(index, None)
            return
        step = item.tries.next(failure, progressed=False, bound=False, jitter=self.random.random(), free=item.free)
        if step is None:
            self._emit(index, failure)
            return
        item.tries, delay = step
        scheduler.add_again(index, item.file.host, not_before=self.now + delay)
        self._pump()

    def _tell(
        self, item: _Item, error: errors.ItemError, ticket: Ticket, took: float, *, heard: bool
    ) -> errors.ItemError:
        item.free = False
        host = ticket.host
        outcome = outcomes.of(error, heard=heard, known=host.health.has_answered)
        if outcome in (Outcome.ANSWERED, Outcome.STALLED):
            self.scheduler.answered(ticket, self.now, took, 0)
        elif outcome is Outcome.REFUSED:
            self.refused += 1
            item.refusals += 1
            goes_on = host.running > 1 or host.answers > item.answers
            item.answers = host.answers
            by_rate = isinstance(error, errors.StatusError) and error.status == 429
            counts = self.scheduler.refused(ticket, self.now, error.retry_after, by_rate=by_rate)
            item.free = counts and goes_on and heard and item.refusals <= FREE_REFUSALS
            if host.health.probe_at is not None:
                return errors.HostDown(str(error))
            error.retryable = error.retryable and not host.hopeless
        elif outcome is not Outcome.NOTHING:
            self.refused += 1
            silent = outcome is Outcome.SILENT
            if self.scheduler.unreachable(ticket, self.now, silent=silent):
                return errors.HostDown(str(error))
            item.refusals += 1
            free = host.health.has_answered and isinstance(error, errors.NotConnected)
            item.free = free and item.refusals <= FREE_REFUSALS
        return error

    # What must hold in every world.

    def _note(self, host: Host) -> None:
        level, levels = host.limit.level, self.levels[host.name]
        assert 1 <= level <= self.scheduler._most
        if not levels or levels[-1][1] != level:
            levels.append((self.wall, level, host.limit.why))

    def _check_started(self, started: list[int]) -> None:
        scheduler = self.scheduler
        assert scheduler.running <= self._jobs
        assert len(scheduler._known) <= KNOWN_HOSTS
        for index in started:
            assert index not in self._running, "an item was started twice"
            host = self.scheduler.ticket(index).host
            assert host.running <= host.limit.level, "more than its level"
        if self._strict:
            self._check_fairness(started)

    def _check_fairness(self, started: list[int]) -> None:
        """Nobody who can be asked waits for more than a turn of each of the others; no slot is free meanwhile."""
        scheduler = self.scheduler
        starts = Counter(self.scheduler.ticket(index).host.name for index in started)
        for host in scheduler.hosts():
            askable = (
                bool(host.queue)
                and host.running < host.limit.level
                and max(host.held_until, host.asked_at + self._delay) <= self.now
            )
            if not askable or starts[host.name]:
                self._passed_over[host.name] = 0
            if askable:
                assert scheduler.running >= self._jobs, "a free slot stays empty"
                self._passed_over[host.name] += starts.total() - starts[host.name]
                assert self._passed_over[host.name] <= len(self._servers) + self._jobs, "a host starves"
