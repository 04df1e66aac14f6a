"""One file over several connections: the ranges asked for, the limits kept, and what servers do against it."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shutil
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support import samples
from support.answers import chunk
from support.cli import run_gdl, start_gdl
from support.parts import (
    KIB,
    MIB,
    OLD,
    PIECE,
    Film,
    Peak,
    change_state,
    files,
    part_path,
    ranged,
    read_state,
    state_path,
    version,
    wanted_range,
)
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.cli import Completed, RunGdl
    from support.nginx import StartNginx

SIZE = 8 * MIB
A = version(0, SIZE)
B = version(1, SIZE)
PACE = 0.012
"""Seconds between pieces: about 5 MiB/s for a connection."""
FLYING = 512 * KIB
"""Bytes that may be on their way when a transfer is cut short."""
SPLIT = ("--json", "--split", "4", "--retries", "2", "-o", "out")


def saved(done: Completed) -> bool:
    return done.returncode == 0 and {result["status"] for result in done.results} == {"saved"}


def uncovered(pieces: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """What of a file these pieces, each the first byte and the byte after the last, leave out."""
    holes, reached = [], 0
    for start, end in sorted(pieces):
        if start > reached:
            holes.append((reached, start))
        reached = max(reached, end)
    return holes if reached == size else [*holes, (reached, size)]


def assert_helped(film: Film, *, most: int) -> None:
    """Check that a file came in ranges as they should be: all of it, and hardly a byte twice."""
    first, *helpers = film.answers
    assert first.range is None
    assert len(helpers) >= 1
    for answer in helpers:
        assert re.fullmatch(r"bytes=\d+-\d+", answer.range or ""), answer.range
        assert (answer.status, answer.if_range, answer.promised >= MIB) == (206, '"v1"', True)
        assert answer.request.header("accept-encoding") == "identity"
    starts = [answer.start for answer in film.answers]
    assert len(set(starts)) == len(starts)
    pieces = [(answer.start, answer.start + answer.sent) for answer in film.answers]
    assert uncovered(pieces, len(film.body)) == []
    assert film.sent <= len(film.body) + most
    # Where one piece runs into the next it was cut short, and only what was on its way is there twice.
    pieces.sort()
    overlaps = [end - start for (_, end), (start, _) in itertools.pairwise(pieces) if end > start]
    assert [overlap for overlap in overlaps if overlap > FLYING] == []


# What is asked for


def test_a_file_comes_in_exact_ranges_that_do_not_overlap(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    film = Film(A, pace=PACE)
    done = gdl(*SPLIT, faults.route("/film.mp4", film))
    assert saved(done)
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert files(tmp_path) == ["out/film.mp4"]
    assert_helped(film, most=4 * FLYING)
    [result] = done.results
    assert (result["bytes"], result["http_status"] in (200, 206)) == (SIZE, True)


def test_a_real_server_gives_the_same_file_in_ranges(nginx: StartNginx, gdl: RunGdl, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    body = version(0, 12 * MIB)
    (site / "film.mp4").write_bytes(body)
    server = nginx(site, server="limit_rate 4m;")
    done = gdl(*SPLIT, server.http("/film.mp4"))
    assert saved(done)
    assert (tmp_path / "out/film.mp4").read_bytes() == body
    assert files(tmp_path / "out") == ["film.mp4"]

    def logged() -> list[tuple[int, int, int]]:
        """Start, promised end and bytes sent of each answer."""
        found = []
        for *_, sent, wanted in server.log():
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
            assert match is not None or wanted == "-"
            start, end = (int(match[1]), int(match[2]) + 1) if match else (0, len(body))
            found.append((start, end, int(sent)))
        return sorted(found)

    wait_until(lambda: uncovered([(start, start + sent) for start, _, sent in logged()], len(body)) == [], "the log")
    answers = logged()
    assert len(answers) >= 3
    assert [wanted for *_, wanted in server.log() if wanted == "-"] == ["-"]
    assert {line[4] for line in server.log() if line[6] != "-"} == {"206"}
    starts = [start for start, _, _ in answers]
    assert len(set(starts)) == len(starts)
    assert all(end - start >= MIB for start, end, _ in answers)


@pytest.mark.parametrize("args", [("--split", "1"), ()], ids=["one", "default"])
def test_nothing_is_split_unless_asked_for(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, args: tuple[str, ...]
) -> None:
    film = Film(version(0, 4 * MIB), pace=PACE)
    assert saved(gdl("--json", "-o", "out", *args, faults.route("/film.mp4", film)))
    assert film.ranges == [None]
    assert (tmp_path / "out/film.mp4").read_bytes() == film.body


def test_one_request_is_made_for_what_cannot_be_split(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    four = version(0, 4 * MIB)
    films = {
        "no-ranges": Film(four, ranges=False, pace=PACE),
        "ranges-none": Film(four, ranges=False, pace=PACE, accept_ranges="none"),
        "weak-etag": Film(four, etag='W/"v1"', pace=PACE),
        "no-validator": Film(four, etag=None, pace=PACE),
        "young-date": Film(four, etag=None, last_modified=f.http_date(-30), pace=PACE),
        "small": Film(version(0, 2 * MIB - 1), pace=PACE),
        "tiny": Film(version(0, 20_000)),
    }
    urls = [faults.route(f"/{name}.mp4", film) for name, film in films.items()]
    chunked = version(1, 4 * MIB)
    unending = f.chunked(chunked, "video/mp4", 64 * KIB, etag='"v1"', accept_ranges="bytes")
    encoded = f.gzipped(chunked, "video/mp4", etag='"v1"', accept_ranges="bytes")
    urls += [faults.route("/chunked.mp4", unending), faults.route("/gzip.mp4", encoded)]
    assert saved(gdl(*SPLIT, "-j", "40", *urls))
    assert {name: film.ranges for name, film in films.items()} == {name: [None] for name in films}
    assert [request.path for request in faults.requests if request.header("range")] == []
    assert {name: (tmp_path / f"out/{name}.mp4").read_bytes() == film.body for name, film in films.items()} == (
        dict.fromkeys(films, True)
    )
    assert {(tmp_path / f"out/{name}.mp4").read_bytes() == chunked for name in ("chunked", "gzip")} == {True}


def test_a_strong_date_will_do_for_a_split(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    date = f.http_date(OLD)
    film = Film(A, etag=None, last_modified=date, pace=PACE)
    assert saved(gdl(*SPLIT, faults.route("/film.mp4", film)))
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert {answer.if_range for answer in film.answers[1:]} == {date}


def test_several_files_large_and_small_come_right(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    films = {f"large-{number}.mp4": Film(version(number, 4 * MIB + number), pace=PACE / 2) for number in range(5)}
    films |= {f"small-{number}.mp4": Film(version(number, 30_000 + number)) for number in range(20)}
    (tmp_path / "urls.txt").write_text("".join(f"{faults.route(f'/{name}', film)}\n" for name, film in films.items()))
    assert saved(gdl(*SPLIT, "urls.txt"))
    assert [name for name, film in films.items() if (tmp_path / "out" / name).read_bytes() != film.body] == []
    assert files(tmp_path / "out") == sorted(films)
    assert {film.sent for name, film in films.items() if name.startswith("small")} == {
        30_000 + number for number in range(20)
    }


# Limits


@pytest.mark.parametrize(
    ("args", "most"),
    [(("-j", "2", "--split", "8"), 2), (("-j", "16", "--per-host", "3", "--split", "8"), 3), (("--split", "3"), 3)],
    ids=["jobs", "per-host", "split"],
)
def test_never_more_at_once_than_the_limits_say(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, args: tuple[str, ...], most: int
) -> None:
    peak = Peak()
    films = [Film(version(number, 4 * MIB), pace=PACE / 2) for number in range(1 if args[0] == "--split" else 3)]
    urls = [faults.route(f"/{number}.mp4", peak(film)) for number, film in enumerate(films)]
    assert saved(gdl("--json", "-o", "out", *args, *urls))
    assert [(tmp_path / f"out/{number}.mp4").read_bytes() == film.body for number, film in enumerate(films)] == (
        [True] * len(films)
    )
    assert 2 <= peak.most <= most


def test_a_server_that_refuses_a_second_connection_gets_hardly_more(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    film = Film(A, pace=PACE / 2)
    url = faults.route("/film.mp4", f.at_most(1, film, f.status(503)))
    assert saved(gdl(*SPLIT, url))
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert film.sent <= SIZE + FLYING
    assert len(faults.requests) <= 5
    assert files(tmp_path) == ["out/film.mp4"]


# Helpers that fail


def with_surplus(connection: f.Connection, request: f.Request) -> None:
    """A 206 to a helper for half of what it asked for, and other bytes behind it."""
    span = wanted_range(request, SIZE)
    assert span is not None
    middle = sum(span) // 2
    says = f"bytes {span[0]}-{middle - 1}/{SIZE}"
    header = f.head(206, content_type="video/mp4", content_range=says, etag='"v1"', transfer_encoding="chunked")
    connection.send(header + chunk(A[span[0] : middle]))
    connection.send_last(chunk(B[middle : middle + 256 * KIB]) + b"0\r\n\r\n")


def shifted(first: int = 0, total: int = SIZE, etag: str | None = '"v1"', body: bytes = A) -> f.Response:
    """A 206 to a helper that is not what it asked for."""

    def respond(connection: f.Connection, request: f.Request) -> None:
        span = wanted_range(request, SIZE)
        assert span is not None
        start = span[0] + first
        headers = {} if etag is None else {"etag": etag}
        response = f.partial(
            body[start : span[1]],
            f"bytes {start}-{span[1] - 1}/{total}",
            "video/mp4",
            **headers,
        )
        response(connection, request)

    return respond


def test_a_helper_that_gets_something_else_harms_nothing(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    whole = {"200": Film(A, ranges=False, pace=PACE), "200-changed": Film(B, etag='"v2"', pace=PACE)}
    wrong: dict[str, f.Response] = {
        "wrong-start": shifted(first=-PIECE),
        "wrong-total": shifted(total=SIZE + 1),
        "other-etag": shifted(etag='"v2"', body=B),
        "no-etag": shifted(etag=None, body=B),
        "403": f.status(403),
        "404": f.status(404),
        "416": f.status(416),
        "429": f.status(429),
        "503": f.status(503),
        "reset": f.reset,
        "closed": f.close,
        "garbage": f.garbage(),
        "page": f.web_page(),
        "redirect": f.redirect("/nowhere.mp4"),
        **whole,
    }
    films = {name: Film(A, pace=PACE / 2) for name in wrong}

    def first_is_wrong(film: Film, response: f.Response) -> f.Response:
        """The first helper is the one who gets it."""
        lock = threading.Lock()
        asked: list[f.Request] = []

        def respond(connection: f.Connection, request: f.Request) -> None:
            with lock:
                chosen = request.header("range") is not None and not asked
                if chosen:
                    asked.append(request)
            (response if chosen else film)(connection, request)

        return respond

    urls = [faults.route(f"/{name}.mp4", first_is_wrong(films[name], response)) for name, response in wrong.items()]
    problems: dict[str, tuple[str, str]] = {}
    # So few at once that a host of which nothing is known lets all be helped.
    for batch in (urls[at : at + 4] for at in range(0, len(urls), 4)):
        done = gdl("--json", "--split", "2", "--retries", "2", "-o", "out", *batch)
        problems |= {result["url"]: (result["status"], result["reason"]) for result in done.results}
    assert [problem for problem in problems.values() if problem[0] != "saved"] == []
    assert [name for name in wrong if (tmp_path / f"out/{name}.mp4").read_bytes() != A] == []
    assert files(tmp_path / "out") == sorted(f"{name}.mp4" for name in wrong)
    served = {name: film.sent + (whole[name].sent if name in whole else 0) for name, film in films.items()}
    assert {name: sent for name, sent in served.items() if sent > 1.3 * SIZE} == {}
    # They were tried, and after that not again; libcurl itself repeats what an idle connection did not answer.
    asked = [len([each for each in faults.requests_for(f"/{name}.mp4") if each.header("range")]) for name in wrong]
    assert max(asked) <= 2
    assert sum(asked) >= len(wrong) // 2


def test_a_helper_that_gets_more_than_its_answer_says_has_the_file_begun_again(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    film = Film(A, pace=PACE)
    asked: list[f.Request] = []

    def respond(connection: f.Connection, request: f.Request) -> None:
        if request.header("range"):
            asked.append(request)
        (with_surplus if asked and asked[0] is request else film)(connection, request)

    done = gdl("--json", "--split", "2", "--retries", "2", "-o", "out", faults.route("/film.mp4", respond))
    assert saved(done)
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert files(tmp_path) == ["out/film.mp4"]
    assert film.ranges.count(None) == 2


def test_the_rest_is_asked_for_at_the_url_itself_where_an_address_behind_it_expires(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    """Each redirect leads to an address that knows the file for two requests, and then not any more."""
    film = Film(A, pace=PACE)
    fresh = itertools.count()
    lock = threading.Lock()

    def origin(connection: f.Connection, request: f.Request) -> None:
        with lock:
            signed = faults.route(f"/signed{next(fresh)}.mp4", film, film, f.status(403))
        f.redirect(signed)(connection, request)

    done = gdl("--json", "--split", "2", "--retries", "2", "-o", "out", faults.route("/film.mp4", origin))
    assert saved(done), done.stdout
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert files(tmp_path) == ["out/film.mp4"]
    assert len(faults.requests_for("/signed0.mp4")) >= 3
    assert len(faults.requests_for("/film.mp4")) >= 2


def test_the_host_that_wants_to_be_left_alone_is_the_one_that_says_so(
    faults: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    film = Film(A, pace=PACE)
    there = more_faults.route("/film.mp4", ranged(f.status(429, retry_after=7), film))
    done = gdl("-v", "--split", "2", "-o", "out", faults.route("/film.mp4", f.redirect(there)))
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert f"127.0.0.1:{more_faults.port} wants to be left alone" in done.stderr


def test_who_comes_later_waits_for_a_piece_and_not_for_the_file(faults: f.FaultServer, tmp_path: Path) -> None:
    size = 32 * MIB
    film = Film(version(0, size), pace=PACE)
    sent: list[int] = []

    def later(connection: f.Connection, request: f.Request) -> None:
        sent.append(film.sent)
        f.ok(samples.picture(1))(connection, request)

    first, second = faults.route("/film.mp4", film), faults.route("/later.jpg", later)
    with start_gdl("--json", "-o", "out", "-j", "4", "--split", "4", "-", cwd=tmp_path, feed=True) as running:
        running.feed(first + "\n")
        faults.wait_for_requests(4)
        running.feed(second + "\n")
        running.end_input()
        done = running.wait()
    assert saved(done)
    assert sent[0] < 0.7 * size


def test_a_piece_that_stalls_or_breaks_is_taken_over(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    """The last piece's connection goes silent or is cut: the others or another try bring the rest."""
    broken = {"silent": {"stall": 300 * KIB}, "cut": {"cut": 300 * KIB}}
    films: dict[str, Film] = {}
    bad: dict[str, Film] = {}

    def respond_for(name: str) -> f.Response:
        asked: list[f.Request] = []

        def respond(connection: f.Connection, request: f.Request) -> None:
            if request.header("range"):
                asked.append(request)
            first = bool(asked) and asked[0] is request
            (bad if first else films)[name](connection, request)

        return respond

    urls = []
    for name, how in broken.items():
        films[name], bad[name] = Film(A, pace=PACE / 2), Film(A, **how)  # type: ignore[arg-type]
        urls.append(faults.route(f"/{name}.mp4", respond_for(name)))
    done = gdl(*SPLIT, "--timeout", "1", *urls)
    assert saved(done)
    assert [name for name in films if (tmp_path / f"out/{name}.mp4").read_bytes() != A] == []
    assert files(tmp_path / "out") == sorted(f"{name}.mp4" for name in films)
    assert {name: film.sent for name, film in films.items() if film.sent > 1.3 * SIZE} == {}


