"""Which of the last large files get the slots that nobody else can use: ``--split auto``. Pure, the clock passed in.

Once the list has been read to its end, slots fall idle while the last large files run. Each of those goes to the file
that has the most left for each of its transfers. Whether that helps is found out, for each host once:

    alone ── measured, a slot is idle ──▶ tried ── faster by `GAIN` ──▶ the host's files are helped from now on
      ▲                                     │ └──── `LOOKS` times not ──▶ its files get no help any more in this run
      └───────── its helpers ended ─────────┘

What limits the rate of each connection is outdone by more of them; what is slow as a whole (the line, the host's disk)
is not, and more requests would only be in the way of others.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from downloader.errors import ItemError
    from downloader.hosts import Ticket

LEAST_LEFT: Final = 16 * 1024 * 1024
"""Bytes that a file must still lack to be helped; what helps it already stays to the end."""
SECONDS: Final = 0.9
"""Seconds over which a rate is measured at least: about two of `slots.TICK`, longer than servers' bursts."""
BYTES: Final = 256 * 1024
"""Bytes from which a rate is measured at least: several of what is received at a time."""
GAIN: Final = 1.2
"""How many times as fast a file must have become for its help to be worth it."""
LOOKS: Final = 2
"""Rates of a file with help that are measured before it is given up: connections begin slowly."""
KNOWN_HOSTS: Final = 4096
"""Hosts of which it is remembered whether help was worth it."""


class File(Protocol):
    """A file that several transfers can bring, each another range of it."""

    @property
    def host(self) -> str:
        """The host that is asked."""

    @property
    def left(self) -> int:
        """Bytes that are still to be written."""

    @property
    def received(self) -> int:
        """Bytes that have come in this try."""

    @property
    def transfers(self) -> int:
        """Transfers that bring it now, helpers included."""

    def help(self) -> bool:
        """Start one more transfer; False where there is no slot or no work for one."""

    def do_without_help(self) -> None:
        """Start no more helpers, and let those that run end with what they fetch now."""


class Slots(Protocol):
    """Where a file's requests get their slots from, and where they tell what becomes of them."""

    def await_turn(self, deadline: float | None) -> None:
        """Wait until the next request of the item may be sent, or for the ``deadline``."""

    def follow(self, url: str, took: float | None, size: int) -> None:
        """Go where the host has redirected to, which took so many seconds (None: unknown) and bytes."""

    def heard(self) -> None:
        """The host has begun to answer."""

    def borrow(self) -> bool:
        """Take a slot of the item's host if one is free that nobody waits for."""

    def give_back(self) -> None:
        """Return a borrowed slot."""

    def may_go_on(self) -> bool:
        """Tell whether a borrowed slot may be used for one more request."""

    @property
    def name(self) -> str:
        """The host's."""

    def share(self, file: File) -> None:
        """Have ``file`` helped with slots to spare when the list has come to its end."""

    def unshare(self, file: File) -> None:
        """Offer ``file`` no slots any more."""

    def begin(self) -> Ticket:
        """Return what a request for a range begins with."""

    def answered(self, ticket: Ticket, took: float | None, size: int) -> None:
        """A range has come within ``took`` seconds (None: unknown), of which ``size`` bytes were of use."""

    def failed(self, ticket: Ticket, failure: ItemError) -> None:
        """A helper's request has failed, by which the host may ask to leave it alone."""


class Meter:
    """Tells the rate of one file alone and with help."""

    __slots__ = ("_bytes", "_helped", "_looks", "_since", "alone")

    def __init__(self) -> None:
        self.alone = 0.0
        """Bytes a second with one transfer, the last that was measured; 0 while that is unknown."""
        self._helped = False
        self._looks = 0
        self._since: float | None = None
        self._bytes = 0

    def look(self, now: float, received: int, transfers: int) -> bool | None:
        """``received`` bytes have come so far; tell whether help is worth it, None where that is not known yet.

        To be called about twice a second.
        """
        helped = transfers > 1
        if helped is not self._helped or self._since is None or received < self._bytes:
            self._helped, self._looks = helped, 0
            self._since, self._bytes = now, received
            return None
        size, seconds = received - self._bytes, now - self._since
        if seconds < SECONDS or size < BYTES:
            return None
        self._since, self._bytes = now, received
        rate = size / seconds
        if not helped:
            self.alone = rate
            return None
        if rate >= GAIN * self.alone:
            return True
        self._looks += 1
        return False if self._looks >= LOOKS else None


class Tail:
    """The large files of a run that could be helped, and what is known of their hosts.

    ``begun`` is set when the list has been read to its end; until then nobody is helped.
    """

    def __init__(self) -> None:
        self.begun = False
        self._files: dict[File, Meter] = {}
        self._worth: OrderedDict[str, bool] = OrderedDict()

    def add(self, file: File) -> None:
        """Take a file that can be helped; it is, at once, where that is known to be worth it."""
        self._files[file] = Meter()

    def remove(self, file: File) -> None:
        """Forget a file. Idempotent."""
        self._files.pop(file, None)

    def look(self, now: float) -> list[str]:
        """Measure the files; return the hosts whose files get no help any more. To be called about twice a second."""
        given_up = []
        for file, meter in list(self._files.items()):
            worth = self._worth.get(file.host)
            if worth is None:
                worth = meter.look(now, file.received, file.transfers)
                if worth is not None:
                    self._learn(file.host, worth=worth)
                    given_up += [] if worth else [file.host]
            if worth is False:
                file.do_without_help()
                del self._files[file]
        return given_up

    def offer(self) -> None:
        """Have idle slots used, as far as there are any."""
        if self.begun and self._files:
            share(file for file, meter in self._files.items() if self._worth.get(file.host, meter.alone > 0))

    def _learn(self, host: str, *, worth: bool) -> None:
        self._worth[host] = worth
        if len(self._worth) > KNOWN_HOSTS:
            self._worth.popitem(last=False)


def share(files: Iterable[File]) -> None:
    """Give the file with the most left for each transfer one more, as long as any file can use one."""
    heap = [(-file.left / file.transfers, number, file) for number, file in enumerate(files) if file.left >= LEAST_LEFT]
    heapify(heap)
    while heap:
        _, number, file = heap[0]
        if file.help():
            heapreplace(heap, (-file.left / file.transfers, number, file))
        else:
            heappop(heap)
