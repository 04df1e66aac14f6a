"""Model servers for `support.world`: what they can stand, how they say that it is too much, how long they take."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from downloader import errors
from support.world import busy

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.world import Request, World

REFUSING = 0.001
"""Seconds in which a server says that it is too much."""


class Steady:
    """Takes the same time for each request, give or take ``jitter`` (a part of it), however many there are.

    A broken file it answers with 503, or ``resets`` the connection.
    """

    def __init__(self, latency: float, *, connecting: float = 0.0, jitter: float = 0.0, resets: bool = False) -> None:
        self.connecting, self.resets = connecting, resets
        self.latency, self.jitter = latency, jitter

    def ask(self, world: World, request: Request) -> None:
        if request.file.broken and self.resets:
            world.after(REFUSING, lambda: world.fail(request, _reset()))
            return
        if request.file.broken:
            world.after(REFUSING, lambda: world.answer(request, busy()))
            return
        spread = self.jitter * (2 * world.random.random() - 1)
        world.after(self.latency * (1 + spread), lambda: world.answer(request))


class Capped(Steady):
    """Refuses what goes beyond so many at once; ``cap`` is that number by how many it has answered."""

    def __init__(
        self,
        cap: int | Callable[[int], int],
        latency: float = 0.02,
        *,
        retry_after: float | None = 1.0,
        status: int = 503,
        resets: bool = False,
        jitter: float = 0.0,
    ) -> None:
        super().__init__(latency, jitter=jitter, resets=resets)
        self.cap: Callable[[int], int] = cap if callable(cap) else lambda _: cap
        self.retry_after, self.status = retry_after, status
        self.inside = self.answered = 0

    def ask(self, world: World, request: Request) -> None:
        if self.inside < self.cap(self.answered):
            self.inside += 1
            spread = self.jitter * (2 * world.random.random() - 1)
            world.after(self.latency * (1 + spread), lambda: self._done(world, request))
        elif self.resets:
            world.after(REFUSING, lambda: world.fail(request, _reset()))
        else:
            world.after(REFUSING, lambda: world.answer(request, busy(self.retry_after, self.status)))

    def _done(self, world: World, request: Request) -> None:
        self.inside -= 1
        self.answered += 1
        world.answer(request)


class Bucket(Steady):
    """Lets ``rate`` requests a second through, and ``burst`` more where none came for a while; else answers 429."""

    def __init__(self, rate: float, burst: float, latency: float = 0.02, *, retry_after: float | None = None) -> None:
        super().__init__(latency)
        self.rate, self.burst, self.retry_after = rate, burst, retry_after
        self._tokens, self._at = burst, 0.0

    def ask(self, world: World, request: Request) -> None:
        self._tokens = min(self.burst, self._tokens + (world.now - self._at) * self.rate)
        self._at = world.now
        if self._tokens >= 1:
            self._tokens -= 1
            super().ask(world, request)
        else:
            world.after(REFUSING, lambda: world.answer(request, busy(self.retry_after, 429)))


class Workers:
    """Works on so many requests at once, each taking ``seconds``; the others wait in a queue."""

    connecting = 0.0

    def __init__(self, count: int, seconds: float, *, wire: float = 0.0, jitter: float = 0.0) -> None:
        self.free = count
        self.seconds, self.wire, self.jitter = seconds, wire, jitter
        self._queue: deque[Request] = deque()

    def ask(self, world: World, request: Request) -> None:
        self._queue.append(request)
        self._work(world)

    def _work(self, world: World) -> None:
        while self.free and self._queue:
            request = self._queue.popleft()
            self.free -= 1
            spread = self.jitter * (2 * world.random.random() - 1)
            world.after(self.seconds * (1 + spread), lambda request=request: self._done(world, request))  # type: ignore[misc]

    def _done(self, world: World, request: Request) -> None:
        self.free += 1
        world.after(self.wire, lambda: world.answer(request))
        self._work(world)


class Link:
    """Sends bodies over a link that all share alike, each connection with ``each`` bytes a second at most."""

    connecting = 0.0

    def __init__(self, rate: float = inf, *, each: float = inf, latency: float = 0.02) -> None:
        self.rate, self.each, self.latency = rate, each, latency
        self._sent = 0.0
        """Bytes that one who was here from the beginning would have by now: fair sharing needs no more than that."""
        self._at = 0.0
        self._ends: list[tuple[float, int, Request]] = []
        self._change = 0

    def ask(self, world: World, request: Request) -> None:
        world.after(self.latency, lambda: self._begin(world, request))

    def _speed(self) -> float:
        return min(self.each, self.rate / max(1, len(self._ends)))

    def _advance(self, world: World) -> None:
        self._sent += (world.now - self._at) * self._speed() if self._ends else 0.0
        self._at = world.now

    def _begin(self, world: World, request: Request) -> None:
        self._advance(world)
        before = self._sent
        request.received = lambda: before + 0.0 if request.ended else self._received(world, before)
        heappush(self._ends, (before + request.file.size, request.index, request))
        self._plan(world)

    def _received(self, world: World, before: float) -> float:
        return self._sent + (world.now - self._at) * self._speed() - before

    def _plan(self, world: World) -> None:
        """See to the next one that ends, as far as is known now."""
        self._change += 1
        change = self._change
        if self._ends:
            left = max(0.0, self._ends[0][0] - self._sent) / self._speed()
            world.after(left, lambda: self._end(world) if change == self._change else None)

    def _end(self, world: World) -> None:
        self._advance(world)
        _, _, request = heappop(self._ends)
        self._plan(world)
        world.answer(request)


class Refusing:
    """Lets nobody in."""

    connecting = 0.0

    def ask(self, world: World, request: Request) -> None:
        world.after(REFUSING, lambda: world.fail(request, _unreached()))


class Hanging:
    """Lets everybody in and says nothing."""

    connecting = 0.0

    def ask(self, world: World, request: Request) -> None:
        """Leave it to the time-out."""


class Away(Steady):
    """Refuses connections between two times of the run, and breaks those it has."""

    def __init__(self, latency: float, *, begin: float, end: float) -> None:
        super().__init__(latency)
        self.begin, self.end = begin, end

    def ask(self, world: World, request: Request) -> None:
        if self.begin <= world.wall < self.end:
            world.after(REFUSING, lambda: world.fail(request, _unreached()))
        elif world.wall < self.begin <= world.wall + self.latency:
            world.after(self.begin - world.wall, lambda: world.fail(request, _reset()))
        else:
            super().ask(world, request)


def _reset() -> errors.ConnectError:
    return errors.ConnectError("connection reset by peer")


def _unreached() -> errors.ConnectError:
    return errors.NotConnected("connection refused")
