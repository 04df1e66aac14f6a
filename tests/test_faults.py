"""What servers do wrong, and what comes of it: the files, the results, the exit code, the requests made."""

from __future__ import annotations

import gzip
import re
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from support import answers, samples
from support import faults as f
from support.cli import RunningGdl, start_gdl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from support.cli import Completed, RunGdl

BODY = samples.picture(1, 20_000)
TWO_TRIES = ("--json", "--retries", "1", "-o", "out")
OK = f.ok(BODY)

# Bodies that are not what was promised, and what the failure says.
BROKEN_BODIES = {
    "/truncated.jpg": (f.truncated(BODY, 15_000), "15,?000|cut short"),
    "/truncated-at-once.jpg": (f.truncated(BODY, 0), "cut short|promised"),
    "/overlong.jpg": (f.overlong(BODY, 15_000), "more bytes than its Content-Length.*own end is missing"),
    "/overlong-kept.jpg": (f.overlong(BODY, 15_000, keep_alive=True), "more bytes.*own end is missing"),
    "/bad-chunk.jpg": (f.bad_chunk_size(BODY), "chunk"),
    "/no-last-chunk.jpg": (f.missing_last_chunk(BODY), "cut short|chunk"),
    "/bad-gzip.jpg": (f.ok(b"\x1f\x8b\x08 this is no deflate stream", content_encoding="gzip"), "(?i)gzip|encod|decod"),
    "/cut-gzip.jpg": (f.ok(gzip.compress(BODY)[:9000], content_encoding="gzip"), "lacks its end"),
    "/no-trailer.jpg": (f.ok(gzip.compress(BODY)[:-8], content_encoding="gzip"), "lacks its end"),
    "/chunked-gzip.jpg": (f.chunked(gzip.compress(BODY)[:9000], content_encoding="gzip"), "lacks its end"),
    "/cut-deflate.jpg": (f.ok(zlib.compress(BODY)[:9000], content_encoding="deflate"), "lacks its end"),
}


