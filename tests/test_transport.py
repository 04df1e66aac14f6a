"""The transport over real sockets: whole responses, faithful errors, nothing leaked from one request to the next."""

from __future__ import annotations

import base64
import gzip
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import certifi
import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import faults as f
from support.samples import picture

from downloader import errors
from downloader.descriptors import Room
from downloader.options import USER_AGENT, Options
from downloader.request import Request
from downloader.transport import Transport, handles, watchers
from downloader.transport.watchers import FEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from support.certs import Authority
    from support.nginx import StartNginx

    from downloader.responses import Head

BODY = picture(1, 20_000)
pytestmark = pytest.mark.timeout(120)


@dataclass
class Collected:
    """A receiver that keeps what came, and what came first."""

    heads: list[Head] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)

    def begin(self, head: Head) -> bool:
        assert not self.chunks, "the head comes first"
        self.heads.append(head)
        return True

    def write(self, chunk: bytes) -> None:
        assert self.heads, "the head comes first"
        self.chunks.append(chunk)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


class MakeTransport(Protocol):
    """Makes a `Transport` that is closed with the test; ``settings`` are those of `Options`."""

    def __call__(self, *, spare: int = 1, cainfo: str | None = None, **settings: Any) -> Transport:
        """Make it."""


@pytest.fixture
def make() -> Iterator[MakeTransport]:
    with ExitStack() as stack:

        def start(*, spare: int = 1, cainfo: str | None = None, **settings: Any) -> Transport:
            made = Transport(Options(**{"timeout": 10.0, **settings}), cainfo=cainfo, spare=spare)
            stack.callback(made.close)
            return made

        yield start


def get(transport: Transport, url: str, **more: Any) -> Collected:
    got = Collected()
    reply = transport.perform(Request(url, **more), got)
    assert got.heads == [reply.head]
    assert reply.took >= 0
    assert reply.size == len(got.body)
    return got


