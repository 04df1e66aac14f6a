"""Runs gdl and writes down its longest slices: ``python -m benchmarks.traced REPORT SECONDS ARGUMENT...``.

SECONDS is when it is stopped by SIGTERM, 0 for never.

A slice is what runs between two switches of the hub's greenlets, or on the hub between two looks at sockets, timers
and signals: as long as it lasts nobody else has a turn. What counts is CPU time of the thread, so that neither
waiting nor a busy machine makes a slice longer. A virtual machine's CPU time has in it what the host gave to others
meanwhile; where the kernel tells that as stolen time, it is taken off.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from heapq import heappush, heappushpop
from typing import TYPE_CHECKING, Any

import gevent
import greenlet

from downloader import __main__ as command
from downloader.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

MOST = 5
"""Slices that are kept, the longest."""
SHORT = 0.01
"""Seconds of CPU time after which it is looked how much was stolen: what the kernel counts it in."""


class Tracer:
    """Measures slices from `begin` on."""

    def __init__(self) -> None:
        self._longest: list[tuple[float, int, str]] = []
        self._slices = 0
        self._since: float | None = None
        self._run: Any = None  # a greenlet that has ended has none any more
        self._cpu = -1
        self._stolen = self._looked = 0.0

    def begin(self) -> None:
        """Count from now on: signals are heard by the hub alone."""
        if self._since is not None:
            return
        if hasattr(os, "sched_setaffinity"):
            self._cpu = min(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {self._cpu})
        self._stolen = _stolen(self._cpu)
        self._since = self._looked = time.thread_time()
        prepare = gevent.get_hub().loop.prepare(ref=False)
        prepare.start(self._looks)
        greenlet.settrace(self._switched)

    def _switched(self, _event: str, between: tuple[Any, Any]) -> None:
        self._end(between[0])
        self._run = getattr(between[1], "_run", None)

    def _looks(self) -> None:
        self._end(greenlet.getcurrent())

    def _end(self, ran: Any) -> None:
        now = time.thread_time()
        if self._since is None:
            return
        took = now - self._since
        self._slices += 1
        if now - self._looked > SHORT:
            stolen, self._stolen, self._looked = self._stolen, _stolen(self._cpu), now
            took = max(0.0, took - (self._stolen - stolen))
        if len(self._longest) < MOST or took > self._longest[0][0]:
            keep = heappush if len(self._longest) < MOST else heappushpop
            keep(self._longest, (took, self._slices, self._named(ran)))
        self._since = time.thread_time()

    def _named(self, ran: Any) -> str:
        """Say which greenlet ran, and in which functions it gave others their turn."""
        name = getattr(self._run, "__qualname__", None) or type(ran).__name__
        return " < ".join([*_functions(ran.gr_frame), name])

    def found(self) -> dict[str, Any]:
        """Return what was measured, the longest slice first."""
        self._end(greenlet.getcurrent())
        longest = [{"seconds": took, "ran": ran} for took, _, ran in sorted(self._longest, reverse=True)]
        return {"slices": self._slices, "longest": longest}


def _stolen(cpu: int) -> float:
    """Return the seconds that the host of a virtual machine took from this CPU."""
    try:
        with open("/proc/stat", encoding="ascii") as lines:
            for line in lines:
                name, *counts = line.split()
                if name == f"cpu{cpu}":
                    return int(counts[7]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        pass
    return 0.0


def _functions(frame: FrameType | None) -> list[str]:
    names = []
    while frame is not None:
        if "downloader" in frame.f_code.co_filename:
            names.append(f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return names


def main() -> None:
    """Run gdl with the arguments that are its own, and write what was found."""
    report, seconds = sys.argv[1:3]
    sys.argv[:3] = ["gdl"]
    tracer = Tracer()
    leave: Callable[[int], NoReturn] = os._exit
    enter = Signals.__enter__

    def entered(signals: Signals) -> None:
        tracer.begin()
        enter(signals)
        if float(seconds):  # a thread from before would not have the signal blocked, and be ended by it
            timer = threading.Timer(float(seconds), os.kill, (os.getpid(), signal.SIGTERM))
            timer.daemon = True
            timer.start()

    def left(code: int) -> NoReturn:
        with open(report, "w", encoding="utf-8") as file:
            json.dump(tracer.found(), file)
        leave(code)

    vars(os)["_exit"] = left
    setattr(Signals, "__enter__", entered)  # noqa: B010 mypy knows it for a method
    command.main()


if __name__ == "__main__":
    main()
