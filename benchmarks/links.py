"""The cases about a link with a long round trip, which only more requests at once make up for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import data
from benchmarks.measure import median, ratios
from benchmarks.report import Fact, Report
from benchmarks.serve import started
from benchmarks.tools import gdl_with
from benchmarks.trials import SAVED, Trial, all_saved, contenders, download, take_trials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.tools import Tool

ROUND_TRIP = 0.05
FILES = 2_000
PICTURE = 22_000
PEER = "curl -Z"
"""What the targets are about, at its own default of 50 transfers at once."""
MOST_HTTP = 1.0
MOST_HTTPS = 0.8
CEILINGS = (24, 48, 96, 192, 384)
"""Explicit bounds of one host, from a quarter of the default to four times as many."""
PATIENCE = 120.0


def rtt_http(bench: Bench) -> Report:
    return _beside_peers(bench, "rtt-http", bench.server.http, "HTTP/1.1", MOST_HTTP)


def rtt_https(bench: Bench) -> Report:
    return _beside_peers(bench, "rtt-https", bench.server.http2, "HTTPS, HTTP/2 where a tool asks for it", MOST_HTTPS)


def rtt_per_host(bench: Bench) -> Report:
    """What more requests at once would gain, or fewer cost: what the default of ``--per-host`` goes by."""
    tools = [gdl_with("-j", str(max(CEILINGS))), *(_bounded(most) for most in CEILINGS)]
    report, _ = _through(bench, "rtt-per-host", bench.server.http, "HTTP/1.1", tools)
    return report


def _bounded(most: int) -> Tool:
    return gdl_with("-j", str(max(CEILINGS)), "--per-host", str(most))


def _beside_peers(bench: Bench, name: str, base: str, protocol: str, most: float) -> Report:
    tools = contenders(bench)
    report, trials = _through(bench, name, base, protocol, tools)
    ours, peer = trials[tools[0].label], trials.get(PEER, [])
    # The wall time of one that lost files, or was killed, is nothing to be compared with.
    if peer and all(trial.told[SAVED] == (bench.count or FILES) for trial in peer):
        ratio = median(ratios([trial.usage.wall for trial in ours], [trial.usage.wall for trial in peer]))
        report.facts.append(Fact(f"wall time of gdl to that of {PEER}", ratio, most=most))
    else:
        report.notes.append(f"`{PEER}`, which the target is about, was not measured or lost files")
    return report


def _through(
    bench: Bench, name: str, base: str, protocol: str, tools: Sequence[Tool]
) -> tuple[Report, dict[str, list[Trial]]]:
    """Have the ``tools`` download the same list over such a link; return a report and all trials by a tool's label."""
    files = data.even(bench.data, bench.count or FILES, PICTURE)
    contents = {file.name: file.read_bytes() for file in files}
    title = f"{len(files):,} pictures of {PICTURE / 1000:g} kB over {protocol}"
    report = Report(name, f"{title}, {ROUND_TRIP * 1000:g} ms of round trip")
    server, _, port = base.rpartition(":")
    with started("delay", port, str(ROUND_TRIP)) as proxy:
        urls = [bench.url(f"{server}:{proxy.port}", file) for file in files]

        def attempt(tool: Tool) -> Trial:
            command = tool.command(bench.job(bench.list_for(tool, urls)))
            proxy.tell()
            usage, right = download(bench, tool, command, contents, PATIENCE)
            counted = proxy.tell()
            return Trial(usage, {SAVED: right, "connections": counted["connections"], "at once": counted["most"]})

        trials = take_trials(bench, tools, attempt, report)
    report.facts.append(all_saved(trials[tools[0].label], len(files)))
    return report, trials
