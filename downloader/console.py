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

from downloader import descriptors, trust
from downloader import sources as lists
from downloader.engine import Engine
from downloader.errors import Interrupted, StopRun
from downloader.outlet import Outlet
from downloader.records import FailedList, Json, LogFile
from downloader.report import Counters, Level, Lines, summary
from downloader.streams import stdin_chunks, stream_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from downloader.errors import GdlError
    from downloader.items import BadItem, Item, Listener
    from downloader.options import Options
    from downloader.progress import Bars

TICK = 0.125
"""Seconds between two drawings of the bars."""


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
    try:
        descriptors.raise_limit(options.jobs)
        with ExitStack() as stack:
            return _Run(sources, options, display, stack).perform()
    except StopRun as error:  # what the run should have left beside its files could not be written
        if sys.stderr is not None:
            with suppress(OSError):
                print(f"gdl: {error}", file=sys.stderr)  # noqa: T201
        return ExitCode.STOPPED


class _Run:
    def __init__(self, sources: Sequence[str], options: Options, display: Display, stack: ExitStack) -> None:
        self._sources = sources
        self._options = options
        self._display = display
        self._code: ExitCode | None = None
        self._out = Outlet(sys.stdout, self._closed)
        self._err = Outlet(sys.stderr)
        self._counters = Counters()
        self._listeners: list[Listener] = [self._counters]
        self._failed = stack.enter_context(FailedList(display.failed, sources=sources)) if display.failed else None
        if self._failed is not None:
            self._listeners.append(self._failed)
        if display.log_file is not None:
            self._listeners.append(stack.enter_context(LogFile(display.log_file)))
        if display.as_json:
            if sys.stdout is None:
                raise StopRun("--json: standard output is closed")
            self._listeners.append(Json(self._out.write))
        # A stream may never end: it is not read on where that serves no download.
        lists_only = all(lists.is_url(source) or os.path.isfile(source) for source in sources)
        self.engine = Engine(options, listeners=self._listeners, read_on=lists_only)
        self._bars = self._make_bars()
        if self._bars is not None:
            stack.callback(self._bars.close)
        self._listeners.append(Lines(self._say, display.level(bars=self._bars is not None)))

    def _make_bars(self) -> Bars | None:
        display = self._display
        if display.quiet or display.progress in ("lines", "none"):
            return None
        if sys.stderr is None or (display.progress == "auto" and not sys.stderr.isatty()):
            return None
        from downloader.progress import Bars, can_draw

        wanted = display.progress == "bars" or (display.progress == "auto" and can_draw(sys.stderr))
        if not wanted:
            return None
        counts = [lists.count(source) if source != lists.STDIN else None for source in self._sources]
        known = [count for count in counts if count is not None]
        expected = sum(known) if len(known) == len(counts) else None
        engine = self.engine
        hosts = engine.troubles.shown
        return Bars(engine.tally, engine.running, hosts=hosts, stream=sys.stderr, expected=expected)

    def perform(self) -> ExitCode:
        for number, code, name in (
            (signal.SIGINT, ExitCode.SIGINT, "Ctrl-C"),
            (signal.SIGTERM, ExitCode.SIGTERM, "SIGTERM"),
            (signal.SIGHUP, ExitCode.SIGHUP, "SIGHUP"),
        ):
            if signal.getsignal(number) is not signal.SIG_IGN:
                gevent.signal_handler(number, self._interrupt, code, name)
        if self._options.insecure:
            self._warn("--insecure: TLS certificates are not checked, anybody on the way can read and change files")
        started = time.monotonic()
        ticker = gevent.spawn(self._tick) if self._bars is not None else None
        try:
            self.engine.run(self._items())
        finally:
            if ticker is not None:
                ticker.kill()
            if self._bars is not None:
                self._bars.close()
        listed = self._failed is not None and self._failed.close(exhausted=self.engine.tally.exhausted)
        self._summarise(time.monotonic() - started, self._display.failed if listed else None)
        return self._exit_code()

    def _items(self) -> Iterator[Item | BadItem]:
        return lists.read(self._sources, stdin_chunks=stdin_chunks, stream_chunks=stream_chunks, warn=self._warn)

    def _tick(self) -> None:
        while self._bars is not None:
            if self._err.ready():  # a terminal may be held with Ctrl-S
                self._bars.tick(time.monotonic())
            gevent.sleep(TICK)

    def _interrupt(self, code: ExitCode, name: str) -> None:
        if self._code is not None:  # the second one: at once
            if self._bars is not None and self._err.ready():
                self._bars.close()
            trust.discard_all()
            if self._failed is not None:
                with suppress(StopRun):
                    self._failed.close(exhausted=False)
            os._exit(code)
        self._code = code
        self._out.hurry()
        self._err.hurry()
        self.engine.stop(Interrupted(f"stopped by {name}"))

    def _summarise(self, elapsed: float, failed_list: str | None) -> None:
        if self._display.quiet:
            if self.engine.stopped is not None:
                self._say(f"gdl: {_stopped(self.engine.stopped)}")
            return
        stopped = None if self.engine.stopped is None else _stopped(self.engine.stopped)
        hosts = self.engine.found(every=self._display.verbose)
        for line in summary(
            self.engine.tally, self._counters, elapsed, hosts=hosts, stopped=stopped, failed_list=failed_list
        ):
            self._say(line)

    def _exit_code(self) -> ExitCode:
        if self._code is not None:
            return self._code
        if self.engine.stopped is not None:
            return ExitCode.STOPPED
        return ExitCode.FAILED if self.engine.tally.failed else ExitCode.OK

    def _warn(self, message: str) -> None:
        for listener in self._listeners:
            listener.warned(message)

    def _say(self, line: str) -> None:
        if self._bars is not None:
            self._bars.print(line)
            return
        self._err.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def _closed(self, error: OSError) -> None:
        self.engine.stop(StopRun(f"standard output cannot be written: {error.strerror}"))


def _stopped(reason: GdlError) -> str:
    return str(reason) if isinstance(reason, Interrupted) else f"stopped: {reason}"
