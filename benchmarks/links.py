"""The cases about a link with a long round trip, which only more requests at once make up for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import data
from benchmarks.measure import median, ratios
from benchmarks.report import Fact, Report
from benchmarks.serve import started
from benchmarks.trials import SAVED, Trial, all_saved, contenders, download, take_trials

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.tools import Tool

ROUND_TRIP = 0.05
PICTURE = 22_000
PEER = "curl -Z"
"""What the targets are about, at its own default of 50 transfers at once."""
MOST_HTTP = 1.0
MOST_HTTPS = 0.8
PATIENCE = 120.0


def rtt_http(bench: Bench) -> Report:
    return _link(bench, "rtt-http", bench.server.http, "HTTP/1.1", MOST_HTTP)


def rtt_https(bench: Bench) -> Report:
    return _link(bench, "rtt-https", bench.server.http2, "HTTPS, HTTP/2 where a tool asks for it", MOST_HTTPS)


def _link(bench: Bench, name: str, base: str, protocol: str, most: float) -> Report:
    files = data.even(bench.data, bench.count or 2_000, PICTURE)
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

        tools = contenders(bench)
        trials = take_trials(bench, tools, attempt, report)
    ours = trials[tools[0].label]
    report.facts.append(all_saved(ours, len(files)))
    peer = trials.get(PEER, [])
    # The wall time of one that lost files, or was killed, is nothing to be compared with.
    if peer and all(trial.told[SAVED] == len(files) for trial in peer):
        ratio = median(ratios([trial.usage.wall for trial in ours], [trial.usage.wall for trial in peer]))
        report.facts.append(Fact(f"wall time of gdl to that of {PEER}", ratio, most=most))
    else:
        report.notes.append(f"`{PEER}`, which the target is about, was not measured or lost files")
    return report
