"""What the cases share: a command run into a fresh folder, its files checked, and rounds of the same work for all."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measure import REPOSITORY, Series, Wrong, median, ratios, run
from benchmarks.report import Fact
from benchmarks.tools import OURS, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.measure import Stream, Usage
    from benchmarks.report import Report
    from benchmarks.server import Server
    from benchmarks.tools import Tool


@dataclass(frozen=True, slots=True)
class Bench:
    """What the cases work with."""

    server: Server
    data: Path
    """The folder that is served."""
    scratch: Path
    """A folder for lists and downloads, on the file system that is to be measured."""
    tools: list[Tool]
    """gdl first."""
    runs: int = 5
    count: int | None = None
    """Files, lines or megabytes of a case, where it is to be another number than its own."""
    names: frozenset[str] | None = None
    """The tools that were asked for; None for all that are installed."""
    seed: int = 0
    """For what is drawn by lot."""

    def job(self, listed: str) -> Job:
        return Job(listed, self.scratch / "out", self.server.certificate)

    def empty(self) -> Path:
        """The folder for downloads, with nothing in it."""
        out = self.scratch / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        return out

    def url(self, base: str, path: Path) -> str:
        return f"{base}/{path.relative_to(self.data)}"

    def list_for(self, tool: Tool, urls: Sequence[str]) -> str:
        """Write the list of ``urls`` for ``tool`` and return its path."""
        path = self.scratch / f"{tool.name}.txt"
        out = self.scratch / "out"
        path.write_text("".join(f"{tool.line(url, out)}\n" for url in urls))
        return str(path)

    def measure(
        self,
        command: Sequence[str],
        check: Callable[[Path], None],
        *,
        stdin: Stream = subprocess.DEVNULL,
        stderr: Stream = subprocess.DEVNULL,
        watch: Callable[[], None] | None = None,
        code: int = 0,
        folder: Path = REPOSITORY,
    ) -> Usage:
        """Run ``command`` into a fresh folder, which is checked and removed afterwards. Raises `Wrong`."""
        out = self.empty()
        usage = run(command, self.scratch, stdin=stdin, stderr=stderr, watch=watch, folder=folder)
        if usage.code != code:
            raise Wrong(f"{command[0]} ended with {usage.code}, not {code}")
        check(out)
        shutil.rmtree(out)
        return usage


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def same_files(files: Sequence[Path]) -> Callable[[Path], None]:
    """A check that a folder holds exactly ``files``, byte by byte."""

    def check(out: Path) -> None:
        names = {file.name for file in files}
        found = set(os.listdir(out))
        if found != names:
            raise Wrong(f"{len(names - found)} files are missing, {len(found - names)} should not be there")
        for file in files:
            if not filecmp.cmp(file, out / file.name, shallow=False):
                raise Wrong(f"{file.name} is not what the server has")

    return check


def compare(bench: Bench, urls: Sequence[str], check: Callable[[Path], None], report: Report) -> None:
    """Run each tool over the list of ``urls`` in turn and tell how much CPU gdl takes beside some of them."""
    commands = {tool: tool.command(bench.job(bench.list_for(tool, urls))) for tool in bench.tools}
    series = take_turns(bench, commands, check, report)
    for tool in bench.tools:
        if tool.name in series and tool.most_cpu is not None:
            ratio = median(ratios(series[OURS.name].cpu, series[tool.name].cpu))
            report.facts.append(Fact(f"CPU of gdl to that of {tool.title}", ratio, most=tool.most_cpu))


def take_turns(
    bench: Bench, commands: Mapping[Tool, Sequence[str]], check: Callable[[Path], None], report: Report
) -> dict[str, Series]:
    """Run the commands in turn, a round to warm up first, and return what each used, by the name of its tool.

    Every second round goes backwards, so that none always comes after the same other. A peer that gets it wrong is
    left out.
    """
    series = {tool.name: Series(tool.label) for tool in commands}
    for number in range(bench.runs + 1):
        say(f"{report.case}: {f'round {number} of {bench.runs}' if number else 'warming up'}")
        turns = list(commands.items())
        for tool, command in reversed(turns) if number % 2 else turns:
            if tool.name not in series:
                continue
            try:
                usage = bench.measure(command, check, folder=tool.folder)
            except Wrong as wrong:
                if tool.name == OURS.name:
                    raise
                del series[tool.name]
                report.notes.append(f"`{tool.label}` is left out: {wrong}")
                continue
            if number:
                series[tool.name].runs.append(usage)
    report.series += series.values()
    return series
