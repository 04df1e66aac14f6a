"""gdl and its peers: how each is told to download a list, 16 files at once, or one file, with nothing to draw."""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.measure import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

GDL = (sys.executable, "-m", "downloader")
"""Takes the package from the folder it is started in."""
OTHER = "other"
"""The name of the gdl of another checkout."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to download: a list (``-`` for standard input) or a URL, where the files go, whom to trust."""

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
    folder: Path = REPOSITORY
    """Where it is started; for gdl this is the checkout that it is taken from."""
    most_cpu: float | None = None
    """The project's target for gdl's CPU divided by this tool's, for the same list."""

    @property
    def program(self) -> tuple[str, ...]:
        """How it is started."""
        return GDL if self.name in ("gdl", OTHER) else (self.name,)

    @property
    def title(self) -> str:
        """What it is called in sentences."""
        return "gdl (other)" if self.name == OTHER else self.name

    @property
    def installed(self) -> bool:
        return shutil.which(self.program[0]) is not None

    @property
    def version(self) -> str:
        """What it calls itself, from the first line of ``--version``."""
        said = subprocess.run(
            [*self.program, "--version"], cwd=self.folder, capture_output=True, text=True, check=False
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


def _curl_default(job: Job) -> list[str]:
    return [argument for argument in _curl(job) if argument not in ("--parallel-max", "16")]


def _aria2c_default(job: Job) -> list[str]:
    return [argument for argument in _aria2c(job) if argument not in ("-j16", "-x1")]


def _aria2c_16(job: Job) -> list[str]:
    return [*_aria2c_default(job), "-j16", "-x16"]


def _wget2_default(job: Job) -> list[str]:
    return [argument for argument in _wget2(job) if argument != "--max-threads=16"]


def _curl_alone(job: Job) -> list[str]:
    return ["-q", "--silent", "--show-error", "-O", "--output-dir", str(job.out), job.listed]


def _split(job: Job) -> list[str]:
    return ["--split", "16", *_gdl(job)]


def _split_a_little(job: Job) -> list[str]:
    return ["--split", "4", *_gdl(job)]


def _axel(job: Job) -> list[str]:
    return ["-n", "16", "-q", "-o", _target(job), job.listed]


def _aria2c_split(job: Job) -> list[str]:
    quiet = ["--no-conf", "--quiet", "--file-allocation=none"]
    return ["-x16", "-s16", "-k1M", *quiet, "-d", str(job.out), job.listed]


def _curl_resuming(job: Job) -> list[str]:
    return ["-q", "-C", "-", "--silent", "--show-error", "-o", _target(job), job.listed]


def _aria2c_resuming(job: Job) -> list[str]:
    # What it has is written down once a minute by default, which would be never here.
    quiet = ["--no-conf", "--quiet", "--file-allocation=none"]
    return ["-c", "--auto-save-interval=1", *quiet, "-d", str(job.out), job.listed]


def _target(job: Job) -> str:
    return str(job.out / job.listed.rpartition("/")[2])


CURL_LINE = 'url="{url}"\noutput="{out}/{name}"'

TOOLS = (
    Tool("gdl", "gdl -q", _gdl),
    Tool("curl", "curl -Z", _curl, CURL_LINE, most_cpu=2.0),
    Tool("aria2c", "aria2c -i -j16 -x1", _aria2c),
    Tool("wget2", "wget2 -i --max-threads=16", _wget2),
)
"""For a list."""
PARALLEL = (
    Tool("gdl", "gdl -q", _gdl),
    Tool("curl", "curl -Z", _curl_default, CURL_LINE),
    Tool("curl", "curl -Z --parallel-max 16", _curl, CURL_LINE),
    Tool("aria2c", "aria2c -i", _aria2c_default),
    Tool("aria2c", "aria2c -i -j16 -x16", _aria2c_16),
    Tool("wget2", "wget2 -i", _wget2_default),
)
"""For a list, at their own number of transfers at once, and some of them at 16."""
SPLITTING = (
    Tool("gdl", "gdl -q --split 16", _split),
    Tool("axel", "axel -n 16", _axel),
    Tool("aria2c", "aria2c -x16 -s16 -k1M", _aria2c_split),
)
"""For one file over 16 connections."""
ONE_CONNECTION = Tool("curl", "curl -O", _curl_alone)
"""For one file over one connection."""
RESUMING = (
    Tool("gdl", "gdl -q", _gdl),
    Tool("curl", "curl -C -", _curl_resuming),
    Tool("aria2c", "aria2c -c --auto-save-interval=1", _aria2c_resuming),
)
"""For one file over one connection, continued at the next start."""
RESUMING_SPLIT = (Tool("gdl", "gdl -q --split 4", _split_a_little),)
"""The same over 4 connections."""
OURS = TOOLS[0]
EVERY = {tool.name: tool for tool in (*SPLITTING, *TOOLS)}
"""A tool of each name."""


def choose(names: Collection[str] | None, among: Sequence[Tool] = TOOLS) -> list[Tool]:
    """Those ``among`` these that have one of the names, gdl first and always; by default all that are installed.

    Raises ValueError for a name that is none of them, or not installed.
    """
    if names is None:
        return [tool for tool in among if tool.name == OURS.name or tool.installed]
    missing = {name for name in names if name != OURS.name and not (name in EVERY and EVERY[name].installed)}
    if missing:
        raise ValueError(f"not known, or not installed: {', '.join(sorted(missing))}")
    return [tool for tool in among if tool.name == OURS.name or tool.name in names]


def left_out(names: Collection[str] | None, among: Sequence[Tool]) -> list[str]:
    """A note for each of ``among`` that would be measured were it installed."""
    missing = [tool for tool in among if names is None and tool.name != OURS.name and not tool.installed]
    return [f"`{tool.label}` is left out: not installed" for tool in missing]


def gdl_with(*options: str, tool: Tool = OURS) -> Tool:
    """``tool``, a gdl, with further options."""

    def arguments(job: Job) -> list[str]:
        return [*options, *tool.arguments(job)]

    return replace(tool, label=" ".join((tool.label, *options)), arguments=arguments)


def other(checkout: Path) -> Tool:
    """The gdl of another checkout, with its bytecode and ours cached, as both are for their users.

    Raises ValueError if there is none, or no room for its bytecode.
    """
    if not (checkout / "downloader" / "__main__.py").is_file():
        raise ValueError(f"{checkout} holds no downloader/__main__.py")
    for folder in (checkout, REPOSITORY):
        if not compileall.compile_dir(folder / "downloader", quiet=2):
            raise ValueError(f"the bytecode of {folder / 'downloader'} cannot be written")
    return Tool(OTHER, "gdl (other) -q", _gdl, folder=checkout, most_cpu=1.05)
