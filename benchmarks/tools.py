"""gdl and its peers: how each is told to download a list, 16 files at once, with nothing to draw."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measure import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

GDL = (sys.executable, "-m", "downloader")


@dataclass(frozen=True, slots=True)
class Job:
    """A list to download: where it lies (``-`` for standard input), where the files go, whom to trust."""

    listed: str
    out: Path
    certificate: Path


@dataclass(frozen=True, slots=True)
class Tool:
    """A command line downloader."""

    name: str
    label: str
    """The command as the tables show it."""
    arguments: Callable[[Job], list[str]]
    entry: str = "{url}"
    """What stands in its list for a file, with ``{url}``, ``{out}`` and ``{name}``."""

    @property
    def program(self) -> tuple[str, ...]:
        """How it is started."""
        return GDL if self.name == "gdl" else (self.name,)

    @property
    def installed(self) -> bool:
        return shutil.which(self.program[0]) is not None

    @property
    def version(self) -> str:
        """What it calls itself, from the first line of ``--version``."""
        said = subprocess.run(
            [*self.program, "--version"], cwd=REPOSITORY, capture_output=True, text=True, check=False
        ).stdout
        return " ".join(said.partition("\n")[0].split()[:3])

    def command(self, job: Job) -> list[str]:
        return [*self.program, *self.arguments(job)]

    def line(self, url: str, out: Path) -> str:
        """What stands in the list for ``url``."""
        return self.entry.format(url=url, out=out, name=url.rpartition("/")[2])


def _gdl(job: Job) -> list[str]:
    return ["-q", "--cacert", str(job.certificate), "-o", str(job.out), job.listed]


def _curl(job: Job) -> list[str]:
    quiet = ["--silent", "--show-error", "--no-progress-meter"]
    return ["-q", "-Z", "--parallel-max", "16", *quiet, "--cacert", str(job.certificate), "-K", job.listed]


def _aria2c(job: Job) -> list[str]:
    # Reserving the room beforehand, its default, would count against it.
    quiet = ["--no-conf", "--quiet", "--file-allocation=none"]
    return ["-i", job.listed, "-j16", "-x1", *quiet, f"--ca-certificate={job.certificate}", "-d", str(job.out)]


def _wget2(job: Job) -> list[str]:
    quiet = ["--no-config", "--quiet"]
    return ["-i", job.listed, "--max-threads=16", *quiet, f"--ca-certificate={job.certificate}", "-P", str(job.out)]


TOOLS = (
    Tool("gdl", "gdl -q", _gdl),
    Tool("curl", "curl -Z", _curl, 'url="{url}"\noutput="{out}/{name}"'),
    Tool("aria2c", "aria2c -i -j16 -x1", _aria2c),
    Tool("wget2", "wget2 -i --max-threads=16", _wget2),
)
OURS = TOOLS[0]


def choose(names: Iterable[str] | None) -> list[Tool]:
    """The tools of these names, gdl first and always; by default all that are installed.

    Raises ValueError for a name that is none of them, or not installed.
    """
    if names is None:
        return [tool for tool in TOOLS if tool is OURS or tool.installed]
    wanted = {OURS.name, *names}
    chosen = [tool for tool in TOOLS if tool.name in wanted and (tool is OURS or tool.installed)]
    missing = wanted - {tool.name for tool in chosen}
    if missing:
        raise ValueError(f"not known, or not installed: {', '.join(sorted(missing))}")
    return chosen
