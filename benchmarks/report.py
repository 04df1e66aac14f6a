"""What a case found out, as Markdown for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.measure import MB, Series, median, ratios

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure that matters, next to what the project wants it to be."""

    text: str
    value: float
    unit: Literal["", "MB", "MB/s", "s", "ms", "/s", "%"] = ""
    most: float | None = None
    """The project's target; None for a figure that is only told."""

    def __str__(self) -> str:
        whole = self.unit == "/s" or isinstance(self.value, int)
        value = f"{self.value:,.0f}" if whole else f"{self.value:.2f}"
        unit = self.unit if self.unit == "/s" else f" {self.unit}".rstrip()
        if self.most is None:
            return f"{self.text}: {value}{unit}"
        verdict = "met" if self.value <= self.most else "MISSED"
        return f"{self.text}: {value}{unit} (target: at most {self.most:g}{unit}; {verdict})"


@dataclass(slots=True)
class Report:
    """A case's series, the first of them the one the others are compared with."""

    case: str
    title: str
    series: list[Series] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    paired: bool = True
    """Whether the runs of the series did the same work side by side, so that their ratios mean something."""

    def markdown(self) -> str:
        """A heading, a table with a row for each command, and the facts."""
        first = self.series[0]
        runs = len(first.runs)
        lines = [f"### {self.case}: {self.title}", ""]
        heads = ["command", "CPU s", "wall s", "peak RSS MB"]
        if self.paired:
            heads += [f"CPU, `{first.label}` / this", "wall"]
        more = list(first.told)
        heads += more
        lines += [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
        for one in self.series:
            cells = [f"`{one.label}`", _spread(one.cpu), _spread(one.wall), f"{one.peak / MB:.1f}"]
            if self.paired:
                compared = [] if one is first else [ratios(first.cpu, one.cpu), ratios(first.wall, one.wall)]
                cells += [_spread(values) for values in compared] or ["1", "1"]
            cells += [_counted(one.told[name]) for name in more]
            lines.append(_row(cells))
        lines += ["", f"{runs} paired runs; median (min-max)." if runs > 1 else "One run.", ""]
        lines += [f"- {line}" for line in (*map(str, self.facts), *self.notes)]
        return "\n".join(lines).rstrip() + "\n"

    def plain(self) -> dict[str, Any]:
        """The same for JSON, each run by itself."""
        return {
            "case": self.case,
            "title": self.title,
            "series": [
                {
                    "command": one.label,
                    "cpu": one.cpu,
                    "wall": one.wall,
                    "peak": [run.peak for run in one.runs],
                    **one.told,
                }
                for one in self.series
            ],
            "facts": [
                {"text": fact.text, "value": fact.value, "unit": fact.unit, "most": fact.most} for fact in self.facts
            ],
            "notes": self.notes,
        }


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return _number(values[0])
    return f"{_number(median(values))} ({_number(min(values))}-{_number(max(values))})"


def _counted(values: Sequence[float]) -> str:
    """Numbers of things without decimals, anything else as usual."""
    if not all(isinstance(value, int) for value in values):
        return _spread(values)
    return f"{median(values):.10g}" + (f" ({min(values)}-{max(values)})" if len(values) > 1 else "")


def _number(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
