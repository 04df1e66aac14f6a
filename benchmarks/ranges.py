"""The cases about one large file in ranges: over many connections at once, and continued after each kill -9."""

from __future__ import annotations

import http.client
import random
import signal
import time
from typing import TYPE_CHECKING

from benchmarks import data
from benchmarks.bench import same_files, say, take_turns
from benchmarks.measure import MB, Series, Wrong, median, ratios, run, together
from benchmarks.report import Fact, Report
from benchmarks.server import DEFAULT_STEP, STEPS
from benchmarks.tools import OURS, RESUMING, RESUMING_SPLIT, SPLITTING, choose, left_out

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.measure import Usage
    from benchmarks.server import Sent
    from benchmarks.tools import Tool

KIB = 1024
RATE = 4096
"""KiB/s of one connection in the cases ``split``: ``limit_rate 4m``, where nginx's m is 1,048,576 bytes."""
PROBE_SECONDS = 8
"""So long that one more or less of nginx's largest steps makes no difference that counts."""
FASTEST = 1.1
"""How much faster than the limit one connection may be before the limit counts as broken."""
FASTER_THAN_PEERS = 1.0
"""Target for gdl's wall time, divided by a peer's, where the server limits each connection."""
MOST_SENT = 1.05
"""Target for the bytes that the server sends of a file, divided by the file's size."""
LAST_KILL = 0.9
"""Kills come before this share of the time that the whole file takes without them."""


def split(bench: Bench) -> Report:
    """One file from a server that limits each connection, as nginx does it by default."""
    return _split(bench, "split", plainly=True, most=FASTER_THAN_PEERS)


def split_strict(bench: Bench) -> Report:
    """The same where the limit holds for short ranges too, so that all tools need the same time but for their start."""
    return _split(bench, "split-strict", plainly=False, most=None)


def _split(bench: Bench, case: str, *, plainly: bool, most: float | None) -> Report:
    file = data.video(bench.data, (bench.count or 160) * MB)
    tools = choose(bench.names, SPLITTING)
    alone = _probe(bench, file, plainly=plainly)
    if alone > RATE * KIB * FASTEST:
        raise Wrong(f"one connection gets {alone / MB:.2f} MB/s, more than its limit")
    strictly = "" if plainly else " strictly"
    title = f"one video of {file.stat().st_size / MB:,.0f} MB, each connection{strictly} limited to "
    report = Report(case, f"{title}{RATE * KIB / MB:.2f} MB/s")
    # The tag in the URL tells the tools apart in the server's log.
    tags = {tool: f"{case}-{tool.name}" for tool in tools}
    urls = {tool: bench.url(bench.server.limited(RATE, tag, plainly=plainly), file) for tool, tag in tags.items()}
    commands = {tool: tool.command(bench.job(url)) for tool, url in urls.items()}
    series = take_turns(bench, commands, same_files([file]), report)
    ours = series[OURS.name].wall
    for tool in tools[1:]:
        if tool.name in series:
            ratio = median(ratios(ours, series[tool.name].wall))
            report.facts.append(Fact(f"wall time of gdl to that of {tool.name}", ratio, most=most))
    report.facts.append(Fact("one connection gets", alone / MB, "MB/s"))
    runs = bench.runs + 1
    report.notes += [
        f"`{tool.label}` needs {per_run(bench.server.sent(tag), runs)}"
        for tool, tag in tags.items()
        if tool.name in series
    ]
    report.notes += left_out(bench.names, SPLITTING)
    return report


