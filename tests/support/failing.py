"""Calls of the C library that fail on demand in a child process, and a log of those it made.

`build_failing` compiles ``failing.c``; the environment it then gives preloads it::

    run_gdl(..., env=failing.environment(Fault("write", errno.ENOSPC, "clip.mp4.part$", "@1000000"), within=folder))
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks.resolver import build_library
from support.processes import find_program

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCE = Path(__file__).with_suffix(".c")

FILE_KINDS = ("write", "truncate", "fallocate", "fsync", "fdatasync", "syncfs", "flock", "lock", "statvfs", "close")
MODE_KINDS = ("dup", "chmod", "chown")
NAME_KINDS = ("open", "create", "tmpfile", "rename", "renameat2", "link", "unlink", "mkdir", "rmdir")
KINDS = frozenset(FILE_KINDS + MODE_KINDS + NAME_KINDS)
"""What a call is known as. All that open, write, link or remove alike have one name: ``create`` is an open that may
make a file, ``tmpfile`` one that makes a file without a name, ``lock`` a byte-range lock, ``write`` any write at all,
``close`` only that of a file that could be written to: it is closed and fails.
``renameat2`` is apart from ``rename``, as there is another way without it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Which calls fail, and how."""

    calls: str
    """One of `KINDS`, several with commas between, or ``*`` for all."""
    action: int | Literal["short", "nothing", "kill", "hang"]
    """An errno; ``short`` or ``nothing`` for a write of half or none of it; ``kill`` for SIGKILL instead of a call;
    ``hang`` for a call that never returns, whatever signals there are."""
    path: str = ""
    """Text that the path, or either path, must hold; with a final ``$`` it must end in it."""
    when: str = "1+"
    """Which of the matching calls: ``3`` the third, ``3+`` all from then on, ``@100`` those after 100 bytes."""

    def __str__(self) -> str:
        return f"{self.calls}:{self.action}:{self.path}:{self.when}"


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it was made."""

    start: int
    """When it was made, and `end` when it had returned: a clock that ticks at each of both."""
    end: int
    kind: str
    error: int
    """Its errno, 0 where it worked, ``-SIGKILL`` where the process was killed instead, ``-SIGSTOP`` where it hangs."""
    path: str
    other: str
    """The second path of a call that takes two."""

    def concerns(self, text: str) -> bool:
        """Whether one of its paths ends in ``text``."""
        return self.path.endswith(text) or self.other.endswith(text)


class Failing:
    """The compiled library."""

    def __init__(self, library: Path) -> None:
        self.library = library

    def environment(
        self,
        *faults: Fault,
        within: Path,
        log: Path | None = None,
        stat: str | None = None,
        name_max: int | None = None,
        loses: bool = False,
    ) -> dict[str, str]:
        """Variables for a child whose calls fail so, and are logged; only those on paths that hold ``within``.

        ``stat``: what plain files there are said to be, ``links:0`` for one, or ``numbers`` for another inode number
        each time. ``name_max``: how many bytes names there may have. ``loses``: a close that fails loses half of a
        file that was written to since it was last closed well, as where a quota is told late.
        """
        for fault in faults:
            if not (fault.calls == "*" or set(fault.calls.split(",")) <= KINDS) or str(fault).count(":") != 3:
                raise ValueError(f"{fault} cannot be used")
        variables = {
            "LD_PRELOAD": str(self.library),
            "FAILING_WITHIN": str(within),
            "FAILING_RULES": ";".join(map(str, faults)),
        }
        if stat is not None:
            variables["FAILING_STAT"] = stat
        if name_max is not None:
            variables["FAILING_NAME_MAX"] = str(name_max)
        if loses:
            variables["FAILING_LOSES"] = "1"
        return variables if log is None else {**variables, "FAILING_LOG": str(log)}


def build_failing(folder: Path) -> Failing:
    """Compile it. Without a compiler the test is skipped; with ``CI`` in the environment it fails."""
    find_program("cc")
    return Failing(build_library(SOURCE, folder))


def read_calls(log: Path) -> list[Call]:
    """The calls in a log, in the order they were made; none where there is no log."""
    calls = []
    for line in os.fsdecode(log.read_bytes() if log.exists() else b"").splitlines():
        start, end, kind, error, path, other = line.split("\t")
        calls.append(Call(int(start), int(end), kind, int(error), path, other))
    return sorted(calls, key=lambda call: call.start)


def only(calls: Sequence[Call], kinds: str, text: str = "") -> list[Call]:
    """Those of one of the kinds (commas between) on a path that ends in ``text``."""
    return [call for call in calls if call.kind in kinds.split(",") and call.concerns(text)]
