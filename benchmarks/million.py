"""The cases about lists of any length: from a pipe, as many lines as asked for, and a thousand to compare with."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from benchmarks.bench import same_files, say
from benchmarks.measure import HERE, MB, PYTHON, Series, Wrong
from benchmarks.report import Fact, Report
from benchmarks.server import GIF_BYTES
from benchmarks.tools import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.measure import Usage
    from benchmarks.tools import Tool

FEW = 1_000
LOOKED_AT = 64
"""Entries of the output folder that are looked at for a complete file, so that looking stays cheap."""


def million_ok(bench: Bench) -> Report:
    """Each line a picture: when the first file is there, and whether memory grows with the list."""
    count = bench.count or 1_000_000
    report = Report("million-ok", f"{count:,} lines from a pipe, each a picture of {GIF_BYTES} bytes", paired=False)
    for tool in bench.tools:
        few, _ = _pictures(bench, report, tool, min(FEW, count))
        many, first = _pictures(bench, report, tool, count)
        if tool is OURS:
            report.facts += _growth(few, many)
        report.facts.append(
            Fact(f"`{tool.label}` has its first file complete after", first, "s", 1.0 if tool is OURS else None)
        )
        report.facts.append(Fact(f"`{tool.label}` saves", count / many.wall, "/s"))
    return report


def million_fail(bench: Bench) -> Report:
    """Each line a 404: whether memory grows with failures. gdl only."""
    count = bench.count or 1_000_000
    report = Report("million-fail", f"{count:,} lines from a pipe, each answered with 404", paired=False)
    few, many = (_failures(bench, report, lines) for lines in (min(FEW, count), count))
    report.facts += [*_growth(few, many), Fact("lines", count / many.wall, "/s")]
    return report


def _pictures(bench: Bench, report: Report, tool: Tool, count: int) -> tuple[Usage, float]:
    """Return what it used, and the seconds until a file was complete under its final name."""
    out = bench.scratch / "out"
    seen: list[float] = []

    def watch() -> None:
        if not seen and _holds_complete(out):
            seen.append(time.monotonic())

    def check(folder: Path) -> None:
        with os.scandir(folder) as entries:
            sizes = [entry.stat().st_size for entry in entries]
        if len(sizes) != count or set(sizes) != {GIF_BYTES}:
            raise Wrong(f"{len(sizes):,} of {count:,} files, of {sorted(set(sizes))} bytes")

    series = Series(f"{tool.label}, {count:,} lines")
    say(f"{report.case}: {series.label}")
    pattern = tool.line(f"{bench.server.http}/gif/{{0}}.gif", out)
    with piped(pattern, count) as lines:
        usage = bench.measure(tool.command(bench.job("-")), check, stdin=lines, watch=watch, folder=tool.folder)
    series.runs.append(usage)
    report.series.append(series)
    return usage, (seen[0] - usage.started if seen else usage.wall)


def _holds_complete(folder: Path) -> bool:
    """Whether one of the first entries is a whole picture under its final name."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry, _ in zip(entries, range(LOOKED_AT), strict=False):
            if entry.name.endswith(".gif") and entry.stat().st_size == GIF_BYTES:
                return True
    return False


def _failures(bench: Bench, report: Report, count: int) -> Usage:
    series = Series(f"{OURS.label}, {count:,} lines")
    say(f"{report.case}: {series.label}")
    told = bench.scratch / "stderr"
    with piped(f"{bench.server.http}/gone/{{0}}.jpg", count) as lines, told.open("wb") as stderr:
        usage = bench.measure(OURS.command(bench.job("-")), same_files(()), stdin=lines, stderr=stderr, code=1)
    with told.open("rb") as stderr:
        failures = sum(b"404" in line for line in stderr)
    told.unlink()
    if failures != count:
        raise Wrong(f"{failures:,} failures were told of {count:,}")
    series.runs.append(usage)
    report.series.append(series)
    return usage


def _growth(few: Usage, many: Usage) -> list[Fact]:
    return [
        Fact("gdl's peak RSS", many.peak / MB, "MB", 100.0),
        Fact("more than with the short list", (many.peak - few.peak) / MB, "MB", 8.0),
    ]


@contextmanager
def piped(pattern: str, count: int) -> Iterator[IO[bytes]]:
    """A pipe from a process that writes ``pattern`` ``count`` times, ``{0}`` replaced by the number."""
    process = subprocess.Popen([*PYTHON, HERE / "lines.py", pattern, str(count)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.stdout.close()
        process.kill()
        process.wait()
