"""Which request to a host goes first, and which wait for what it finds out. Pure.

Of the requests to one host that is not known the first goes alone: it looks up the address, and where the host may
speak HTTP/2 it connects, too, so that the others can share its connection::

    ask() ──▶ KNOWN: go
          ──▶ FIRST: look up, then say resolved(), found(), failed() or gone()
          ──▶ WAITS ── the first has found() it ──▶ KNOWN
                    ── it has failed()          ──▶ FAILED, for all that wait
                    ── it is gone()             ──▶ FIRST, or FAILED after ``timeout`` seconds in vain

Few hosts are looked up at once; the others are in line in the order they came, and a host that was given up goes
behind them. Hosts are told apart with their ports, as libcurl's cache of addresses does.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any

from downloader.errors import Interrupted, ItemError, TimedOut

LOOKUPS = 32
"""Hosts looked up at once: resolvers and the routers before them lose queries that come by the hundred."""
CACHED = 300
"""Seconds libcurl keeps an address: long enough for a run to ask once or twice, short enough to follow a move."""
REMEMBERED = 8192
"""Hosts whose address is known to be in libcurl's cache, which holds about 30,000."""
_KNOWN_FOR = CACHED - 10.0
_ALWAYS = float("inf")


class State(enum.Enum):
    """How a request stands."""

    WAITS = enum.auto()
    FIRST = enum.auto()
    KNOWN = enum.auto()
    FAILED = enum.auto()


class Turn:
    """One request to a host that was not known yet. ``waiter`` and ``addresses`` are the caller's own."""

    __slots__ = ("addresses", "failure", "host", "since", "state", "waiter")

    def __init__(self, host: str, since: float) -> None:
        self.host = host
        self.since = since
        self.state = State.WAITS
        self.failure: ItemError | None = None
        """Why it `State.FAILED`."""
        self.waiter: Any = None
        self.addresses: list[str] = []


class _Lookup:
    """The requests to one host that is not known yet. ``begun`` is when its first look-up began."""

    __slots__ = ("begun", "first", "resolved", "waiting")

    def __init__(self) -> None:
        self.resolved = False
        self.begun: float | None = None
        self.first: Turn | None = None
        self.waiting: OrderedDict[Turn, None] = OrderedDict()


