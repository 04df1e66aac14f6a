"""What people are told of hosts that slow a run down, are to be left alone, or are down."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import faults as f
from support.samples import picture
from support.terminal import TerminalGdl

from downloader.hosts import Host
from downloader.troubles import BRIEF, COLUMNS, LISTED, LONG, RECENT, REMEMBERED, WARNINGS, Troubles, label

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.cli import RunGdl
    from support.faultserver import Connection, Request, Response

A, B, C = "https://example.org:443", "http://b.example:8080", "http://dead.example:80"
NOW = 1000.0
BODY = picture(1, 5000)


class Told:
    """Troubles, and the lines they made: a warning starts with an exclamation mark."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.troubles = Troubles(self.lines.append, lambda line: self.lines.append(f"! {line}"))

    def take(self) -> list[str]:
        lines = self.lines[:]
        self.lines.clear()
        return lines


@pytest.fixture
def told() -> Told:
    return Told()


def host(name: str, level: int, *, highest: int = 0, answers: int = 1) -> Host:
    made = Host(name, 96)
    made.limit.level, made.limit.highest, made.answers = level, highest, answers
    return made


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("https://example.org:443", "example.org"),
        ("http://example.org:80", "example.org"),
        ("http://example.org:443", "example.org:443"),
        ("https://example.org:8443", "example.org:8443"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("https://[::1]:443", "[::1]"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_a_host_is_named_without_what_goes_without_saying(key: str, name: str) -> None:
    assert label(key) == name


# Lines.


def test_a_change_of_a_limit_is_a_note_with_its_reason(told: Told) -> None:
    told.troubles.changed(A, 18, "it keeps up")
    told.troubles.changed(B, 12, "it refused more")
    assert told.take() == ["example.org: 18 at once: it keeps up", "b.example:8080: 12 at once: it refused more"]


def test_a_host_that_is_down_is_warned_of_and_noted_when_it_is_back(told: Told) -> None:
    told.troubles.down(A, 3, "failed to connect to example.org:443 (Connection refused)")
    told.troubles.back(A)
    told.troubles.down(A, 4, "nothing came for 30 s")
    assert told.take() == [
        "! example.org is down: gave up after 3 tries: connection refused",
        "example.org answers again",
        "example.org is down: gave up after 4 tries: nothing came for 30 s",
    ]


@pytest.mark.parametrize(
    ("why", "cause"),
    [
        ("failed to connect to dead.example:80 (No route to host)", "no route to host"),
        ("could not resolve host: dead.example", "could not resolve host"),
        (
            "could not resolve host: dead.example (Name or service not known)",
            "could not resolve host: name or service not known",
        ),
        ("could not resolve host: proxy.example", "could not resolve host: proxy.example"),
        ("the server closed the connection (RST)", "the server closed the connection (RST)"),
        ("x" * 1000, "x" * 119 + "…"),
        ("", "no reason known"),
    ],
)
def test_the_cause_does_not_repeat_what_is_said_anyway(told: Told, why: str, cause: str) -> None:
    told.troubles.down(C, 3, why)
    assert told.troubles.found([]) == [f"dead.example: down ({cause})"]


def test_a_long_wait_is_a_warning_once_for_each_host_and_a_short_one_a_note(told: Told) -> None:
    told.troubles.held(A, NOW, NOW + LONG / 2)
    told.troubles.held(A, NOW + 10, NOW + 40)
    told.troubles.held(A, NOW + 50, NOW + 80)
    told.troubles.held(B, NOW, NOW + LONG)
    assert told.take() == [
        "example.org wants to be left alone for 2.5 s",
        "! example.org wants to be left alone for 30 s",
        "example.org wants to be left alone for 30 s",
        "! b.example:8080 wants to be left alone for 5 s",
    ]


def test_one_burst_of_refusals_is_one_line(told: Told) -> None:
    for refusal in range(20):
        told.troubles.held(A, NOW + refusal / 100, NOW + refusal / 100 + 1)
        told.troubles.held(B, NOW + refusal / 100, NOW + refusal / 100 + 60)
    assert told.take() == [
        "example.org wants to be left alone for 1 s",
        "! b.example:8080 wants to be left alone for 1m00s",
    ]
    told.troubles.held(B, NOW + 1, NOW + 200)
    assert told.take() == ["b.example:8080 wants to be left alone for 3m19s"]


def test_a_host_that_cannot_be_reached_is_told_of_with_the_reason(told: Told) -> None:
    told.troubles.held(C, NOW, NOW + 0.5, "could not resolve host: dead.example")
    assert told.take() == ["dead.example cannot be reached, next try in 0.5 s: could not resolve host"]


def test_a_host_that_is_not_waited_for_is_warned_of_once(told: Told) -> None:
    for seconds in (7000, 7200, 7100):
        told.troubles.closed(A, seconds)
    assert told.take() == ["! example.org wants to be left alone for 1h56m: it is not asked any more"]
    assert told.troubles.found([]) == ["example.org: wants to be left alone for 2h00m"]


def test_warnings_of_many_hosts_become_notes(told: Told) -> None:
    for number in range(WARNINGS + 5):
        told.troubles.down(f"http://{number}.example:80", 3, "no")
    lines = told.take()
    assert [line.startswith("! ") for line in lines] == [True] * WARNINGS + [False] * 5
    assert [line for line in lines if line.endswith("(-v tells of further hosts)")] == [lines[WARNINGS - 1]]


# The display.


def test_without_trouble_the_display_says_nothing(told: Told) -> None:
    told.troubles.changed(A, 12, "it keeps up")
    assert told.troubles.shown(NOW) == ()


def test_a_host_that_waits_counts_down_to_nothing(told: Told) -> None:
    told.troubles.held(A, NOW, NOW + 12)
    shown = [told.troubles.shown(NOW + passed) for passed in (0, 0.1, 1, 11.9, 12)]
    assert [texts[0] if texts else "" for texts in shown] == [
        "example.org waits 12 s",
        "example.org waits 12 s",
        "example.org waits 11 s",
        "example.org waits 1 s",
        "",
    ]
    assert shown[0] == ("example.org waits 12 s", "1 host waits")


def test_a_wait_too_brief_to_be_read_is_not_shown(told: Told) -> None:
    told.troubles.held(A, NOW, NOW + BRIEF * 0.9)
    assert told.troubles.shown(NOW + 0.1) == ()
    told.troubles.held(A, NOW + 0.5, NOW + 10)
    assert told.troubles.shown(NOW + 9)[0] == "example.org waits 1 s"


def test_a_host_that_asked_to_slow_down_is_shown_for_a_while(told: Told) -> None:
    told.troubles.slowed(A, NOW, 12)
    assert told.troubles.shown(NOW) == ("example.org slowed to 12", "1 host slowed")
    assert told.troubles.shown(NOW + RECENT) == ()


def test_a_host_that_is_down_is_shown_until_it_answers(told: Told) -> None:
    told.troubles.held(C, NOW, NOW + 8, "no")
    told.troubles.down(C, 3, "no")
    assert told.troubles.shown(NOW) == ("dead.example down", "1 host down")
    assert told.troubles.shown(NOW + 10_000) == ("dead.example down", "1 host down")
    told.troubles.back(C)
    assert told.troubles.shown(NOW) == ()


def test_several_hosts_of_a_kind_are_counted_and_kinds_listed_the_worst_first(told: Told) -> None:
    told.troubles.slowed("http://x.example:80", NOW, 3)
    told.troubles.down(C, 3, "no")
    told.troubles.held(A, NOW, NOW + 12)
    assert told.troubles.shown(NOW) == (
        "example.org waits 12 s, dead.example down, x.example slowed to 3",
        "example.org waits 12 s, 1 down, 1 slowed",
        "example.org waits 12 s",
        "1 host waits, 1 down, 1 slowed",
        "1 host waits",
    )
    told.troubles.held(B, NOW, NOW + 60)
    assert told.troubles.shown(NOW) == (
        "2 hosts wait, dead.example down, x.example slowed to 3",
        "2 hosts wait, 1 down, 1 slowed",
        "2 hosts wait",
    )


def test_a_long_name_is_cut_in_its_middle(told: Told) -> None:
    told.troubles.down(f"https://{'very-long.' * 10}example.org:443", 3, "no")
    text = told.troubles.shown(NOW)[0]
    assert len(text) == COLUMNS + len(" down")
    assert re.fullmatch(r"very-long\..*….*\.org down", text)


EVENTS: dict[str, Callable[[Troubles, str, float], None]] = {
    "held": lambda troubles, name, now: troubles.held(name, now, now + 9),
    "briefly": lambda troubles, name, now: troubles.held(name, now, now + 0.7, "no"),
    "slowed": lambda troubles, name, now: troubles.slowed(name, now, 4),
    "closed": lambda troubles, name, _: troubles.closed(name, 1000),
    "down": lambda troubles, name, _: troubles.down(name, 3, "no"),
    "back": lambda troubles, name, _: troubles.back(name),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(EVENTS)), st.integers(0, 9), st.floats(0, 5))))
