"""Look-ups of made-up names in a child process: all end in ``.test`` and lead to 127.0.0.1; ``resolver.c`` has them.

`build` compiles it; the environment it then gives preloads it, and `seen` reads what it has written down.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import Skipped

SOURCE = Path(__file__).with_suffix(".c")


class Resolver(NamedTuple):
    """The compiled library."""

    library: Path

    def environment(self, log: Path, *, delay: int = 0) -> dict[str, str]:
        """Variables for a child whose look-ups take ``delay`` milliseconds and are written to ``log``."""
        return {"LD_PRELOAD": str(self.library), "RESOLVER_LOG": str(log), "RESOLVER_DELAY": str(delay)}


class Seen(NamedTuple):
    """The look-ups of a child."""

    names: Counter[str]
    """How often each name was looked up."""
    most: int
    """How many were under way at once, at most."""


def build(folder: Path) -> Resolver:
    """Compile it into ``folder``. Raises `Skipped` without a compiler."""
    return Resolver(build_library(SOURCE, folder))


def build_library(source: Path, folder: Path) -> Path:
    """Compile a C file to a library in ``folder`` for ``LD_PRELOAD``. Raises `Skipped` without a compiler."""
    if shutil.which("cc") is None:
        raise Skipped("there is no C compiler")
    library = folder / f"{source.stem}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def seen(log: Path) -> Seen:
    """Return what was written to ``log``."""
    names: Counter[str] = Counter()
    most = now = 0
    for line in log.read_text().splitlines():
        begins = line.startswith("+")
        now += 1 if begins else -1
        names[line[2:]] += begins
        most = max(most, now)
    return Seen(names, most)
