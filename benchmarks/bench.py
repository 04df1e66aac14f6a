"""What the cases share: a command run into a fresh folder, its files checked, and rounds of the same work for all."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measure import Series, Wrong, median, ratios, run
from benchmarks.report import Fact
from benchmarks.tools import OURS, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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
    """Files or lines of a case, where it is to be another number than its own."""

    def job(self, listed: str) -> Job:
        return Job(listed, self.scratch / "out", self.server.certificate)

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
    ) -> Usage:
        """Run ``command`` into a fresh folder, which is checked and removed afterwards. Raises `Wrong`."""
        out = self.scratch / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        usage = run(command, self.scratch, stdin=stdin, stderr=stderr, watch=watch)
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
    """Run each tool over ``urls`` in turn, a round to warm up first; a peer that gets it wrong is left out."""
    commands = {tool.name: tool.command(bench.job(bench.list_for(tool, urls))) for tool in bench.tools}
    series = {tool.name: Series(tool.label) for tool in bench.tools}
    for number in range(bench.runs + 1):
        say(f"{report.case}: {f'round {number} of {bench.runs}' if number else 'warming up'}")
        for tool in bench.tools:
            if tool.name not in series:
                continue
            try:
                usage = bench.measure(commands[tool.name], check)
            except Wrong as wrong:
                if tool is OURS:
                    raise
                del series[tool.name]
                report.notes.append(f"`{tool.label}` is left out: {wrong}")
                continue
            if number:
                series[tool.name].runs.append(usage)
    report.series += series.values()
    if "curl" in series:
        ratio = median(ratios(series["gdl"].cpu, series["curl"].cpu))
        report.facts.append(Fact("CPU of gdl to that of curl", ratio, most=2.0))
