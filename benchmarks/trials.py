"""Rounds in which a command may lose files: how many it saved is a figure of its own.

What is served is small and can be told from its path, so that every file is looked at. Most of the time goes by in
waiting for the server, so that no round is needed to warm up.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.bench import say
from benchmarks.measure import Series, Wrong, median, run
from benchmarks.report import Fact
from benchmarks.tools import OTHER, OURS, PARALLEL, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.measure import Usage
    from benchmarks.report import Report
    from benchmarks.tools import Tool

SAVED = "files saved"


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one command."""

    usage: Usage
    told: dict[str, float] = field(default_factory=dict)
    """For the table, by the heads of the columns; the same ones for all commands of a case."""


def saved(out: Path, contents: Mapping[str, bytes]) -> tuple[int, int]:
    """How many of the files of these names hold the content they must, and how many of all there do not."""
    right = wrong = 0
    with os.scandir(out) as entries:
        for entry in entries:
            if entry.is_file() and entry.name in contents:
                with open(entry.path, "rb") as file:
                    same = file.read() == contents[entry.name]
                right, wrong = right + same, wrong + (not same)
            else:
                wrong += 1
    return right, wrong


def contenders(bench: Bench, *, alone: bool = False) -> list[Tool]:
    """gdl, that of another checkout if there is one, and the peers; these only if they were asked for, if ``alone``."""
    names = frozenset({OURS.name}) if alone and bench.names is None else bench.names
    found = choose(names, PARALLEL)
    found[1:1] = [tool for tool in bench.tools if tool.name == OTHER]
    return found


def download(
    bench: Bench,
    tool: Tool,
    command: Sequence[str],
    contents: Mapping[str, bytes],
    patience: float,
    *,
    failing: bool = False,
) -> tuple[Usage, int]:
    """Run ``command`` into an empty folder and return what it used and how many files it saved.

    It is killed after ``patience`` seconds, which the exit code tells. ``failing`` says that its list holds more than
    the files of ``contents``, and that the rest must fail. Raises `Wrong` if gdl leaves anything but the
    files that it must, or says otherwise than it did; peers may lose and spoil what they like.
    """
    out = bench.empty()
    usage = run(command, bench.scratch, folder=tool.folder, kill_after=patience)
    right, wrong = saved(out, contents)
    bench.empty()
    if tool.name == OURS.name and usage.code >= 0:
        if wrong:
            raise Wrong(f"{wrong:,} files are not what the server has")
        if usage.code != (failing or right < len(contents)):
            raise Wrong(f"{tool.label} ended with {usage.code} after {right:,} of {len(contents):,} files")
    return usage, right


def take_trials(
    bench: Bench, tools: Sequence[Tool], attempt: Callable[[Tool], Trial], report: Report
) -> dict[str, list[Trial]]:
    """Have each tool try in turn, every second round backwards, and return all trials by the label of the tool."""
    trials: dict[str, list[Trial]] = {tool.label: [] for tool in tools}
    for number in range(bench.runs):
        say(f"{report.case}: round {number + 1} of {bench.runs}")
        for tool in reversed(tools) if number % 2 else tools:
            trials[tool.label].append(attempt(tool))
    for label, made in trials.items():
        told = {name: [trial.told[name] for trial in made] for name in made[0].told}
        report.series.append(Series(label, [trial.usage for trial in made], told))
        if killed := [trial for trial in made if trial.usage.code < 0]:
            report.notes.append(f"`{label}` was not done and killed in {len(killed)} of {len(made)} runs")
    return trials


def all_saved(trials: Sequence[Trial], count: int) -> Fact:
    """The figure that comes before all others: files missing in the worst run."""
    return Fact("files missing", max(count - trial.told[SAVED] for trial in trials), most=0)


def times(trials: Sequence[Trial], seconds: float) -> float:
    """The median wall time, divided by ``seconds``."""
    return median([trial.usage.wall for trial in trials]) / seconds
