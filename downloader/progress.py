"""Progress on a terminal: a line about the whole run, and below it a bar for each file that takes its time.

tqdm draws the bars; this module decides what a line says and puts all lines on the screen in one write.
The cursor rests at the start of the first line. Whatever happens to the lines below (they go away, a narrower
window wraps them), the next frame overwrites and erases them from there.

Nothing here runs per chunk or per file. `Bars.tick` reads what the engine updates anyway, and costs as much
as the lines it shows.
"""

from __future__ import annotations

import math
import os
from itertools import islice
from typing import TYPE_CHECKING, TextIO

from tqdm.std import tqdm

from downloader.items import Listener
from downloader.text import counted, fit, format_duration, format_rate, format_size, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from downloader.items import Running, Tally

LASTING = 0.5
"""Seconds a transfer runs before it gets a bar: most files are done by then, and a flash tells nothing."""
MEMORY = 3.0
"""Seconds over which a transfer rate is averaged."""
ETA_MEMORY = 15.0
"""Seconds over which finished files are averaged to tell when the run ends."""
LONGEST_ETA = 100 * 86_400
"""Seconds; a longer forecast is no information."""
NARROWEST = 32
"""Columns below which there is no room for a name and a bar."""
PENDING = 1000
"""Messages that wait for the next tick; where there are more, they are shown at once."""

_ERASE_LINE = "\x1b[K"
_ERASE_BELOW = "\x1b[J"
# From the second line on: erasing a whole screen makes tmux save it, bars and all, to its scrollback.
_ERASE = f"\r{_ERASE_LINE}\n{_ERASE_BELOW}\x1b[A"
_RED = "\x1b[31m"
_PLAIN = "\x1b[0m"


