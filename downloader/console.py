"""A run for a person or a script at a console: listeners, bars, signals and the exit code around an `Engine`."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

import gevent

from downloader import descriptors, streams, trust
from downloader import sources as lists
from downloader.engine import Engine
from downloader.errors import Interrupted, StopRun
from downloader.outlet import Outlet, descriptor
from downloader.records import FailedList, Json, LogFile
from downloader.report import Counters, Level, Lines, summary
from downloader.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from typing import NoReturn

    from downloader.errors import GdlError
    from downloader.items import BadItem, Item, Listener
    from downloader.options import Options
    from downloader.progress import Bars

TICK = 0.125
"""Seconds between two drawings of the bars."""
MOMENT = 0.2
"""Seconds that a terminal has to take its bars away where a run ends at once."""


class ExitCode(IntEnum):
    """What the process says at its end."""

    OK = 0
    """Every item was saved or skipped."""
    FAILED = 1
    """At least one item failed."""
    USAGE = 2
    """The command line is wrong."""
    STOPPED = 3
    """The run was stopped: nothing could be written any more."""
    SIGHUP = 129
    SIGINT = 130
    SIGTERM = 143


SIGNALS = {
    signal.SIGINT: (ExitCode.SIGINT, "Ctrl-C"),
    signal.SIGTERM: (ExitCode.SIGTERM, "SIGTERM"),
    signal.SIGHUP: (ExitCode.SIGHUP, "SIGHUP"),
}
"""The signals that end a run, with what each is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """What a run shows and writes besides its files."""

    quiet: bool = False
    verbose: bool = False
    progress: Literal["auto", "bars", "lines", "none"] = "auto"
    as_json: bool = False
    failed: str | None = None
    """Path of the list of failed lines."""
    log_file: str | None = None

    def level(self, *, bars: bool) -> Level:
        """Return how much the lines tell."""
        if self.quiet:
            return Level.QUIET
        if self.verbose:
            return Level.VERBOSE
        return Level.BARS if bars or self.progress == "none" else Level.PLAIN


def download_all(sources: Sequence[str], options: Options, display: Display) -> ExitCode:
    """Download what ``sources`` list, showing it as ``display`` says. Raises `errors.UsageError` before it starts."""
    descriptors.raise_limit(options.jobs)
    return _Run(sources, options, display).perform()


