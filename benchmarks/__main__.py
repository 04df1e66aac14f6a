"""``python -m benchmarks [CASE...]``: runs the cases and prints what they found, each as soon as it is done."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import cases, hosts, limits, links, lookups, million, ranges, slices, tail
from benchmarks.bench import Bench, say
from benchmarks.measure import Skipped, Wrong
from benchmarks.server import Unavailable, serving
from benchmarks.tools import EVERY, SPLITTING, choose, other

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.report import Report
    from benchmarks.tools import Tool

CASES: dict[str, Callable[[Bench], Report]] = {
    "startup": cases.startup,
    "small-http": cases.small_http,
    "small-https": cases.small_https,
    "small-http2": cases.small_http2,
    "small-bars": cases.small_bars,
    "large": cases.large,
    "huge": cases.huge,
    "split": ranges.split,
    "split-strict": ranges.split_strict,
    "killed": ranges.killed,
    "tail": tail.tail,
    "tail-list": tail.tail_list,
    "limit-rate": tail.limit_rate,
    "capped": limits.capped(limits.USUAL),
    **{f"capped-{cap}": limits.capped(cap) for cap in limits.CAPS if cap != limits.USUAL},
    "changing": limits.changing,
    "rtt-http": links.rtt_http,
    "rtt-https": links.rtt_https,
    "rtt-per-host": links.rtt_per_host,
    "dead-hosts": hosts.dead_hosts,
    "sorted-hosts": hosts.sorted_hosts,
    "many-names": lookups.many_names,
    "million-fail": million.million_fail,
    "million-ok": million.million_ok,
    "slices": slices.slices,
}
ALONE = {"million-fail", "million-ok"}
"""Cases for gdl only, unless tools are named: a peer's list of a million takes gigabytes."""


MEMORY = "/dev/shm"  # noqa: S108 only a folder of our own is made there
ROOM = 8 << 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0 if every case could be measured, else 1."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = set(options.cases) - CASES.keys()
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    names = frozenset(options.tools.split(",")) if options.tools else None
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    try:
        tools, splitting = choose(names), choose(names, SPLITTING)
    except ValueError as error:
        parser.error(f"--tools: {error}")
    if options.against is not None:
        try:
            tools.insert(1, other(Path(options.against).resolve()))
        except ValueError as error:
            parser.error(f"--against: {error}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    reports: list[Report] = []
    code = 0
    machine = _machine({tool.title: tool for tool in (*splitting, *tools)}) | {"files": f"in {options.scratch}"}
    print("\n".join(f"- {name}: {value}" for name, value in machine.items()), end="\n\n", flush=True)
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="gdl-bench-", dir=options.scratch)
        scratch = Path(stack.enter_context(made)).resolve()
        kept = Path(options.data).resolve() if options.data else scratch / "data"
        for folder in (kept, scratch / "nginx"):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            server = stack.enter_context(serving(kept, scratch / "nginx"))
        except Unavailable as error:
            say(str(error))
            return 1
        for name in options.cases or CASES:
            taking = tools[:1] if name in ALONE and not options.tools else tools
            bench = Bench(server, kept, scratch, taking, options.runs, options.count, names, seed)
            try:
                reports.append(CASES[name](bench))
            except Skipped as reason:
                say(f"{name}: skipped: {reason}")
                continue
            except Wrong as wrong:
                say(f"{name}: no figures: {wrong}")
                code = 1
                continue
            print(reports[-1].markdown(), flush=True)
    if options.json:
        found = {"machine": machine, "cases": [report.plain() for report in reports]}
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures gdl and its peers.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--runs", type=_positive, default=5, metavar="N", help="paired runs, after one to warm up")
    parser.add_argument(
        "--count", type=_positive, metavar="N", help="files, lines or megabytes, not a case's own number"
    )
    parser.add_argument("--tools", metavar="NAMES", help=f"of {','.join(EVERY)}")
    parser.add_argument(
        "--against", metavar="DIR", help="measure the gdl of another checkout too, as gdl (other), with the same lists"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="for what is drawn by lot; another one each time")
    parser.add_argument(
        "--scratch", metavar="DIR", default=_memory(), help=f"download into a folder made here; default {_memory()}"
    )
    parser.add_argument("--data", metavar="DIR", help="make the files to be served here, and keep them")
    parser.add_argument("--json", metavar="FILE", help="write every run's figures here too")
    return parser


def _memory() -> str:
    """A file system in memory with room for everything, so that no disk blurs the figures; else the usual place."""
    try:
        roomy = shutil.disk_usage(MEMORY).free >= ROOM
    except OSError:
        roomy = False
    return MEMORY if roomy else tempfile.gettempdir()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _machine(tools: Mapping[str, Tool]) -> dict[str, str]:
    """What the figures were made with; a load that is high before the start makes them doubtful."""
    load = os.getloadavg()[0]
    cores = os.cpu_count() or 1
    if load > cores / 2:
        say(f"the machine is busy already (load {load:.1f} on {cores} cores): expect noise")
    return {
        "machine": f"{cores} cores, {platform.system()} {platform.release()}, load {load:.1f} at the start",
        "python": platform.python_version(),
        **{title: tool.version for title, tool in tools.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
