"""What never ends: bodies, headers, framing and redirects that drip or flood. Each costs bounded time and memory."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import gevent
import pytest
from support import answers, samples
from support import faults as f

from benchmarks.measure import MB, run
from downloader.options import Options
from downloader.request import Request
from downloader.transport import Transport

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Completed, RunGdl

    from downloader.responses import Head

BODY = samples.picture(1, 20_000)
STATUS = b"HTTP/1.1 200 OK\r\n"
CHUNKED = f.head(200, transfer_encoding="chunked", content_type="image/jpeg")
WHOLE = CHUNKED + answers.chunk(BODY) + b"0\r\n"
PAUSE = 0.2
pytestmark = pytest.mark.timeout(120)


def again(data: bytes, interval: float = 0) -> f.Response:
    """The same bytes for ever, with a pause before each time."""

    def respond(connection: f.Connection, _request: f.Request) -> None:
        while True:
            connection.pause(interval)
            connection.send(data)

    return respond


def outcomes(done: Completed) -> dict[str, tuple[str, str | None]]:
    """Status and kind of error of each URL, which has exactly one result, by its path."""
    found = {
        "/" + result["url"].split("/", 3)[3]: (result["status"], (result["error"] or {}).get("kind"))
        for result in done.results
    }
    assert len(found) == len(done.results)
    return found


# Each sends a little now and then, and never stops.
DRIPS = {
    "/status-line.jpg": f.script(b"HTTP/1.1 200 O", again(b"K", PAUSE)),
    "/header-line.jpg": f.script(STATUS + b"X-Filler: ", again(b"x", PAUSE)),
    "/header-lines.jpg": f.script(STATUS, again(b"X: 1\r\n", PAUSE)),
    "/interim.jpg": again(f.head(103, link="</a.css>"), PAUSE),
    "/body.jpg": f.script(f.head(200, content_length=10_000, content_type="image/jpeg"), again(b"x", PAUSE)),
    "/no-length.jpg": f.script(f.head(200, content_type="image/jpeg"), again(b"x", PAUSE)),
    "/middle.jpg": f.script(f.head(200, content_length=10**6) + BODY, again(b"x", PAUSE)),
    "/chunks.jpg": f.script(CHUNKED, again(b"1\r\nx\r\n", PAUSE)),
    "/chunk-size.jpg": f.script(CHUNKED, again(b"0", PAUSE)),
    "/chunk-extension.jpg": f.script(CHUNKED + b"5;", again(b"x", PAUSE)),
    "/trailers.jpg": f.script(WHOLE, again(b"X: 1\r\n", PAUSE)),
    "/trailer.jpg": f.script(WHOLE + b"X: ", again(b"x", PAUSE)),
    "/gzip.jpg": f.script(f.head(200, content_encoding="gzip", content_type="image/jpeg"), again(b"\x1f", 60)),
}

# Each sends as much as it can, and never stops.
FLOODS = {
    "/header-lines.jpg": f.script(STATUS, again(b"X: 1\r\n" * 1000)),
    "/long-header-lines.jpg": f.script(STATUS, again(b"X: " + b"x" * 60_000 + b"\r\n")),
    "/header-line.jpg": f.script(STATUS + b"X: ", again(b"x" * 65536)),
    "/status-line.jpg": f.script(b"HTTP/1.1 200 O", again(b"K" * 65536)),
    "/interim.jpg": again(f.head(103) * 100),
    "/long-interim.jpg": again(f.head(103, link="x" * 60_000)),
    "/trailers.jpg": f.script(WHOLE, again(b"X: 1\r\n" * 1000)),
    "/long-trailers.jpg": f.script(WHOLE, again(b"X: " + b"x" * 3000 + b"\r\n")),
    "/trailer.jpg": f.script(WHOLE + b"X: ", again(b"x" * 65536)),
    "/chunk-size.jpg": f.script(CHUNKED, again(b"0" * 65536)),
}


def test_a_drip_is_silence_wherever_it_drips(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    urls = [faults.route(path, response) for path, response in DRIPS.items()]
    done = gdl("--json", "--retries", "0", "--timeout", "1", "-j", "20", "-o", "out", *urls)
    found = outcomes(done)
    # A chunk size longer than any number is an error in itself.
    assert found.pop("/chunk-size.jpg") in [("failed", "timeout"), ("failed", "body")]
    assert found == dict.fromkeys(found, ("failed", "timeout"))
    assert len(found) == len(DRIPS) - 1
    assert len(faults.requests) == len(DRIPS)
    assert done.returncode == 1
    assert [path.name for path in tmp_path.rglob("*.jpg")] == []


def test_a_host_that_goes_silent_in_all_it_sends_costs_few_timeouts(faults: f.FaultServer, gdl: RunGdl) -> None:
    faults.otherwise(f.stalled(BODY, 0))
    urls = "".join(faults.url(f"/{number}.jpg\n") for number in range(100))
    done = gdl("--json", "--timeout", "0.5", stdin=urls)
    assert set(outcomes(done).values()) == {("failed", "unreachable")}
    assert len(faults.requests) <= 40
    assert f"127.0.0.1:{faults.port}: down (nothing came for 0.5 s)" in done.stderr


def test_an_answer_within_a_time_that_is_no_whole_number_of_seconds_is_taken(
    faults: f.FaultServer, gdl: RunGdl
) -> None:
    url = faults.route("/a.jpg", f.script(f.pause(1.2), f.ok(BODY)))
    assert gdl("--timeout", "1.45", "--retries", "0", url).returncode == 0


def test_what_is_slow_but_useful_is_saved(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    """More than 100 bytes per second, or an end before --timeout is over."""
    body = samples.picture(2, 3000)
    paused_header = [step for line in (STATUS, b"Content-Type: image/jpeg\r\n") for step in (f.pause(0.5), line)]
    slow = {
        "/body.jpg": (f.drip(body, 0.1, piece=75), body),
        "/few-bytes.jpg": (f.drip(body[:60], 0.1, piece=20), body[:60]),
        "/header.jpg": (f.script(*paused_header, f.pause(0.5), b"Content-Length: 3000\r\n\r\n" + body), body),
        "/interim.jpg": (f.script(f.head(103), f.pause(0.5), f.head(103), f.pause(0.5), f.ok(body)), body),
    }
    urls = [faults.route(path, response) for path, (response, _) in slow.items()]
    done = gdl("--json", "--retries", "0", "--timeout", "3", "--accept", "*/*", "-o", "out", *urls)
    assert outcomes(done) == dict.fromkeys(slow, ("saved", None))
    for path, (_, expected) in slow.items():
        assert (tmp_path / f"out{path}").read_bytes() == expected, path


def test_a_program_that_leaves_the_hub_alone_for_long_loses_nothing(faults: f.FaultServer) -> None:
    """What counts is how often the transport looked, not how much time has gone by meanwhile."""
    url = faults.route("/a", f.drip(BODY[:9000], 0.1, piece=200))
    got = bytearray()

    class Receiver:
        def begin(self, head: Head) -> bool:
            return head.status == 200

        def write(self, chunk: bytes) -> None:
            got.extend(chunk)

    with closing(Transport(Options(timeout=1.0))) as client:
        running = gevent.spawn(client.perform, Request(url), Receiver())
        for _ in range(3):
            gevent.sleep(0.1)
            time.sleep(1.5)  # nothing runs on the hub
        assert running.get(timeout=60).head.status == 200
    assert got == BODY[:9000]


def test_redirects_that_lead_to_ever_new_ones_end_after_eleven_requests(faults: f.FaultServer, gdl: RunGdl) -> None:
    count = 100_000

    def onward(connection: f.Connection, request: f.Request) -> None:
        number = int(request.path.strip("/").removesuffix(".jpg"))
        (f.redirect(f"/{number + 1}.jpg") if number < count else f.ok(BODY))(connection, request)

    faults.otherwise(onward)
    done = gdl("--json", "--retries", "3", faults.url("/1.jpg"))
    assert outcomes(done) == {"/1.jpg": ("failed", "redirect")}
    assert [request.path for request in faults.requests] == [f"/{number}.jpg" for number in range(1, 12)]


def peak(folder: Path, *arguments: str) -> tuple[int, str]:
    """The peak resident set of a gdl run that fails, in bytes, and what it printed on stdout."""
    told = folder / "stdout"
    with told.open("wb") as stdout:
        usage = run(
            [sys.executable, "-m", "downloader", "-q", "--json", "-o", str(folder / "out"), *arguments],
            folder,
            stdout=stdout,
        )
    assert usage.code == 1
    return usage.peak, told.read_text()


def test_a_body_without_end_takes_no_more_memory_the_longer_it_lasts(faults: f.FaultServer, tmp_path: Path) -> None:
    start = samples.mp4()
    chunked = f.head(200, transfer_encoding="chunked", content_type="video/mp4") + answers.chunk(start)
    for path, response in (
        ("/live.mp4", f.endless_body(start=start)),
        ("/chunked.mp4", f.script(chunked, again(answers.chunk(bytes(65536))))),
        ("/extended.mp4", f.script(chunked, again(b"10000;" + b"x" * 1000 + b"\r\n" + bytes(65536) + b"\r\n"))),
    ):
        url = faults.route(path, response)
        short, printed = peak(tmp_path, "--max-size", "2M", url)
        assert '"kind": "size"' in printed
        long, printed = peak(tmp_path, "--max-size", "50M", url)
        assert '"kind": "size"' in printed
        assert long - short < 10 * MB, path


def test_a_flood_that_is_no_body_ends_early_and_takes_little_memory(faults: f.FaultServer, tmp_path: Path) -> None:
    arguments = ("--retries", "0", "--timeout", "5", "-j", "20", "--max-time", "40")
    nothing, _ = peak(tmp_path, *arguments, faults.url("/nowhere.jpg"))
    urls = [faults.route(path, response) for path, response in FLOODS.items()]
    flooded, printed = peak(tmp_path, *arguments, *urls)
    kinds = [kind for kind in ("protocol", "body", "timeout") for _ in range(printed.count(f'"kind": "{kind}"'))]
    assert len(kinds) == len(FLOODS)
    assert "timeout" not in kinds
    assert flooded - nothing < 40 * MB


def test_a_chunk_extension_without_end_is_silence(faults: f.FaultServer, tmp_path: Path) -> None:
    url = faults.route("/a.jpg", f.script(CHUNKED + b"5;", again(b"x" * 65536)))
    arguments = ("--retries", "0", "--max-time", "60")
    short, printed = peak(tmp_path, *arguments, "--timeout", "0.5", url)
    assert '"kind": "timeout"' in printed
    long, printed = peak(tmp_path, *arguments, "--timeout", "3", url)
    assert '"kind": "timeout"' in printed
    assert long - short < 10 * MB
