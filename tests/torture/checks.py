"""What must hold for every run of gdl, whether it was killed or not."""

from __future__ import annotations

import hashlib
import json
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.cli import Completed

    from torture.starts import Launch
    from torture.world import File

NEVER = ("Traceback", "gdl has a bug", "Exception ignored", "Error in callback")
"""What gdl never prints."""
KINDS = frozenset({"connection", "timeout", "body", "http", "not-media", "protocol", "checksum", "interrupted"})
KINDS |= {"unreachable"}
"""Errors that this server, or a signal, can be the reason of; ``unreachable`` where the first tries of a host find all
connections closed, or a busy machine keeps it silent for ``--timeout`` twice."""
FULL = frozenset({"disk", "interrupted"})
"""More of them where the disk has said that it is full."""
STOPPED = 3
"""The exit code where it has."""
ENDS = {
    None: {0, 1},
    signal.SIGKILL: {0, 1, -signal.SIGKILL},
    # Before gdl has installed its handlers the signal ends it as it ends any program.
    signal.SIGTERM: {0, 1, 143, -signal.SIGTERM},
    signal.SIGINT: {0, 1, 130, -signal.SIGINT},
}
"""The exit codes that are right, by the signal; a run may be over before the signal comes."""


def check(
    done: Completed, launch: Launch, lines: Mapping[int, File], folder: Path, *, alone: bool
) -> tuple[list[str], Counter[str]]:
    """What is wrong with a run that is over, and how often each outcome was.

    ``lines`` has the file of each line of the list, ``folder`` is where gdl ran, and ``alone`` tells whether no
    other gdl worked there.
    """
    problems = [f"printed {told!r}" for told in NEVER if told in done.stdout + _of_gdl(done.stderr, done.returncode)]
    if done.returncode not in ENDS[launch.signal] | ({STOPPED} if launch.quota else set()):
        problems.append(f"ended with {done.returncode}")
    results, broken = _results(done)
    if broken and done.returncode >= 0:
        problems.append(f"printed what is no JSON: {broken!r}")
    times = Counter(result["line"] for result in results)
    problems += [f"line {line} has {count} results" for line, count in times.items() if count > 1]
    problems += [f"there is a result of line {line}, which is none" for line in times.keys() - lines.keys()]
    if done.returncode in (0, 1, STOPPED):
        problems += [f"line {line} has no result" for line in lines.keys() - times.keys()]
        failed = sum(result["status"] == "failed" for result in results)
        if (done.returncode != 0) != bool(failed):
            problems.append(f"ended with {done.returncode}, and {failed} failed")
    for result in results:
        if result["line"] in lines:
            where = f"line {result['line']} ({result['url']}): "
            kinds = KINDS | FULL if launch.quota else KINDS
            found = _wrong(result, lines[result["line"]], folder, kinds, alone=alone)
            problems += (where + said for said in found)
    return problems, Counter(map(outcome, results))


def outcome(result: Mapping[str, Any]) -> str:
    """What came of an item, in a word or two."""
    if result["status"] == "failed":
        return f"failed: {result['error']['kind']}"
    return f"skipped: {result['reason']}" if result["status"] == "skipped" else "saved"


def _of_gdl(stderr: str, returncode: int) -> str:
    """What gdl printed, without the traceback of a Python that SIGINT ended before it had come to gdl's first line."""
    if returncode == -signal.SIGINT and stderr.endswith("KeyboardInterrupt\n") and "in main\n" not in stderr:
        return stderr.partition("Traceback")[0]
    return stderr


def _results(done: Completed) -> tuple[list[dict[str, Any]], str | None]:
    """What ``--json`` printed, and the last line if it is none, as a kill may cut it."""
    lines = done.stdout.splitlines()
    results = []
    for number, line in enumerate(lines, 1):
        try:
            results.append(json.loads(line))
        except ValueError:
            if number < len(lines) or done.stdout.endswith("\n"):
                return results, line
            return results, line if done.returncode >= 0 else None
    return results, None


def _wrong(result: Mapping[str, Any], file: File, folder: Path, kinds: frozenset[str], *, alone: bool) -> Iterator[str]:
    if result["status"] == "failed":
        kind = result["error"]["kind"]
        if kind not in kinds:
            yield f"failed for {kind}: {result['error']['message']}"
        return
    if result["status"] == "skipped":
        if result["reason"] != "exists" and (alone or result["reason"] != "in progress"):
            yield f"was skipped: {result['reason']}"
        if result["reason"] == "exists" and not (folder / "out" / file.name).exists():
            yield f"was skipped because {result['path']} exists, which it does not"
        return
    path = folder / "out" / file.name
    if folder / (result["path"] or "") != path:
        yield f"was saved as {result['path']}, not {path}"
        return
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        yield "was saved, and is not there"
        return
    if len(data) != result["bytes"]:
        yield f"was saved with {result['bytes']:,} bytes, and has {len(data):,}"
    if result["sha256"] not in (None, hashlib.sha256(data).hexdigest()):
        yield f"was saved with the sha256 {result['sha256']}, which is not that of the file"
