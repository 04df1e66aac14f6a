"""The case about many host names, each of which has to be looked up before anything can be asked of it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.capped import picture
from benchmarks.hosts import UNCAPPED
from benchmarks.measure import MB, median
from benchmarks.report import Fact, Report
from benchmarks.resolver import build, seen
from benchmarks.serve import started
from benchmarks.tools import OURS, Tool
from benchmarks.trials import SAVED, Trial, all_saved, contenders, download, take_trials

if TYPE_CHECKING:
    from benchmarks.bench import Bench

NAMES = 4_000
FILES = 2
"""At each of them."""
FILE_SECONDS = 0.02
LOOKUP_MILLISECONDS = 20
PATIENCE = 300.0
ONE = "one name"
OWN_RESOLVER = "aria2c"
"""Asks servers of names itself, so that the look-ups here are none of its."""


def many_names(bench: Bench) -> Report:
    """As many pictures at thousands of names, and by gdl at one name."""
    count = bench.count or NAMES
    order = [f"/{name}-{number}.jpg" for name in range(count) for number in range(FILES)]
    random.Random(2).shuffle(order)
    contents = {path[1:]: picture(path) for path in order}
    report = Report("many-names", f"{len(order):,} pictures of {FILE_SECONDS * 1000:.0f} ms at {count:,} names")
    resolver = build(bench.scratch)
    log = bench.scratch / "lookups"
    given = [f"{name}={value}" for name, value in resolver.environment(log, delay=LOOKUP_MILLISECONDS).items()]
    many = [tool for tool in contenders(bench) if tool.name != OWN_RESOLVER]
    alone = replace(OURS, label=f"{OURS.label}, {ONE}")
    with started("capped", "--caps", str(UNCAPPED), "--delay", str(FILE_SECONDS)) as server:

        def attempt(tool: Tool) -> Trial:
            hosts = ("www" if tool is alone else f"www{path[1:].partition('-')[0]}" for path in order)
            urls = [f"http://{host}.test:{server.port}{path}" for host, path in zip(hosts, order, strict=True)]
            command = ["env", *given, *tool.command(bench.job(bench.list_for(tool, urls)))]
            log.unlink(missing_ok=True)
            server.tell()
            usage, right = download(bench, tool, command, contents, PATIENCE)
            lookups = seen(log)
            told = {
                SAVED: right,
                "look-ups": lookups.names.total(),
                "of them at once": lookups.most,
                "most in flight": server.tell()["most"],
            }
            return Trial(usage, told)

        trials = take_trials(bench, [many[0], alone, *many[1:]], attempt, report)
    ours, one = trials[many[0].label], trials[alone.label]
    more = median([trial.usage.peak for trial in ours]) - median([trial.usage.peak for trial in one])
    report.facts += [
        all_saved(ours, len(order)),
        Fact("look-ups for each name, at most", max(trial.told["look-ups"] for trial in ours) / count, most=1.0),
        Fact("gdl's peak RSS more than with one name", more / MB, "MB"),
    ]
    report.notes.append(f"each look-up takes {LOOKUP_MILLISECONDS} ms; `{OWN_RESOLVER}` has its own and is left out")
    return report