def test_whatever_happens_the_last_words_are_the_shortest_and_the_summary_is_short(
    events: list[tuple[str, int, float]],
) -> None:
    troubles, now = Troubles(), NOW
    for event, number, passed in events:
        now += passed
        EVENTS[event](troubles, f"http://{number}.example:80", now)
        shown = troubles.shown(now)
        assert len(set(shown)) == len(shown)
        assert not shown or len(shown[-1]) == min(map(len, shown))
        assert len(troubles.found([])) <= LISTED + 1


# The summary.


def test_the_summary_tells_what_each_host_was_found_to_stand(told: Told) -> None:
    told.troubles.slowed(A, NOW, 24, times=3)
    told.troubles.slowed(B, NOW, 4)
    told.troubles.slowed("http://never.example:80", NOW, 4, times=2)
    known = [host(A, 30, highest=24), host(B, 4), host("http://never.example:80", 4, answers=0)]
    assert told.troubles.found(known) == [
        "example.org: 24 at once; asked to slow down 3 times",
        "never.example: asked to slow down twice",
        "b.example:8080: 4 at once; asked to slow down once",
    ]


def test_the_summary_lists_the_most_troubled_hosts_first(told: Told) -> None:
    for number in range(4):
        told.troubles.slowed(f"http://{number}.example:80", NOW, 4, times=number + 1)
    told.troubles.closed(B, 7200)
    told.troubles.down(A, 3, "no")
    told.troubles.back(A)
    told.troubles.down(C, 3, "could not resolve host: dead.example")
    assert told.troubles.found([host(A, 8)]) == [
        "dead.example: down (could not resolve host)",
        "b.example:8080: wants to be left alone for 2h00m",
        "example.org: 8 at once; was down (no), then answered again",
        "3.example: asked to slow down 4 times",
        "2.example: asked to slow down 3 times",
        "and 2 more hosts",
    ]


