"""How long anybody keeps the hub: the longest slice of runs with much to do at once, as `benchmarks.traced` has it."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks import data
from benchmarks.bench import say
from benchmarks.hosts import UNCAPPED, addresses, need
from benchmarks.measure import REPOSITORY, Series, Wrong, median, run
from benchmarks.report import Fact, Report
from benchmarks.serve import started
from benchmarks.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.measure import Stream, Usage

MOST = 50.0
"""Target for the longest slice, in milliseconds."""
LINES = 200_000
FILES = 10_000
PENDING = 16_384
"""Items that a run whose hosts are silent reads ahead."""
STOPPED = 143


@dataclass(frozen=True, slots=True)
class Work:
    """A run to be measured: what gdl is told, and how it is to end."""

    arguments: list[str]
    code: int
    stdin: Stream = subprocess.DEVNULL
    terminal: bool = False
    stop: float = 0.0
    """Seconds after which it is stopped by SIGTERM, 0 for never."""
    results: int = 0
    """Results that it gives at least."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of run. ``work`` prepares it in the scratch folder, for so many lines, while its context lasts."""

    label: str
    work: Callable[[Bench, int], Iterator[Work]] = field(repr=False)
    lines: int = LINES


def slices(bench: Bench) -> Report:
    """Each kind of run in turn."""
    report = Report("slices", "the longest slice of the hub, in CPU time", paired=False)
    for scenario in SCENARIOS:
        series = Series(scenario.label, told={"longest slice ms": [], "slices": []})
        ran = ""
        for number in range(bench.runs):
            say(f"{report.case}: {scenario.label}, round {number + 1} of {bench.runs}")
            lines = min(scenario.lines, bench.count or scenario.lines)
            with contextmanager(scenario.work)(bench, lines) as work:
                usage, longest, ran, count = _measure(bench, work)
            series.runs.append(usage)
            series.told["longest slice ms"].append(longest)
            series.told["slices"].append(count)
        report.series.append(series)
        longest = median(series.told["longest slice ms"])
        report.facts.append(Fact(f"longest slice of `{scenario.label}`", longest, "ms", MOST))
        report.notes.append(f"`{scenario.label}`: last it was {ran}")
    return report


def _measure(bench: Bench, work: Work) -> tuple[Usage, float, str, int]:
    """Return what the run used, its longest slice in milliseconds, what ran then, and the number of slices."""
    found, printed = bench.scratch / "slices.json", bench.scratch / "stdout"
    program = [sys.executable, "-m", "benchmarks.traced", str(found), str(work.stop), "-o", str(bench.empty())]
    command = [*program, *work.arguments]
    with ExitStack() as stack:
        stdout = stack.enter_context(printed.open("wb"))
        stderr = stack.enter_context(Terminal()).side if work.terminal else subprocess.DEVNULL
        usage = run(command, bench.scratch, stdin=work.stdin, stdout=stdout, stderr=stderr, folder=REPOSITORY)
    if usage.code != work.code:
        raise Wrong(f"gdl {' '.join(work.arguments)} ended with {usage.code}, not {work.code}")
    with printed.open("rb") as lines:
        results = sum(1 for _ in lines)
    if results < work.results:
        raise Wrong(f"gdl {' '.join(work.arguments)} gave {results:,} of {work.results:,} results")
    measured = json.loads(found.read_text())
    longest = measured["longest"][0]
    return usage, longest["seconds"] * 1000, longest["ran"], measured["slices"]


def _listed(bench: Bench, lines: Iterator[str]) -> str:
    path = bench.scratch / "slices.txt"
    with path.open("w") as file:
        file.writelines(lines)
    return str(path)


def _bad(bench: Bench, lines: int, *options: str) -> Iterator[Work]:
    listed = _listed(bench, ("not a url\n" for _ in range(lines)))
    yield Work([*options, listed], 1)


def _existing(bench: Bench, lines: int) -> Iterator[Work]:
    kept = bench.scratch / "existing"
    kept.mkdir()
    for number in range(lines):
        (kept / f"{number}.jpg").touch()
    listed = _listed(bench, (f"http://127.0.0.1:9/{number}.jpg {number}.jpg\n" for number in range(lines)))
    try:
        yield Work(["-v", "--json", "-o", str(kept), listed], 0, results=lines)
    finally:
        for entry in kept.iterdir():
            entry.unlink()
        kept.rmdir()