def killed(bench: Bench, *, seconds: float = 16.0, kills: int = 10) -> Report:
    """One file, which takes about ``seconds`` at the server's rate, by commands that are killed ``kills`` times."""
    file = data.video(bench.data, (bench.count or 1000) * MB)
    size = file.stat().st_size
    moments = kill_moments(bench.seed, kills, seconds * LAST_KILL)
    rate = max(1, round(size / seconds / KIB))
    title = (
        f"one video of {size / MB:,.0f} MB, limited to {rate * KIB / MB:.1f} MB/s, killed with SIGKILL {kills} times"
    )
    report = Report("killed", title, paired=False)
    told = ", ".join(f"{moment:.2f}" for moment in moments)
    report.notes.append(f"killed after {told} s of work (--seed {bench.seed})")
    tools = [(tool, 1) for tool in choose(bench.names, RESUMING)]
    # Behind gdl over one connection, which is the first.
    tools[1:1] = [(tool, 4) for tool in RESUMING_SPLIT]
    for tool, connections in tools:
        tag = f"killed-{connections}-{tool.name}"
        # The server limits each connection; all of them together get the same rate.
        url = bench.url(bench.server.limited(max(1, rate // connections), tag), file)
        say(f"{report.case}: {tool.label}")
        try:
            starts = start_until_done(bench, tool, url, moments)
            same_files([file])(bench.scratch / "out")
        except Wrong as wrong:
            if tool.name == OURS.name:
                raise
            report.notes.append(f"`{tool.label}` is left out: {wrong}")
            continue
        report.series.append(Series(tool.label, [together(starts)]))
        sent = bench.server.sent(tag)
        ratio = sum(one.size for one in sent) / size
        most = MOST_SENT if tool.name == OURS.name else None
        report.facts.append(Fact(f"bytes sent, divided by the file's size, `{tool.label}`", ratio, most=most))
        report.notes.append(f"`{tool.label}` was started {len(starts)} times and got {len(sent)} responses")
    report.notes += left_out(bench.names, RESUMING)
    bench.empty()
    return report


def kill_moments(seed: int, count: int, seconds: float) -> list[float]:
    """Draw ``count`` moments within ``seconds`` by lot, one in each equal share of them; the same for the same seed."""
    dice = random.Random(seed)
    return [(number + dice.random()) * seconds / count for number in range(count)]


def start_until_done(bench: Bench, tool: Tool, url: str, moments: Sequence[float]) -> list[Usage]:
    """Start ``tool`` again after each kill until it has the file, and return what each start used.

    ``moments`` are seconds of all starts together. Raises `Wrong` for an exit code that is neither 0 nor the kill's.
    """
    out = bench.empty()
    command = tool.command(bench.job(url))
    starts: list[Usage] = []
    for since, until in zip((0.0, *moments), (*moments, None), strict=True):
        # The timer takes 0 for "never".
        usage = run(command, bench.scratch, kill_after=max(until - since, 1e-3) if until is not None else 0.0)
        starts.append(usage)
        if usage.code == 0:
            return starts
        if usage.code != -signal.SIGKILL or until is None:
            raise Wrong(f"it ended with {usage.code}, and {sorted(entry.name for entry in out.iterdir())} is there")
    raise AssertionError("the last start is not killed")


def per_run(sent: Sequence[Sent], runs: int) -> str:
    """How many requests and connections a tool needed for one download, in words."""
    connections = len({one.connection for one in sent})
    return f"{len(sent) / runs:.1f} requests over {connections / runs:.1f} connections for each download"


def _probe(bench: Bench, file: Path, *, plainly: bool) -> float:
    """Bytes per second over one connection, without the server's last step, which it sends without a wait."""
    wanted = min(file.stat().st_size, RATE * KIB * PROBE_SECONDS)
    step = DEFAULT_STEP if plainly else STEPS["slowly"]
    url = bench.url(bench.server.limited(RATE, "probe", plainly=plainly), file)
    _, _, host, path = url.split("/", 3)
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        started = time.monotonic()
        connection.request("GET", f"/{path}", headers={"Range": f"bytes=0-{wanted - 1}"})
        response = connection.getresponse()
        received = len(response.read())
        elapsed = time.monotonic() - started
    finally:
        connection.close()
    if response.status != 206 or received != wanted:
        raise Wrong(f"the server answers a Range with {response.status} and {received:,} bytes, not {wanted:,}")
    return max(0, received - step * KIB) / elapsed
