"""The cases that compare: lists of small and large files, one huge one, bars, and nothing to do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from benchmarks import data
from benchmarks.bench import compare, same_files, say
from benchmarks.measure import MB, REPOSITORY, Series, Wrong, median, ratios
from benchmarks.report import Fact, Report
from benchmarks.terminal import Terminal
from benchmarks.tools import GDL, OURS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.bench import Bench

PEAK = 70.0
"""Target for lists of small files, in MB."""


def _small(bench: Bench, case: str, base: str, protocol: str) -> Report:
    files = data.small(bench.data, bench.count or 10_000)
    report = Report(case, f"{len(files):,} pictures of 5 to 40 kB over {protocol}")
    compare(bench, [bench.url(base, file) for file in files], same_files(files), report)
    report.facts.append(Fact("gdl's peak RSS", report.series[0].peak / MB, "MB", PEAK))
    return report


def small_http(bench: Bench) -> Report:
    return _small(bench, "small-http", bench.server.http, "HTTP/1.1")


def small_https(bench: Bench) -> Report:
    return _small(bench, "small-https", bench.server.https, "HTTPS, HTTP/1.1")


def small_http2(bench: Bench) -> Report:
    return _small(bench, "small-http2", bench.server.http2, "HTTPS, HTTP/2 where a tool asks for it")


def large(bench: Bench) -> Report:
    files = data.large(bench.data, bench.count or 100)
    report = Report("large", f"{len(files):,} videos of 5 MB over HTTP/1.1")
    compare(bench, [bench.url(bench.server.http, file) for file in files], same_files(files), report)
    return report


def huge(bench: Bench, *, size: int = 2_000_000_000, smaller: int = 20_000_000) -> Report:
    """One large file, and gdl with a smaller one to tell whether memory grows with a file."""

    def check_against(source: Path) -> Callable[[Path], None]:
        def check(out: Path) -> None:
            got = out / source.name
            if [entry.name for entry in out.iterdir()] != [source.name] or got.stat().st_size != source.stat().st_size:
                raise Wrong(f"{source.name} is missing or has another size")
            with got.open("rb") as file:
                if not file.read(len(data.MP4) + 1000).rstrip(b"\0") == data.MP4:
                    raise Wrong(f"{source.name} begins otherwise")

        return check

    whole = data.sparse(bench.data, size)
    part = data.sparse(bench.data, smaller)
    report = Report("huge", f"one video of {size / MB:,.0f} MB over HTTP/1.1")
    compare(bench, [bench.url(bench.server.http, whole)], check_against(whole), report)
    listed = bench.list_for(OURS, [bench.url(bench.server.http, part)])
    other = [bench.measure(OURS.command(bench.job(listed)), check_against(part)).peak for _ in range(bench.runs)]
    peak = report.series[0].peak
    report.facts.append(Fact("gdl's peak RSS", peak / MB, "MB", PEAK))
    report.facts.append(Fact(f"more than with {smaller / MB:.0f} MB", (peak - max(other)) / MB, "MB", 8.0))
    return report


def small_bars(bench: Bench) -> Report:
    """The same list with and without bars, on a terminal both times."""
    files = data.small(bench.data, bench.count or 10_000)
    listed = bench.list_for(OURS, [bench.url(bench.server.http, file) for file in files])
    plain = [*GDL, "-o", str(bench.scratch / "out"), listed]
    report = Report("small-bars", f"what bars cost: {len(files):,} pictures over HTTP/1.1, on a terminal")
    report.series = [Series("gdl --progress bars"), Series("gdl -q")]
    check = same_files(files)
    for number in range(bench.runs + 1):
        say(f"{report.case}: {f'round {number} of {bench.runs}' if number else 'warming up'}")
        for series, options in zip(report.series, (["--progress", "bars"], ["-q"]), strict=True):
            with Terminal() as terminal:
                usage = bench.measure([*plain, *options], check, stderr=terminal.side)
            if terminal.received == 0 and series is report.series[0]:
                raise Wrong("no bars were drawn")
            if number:
                series.runs.append(usage)
    ratio = median(ratios(report.series[0].cpu, report.series[1].cpu))
    report.facts.append(Fact("CPU with bars to that without", ratio, most=1.05))
    return report


def startup(bench: Bench) -> Report:
    """What a command costs that has nothing to do."""
    commands = {
        "gdl -q /dev/null": (REPOSITORY, [*GDL, "-q", os.devnull]),
        "gdl --version": (REPOSITORY, [*GDL, "--version"]),
        "python -c pass": (REPOSITORY, [sys.executable, "-c", "pass"]),
    }
    for tool in bench.tools[1:]:
        if tool.program == GDL:
            commands[f"{tool.title} -q /dev/null"] = (tool.folder, [*GDL, "-q", os.devnull])
        commands[f"{tool.title} --version"] = (tool.folder, [*tool.program, "--version"])
    report = Report("startup", "nothing to do")
    report.series = [Series(label) for label in commands]
    for number in range(bench.runs + 1):
        for series in report.series:
            folder, command = commands[series.label]
            usage = bench.measure(command, same_files(()), folder=folder)
            if number:
                series.runs.append(usage)
    return report
