"""What a run says, where, and with which exit code it ends."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support.cli import run_gdl
from support.samples import picture

from downloader.console import Display, ExitCode
from downloader.report import Level

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.cli import RunGdl

BODY = picture(1, 5000)


@pytest.mark.parametrize(
    ("display", "bars", "level"),
    [
        (Display(), False, Level.PLAIN),
        (Display(), True, Level.BARS),
        (Display(progress="lines"), False, Level.PLAIN),
        (Display(progress="none"), False, Level.BARS),
        (Display(verbose=True), False, Level.VERBOSE),
        (Display(verbose=True), True, Level.VERBOSE),
        (Display(verbose=True, progress="none"), False, Level.VERBOSE),
        (Display(quiet=True), False, Level.QUIET),
        (Display(quiet=True, progress="bars"), False, Level.QUIET),
    ],
)
def test_how_much_is_told(display: Display, bars: bool, level: Level) -> None:
    assert display.level(bars=bars) == level


def test_exit_codes_are_those_that_scripts_know() -> None:
    codes = {"OK": 0, "FAILED": 1, "USAGE": 2, "STOPPED": 3, "SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}
    assert {code.name: code.value for code in ExitCode} == codes


@dataclass(frozen=True)
class Finished:
    """What came of one run, and the folder where."""

    folder: Path
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


def run_there(server: f.FaultServer, folder: Path, arguments: Sequence[str], env: dict[str, str]) -> Finished:
    """Download two good files, one that takes a retry, one that is gone and one that is there."""
    folder.mkdir()
    (folder / "there.jpg").write_bytes(b"mine")
    path = f"/{folder.name}"
    urls = [
        server.route(f"{path}/a.jpg", f.ok(BODY)),
        server.route(f"{path}/b.jpg", f.ok(BODY)),
        server.route(f"{path}/flaky.jpg", f.status(503), f.ok(BODY)),
        server.route(f"{path}/gone.jpg", f.status(404)),
        server.url(f"{path}/there.jpg"),
    ]
    (folder / "urls.txt").write_text("".join(f"{url}\n" for url in urls))
    done = run_gdl("urls.txt", *arguments, cwd=folder, env=env)
    return Finished(folder, done.returncode, done.stdout, done.stderr)


FLAGS: dict[str, tuple[list[str], dict[str, str]]] = {
    "plain": ([], {}),
    "quiet": (["-q"], {}),
    "verbose": (["-v"], {}),
    "none": (["--progress", "none"], {}),
    "lines": (["--progress", "lines"], {}),
    "bars": (["--progress", "bars"], {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}),
    "json": (["--json", "-q"], {}),
    "insecure": (["--insecure"], {}),
    "insecure and quiet": (["--insecure", "-q"], {}),
    "failed": (["--failed", "failed.txt", "--log-file", "log.txt", "-q"], {}),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """The same list downloaded with all these flags, a few runs at a time."""
    folder = tmp_path_factory.mktemp("runs")
    with f.FaultServer() as server, ThreadPoolExecutor(4) as pool:
        running = {
            name: pool.submit(run_there, server, folder / f"run-{number}", arguments, env)
            for number, (name, (arguments, env)) in enumerate(FLAGS.items())
        }
        return {name: run.result() for name, run in running.items()}


def test_how_much_is_told_changes_nothing_about_the_files(finished: dict[str, Finished]) -> None:
    for name, done in finished.items():
        assert done.code == ExitCode.FAILED, name
        files = sorted(path.name for path in done.folder.glob("*.jpg"))
        assert files == ["a.jpg", "b.jpg", "flaky.jpg", "there.jpg"], name


def test_standard_output_is_silent_unless_it_is_asked_for_json(finished: dict[str, Finished]) -> None:
    for name in FLAGS:
        assert (finished[name].out == "") is (name != "json"), name


@pytest.mark.parametrize("name", ["plain", "lines"])
def test_plain_lines_tell_what_was_saved_and_what_failed(finished: dict[str, Finished], name: str) -> None:
    lines = finished[name].lines
    assert sum(line.startswith("saved ") for line in lines) == 3
    assert sum(line.startswith("failed ") for line in lines) == 1
    assert not any(line.startswith(("skipped ", "retry ")) for line in lines)
    (failed,) = (line for line in lines if line.startswith("failed "))
    assert "gone.jpg" in failed
    assert "404 Not Found" in failed
    assert "(urls.txt:4)" in failed
    assert "3 saved" in lines[-1]
    assert "1 skipped (1 exists)" in lines[-1]
    assert "1 failed (1 http)" in lines[-1]


def test_quiet_tells_failures_only_one_line_each(finished: dict[str, Finished]) -> None:
    (line,) = finished["quiet"].lines
    assert line.startswith("gdl: failed ")
    assert "404 Not Found" in line


def test_verbose_tells_skips_and_retries_too(finished: dict[str, Finished]) -> None:
    lines = finished["verbose"].lines
    (skipped,) = (line for line in lines if line.startswith("skipped "))
    assert skipped == "skipped there.jpg: exists"
    (retried,) = (line for line in lines if line.startswith("retry "))
    assert "flaky.jpg" in retried
    assert "503" in retried
    assert "(attempt 1)" in retried
    assert sum(line.startswith("saved ") for line in lines) == 3


def test_without_progress_only_trouble_and_the_summary_are_told(finished: dict[str, Finished]) -> None:
    lines = finished["none"].lines
    assert not any(line.startswith("saved ") for line in lines)
    assert sum(line.startswith("failed ") for line in lines) == 1
    assert "3 saved" in lines[-1]


def test_bars_are_drawn_where_they_are_asked_for_and_nowhere_else(finished: dict[str, Finished]) -> None:
    assert "\x1b" in finished["bars"].err or "\r" in finished["bars"].err
    assert "404 Not Found" in finished["bars"].err
    for name in FLAGS.keys() - {"bars"}:
        assert not re.search(r"[\x1b\r]", finished[name].err), name


def test_a_run_without_checks_is_warned_of_once_unless_quiet(finished: dict[str, Finished]) -> None:
    assert finished["insecure"].err.count("--insecure") == 1
    assert "--insecure" not in finished["insecure and quiet"].err


def test_json_and_quiet_go_together(finished: dict[str, Finished]) -> None:
    done = finished["json"]
    statuses = sorted(json.loads(line)["status"] for line in done.out.splitlines())
    assert statuses == ["failed", "saved", "saved", "saved", "skipped"]
    assert len(done.lines) == 1


def test_the_failed_list_and_the_log_are_written_besides(finished: dict[str, Finished]) -> None:
    folder = finished["failed"].folder
    lines = [line for line in (folder / "failed.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 1
    assert lines[0].endswith("/gone.jpg")
    log = (folder / "log.txt").read_text()
    for name in ("a.jpg", "b.jpg", "flaky.jpg", "gone.jpg", "404"):
        assert name in log


def test_all_saved_or_skipped_is_a_success(gdl: RunGdl, faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.ok(BODY))
    for status in ("saved", "skipped"):
        done = gdl("--json", "-q", url, url)
        assert (done.returncode, done.stderr) == (ExitCode.OK, "")
        assert done.results[0]["status"] in (status, "skipped")
        assert {result["status"] for result in done.results} <= {"saved", "skipped"}


def test_the_summary_counts_bytes_and_time(gdl: RunGdl, faults: f.FaultServer) -> None:
    done = gdl(faults.route("/a.jpg", f.ok(BODY)))
    assert done.returncode == ExitCode.OK
    assert re.search(r"^1 saved \(5\.0 kB in [\d.]+ s, [\d.]+ [kM]?B/s\)$", done.stderr.splitlines()[-1])


def test_credentials_are_never_told(gdl: RunGdl, faults: f.FaultServer, tmp_path: Path) -> None:
    url = faults.route("/a.jpg", f.status(403)).replace("http://", "http://me:s3cret@")
    done = gdl("-v", "--json", "--log-file", "log.txt", "--retries", "0", "-H", "Authorization: s3cret-too", url)
    assert done.returncode == ExitCode.FAILED
    for text in (done.stdout, done.stderr, (tmp_path / "log.txt").read_text()):
        assert text
        assert "s3cret" not in text
