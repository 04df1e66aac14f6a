"""The benchmarks still run: tiny cases, whose figures mean nothing, from the command line to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.cli import REPOSITORY
from support.processes import accepts, find_program

from benchmarks.bench import Bench
from benchmarks.cases import huge
from benchmarks.measure import MB, Series, Usage, ratios, run
from benchmarks.report import Fact, Report
from benchmarks.server import serving
from benchmarks.tools import choose

if TYPE_CHECKING:
    from pathlib import Path


def bench(folder: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What a run prints, and what it writes as JSON."""
    find_program("nginx")
    find_program("openssl")
    written = folder / "found.json"
    command = [sys.executable, "-m", "benchmarks", "--runs", "1", "--scratch", str(folder), "--json", str(written)]
    done = subprocess.run(
        [*command, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(written.read_text())


def test_a_tiny_case_of_each_kind_runs_and_reports(tmp_path: Path) -> None:
    cases = ["small-https", "small-bars", "million-ok", "million-fail"]
    printed, found = bench(tmp_path, "--tools", "gdl", "--count", "5", *cases)
    assert [case["case"] for case in found["cases"]] == cases
    assert "| `gdl -q` |" in printed
    for case in found["cases"]:
        for series in case["series"]:
            assert series["cpu"][0] > 0
            assert series["peak"][0] > 1_000_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["found.json"]


def test_peers_are_measured_beside_gdl(tmp_path: Path) -> None:
    find_program("curl")
    printed, found = bench(tmp_path, "--tools", "curl", "--count", "5", "small-http")
    (case,) = found["cases"]
    assert [series["command"] for series in case["series"]] == ["gdl -q", "curl -Z"]
    assert "CPU of gdl to that of curl" in printed


def test_a_huge_file_is_measured_against_a_smaller_one(tmp_path: Path) -> None:
    find_program("nginx")
    find_program("openssl")
    folders = [tmp_path / name for name in ("data", "nginx", "scratch")]
    for folder in folders:
        folder.mkdir()
    with serving(folders[0], folders[1]) as server:
        report = huge(Bench(server, folders[0], folders[2], choose(["gdl"]), runs=1), size=2 * MB, smaller=MB)
    assert [len(series.runs) for series in report.series] == [1]
    assert any(fact.text == "more than with 1 MB" for fact in report.facts)


def test_a_case_that_does_not_exist_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "smal"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such case: smal" in done.stderr


def test_a_process_is_measured_by_itself(tmp_path: Path) -> None:
    """Not with the memory of its parent, which runs the tests and is large."""
    ballast = bytearray(100_000_000)
    busy = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nraise SystemExit(7)"
    usage = run([sys.executable, "-c", busy], tmp_path)
    assert usage.code == 7
    assert 0.2 <= usage.cpu < 20
    assert usage.peak < len(ballast) / 2
    assert usage.wall > 0


def test_a_command_that_cannot_be_started_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such-program"):
        run([str(tmp_path / "no-such-program")], tmp_path)


def test_ratios_are_of_pairs() -> None:
    assert ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]


def test_a_report_says_whether_a_target_is_met() -> None:
    series = [
        Series("one", [Usage(0, 0.0, 2.0, 1.0, 1.0, 50_000_000)]),
        Series("two", [Usage(0, 0, 1, 1, 0, 10_000_000)]),
    ]
    facts = [Fact("ratio", 2.5, most=2.0), Fact("peak", 50.0, "MB", 70.0), Fact("speed", 12345.6, "/s")]
    text = Report("case", "what it is", series, facts, ["a note"]).markdown()
    assert "| `one` | 2.00 | 2.00 | 50.0 | 1 | 1 |" in text
    assert "| `two` | 1.00 | 1.00 | 10.0 | 2.00 | 2.00 |" in text
    assert "- ratio: 2.50 (target: at most 2; MISSED)" in text
    assert "- peak: 50.00 MB (target: at most 70 MB; met)" in text
    assert "- speed: 12,346/s\n- a note" in text


def test_the_server_is_stopped_with_its_context(tmp_path: Path) -> None:
    find_program("nginx")
    find_program("openssl")
    with serving(tmp_path, tmp_path) as server:
        port = int(server.http.rpartition(":")[2])
        assert accepts(port)
    assert not accepts(port)
