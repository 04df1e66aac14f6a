"""The cases about many hosts: each is an address of the loopback network, 127.1.x.y, with the same port."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.bench import say
from benchmarks.capped import picture
from benchmarks.measure import Series, Skipped, median
from benchmarks.report import Fact, Report
from benchmarks.serve import started
from benchmarks.tools import OURS, Tool, gdl_with
from benchmarks.trials import SAVED, Trial, all_saved, contenders, download, take_trials, times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.bench import Bench

UNCAPPED = 1_000_000

HOSTS = 200
FILES = 20
"""Of each of these hosts."""
FILE_SECONDS = 0.02
EVERY_DEAD = 20
"""One host of so many is dead."""
TIMEOUT = 5
MOST_DEAD = 1.3
"""Target for the wall time with dead hosts: so many times that without, and one ``--timeout``."""
PATIENCE = 120.0

SORTED_HOSTS = 20
SORTED_FILES = 500
SORTED_SECONDS = 0.03
SORTED_JOBS = 64
SORTED_PER_HOST = 4
MOST_SORTED = 1.2


class Dead(NamedTuple):
    """Which hosts are dead, by the way they are."""

    refusing: list[str]
    """Nobody listens."""
    silent: list[str]
    """Connections are made, and nothing is said."""
    full: list[str]
    """Not even connections are made."""

    @property
    def all(self) -> set[str]:
        return {*self.refusing, *self.silent, *self.full}


def addresses(count: int) -> list[str]:
    """Loopback addresses other than the usual one."""
    return [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(count)]


def draw_dead(hosts: Sequence[str], seed: int) -> Dead:
    """Draw the dead ones by lot: half of them refuse, the others hang in one of two ways by turns."""
    drawn = random.Random(seed).sample(hosts, len(hosts) // EVERY_DEAD)
    refusing, hanging = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    return Dead(refusing, hanging[::2], hanging[1::2])


def _path(host: str, number: int) -> str:
    return f"/{host.replace('.', '-')}-{number:04d}.jpg"


def dead_hosts(bench: Bench) -> Report:
    """The same list with dead hosts and without their lines."""
    hosts = addresses(bench.count or HOSTS)
    dead = draw_dead(hosts, seed=1)
    alive = [host for host in hosts if host not in dead.all]
    order = [(host, _path(host, number)) for host in hosts for number in range(FILES)]
    random.Random(2).shuffle(order)
    contents = {path[1:]: picture(path) for host, path in order if host not in dead.all}
    title = f"{len(hosts)} hosts of {FILES} pictures of {FILE_SECONDS * 1000:.0f} ms, in random order"
    report = Report("dead-hosts", f"{title}, {len(dead.all)} of the hosts dead")
    need(hosts)
    arguments = ["--caps", str(UNCAPPED), "--delay", str(FILE_SECONDS), "--hosts", ",".join(alive)]
    tool = gdl_with("--timeout", str(TIMEOUT))
    listed = bench.scratch / "hosts.txt"
    without, with_dead = Series(f"{tool.label}, without them"), Series(f"{tool.label}, {len(dead.all)} dead")
    missing = []
    with started("capped", *arguments) as server, hanging(dead, server.port):
        for number in range(bench.runs):
            say(f"{report.case}: round {number + 1} of {bench.runs}")
            for series in (with_dead, without) if number % 2 else (without, with_dead):
                skipped = dead.all if series is without else ()
                lines = [f"http://{host}:{server.port}{path}\n" for host, path in order if host not in skipped]
                listed.write_text("".join(lines))
                command = tool.command(bench.job(str(listed)))
                failing = series is with_dead and bool(dead.all)
                usage, right = download(bench, tool, command, contents, PATIENCE, failing=failing)
                series.runs.append(usage)
                missing.append(len(contents) - right)
    pairs = zip(with_dead.wall, without.wall, strict=True)
    ratio = median([one / most_with_dead(other) for one, other in pairs])
    report.series = [without, with_dead]
    report.facts += [
        Fact("files of living hosts missing", max(missing), most=0.0),
        Fact(f"wall time with dead hosts, divided by {MOST_DEAD:g} x that without + {TIMEOUT} s", ratio, most=1.0),
    ]
    if any(usage.code < 0 for usage in (*without.runs, *with_dead.runs)):
        report.notes.append(f"not done, and killed after {PATIENCE:g} s")
    kinds = f"{len(dead.refusing)} refuse, {len(dead.silent)} say nothing, {len(dead.full)} do not even connect"
    report.notes.append(f"of the dead hosts {kinds}; --timeout {TIMEOUT} in both runs")
    return report


def most_with_dead(without: float) -> float:
    """The target, in seconds, where the list takes ``without`` seconds without the lines of dead hosts."""
    return MOST_DEAD * without + TIMEOUT


def sorted_hosts(bench: Bench) -> Report:
    """A list sorted by host, whose first lines alone would leave most slots idle."""
    files = bench.count or SORTED_FILES
    hosts = addresses(SORTED_HOSTS)
    need(hosts)
    order = [(host, _path(host, number)) for host in hosts for number in range(files)]
    contents = {path[1:]: picture(path) for _, path in order}
    least = len(order) * SORTED_SECONDS / SORTED_JOBS
    options = ["--per-host", str(SORTED_PER_HOST), "-j", str(SORTED_JOBS)]
    title = f"{len(hosts)} hosts of {files:,} pictures of {SORTED_SECONDS * 1000:.0f} ms, one host after the other"
    report = Report("sorted-hosts", title)
    arguments = ["--caps", str(UNCAPPED), "--delay", str(SORTED_SECONDS), "--hosts", ",".join(hosts)]
    with started("capped", *arguments) as server:
        urls = [f"http://{host}:{server.port}{path}" for host, path in order]
        # That of another checkout takes these options too; peers have no such limit for lists.
        tools = [gdl_with(*options, tool=tool) for tool in contenders(bench) if tool.program == OURS.program]

        def attempt(tool: Tool) -> Trial:
            command = tool.command(bench.job(bench.list_for(tool, urls)))
            server.tell()
            usage, right = download(bench, tool, command, contents, PATIENCE)
            told = {SAVED: right, "wall / ideal": usage.wall / least, "most in flight": server.tell()["most"]}
            return Trial(usage, told)

        ours = take_trials(bench, tools, attempt, report)[tools[0].label]
    report.facts += [
        all_saved(ours, len(order)),
        Fact("ideal", least, "s"),
        Fact("wall time of gdl, divided by the ideal", times(ours, least), most=MOST_SORTED),
    ]
    return report


def need(hosts: Sequence[str]) -> None:
    """Raise `Skipped` where the loopback network has one address only, as macOS does by default."""
    with socket.socket() as one:
        try:
            one.bind((hosts[-1], 0))
        except OSError as error:
            raise Skipped(f"{hosts[-1]} cannot be listened on: {error.strerror}") from error


@contextmanager
def hanging(dead: Dead, port: int) -> Iterator[None]:
    """Have the dead hosts hang that are to hang. Nobody accepts: what connects, waits in the kernel's queue."""
    with ExitStack() as stack:
        for hosts, backlog in ((dead.silent, 4096), (dead.full, 0)):
            for host in hosts:
                listening = stack.enter_context(socket.socket())
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind((host, port))
                listening.listen(backlog)
        for host in dead.full:
            for _ in range(4):
                filling = stack.enter_context(socket.socket())
                filling.setblocking(False)
                with suppress(BlockingIOError):
                    filling.connect((host, port))
        yield