def files(folder: Path) -> list[str]:
    """All files below a folder, by their path in it; none where there is no folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def errors(done: Completed) -> dict[str, str]:
    """Messages of what failed, by URL."""
    return {result["url"]: result["error"]["message"] for result in done.results if result["error"]}


def outcome(result: Mapping[str, Any]) -> tuple[str, str | None, int]:
    """Status, kind of error and attempts."""
    return result["status"], (result["error"] or {}).get("kind"), result["attempts"]


def outcomes(done: Completed) -> dict[str, tuple[str, str | None, int]]:
    """The outcome of each URL, which has exactly one, by its path."""
    found = {"/" + result["url"].split("/", 3)[3]: outcome(result) for result in done.results}
    assert len(found) == len(done.results)
    return found


def requests(server: f.FaultServer, paths: Iterable[str]) -> dict[str, int]:
    """How often each path was asked for."""
    return {path: len(server.requests_for(path)) for path in paths}


# Bodies


def test_surplus_bytes_are_seen_though_the_host_kept_connections_before(faults: f.FaultServer, gdl: RunGdl) -> None:
    urls = [faults.route("/ok.jpg", OK), faults.route("/a.jpg", f.overlong(BODY, 15_000)), faults.route("/b.jpg", OK)]
    head = answers.head(connection="close", content_length=len(BODY), content_type="image/jpeg")
    urls.append(faults.route("/honest.jpg", f.script(head + BODY, f.close)))
    done = gdl("--json", "--retries", "0", "-j", "1", "-o", "out", *urls)
    assert [outcome(result)[:2] for result in done.results] == [
        ("saved", None),
        ("failed", "body"),
        ("saved", None),
        ("saved", None),
    ]


def test_more_than_a_206_says_is_no_file_either(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    clip = samples.mp4(2 * 1024 * 1024)
    whole = {"content_type": "video/mp4", "content_range": f"bytes 0-{len(clip) - 1}/{len(clip)}"}
    header = f.head(206, **whole, transfer_encoding="chunked")
    body = answers.chunk(clip) + answers.chunk(b"?" * 1000) + b"0\r\n\r\n"
    done = gdl("--json", "--retries", "0", "-o", "out", faults.route("/clip.mp4", f.script(header + body)))
    assert outcomes(done) == {"/clip.mp4": ("failed", "body", 1)}
    assert files(tmp_path) == []


def test_a_body_that_grows_beyond_measure_is_refused_at_once(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    packed = [packer.compress(samples.mp4(2000))]
    packed += [packer.compress(bytes(1024 * 1024)) for _ in range(100)]
    bomb = b"".join([*packed, packer.flush()])
    urls = [
        faults.route("/once.mp4", f.ok(bomb, "video/mp4", content_encoding="gzip")),
        faults.route("/twice.mp4", f.ok(gzip.compress(bomb), "video/mp4", content_encoding="gzip, gzip")),
    ]
    done = gdl(*TWO_TRIES, *urls)
    assert outcomes(done) == {"/once.mp4": ("failed", "body", 1), "/twice.mp4": ("failed", "body", 1)}
    assert files(tmp_path) == []


def test_what_is_left_over_on_a_connection_spoils_no_other_file(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    large = samples.picture(1, 400_000)
    urls = [faults.route("/large.jpg", f.overlong(large, 300_000, keep_alive=True), f.ok(large))]
    urls += [faults.route(f"/{number}.jpg", OK) for number in range(3)]
    done = gdl("--json", "-j", "1", "-o", "out", *urls)
    assert {result["status"] for result in done.results} == {"saved"}
    assert (tmp_path / "out/large.jpg").read_bytes() == large


def test_a_broken_body_fails_after_its_retries_and_leaves_nothing(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    urls = {faults.route(path, response): says for path, (response, says) in BROKEN_BODIES.items()}
    done = gdl(*TWO_TRIES, *urls)
    assert outcomes(done) == dict.fromkeys(BROKEN_BODIES, ("failed", "body", 2))
    assert [(url, message) for url, message in errors(done).items() if not re.search(urls[url], message)] == []
    asked = requests(faults, BROKEN_BODIES)
    assert {path: count for path, count in asked.items() if count != 2} == {"/overlong.jpg": 3, "/overlong-kept.jpg": 3}
    assert done.returncode == 1
    assert files(tmp_path) == []


def test_a_broken_body_is_asked_for_again_and_the_right_one_is_saved(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    responses = {path: response for path, (response, _) in BROKEN_BODIES.items()}
    responses["/reset.jpg"] = f.reset_mid_body(BODY, 9000)
    done = gdl(*TWO_TRIES, *(faults.route(path, response, OK) for path, response in responses.items()))
    once = {path: ("saved", None, 1) for path in responses if "overlong" in path}  # asked twice within the try
    assert outcomes(done) == dict.fromkeys(responses, ("saved", None, 2)) | once
    assert set(requests(faults, responses).values()) == {2}
    assert done.returncode == 0
    assert files(tmp_path / "out") == sorted(path[1:] for path in responses)
    assert {path.read_bytes() for path in (tmp_path / "out").iterdir()} == {BODY}


def test_a_connection_reset_in_the_body_fails_after_its_retries(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    faults.route("/a.jpg", f.reset_mid_body(BODY, 9000))
    done = gdl(*TWO_TRIES, faults.url("/a.jpg"))
    [result] = done.results
    assert outcome(result) in [("failed", "connection", 2), ("failed", "body", 2)]
    assert (done.returncode, len(faults.requests), files(tmp_path)) == (1, 2, [])


def test_what_follows_an_overlong_body_on_its_connection_is_not_taken_for_an_answer(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    planted = f.head(200, content_length=600, content_type="image/jpeg") + samples.jpeg()
    faults.route("/a.jpg", f.overlong(BODY + planted, len(BODY), keep_alive=True))
    others = [faults.route(f"/{number}.jpg", f.ok(samples.picture(number, 5000))) for number in range(4)]
    done = gdl(*TWO_TRIES, "-j", "1", faults.url("/a.jpg"), *others)
    assert outcomes(done)["/a.jpg"] == ("saved", None, 1)
    assert (tmp_path / "out/a.jpg").read_bytes() == BODY
    for number in range(4):
        assert (tmp_path / "out" / f"{number}.jpg").read_bytes() == samples.picture(number, 5000)


@pytest.mark.parametrize("size", [600, 300_000], ids=["small", "large"])
def test_every_honest_framing_gives_the_same_file(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, size: int
) -> None:
    body = samples.picture(2, size)
    honest = {
        "/length.jpg": f.ok(body),
        "/chunked.jpg": f.chunked(body),
        "/bytewise.jpg": f.chunked(body[:600], size=1),
        "/until-close.jpg": f.until_close(body),
        "/gzip.jpg": f.gzipped(body),
        "/1xx.jpg": f.interim(f.ok(body)),
        "/many-1xx.jpg": f.interim(f.ok(body), *[102] * 20),
        "/unlabelled.jpg": f.ok(body, None),
        "/drip.jpg": f.drip(body, 0.02, piece=size // 4),
        "/slow-header.jpg": f.slow_header(0.02, body),
        "/203.jpg": f.status(203, body, content_type="image/jpeg"),
    }
    done = gdl("--json", "-o", "out", *(faults.route(path, response) for path, response in honest.items()))
    honest.pop("/bytewise.jpg")
    for path in honest:
        assert (tmp_path / "out" / path[1:]).read_bytes() == body, path
    assert (tmp_path / "out/bytewise.jpg").read_bytes()[:600] == body[:600]
    assert {result["bytes"] for result in done.results} == {len(body), 600}
    assert {outcome(result) for result in done.results} == {("saved", None, 1)}
    assert (done.returncode, len(files(tmp_path))) == (0, 11)


def test_answers_without_a_usable_body_fail(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    typed = {"content_type": "image/jpeg", "connection": "close"}
    answers = {
        "/empty.jpg": (f.empty(), "not-media", "empty"),
        "/empty-chunked.jpg": (f.chunked(b""), "not-media", "empty"),
        "/204.jpg": (lambda connection, _: connection.send_last(f.head(204)), "http", "204"),
        "/too-long.jpg": (
            f.script(f.head(200, **typed, content_length="9" * 20), BODY, f.close),
            "body",
            "Content-Length",
        ),
        "/206.jpg": (f.partial(BODY, f"bytes 100-{len(BODY) + 99}/{len(BODY) + 100}"), "body", "206"),
        "/304.jpg": (lambda connection, _: connection.send_last(f.head(304)), "http", "304"),
        "/999.jpg": (f.script(b"HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n"), "http", "999"),
    }
    urls = [faults.route(path, response) for path, (response, _, _) in answers.items()]
    done = gdl("--json", "--retries", "0", "-o", "out", *urls)
    assert outcomes(done) == {path: ("failed", kind, 1) for path, (_, kind, _) in answers.items()}
    says = {"/" + url.rpartition("/")[2]: message for url, message in errors(done).items()}
    assert [path for path, (_, _, word) in answers.items() if word not in says[path]] == []
    assert (done.returncode, files(tmp_path)) == (1, [])


# Silence, slowness and no end


def test_silence_ends_after_the_timeout_and_is_tried_again(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    silent = {
        "/before-the-header.jpg": f.hold,
        "/in-the-header.jpg": f.script(b"HTTP/1.1 200 OK\r\nContent-Le", f.hold),
        "/before-the-body.jpg": f.stalled(BODY, 0),
    }
    once = {"/in-the-body.jpg": f.stalled(BODY, 12_000), "/at-first.jpg": f.hold}
    urls = [faults.route(path, response) for path, response in silent.items()]
    urls += [faults.route(path, response, OK) for path, response in once.items()]
    before = time.monotonic()
    done = gdl(*TWO_TRIES, "--timeout", "1", *urls)
    assert time.monotonic() - before < 30
    assert outcomes(done) == dict.fromkeys(silent, ("failed", "timeout", 2)) | dict.fromkeys(once, ("saved", None, 2))
    assert requests(faults, [*silent, *once]) == dict.fromkeys([*silent, *once], 2)
    assert files(tmp_path) == ["out/at-first.jpg", "out/in-the-body.jpg"]
    assert {path.read_bytes() for path in (tmp_path / "out").iterdir()} == {BODY}
    assert done.returncode == 1


def test_max_time_ends_what_never_falls_silent(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    slow = {
        "/drip.jpg": f.drip(BODY, 0.1),
        "/slow-header.jpg": f.slow_header(0.1, BODY),
        "/endless.mp4": f.endless_body(start=samples.mp4(), interval=0.1),
        "/hold.jpg": f.hold,
        "/again-and-again.jpg": f.status(503),
    }
    before = time.monotonic()
    done = gdl(
        "--json", "--max-time", "2", "-o", "out", *(faults.route(path, response) for path, response in slow.items())
    )
    kinds = {path: (status, kind) for path, (status, kind, _) in outcomes(done).items()}
    assert kinds.pop("/again-and-again.jpg") in [("failed", "http"), ("failed", "max-time")]
    assert kinds == dict.fromkeys(kinds, ("failed", "max-time"))
    assert all("--max-time" in message for url, message in errors(done).items() if not url.endswith("again.jpg"))
    assert time.monotonic() - before < 15
    assert max(result["elapsed"] for result in done.results) < 10
    assert (done.returncode, files(tmp_path)) == (1, [])


def test_a_body_without_end_stops_at_max_size(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url = faults.route("/live.mp4", f.endless_body(start=samples.mp4()))
    done = gdl("--json", "--max-size", "3M", "-o", "out", url)
    [result] = done.results
    assert outcome(result) == ("failed", "size", 1)
    assert result["bytes"] < 6_000_000
    assert "--max-size" in result["reason"]
    assert (done.returncode, len(faults.requests), files(tmp_path)) == (1, 1, [])


# Headers

# VmHWM, not ru_maxrss: a process inherits the latter from the one it was forked from, here from all of pytest.
MEASURED = """
import os, sys
from downloader.__main__ import main

