"""What a run tells people: a line per result, and a summary at its end.

Lines go to a function, so that the same listener serves a plain stream and the space above the bars. Everything a
list or a server may have written is made printable first.
"""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING

from downloader.items import Listener
from downloader.text import file_name, format_duration, format_rate, format_size, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.errors import ItemError
    from downloader.items import Item, Result, Tally

AGAIN = "run the same command again to go on"


class Level(IntEnum):
    """How much is told, each level with all that the ones before it tell."""

    QUIET = 0
    """Failures, one line each: what cron should mail."""
    BARS = 1
    """Warnings too; the bars show the rest, and the summary counts what a stop interrupted."""
    PLAIN = 2
    """Saved files too."""
    VERBOSE = 3
    """Skipped files, retries and notes too."""


class Lines(Listener):
    """One line for each thing worth telling at ``level``, handed without its newline to ``write``."""

    def __init__(self, write: Callable[[str], None], level: Level = Level.PLAIN) -> None:
        self._write = write
        self._level = level

    def finished(self, result: Result) -> None:
        """Tell of the result, where the level asks for it."""
        if result.status == "failed":
            interrupted = result.error is not None and result.error.kind == "interrupted"
            if not (interrupted and self._level == Level.BARS):
                program = "gdl: failed" if self._level == Level.QUIET else "failed "
                self._write(f"{program} {failure(result)}")
        elif result.status == "saved":
            if self._level >= Level.PLAIN:
                self._write(f"saved   {printable(result.path or '')}  {format_size(result.bytes)}")
        elif result.reason == "dry run":
            if self._level >= Level.BARS:
                self._write(f"would save {printable(result.path or '')}  from {printable(result.url or '')}")
        elif self._level >= Level.VERBOSE:
            what = printable(result.path or result.url or "")
            self._write(f"skipped {what}: {printable(result.reason or '')}")

    def retrying(self, item: Item, error: ItemError, delay: float, attempt: int) -> None:
        """Tell of the retry with ``-v``."""
        if self._level >= Level.VERBOSE:
            when = f"in {format_duration(delay)}"
            self._write(f"retry   {printable(item.url)} {when}: {printable(str(error))} (attempt {attempt})")

    def noted(self, message: str) -> None:
        """Tell it with ``-v``."""
        if self._level >= Level.VERBOSE:
            self._write(printable(message))

    def warned(self, message: str) -> None:
        """Tell it, unless only failures are asked for."""
        if self._level >= Level.BARS:
            self._write(f"warning: {printable(message)}")


def failure(result: Result) -> str:
    """Describe a failure on one line: ``https://h/a.jpg: 404 Not Found (urls.txt:12)``.

    The place of a line that is no usable item is in its message already.
    """
    reason = printable(result.reason or str(result.error or "unknown"))
    place = place_of(result)
    if place and reason.startswith(f"{place}:"):
        return reason
    url = f"{printable(result.url)}: " if result.url else ""
    notes = [place] if place else []
    if result.attempts > 1:
        notes.append(f"{result.attempts} tries")
    return f"{url}{reason}{' (' + ', '.join(notes) + ')' if notes else ''}"


def place_of(result: Result) -> str:
    """Name the list and line a result comes from, as ``urls.txt:12``; empty where it is no line of a list."""
    return f"{printable(result.source)}:{result.line}" if result.line else ""


class Counters(Listener):
    """Why items were skipped and failed, as numbers: their memory does not grow with the run."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        """Results by reason, as `items.Result.reason` has it."""
        self.failed: Counter[str] = Counter()
        """Results by the error's kind."""

    def finished(self, result: Result) -> None:
        """Count the result."""
        if result.status == "skipped":
            self.skipped[result.reason or "unknown"] += 1
        elif result.status == "failed":
            self.failed[result.error.kind if result.error else "unknown"] += 1


def summary(
    tally: Tally,
    counters: Counters,
    elapsed: float,
    *,
    hosts: Sequence[str] = (),
    stopped: str | None = None,
    failed_list: str | None = None,
) -> list[str]:
    """Return the closing lines of a run that took ``elapsed`` seconds.

    ``hosts`` are lines of their own, about what was found out of hosts. ``stopped`` says why a run ended before its
    sources did, as in ``stopped by Ctrl-C`` or ``stopped: No space left on device``. ``failed_list`` is the path that
    ``--failed`` wrote.
    """
    parts = []
    if tally.saved:
        parts.append(f"{tally.saved} saved ({_transferred(tally, elapsed)})")
    planned = counters.skipped.get("dry run", 0)
    if planned:
        parts.append(f"{planned} would be saved")
    if tally.skipped > planned:
        reasons = {reason: count for reason, count in counters.skipped.items() if reason != "dry run"}
        parts.append(f"{tally.skipped - planned} skipped{_by_reason(reasons)}")
    if tally.failed:
        parts.append(f"{tally.failed} failed{_by_reason(counters.failed)}")
    lines = [", ".join(parts) or "nothing to download"]
    if stopped is not None:
        rest = "" if tally.exhausted else ", the list was not read to its end"
        # What a person stopped can go on at once, what the disk stopped cannot.
        again = f"mend that, then {AGAIN}" if stopped.startswith("stopped: ") else AGAIN
        lines = [f"{printable(stopped)}{rest}: {again}", *(lines if parts else ())]
    if tally.failed and failed_list is not None:
        lines.append(f"what failed is in {printable(file_name(failed_list))}, ready to be fed back in")
    elif tally.failed > 1 and stopped is None:
        lines.append("tip: --failed FILE keeps the lines that failed, as a list to give to gdl again")
    return [*map(printable, hosts), *lines]


def _transferred(tally: Tally, elapsed: float) -> str:
    size, received = format_size(tally.bytes), format_size(tally.received)
    elapsed = max(elapsed, 0.1)
    took = f"in {format_duration(elapsed)}, {format_rate(tally.received / elapsed)}"
    # They differ where a part was continued, or an attempt was in vain.
    return f"{size} {took}" if size == received else f"{size}; received {received} {took}"


def _by_reason(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    listed = ", ".join(f"{count} {printable(reason)}" for reason, count in ordered)
    return f" ({listed})" if listed else ""