def test_what_passed_by_itself_is_not_worth_a_line(told: Told) -> None:
    told.troubles.held(A, NOW, NOW + 8, "no")
    assert told.troubles.found([host(A, 8, highest=8)]) == []


def test_with_v_the_summary_tells_of_the_busiest_hosts_without_trouble(told: Told) -> None:
    told.troubles.slowed(A, NOW, 24)
    known = [host(f"http://{n}.example:80", 10 + n, highest=10 + n, answers=n) for n in range(9)]
    known += [host(A, 24, highest=24), host("http://new.example:80", 8)]
    assert told.troubles.found(known) == ["example.org: 24 at once; asked to slow down once"]
    assert told.troubles.found(known, every=True) == [
        "example.org: 24 at once; asked to slow down once",
        *(f"{n}.example: {10 + n} at once" for n in (8, 7, 6, 5, 4)),
    ]


def test_hosts_of_one_name_are_told_apart_by_their_schemes(told: Told) -> None:
    told.troubles.slowed("http://example.org:80", NOW, 4)
    told.troubles.down("https://example.org:443", 3, "no")
    assert told.troubles.found([]) == [
        "https://example.org:443: down (no)",
        "http://example.org:80: asked to slow down once",
    ]


def test_a_million_troubled_hosts_cost_no_memory(told: Told) -> None:
    for number in range(3 * REMEMBERED):
        told.troubles.slowed(f"http://{number}.example:80", NOW, 4)
        told.troubles.down(f"http://{number}.example:80", 3, "no")
        told.lines.clear()
    assert len(told.troubles._hosts) == REMEMBERED
    assert all(len(hosts) <= WARNINGS for hosts in told.troubles._warned.values())
    assert told.troubles.shown(NOW) == (f"{REMEMBERED} hosts down",)
    lines = told.troubles.found([])
    assert len(lines) == LISTED + 1
    assert lines[-1] == f"and at least {3 * REMEMBERED - LISTED} more hosts"


