"""What a run says, where, and with which exit code it ends."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support.cli import run_gdl
from support.samples import picture

from downloader.console import Display, ExitCode
from downloader.report import Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.cli import Completed, RunGdl

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


class Runs:
    """One list, downloaded with different flags: two good files, one that takes a retry, one gone, one there."""

    def __init__(self, server: f.FaultServer, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def __call__(self, number: int, arguments: Sequence[str], env: dict[str, str]) -> Completed:
        folder = self.folder / str(number)
        folder.mkdir()
        (folder / "there.jpg").write_bytes(b"mine")
        path = f"/{number}"
        urls = [
            self.server.route(f"{path}/a.jpg", f.ok(BODY)),
            self.server.route(f"{path}/b.jpg", f.ok(BODY)),
            self.server.route(f"{path}/flaky.jpg", f.status(503), f.ok(BODY)),
            self.server.route(f"{path}/gone.jpg", f.status(404)),
            self.server.url(f"{path}/there.jpg"),
        ]
        (folder / "urls.txt").write_text("".join(f"{url}\n" for url in urls))
        done = run_gdl("urls.txt", *arguments, cwd=folder, env=env)
        assert sorted(path.name for path in folder.glob("*.jpg")) == ["a.jpg", "b.jpg", "flaky.jpg", "there.jpg"]
        assert done.returncode == ExitCode.FAILED
        return done


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
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Completed]]:
    folder = tmp_path_factory.mktemp("runs")
    with f.FaultServer() as server, ThreadPoolExecutor(4) as pool:
        runs = Runs(server, folder)
        started = {
            name: pool.submit(runs, number, arguments, env)
            for number, (name, (arguments, env)) in enumerate(FLAGS.items())
        }
        done = {name: future.result() for name, future in started.items()}
    # Where the files of that run lie.
    number = list(FLAGS).index("failed")
    done["log"] = done["failed"].__class__(
        0, (folder / str(number) / "failed.txt").read_text(), (folder / str(number) / "log.txt").read_text()
    )
    yield done


def test_standard_output_is_silent_unless_it_is_asked_for_json(finished: dict[str, Completed]) -> None:
    for name in FLAGS:
        assert (finished[name].stdout == "") is (name != "json"), name


@pytest.mark.parametrize("name", ["plain", "lines"])
def test_plain_lines_tell_what_was_saved_and_what_failed(finished: dict[str, Completed], name: str) -> None:
    lines = finished[name].stderr.splitlines()
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


def test_quiet_tells_failures_only_one_line_each(finished: dict[str, Completed]) -> None:
    (line,) = finished["quiet"].stderr.splitlines()
    assert line.startswith("gdl: failed ")
    assert "404 Not Found" in line


def test_verbose_tells_skips_and_retries_too(finished: dict[str, Completed]) -> None:
    lines = finished["verbose"].stderr.splitlines()
    (skipped,) = (line for line in lines if line.startswith("skipped "))
    assert skipped == "skipped there.jpg: exists"
    (retried,) = (line for line in lines if line.startswith("retry "))
    assert "flaky.jpg" in retried
    assert "503" in retried
    assert "(attempt 1)" in retried
    assert sum(line.startswith("saved ") for line in lines) == 3


def test_without_progress_only_trouble_and_the_summary_are_told(finished: dict[str, Completed]) -> None:
    lines = finished["none"].stderr.splitlines()
    assert not any(line.startswith("saved ") for line in lines)
    assert sum(line.startswith("failed ") for line in lines) == 1
    assert "3 saved" in lines[-1]


def test_bars_are_drawn_where_they_are_asked_for_and_nowhere_else(finished: dict[str, Completed]) -> None:
    assert "\x1b" in finished["bars"].stderr or "\r" in finished["bars"].stderr
    assert "404 Not Found" in finished["bars"].stderr
    for name in FLAGS.keys() - {"bars"}:
        assert not re.search(r"[\x1b\r]", finished[name].stderr), name


def test_a_run_without_checks_is_warned_of_once_unless_quiet(finished: dict[str, Completed]) -> None:
    assert finished["insecure"].stderr.count("--insecure") == 1
    assert "--insecure" not in finished["insecure and quiet"].stderr


def test_json_and_quiet_go_together(finished: dict[str, Completed]) -> None:
    done = finished["json"]
    statuses = sorted(result["status"] for result in done.results)
    assert statuses == ["failed", "saved", "saved", "saved", "skipped"]
    assert len(done.stderr.splitlines()) == 1


def test_the_failed_list_and_the_log_are_written_besides(finished: dict[str, Completed]) -> None:
    failed, log = finished["log"].stdout, finished["log"].stderr
    lines = [line for line in failed.splitlines() if not line.startswith("#")]
    assert len(lines) == 1
    assert lines[0].endswith("/gone.jpg")
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
