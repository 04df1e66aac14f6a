"""Who may take how many bytes when: a token bucket that all transfers of a run share in turn. Pure.

Tokens are bytes. They come at a steady rate, and few are saved up. A chunk may be taken while there are any; one that
is larger than what is there leaves a debt, so that chunks need not be cut. Without tokens a transfer waits in line.
Turns are dealt as in deficit round robin (Shreedhar and Varghese, 1995): each of the same number of bytes, what was
taken beyond it is taken off the next one, so that no transfer gains by larger chunks.
"""

from __future__ import annotations

from collections import OrderedDict

BURST = 0.1
"""Seconds' worth of tokens that are saved up at most."""
PORTION = BURST / 4
"""Seconds' worth of tokens that are waited for before transfers are resumed: fewer, longer runs."""


class Flow:
    """One transfer's share."""

    __slots__ = ("credit", "waits")

    def __init__(self) -> None:
        self.credit = 0
        """Bytes left of its turn; below zero, what it took beyond."""
        self.waits = False


class Throttle:
    """Shares ``rate`` bytes per second; a turn is of ``quantum`` bytes. ``now`` is in seconds of any steady clock."""

    def __init__(self, rate: int, *, quantum: int, now: float) -> None:
        self._rate = rate
        self._quantum = quantum
        self._level = rate * BURST
        self._now = now
        self._line: OrderedDict[Flow, None] = OrderedDict()

    def admit(self, flow: Flow, size: int, now: float) -> bool:
        """Whether ``flow`` may take ``size`` bytes now; otherwise it waits in line until `next` returns it."""
        self._refill(now)
        if self._level <= 0 or flow.waits or (self._line and flow.credit <= 0):
            if not flow.waits:
                flow.waits = True
                self._line[flow] = None
                if flow.credit > 0:  # its turn is not over
                    self._line.move_to_end(flow, last=False)
            return False
        self._level -= size
        if self._line or flow.credit > 0:
            flow.credit -= size
        return True

    def next(self, now: float) -> Flow | None:
        """Return the flow whose turn it is, no longer in line; None where none waits or there are no tokens."""
        self._refill(now)
        while self._level > 0 and self._line:
            flow = next(iter(self._line))
            if flow.credit <= 0:
                flow.credit += self._quantum
                if flow.credit <= 0:
                    self._line.move_to_end(flow)
                    continue
            self.leave(flow)
            return flow
        return None

    def delay(self, now: float) -> float | None:
        """Seconds until flows in line should be resumed, None where none waits."""
        if not self._line:
            return None
        self._refill(now)
        return max(0.0, PORTION - self._level / self._rate)

    def leave(self, flow: Flow) -> None:
        """Take ``flow`` out of the line, if it is there."""
        if flow.waits:
            flow.waits = False
            del self._line[flow]

    def _refill(self, now: float) -> None:
        self._level = min(self._rate * BURST, self._level + (now - self._now) * self._rate)
        self._now = now