class _Run:
    _engine: Engine

    def __init__(self, sources: Sequence[str], options: Options, display: Display) -> None:
        self._sources = sources
        self._options = options
        self._display = display
        self._code: ExitCode | None = None
        """Of the signal that has come."""
        self._begun = False
        """Whether the list is being read: from then on a stop has results to give."""
        self._lost = False
        """Whether what the run should have left beside its files could not be written."""
        self._out = Outlet(descriptor(sys.stdout), self._closed)
        self._err = Outlet(descriptor(sys.stderr))
        self._outlets = [self._out, self._err]
        self._counters = Counters()
        self._listeners: list[Listener] = [self._counters]
        self._failed: FailedList | None = None
        self._bars: Bars | None = None
        self._draws = _wants_bars(display)

    def perform(self) -> ExitCode:
        # One that was ignored when gdl was started stays so (nohup, a shell's background jobs).
        taken = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        with Signals(taken, self._interrupt):
            try:
                with ExitStack() as stack:
                    self._prepare(stack)
                    self._download()
            except StopRun as error:
                self._lost = True
                self._say(f"gdl: {error}")
            finally:
                for outlet in self._outlets:
                    outlet.drain()
            return self._exit_code()

    def _prepare(self, stack: ExitStack) -> None:
        display = self._display
        if display.failed:
            self._failed = stack.enter_context(FailedList(display.failed, sources=self._sources))
            self._outlets.append(self._failed.outlet)
            self._listeners.append(self._failed)
        if display.log_file is not None:
            log = stack.enter_context(LogFile(display.log_file, sources=self._sources))
            self._outlets.append(log.outlet)
            self._listeners.append(log)
        if display.as_json:
            if sys.stdout is None:
                raise StopRun("--json: standard output is closed")
            self._listeners.append(Json(self._out.write))
        # A stream may never end: it is not read on where that serves no download.
        lists_only = all(lists.is_url(source) or os.path.isfile(source) for source in self._sources)
        self._engine = Engine(self._options, listeners=self._listeners, read_on=lists_only)
        if self._draws:
            self._bars = self._make_bars()
        self._listeners.append(Lines(self._say, display.level(bars=self._bars is not None)))

    def _make_bars(self) -> Bars:
        from downloader.progress import Bars

        engine = self._engine
        hosts = engine.troubles.shown
        return Bars(engine.tally, engine.running, hosts=hosts, stream=sys.stderr, write=self._err.write)

    def _download(self) -> None:
        if self._options.insecure:
            self._warn("--insecure: TLS certificates are not checked, anybody on the way can read and change files")
        started = time.monotonic()
        helpers = [] if self._bars is None else [gevent.spawn(each, self._bars) for each in (self._draw, self._count)]
        try:
            self._engine.run(self._items())
        finally:
            gevent.killall(helpers)
            if self._bars is not None:
                self._bars.close()
        self._out.drain()  # what cannot be written stops the run even now
        listed = self._failed is not None and self._failed.close(exhausted=self._engine.tally.exhausted)
        self._summarise(time.monotonic() - started, self._display.failed if listed else None)

    def _items(self) -> Iterator[Item | BadItem]:
        self._begun = True
        yield from lists.read(self._sources, chunks=self._chunks, warn=self._warn)

    def _chunks(self, source: str | int) -> Generator[bytes | None, None, None]:
        """Read a list, as fast as what comes of it is read in its turn."""
        for chunk in streams.chunks(source):
            yield chunk
            for outlet in self._outlets:
                outlet.wait_for_room()

    def _draw(self, bars: Bars) -> None:
        while True:
            if self._err.ready:  # a terminal may be held with Ctrl-S
                bars.tick(time.monotonic())
            gevent.sleep(TICK)

    def _count(self, bars: Bars) -> None:
        """Find out how many files there are, beside the downloads."""
        expected = 0
        for source in self._sources:
            found = None if source == lists.STDIN else lists.count(source, chunks=streams.chunks)
            if found is None:
                return
            expected += found
        bars.expected = expected

    def _interrupt(self, number: int) -> None:
        code, name = SIGNALS[signal.Signals(number)]
        if self._code is not None or not self._begun:
            self._leave(code)
        self._code = code
        for outlet in self._outlets:
            outlet.hurry()
        self._engine.stop(Interrupted(f"stopped by {name}"))

    def _leave(self, code: ExitCode) -> NoReturn:
        """End the process at once, leaving nothing behind that only a run needs."""
        for outlet in self._outlets:
            outlet.hurry(0.0)
        if self._bars is not None and self._err.ready:
            self._bars.close()
            self._err.hurry(MOMENT)
            self._err.drain()
        trust.discard_all()
        if self._failed is not None:
            with suppress(StopRun):
                self._failed.close(exhausted=False)
        os._exit(code)

    def _summarise(self, elapsed: float, failed_list: str | None) -> None:
        if self._display.quiet:
            if self._engine.stopped is not None:
                self._say(f"gdl: {_stopped(self._engine.stopped)}")
            return
        stopped = None if self._engine.stopped is None else _stopped(self._engine.stopped)
        hosts = self._engine.found(every=self._display.verbose)
        for line in summary(
            self._engine.tally, self._counters, elapsed, hosts=hosts, stopped=stopped, failed_list=failed_list
        ):
            self._say(line)

    def _exit_code(self) -> ExitCode:
        if self._code is not None:
            return self._code
        if self._lost or self._engine.stopped is not None:
            return ExitCode.STOPPED
        return ExitCode.FAILED if self._engine.tally.failed else ExitCode.OK

    def _warn(self, message: str) -> None:
        for listener in self._listeners:
            listener.warned(message)

    def _say(self, line: str) -> None:
        if self._bars is not None:
            self._bars.print(line)
            return
        self._err.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def _closed(self, error: OSError) -> None:
        self._engine.stop(StopRun(f"standard output cannot be written: {error.strerror}"))


def _wants_bars(display: Display) -> bool:
    if display.quiet or display.progress in ("lines", "none"):
        return False
    if sys.stderr is None or (display.progress == "auto" and not sys.stderr.isatty()):
        return False
    from downloader.progress import can_draw  # with what it needs, which takes long: before signals wait for the hub

    return display.progress == "bars" or can_draw(sys.stderr)


def _stopped(reason: GdlError) -> str:
    return str(reason) if isinstance(reason, Interrupted) else f"stopped: {reason}"
