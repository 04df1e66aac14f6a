"""A round: gdl is started and killed until nothing is left to do, and then all must be right."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from support.certs import make_authority
from support.cli import Completed, RunningGdl

from torture import checks, starts
from torture.server import TortureServer
from torture.watcher import Watcher
from torture.world import HOSTS, World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.failing import Failing

    from torture.report import Report
    from torture.starts import Launch
    from torture.world import File

MOST_STARTS = 200
MOST_SECONDS = 1800.0
"""A round that is not over by then has failed."""
MOST_RUN_SECONDS = 300.0
MOST_STOP_SECONDS = 30.0
"""After SIGINT or SIGTERM."""
LIST = "urls.txt"
AUTHORITY = "ca.pem"
"""Where `make_authority` leaves the certificate that gdl is to trust."""


class TortureError(Exception):
    """Something was wrong; the message says what, in lines."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a round is made of."""

    seed: int
    files: int = 300
    jobs: int = 16
    split: int = 4


@dataclass(slots=True)
class _Process:
    """One gdl of a start, from before it begins until it is over."""

    launch: Launch
    begins: float
    """Time of the monotonic clock."""
    running: RunningGdl | None = None
    signalled: float | None = None
    done: Completed | None = None
    late: str | None = None
    """What was wrong with its end."""


@dataclass(slots=True)
class Round:
    """One round in a folder of its own. Raises `TortureError` from `play`."""

    settings: Settings
    folder: Path
    report: Report
    failing: Failing | None
    """What makes disks fail; None where there is no compiler for it."""
    log: list[str] = field(default_factory=list)
    """The starts of this round, as sentences."""

    def play(self) -> None:
        """Start and kill gdl until a run ends by itself with nothing left to do; look at all it did."""
        settings = self.settings
        world = World(settings.seed, settings.files)
        out, logs = self.folder / "out", self.folder / "logs"
        logs.mkdir(parents=True)
        began = time.monotonic()
        authority = make_authority(self.folder, *HOSTS)
        with (
            TortureServer(settings.seed, settings.files, authority.good) as server,
            Watcher(world, out) as watcher,
        ):
            listed, lines = world.listed(server.ports)
            (self.folder / LIST).write_bytes(listed)
            for number in count(1):
                launches = starts.draw(settings.seed, number, jobs=settings.jobs, split=settings.split)
                runs = self._run(launches, number, server, watcher)
                counts = server.counts()
                self._look(number, runs, lines, watcher, counts["errors"])
                if len(runs) == 1 and runs[0].done and runs[0].done.returncode == 0:
                    break
                if number >= MOST_STARTS or time.monotonic() - began > MOST_SECONDS:
                    missing = ", ".join(watcher.missing()[:20])
                    raise TortureError(f"after {number} starts there is still something to do; not there: {missing}")
            self._end(world, watcher)
            counts = server.counts()
        sizes = (path.stat().st_size for path in out.rglob("*") if path.is_file())
        self.report.served(counts, len(world.files), sum(sizes))

    def _run(
        self, launches: tuple[Launch, ...], number: int, server: TortureServer, watcher: Watcher
    ) -> list[_Process]:
        """Start what is to be started, and return when all of it is over."""
        began = time.monotonic()
        runs = [_Process(launch, began + launch.begins) for launch in launches]
        self.log += [f"start {number}: {launch}" for launch in launches]
        self.report.starts += len(runs)
        with ExitStack() as stack:
            while any(run.done is None for run in runs):
                for run in runs:
                    self._tend(run, stack)
                if self.report.due:
                    self.report.progress(server.counts(), len(watcher.seen), watcher.wanted)
                time.sleep(0.01)
        for other, run in enumerate(runs):
            assert run.done is not None
            for stream, text in (("stdout", run.done.stdout), ("stderr", run.done.stderr)):
                (self.folder / "logs" / f"{number:03}-{other}.{stream}").write_text(text, "utf-8", "surrogateescape")
        return runs

    def _tend(self, run: _Process, stack: ExitStack) -> None:
        """Start, signal or end one gdl, if it is time to."""
        now, launch = time.monotonic(), run.launch
        if run.running is None:
            if now >= run.begins:
                args = (*launch.options, "--cacert", str(self.folder / AUTHORITY), "-o", "out", LIST)
                run.running = stack.enter_context(RunningGdl(args, cwd=self.folder, env=self._disk(launch)))
                run.begins = time.monotonic()
            return
        if run.done is not None:
            return
        process = run.running.process
        if process.poll() is not None:
            run.done = Completed(process.returncode, run.running.stdout, run.running.stderr)
            run.late = run.late or _still_there(process.pid)
            signals = {-signal: signal.name for signal in checks.ENDS if signal}
            ended = launch.signal.name if run.signalled and launch.signal else "by itself"
            ended = "on a full disk" if process.returncode == checks.STOPPED else ended
            self.report.ends[signals.get(process.returncode, ended)] += 1
        elif launch.signal and run.signalled is None and now >= run.begins + launch.after:
            run.running.send_signal(launch.signal)
            run.signalled = now
        elif now > (run.begins + MOST_RUN_SECONDS if run.signalled is None else run.signalled + MOST_STOP_SECONDS):
            run.late = f"still ran after {now - run.begins:.0f} s"
            process.kill()

    def _disk(self, launch: Launch) -> dict[str, str] | None:
        """The environment in which closing files fails as it is to; None where it does not."""
        if not launch.quota or self.failing is None:
            return None
        self.report.quotas += 1
        return self.failing.environment(*launch.quota, within=self.folder / "out", loses=True)

    def _look(
        self, number: int, runs: list[_Process], lines: Mapping[int, File], watcher: Watcher, errors: list[str]
    ) -> None:
        """Raise if anything is wrong after a start."""
        watcher.scan()
        problems = watcher.problems + [f"the torture's own server: {error}" for error in errors]
        for other, run in enumerate(runs):
            assert run.done is not None
            found, outcomes = checks.check(run.done, run.launch, lines, self.folder, alone=len(runs) == 1)
            self.report.outcomes.update(outcomes)
            said = found + ([run.late] if run.late else [])
            problems += [f"gdl {number:03}-{other} {problem}" for problem in said]
        if problems:
            raise TortureError("\n".join(problems))

    def _end(self, world: World, watcher: Watcher) -> None:
        """Raise unless all files are there, each is what it should be, and nothing else is."""
        watcher.scan()
        problems = watcher.problems + [f"{name} is not there" for name in watcher.missing()]
        problems += [f"{name} is left over" for name in watcher.leftovers()]
        for file in world.files:
            path = self.folder / "out" / file.name
            if path.exists() and world.identify(file, path.read_bytes()) is None:
                problems.append(f"{file.name} is no version of its file at the end")
        if problems:
            raise TortureError("\n".join(problems))


def _still_there(group: int) -> str | None:
    """What is wrong where a process of this group lives on after its leader."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return None
    return "left a process behind"
