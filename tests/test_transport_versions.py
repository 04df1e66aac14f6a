"""One connection for all requests to a host that speaks HTTP/2 or 3, many where it does not, and no option leaks."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import gevent
import pycurl
import pytest
from support import faults as f
from support.processes import wait_until
from support.samples import picture

from downloader import errors
from downloader.options import Options
from downloader.request import Request
from downloader.responses import Head
from downloader.transport import Reply, Transport
from downloader.transport.origins import Origins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.caddy import StartCaddy
    from support.certs import Authority
    from support.nginx import Nginx, StartNginx


BODY = picture(1, 5000)
CURL_VERSION_HTTP3 = 1 << 25
pytestmark = pytest.mark.timeout(120)


class Got:
    """A receiver that takes anything."""

    def __init__(self) -> None:
        self.body = b""

    def begin(self, _head: Head) -> bool:
        return True

    def write(self, chunk: bytes) -> None:
        self.body += chunk


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(BODY)
    return folder


@pytest.fixture
def make(ca: Authority) -> Iterator[Any]:
    with ExitStack() as stack:

        def start(**settings: Any) -> Transport:
            made = Transport(Options(**{"timeout": 20.0, **settings}), cainfo=str(ca.file))
            return stack.enter_context(closing(made))

        yield start


def get(client: Transport, url: str) -> Reply:
    got = Got()
    reply = client.perform(Request(url), got)
    assert got.body == BODY
    return reply


def at_once(client: Transport, url: str, count: int) -> set[str]:
    """The versions so many requests at once were answered in."""
    running = [gevent.spawn(get, client, url) for _ in range(count)]
    gevent.joinall(running, timeout=60, raise_error=True)
    return {greenlet.get(timeout=0).head.version for greenlet in running}


def connections(server: Nginx, requests: int) -> int:
    """How many connections the server saw, once it has written down so many requests."""
    wait_until(lambda: len(server.log()) >= requests, f"{requests} requests in the log")
    return len({entry[0] for entry in server.log()})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_requests_at_once_share_one_connection_over_http2(make: Any, nginx: StartNginx, site: Path, host: str) -> None:
    server = nginx(site)
    client = make(jobs=100)
    for answered in (100, 200):
        assert at_once(client, server.http2("/a.jpg", host), 100) == {"2"}
        assert connections(server, answered) == 1


def test_beyond_the_servers_stream_limit_more_connections_are_opened(make: Any, nginx: StartNginx, site: Path) -> None:
    server = nginx(site, http="http2_max_concurrent_streams 10;")
    assert at_once(make(jobs=100), server.http2("/a.jpg"), 100) == {"2"}
    assert 2 <= connections(server, 100) <= 60


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests_over_http1_wait_for_none(make: Any, faults: f.FaultServer, scheme: str, ca: Authority) -> None:
    with ExitStack() as stack:
        server = faults if scheme == "http" else stack.enter_context(f.FaultServer(ca.good.context()))
        url = server.route("/a.jpg", f.script(f.pause(0.5), f.ok(BODY)))
        client = make(jobs=20)
        for _ in range(2):
            assert at_once(client, url.replace("127.0.0.1", "localhost"), 20) == {"1.1"}
        assert server.connections > 10


@pytest.mark.parametrize(
    ("protocols", "expected"),
    [("h1 h2 h3", {"2", "3"}), ("h1 h2", {"2"}), ("h1", {"1.1"})],
    ids=["with", "without", "old"],
)
def test_http3_falls_back_where_there_is_none(
    make: Any, caddy: StartCaddy, site: Path, protocols: str, expected: set[str]
) -> None:
    server = caddy(site, protocols=protocols)
    client = make(http_version="3", jobs=30)
    for _ in range(2):
        assert at_once(client, server.https("/a.jpg"), 30) <= expected
    if "h3" in protocols and pycurl.version_info()[4] & CURL_VERSION_HTTP3:
        assert at_once(client, server.https("/a.jpg"), 30) == {"3"}


def test_a_server_of_both_kinds_is_served_by_the_same_handles(
    make: Any, nginx: StartNginx, site: Path, faults: f.FaultServer
) -> None:
    server = nginx(site)
    plain = faults.route("/a.jpg", f.script(f.pause(0.1), f.ok(BODY)))
    client = make(jobs=20)
    for _ in range(3):
        assert at_once(client, server.http2("/a.jpg"), 20) == {"2"}
        assert at_once(client, server.https("/a.jpg"), 5) == {"1.1"}
        assert at_once(client, plain, 10) == {"1.1"}
    assert faults.connections > 5, "none waited for another"


def test_a_host_that_takes_no_connection_fails_all_that_wait_for_it(make: Any) -> None:
    with f.unanswering_port() as port:
        client = make(timeout=0.5)
        running = [gevent.spawn(get, client, f"https://127.0.0.1:{port}/") for _ in range(10)]
        gevent.joinall(running, timeout=20)
    assert {type(greenlet.exception) for greenlet in running} == {errors.TimedOut}


def test_a_first_request_that_is_killed_makes_room_for_the_next(make: Any, nginx: StartNginx, site: Path) -> None:
    server = nginx(site)
    client = make()
    first = gevent.spawn(get, client, server.http2("/a.jpg"))
    second = gevent.spawn(get, client, server.http2("/a.jpg"))
    gevent.sleep(0)
    first.kill(timeout=20)
    assert second.get(timeout=20).head.status == 200


def test_closing_ends_those_that_wait_for_a_first_request(make: Any) -> None:
    with f.unanswering_port() as port:
        client = make()
        running = [gevent.spawn(get, client, f"https://127.0.0.1:{port}/") for _ in range(10)]
        gevent.sleep(0.05)
        client.close()
        gevent.joinall(running, timeout=20)
    assert {type(greenlet.exception) for greenlet in running} == {errors.Interrupted}


def test_of_many_origins_the_last_are_remembered() -> None:
    origins = Origins(waits=True, most=3)
    first = origins.get("https://a.test:443")
    first.answered(Head(200, "1.1", {}), asked=False)
    assert not origins.get("https://a.test:443").pipewait
    for name in "bcdef":
        assert origins.get(f"https://{name}.test:443").pipewait
        assert not origins.get(f"http://{name}.test:80").pipewait
    assert len(origins) == 3
    assert origins.get("https://a.test:443").pipewait
    assert not Origins(waits=False).get("https://a.test:443").pipewait


def test_the_time_a_response_takes_is_the_servers(make: Any, faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.script(f.pause(0.2), f.head(200, content_length=5000), f.pause(0.2), BODY))
    client = make()
    for _ in range(2):
        reply = get(client, url)
        assert reply.took >= 0.39
        assert reply.size == len(BODY)


def test_the_time_of_a_request_that_libcurl_sent_again_is_not_below_zero(make: Any, faults: f.FaultServer) -> None:
    def once_a_connection(connection: f.Connection, request: f.Request) -> None:
        if connection.number in served:
            connection.pause(0.1)
            connection.close()
            return
        served.add(connection.number)
        f.ok(BODY)(connection, request)

    served: set[int] = set()
    url = faults.route("/a.jpg", once_a_connection)
    client = make()
    get(client, url)
    reply = get(client, url)
    assert faults.connections == 2
    assert reply.took >= 0
