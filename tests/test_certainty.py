"""Bodies whose framing cannot prove that they came whole: what is saved, what is asked for again, what fails."""

from __future__ import annotations

import errno
import gzip
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from h2.errors import ErrorCodes
from support import faults as f
from support import samples
from support.answers import chunk
from support.cli import start_gdl
from support.failing import Failing, Fault
from support.http2 import Stream
from support.processes import wait_until
from support.whole_files import WHOLE

if TYPE_CHECKING:
    from support.certs import Authority
    from support.cli import RunGdl

pytestmark = pytest.mark.timeout(120)

KIB, MIB = 1024, 1024 * 1024
SIZES = {"in memory": 20_000, "in a part": 300 * KIB, "large": 3 * MIB}
"""Bytes of a body that is held in memory, of one that is written out, and of one that has a state on disk."""
REFUSED = f.status(410)


@pytest.fixture(params=list(SIZES.values()), ids=list(SIZES))
def picture(request: pytest.FixtureRequest) -> bytes:
    return samples.picture(1, request.param)


@pytest.fixture(params=list(SIZES.values()), ids=list(SIZES))
def sound(request: pytest.FixtureRequest) -> bytes:
    return samples.mp3(request.param // 417)


@pytest.fixture
def run(gdl: RunGdl, ca: Authority) -> RunGdl:
    def start(*args: Any, **more: Any) -> Any:
        return gdl("--json", "--cacert", ca.file, "--timeout", "10", "-o", "out", *args, **more)

    return start


def streamed(body: bytes, *steps: f.Response, media_type: str = "image/jpeg", encoded: bool = False) -> f.Response:
    """A body without a length over HTTP/2: its stream is reset with NO_ERROR behind it. Over HTTP/1.1, cut chunks."""
    more = {"content_encoding": "gzip"} if encoded else {}
    header = f.head(200, transfer_encoding="chunked", content_type=media_type, **more)
    return f.script(header, *([chunk(body)] if body else [f.pause(0.05)]), *(steps or (f.close,)))


def closing(body: bytes, media_type: str = "image/jpeg") -> f.Response:
    return f.until_close(body, media_type)


def outcome(done: Any) -> tuple[int, str, str | None, int]:
    [result] = done.results
    return done.returncode, result["status"], (result["error"] or {}).get("kind"), result["attempts"]


SAVED = 0, "saved", None, 1


def saved(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def versions(server: f.FaultServer) -> list[str]:
    return [request.version for request in server.requests]


# Bodies that end with their connection


def test_a_body_that_ends_with_its_connection_and_has_its_own_end_is_whole(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    assert outcome(run(faults.route("/a.jpg", closing(picture)))) == SAVED
    assert len(faults.requests) == 1
    assert saved(tmp_path / "out") == {"a.jpg": picture}


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_whole_files_of_all_formats_are_saved_at_once(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, name: str
) -> None:
    body = WHOLE[name].data
    done = run("--accept", "*/*", faults.route("/a", closing(body, "application/octet-stream")))
    assert (outcome(done), len(faults.requests)) == (SAVED, 1)
    assert list(saved(tmp_path / "out").values()) == [body]


def test_a_body_that_is_cut_once_is_saved_whole(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    url = faults.route("/a.jpg", closing(picture[: len(picture) // 2]), closing(picture))
    assert outcome(run("--retries", "0", url)) == SAVED
    assert len(faults.requests) == 2
    assert saved(tmp_path / "out") == {"a.jpg": picture}


def test_a_second_body_whose_framing_proves_it_counts_whatever_its_end(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    cut = picture[:-2]
    url = faults.route("/a.jpg", closing(picture[: len(picture) // 2]), f.ok(cut))
    assert outcome(run("--retries", "0", url)) == SAVED
    assert saved(tmp_path / "out") == {"a.jpg": cut}


def test_the_same_bytes_twice_are_a_file_without_an_end_of_its_own(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    honest = picture[:-2]
    assert outcome(run("--retries", "0", faults.route("/a.jpg", closing(honest)))) == SAVED
    assert len(faults.requests) == 2
    assert saved(tmp_path / "out") == {"a.jpg": honest}


def test_the_same_bytes_in_a_later_try_settle_it_too(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    first, other = picture[: len(picture) // 2], picture[: len(picture) // 3]
    url = faults.route("/a.jpg", closing(first), closing(other), closing(first))
    assert outcome(run("--retries", "1", url)) == (0, "saved", None, 2)
    assert len(faults.requests) == 3
    assert saved(tmp_path / "out") == {"a.jpg": first}


def test_a_body_that_is_cut_elsewhere_each_time_is_a_failure_that_says_so(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    cuts = [closing(picture[: len(picture) // 2 + number]) for number in range(8)]
    done = run("--retries", "2", faults.route("/a.jpg", *cuts))
    assert outcome(done) == (1, "failed", "body", 3)
    assert "own end is missing" in done.results[0]["error"]["message"]
    assert len(faults.requests) == 4, "twice in the first try, once in each other"
    assert saved(tmp_path) == {}


def test_a_cut_body_whose_link_is_good_for_one_request_is_no_file(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    done = run("--retries", "0", faults.route("/a.jpg", closing(picture[:-9]), REFUSED))
    assert outcome(done) == (1, "failed", "body", 1)
    message = done.results[0]["error"]["message"]
    assert "own end is missing" in message
    assert "410" in message
    assert saved(tmp_path) == {}


@pytest.mark.parametrize("coding", ["identity", "Identity, identity"])
def test_a_transfer_coding_that_says_nothing_leaves_a_body_to_its_length(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes, coding: str
) -> None:
    """Such a field was part of HTTP once (RFC 2616 section 3.6). libcurl waits for the end of the connection then."""
    cut = picture[:-2]  # a body that only its connection ended would be asked for again
    url = faults.route("/a.jpg", f.truncated(cut, len(cut), transfer_encoding=coding))
    assert (outcome(run(url)), len(faults.requests)) == (SAVED, 1)
    assert saved(tmp_path / "out") == {"a.jpg": cut}
    for wrong in (
        f.truncated(picture, len(cut), transfer_encoding=coding),
        f.overlong(picture, len(cut), transfer_encoding=coding),
    ):
        assert outcome(run("--retries", "0", faults.route("/b.jpg", wrong)))[:3] == (1, "failed", "body")
    assert list(saved(tmp_path / "out")) == ["a.jpg"]


def test_a_format_without_an_end_is_taken_as_the_connection_ends_it(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, sound: bytes
) -> None:
    assert outcome(run(faults.route("/a.mp3", closing(sound, "audio/mpeg"), REFUSED))) == SAVED
    assert len(faults.requests) == 1
    assert saved(tmp_path / "out") == {"a.mp3": sound}


# Surplus


def test_a_length_that_is_too_small_is_a_failure_that_says_so(
    faults: f.FaultServer, tls_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    for server in (faults, tls_faults):
        for keep_alive in (True, False):
            url = server.route(f"/{keep_alive}.jpg", f.overlong(picture, len(picture) // 2, keep_alive=keep_alive))
            done = run("--retries", "0", url)
            assert outcome(done) == (1, "failed", "body", 1), url
            assert "more bytes than its Content-Length" in done.results[0]["error"]["message"]
            assert len(server.requests_for(f"/{keep_alive}.jpg")) == 2
    assert saved(tmp_path) == {}


@pytest.mark.parametrize("keep_alive", [True, False])
def test_surplus_is_seen_on_a_connection_that_has_brought_chunks(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes, *, keep_alive: bool
) -> None:
    """How many bytes the framing of the chunks took is not known."""
    whole = samples.picture(7, 9000)
    first = faults.route("/a.jpg", f.chunked(whole))
    second = faults.route("/b.jpg", f.overlong(picture, len(picture) // 2, keep_alive=keep_alive))
    done = run("--retries", "0", "--per-host", "1", first, second)
    assert [result["status"] for result in done.results] == ["saved", "failed"]
    assert len({request.connection for request in faults.requests[:2]}) == 1
    assert saved(tmp_path / "out") == {"a.jpg": whole}


def test_surplus_behind_a_whole_body_does_no_harm(
    faults: f.FaultServer, tls_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    for server in (faults, tls_faults):
        for keep_alive in (True, False):
            path = f"/{keep_alive}.jpg"
            url = server.route(path, f.overlong(picture + b"\r\n\0", len(picture), keep_alive=keep_alive), REFUSED)
            assert outcome(run("--existing", "overwrite", url)) == SAVED
    assert saved(tmp_path / "out") == {"True.jpg": picture, "False.jpg": picture}


def test_surplus_behind_a_body_without_a_known_end_does_no_harm(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, sound: bytes
) -> None:
    assert outcome(run(faults.route("/a.mp3", f.overlong(sound + b"\r\n", len(sound)), REFUSED))) == SAVED
    assert saved(tmp_path / "out") == {"a.mp3": sound}


def test_a_body_that_had_surplus_behind_it_only_once_is_whole(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    honest = picture[:-2]
    url = faults.route("/a.jpg", f.overlong(honest + b"?" * 500, len(honest), keep_alive=True), f.ok(honest))
    assert outcome(run("--retries", "0", url)) == SAVED
    assert saved(tmp_path / "out") == {"a.jpg": honest}


# Streams of HTTP/2


def test_a_stream_without_a_length_that_has_its_own_end_is_whole(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    assert outcome(run(http2_faults.route("/a.jpg", f.chunked(picture)))) == SAVED
    assert versions(http2_faults) == ["HTTP/2"]
    assert saved(tmp_path / "out") == {"a.jpg": picture}


def test_a_stream_that_is_reset_without_an_error_is_asked_for_over_http1(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    url = http2_faults.route("/a.jpg", streamed(picture[: len(picture) // 2]), f.ok(picture))
    assert outcome(run("--retries", "0", url)) == SAVED
    assert versions(http2_faults) == ["HTTP/2", "HTTP/1.1"]
    assert saved(tmp_path / "out") == {"a.jpg": picture}


def test_a_host_that_ended_a_stream_so_is_asked_over_http1_from_then_on(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path
) -> None:
    bodies = {f"{number}.jpg": samples.picture(number, 9000) for number in range(6)}
    urls = [
        http2_faults.route(f"/{name}", *([streamed(body[:5000])] if name == "0.jpg" else []), f.chunked(body))
        for name, body in bodies.items()
    ]
    assert run("-j", "1", *urls).returncode == 0
    assert versions(http2_faults) == ["HTTP/2", *["HTTP/1.1"] * 6]
    assert saved(tmp_path / "out") == bodies


def test_a_stream_that_is_cut_over_http1_as_well_fails(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    done = run("--retries", "1", http2_faults.route("/a.jpg", streamed(picture[: len(picture) // 2])))
    assert outcome(done) == (1, "failed", "body", 2)
    assert saved(tmp_path) == {}


@pytest.mark.parametrize("refusal", [f.garbage(b"\0\0\0\x04\0\0\0\0\0"), f.close, f.status(505)])
def test_a_host_that_speaks_http2_alone_and_cuts_its_streams_costs_no_other_file(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes, refusal: f.Response
) -> None:
    def only_http2(response: f.Response) -> f.Response:
        def respond(connection: f.Connection, request: f.Request) -> None:
            (response if request.version == "HTTP/2" else refusal)(connection, request)

        return respond

    cut, good = picture[: len(picture) // 2], samples.picture(7, 9000)
    first = http2_faults.route("/a.jpg", only_http2(streamed(cut)))
    second = http2_faults.route("/b.jpg", only_http2(f.chunked(good)))
    done = run("--retries", "1", "-j", "1", first, second)
    assert {result["url"]: result["status"] for result in done.results} == {first: "failed", second: "saved"}
    assert "own end is missing" in done.by_url[first]["error"]["message"]
    assert saved(tmp_path / "out") == {"b.jpg": good}, "what it does to one file costs no other"


@pytest.mark.parametrize("second", [f.status(404), f.ok(samples.picture(2, 5000)), f.close], ids=["", "other", "none"])
def test_a_response_that_supersedes_another_within_its_body_is_not_its_end(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes, sound: bytes, second: f.Response
) -> None:
    """As libcurl asks again by itself."""
    for name, body, kind in (("a.jpg", picture, "image/jpeg"), ("b.mp3", sound, "audio/mpeg")):
        cut = streamed(body[: len(body) // 2], f.pause(0.05), required, media_type=kind)
        url = http2_faults.route(f"/{name}", cut, second)
        assert outcome(run("--retries", "0", url))[:3] == (1, "failed", "connection")
        assert saved(tmp_path / "out") == {}
        http2_faults.route(f"/{name}", cut, second, f.ok(body, kind))
        assert outcome(run("--retries", "1", url)) == (0, "saved", None, 2)
        assert saved(tmp_path / "out") == {name: body}
        (tmp_path / "out" / name).unlink()


def required(connection: f.Connection, _request: f.Request) -> None:
    """Reset the stream as one that is to be asked for over HTTP/1.1."""
    assert isinstance(connection, Stream)
    connection.reset(ErrorCodes.HTTP_1_1_REQUIRED)


def test_a_format_without_an_end_is_asked_for_over_http1_too(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, sound: bytes
) -> None:
    cut = streamed(sound[: len(sound) // 2], media_type="audio/mpeg")
    url = http2_faults.route("/a.mp3", cut, f.ok(sound, "audio/mpeg"))
    assert outcome(run("--retries", "0", url)) == SAVED
    assert versions(http2_faults) == ["HTTP/2", "HTTP/1.1"]
    assert saved(tmp_path / "out") == {"a.mp3": sound}


@pytest.mark.parametrize(
    "second",
    [REFUSED, f.close, f.web_page("Sign in"), f.truncated(samples.picture(1, 5000), 900), f.garbage(), f.status(503)],
    ids=["refused", "closed", "a page", "cut", "garbage", "busy"],
)
def test_a_format_without_an_end_is_kept_where_the_second_request_brings_nothing(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, sound: bytes, second: f.Response
) -> None:
    url = http2_faults.route("/a.mp3", f.chunked(sound, "audio/mpeg"), second)
    done = run("--retries", "0", url)
    assert outcome(done) == SAVED
    assert (done.results[0]["bytes"], done.results[0]["http_status"]) == (len(sound), 200)
    assert saved(tmp_path) == {"a.mp3": sound}, "nothing else is left"


def test_a_part_of_the_second_body_does_not_touch_the_first(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, sound: bytes
) -> None:
    """The second is cut when much of it has been written, beside the first."""
    header = f.head(200, content_length=2 * len(sound), content_type="audio/mpeg")
    url = http2_faults.route(
        "/a.mp3", f.chunked(sound, "audio/mpeg"), f.script(header + sound[::-1][: len(sound) - 5], f.close)
    )
    other = f.head(200, content_length=2 * len(sound), content_type="audio/mpeg", etag='"v1"', accept_ranges="bytes")
    resumable = http2_faults.route(
        "/b.mp3", f.chunked(sound, "audio/mpeg"), f.script(other + sound[: len(sound) - 5], f.close)
    )
    done = run("--retries", "0", "-j", "1", url, resumable)
    assert [result["status"] for result in done.results] == ["saved", "saved"]
    assert saved(tmp_path) == {"a.mp3": sound, "b.mp3": sound}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("came", [0, 2 * MIB])
def test_a_signal_between_two_bodies_leaves_nothing_that_the_next_run_does_not_take(
    http2_faults: f.FaultServer, run: RunGdl, ca: Authority, tmp_path: Path, number: signal.Signals, came: int
) -> None:
    body = samples.mp3(SIZES["large"] // 417)
    held = f.head(200, content_length=len(body), content_type="audio/mpeg", etag='"v1"', accept_ranges="bytes")
    url = http2_faults.route(
        "/a.mp3", f.chunked(body, "audio/mpeg"), f.script(held + body[:came], f.hold), f.ok(body, "audio/mpeg")
    )
    with start_gdl("--cacert", ca.file, "-o", "out", url, cwd=tmp_path) as running:
        http2_faults.wait_for_requests(2)
        part = tmp_path / "out/a.mp3.part"
        wait_until(lambda: part.exists() and part.stat().st_size == len(body), "the first body")
        wait_until(lambda: not came or written(running.process.pid) >= came // 2, "some of the second")
        running.send_signal(number)
        assert running.wait().returncode == (143 if number == signal.SIGTERM else -number)
    assert saved(tmp_path / "out").keys() <= {"a.mp3.part", "a.mp3.part.json", ".gdl.lock"}
    assert outcome(run(url)) == SAVED
    assert saved(tmp_path / "out") == {"a.mp3": body}


def written(process: int) -> int:
    """Bytes in files without a name that a process has open."""
    sizes = [0]
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            if str(descriptor.readlink()).endswith("(deleted)"):
                sizes.append(descriptor.stat().st_size)
    return max(sizes)


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_a_second_body_whose_file_gets_no_name_is_saved_under_another(
    http2_faults: f.FaultServer, run: RunGdl, failing: Failing, tmp_path: Path, sound: bytes, code: int
) -> None:
    url = http2_faults.route("/a.mp3", f.chunked(sound, "audio/mpeg"), f.ok(sound, "audio/mpeg"))
    env = failing.environment(Fault("link", code), within=tmp_path / "out")
    assert outcome(run("--retries", "0", url, env=env)) == SAVED
    assert saved(tmp_path / "out") == {"a.mp3": sound}


def test_a_checksum_settles_what_framing_cannot(
    http2_faults: f.FaultServer, faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    import hashlib

    cut = picture[:-2]
    digest = hashlib.sha256(cut).hexdigest()
    urls = [http2_faults.route("/a.jpg", streamed(cut), REFUSED), faults.route("/b.jpg", closing(cut), REFUSED)]
    done = run(*(f"{url}#sha256={digest}" for url in urls))
    assert [result["status"] for result in done.results] == ["saved", "saved"]
    assert saved(tmp_path / "out") == {"a.jpg": cut, "b.jpg": cut}


def test_a_second_request_follows_its_own_redirects(
    http2_faults: f.FaultServer, faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    first = http2_faults.route("/first.jpg", streamed(picture[: len(picture) // 2]))
    second = http2_faults.route("/second.jpg", f.ok(picture))
    url = faults.route("/a.jpg", f.redirect(first), f.redirect(second))
    assert outcome(run("--retries", "0", url)) == SAVED
    assert [request.path for request in faults.requests] == ["/a.jpg", "/a.jpg"]
    assert saved(tmp_path / "out") == {"a.jpg": picture}


def test_a_second_body_that_is_no_media_leaves_the_first_to_its_own_end(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    done = run("--retries", "0", faults.route("/a.jpg", closing(picture[:-9]), f.web_page("Sign in")))
    assert outcome(done) == (1, "failed", "body", 1)
    assert "Sign in" in done.results[0]["error"]["message"]
    assert saved(tmp_path) == {}


def test_the_time_of_an_item_is_not_exceeded_by_a_second_request(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    done = run("--max-time", "2", faults.route("/a.jpg", closing(picture[:-9]), f.hold))
    assert outcome(done) == (1, "failed", "max-time", 1)
    assert saved(tmp_path) == {}


# Compressed bodies


def zipped(*members: bytes) -> bytes:
    return b"".join(map(gzip.compress, members))


def test_a_compressed_stream_that_is_cut_is_asked_for_over_http1(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    def respond(connection: f.Connection, request: f.Request) -> None:
        over_http2 = request.version == "HTTP/2"
        (streamed(zipped(picture)[:-900], encoded=True) if over_http2 else f.ok(picture))(connection, request)

    assert outcome(run("--retries", "0", http2_faults.route("/a.jpg", respond))) == SAVED
    assert versions(http2_faults) == ["HTTP/2", "HTTP/1.1"]
    assert saved(tmp_path) == {"a.jpg": picture}


@pytest.mark.parametrize("closes", [True, False], ids=["connection", "stream"])
def test_a_body_that_is_cut_between_two_gzip_members_is_asked_for_again(
    faults: f.FaultServer, http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes, *, closes: bool
) -> None:
    cut = zipped(picture[: len(picture) // 2])
    server = faults if closes else http2_faults
    first = f.until_close(cut, content_encoding="gzip") if closes else streamed(cut, encoded=True)
    url = server.route("/a.jpg", first, f.ok(zipped(picture), content_encoding="gzip"))
    assert outcome(run("--retries", "0", url)) == SAVED
    assert len(server.requests) == 2
    assert saved(tmp_path) == {"a.jpg": picture}


def test_a_compressed_body_with_its_own_end_is_whole(
    faults: f.FaultServer, http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    body = zipped(picture[:5000], picture[5000:])
    urls = [
        faults.route("/a.jpg", f.until_close(body, content_encoding="gzip"), REFUSED),
        http2_faults.route("/b.jpg", streamed(body, encoded=True), REFUSED),
    ]
    assert run(*urls).returncode == 0
    assert saved(tmp_path) == {"a.jpg": picture, "b.jpg": picture}


# Bodies of which too little came to know them


@pytest.mark.parametrize("length", [0, 1, 6])
def test_the_beginning_of_a_picture_is_no_verdict_on_it(
    faults: f.FaultServer, http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, length: int
) -> None:
    webp = WHOLE["webp"].data
    urls = [
        http2_faults.route("/a.webp", streamed(webp[:length]), f.ok(webp, "image/webp")),
        faults.route("/b.webp", closing(webp[:length]), f.ok(webp, "image/webp")),
        faults.route("/c.webp", f.overlong(webp, length, "image/webp", keep_alive=True), f.ok(webp, "image/webp")),
    ]
    done = run("--retries", "0", *urls)
    assert [result["status"] for result in done.results] == ["saved"] * 3
    assert versions(http2_faults) == ["HTTP/2", "HTTP/1.1"]
    assert len(faults.requests) == 4
    assert saved(tmp_path) == {"a.webp": webp, "b.webp": webp, "c.webp": webp}


def test_a_body_that_is_cut_below_the_least_size_is_asked_for_again(
    http2_faults: f.FaultServer, faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    urls = [
        http2_faults.route("/a.jpg", streamed(picture[:300]), f.ok(picture)),
        faults.route("/b.jpg", f.overlong(picture, 300), f.ok(picture)),
    ]
    done = run("--retries", "0", "--min-size", "10k", *urls)
    assert [result["status"] for result in done.results] == ["saved", "saved"]
    assert saved(tmp_path) == {"a.jpg": picture, "b.jpg": picture}


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (f.empty(), "not-media"),
        (closing(b""), "not-media"),
        (REFUSED, "http"),
        (f.close, "connection"),
        (f.truncated(samples.picture(1), 900), "body"),
    ],
    ids=["empty", "empty again", "refused", "closed", "cut"],
)
def test_only_the_second_request_counts_where_too_little_came(
    faults: f.FaultServer, run: RunGdl, tmp_path: Path, second: f.Response, kind: str
) -> None:
    done = run("--retries", "0", faults.route("/a.jpg", closing(b""), second))
    assert outcome(done) == (1, "failed", kind, 1)
    assert "empty body" in done.results[0]["error"]["message"]
    assert len(faults.requests) == 2
    assert saved(tmp_path) == {}


def test_too_little_in_a_later_try_does_not_end_the_item(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, picture: bytes
) -> None:
    url = http2_faults.route("/a.jpg", streamed(b""), f.close, streamed(picture[:1]), f.ok(picture))
    assert outcome(run("--retries", "3", url)) == (0, "saved", None, 3)
    assert saved(tmp_path) == {"a.jpg": picture}


@pytest.mark.parametrize("options", [("--max-size", "10k"), ()])
def test_what_no_further_byte_can_change_is_not_asked_for_again(
    http2_faults: f.FaultServer, faults: f.FaultServer, run: RunGdl, tmp_path: Path, options: tuple[str, ...]
) -> None:
    body = samples.picture(1, 12_000) if options else samples.page()
    urls = [server.route("/a.jpg", closing(body)) for server in (http2_faults, faults)]
    done = run("--retries", "0", *options, *urls)
    assert [result["error"]["kind"] for result in done.results] == ["size" if options else "not-media"] * 2
    assert [len(server.requests) for server in (http2_faults, faults)] == [1, 1]
    assert saved(tmp_path) == {}


# Which of two bodies counts


@pytest.mark.parametrize(
    "second",
    [closing(samples.mp3(12), "audio/mpeg"), f.ok(samples.picture(7, 3000)), closing(samples.picture(7, 3000))],
    ids=["shorter", "a placeholder", "a placeholder without a length"],
)
@pytest.mark.parametrize("name", ["/a.mp3", "/a"])
def test_a_second_body_that_is_worse_does_not_count(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, sound: bytes, second: f.Response, name: str
) -> None:
    done = run("--retries", "0", http2_faults.route(name, f.chunked(sound, "audio/mpeg"), second))
    assert outcome(done) == SAVED
    assert (done.results[0]["bytes"], done.results[0]["content_type"]) == (len(sound), "audio/mpeg")
    assert saved(tmp_path) == {"a.mp3": sound}, "under the name that is its own, and nothing else"


def test_a_large_second_body_that_is_worse_leaves_nothing(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path
) -> None:
    sound, placeholder = samples.mp3(9000), samples.picture(7, 2 * MIB)
    url = http2_faults.route("/a", f.chunked(sound, "audio/mpeg"), f.ok(placeholder, etag='"v"', accept_ranges="bytes"))
    assert outcome(run("--retries", "0", url)) == SAVED
    assert saved(tmp_path) == {"a.mp3": sound}


@pytest.mark.parametrize("proven", [True, False])
def test_another_second_body_of_the_same_format_counts_where_it_may_be_whole(
    http2_faults: f.FaultServer, run: RunGdl, tmp_path: Path, sound: bytes, *, proven: bool
) -> None:
    other = samples.mp3(9) if proven else sound + sound
    second = (f.ok if proven else f.until_close)(other, "audio/mpeg")
    assert outcome(run("--retries", "0", http2_faults.route("/a.mp3", f.chunked(sound, "audio/mpeg"), second))) == SAVED
    assert saved(tmp_path) == {"a.mp3": other}
