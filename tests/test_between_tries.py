"""What one try hands on to the next: a name, a part, a type, a count of bytes, a deadline. Nothing of it gets lost.

A file that needs more than one request is still one file: it keeps the name that its first response gave it and the
bytes that were there, and what one exchange said is not held against another.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support import faults as f
from support import samples
from support.answers import chunk
from support.cli import Completed, command, environment, start_gdl
from support.disks import tmpfs
from support.parts import KIB, MIB, Film, cut_film, files, in_turn, leave_parts, part_path, ranged, version
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cli import Argument, RunGdl

pytestmark = pytest.mark.timeout(120)

SIZE = 4 * MIB
CUT = 2 * MIB
A = version(0, SIZE)
B = version(1, SIZE)
PICTURE = samples.picture(1)
# Of no type that its bytes tell: only a label says what it is.
UNKNOWN = b"\x01\x02\x03\x04" + random.Random(5).randbytes(SIZE - 4)  # noqa: S311 - it need not be secret
NEXT = ("--json", "--timeout", "20", "-o", "out")
ONCE = (*NEXT, "--retries", "0")


def named(name: str) -> str:
    """A Content-Disposition."""
    return f'attachment; filename="{name}"'


def outcome(result: dict[str, Any]) -> tuple[str, str | None]:
    """The status, and why or of what kind."""
    return result["status"], result["reason"] if result["error"] is None else result["error"]["kind"]


# A name that is told more than once, or not again


def test_a_small_file_that_exists_is_skipped_though_its_name_was_not_settled_when_it_ended(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    text = b"hello world, some text\n"
    answers = {
        "chunked": f.chunked(text, "text/plain", content_disposition=named("chunked.txt")),
        "gzipped": f.gzipped(text, "text/plain", content_disposition=named("gzipped.txt")),
        "empty": f.empty("application/x-nothing", content_disposition=named("empty.txt")),
    }
    answered = threading.Semaphore(0)

    def counted(response: f.Response) -> f.Response:
        def respond(connection: f.Connection, request: f.Request) -> None:
            response(connection, request)
            answered.release()

        return respond

    def first(connection: f.Connection, request: f.Request) -> None:
        for _ in answers:
            answered.acquire(timeout=20)
        connection.pause(0.3)
        f.ok(PICTURE)(connection, request)

    urls = [faults.route(f"/{name}", counted(answer)) for name, answer in answers.items()]
    (tmp_path / "out").mkdir()
    for name in answers:
        (tmp_path / f"out/{name}.txt").write_text("mine")
    done = gdl(*ONCE, "--accept", "*/*", faults.route("/first", first), *urls)
    assert {url: outcome(done.by_url[url]) for url in urls} == dict.fromkeys(urls, ("skipped", "exists"))
    assert {(tmp_path / f"out/{name}.txt").read_text() for name in answers} == {"mine"}
    assert done.returncode == 0


def test_the_rest_need_not_say_the_name_again_though_it_was_not_settled(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    continued = threading.Event()
    rest = Film(A, media_type=None)

    def bare(connection: f.Connection, request: f.Request) -> None:
        rest(connection, request)
        connection.pause(0.3)
        continued.set()

    first = faults.route("/first", f.when(continued, f.ok(PICTURE)))
    url = faults.route("/get.php", ranged(bare, Film(A, cut=CUT, content_disposition=named("film.mp4"))))
    done = gdl(*NEXT, first, url)
    assert rest.ranges == [f"bytes={CUT}-{SIZE - 1}"]
    assert (outcome(done.by_url[url]), done.by_url[url]["path"]) == (("saved", None), "out/film.mp4")
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert files(tmp_path) == ["out/film.mp4", "out/first.jpg"]


def test_the_rest_need_not_say_the_name_again_where_a_template_makes_it(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    rest = Film(A, media_type=None)
    url = faults.route("/get.php", ranged(rest, Film(A, cut=CUT, content_disposition=named("film.mp4"))))
    [result] = gdl(*NEXT, "--name", "{index}-{name}", url).results
    assert rest.ranges == [f"bytes={CUT}-{SIZE - 1}"]
    assert (outcome(result), result["path"]) == (("saved", None), "out/1-film.mp4")
    assert (tmp_path / "out/1-film.mp4").read_bytes() == A
    assert files(tmp_path) == ["out/1-film.mp4"]


def test_a_name_that_changes_and_changes_back_is_not_in_its_own_way(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    one, other, again = (
        Film(A, cut=cut, content_disposition=named(name))
        for cut, name in ((CUT, "film.mp4"), (MIB, "other.mp4"), (None, "film.mp4"))
    )
    [result] = gdl(*NEXT, faults.route("/get", in_turn(one, other, again))).results
    assert len(again.answers) == 1
    assert (outcome(result), result["path"]) == (("saved", None), "out/film.mp4")
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert files(tmp_path) == ["out/film.mp4"]


# A type that is not told again


def test_the_rest_need_not_say_again_that_it_is_media(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    kind = "video/x-obscure"
    names = ("now", "earlier")
    urls = [faults.route(f"/{name}.bin", cut_film(UNKNOWN, CUT, media_type=kind)) for name in names]
    leave_parts(tmp_path, urls[1])
    rests = [Film(UNKNOWN, media_type=None) for _ in urls]
    for name, rest in zip(names, rests, strict=True):
        faults.route(f"/{name}.bin", ranged(rest, Film(UNKNOWN, cut=CUT, media_type=kind)))
    done = gdl(*NEXT, *urls)
    assert [rest.ranges for rest in rests] == [[f"bytes={CUT}-{SIZE - 1}"]] * 2
    assert {url: outcome(done.by_url[url]) for url in urls} == dict.fromkeys(urls, ("saved", None))
    assert {(tmp_path / result["path"]).read_bytes() == UNKNOWN for result in done.results} == {True}
    assert len(files(tmp_path)) == 2


# Whose the part is, and how far it came


def test_a_part_of_the_first_address_keeps_nobody_at_a_mirror_that_refuses(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    addresses = [
        faults.route("/a.mp4", Film(A, cut=CUT), f.status(404)),
        faults.route("/b.mp4", f.status(503)),
        faults.route("/c.mp4", Film(A)),
    ]
    [result] = gdl(*NEXT, "--retries", "3", "-", stdin=json.dumps({"url": addresses}) + "\n").results
    assert (outcome(result), result["final_url"]) == (("saved", None), addresses[2])
    assert [request.path for request in faults.requests] == ["/a.mp4", "/a.mp4", "/b.mp4", "/c.mp4"]
    assert (tmp_path / "out/a.mp4").read_bytes() == A


def test_what_an_earlier_run_left_is_no_progress_of_this_one(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    url = faults.route("/a.mp4", cut_film(A, CUT))
    leave_parts(tmp_path, url)
    film = Film(A, cut=100 * KIB)
    faults.route("/a.mp4", film)
    [result] = gdl(*ONCE, url).results
    assert result["status"] == "failed"
    assert film.ranges == [f"bytes={CUT}-{SIZE - 1}"]
    assert part_path(tmp_path / "out/a.mp4").read_bytes() == A[: CUT + 100 * KIB]


def test_a_part_that_another_run_leaves_meanwhile_is_continued(faults: f.FaultServer, tmp_path: Path) -> None:
    left = threading.Event()
    first = faults.route("/first.jpg", f.when(left, f.ok(PICTURE)))
    url = faults.route("/a.mp4", cut_film(A, CUT))
    film = Film(A)
    with start_gdl(*ONCE, "-j", "1", first, url, cwd=tmp_path) as running:
        faults.wait_for_requests(1, "/first.jpg")
        leave_parts(tmp_path, url)
        assert part_path(tmp_path / "out/a.mp4").read_bytes() == A[:CUT]
        faults.route("/a.mp4", film)
        left.set()
        done = running.wait()
    assert film.ranges == [None, f"bytes={CUT}-{SIZE - 1}"]
    assert outcome(done.by_url[url]) == ("saved", None)
    assert (tmp_path / "out/a.mp4").read_bytes() == A
    assert files(tmp_path) == ["out/a.mp4", "out/first.jpg"]


# What ends an exchange


def test_what_is_no_file_is_not_asked_again_because_its_server_closes(faults: f.FaultServer, gdl: RunGdl) -> None:
    good = faults.route("/good.jpg", f.ok(PICTURE))
    refusal = f.head(503, content_length=4, retry_after=1, connection="close") + b"busy"
    busy = faults.route("/busy.jpg", f.script(refusal, f.close))
    again = faults.route("/again.jpg", f.ok(PICTURE))
    redirect = f.head(302, content_length=5, location="/there.jpg", connection="close") + b"moved"
    moved = faults.route("/moved.jpg", f.script(redirect, f.close))
    faults.route("/there.jpg", f.ok(PICTURE))
    # One after the other, so that those that close come on a connection that stayed open for the one before.
    done = gdl(*ONCE, "-j", "1", good, moved, again, busy)
    assert [outcome(done.by_url[url]) for url in (moved, busy)] == [("saved", None), ("failed", "http")]
    assert [request.path for request in faults.requests] == [
        "/good.jpg",
        "/moved.jpg",
        "/there.jpg",
        "/again.jpg",
        "/busy.jpg",
    ]


@pytest.mark.parametrize("etag", [None, '"v1"'])
def test_a_long_file_is_not_asked_for_twice_because_its_server_closes(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, etag: str | None
) -> None:
    good = faults.route("/good.jpg", f.ok(PICTURE))
    film = Film(A, etag=etag, ranges=etag is not None, connection="close")
    url = faults.route("/a.mp4", f.script(film, f.close))
    done = gdl(*ONCE, "-j", "1", good, url)
    assert outcome(done.by_url[url]) == ("saved", None)
    assert film.ranges == [None]
    assert (tmp_path / "out/a.mp4").read_bytes() == A


def test_a_rest_that_is_too_short_is_told_in_its_own_bytes(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url = faults.route("/a.mp4", cut_film(A, CUT))
    leave_parts(tmp_path, url)
    head = f.head(
        206,
        transfer_encoding="chunked",
        content_type="video/mp4",
        etag='"v1"',
        content_range=f"bytes {CUT}-{SIZE - 1}/{SIZE}",
    )
    faults.route("/a.mp4", f.script(head + chunk(A[CUT : CUT + 1000]) + b"0\r\n\r\n"))
    [result] = gdl(*ONCE, url).results
    assert result["reason"] == "the server promised 2,097,152 bytes and sent 1,000"


def test_a_server_that_knows_no_ranges_is_not_said_to_have_another_file(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    url = faults.route("/a.mp4", cut_film(A, CUT))
    leave_parts(tmp_path, url)
    faults.route("/a.mp4", Film(A, ranges=False))
    done = gdl(*ONCE, "-v", url)
    assert [outcome(result) for result in done.results] == [("saved", None)]
    assert "the server sends all of it, begun again" in done.stderr
    assert "another file" not in done.stderr


def test_a_deadline_that_comes_while_the_rest_is_fetched_is_told_as_one(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    helper = Film(A, stall=10)
    url = faults.route("/a.mp4", ranged(helper, Film(A, pace=0.01)))
    [result] = gdl(*ONCE, "--split", "2", "--max-time", "3", url).results
    assert len(helper.answers) >= 1
    assert outcome(result) == ("failed", "max-time")
    assert "--max-time" in result["reason"]
    assert part_path(tmp_path / "out/a.mp4").exists()


# What others need


def test_a_file_of_unknown_length_makes_no_room_for_others(faults: f.FaultServer, tmp_path: Path) -> None:
    finish = threading.Event()
    size = 5 * MIB
    live_part = part_path(tmp_path / "out/live.mp4")

    def live(connection: f.Connection, _request: f.Request) -> None:
        connection.send(f.head(200, transfer_encoding="chunked", content_type="video/mp4"))
        connection.send(chunk(version(2, size)))
        while not finish.is_set():
            connection.pause(0.01)
        connection.send_last(b"0\r\n\r\n")

    def large(connection: f.Connection, request: f.Request) -> None:
        wait_until(lambda: live_part.exists() and live_part.stat().st_size >= size - 128 * KIB, "most of the live film")
        Film(A)(connection, request)

    with tmpfs(tmp_path / "out", "8m"):
        urls = [faults.route("/live.mp4", live), faults.route("/large.mp4", large)]
        with start_gdl(*ONCE, *urls, cwd=tmp_path) as running:
            wait_until(lambda: running.stdout or running.process.poll() is not None, "a result")
            finish.set()
            done = running.wait()
        assert [outcome(done.by_url[url]) for url in urls] == [("saved", None), ("failed", "space")]
        assert files(tmp_path / "out") == ["live.mp4"]
    assert done.returncode == 1


# A reader of standard error that sleeps


class Drowsy:
    """A gdl whose standard error goes into a pipe that is read only when the test says so."""

    def __init__(self, process: subprocess.Popen[bytes], reader: int, writer: int, stdout: Path) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._stdout = stdout

    def fill(self) -> None:
        """Fill the pipe, so that whoever writes waits."""
        while select.select([], [self._writer], [], 0)[1]:
            os.write(self._writer, b"." * 4095 + b"\n")

    def read(self) -> Completed:
        """Read all there is until the run is over."""
        os.close(self._writer)
        self._writer = -1
        with open(self._reader, encoding="utf-8", closefd=False) as stream:
            stderr = stream.read()
        return Completed(self._process.wait(60), self._stdout.read_text("utf-8"), stderr)

    def close(self) -> None:
        """Let go of the pipe, and kill what is left."""
        self._process.kill()
        for end in (self._reader, self._writer):
            if end >= 0:
                os.close(end)


@contextlib.contextmanager
def drowsy_gdl(folder: Path, *args: Argument) -> Iterator[Drowsy]:
    reader, writer = os.pipe()
    with (folder / "stdout").open("wb") as out:
        process = subprocess.Popen(
            command(args), stdin=subprocess.DEVNULL, stdout=out, stderr=writer, env=environment(folder), cwd=folder
        )
    with process, contextlib.closing(Drowsy(process, reader, writer, folder / "stdout")) as drowsy:
        yield drowsy


def test_a_reader_of_standard_error_who_sleeps_costs_no_file(faults: f.FaultServer, tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(3)]
    urls = [faults.route(f"/{name}", cut_film(A, CUT, etag='"a"')) for name in names]
    leave_parts(tmp_path, *urls)
    asked = len(faults.requests)
    asleep = threading.Event()
    for name in names:
        faults.route(f"/{name}", f.when(asleep, Film(B, etag='"b"')))
    finals = [tmp_path / "out" / name for name in names]
    with drowsy_gdl(tmp_path, *ONCE, "-v", *urls) as run:
        faults.wait_for_requests(asked + len(names))
        run.fill()
        asleep.set()  # only now each response has something to tell
        wait_until(lambda: all(final.exists() for final in finals), "the saving of all")
        done = run.read()
    assert [outcome(result) for result in done.results] == [("saved", None)] * len(names)
    assert {final.read_bytes() == B for final in finals} == {True}
    assert done.stderr.count("begun again") == len(names)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