# A run.


def busy_at_first(times: int, pause: int) -> Response:
    """Refuse so many requests with a Retry-After, then answer."""
    left = [times]

    def respond(connection: Connection, request: Request) -> None:
        left[0] -= 1
        (f.status(503, retry_after=pause) if left[0] >= 0 else f.ok(BODY))(connection, request)

    return respond


def a_list(faults: f.FaultServer, port: int, pause: int) -> tuple[list[str], str]:
    """URLs of a host that is busy at first and of one that is not there, and the first one's name."""
    answer = busy_at_first(8, pause)
    urls = [faults.route(f"/{number}.jpg", answer) for number in range(10)]
    return [*urls, f"http://127.0.0.1:{port}/gone.jpg"], label(faults.url("").rstrip("/"))


def test_a_run_into_a_file_tells_why_nothing_happens_and_what_was_found(gdl: RunGdl, faults: f.FaultServer) -> None:
    with f.refused_port() as port:
        urls, busy = a_list(faults, port, 5)
        done = gdl("-v", "--retries", "3", *urls)
    lines = done.stderr.splitlines()
    dead = f"127.0.0.1:{port}"
    assert [line for line in lines if line.startswith("warning: ")] == [
        f"warning: {busy} wants to be left alone for 5 s",
        f"warning: {dead} is down: gave up after 3 tries: connection refused",
    ]
    assert sum(f"{busy} wants to be left alone" in line for line in lines) == 1
    assert sum(line.startswith(f"{busy}: ") and line.endswith("it refused more") for line in lines) == 1
    assert lines[-3] == f"{dead}: down (connection refused)"
    assert re.fullmatch(rf"{busy}: \d+ at once; asked to slow down once", lines[-2])
    assert lines[-1].startswith("10 saved ")
    assert lines[-1].endswith("1 failed (1 unreachable)")


def test_nothing_is_told_of_hosts_with_q_but_what_failed_there(gdl: RunGdl, faults: f.FaultServer) -> None:
    with f.refused_port() as port:
        urls, _ = a_list(faults, port, 1)
        done = gdl("-q", "--json", *urls)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"gdl: failed http://127.0.0.1:{port}/gone.jpg: host unreachable: gave up after 3 tries: ")
    assert done.by_url[urls[-1]]["error"]["kind"] == "unreachable"


@pytest.mark.parametrize(("columns", "words"), [(80, r"127\.0\.0\.1:\d+ waits [4-6] s"), (40, "1 host waits")])
def test_the_total_names_the_host_that_waits(faults: f.FaultServer, tmp_path: Path, columns: int, words: str) -> None:
    urls = [faults.route(f"/{number}.jpg", f.status(503, retry_after=6), f.ok(BODY)) for number in range(3)]
    with TerminalGdl(urls, columns=columns, cwd=tmp_path) as running:
        screen = running.wait_for(lambda rows: re.search(words, "\n".join(rows)), "the host that waits")
        assert all(len(row) < columns for row in screen if "/3 files" in row)
        running.press(b"\x03")
        running.wait()
