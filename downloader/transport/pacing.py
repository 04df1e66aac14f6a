"""Transfers held back and let go on, as the `Throttle` says (``--limit-rate``).

Held back by libcurl's pause: the write callback declines a chunk, libcurl keeps it and reads no more from that
transfer, so that the server is slowed down by TCP's or HTTP/2's flow control. Resuming delivers the chunk again, from
inside ``pause()``, which therefore only the hub calls.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pycurl

from downloader.transport.throttle import Flow, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.transport.exchange import Exchange


class Paced(Flow):
    """The share of one exchange, and its write callback."""

    __slots__ = ("_exchange", "_pacer", "easy")

    def __init__(self, pacer: Pacer, easy: Any, exchange: Exchange) -> None:
        super().__init__()
        self._pacer = pacer
        self._exchange = exchange
        self.easy = easy

    def on_data(self, chunk: bytes) -> int | None:
        """Take body bytes from libcurl, or have it pause."""
        if self._pacer.throttle.admit(self, len(chunk), time.monotonic()):
            return self._exchange.on_data(chunk)
        self._exchange.held = True
        self._pacer.arm()
        return int(pycurl.WRITEFUNC_PAUSE)


class Pacer:
    """Holds transfers to ``rate`` bytes per second in all, in turns of ``quantum`` bytes.

    ``broken`` is called with the handle of a transfer that failed as it was resumed.
    """

    def __init__(self, rate: int, loop: Any, broken: Callable[[Any], None], *, quantum: int) -> None:
        self.throttle = Throttle(rate, quantum=quantum, now=time.monotonic())
        self._loop = loop
        self._broken = broken
        self._timer: Any = None
        self._closed = False

    def join(self, easy: Any, exchange: Exchange) -> Paced:
        """Have ``exchange`` take its share; its handle's write callback is to be that of what is returned."""
        paced = Paced(self, easy, exchange)
        exchange.paced = paced
        return paced

    def leave(self, exchange: Exchange) -> None:
        """Give up the place of an exchange that is over."""
        if exchange.paced is not None:
            self.throttle.leave(exchange.paced)
            exchange.paced = None

    def arm(self) -> None:
        """See to it that those in line get their turn. Called from inside libcurl, too."""
        if self._timer is None and not self._closed:
            delay = self.throttle.delay(time.monotonic())
            if delay is not None:
                self._timer = self._loop.timer(delay)
                self._timer.start(self._on_due)

    def close(self) -> None:
        """Resume nothing any more. Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _on_due(self) -> None:
        broken = []
        while (flow := self.throttle.next(time.monotonic())) is not None:
            assert isinstance(flow, Paced)
            try:
                flow.easy.pause(pycurl.PAUSE_CONT)
            except pycurl.error:
                broken.append(flow.easy)
        self._timer.close()
        self._timer = None
        self.arm()
        for easy in broken:
            self._broken(easy)
