"""The cases about rates: large files from a server that limits each connection, and gdl's own limit."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from benchmarks import data
from benchmarks.bench import same_files, say
from benchmarks.measure import MB, REPOSITORY, Series, Skipped, median, ratios
from benchmarks.ranges import KIB, RATE
from benchmarks.report import Fact, Report
from benchmarks.tools import GDL, ONE_CONNECTION, OURS, gdl_with

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.bench import Bench

MOST_TAIL = 0.2
"""Target for gdl's wall time with one large file, divided by that of ``curl -O``."""
SLOTS = 16
MOST_LIST = 1.3
"""Target for the wall time with a list, divided by the time of all bytes over that many connections."""
LIMIT = 5 * MB
"""Bytes per second."""
OFF = 5.0
"""Target for how far the rate may be from the limit, in percent."""


def tail(bench: Bench) -> Report:
    """One large file, alone in the list, without any option about it."""
    file = data.video(bench.data, (bench.count or 160) * MB)
    rate = RATE * KIB / MB
    report = Report(
        "tail", f"one video of {file.stat().st_size / MB:,.0f} MB, each connection limited to {rate:.2f} MB/s"
    )
    check = same_files([file])
    tools = [OURS]
    if ONE_CONNECTION.installed and (bench.names is None or ONE_CONNECTION.name in bench.names):
        tools.append(ONE_CONNECTION)
    report.series = [Series(tool.label) for tool in tools]
    for number in range(bench.runs):
        say(f"{report.case}: round {number + 1} of {bench.runs}")
        for tool, series in zip(tools, report.series, strict=True):
            url = bench.url(bench.server.limited(RATE, f"tail-{tool.name}", plainly=True), file)
            series.runs.append(bench.measure(tool.command(bench.job(url)), check))
    if len(tools) > 1:
        ratio = median(ratios(report.series[0].wall, report.series[1].wall))
        report.facts.append(Fact(f"wall time of gdl to that of {ONE_CONNECTION.label}", ratio, most=MOST_TAIL))
    else:
        report.notes.append(f"`{ONE_CONNECTION.label}`, which the target is about, was not measured")
    return report


def tail_list(bench: Bench) -> Report:
    """Many files and, last of all, one that is as large as all of them."""
    files = data.large(bench.data, bench.count or 100)
    files.append(data.video(bench.data, len(files) * data.LARGE))
    size = sum(file.stat().st_size for file in files)
    tool = gdl_with("--per-host", str(SLOTS), "-j", str(SLOTS))
    title = f"{len(files) - 1} videos of {data.LARGE / MB:g} MB, then one of {files[-1].stat().st_size / MB:,.0f} MB"
    report = Report("tail-list", f"{title}, each connection limited to {RATE * KIB / MB:.2f} MB/s")
    urls = [bench.url(bench.server.limited(RATE, "tail-list", plainly=True), file) for file in files]
    command = tool.command(bench.job(bench.list_for(tool, urls)))
    series = Series(tool.label)
    report.series.append(series)
    for number in range(bench.runs):
        say(f"{report.case}: round {number + 1} of {bench.runs}")
        series.runs.append(bench.measure(command, same_files(files)))
    least = ideal(size, SLOTS)
    report.facts += [
        Fact(f"ideal, {size / MB:,.0f} MB over {SLOTS} connections", least, "s"),
        Fact("wall time of gdl, divided by the ideal", median(series.wall) / least, most=MOST_LIST),
    ]
    return report


def ideal(size: int, connections: int) -> float:
    """Seconds for ``size`` bytes if so many connections always work."""
    return size / (connections * RATE * KIB)


def limit_rate(bench: Bench) -> Report:
    """Files that would come at once, within a limit of our own: over HTTP/1.1, and over HTTP/2."""
    if not knows("--limit-rate"):
        raise Skipped("gdl does not know --limit-rate")
    files = data.videos(bench.data, bench.count or 12, 4 * MB)
    size = sum(file.stat().st_size for file in files)
    tool = gdl_with("--limit-rate", f"{LIMIT // MB}M")
    report = Report("limit-rate", f"{len(files)} videos of 4 MB, limited by gdl to {LIMIT / MB:g} MB/s", paired=False)
    nothing = Series("gdl -q /dev/null")
    protocols = {"HTTP/1.1": bench.server.http, "HTTP/2": bench.server.http2}
    series = {name: Series(f"{tool.label}, {name}") for name in protocols}
    report.series = [*series.values(), nothing]
    for number in range(bench.runs):
        say(f"{report.case}: round {number + 1} of {bench.runs}")
        nothing.runs.append(bench.measure([*GDL, "-q", os.devnull], same_files(())))
        for name, base in protocols.items():
            listed = bench.list_for(tool, [bench.url(base, file) for file in files])
            series[name].runs.append(bench.measure(tool.command(bench.job(listed)), same_files(files)))
    for name, one in series.items():
        found = rates(size, one.wall, nothing.wall)
        report.facts.append(Fact(f"rate over {name}", median(found) / MB, "MB/s"))
        off = max(abs(100 * (rate / LIMIT - 1)) for rate in found)
        report.facts.append(Fact(f"off the limit over {name}, in the worst run", off, "%", OFF))
    return report


def rates(size: int, walls: Sequence[float], starts: Sequence[float]) -> list[float]:
    """Bytes per second of each run, without the time that the command needs to do nothing."""
    return [size / max(wall - start, 1e-9) for wall, start in zip(walls, starts, strict=True)]


def knows(option: str, folder: Path = REPOSITORY) -> bool:
    """Whether gdl has such an option."""
    said = subprocess.run([*GDL, "--help"], cwd=folder, capture_output=True, text=True, check=True).stdout
    return option in said.replace(",", " ").split()
