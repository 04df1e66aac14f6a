"""The benchmarks still run: tiny cases, whose figures mean nothing, from the command line to the report."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.benches import workplace
from support.cli import REPOSITORY
from support.processes import accepts, find_program

from benchmarks.bench import Bench
from benchmarks.cases import huge
from benchmarks.measure import MB, Series, Usage, ratios, run, together
from benchmarks.ranges import kill_moments, killed, per_run
from benchmarks.report import Fact, Report
from benchmarks.server import Sent, parse_log, serving
from benchmarks.slices import SCENARIOS
from benchmarks.tools import SPLITTING, Tool, choose, left_out

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
    with workplace(tmp_path) as place:
        report = huge(Bench(*place, choose(["gdl"]), runs=1), size=2 * MB, smaller=MB)
    assert [len(series.runs) for series in report.series] == [1]
    assert any(fact.text == "more than with 1 MB" for fact in report.facts)


def test_one_file_is_split_by_gdl_and_its_peers(tmp_path: Path) -> None:
    find_program("axel")
    for _ in range(3):  # axel ends with an error now and then, and is left out then
        printed, found = bench(tmp_path, "--tools", "axel", "--count", "3", "split", "split-strict")
        plain, strict = found["cases"]
        if all(len(case["series"]) == 2 for case in (plain, strict)):
            break
    assert (plain["case"], strict["case"]) == ("split", "split-strict")
    for case in (plain, strict):
        assert [series["command"] for series in case["series"]] == ["gdl -q --split 16", "axel -n 16"]
        assert [fact["text"] for fact in case["facts"]] == ["wall time of gdl to that of axel", "one connection gets"]
        assert [note.partition(" needs ")[0] for note in case["notes"]] == ["`gdl -q --split 16`", "`axel -n 16`"]
    assert [case["facts"][0]["most"] for case in (plain, strict)] == [1.0, None]
    assert printed.count("(target: at most 1;") == 1


def test_a_limit_is_strict_or_what_nginx_does_by_itself(tmp_path: Path) -> None:
    find_program("nginx")
    find_program("openssl")
    with serving(tmp_path, tmp_path) as server:
        limits = [server.limited(4096, "a"), server.limited(16384, "b"), server.limited(4096, "c", plainly=True)]
    assert [limit.removeprefix(server.http) for limit in limits] == [
        "/slowly/4096k/a",
        "/quickly/16384k/b",
        "/plainly/4096k/c",
    ]
    config = (tmp_path / "nginx.conf").read_text()
    assert config.count("limit_rate $rate;") == 3
    assert re.findall(r"sendfile_max_chunk (\w+);", config) == ["64k", "1024k"]


def test_bytes_are_counted_for_a_file_whose_download_is_killed(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        names = frozenset({"gdl"})
        work = Bench(*place, choose(names), count=2, names=names, seed=7)
        report = killed(work, seconds=1.0, kills=2)
    assert [series.label for series in report.series] == ["gdl -q", "gdl -q --split 4"]
    assert [fact.most for fact in report.facts] == [1.05, 1.05]
    assert all(fact.value >= 1 for fact in report.facts)
    assert "(--seed 7)" in report.notes[0]


def test_slices_of_every_kind_of_run_are_measured(tmp_path: Path) -> None:
    printed, found = bench(tmp_path, "--count", "500", "slices")
    (case,) = found["cases"]
    assert [series["command"] for series in case["series"]] == [scenario.label for scenario in SCENARIOS]
    for series, fact in zip(case["series"], case["facts"], strict=True):
        (longest,), (count,) = series["longest slice ms"], series["slices"]
        assert (fact["value"], fact["unit"], fact["most"]) == (longest, "ms", 50)
        assert longest > 0
        assert count > 5
    assert "| longest slice ms | slices |" in printed


def test_the_longest_slice_is_found_and_what_ran_then(tmp_path: Path) -> None:
    program = """
import sys, time
from benchmarks import traced
from downloader import engine

