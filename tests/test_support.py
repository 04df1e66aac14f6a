"""The servers the other tests rely on do what their names say, seen with plain clients."""

from __future__ import annotations

import errno
import gzip
import http.client
import io
import random
import signal
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pycurl
import pytest
from support import faults as f
from support import samples, sized
from support.cli import RunningGdl, environment
from support.processes import PortTakenError, accepts, find_program, free_ports, on_free_ports, wait_until
from support.terminal import TerminalGdl

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from support.caddy import StartCaddy
    from support.certs import Authority, ServerCertificate
    from support.nginx import StartNginx

BODY = samples.picture(1, 5000)


def get(url: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One request on its own connection, redirects not followed."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)) as client:
        client.request("GET", parts.path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        with client.getresponse() as response:
            return response.status, response.headers, response.read()


def follow(url: str, ca: Authority | None = None) -> bytes:
    """The body at the end of all redirects, over TLS as a client that trusts ``ca`` gets it."""
    context = ca.client_context() if ca else None
    with urllib.request.urlopen(url, context=context) as response:  # noqa: S310 - the URLs are ours
        body: bytes = response.read()
        return body


def raw(server: f.FaultServer, path: str, seconds: float = 20, most: int = 1 << 20) -> bytes:
    """All bytes that come for one request until the server closes, ``seconds`` pass or ``most`` came."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        deadline = time.monotonic() + seconds
        while len(received) < most and time.monotonic() < deadline:
            client.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = client.recv(65536)
            except TimeoutError:
                break
            if not data:
                break
            received += data
    return received


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


# The fault server


def test_consecutive_requests_take_consecutive_responses_and_the_last_repeats(faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.status(503, retry_after=2), f.status(429), f.ok(BODY))
    answers = [get(url) for _ in range(4)]
    assert [status for status, _, _ in answers] == [503, 429, 200, 200]
    assert answers[0][1]["Retry-After"] == "2"
    assert answers[3][2] == BODY


def test_requests_are_recorded_as_they_came(faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.ok(BODY))
    get(url + "", X_Test="one")
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection("127.0.0.1", parts.port)) as client:
        for target in ("/a.jpg?q=1", "/b.jpg"):
            client.request("GET", target)
            client.getresponse().read()
    first, second, third = faults.requests
    assert (first.method, first.target, first.header("x-test")) == ("GET", "/a.jpg", "one")
    assert (second.path, second.target, second.connection) == ("/a.jpg", "/a.jpg?q=1", 2)
    assert third.connection == 2, "the connection is kept"
    assert first.time < second.time < third.time
    assert faults.connections == 2
    assert [request.target for request in faults.requests_for("/a.jpg")] == ["/a.jpg", "/a.jpg?q=1"]


def test_peak_is_the_most_requests_served_at_once(faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.script(f.pause(0.3), f.ok(BODY)))
    with ThreadPoolExecutor(5) as pool:
        assert {status for status, _, _ in pool.map(get, [url] * 5)} == {200}
    assert faults.peak == 5
    for _ in range(3):
        get(url)
    assert faults.peak == 5


def test_a_client_that_sends_one_request_after_the_other_is_never_seen_to_run_two(
    faults: f.FaultServer,
) -> None:
    url = faults.route("/a.jpg", f.ok(b"x"))
    for _ in range(200):
        get(url)
    assert faults.peak == 1


def test_at_most_refuses_what_is_above_its_limit(faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.at_most(2, f.script(f.pause(0.5), f.ok(BODY)), f.status(429)))
    with ThreadPoolExecutor(5) as pool:
        statuses = sorted(status for status, _, _ in pool.map(get, [url] * 5))
    assert statuses == [200, 200, 429, 429, 429]


def test_when_waits_for_the_test(faults: f.FaultServer) -> None:
    event = threading.Event()
    url = faults.route("/a.jpg", f.when(event, f.ok(BODY)))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(get, url)
        faults.wait_for_requests(1)
        assert faults.serving == 1
        assert not answer.done()
        event.set()
        assert answer.result()[2] == BODY
    faults.wait_until_idle()


def test_a_script_that_raises_fails_the_test_that_stops_the_server() -> None:
    def buggy(_connection: f.Connection, _request: f.Request) -> None:
        raise LookupError("a bug in the test")

    server = f.FaultServer()
    server.route("/a.jpg", buggy)
    assert raw(server, "/a.jpg") == b""
    with pytest.raises(LookupError, match="a bug in the test"):
        server.stop()


@pytest.mark.parametrize("script", [f.hold, f.endless_body(), f.endless_header(), f.pause(60), f.drip(BODY, 1)])
def test_stopping_ends_whatever_runs(script: f.Response) -> None:
    server = f.FaultServer()
    server.route("/a.jpg", script)
    clients = []
    try:
        for _ in range(10):
            client = socket.create_connection(("127.0.0.1", server.port))
            clients.append(client)
            client.sendall(b"GET /a.jpg HTTP/1.1\r\nHost: x\r\n\r\n")
        clients.append(socket.create_connection(("127.0.0.1", server.port)))
        server.wait_for_requests(10)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 2
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    ("response", "promised", "sent"),
    [
        (f.truncated(BODY, 100), 5000, BODY[:100]),
        (f.overlong(BODY, 4000), 4000, BODY),
        (f.until_close(BODY), None, BODY),
        (f.resource(BODY, etag='"1"', cut=7), 5000, BODY[:7]),
    ],
)
def test_lengths_promised_and_sent_are_those_told(
    faults: f.FaultServer, response: f.Response, promised: int | None, sent: bytes
) -> None:
    faults.route("/a.jpg", response)
    answer = raw(faults, "/a.jpg")
    header = http.client.parse_headers(io.BytesIO(answer.partition(b"\r\n")[2]))
    assert header["Content-Length"] == (None if promised is None else str(promised))
    assert body_of(answer) == sent


def test_an_overlong_body_can_poison_a_connection_that_stays_open(faults: f.FaultServer) -> None:
    faults.route("/a.jpg", f.overlong(BODY, 4000, keep_alive=True))
    answer = raw(faults, "/a.jpg", seconds=0.3)
    assert b"keep-alive" in answer
    assert body_of(answer) == BODY


def test_chunks_are_framed_right_and_wrong_as_told(faults: f.FaultServer) -> None:
    assert get(faults.route("/good", f.chunked(BODY, size=999)))[2] == BODY
    with pytest.raises(http.client.IncompleteRead):
        get(faults.route("/unfinished", f.missing_last_chunk(BODY)))
    faults.route("/bad", f.bad_chunk_size(b"abc"))
    assert body_of(raw(faults, "/bad", seconds=0.3)) == b"3\r\nabc\r\nzebra\r\n"


@pytest.mark.parametrize("response", [f.reset, f.reset_mid_body(BODY, 100)])
def test_a_reset_is_a_reset(faults: f.FaultServer, response: f.Response) -> None:
    url = faults.route("/a.jpg", response)
    with pytest.raises(ConnectionResetError):
        get(url)


def test_close_without_an_answer_sends_nothing(faults: f.FaultServer) -> None:
    faults.route("/a.jpg", f.close)
    assert raw(faults, "/a.jpg") == b""


def test_a_stall_sends_its_part_and_then_nothing(faults: f.FaultServer) -> None:
    faults.route("/early", f.hold)
    faults.route("/late", f.stalled(BODY, 100))
    assert raw(faults, "/early", seconds=0.3) == b""
    assert body_of(raw(faults, "/late", seconds=0.3)) == BODY[:100]


def test_slow_answers_take_their_time(faults: f.FaultServer) -> None:
    started = time.monotonic()
    assert get(faults.route("/header", f.slow_header(0.005, BODY)))[2] == BODY
    header = time.monotonic() - started
    assert get(faults.route("/body", f.drip(BODY[:100], 0.02, piece=10)))[2] == BODY[:100]
    assert header > 0.2
    assert time.monotonic() - started - header > 0.2


def test_headers_can_be_of_any_size(faults: f.FaultServer) -> None:
    faults.route("/long", f.script(f.long_header(200_000, BODY), f.close))
    faults.route("/endless", f.endless_header())
    line = next(line for line in raw(faults, "/long").split(b"\r\n") if line.startswith(b"X-Filler"))
    assert len(line) == 200_000
    assert b"\r\n\r\n" not in raw(faults, "/endless", most=3_000_000)


def test_endless_bodies_go_on(faults: f.FaultServer) -> None:
    faults.route("/a.mp4", f.endless_body(start=samples.mp4()))
    received = raw(faults, "/a.mp4", most=5_000_000)
    assert len(received) >= 5_000_000
    assert body_of(received).startswith(samples.mp4())


def test_redirects_point_where_told_and_cross_hosts(faults: f.FaultServer, more_faults: f.FaultServer) -> None:
    target = more_faults.route("/b.jpg", f.ok(BODY))
    status, headers, _ = get(faults.route("/a.jpg", f.redirect(target, 307)))
    assert (status, headers["Location"]) == (307, target)
    assert faults.url("/a", host="localhost") == f"http://localhost:{faults.port}/a"
    assert follow(faults.url("/a.jpg", host="localhost")) == BODY
    with pytest.raises(urllib.error.HTTPError, match="infinite loop"):
        follow(faults.route("/loop", f.redirect("/loop")))


def test_other_answers_are_what_they_are_called(faults: f.FaultServer) -> None:
    assert b"<title>Log in</title>" in get(faults.route("/page", f.web_page("Log in", "image/jpeg")))[2]
    assert get(faults.route("/empty", f.empty()))[2] == b""
    _, headers, body = get(faults.route("/gzip", f.gzipped(BODY)))
    assert (headers["Content-Encoding"], gzip.decompress(body)) == ("gzip", BODY)
    status, headers, _ = get(faults.route("/206", f.partial(BODY, "bytes 0-4999/9999")))
    assert (status, headers["Content-Range"]) == (206, "bytes 0-4999/9999")
    faults.route("/name", f.script(f.content_disposition(BODY, b'attachment; filename="\xff\xfe.jpg"'), f.close))
    assert b'filename="\xff\xfe.jpg"' in raw(faults, "/name")
    faults.route("/garbage", f.garbage())
    assert not raw(faults, "/garbage").startswith(b"HTTP/")
    faults.route("/interim", f.script(f.interim(f.ok(BODY)), f.close))
    assert raw(faults, "/interim").startswith(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200"
    )
    assert get(faults.route("/date", f.status(503, retry_after=f.http_date(60))))[1]["Retry-After"].endswith("GMT")
    assert get(faults.url("/unknown"))[0] == 404


@pytest.mark.parametrize(
    ("headers", "status", "content_range", "body"),
    [
        ({"Range": "bytes=4990-"}, 206, "bytes 4990-4999/5000", BODY[4990:]),
        ({"Range": "bytes=1-2", "If-Range": '"v1"'}, 206, "bytes 1-2/5000", BODY[1:3]),
        ({"Range": "bytes=-5"}, 206, "bytes 4995-4999/5000", BODY[-5:]),
        ({"Range": "bytes=1-2", "If-Range": '"v0"'}, 200, None, BODY),
        ({"Range": "bytes=5000-"}, 416, "bytes */5000", b""),
        ({"If-None-Match": '"v1"'}, 304, None, b""),
    ],
)
def test_a_resource_answers_ranges_and_conditions(
    faults: f.FaultServer, headers: dict[str, str], status: int, content_range: str | None, body: bytes
) -> None:
    url = faults.route("/a.jpg", f.resource(BODY, etag='"v1"', last_modified="Sat, 01 Jan 2022 00:00:00 GMT"))
    answer = get(url, **headers)
    assert (answer[0], answer[1]["Content-Range"], answer[2]) == (status, content_range, body)
    assert answer[1]["ETag"] == '"v1"' or status == 416


def test_something_can_be_done_to_connections_before_a_request(faults: f.FaultServer) -> None:
    faults.at_connect = f.Connection.reset
    with pytest.raises(OSError, match="reset"):
        get(faults.url("/a.jpg"))
    assert faults.requests == []


def test_ports_without_a_server_refuse_or_do_not_answer() -> None:
    with f.refused_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    with f.unanswering_port() as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), timeout=0.5)


# TLS


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_good_certificate_is_good(tls_faults: f.FaultServer, ca: Authority, host: str) -> None:
    tls_faults.route("/a.jpg", f.ok(BODY))
    assert follow(tls_faults.url("/a.jpg", host=host), ca) == BODY


@pytest.mark.parametrize(
    ("which", "complaint"),
    [("expired", "expired"), ("wrong_host", "doesn't match|not valid for"), ("self_signed", "self.signed")],
)
def test_each_bad_certificate_is_bad_in_its_own_way(ca: Authority, which: str, complaint: str) -> None:
    certificate: ServerCertificate = getattr(ca, which)
    with f.FaultServer(certificate.context()) as server:
        server.route("/a.jpg", f.ok(BODY))
        with pytest.raises(urllib.error.URLError, match=complaint):
            follow(server.url("/a.jpg", host="localhost"), ca)
        wait_until(lambda: server.failed_handshakes, "a failed handshake")


def test_a_tls_connection_closes_in_order(ca: Authority, tls_faults: f.FaultServer) -> None:
    assert follow(tls_faults.route("/a.jpg", f.until_close(BODY)), ca) == BODY
    with tls_client(tls_faults, ca, "/a.jpg") as client:
        while client.recv(65536):
            pass  # a connection closed without a close_notify would raise


def test_a_tls_connection_is_reset_or_stopped_at_once(ca: Authority) -> None:
    with f.FaultServer(ca.good.context()) as server:
        server.route("/reset", f.reset_mid_body(BODY, 10))
        server.route("/hold", f.stalled(BODY, 10))
        with tls_client(server, ca, "/reset") as client, tls_client(server, ca, "/hold"):
            # Python's TLS calls a reset an end of file; the socket itself knows better.
            wait_until(lambda: client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET, "a reset")
            server.wait_for_requests(1, "/hold")
            started = time.monotonic()
            server.stop()
            assert time.monotonic() - started < 2


def tls_client(server: f.FaultServer, ca: Authority, path: str) -> ssl.SSLSocket:
    """A connection on which ``path`` has been asked for."""
    client = ca.client_context().wrap_socket(
        socket.create_connection(("127.0.0.1", server.port), timeout=20),
        server_hostname="localhost",
        suppress_ragged_eofs=False,
    )
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


# Real servers


def curl(url: str, ca: Authority, version: int) -> tuple[int, bytes]:
    """The protocol version spoken, as libcurl numbers it, and the body."""
    body = io.BytesIO()
    handle = pycurl.Curl()
    try:
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.CAINFO, str(ca.file))
        handle.setopt(pycurl.HTTP_VERSION, version)
        handle.setopt(pycurl.PROXY, "")
        handle.setopt(pycurl.TIMEOUT, 20)
        handle.setopt(pycurl.WRITEDATA, body)
        handle.perform()
        return handle.getinfo(pycurl.INFO_HTTP_VERSION), body.getvalue()
    finally:
        handle.close()


def test_nginx_serves_a_folder_over_http_https_and_http2(nginx: StartNginx, ca: Authority, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(BODY)
    server = nginx(tmp_path)
    assert curl(server.http("/a.jpg"), ca, pycurl.CURL_HTTP_VERSION_1_1) == (
        pycurl.CURL_HTTP_VERSION_1_1,
        BODY,
    )
    assert curl(server.https("/a.jpg"), ca, pycurl.CURL_HTTP_VERSION_2TLS) == (
        pycurl.CURL_HTTP_VERSION_1_1,
        BODY,
    )
    assert curl(server.http2("/a.jpg"), ca, pycurl.CURL_HTTP_VERSION_2TLS) == (
        pycurl.CURL_HTTP_VERSION_2_0,
        BODY,
    )
    log = wait_until(lambda: len(server.log()) == 3 and server.log(), "three log lines")
    assert log
    assert [line[1:6] for line in log] == [
        [protocol, "GET", "/a.jpg", "200", "5000"] for protocol in ("HTTP/1.1", "HTTP/1.1", "HTTP/2.0")
    ]


def test_nginx_takes_configuration_and_is_gone_afterwards(nginx: StartNginx, tmp_path: Path, ca: Authority) -> None:
    from support.nginx import run_nginx

    server = nginx(tmp_path, server="location /busy { return 429; }", http="limit_rate 100k;")
    assert get(server.http("/busy"))[0] == 429
    with run_nginx(tmp_path, ca.good) as another:
        assert get(another.http("/busy"))[0] == 404
    assert not accepts(another.http_port)
    assert not another.folder.exists()


def test_a_server_that_does_not_start_says_why(nginx: StartNginx, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unknown directive"):
        nginx(tmp_path, server="no_such_directive on;")


@pytest.mark.parametrize("version", ["1_1", "2TLS", "3ONLY"])
def test_caddy_serves_a_folder_over_each_protocol(
    caddy: StartCaddy, ca: Authority, tmp_path: Path, version: str
) -> None:
    if version == "3ONLY" and not pycurl.version_info()[4] & pycurl.VERSION_HTTP3:
        pytest.skip("this libcurl has no HTTP/3")
    (tmp_path / "a.jpg").write_bytes(BODY)
    server = caddy(tmp_path, site="respond /busy 429")
    asked: int = getattr(pycurl, f"CURL_HTTP_VERSION_{version}")
    spoken: int = getattr(pycurl, f"CURL_HTTP_VERSION_{ {'1_1': '1_1', '2TLS': '2_0', '3ONLY': '3'}[version] }")
    assert curl(server.https("/a.jpg"), ca, asked) == (spoken, BODY)
    assert curl(server.http("/a.jpg"), ca, pycurl.CURL_HTTP_VERSION_1_1)[1] == BODY
    assert get(server.http("/busy"))[0] == 429


def test_a_program_that_is_missing_skips_here_and_fails_on_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed"):
        find_program("no-such-server")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="not installed"):
        find_program("no-such-server")


def test_free_ports_differ_and_a_taken_one_means_another_try() -> None:
    assert len(set(free_ports(20))) == 20
    tried: list[list[int]] = []

    def start(ports: list[int]) -> None:
        tried.append(ports)
        if len(tried) < 3:
            raise PortTakenError

    assert on_free_ports(2, start) == tried[2]


# gdl as a process


def test_gdl_runs_in_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    show = """
import json, os, sys
print(json.dumps({"args": sys.argv[1:], "stdin": sys.stdin.read(), "env": dict(os.environ)}))
"""
    with RunningGdl(["a", "b"], stdin="list", env={"X": "1"}, program=("-c", show)) as running:
        seen = running.wait().results[0]
    env = seen["env"]
    assert (seen["args"], seen["stdin"]) == (["a", "b"], "list")
    assert env["X"] == "1"
    assert "http_proxy" not in env
    assert set(env) <= {*environment("home"), "X", "LC_CTYPE"}


def test_a_running_gdl_can_be_fed_and_signalled() -> None:
    echo = ("-uc", "import sys\nfor line in sys.stdin: print(line, end='', file=sys.stderr)\nprint('end')")
    with RunningGdl([], feed=True, program=echo) as running:
        running.feed("one\n")
        running.wait_for_stderr("one\n")
        running.end_input()
        assert running.wait().stdout == "end\n"
    with RunningGdl([], feed=True, program=echo) as running:
        running.send_signal(signal.SIGTERM)
        assert running.wait().returncode == -signal.SIGTERM


def test_a_gdl_that_hangs_is_killed_and_its_output_shown() -> None:
    hang = ("-uc", "import time; print('so far'); time.sleep(60)")
    with RunningGdl([], program=hang) as running:
        wait_until(lambda: running.stdout, "output")
        with pytest.raises(AssertionError, match="so far"):
            running.wait(0.1)


def test_a_terminal_has_a_size_and_a_screen() -> None:
    show = """
import os
print(*os.get_terminal_size(), os.isatty(0), os.isatty(2))
print("first\\n\\x1b[A\\x1b[2Ksecond\\x1b[31m!\\x1b[0m")
"""
    with TerminalGdl([], columns=50, rows=3, program=("-c", show)) as running:
        run = running.wait()
    assert run.returncode == 0
    assert run.screen == ["50 3 True True", "second!", ""]
    assert run.scrollback == ["50 3 True True", "second!"]
    assert next(run.screens()) == ["", "", ""]
    assert b"\x1b[31m" in run.output


def test_a_terminal_passes_keys_and_resizing_on() -> None:
    show = """
import os, signal, time
signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b"%d %d\\n" % os.get_terminal_size()))
print("ready", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("stopped")
"""
    with TerminalGdl([], program=("-c", show)) as running:
        running.wait_for(lambda screen: "ready" in screen, "ready")
        running.resize(70, 20)
        running.wait_for(lambda screen: "70 20" in screen, "the new size")
        running.press(b"\x03")
        assert running.wait().screen[2].endswith("stopped")


def test_on_a_terminal_the_list_can_still_be_a_pipe() -> None:
    show = ("-c", "import os, sys; print(sys.stdin.read(), os.isatty(0), os.isatty(1))")
    with TerminalGdl([], stdin=b"list", program=show) as running:
        assert running.wait().screen[0] == "list False True"


# Samples


@pytest.mark.parametrize("size", [samples.SMALLEST_PICTURE, 600, 65_900, 66_000, 131_330, 300_000])
def test_a_picture_is_a_whole_jpeg_of_its_size(size: int) -> None:
    data = samples.picture(1, size)
    assert len(data) == size
    assert data == samples.picture(1, size)
    assert size == samples.SMALLEST_PICTURE or data != samples.picture(2, size)
    at = 2
    while data[at + 1] != 0xDA:
        assert data[at] == 0xFF
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    assert data[at:].endswith(b"\xff\xd9")


def test_every_size_around_a_comment_s_most_is_possible() -> None:
    most = 65_537 + samples.SMALLEST_PICTURE - 4
    assert all(len(samples.picture(1, size)) == size for size in range(most - 6, most + 12))


@pytest.mark.parametrize("kind", sized.KINDS)
def test_sized_files_have_all_the_noise_that_their_structure_leaves_room_for(kind: str) -> None:
    made = sized.KINDS[kind].make
    for size in (*range(sized.LEAST, sized.LEAST + 530), *range(50_040, 50_080), 100_101, 150_069):
        noise, other = (random.Random(seed).randbytes(size) for seed in (1, 2))  # noqa: S311
        first, second = made(noise), made(other)
        assert len(first) == len(second) == size
        assert [at for at in range(0, size - 255, 256) if first[at : at + 256] == second[at : at + 256]] == []
        kept = sum(a == b for a, b in zip(first, noise, strict=True))
        assert kept > size - 500 - size // 100


def test_samples_have_the_structure_of_their_kind() -> None:
    png = samples.png()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">I", png[-4:])[0] == zlib.crc32(b"IEND")
    assert samples.gif().endswith(b";")
    mp4, at, kinds = samples.mp4(2000), 0, []
    while at < len(mp4):
        size, kind = struct.unpack_from(">I4s", mp4, at)
        kinds.append(kind)
        at += size
    assert (at, kinds) == (2000, [b"ftyp", b"moov", b"mdat"])
    with pytest.raises(ValueError, match="as small as 100 bytes"):
        samples.mp4(100)
    assert samples.wav()[8:12] == b"WAVE"
    assert samples.mp3()[10:12] == b"\xff\xfb"
