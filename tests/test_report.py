"""Lines and the closing summary: what a run tells people."""

from __future__ import annotations

from typing import Any

import pytest

from downloader import errors
from downloader.items import Address, Item, Result, Tally
from downloader.report import Counters, Level, Lines, summary

ITEM = Item(Address("https://h/a.jpg"), source="urls.txt", line=12)
PAGE = errors.NotMedia('server sent an HTML page, 2.1 kB, titled "Sign in"')
HOSTILE = "a\x1b]0;owned\x07\r\nb\x9b2J\u202ec\udc80"


def saved(**changes: Any) -> Result:
    fields: dict[str, Any] = {"url": "https://h/cat.jpg", "status": "saved", "path": "pics/cat.jpg"}
    return Result(**fields | {"bytes": 21_034} | changes)


def failed(error: errors.ItemError = PAGE, **changes: Any) -> Result:
    fields: dict[str, Any] = {"url": "https://h/a.jpg", "status": "failed", "reason": str(error), "error": error}
    return Result(**fields | {"source": "urls.txt", "line": 12, "text": b"https://me:pw@h/a.jpg"} | changes)


def skipped(reason: str = "exists") -> Result:
    return Result(url="https://h/b.jpg", status="skipped", reason=reason, path="b.jpg")


# Lines.


def told(level: Level, *results: Result) -> list[str]:
    lines: list[str] = []
    listener = Lines(lines.append, level)
    for result in results:
        listener.finished(result)
    listener.retrying(ITEM, errors.ConnectError("connection refused"), 1.5, 1)
    listener.noted("8 requests at once to h")
    listener.warned("unknown option in list: foo")
    return lines


SAVED = "saved   pics/cat.jpg  21.0 kB"
FAILED = 'failed  https://h/a.jpg: server sent an HTML page, 2.1 kB, titled "Sign in" (urls.txt:12)'
WARNED = "warning: unknown option in list: foo"


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        (Level.QUIET, ["gdl: " + FAILED.replace("  ", " ", 1)]),
        (Level.BARS, [FAILED, WARNED]),
        (Level.PLAIN, [SAVED, FAILED, WARNED]),
        (
            Level.VERBOSE,
            [
                SAVED,
                FAILED,
                "skipped b.jpg: exists",
                "retry   https://h/a.jpg in 1.5 s: connection refused (attempt 1)",
                "8 requests at once to h",
                WARNED,
            ],
        ),
    ],
)
def test_each_level_tells_what_it_should(level: Level, lines: list[str]) -> None:
    assert told(level, saved(), failed(), skipped()) == lines


def test_a_bad_line_names_its_place_once() -> None:
    bad = failed(errors.InputError("urls.txt:12: this line has no URL"), url=None)
    assert told(Level.QUIET, bad) == ["gdl: failed urls.txt:12: this line has no URL"]


def test_a_failed_argument_has_no_place() -> None:
    argument = failed(errors.StatusError("404 Not Found", status=404), source="argument", line=0)
    assert told(Level.QUIET, argument) == ["gdl: failed https://h/a.jpg: 404 Not Found"]


def test_what_a_stop_interrupted_is_not_told_above_the_bars() -> None:
    interrupted = failed(errors.Interrupted("the run was stopped"))
    assert told(Level.BARS, interrupted) == [WARNED]
    assert len(told(Level.QUIET, interrupted)) == 1


@pytest.mark.parametrize("level", Level)
def test_no_result_can_forge_a_line_or_an_escape_sequence(level: Level) -> None:
    results = (saved(path=HOSTILE), failed(errors.NotMedia(HOSTILE), url=HOSTILE, source=HOSTILE), skipped(HOSTILE))
    for line in told(level, *results):
        assert line.isprintable()


# Summary.


def counted(*results: Result) -> Counters:
    counters = Counters()
    for result in results:
        counters.finished(result)
    return counters


def test_the_summary_tells_what_came_of_everything() -> None:
    counters = counted(
        *[skipped()] * 3,
        skipped("duplicate"),
        failed(),
        failed(errors.StatusError("404 Not Found", status=404)),
        saved(),
    )
    tally = Tally(read=37, exhausted=True, saved=31, skipped=4, failed=2, bytes=12_400_000, received=12_400_000)
    assert summary(tally, counters, 8.2, failed_list="failed.txt") == [
        "31 saved (12.4 MB in 8.2 s, 1.5 MB/s), 4 skipped (3 exists, 1 duplicate), 2 failed (1 http, 1 not-media)",
        "what failed is in failed.txt, ready to be fed back in",
    ]


def test_the_summary_of_a_run_without_trouble_is_one_line() -> None:
    tally = Tally(read=1, exhausted=True, saved=1, bytes=500, received=500)
    assert summary(tally, Counters(), 0.5) == ["1 saved (500 B in 0.5 s, 1.0 kB/s)"]
    assert summary(Tally(exhausted=True), Counters(), 0.0) == ["nothing to download"]
    assert summary(Tally(exhausted=True, skipped=2), counted(skipped(), skipped()), 0.0) == ["2 skipped (2 exists)"]


def test_the_rate_of_a_continued_file_counts_only_what_was_received() -> None:
    tally = Tally(exhausted=True, saved=1, bytes=5_000_000_000, received=10_000_000)
    assert summary(tally, Counters(), 10) == ["1 saved (5.0 GB; received 10.0 MB in 10 s, 1.0 MB/s)"]


def test_what_was_found_out_of_hosts_comes_before_what_came_of_the_files() -> None:
    tally = Tally(read=1, exhausted=True, saved=1, bytes=500, received=500)
    hosts = ["h: 24 at once; asked to slow down once", "b: down (a\x1bb)"]
    *told, last = summary(tally, Counters(), 0.5, hosts=hosts, stopped="stopped by Ctrl-C")
    assert told[:2] == ["h: 24 at once; asked to slow down once", "b: down (a\ufffdb)"]
    assert told[2].startswith("stopped by Ctrl-C")
    assert last == "1 saved (500 B in 0.5 s, 1.0 kB/s)"


def test_a_stopped_run_says_so_first_and_what_to_do() -> None:
    tally = Tally(read=3, saved=1, failed=2, bytes=500, received=500)
    counters = counted(*[failed(errors.Interrupted("the run was stopped"))] * 2)
    assert summary(tally, counters, 1, stopped="stopped by Ctrl-C") == [
        "stopped by Ctrl-C, the list was not read to its end: run the same command again to go on",
        "1 saved (500 B in 1 s, 500 B/s), 2 failed (2 interrupted)",
    ]
    assert summary(Tally(exhausted=True), Counters(), 1, stopped="stopped: No space left on device") == [
        "stopped: No space left on device: mend that, then run the same command again to go on"
    ]