def busy(self, item):
    end = time.thread_time() + 0.3
    while time.thread_time() < end: pass
    admit(self, item)

admit, engine.Engine._admit = engine.Engine._admit, busy
traced.main()
"""
    (tmp_path / "urls.txt").write_text("not a url\n")
    arguments = [str(tmp_path / "found.json"), "0", "-o", str(tmp_path / "out"), str(tmp_path / "urls.txt")]
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=REPOSITORY, check=False, timeout=60)
    assert done.returncode == 1
    found = json.loads((tmp_path / "found.json").read_text())
    longest, *others = found["longest"]
    assert longest["seconds"] >= 0.3 > others[0]["seconds"]
    assert "_feed" in longest["ran"]


def test_another_checkout_is_measured_beside_this_one(tmp_path: Path) -> None:
    checkout = tmp_path / "other"
    shutil.copytree(REPOSITORY / "downloader", checkout / "downloader")
    (checkout / "downloader" / "_version.py").write_text('__version__ = "98.7"\n')
    printed, found = bench(
        tmp_path, "--tools", "gdl", "--against", str(checkout), "--count", "5", "startup", "small-http"
    )
    assert found["machine"]["gdl (other)"] == "gdl 98.7"
    startup, small = ([series["command"] for series in case["series"]] for case in found["cases"])
    assert "gdl (other) -q /dev/null" in startup
    assert small == ["gdl -q", "gdl (other) -q"]
    assert "CPU of gdl to that of gdl (other)" in printed


def test_a_folder_without_gdl_is_no_checkout(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--against", str(tmp_path), "startup"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--against" in done.stderr


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


def test_a_command_is_killed_when_its_time_is_up(tmp_path: Path) -> None:
    usage = run([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path, kill_after=0.1)
    assert usage.code == -signal.SIGKILL


def test_a_command_that_ends_in_time_is_not_killed(tmp_path: Path) -> None:
    assert run([sys.executable, "-c", "raise SystemExit(7)"], tmp_path, kill_after=600).code == 7


def test_several_starts_count_as_one_command() -> None:
    starts = [Usage(-9, 10.0, 2.0, 1.0, 0.5, 40), Usage(-9, 12.0, 1.0, 0.5, 0.5, 50), Usage(0, 13.0, 3.0, 1.0, 1.0, 30)]
    assert together(starts) == Usage(0, 10.0, 6.0, 2.5, 2.0, 50)


@given(st.integers(), st.integers(1, 50), st.floats(0.001, 1000))
def test_kills_come_in_order_and_in_time_and_again_for_the_same_seed(seed: int, count: int, seconds: float) -> None:
    moments = kill_moments(seed, count, seconds)
    assert len(moments) == count
    assert moments == sorted(moments)
    assert moments[0] >= 0
    assert moments[-1] <= seconds * (1 + 1e-9)
    assert moments == kill_moments(seed, count, seconds)


def test_what_the_server_sent_is_read_from_its_log() -> None:
    sent = parse_log("split-gdl 3 1000\nsplit-gdl 3 500\nkilled-1-curl 4 0\n")
    assert sent == [Sent("split-gdl", 3, 1000), Sent("split-gdl", 3, 500), Sent("killed-1-curl", 4, 0)]
    assert per_run(sent, 2) == "1.5 requests over 1.0 connections for each download"


def test_tools_are_chosen_by_name_with_gdl_first() -> None:
    assert [tool.label for tool in choose(["gdl"], SPLITTING)] == ["gdl -q --split 16"]
    with pytest.raises(ValueError, match="no-such-tool"):
        choose(["gdl", "no-such-tool"])


def test_a_peer_that_is_not_installed_is_named_unless_others_were_asked_for() -> None:
    absent = Tool("no-such-tool", "no-such-tool -n 16", lambda _: [])
    assert left_out(None, [*SPLITTING[:1], absent]) == ["`no-such-tool -n 16` is left out: not installed"]
    assert left_out(["gdl"], [absent]) == []


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
