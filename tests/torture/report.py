"""What the torture prints: a line now and then, and tables at the end."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY = 10.0
"""Seconds between two lines of progress."""


@dataclass(slots=True)
class Report:
    """All rounds in numbers."""

    begun: float = field(default_factory=time.monotonic)
    rounds: int = 0
    starts: int = 0
    quotas: int = 0
    """Starts under a disk that tells late that it is full."""
    ends: Counter[str] = field(default_factory=Counter)
    """How gdl ended, how often."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """What gdl said of items, how often."""
    behaviours: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    """The server's counts, and ``files`` and ``file bytes`` of the rounds that are over."""
    _said: float = 0.0

    @property
    def seconds(self) -> float:
        """Since the torture began."""
        return time.monotonic() - self.begun

    @property
    def due(self) -> bool:
        """Whether a line of progress is."""
        return self.seconds - self._said >= EVERY

    def progress(self, counts: Mapping[str, Any], done: int, files: int) -> None:
        """Say how far the round is: ``done`` of its ``files`` are there; ``counts`` are its server's."""
        self._said = self.seconds
        honest = counts["behaviours"].get("honest", 0)
        signals = self.ends.total() - self.ends["by itself"] - self.ends["on a full disk"]
        print(
            f"{self.seconds:5.0f} s, round {self.rounds + 1}: {done} of {files} files; {self.starts} starts,"
            f" {signals} ended by a signal; this round {counts.get('requests', 0):,} requests,"
            f" {counts.get('requests', 0) - honest:,} of them gone wrong",
            flush=True,
        )

    def served(self, counts: Mapping[str, Any], files: int, size: int) -> None:
        """Take note of a round that is over, with its server's last counts and the bytes of its files."""
        self.rounds += 1
        self.behaviours.update(counts["behaviours"])
        self.counts.update({name: count for name, count in counts.items() if isinstance(count, int)})
        self.counts.update({"files": files, "file bytes": size})

    def summary(self) -> str:
        """The tables."""
        counts = self.counts
        share = counts["bytes"] / max(1, counts["file bytes"])
        files = f"{counts['files']:,} files of {counts['file bytes'] / 1e6:,.0f} MB"
        ranges = f"{counts['ranges']:,} with a Range, {counts['ranges without If-Range']:,} of them without If-Range"
        starts = f"{self.starts} starts, {self.quotas} of them on a disk that says late that it is full"
        lines = [
            f"{self.rounds} rounds, {starts}, {self.seconds:,.0f} seconds",
            f"{files}; served {counts['bytes'] / 1e6:,.0f} MB, {share:.2f} times as much",
            f"{counts['requests']:,} requests on {counts['connections']:,} connections, {ranges}",
            *_table("how gdl ended", self.ends),
            *_table("what it said of items", self.outcomes),
            *_table("what the server did", self.behaviours),
        ]
        return "\n".join(lines)


def _table(title: str, rows: Counter[str]) -> list[str]:
    width = max(map(len, rows), default=0)
    return ["", title, *(f"  {name:<{width}}  {count:>9,}" for name, count in rows.most_common())]