def can_draw(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether bars can be shown on the stream: it is a terminal, and one that can move its cursor."""
    return stream.isatty() and environ.get("TERM") != "dumb"


class Rate:
    """How fast an amount grows, in units per second; growth ``memory`` seconds ago weighs 1/e of today's."""

    __slots__ = ("_amount", "_grown", "_memory", "_now", "_seconds")

    def __init__(self, now: float, amount: float, memory: float = MEMORY) -> None:
        self._now = now
        self._amount = amount
        self._memory = memory
        self._grown = 0.0
        self._seconds = 0.0

    def update(self, now: float, amount: float) -> float | None:
        """Take the amount at a monotonic time and return the rate; None until time has passed.

        An amount that shrinks, as when a transfer starts again, counts as standing still.
        """
        passed = now - self._now
        if passed > 0:
            kept = math.exp(-passed / self._memory)
            self._grown = self._grown * kept + max(amount - self._amount, 0)
            self._seconds = self._seconds * kept + passed
            self._now, self._amount = now, amount
        return self._grown / self._seconds if self._seconds else None


def forecast(left: float, rate: float | None) -> float | None:
    """Return the seconds until ``left`` units are done at ``rate`` units per second; None if unknowable."""
    if not rate or left > rate * LONGEST_ETA:
        return None
    return float(math.ceil(left / rate))


def file_line(
    columns: int, name: str, received: int, total: int | None, rate: float | None, *, ascii_only: bool = False
) -> str:
    """Describe one transfer on exactly ``columns`` columns (at least `NARROWEST`); ``name`` is printable.

    ``total`` is None for an unknown length: then there is no percentage and no bar. Where room is short, the
    numbers on the right are left out.
    """
    name_columns = min(columns * 2 // 5, 60)
    desc = fit(name, name_columns, "~" if ascii_only else "…")
    room = columns - name_columns - 1
    if total is None or not 0 < total >= received:
        total = None
    right = f" {'' if rate is None else format_rate(rate):>9}"
    if room >= 40:
        eta = None if total is None else forecast(total - received, rate)
        right += f" {'' if eta is None else format_duration(eta):>6}"
        size = format_size(received)
        if room < 60:
            right = f" {size:>7}" + right
        else:
            right = f" {size if total is None else f'{size}/{format_size(total)}':>15}" + right
    left = room - len(right)
    if total is None:
        return f"{desc} {format_size(received) if room < 40 else '':>{left}}{right}"
    bar_format = f"{{desc}} {{percentage:3.0f}}%|{{bar:{left - 6}}}|{right}"
    return tqdm.format_meter(received, total, 0, prefix=desc, ascii=ascii_only, bar_format=bar_format)


def total_line(
    columns: int,
    tally: Tally,
    *,
    received: int = 0,
    total: int | None = None,
    rate: float | None = None,
    eta: float | None = None,
    hidden: int = 0,
    hosts: Sequence[str] = (),
    ascii_only: bool = False,
) -> str:
    """Describe the run on at most ``columns`` columns: ``12/40 files  3.4 MB  1.2 MB/s  2 failed  eta 12 s``.

    ``received`` is in bytes, ``total`` the number of files where it is known, ``eta`` is in seconds, ``hidden``
    the number of transfers without a bar for want of room, ``hosts`` what keeps the run waiting, best first and
    shortest last. The least important numbers give way where room is short, and a bar fills what is left over.
    """
    files = counted(tally.done, "file") if total is None else f"{tally.done}/{counted(total, 'file')}"
    shown = {
        "files": files,
        "bytes": format_size(received),
        "rate": "" if rate is None else format_rate(rate),
        "failed": f"{tally.failed} failed" if tally.failed else "",
        "waiting": f"{tally.waiting} waiting" if tally.waiting else "",
        "hidden": f"+{hidden} more" if hidden else "",
        "hosts": hosts[0] if hosts else "",
        "eta": "" if eta is None else f"eta {format_duration(eta)}",
    }
    hosts_first = [("bytes", ""), ("waiting", ""), *(("hosts", text) for text in hosts[1:])] if hosts else []
    others = ("bytes", "eta", "waiting", "rate", "hidden", "hosts", "failed")
    for least, instead in (*hosts_first, *((field, "") for field in others)):
        if len(_joined(shown)) <= columns:
            break
        shown[least] = instead
    if shown["hosts"]:  # what gave way last may have made room for more
        shown["hosts"] = next(text for text in hosts if len(_joined({**shown, "hosts": text})) <= columns)
    line = _joined(shown)
    spare = columns - len(line) - 3
    if not total or spare < 8 or tally.done > total:
        return line[:columns]
    bar_format = f"{{desc}} |{{bar:{spare}}}|{line[len(files) :]}"
    return tqdm.format_meter(tally.done, total, 0, prefix=files, ascii=ascii_only, bar_format=bar_format)


def _joined(fields: Mapping[str, str]) -> str:
    return "  ".join(filter(None, fields.values()))


def frame(messages: Sequence[str], lines: Sequence[str], *, erase: bool) -> str:
    """Return what replaces the lines on the screen: messages that stay, then lines the next frame replaces.

    The cursor is taken to be, and left, at the start of the first replaceable line. ``erase`` says whether
    there are any on the screen now.
    """
    start = _ERASE if erase and (messages or not lines) else ""
    kept = "".join(f"{message}\r\n" for message in messages)
    if not lines:
        return start + kept
    up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
    return f"{start}{kept}\r" + f"{_ERASE_LINE}\r\n".join(lines) + _ERASE_BELOW + "\r" + up


class Bars(Listener):
    """The display of a run on a terminal. Counts come from the tally, so a finished file costs nothing here.

    ``running`` is read oldest first. ``write`` takes what is to be shown on the terminal ``stream``. At every tick
    ``hosts`` tells what keeps the run waiting (see `total_line`), and ``size`` the columns and rows, to follow a
    resized window.
    """

    expected: int | None = None
    """The number of files, once it is known, before the sources have been read."""

    def __init__(
        self,
        tally: Tally,
        running: Mapping[int, Running],
        *,
        stream: TextIO,
        write: Callable[[bytes], None],
        hosts: Callable[[float], Sequence[str]] = lambda _: (),
        size: Callable[[], tuple[int, int]] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._tally = tally
        self._running = running
        self._stream = stream
        self._write = write
        self._hosts = hosts
        self._size = size or self._terminal_size
        self._colour = not environ.get("NO_COLOR")
        self._encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._ascii_only = self._encodable("…█▏") != "…█▏"
        self._rates: dict[int, tuple[Running, Rate]] = {}
        self._rate: Rate | None = None
        self._files: Rate | None = None
        self._pending: list[str] = []
        self._lines: list[str] = []
        self._drawn = False
        self._closed = False

    def tick(self, now: float) -> None:
        """Draw the state at a monotonic time in seconds; to be called five to ten times a second."""
        if self._closed:
            return
        columns, rows = self._size()
        columns -= 1  # a character in the last column makes some terminals wrap
        most = max(rows - 2, 0) if columns >= NARROWEST else 0
        lines, rates, fractions, slowest = [], {}, 0.0, 0.0
        for key, transfer in islice(self._running.items(), most):
            if now - transfer.started < LASTING:
                break
            known = self._rates.get(key)
            if known is None or known[0] is not transfer:
                known = (transfer, Rate(now, transfer.received))
            rates[key] = known
            name = self._encodable(printable(transfer.name))
            received, total = transfer.received, transfer.total
            rate = known[1].update(now, received)
            lines.append(file_line(columns, name, received, total, rate, ascii_only=self._ascii_only))
            fractions += min(received / total, 1) if total else 0
            if total:
                slowest = max(slowest, forecast(total - received, rate) or 0.0)
        self._rates = rates
        hidden = len(self._running) - most if len(lines) == most else 0
        self._lines = [self._total(now, columns, fractions, slowest, hidden), *lines]
        self._paint(self._lines)

    def print(self, line: str) -> None:
        """Show a line above the bars, at the next tick or when closing; control characters are replaced."""
        self._pending.append(self._encodable(printable(line)))
        if self._closed or len(self._pending) >= PENDING:
            self._paint(self._lines)

    def close(self) -> None:
        """Show waiting messages, clear all bars, and leave the cursor at the start of a clean line. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._lines = []
        self._paint(())

    def _total(self, now: float, columns: int, fractions: float, slowest: float, hidden: int) -> str:
        tally = self._tally
        progress = tally.done + fractions
        # The tally counts a transfer's bytes when it has ended.
        received = tally.received + sum(each.received - each.resumed for each in self._running.values())
        if self._rate is None or self._files is None:
            self._rate = Rate(now, received)
            self._files = Rate(now, progress, ETA_MEMORY)
        rate = self._rate.update(now, received)
        speed = self._files.update(now, progress)
        total = tally.read if tally.exhausted else self.expected
        eta = None if total is None or total <= tally.done else forecast(total - progress, speed)
        line = total_line(
            columns,
            tally,
            received=received,
            total=total,
            rate=rate,
            # The run lasts at least as long as the slowest of the files that run.
            eta=None if eta is None else max(eta, slowest),
            hidden=hidden,
            hosts=[text.replace("…", "~") if self._ascii_only else text for text in self._hosts(now)],
            ascii_only=self._ascii_only,
        )
        failed = f"  {tally.failed} failed"
        return line.replace(failed, _RED + failed + _PLAIN) if self._colour else line

    def _paint(self, lines: Sequence[str]) -> None:
        messages, self._pending = self._pending, []
        output = frame(messages, lines, erase=self._drawn)
        self._drawn = bool(lines)
        if output:
            self._write(output.encode(self._encoding, "replace"))

    def _terminal_size(self) -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError, AttributeError):
            columns, rows = 0, 0
        return columns or 80, rows or 24

    def _encodable(self, text: str) -> str:
        if text.isascii():
            return text
        return text.encode(self._encoding, "replace").decode(self._encoding)