def leave(code, leave=os._exit):
    with open("/proc/self/status") as status:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(peak, file=sys.stderr, flush=True)
    leave(code)

os._exit = leave  # gdl's last step
main()
"""


def endless_line(connection: f.Connection, _request: f.Request) -> None:
    """More and more of one header line."""
    while True:
        connection.send(b"x" * 65536)


def test_headers_of_any_size_cost_bounded_memory(faults: f.FaultServer, tmp_path: Path) -> None:
    faults.route("/endless.jpg", f.endless_header())
    faults.route("/endless-line.jpg", f.script(b"HTTP/1.1 200 OK\r\nX-Filler: ", endless_line))
    faults.route("/200k.jpg", f.long_header(200_000, BODY))
    faults.route("/64k.jpg", f.long_header(64_000, BODY))
    faults.route("/many-1xx.jpg", f.interim(OK, *[103] * 20_000))
    urls = [faults.url(f"/{name}.jpg") for name in ("endless", "endless-line", "200k", "64k", "many-1xx")]
    args = ["--json", "--retries", "0", "--max-time", "20", "-o", str(tmp_path / "out"), "-q", *urls]
    with RunningGdl(args, program=("-c", MEASURED)) as running:
        done = running.wait()
    found = {path: (status, kind) for path, (status, kind, _) in outcomes(done).items()}
    assert found["/64k.jpg"] == ("saved", None)
    del found["/64k.jpg"]
    if found["/many-1xx.jpg"] == ("saved", None):  # either way is fine
        del found["/many-1xx.jpg"]
        (tmp_path / "out/many-1xx.jpg").unlink()
    assert found == dict.fromkeys(found, ("failed", "protocol"))
    assert files(tmp_path) == ["out/64k.jpg"]
    assert (tmp_path / "out/64k.jpg").read_bytes() == BODY
    assert 10_000 < int(done.stderr.split()[-1]) < 200_000, "kilobytes"


def test_an_answer_that_is_not_http_fails(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    strange = {
        "/garbage.jpg": (f.garbage(), 1),
        "/ssh.jpg": (f.garbage(b"SSH-2.0-OpenSSH_9.6\r\n"), 1),
        "/picture.jpg": (f.garbage(BODY), 1),
        "/old.jpg": (f.garbage(b"<html>HTTP/0.9 had no header</html>"), 1),
        "/version.jpg": (f.script(b"HTTP/7.1 200 OK\r\n\r\n", f.close), 1),
        "/negative.jpg": (f.script(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + BODY, f.close), 1),
    }
    done = gdl(*TWO_TRIES, *(faults.route(path, response) for path, (response, _) in strange.items()))
    assert {path: found[:2] for path, found in outcomes(done).items()} == dict.fromkeys(strange, ("failed", "protocol"))
    assert requests(faults, strange) == {path: count for path, (_, count) in strange.items()}
    assert (done.returncode, files(tmp_path)) == (1, [])


def test_connections_that_end_without_an_answer_are_tried_again(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    endings = {
        "/closed.jpg": f.close,
        "/reset.jpg": f.reset,
        "/half-a-header.jpg": f.script(b"HTTP/1.1 200 OK\r\nContent-Ty", f.close),
    }
    for path, response in endings.items():
        faults.route(path, response)
        faults.route(path.replace(".", "-once."), response, OK)
    urls = [faults.url(path) for path in endings] + [faults.url(path.replace(".", "-once.")) for path in endings]
    done = gdl(*TWO_TRIES, *urls)
    found = outcomes(done)
    assert {path: found[path] for path in endings} == dict.fromkeys(endings, ("failed", "connection", 2))
    assert [found[path.replace(".", "-once.")] for path in endings] == [("saved", None, 2)] * 3
    assert files(tmp_path / "out") == sorted(path.replace(".", "-once.")[1:] for path in endings)
    # On a connection used before, libcurl asks once more by itself (RFC 9112 section 9.3.1).
    assert all(2 <= count <= 4 for count in requests(faults, endings).values())
    assert done.returncode == 1


def test_hosts_that_cannot_be_reached_fail_with_the_reason(gdl: RunGdl, tmp_path: Path) -> None:
    with f.refused_port() as refused, f.unanswering_port() as silent:
        urls = {
            f"http://127.0.0.1:{refused}/refused.jpg": ("connection", "(?i)refused|connect"),
            "http://no-such-host.invalid/unknown.jpg": ("connection|timeout", "(?i)resolve|no-such-host"),
            f"http://127.0.0.1:{silent}/silent.jpg": ("timeout|unreachable", "(?i)time|connect"),
        }
        before = time.monotonic()
        done = gdl(*TWO_TRIES, "--timeout", "1", *urls)
    assert time.monotonic() - before < 40
    for result in done.results:
        kind, says = urls[result["url"]]
        assert re.fullmatch(kind, result["error"]["kind"]), result
        assert re.search(says, result["reason"]), result
        assert (result["status"], result["attempts"], result["http_status"]) == ("failed", 2, None)
    assert (done.returncode, len(done.results), files(tmp_path)) == (1, 3, [])


# Statuses


def test_statuses_that_stay_are_not_asked_for_again(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    codes = (400, 401, 403, 404, 405, 406, 410, 418, 451, 501, 505)
    urls = [faults.route(f"/{code}.jpg", f.web_page("No", code=code)) for code in codes]
    done = gdl("--json", "-o", "out", *urls)
    assert outcomes(done) == {f"/{code}.jpg": ("failed", "http", 1) for code in codes}
    assert {result["http_status"] for result in done.results} == set(codes)
    says = errors(done)
    assert says[faults.url("/404.jpg")] == "HTTP 404 Not Found"
    assert all(word in says[faults.url("/401.jpg")] for word in ("login", "--netrc", "--cookies"))
    assert requests(faults, (f"/{code}.jpg" for code in codes)) == {f"/{code}.jpg": 1 for code in codes}
    assert (done.returncode, files(tmp_path)) == (1, [])


def test_statuses_that_may_pass_are_asked_for_again_after_a_growing_wait(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    codes = (408, 425, 429, 500, 502, 503, 504)
    urls = [faults.route(f"/{code}.jpg", f.status(code), f.web_page("Busy", code=code), OK) for code in codes]
    done = gdl("--json", "-o", "out", *urls)
    assert outcomes(done) == {f"/{code}.jpg": ("saved", None, 3) for code in codes}
    for code in codes:
        first, second, third = (request.time for request in faults.requests_for(f"/{code}.jpg"))
        assert second - first > 0.2
        assert third - second > 0.2
        assert (tmp_path / f"out/{code}.jpg").read_bytes() == BODY
    assert (done.returncode, len(files(tmp_path))) == (0, 7)


def test_retries_0_means_one_request(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    urls = [faults.route("/503.jpg", f.status(503), OK), faults.route("/cut.jpg", f.truncated(BODY, 5000), OK)]
    done = gdl("--json", "--retries", "0", *urls)
    assert outcomes(done) == {"/503.jpg": ("failed", "http", 1), "/cut.jpg": ("failed", "body", 1)}
    assert (done.returncode, len(faults.requests), files(tmp_path)) == (1, 2, [])


def in_three_seconds(connection: f.Connection, request: f.Request) -> None:
    """503 with a date: it says no fraction of its second, so it may mean almost one second less."""
    f.status(503, retry_after=f.http_date(3), date=f.http_date())(connection, request)


@pytest.mark.parametrize("at_first", [f.status(429, retry_after=2), in_three_seconds], ids=["429 seconds", "503 date"])
def test_retry_after_is_obeyed_for_the_host_while_others_go_on(
    faults: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, at_first: f.Response
) -> None:
    own = [faults.route(f"/own-{number}.jpg", at_first if number == 0 else OK, OK) for number in range(4)]
    others = [more_faults.route(f"/other-{number}.jpg", OK) for number in range(8)]
    done = gdl("--json", "-j", "1", "-o", "out", own[0], *others[:4], *own[1:], *others[4:])
    first, again = (request.time for request in faults.requests_for("/own-0.jpg"))
    assert 1.9 < again - first < 10
    assert min(request.time for request in faults.requests[1:]) - first > 1.9, "the host is left alone"
    assert max(request.time for request in more_faults.requests) < again, "others go on"
    assert {outcome(result) for result in done.results} == {("saved", None, 1), ("saved", None, 2)}
    assert (done.returncode, len(files(tmp_path))) == (0, 12)


def test_an_absurd_retry_after_fails_at_once_and_says_so(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    absurd: tuple[int | str, ...] = (86_400, "9" * 30, "Fri, 31 Dec 9999 23:59:59 GMT")
    urls = [faults.route(f"/{number}.jpg", f.status(503, retry_after=later)) for number, later in enumerate(absurd)]
    done = gdl("--json", *urls)
    assert outcomes(done) == {f"/{number}.jpg": ("failed", "http", 1) for number in range(3)}
    assert max(result["elapsed"] for result in done.results) < 10
    assert [
        message for message in errors(done).values() if not re.search("503.*(Retry-After|left alone)", message)
    ] == []
    assert (done.returncode, len(faults.requests), files(tmp_path)) == (1, 3, [])


def test_a_host_that_closes_for_an_hour_is_not_asked_for_the_rest_of_the_list(
    faults: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    faults.otherwise(f.status(429, retry_after=3600))
    more_faults.otherwise(OK)
    closed = [faults.url(f"/{number}.jpg") for number in range(300)]
    (tmp_path / "urls.txt").write_text("\n".join([*closed, more_faults.url("/open.jpg")]))
    done = gdl("--json", "-j", "4", "-o", "out", "urls.txt")
    assert (done.returncode, len(done.results)) == (1, 301)
    assert len(faults.requests) <= 8
    assert done.by_url[more_faults.url("/open.jpg")]["status"] == "saved"
    assert {outcome(done.by_url[url]) for url in closed} == {("failed", "http", 1)}
    unasked = [message for message in errors(done).values() if "not asked" in message]
    assert len(unasked) == 300 - len(faults.requests)
    assert all("left alone" in message for message in unasked)


def test_retry_after_is_obeyed_by_those_who_come_after_one_that_does_not_try_again(
    faults: f.FaultServer, gdl: RunGdl
) -> None:
    urls = [faults.route("/first.jpg", f.status(503, retry_after=2))]
    urls += [faults.route(f"/{number}.jpg", OK) for number in range(5)]
    done = gdl("--json", "-j", "1", "--retries", "0", "-o", "out", *urls)
    assert outcomes(done) == {
        "/first.jpg": ("failed", "http", 1),
        **{f"/{number}.jpg": ("saved", None, 1) for number in range(5)},
    }
    first, *others = (request.time for request in faults.requests)
    assert min(others) - first > 1.9
    assert done.returncode == 1


def test_retry_after_of_a_redirects_target_is_obeyed_by_all_that_lead_there(
    faults: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    urls = []
    for number in range(6):
        target = more_faults.route(f"/{number}.jpg", *((f.status(503, retry_after=2),) if number == 0 else ()), OK)
        urls.append(faults.route(f"/to-{number}.jpg", f.redirect(target)))
    direct = more_faults.route("/direct.jpg", OK)
    done = gdl("--json", "-j", "1", "-o", "out", *urls, direct)
    assert {result["status"] for result in done.results} == {"saved"}
    first, *others = (request.time for request in more_faults.requests)
    assert len(others) == 7
    assert min(others) - first > 1.9
    assert (done.returncode, len(files(tmp_path / "out"))) == (0, 7)


def test_a_close_that_is_told_in_a_second_field_is_no_failure(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    twice = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n" % len(BODY)
    twice += b"Connection: keep-alive\r\nConnection: close\r\n\r\n" + BODY
    urls = [faults.route("/kept.jpg", OK)]
    urls += [faults.route(f"/{number}.jpg", f.script(twice, f.close)) for number in range(3)]
    done = gdl("--json", "-j", "1", "--retries", "0", "-o", "out", *urls)
    assert {outcome(result) for result in done.results} == {("saved", None, 1)}
    assert (done.returncode, len(faults.requests), len(files(tmp_path / "out"))) == (0, 4, 4)


def test_a_retry_after_that_says_nothing_means_the_usual_wait(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    strange = ("soon", "-5", "", "1e3", "Thu, 01 Jan 1970 00:00:00 GMT", "٣", "0", "2.5")
    for number, later in enumerate(strange):
        faults.route(f"/{number}.jpg", answers.message(503, b"", retry_after=later.encode()), OK)
    done = gdl("--json", "--retries", "1", *(faults.url(f"/{number}.jpg") for number in range(len(strange))))
    assert outcomes(done) == {f"/{number}.jpg": ("saved", None, 2) for number in range(len(strange))}
    assert (done.returncode, len(files(tmp_path))) == (0, len(strange))
    assert max(result["elapsed"] for result in done.results) < 10


# What is no media, and what is


def test_pages_instead_of_pictures_are_refused_by_what_they_are(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    big = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>" + b"<p>word</p>" * 20_000
    refused = {
        "/page.jpg": (f.web_page(), r'server sent an HTML page, \d+ B, titled "Sign in"'),
        "/labelled.jpg": (f.web_page(media_type="image/jpeg"), r'server sent an HTML page, \d+ B, titled "Sign in"'),
        "/big.jpg": (f.ok(big, "image/jpeg"), r'server sent an HTML page, 220 kB, titled "Sign in"'),
        "/chunked.jpg": (f.chunked(big, "image/jpeg"), r'server sent an HTML page.*, titled "Sign in"'),
        "/control.jpg": (f.web_page("\x1b[31mred\x07"), r"server sent an HTML page"),
        "/json.jpg": (f.ok(b'{"error": "no such picture"}', "application/json"), "server sent JSON.*no such picture"),
        "/text.jpg": (f.ok(b"quota exceeded\n", "text/plain"), "plain text.*quota exceeded"),
        "/pdf.jpg": (f.ok(b"%PDF-1.7\n" + bytes(2000), "image/jpeg"), "application/pdf"),
        "/png.png": (f.ok(bytes(range(256)) * 20, "image/png"), "image/png but the bytes are not"),
    }
    done = gdl("--json", "-o", "out", *(faults.route(path, response) for path, (response, _) in refused.items()))
    assert outcomes(done) == dict.fromkeys(refused, ("failed", "not-media", 1))
    says = {"/" + url.rpartition("/")[2]: message for url, message in errors(done).items()}
    assert [(path, says[path]) for path, (_, word) in refused.items() if not re.search(word, says[path])] == []
    assert "\x1b" not in done.stderr + done.stdout
    assert "\x07" not in done.stderr + done.stdout
    assert requests(faults, refused) == dict.fromkeys(refused, 1)
    assert (done.returncode, files(tmp_path)) == (1, [])


def test_media_is_taken_whatever_it_is_called(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    urls = [
        faults.route("/film", f.ok(samples.mp4(), "text/plain")),
        faults.route("/film.mp4", f.ok(samples.mp4(), "text/html")),
        faults.route("/picture", f.ok(samples.png(), "application/octet-stream")),
        faults.route("/sound", f.ok(samples.wav(), None)),
        faults.route("/show.php", f.ok(samples.gif(), "text/plain; charset=utf-8")),
    ]
    done = gdl("--json", "-o", "out", *urls)
    types = {result["path"]: (result["status"], result["content_type"]) for result in done.results}
    assert types == {
        "out/film.mp4": ("saved", "video/mp4"),
        next((path for path in types if "~" in path), "out/film~HEX.mp4"): ("saved", "video/mp4"),
        "out/picture.png": ("saved", "image/png"),
        "out/sound.wav": ("saved", "audio/wav"),
        "out/show.php.gif": ("saved", "image/gif"),
    }
    assert (done.returncode, len(files(tmp_path))) == (0, 5)


# Names from headers


def test_a_name_from_a_header_cannot_leave_the_folder(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    values = {
        "/up": rb'attachment; filename="../../x.jpg"',
        "/up-encoded": b"attachment; filename*=UTF-8''..%2F..%2Fy.jpg",
        "/up-escaped": b'attachment; filename="%2e%2e%2fz.jpg"',
        "/absolute": b'attachment; filename="/etc/absolute.jpg"',
        "/windows": rb'attachment; filename="C:\\Windows\\system32\\w.jpg"',
        "/windows-raw": rb"attachment; filename=D:\temp\raw.jpg",
        "/nul": b"attachment; filename*=UTF-8''nul%00byte.jpg",
        "/newlines": b"attachment; filename*=UTF-8''new%0D%0Aline.jpg",
        "/dots": b'attachment; filename=".."',
        "/hidden": b'attachment; filename=".bashrc"',
        "/device": b'attachment; filename="CON.jpg"',
        "/part": b'attachment; filename="a.jpg.part"',
        "/tilde": b'attachment; filename="~root.jpg"',
        "/long": b'attachment; filename="' + b"n" * 5000 + b'.jpg"',
        "/long-wide": b"attachment; filename*=UTF-8''" + b"%E5%9B%BE" * 1600 + b".jpg",
        "/bytes": b'attachment; filename="\xff\xfe\xe5.jpg"',
        "/unfinished": b'attachment; filename="unfinished',
        "/nothing": b"attachment; filename=",
        "/semicolons": b"; ; ;;; filename",
    }
    urls = [faults.route(path, f.content_disposition(BODY, value)) for path, value in values.items()]
    done = gdl("--json", "-o", "deep/out", *urls)
    assert outcomes(done) == dict.fromkeys(values, ("saved", None, 1))
    names = files(tmp_path)
    assert len(names) == len(values)
    assert [name for name in names if not re.fullmatch(r"deep/out/[^./\x00-\x1f\\:][^/\x00-\x1f\\:]*\.jpg", name)] == []
    assert max(len(name.rpartition("/")[2].encode()) for name in names) <= 250
    assert {path.read_bytes() for path in (tmp_path / "deep/out").iterdir()} == {BODY}
    paths = {"/" + result["url"].rpartition("/")[2]: result["path"] for result in done.results}
    assert paths["/up"] == "deep/out/x.jpg"
    assert paths["/absolute"] == "deep/out/absolute.jpg"
    assert paths["/windows"] == "deep/out/w.jpg"
    assert done.returncode == 0


def test_raw_control_characters_in_a_name_header_are_refused_or_made_harmless(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    values = {
        "/nul": b'attachment; filename="nul\x00byte.jpg"',
        "/newline": b'attachment; filename="new\nline.jpg"',
        "/folded": b'attachment;\r\n filename="folded.jpg"',
        "/return": b'attachment; filename="re\rturn.jpg"',
        "/escape": b'attachment; filename="\x1b[2Jescape.jpg"',
    }
    urls = [faults.route(path, f.content_disposition(BODY, value)) for path, value in values.items()]
    done = gdl("--json", "--retries", "0", "-o", "out", *urls)
    for result in done.results:
        assert result["status"] == "saved" or outcome(result)[1] == "protocol", result
    saved = sorted(result["path"] for result in done.results if result["status"] == "saved")
    assert files(tmp_path) == saved
    assert [name for name in saved if re.search(r"[\x00-\x1f]", name)] == []
    assert "\x1b" not in done.stderr + done.stdout
    assert len(done.results) == len(values)


# Many at once


def test_each_of_many_urls_on_a_bad_server_has_one_result(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    good = {f"/{number}.jpg": samples.picture(number, 3000) for number in range(200)}
    bad = (f.status(503), f.close, f.reset, f.truncated(BODY, 100), f.bad_chunk_size(BODY))
    for number, (path, body) in enumerate(good.items()):
        faults.route(path, *([bad[number % 5]] if number % 3 == 0 else []), f.ok(body))
    missing = [f"/{number}.png" for number in range(50)]
    (tmp_path / "urls.txt").write_text("".join(faults.url(path) + "\n" for path in [*good, *missing]))
    done = gdl("--json", "--retries", "3", "-o", "out", "urls.txt")
    found = outcomes(done)
    assert {path: found[path][0] for path in good} == dict.fromkeys(good, "saved")
    assert {path: found[path] for path in missing} == dict.fromkeys(missing, ("failed", "http", 1))
    assert {f"/{path.name}": path.read_bytes() for path in (tmp_path / "out").iterdir()} == good
    assert sorted(result["line"] for result in done.results) == list(range(1, 251))
    assert done.returncode == 1


def test_a_list_that_grows_is_served_while_something_fails(faults: f.FaultServer, tmp_path: Path) -> None:
    first, second = faults.route("/a.jpg", f.status(503), OK), faults.route("/b.jpg", OK)
    with start_gdl("--json", "-o", tmp_path, "-", feed=True) as running:
        running.feed(first + "\n")
        faults.wait_for_requests(1)
        running.feed(second + "\n")
        faults.wait_for_requests(3)
        running.end_input()
        done = running.wait()
    assert outcomes(done) == {"/a.jpg": ("saved", None, 2), "/b.jpg": ("saved", None, 1)}
    assert (done.returncode, files(tmp_path)) == (0, ["a.jpg", "b.jpg"])