def eventually(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Let the hub run until the condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        gevent.sleep(0.01)


def in_parallel(jobs: Sequence[Callable[[], Any]], seconds: float = 60) -> list[Any]:
    """What each of the jobs returned or raised, all of them run at once."""

    def attempt(job: Callable[[], Any]) -> Any:
        try:
            return job()
        except errors.GdlError as error:
            return error

    greenlets = [gevent.spawn(attempt, job) for job in jobs]
    done = gevent.joinall(greenlets, timeout=seconds)
    assert len(done) == len(jobs), f"{len(jobs) - len(done)} exchanges hang"
    return [greenlet.value for greenlet in greenlets]


# Responses


def test_head_and_body_come_whole_and_in_order(make: MakeTransport, faults: f.FaultServer) -> None:
    faults.route("/ok", f.ok(BODY, etag='"v1"'))
    faults.route("/empty", f.empty())
    faults.route("/chunked", f.chunked(BODY))
    faults.route("/close", f.until_close(BODY))
    faults.route("/early", f.interim(f.ok(BODY)))
    faults.route("/gzip", f.gzipped(BODY))
    faults.route("/gone", f.status(404, b"gone"))
    faults.route("/moved", f.redirect("/ok"))
    client = make()
    got = get(client, faults.url("/ok"))
    assert (got.heads[0].status, got.heads[0].version, got.heads[0].get("etag")) == (200, "1.1", '"v1"')
    for path in ("/ok", "/chunked", "/close", "/early"):
        got = get(client, faults.url(path))
        assert (got.heads[0].status, got.body == BODY) == (200, True), path
    got = get(client, faults.url("/gzip"))
    assert (got.heads[0].encoded, gzip.decompress(got.body)) == (True, BODY), "encodings are the receiver's business"
    assert get(client, faults.url("/empty")).chunks == []
    assert get(client, faults.url("/gone")).body == b"gone"
    assert get(client, faults.url("/moved")).heads[0].get("location") == "/ok"
    assert len(faults.requests_for("/ok")) == 2, "redirects are not followed"


def test_a_large_body_streams_in_bounded_chunks(make: MakeTransport, faults: f.FaultServer) -> None:
    body = os.urandom(4 << 20)
    got = get(make(), faults.route("/large", f.ok(body)))
    assert got.body == body
    assert len(got.chunks) > 10
    assert max(map(len, got.chunks)) <= handles.BUFFER


def test_only_the_bytes_as_they_are_are_asked_for(make: MakeTransport, faults: f.FaultServer) -> None:
    get(make(user_agent="me/1.0"), faults.route("/ok", f.ok(BODY)), user_agent="me/1.0")
    request = faults.requests[0]
    assert (request.method, request.header("accept-encoding")) == ("GET", "identity")
    assert (request.header("user-agent"), request.header("referer")) == ("me/1.0", None)


def test_the_version_asked_for_is_spoken(make: MakeTransport, nginx: StartNginx, ca: Authority, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(BODY)
    server = nginx(tmp_path)
    for version, spoken in (("auto", "2"), ("2", "2"), ("1.1", "1.1")):
        client = make(http_version=version, cainfo=str(ca.file))
        jobs = [partial(get, client, server.http2("/a.jpg"))] * 20
        for got in in_parallel(jobs):
            assert (got.heads[0].version, got.body == BODY) == (spoken, True)


# Errors


class Refused(Exception):
    """What a receiver raises."""


@pytest.mark.parametrize("kind", [Refused, GeneratorExit, gevent.GreenletExit])
@pytest.mark.parametrize("place", ["begin", "write", "begin of an empty body"])
def test_what_a_receiver_raises_comes_out_as_itself(
    make: MakeTransport, faults: f.FaultServer, kind: type[BaseException], place: str
) -> None:
    error = kind("mine")

    class Receiver(Collected):
        def begin(self, head: Head) -> bool:
            if place.startswith("begin"):
                raise error
            return super().begin(head)

        def write(self, chunk: bytes) -> None:  # noqa: ARG002 it does not matter which
            raise error

    client = make()
    url = faults.route("/a", f.empty() if "empty" in place else f.ok(BODY))
    faults.route("/b", f.ok(BODY))
    with pytest.raises(kind) as caught:
        client.perform(Request(url), Receiver())
    assert caught.value is error
    assert get(client, faults.url("/b")).body == BODY


def test_errors_are_those_of_the_table(make: MakeTransport, faults: f.FaultServer) -> None:
    client = make(timeout=1.0, spare=100)
    faults.route("/slow", f.drip(BODY, 0.05))
    expected = {
        faults.route("/truncated", f.truncated(BODY, 500)): errors.BodyError,
        faults.route("/reset", f.reset_mid_body(BODY, 500)): errors.ConnectError,
        faults.route("/reset-at-once", f.reset): errors.ConnectError,
        faults.route("/nothing", f.close): errors.ConnectError,
        faults.route("/garbage", f.garbage()): errors.ProtocolError,
        faults.route("/zebra", f.bad_chunk_size(BODY)): errors.BodyError,
        faults.route("/no-last-chunk", f.missing_last_chunk(BODY)): errors.BodyError,
        faults.route("/stalled", f.stalled(BODY, 500)): errors.TimedOut,
        faults.route("/silent", f.hold): errors.TimedOut,
        faults.route("/endless-header", f.endless_header()): errors.ProtocolError,
        "http://name.invalid/": errors.NotConnected,
    }
    with f.refused_port() as refused, f.unanswering_port() as unanswering:
        expected[f"http://127.0.0.1:{refused}/"] = errors.NotConnected
        expected[f"http://127.0.0.1:{unanswering}/"] = errors.TimedOut
        jobs = [partial(get, client, url) for url in expected]
        jobs.append(partial(get, client, faults.url("/slow"), deadline=0.3))
        *found, late = in_parallel(jobs)
    kinds = {url: type(error) for url, error in zip(expected, found, strict=True)}
    # A resolver may take its time to say no.
    if kinds["http://name.invalid/"] is errors.TimedOut:
        kinds["http://name.invalid/"] = errors.NotConnected
    assert kinds == expected
    assert type(late) is errors.TimedOut
    assert not client._active


def test_a_certificate_that_is_not_right_is_a_tls_error(make: MakeTransport, ca: Authority) -> None:
    for certificate in (ca.expired, ca.wrong_host, ca.self_signed):
        with f.FaultServer(certificate.context()) as server:
            url = server.route("/a", f.ok(BODY))
            with pytest.raises(errors.TlsError, match="--cacert"):
                get(make(cainfo=str(ca.file)), url)
            assert get(make(cainfo=str(ca.file), insecure=True), url).body == BODY


def test_a_trusted_certificate_is_taken_and_its_connection_kept(
    make: MakeTransport, ca: Authority, tls_faults: f.FaultServer
) -> None:
    client = make(cainfo=str(ca.file))
    url = tls_faults.route("/a", f.ok(BODY))
    for _ in range(3):
        assert get(client, url).body == BODY
    assert tls_faults.connections == 1
    with pytest.raises(errors.TlsError):
        get(make(), url)


def test_without_another_file_certifis_certificates_are_trusted(
    make: MakeTransport,
    ca: Authority,
    faults: f.FaultServer,
    tls_faults: f.FaultServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_for: list[str] = []

    def where() -> str:
        looked_for.append("certificates")
        return str(ca.file)

    monkeypatch.setattr(certifi, "where", where)
    client = make()
    urls = [server.route("/a", f.ok(BODY)) for server in (faults, tls_faults)]
    assert get(client, urls[0]).body == BODY
    assert not looked_for
    for url in urls[::-1] * 2:
        assert get(client, url).body == BODY
    assert len(looked_for) == 1


def test_a_libcurl_that_cannot_do_the_work_is_named_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    handles.check_libcurl()
    monkeypatch.setattr(handles, "LEAST_LIBCURL", (99, 0, 1))
    with pytest.raises(errors.UsageError, match=r"99\.0\.1"):
        Transport(Options())


# Nothing leaks from one request to the next


def test_a_handle_that_is_used_again_knows_nothing_of_its_last_request(
    make: MakeTransport, faults: f.FaultServer
) -> None:
    client = make(spare=1)
    url = faults.route("/a", f.ok(BODY))
    get(
        client,
        url,
        headers=(("X-Secret", "1"), ("Authorization", "2"), ("Accept", "3")),
        cookie="a=b",
        user_agent="spy/1.0",
        referer="http://r/",
        deadline=30.0,
    )
    get(client, url, username="me", password="word")
    get(client, url)
    get(client, url, user_agent=Options().user_agent)
    first, second, third, fourth = faults.requests
    assert (first.header("x-secret"), first.header("cookie"), first.header("referer")) == ("1", "a=b", "http://r/")
    assert second.header("authorization") == "Basic " + base64.b64encode(b"me:word").decode()
    for request in (second, third, fourth):
        names = {name.lower() for name, _ in request.headers}
        assert names.isdisjoint({"x-secret", "cookie", "referer"}), request.headers
        assert request.header("accept") in (None, "*/*")
    for request in (third, fourth):
        assert request.header("authorization") is None
    assert fourth.header("user-agent") == Options().user_agent


PARTS = st.fixed_dictionaries(
    {},
    optional={
        "headers": st.sampled_from([(("X-One", "1"),), (("X-Two", "2"), ("X-Three", ""))]),
        "cookie": st.sampled_from(["a=b", "c=d"]),
        "user_agent": st.sampled_from(["one/1", "two/2"]),
        "referer": st.sampled_from(["http://one/", "http://two/"]),
        "username": st.sampled_from(["me", "you"]),
        "deadline": st.just(60.0),
    },
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(PARTS, max_size=6))
def test_whatever_came_before_a_request_says_what_it_should(
    faults: f.FaultServer, sequence: list[dict[str, Any]]
) -> None:
    client = Transport(Options(timeout=10.0, user_agent="one/1", referer="http://one/"), spare=1)
    url = faults.route("/a", f.ok(b"x"))
    try:
        for parts in sequence:
            get(client, url, **parts)
            seen = faults.requests[-1]
            username = parts.get("username")
            expected = {
                "cookie": parts.get("cookie"),
                "user-agent": parts.get("user_agent"),
                "referer": parts.get("referer"),
                "authorization": username and "Basic " + base64.b64encode(f"{username}:".encode()).decode(),
                **{name: dict(parts.get("headers", ())).get(name) for name in ("X-One", "X-Two", "X-Three")},
            }
            found = {name: seen.header(name) for name in expected}
            if "user_agent" not in parts:
                found.pop("user-agent")
                expected.pop("user-agent")
            assert found == expected
    finally:
        client.close()


@pytest.mark.parametrize(
    ("parts", "header", "expected"),
    [
        ({"headers": (("X-Name", "käse"),)}, "x-name", "käse"),
        ({"user_agent": "käse/1"}, "user-agent", "käse/1"),
        ({"referer": "http://r/käse"}, "referer", "http://r/käse"),
        ({"cookie": "a=käse"}, "cookie", "a=käse"),
        ({"username": "käse", "password": "brühe"}, "authorization", None),
    ],
)
def test_text_outside_ascii_goes_out_as_utf_8(
    make: MakeTransport, faults: f.FaultServer, parts: dict[str, Any], header: str, expected: str | None
) -> None:
    get(make(), faults.route("/a", f.ok(BODY)), **parts)
    value = faults.requests[0].header(header)
    assert value is not None
    if expected is None:
        assert base64.b64decode(value.removeprefix("Basic ")).decode() == "käse:brühe"
    else:
        assert value.encode("latin-1").decode() == expected


# Connections


def test_one_connection_serves_one_request_after_the_other(make: MakeTransport, faults: f.FaultServer) -> None:
    client = make()
    faults.route("/a", f.ok(BODY))
    faults.route("/chunked", f.chunked(BODY))
    faults.route("/gone", f.status(404, b"x" * 5000))
    faults.route("/moved", f.redirect("/a"))
    for path in ("/a", "/gone", "/chunked", "/moved", "/nowhere", "/a"):
        get(client, faults.url(path))
    assert faults.connections == 1


def test_a_broken_connection_is_not_used_again(make: MakeTransport, faults: f.FaultServer) -> None:
    client = make()
    good = faults.route("/good", f.ok(BODY))
    for path, response in (
        ("/overlong", f.overlong(BODY, 100, keep_alive=True)),
        ("/truncated", f.truncated(BODY, 100)),
        ("/zebra", f.bad_chunk_size(BODY)),
    ):
        in_parallel([partial(get, client, faults.route(path, response))])
        assert get(client, good).body == BODY, path


def test_hundreds_of_exchanges_go_on_at_once(make: MakeTransport, faults: f.FaultServer) -> None:
    count = 300
    bodies = {faults.route(f"/{number}", f.ok(picture(number, 3000))): picture(number, 3000) for number in range(count)}
    client = make(jobs=count, spare=64, timeout=60.0)
    got = [answer.body for answer in in_parallel([partial(get, client, url) for url in bodies])]
    assert got == list(bodies.values())
    assert client._handles.idle <= 64
    assert not client._active
    eventually(lambda: not client._watchers, "the end of all watchers")


@pytest.mark.parametrize(("spare", "first"), [(watchers.SPARE, FEW), (0.0, 3 * FEW)])
def test_of_many_that_are_ready_at_once_a_few_go_first_where_there_is_time_to_spare(
    make: MakeTransport, faults: f.FaultServer, spare: float, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "SPARE", spare)
    together = threading.Event()
    faults.otherwise(f.when(together, f.ok(BODY)))
    transport = make()
    seen: list[str] = []

    def ask(number: int) -> None:
        get(transport, faults.url(f"/{number}.jpg"))
        seen.append("answered")
        gevent.spawn(seen.append, "next")

    asked = [gevent.spawn(ask, number) for number in range(3 * FEW)]
    eventually(lambda: len(faults.requests) == len(asked), "that all are asked")
    together.set()
    time.sleep(0.5)  # the hub too, so that all answers are there when it goes on
    gevent.joinall(asked, raise_error=True)
    assert seen.index("next") == first


def test_a_proxy_is_used_and_an_empty_one_means_none(
    make: MakeTransport, faults: f.FaultServer, more_faults: f.FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    more_faults.otherwise(f.ok(b"by proxy"))
    url = faults.route("/a", f.ok(BODY))
    monkeypatch.setenv("http_proxy", more_faults.url())
    monkeypatch.delenv("no_proxy", raising=False)
    assert get(make(), url).body == b"by proxy"
    assert get(make(proxy=""), url).body == BODY
    monkeypatch.delenv("http_proxy")
    assert get(make(), url).body == BODY
    assert get(make(proxy=more_faults.url()), url).body == b"by proxy"
    assert {request.target for request in more_faults.requests} == {url}


def test_netrc_is_read_where_asked(
    make: MakeTransport, faults: f.FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password word\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    url = faults.route("/a", f.ok(BODY))
    for netrc in (False, True):
        get(make(netrc=netrc), url)
    assert [request.header("authorization") for request in faults.requests] == [
        None,
        "Basic " + base64.b64encode(b"me:word").decode(),
    ]


# Ends


def test_nothing_is_left_of_an_exchange_that_is_over(make: MakeTransport, faults: f.FaultServer) -> None:
    client = make(spare=1)
    url = faults.route("/a", f.ok(BODY))
    in_parallel([partial(get, client, url)] * 10)
    assert not client._active
    assert client._handles.idle == 1
    eventually(lambda: not client._watchers, "the end of all watchers")


@pytest.mark.parametrize("others", [0, 5])
def test_a_connection_that_was_closed_between_two_requests_makes_room_for_another_of_its_number(
    make: MakeTransport, faults: f.FaultServer, others: int
) -> None:
    def once(connection: f.Connection, request: f.Request) -> None:
        connection.pause(0.02)  # so that it is waited for
        f.ok(BODY)(connection, request)
        connection.pause(0.05)
        connection.close()

    client = make(timeout=5.0)
    url = faults.route("/a", once)
    for number in range(1, 4):
        at_once = [partial(get, client, url) for _ in range(1 + others)]
        assert [answer.body for answer in in_parallel(at_once)] == [BODY] * (1 + others)
        assert faults.connections == number * (1 + others)
        eventually(lambda: not faults.open_connections, "the end of all connections")


def test_idle_connections_make_room_for_new_ones() -> None:
    ready = threading.Event()
    with ExitStack() as stack:
        servers = [stack.enter_context(f.FaultServer()) for _ in range(8)]
        client = Transport(Options(timeout=20.0, jobs=4), room=Room(transfers=4, connections=6, hanging=0, nameless=0))
        stack.callback(client.close)
        urls = [server.route("/a", f.ok(BODY)) for server in servers[:4]]
        in_parallel([partial(get, client, url) for url in urls])
        assert sum(server.open_connections for server in servers) == 4
        urls = [server.route("/a", f.when(ready, f.ok(BODY))) for server in servers[4:]]
        running = [gevent.spawn(get, client, url) for url in urls]
        eventually(lambda: sum(server.serving for server in servers) == 4, "four requests")
        eventually(lambda: sum(server.open_connections for server in servers) <= 6, "the end of two connections")
        ready.set()
        gevent.joinall(running, timeout=20)
        assert [greenlet.value.body for greenlet in running if greenlet.value] == [BODY] * 4


def test_closing_gives_everything_back_and_may_be_repeated(faults: f.FaultServer) -> None:
    url = faults.route("/a", f.ok(BODY))
    gevent.sleep(0.01)  # the hub's own descriptors are there
    before = len(os.listdir("/proc/self/fd"))
    client = Transport(Options(timeout=10.0))
    in_parallel([partial(get, client, url)] * 10)
    client.close()
    client.close()
    eventually(lambda: not faults.open_connections, "the end of all connections")
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before, "the end of all descriptors")
    with pytest.raises(RuntimeError, match="closed"):
        get(client, url)


def test_closing_interrupts_what_runs(make: MakeTransport, faults: f.FaultServer) -> None:
    client = make()
    stages = [faults.route("/silent", f.hold), faults.route("/stalled", f.stalled(BODY, 100))]
    with f.unanswering_port() as port:
        stages.append(f"http://127.0.0.1:{port}/")
        running = [gevent.spawn(get, client, url) for url in stages]
        eventually(lambda: faults.serving == 2, "two requests")
        client.close()
        gevent.joinall(running, timeout=20)
    for greenlet in running:
        assert type(greenlet.exception) is errors.Interrupted
    assert not client._active
    assert not client._watchers
    eventually(lambda: not faults.open_connections, "the end of all connections")


def test_a_greenlet_that_is_woken_may_close_the_transport(make: MakeTransport, faults: f.FaultServer) -> None:
    client = make()
    ready = threading.Event()
    url = faults.route("/a", f.when(ready, f.ok(BODY)))

    def fetch_and_close() -> bytes:
        try:
            return get(client, url).body
        finally:
            client.close()

    running = [gevent.spawn(fetch_and_close) for _ in range(10)]
    eventually(lambda: faults.serving == 10, "ten requests")
    ready.set()
    gevent.joinall(running, timeout=20)
    ends = {type(greenlet.exception) if greenlet.exception else greenlet.value for greenlet in running}
    assert BODY in ends
    assert ends <= {BODY, errors.Interrupted}


def test_a_killed_greenlet_drops_its_connection_and_no_other(make: MakeTransport, faults: f.FaultServer) -> None:
    client = make()
    ready = threading.Event()
    hanging = [faults.route("/silent", f.hold), faults.route("/stalled", f.stalled(BODY, 100))]
    victims = [gevent.spawn(get, client, url) for url in hanging]
    survivor = gevent.spawn(get, client, faults.route("/a", f.when(ready, f.ok(BODY))))
    eventually(lambda: faults.serving == 3, "three requests")
    for victim in victims:
        victim.kill(timeout=20)
        assert victim.dead
    eventually(lambda: faults.open_connections == 1, "the end of two connections")
    assert len(client._active) == 1
    ready.set()
    assert survivor.get(timeout=20).body == BODY
    assert not client._active
    eventually(lambda: not client._watchers, "the end of all watchers")


def test_a_greenlet_killed_while_it_connects_leaves_nothing(make: MakeTransport) -> None:
    client = make()
    with f.unanswering_port() as port:
        for seconds in (0, 0.02):
            victim = gevent.spawn(get, client, f"http://127.0.0.1:{port}/")
            gevent.sleep(seconds)
            victim.kill(timeout=20)
            assert not client._active
            eventually(lambda: not client._watchers, "the end of all watchers")


def test_each_thread_has_a_hub_and_a_transport_of_its_own(faults: f.FaultServer) -> None:
    bodies = {faults.route(f"/{number}", f.ok(picture(number, 3000))): picture(number, 3000) for number in range(40)}
    found: dict[int, list[bytes]] = {}

    def work(number: int) -> None:
        client = Transport(Options(timeout=30.0))
        try:
            found[number] = [answer.body for answer in in_parallel([partial(get, client, url) for url in bodies])]
        finally:
            client.close()
            gevent.get_hub().destroy(destroy_loop=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: list(bodies.values()) for number in range(2)}


def test_bytes_of_the_next_response_are_no_surplus_of_the_last(
    nginx: StartNginx, make: MakeTransport, tmp_path: Path
) -> None:
    """Where several end in one go, libcurl gives their connections to those that wait before it tells of the ends."""
    (tmp_path / "film.mp4").write_bytes(BODY * 25)
    server = nginx(tmp_path, server="limit_rate 16m; sendfile_max_chunk 64k;")
    transport = make(spare=8)

    def ask() -> None:
        for _ in range(20):
            film = Collected()
            transport.perform(Request(server.http("/film.mp4")), film)
            assert len(film.body) == 25 * len(BODY)

    gevent.joinall([gevent.spawn(ask) for _ in range(8)], raise_error=True)


@pytest.mark.parametrize(
    "own",
    [
        {"headers": (("A", "1"),)},
        {"username": "me"},
        {"cookie": "a=b"},
        {"deadline": 3.0},
        {"http1": True},
        {"user_agent": "another"},
        {"referer": "https://h/"},
    ],
    ids=lambda own: next(iter(own)),
)
def test_a_request_with_anything_of_its_own_leaves_nothing_of_it_to_the_next(own: dict[str, Any]) -> None:
    made = handles.Handles(Options(), None, spare=1)
    request = Request("http://h/", user_agent=USER_AGENT)
    assert made.is_plain(request)
    assert not made.is_plain(replace(request, **own))
