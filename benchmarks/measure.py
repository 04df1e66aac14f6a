"""Runs commands and says what they used; compares series of such runs pair by pair."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
MB = 1_000_000
PYTHON = (sys.executable, "-I", "-S")
"""Starts the small helper scripts."""

Stream = int | IO[bytes]


class Wrong(Exception):
    """A command's results are not what they must be, so that its figures mean nothing."""


class Skipped(Exception):
    """A case that has nothing to measure here."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process used, from its start to its end."""

    code: int
    """The exit code; negative where a signal ended it."""
    started: float
    """Monotonic seconds."""
    wall: float
    user: float
    system: float
    peak: int
    """Peak resident set in bytes."""

    @property
    def cpu(self) -> float:
        """User and system seconds."""
        return self.user + self.system


@dataclass(slots=True)
class Series:
    """The runs of one command."""

    label: str
    runs: list[Usage] = field(default_factory=list)
    told: dict[str, list[float]] = field(default_factory=dict)
    """What else is in the table, a figure of each run under the head of its column."""

    @property
    def cpu(self) -> list[float]:
        return [run.cpu for run in self.runs]

    @property
    def wall(self) -> list[float]:
        return [run.wall for run in self.runs]

    @property
    def peak(self) -> int:
        """The highest peak of all runs, in bytes."""
        return max(run.peak for run in self.runs)


def together(starts: Sequence[Usage]) -> Usage:
    """What a command used that was started several times, one start after the other, to do its work."""
    return Usage(
        code=starts[-1].code,
        started=starts[0].started,
        wall=sum(start.wall for start in starts),
        user=sum(start.user for start in starts),
        system=sum(start.system for start in starts),
        peak=max(start.peak for start in starts),
    )


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divide run by run: what both runs of a pair met with (a busy machine, a full cache) cancels out."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def run(
    command: Sequence[str | os.PathLike[str]],
    scratch: Path,
    *,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.DEVNULL,
    stderr: Stream = subprocess.DEVNULL,
    watch: Callable[[], None] | None = None,
    folder: Path = REPOSITORY,
    kill_after: float = 0.0,
) -> Usage:
    """Run ``command`` in ``folder`` and return what it used; ``watch`` is called a hundred times a second meanwhile.

    It is killed with SIGKILL after ``kill_after`` seconds, unless these are 0. A command that cannot be started raises
    RuntimeError. Whatever ends this function ends the command.
    """
    report = scratch / "usage"
    report.unlink(missing_ok=True)
    process = subprocess.Popen(
        [*PYTHON, HERE / "launch.py", report, str(kill_after), *command],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=folder,
        env=_environment(),
        start_new_session=True,
    )
    try:
        if watch is None:
            process.wait()
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
            if watch is not None:
                watch()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if not report.exists():
        raise RuntimeError(f"{command[0]} could not be started")
    code, *seconds, peak = report.read_text().split()
    started, wall, user, system = map(float, seconds)
    return Usage(int(code), started, wall, user, system, int(peak))


def _environment() -> dict[str, str]:
    """Ours without proxies, and without what makes Python start otherwise than for its users (no cached bytecode)."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("PYTHON")
    }
