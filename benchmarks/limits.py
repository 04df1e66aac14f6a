"""The cases about servers that refuse requests above a number that the client has to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.capped import picture
from benchmarks.report import Fact, Report
from benchmarks.serve import started
from benchmarks.trials import SAVED, Trial, all_saved, contenders, download, take_trials, times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.bench import Bench
    from benchmarks.tools import Tool

DELAY = 0.02
"""Seconds for each picture."""
CAPS = {3: 2.0, 7: 2.0, 12: 1.5, 30: 2.0, 100: 2.0}
"""The target for the wall time with each cap, divided by the ideal. Start-up counts."""
USUAL = 12
"""The cap that peers are measured with too."""
CHANGING = (12, 4, 40)
MOST_CHANGING = 1.8
MOST_REFUSED = 3.0
"""Target for refused requests, in percent of all requests."""
PATIENCE = 10.0
"""A command is killed after so many times the ideal, and a while."""
A_WHILE = 20.0


def ideal(caps: Sequence[int], each: int, delay: float) -> float:
    """Seconds for ``each`` pictures with each of the caps, if as many are in flight as may be, all the time."""
    return sum(each * delay / cap for cap in caps)


def share(refused: float, requests: float) -> float:
    """In percent; 0 of no requests at all."""
    return 100 * refused / requests if requests else 0.0


def capped(cap: int) -> Callable[[Bench], Report]:
    """A server of one cap."""

    def case(bench: Bench) -> Report:
        name = "capped" if cap == USUAL else f"capped-{cap}"
        title = f"a server that refuses requests above {cap} in flight"
        return _limited(bench, name, title, (cap,), bench.count or 2_000, CAPS[cap])

    return case


def changing(bench: Bench) -> Report:
    """A server whose cap changes while the list is downloaded."""
    told = ", then ".join(map(str, CHANGING))
    title = f"a server that refuses requests above {told} in flight"
    return _limited(bench, "changing", title, CHANGING, (bench.count or 6_000) // len(CHANGING), MOST_CHANGING)


def _limited(bench: Bench, name: str, title: str, caps: Sequence[int], each: int, most: float) -> Report:
    paths = [f"/{number:06d}.jpg" for number in range(each * len(caps))]
    contents = {path[1:]: picture(path) for path in paths}
    least = ideal(caps, each, DELAY)
    report = Report(name, f"{len(paths):,} pictures of {DELAY * 1000:.0f} ms from {title}", paired=False)
    arguments = ["--caps", ",".join(map(str, caps)), "--every", str(each), "--delay", str(DELAY)]
    with started("capped", *arguments) as server:
        urls = [f"http://127.0.0.1:{server.port}{path}" for path in paths]

        def attempt(tool: Tool) -> Trial:
            command = tool.command(bench.job(bench.list_for(tool, urls)))
            server.tell()
            usage, right = download(bench, tool, command, contents, PATIENCE * least + A_WHILE)
            counted = server.tell()
            told = {
                SAVED: right,
                "wall / ideal": usage.wall / least,
                "% refused": share(counted["refused"], counted["requests"]),
                "requests": counted["requests"],
                "most in flight": counted["most"],
                "s from first to last": counted["seconds"],
            }
            return Trial(usage, told)

        tools = contenders(bench, alone=name != "capped")
        ours = take_trials(bench, tools, attempt, report)[tools[0].label]
    report.facts += [
        all_saved(ours, len(paths)),
        Fact("ideal", least, "s"),
        Fact("wall time of gdl, divided by the ideal", times(ours, least), most=most),
        Fact("requests of gdl that were refused", max(trial.told["% refused"] for trial in ours), "%", MOST_REFUSED),
    ]
    return report
