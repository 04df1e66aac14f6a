"""Look-ups of made-up names in a child process: all end in ``.test`` and lead to 127.0.0.1; ``resolver.c`` has them.

`build_resolver` compiles it; the environment it then gives preloads it::

    run_gdl(..., env=resolver.environment(log, delay=20))
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from support.processes import build_library

SOURCE = Path(__file__).with_suffix(".c")


class Resolver:
    """The compiled library."""

    def __init__(self, library: Path) -> None:
        self.library = library

    def environment(self, log: Path, *, delay: int = 0) -> dict[str, str]:
        """Variables for a child whose look-ups take ``delay`` milliseconds and are written to ``log``."""
        return {"LD_PRELOAD": str(self.library), "RESOLVER_LOG": str(log), "RESOLVER_DELAY": str(delay)}


def build_resolver(folder: Path) -> Resolver:
    """Compile it. Without a compiler the test is skipped; with ``CI`` in the environment it fails."""
    return Resolver(build_library(SOURCE, folder))


def lookups(log: Path) -> Counter[str]:
    """How often each name was looked up."""
    return Counter(line[2:] for line in log.read_text().splitlines() if line.startswith("+"))


def most_at_once(log: Path) -> int:
    """How many look-ups were under way at once, at most."""
    most = now = 0
    for line in log.read_text().splitlines():
        now += 1 if line.startswith("+") else -1
        most = max(most, now)
    return most