def test_the_first_transfer_may_break_while_helpers_run(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    broken, film = Film(A, pace=PACE / 2, cut=MIB + MIB // 2), Film(A, pace=PACE / 2)

    def respond(connection: f.Connection, request: f.Request) -> None:
        (film if request.header("range") else broken)(connection, request)

    done = gdl(*SPLIT, faults.route("/film.mp4", respond))
    assert saved(done)
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert len(broken.answers) == 1
    assert broken.sent + film.sent <= 1.3 * SIZE


# Files that change


def test_a_file_that_changes_in_the_middle_is_never_a_mixture(faults: f.FaultServer, tmp_path: Path) -> None:
    """With one, the old version can still be had by who has begun it; with the other nobody gets it any more."""
    urls, changed = [], {"kept": threading.Event(), "cut": threading.Event()}
    for name, event in changed.items():
        gone = threading.Event() if name == "kept" else event
        old, new = Film(A, etag='"a"', pace=PACE, gone=gone), Film(B, etag='"b"', pace=PACE)

        def respond(
            connection: f.Connection,
            request: f.Request,
            event: threading.Event = event,
            old: Film = old,
            new: Film = new,
        ) -> None:
            if len(old.answers) >= 2 and old.sent > 2 * MIB:
                event.set()
            (new if event.is_set() else old)(connection, request)

        urls.append(faults.route(f"/{name}.mp4", respond))
    with start_gdl(*SPLIT, *urls, cwd=tmp_path) as running:
        faults.wait_for_requests(4)
        wait_until(lambda: sum(path.stat().st_size for path in tmp_path.glob("out/*.part")) > 2 * MIB, "the parts")
        for event in changed.values():
            event.set()
        done = running.wait()
    assert saved(done)
    assert (tmp_path / "out/cut.mp4").read_bytes() == B
    assert (tmp_path / "out/kept.mp4").read_bytes() in (A, B)
    assert files(tmp_path / "out") == ["cut.mp4", "kept.mp4"]


# Later runs


def test_a_killed_split_is_continued_from_its_several_ranges(faults: f.FaultServer, tmp_path: Path) -> None:
    body = version(0, 16 * MIB)
    first = Film(body, pace=PACE)
    url = faults.route("/film.mp4", first)
    final = tmp_path / "out/film.mp4"
    with start_gdl(*SPLIT, url, cwd=tmp_path) as running:
        wait_until(lambda: first.sent >= 12 * MIB, "three quarters")
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert not final.exists()
    assert state_path(final).exists()
    done = read_state(final)["done"]
    assert len(done) >= 2
    there = sum(end - start for start, end in done)
    assert there >= 12 * MIB - 4 * MIB - 8 * FLYING
    shutil.copytree(tmp_path / "out", tmp_path / "alone/out")
    (tmp_path / "again").mkdir()
    shutil.copytree(tmp_path / "out", tmp_path / "again/out")
    for folder, split in (("alone", "1"), ("again", "4")):
        copy = tmp_path / folder / "out/film.mp4"
        change_state(copy, inode=part_path(copy).stat().st_ino)  # a copy would count as somebody else's file
        second = Film(body, pace=PACE / 4)
        faults.route("/film.mp4", second)
        finished = run_gdl("--json", "--split", split, "-o", "out", url, cwd=tmp_path / folder)
        assert saved(finished), finished.stderr
        assert (tmp_path / folder / "out/film.mp4").read_bytes() == body
        assert files(tmp_path / folder) == ["out/film.mp4"]
        assert {answer.status for answer in second.answers} == {206}
        assert {answer.if_range for answer in second.answers} == {'"v1"'}
        missing = uncovered([(start, end) for start, end in done], len(body))
        assert min(answer.start for answer in second.answers) == missing[0][0]
        assert second.sent <= len(body) - there + 4 * FLYING


# Checksums


def test_what_was_split_is_checked_as_a_whole(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    four = version(0, 4 * MIB)
    right, wrong = Film(four, pace=PACE / 2), Film(four, pace=PACE / 2)
    urls = [faults.route("/right.mp4", right), faults.route("/wrong.mp4", wrong)]
    digests = [hashlib.sha256(four).hexdigest(), hashlib.sha256(samples.jpeg()).hexdigest()]
    lines = [
        json.dumps({"url": url, "checksum": f"sha256:{digest}"}) for url, digest in zip(urls, digests, strict=True)
    ]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    done = gdl(*SPLIT, "list.jsonl")
    results = done.by_url
    assert (results[urls[0]]["status"], results[urls[0]]["sha256"]) == ("saved", digests[0])
    assert (results[urls[1]]["status"], results[urls[1]]["error"]["kind"]) == ("failed", "checksum")
    assert files(tmp_path / "out") == ["right.mp4"]
    assert (tmp_path / "out/right.mp4").read_bytes() == four
    assert (len(right.answers) > 1, done.returncode) == (True, 1)
    assert len([answer for answer in wrong.answers if answer.range is None]) == 2