def _blank(bench: Bench, lines: int) -> Iterator[Work]:
    path = bench.scratch / "slices.txt"
    with path.open("wb") as file:
        for _ in range(max(1, lines // 1000)):
            file.write(b"\n" * 1_000_000)
    yield Work([str(path)], 0)


def _without_lines(bench: Bench, lines: int) -> Iterator[Work]:
    path = bench.scratch / "slices.txt"
    with path.open("wb") as file:
        file.truncate(lines * 2000)
    yield Work([str(path)], 1)


def _zero(_bench: Bench, _lines: int) -> Iterator[Work]:
    with open("/dev/zero", "rb") as endless:
        yield Work([], STOPPED, stdin=endless, stop=2.0)


@contextmanager
def _silent() -> Iterator[Callable[[int], str]]:
    """Give a function of URLs that are asked for and never answered, of twenty hosts by turns."""
    hosts = addresses(20)
    need(hosts)
    with started("capped", "--caps", str(UNCAPPED), "--delay", "3600", "--hosts", ",".join(hosts)) as server:
        yield lambda number: f"http://{hosts[number % 20]}:{server.port}/{number}.jpg"


def _on_a_terminal(bench: Bench, lines: int) -> Iterator[Work]:
    """A list of 50 MB, a tenth of it bad lines."""
    with _silent() as url:
        urls = (f"{url(number)}?{'x' * 220}\n" if number > lines // 10 else "not a url\n" for number in range(lines))
        yield Work(["--progress", "bars", _listed(bench, urls)], STOPPED, terminal=True, stop=1.5 + lines / 30_000)


def _pending(bench: Bench, lines: int) -> Iterator[Work]:
    options = ["--json", "--per-host", "1", "-j", "64"]  # slots are left, so that it reads further
    with _silent() as url:
        listed = _listed(bench, (f"{url(number)}\n" for number in range(lines)))
        yield Work([*options, listed], STOPPED, stop=1.5 + lines / 5_000, results=min(PENDING, lines))


def _downloads(bench: Bench, lines: int) -> Iterator[Work]:
    files = data.small(bench.data, lines)
    listed = _listed(bench, (f"{bench.url(bench.server.http, file)}\n" for file in files))
    yield Work(["--json", "--checksum-algorithm", "sha256", listed], 0, results=lines)


def _colliding(bench: Bench, lines: int) -> Iterator[Work]:
    listed = _listed(bench, (f"{bench.server.http}/gif/{number}/one.gif\n" for number in range(lines)))
    yield Work(["--json", listed], 0, results=lines)


def _large_lines(bench: Bench, lines: int) -> Iterator[Work]:
    """Lines of just under 1 MiB: as much as one line may ask for, and more than it may."""
    most = 1_000_000
    kinds = (
        f'{{"url": "http://127.0.0.1:9/a.jpg", "text": "{"x" * most}"}}',
        f'{{"url": "http://127.0.0.1:9/a.jpg", "text": "{chr(0x202E) * (most // 3)}"}}',
        f'{{"url": "http://127.0.0.1:9/a.jpg", "values": [{"1.5," * 9_000}1]}}',
        f'{{"url": "http://127.0.0.1:9/a.jpg", "values": [{"{}," * (most // 3)}1]}}',
        "http://127.0.0.1:9/" + "é" * (most // 2),
        "\t".join(["http://127.0.0.1:9/a.jpg"] * (most // 25)),
        "http://127.0.0.1:9/a.jpg" + "\n a=" * (most // 4),
    )
    yield Work(["--json", _listed(bench, (f"{line}\n" for line in kinds for _ in range(max(1, lines // 10_000))))], 1)


def _same_url(bench: Bench, lines: int) -> Iterator[Work]:
    base = bench.server.http.removeprefix("http://")
    listed = _listed(bench, (f"http://u{number}@{base}/gif/one.gif\n" for number in range(lines)))
    yield Work(["--json", listed], 0, results=lines)


SCENARIOS = (
    Scenario("bad lines", _bad),
    Scenario("files that exist", _existing),
    Scenario("blank lines", _blank),
    Scenario("bytes without lines", _without_lines),
    Scenario("/dev/zero", _zero),
    Scenario("a long list on a terminal", _on_a_terminal),
    Scenario("stopped while many are queued", _pending, 20_000),
    Scenario("small files with digests", _downloads, FILES),
    Scenario("one name for all", _colliding, FILES),
    Scenario("one URL with many logins", _same_url, FILES),
    Scenario("lines of 1 MB", _large_lines),
)
