"""The last large files of a list over several connections, without being asked for: against real and lying servers."""

from __future__ import annotations

import re
import signal
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support.cli import run_gdl, start_gdl
from support.parts import MIB, Film, files, in_turn, ranged, state_path, version
from support.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Completed, RunGdl
    from support.nginx import StartNginx

pytestmark = pytest.mark.timeout(120)
SIZE = 32 * MIB
A = version(0, SIZE)
B = version(1, SIZE)
PACE = 0.012
"""Seconds between pieces: about 5 MiB/s for a connection."""
GDL = ("--json", "-v", "--retries", "2", "-o", "out")
FLYING = MIB
"""Bytes that may be on their way when a transfer is cut short."""


def saved(done: Completed) -> bool:
    return done.returncode == 0 and {result["status"] for result in done.results} == {"saved"}


def test_a_large_file_alone_is_split_by_itself(nginx: StartNginx, gdl: RunGdl, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "film.mp4").write_bytes(A)
    server = nginx(site, server="limit_rate 4m; sendfile_max_chunk 64k;")
    done = gdl(*GDL, server.http("/film.mp4"))
    assert saved(done)
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert files(tmp_path / "out") == ["film.mp4"]
    wait_until(lambda: len(server.log()) >= 5, "the log")
    answers = server.log()
    assert [wanted for *_, wanted in answers if wanted == "-"] == ["-"]
    assert {line[4] for line in answers if line[6] != "-"} == {"206"}


def test_nobody_is_helped_while_the_list_may_go_on(faults: f.FaultServer, tmp_path: Path) -> None:
    body = version(0, 48 * MIB)
    film = Film(body, pace=PACE)
    with start_gdl(*GDL, "-", cwd=tmp_path, feed=True) as running:
        running.feed(faults.route("/film.mp4", film) + "\n")
        wait_until(lambda: film.sent > 14 * MIB, "a quarter")
        assert film.ranges == [None]
        running.end_input()
        done = running.wait()
    assert saved(done)
    assert (tmp_path / "out/film.mp4").read_bytes() == body
    assert len(film.ranges) > 2
    assert film.sent <= len(body) + 12 * FLYING


def test_what_cannot_be_split_comes_in_one_response(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    films = {
        "no-ranges": Film(A, ranges=False, pace=PACE / 2),
        "weak-etag": Film(A, etag='W/"v1"', pace=PACE / 2),
        "no-validator": Film(A, etag=None, pace=PACE / 2),
        "small": Film(A[: 15 * MIB], pace=PACE),
    }
    assert saved(gdl(*GDL, *(faults.route(f"/{name}.mp4", film) for name, film in films.items())))
    assert {name: film.ranges for name, film in films.items()} == {name: [None] for name in films}
    assert {name for name, film in films.items() if (tmp_path / f"out/{name}.mp4").read_bytes() != film.body} == set()


def test_what_the_user_does_not_want_to_be_split_comes_in_one_response(faults: f.FaultServer, tmp_path: Path) -> None:
    films = {"split": Film(A, pace=PACE / 2), "delay": Film(A, pace=PACE / 2), "per-host": Film(A, pace=PACE / 2)}
    with ExitStack() as stack:
        running = [
            stack.enter_context(start_gdl(*GDL, f"--{option}", "1", faults.route(f"/{option}.mp4", film), cwd=tmp_path))
            for option, film in films.items()
        ]
        assert [saved(each.wait()) for each in running] == [True] * len(films)
    assert {option: film.ranges for option, film in films.items()} == {option: [None] for option in films}


def test_a_range_that_is_another_is_the_last_that_is_asked_for(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    film = Film(A, pace=PACE / 2)
    changed = Film(B, etag='"v2"', ranges=False, pace=PACE)
    url = faults.route("/film.mp4", ranged(in_turn(changed, film), film))
    assert saved(gdl(*GDL, url))
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert len(changed.answers) == 1
    assert film.sent <= SIZE + 12 * FLYING
    assert files(tmp_path) == ["out/film.mp4"]


def test_a_server_that_refuses_helpers_is_hardly_asked_again(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    film = Film(A, pace=PACE / 2)
    url = faults.route("/film.mp4", f.at_most(1, film, f.status(503, retry_after=1)))
    done = gdl(*GDL, url)
    assert saved(done)
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert len(faults.requests) <= 9
    assert film.sent <= SIZE + FLYING
    assert [result["attempts"] for result in done.results] == [1]


def test_a_server_that_refuses_most_helpers_keeps_the_others(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    film = Film(A, pace=PACE)
    url = faults.route("/film.mp4", f.at_most(3, film, f.status(503)))
    done = gdl(*GDL, url)
    assert saved(done)
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert len({answer.start for answer in film.answers}) >= 3
    assert done.stderr.count("it refused more") == 1


class Narrow(Film):
    """A film that all its answers together send at the pace of one, and more of them at half of that."""

    def __init__(self, body: bytes, *, pace: float) -> None:
        super().__init__(body)
        self._turn = threading.Lock()
        self._each = pace
        self._now = 0

    def _send_body(self, connection: f.Connection, answer: object) -> None:
        send = connection.send

        def slowly(data: bytes) -> None:
            with self._turn:
                time.sleep(self._each * min(self._now, 2))
                send(data)

        connection.send = slowly  # type: ignore[method-assign]
        self._now += 1
        try:
            super()._send_body(connection, answer)  # type: ignore[arg-type]
        finally:
            self._now -= 1
            connection.send = send  # type: ignore[method-assign]


def test_a_host_that_gets_no_faster_by_it_is_not_split_again(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    narrow = Narrow(A, pace=PACE / 2)
    done = gdl(*GDL, faults.route("/film.mp4", narrow))
    assert saved(done)
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert done.stderr.count("its files are not split any more") == 1
    assert len(narrow.ranges) >= 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_was_split_by_itself_and_interrupted_is_continued(
    faults: f.FaultServer, tmp_path: Path, how: signal.Signals
) -> None:
    film = Film(A, pace=PACE)
    url = faults.route("/film.mp4", film)
    final = tmp_path / "out/film.mp4"
    with start_gdl(*GDL, url, cwd=tmp_path) as running:
        wait_until(lambda: len(film.answers) >= 4 and film.sent >= 20 * MIB, "most of it in several ranges")
        running.send_signal(how)
        running.wait()
    assert not final.exists()
    assert state_path(final).exists()
    second = Film(A, pace=PACE / 4)
    faults.route("/film.mp4", second)
    finished = run_gdl(*GDL, url, cwd=tmp_path)
    assert saved(finished), finished.stderr
    assert final.read_bytes() == A
    assert {answer.status for answer in second.answers} == {206}
    assert all(re.fullmatch(r"bytes=\d+-\d*", answer.range or "") for answer in second.answers)
    # The state is written each 2 MiB; what a kill leaves behind that is fetched again.
    assert second.sent <= SIZE - 20 * MIB + 4 * MIB + 20 * FLYING
    assert files(tmp_path) == ["out/film.mp4"]