class Lookups:
    """The look-ups of a run. Hosts are ``scheme://host:port``, times seconds of any steady clock.

    All but `ask` return the turns that wait no longer, each with its new state.
    """

    def __init__(self, timeout: float, *, most: int = LOOKUPS, remembered: int = REMEMBERED) -> None:
        self._timeout = timeout
        self._most = most
        self._remembered = remembered
        self._known: dict[str, float] = {}
        self._lookups: dict[str, _Lookup] = {}
        self._line: OrderedDict[str, None] = OrderedDict()
        self._running = 0

    def knows(self, host: str, now: float) -> bool:
        """Whether a request need not wait."""
        return self._known.get(host, 0.0) > now

    def ask(self, host: str, now: float) -> Turn:
        """Return the turn of a request to ``host``: `State.KNOWN`, `State.FIRST` or `State.WAITS`."""
        turn = Turn(host, now)
        lookup = self._lookups.get(host)
        if lookup is None:
            if self.knows(host, now) or (host.startswith("http:") and self._needs_none(host)):
                turn.state = State.KNOWN
                return turn
            lookup = self._lookups[host] = _Lookup()
            self._line[host] = None
        lookup.waiting[turn] = None
        self._start(now)
        return turn

    def resolved(self, turn: Turn, now: float) -> list[Turn]:
        """Take note that a first request has its host's address, but still has to `found` what the others need."""
        lookup = self._of_first(turn)
        if lookup is None or lookup.resolved:
            return []
        lookup.resolved = True
        self._running -= 1
        return self._start(now)

    def found(self, turn: Turn, now: float) -> list[Turn]:
        """Take note that the others may go, too."""
        lookup = self._of_first(turn)
        if lookup is None:
            return []
        self._remember(turn.host, now + _KNOWN_FOR)
        self._end(turn.host, lookup)
        turn.state = State.KNOWN
        for other in lookup.waiting:
            other.state = State.KNOWN
        return [*lookup.waiting, *self._start(now)]

    def failed(self, turn: Turn, failure: ItemError, now: float) -> list[Turn]:
        """Take note that a first request's host has no address: so it is for all that wait for it."""
        lookup = self._of_first(turn)
        if lookup is None:
            return []
        self._end(turn.host, lookup)
        for other in (turn, *lookup.waiting):
            _fail(other, failure)
        return [*lookup.waiting, *self._start(now)]

    def is_first(self, turn: Turn) -> bool:
        """Whether ``turn`` is the one to look its host up."""
        return turn.state is State.FIRST

    def gone(self, turn: Turn, now: float) -> list[Turn]:
        """Take note that a request is over; also after `found` and `failed`."""
        lookup = self._of_first(turn)
        if lookup is None:
            self._withdraw(turn)
            return []
        self._end(turn.host, lookup)
        late = [other for other in lookup.waiting if self._is_late(other, lookup, now)]
        for other in late:
            _fail(other, TimedOut(f"no connection came in {self._timeout:g} s"))
            del lookup.waiting[other]
        if lookup.waiting:
            self._lookups[turn.host] = lookup
            self._line[turn.host] = None
        return [*late, *self._start(now)]

    def drop_all(self) -> list[Turn]:
        """Return all turns that wait, none of which goes."""
        waiting = [turn for lookup in self._lookups.values() for turn in lookup.waiting]
        for turn in waiting:
            _fail(turn, Interrupted("the run was stopped"))
        self._lookups.clear()
        self._line.clear()
        return waiting

    def _start(self, now: float) -> list[Turn]:
        started = []
        while self._line and self._running < self._most:
            host, _ = self._line.popitem(last=False)
            lookup = self._lookups[host]
            turn, _ = lookup.waiting.popitem(last=False)
            turn.state = State.FIRST
            lookup.first = turn
            if lookup.begun is None:
                lookup.begun = now
            self._running += 1
            started.append(turn)
        return started

    def _end(self, host: str, lookup: _Lookup) -> None:
        del self._lookups[host]
        if not lookup.resolved:
            self._running -= 1
        lookup.first = None
        lookup.resolved = False

    def _of_first(self, turn: Turn) -> _Lookup | None:
        lookup = self._lookups.get(turn.host)
        return lookup if lookup is not None and lookup.first is turn else None

    def _withdraw(self, turn: Turn) -> None:
        lookup = self._lookups.get(turn.host)
        if lookup is not None and turn in lookup.waiting:
            del lookup.waiting[turn]
            if lookup.first is None and not lookup.waiting:
                del self._lookups[turn.host], self._line[turn.host]

    def _is_late(self, turn: Turn, lookup: _Lookup, now: float) -> bool:
        # In line for other hosts' sake is no fault of this one.
        return lookup.begun is not None and now - max(turn.since, lookup.begun) >= self._timeout

    def _needs_none(self, host: str) -> bool:
        if not is_looked_up(host.partition("://")[2].rpartition(":")[0]):
            self._remember(host, _ALWAYS)
            return True
        return False

    def _remember(self, host: str, until: float) -> None:
        self._known.pop(host, None)
        if len(self._known) >= self._remembered:
            del self._known[next(iter(self._known))]
        self._known[host] = until


def is_looked_up(name: str) -> bool:
    """Whether libcurl asks the resolver for ``name``, and does not know better by itself."""
    last = name.rstrip(".").rpartition(".")[2]
    # Addresses in any notation (no top-level domain begins with a digit), RFC 6761 section 6.3 and RFC 7686.
    return not (name.startswith("[") or last[:1].isdigit() or last in ("localhost", "onion"))


def _fail(turn: Turn, failure: ItemError) -> None:
    turn.state = State.FAILED
    turn.failure = failure
