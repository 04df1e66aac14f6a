"""Bytes that nobody asked for: they are seen, and never taken for the answer to another request."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from support import answers
from support import faults as f
from support.samples import picture

from downloader import errors
from downloader.descriptors import Room
from downloader.framing import Framing
from downloader.options import Options
from downloader.request import Request
from downloader.transport import Transport
from downloader.transport.connections import Connection, Connections, tcp_info, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.certs import Authority

    from downloader.responses import Head

pytestmark = pytest.mark.timeout(120)

SMALL, LARGE = picture(1, 9000), picture(2, 300_000)
STOLEN = f.head(200, content_length=3000, content_type="image/jpeg") + picture(99, 3000)
"""A whole answer that nobody asked for."""


class Got:
    """A receiver that keeps what comes."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.body = b""

    def begin(self, head: Head) -> bool:
        self.heads.append(head)
        return True

    def write(self, chunk: bytes) -> None:
        self.body += chunk


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, ca: Authority) -> Iterator[f.FaultServer]:
    with f.FaultServer(ca.good.context() if request.param == "https" else None) as started:
        yield started


@pytest.fixture
def client(ca: Authority) -> Iterator[Transport]:
    with closing(Transport(Options(timeout=10.0), cainfo=str(ca.file))) as made:
        yield made


def ask(client: Transport, url: str, **more: Any) -> tuple[bytes, Framing]:
    """The body that is handed on, and what told its end; the receiver hears of one head, whatever came before."""
    got = Got()
    reply = client.perform(Request(url, **more), got)
    assert got.heads == [reply.head]
    return got.body, reply.framing


def used(server: f.FaultServer, path: str) -> list[int]:
    """The connections that a path was asked for on, by their numbers."""
    return [request.connection for request in server.requests_for(path)]


def answer(body: bytes, **headers: Any) -> bytes:
    return f.head(200, content_length=len(body), content_type="image/jpeg", **headers) + body


@pytest.mark.parametrize("closes", [False, True])
def test_a_connection_that_makes_room_for_another_is_held_against_nobody(
    server: f.FaultServer, more_faults: f.FaultServer, ca: Authority, *, closes: bool
) -> None:
    """libcurl closes it before it tells that its response is complete."""
    response = f.script(answer(SMALL), *((f.close,) if closes else ()))
    urls = [server.route("/a", response), more_faults.route("/a", response)]
    room = Room(transfers=4, connections=1, hanging=8, nameless=8)
    with closing(Transport(Options(timeout=10.0), cainfo=str(ca.file), room=room)) as client:
        asked = [gevent.spawn(ask, client, urls[number % 2]) for number in range(40)]
        for body, framing in (each.get() for each in asked):
            assert body == SMALL
            assert framing in (Framing.PROVEN, Framing.CLOSED)
        assert len(server.requests) + len(more_faults.requests) == 40
        for _ in range(3):
            assert ask(client, server.route("/plain", f.ok(SMALL))) == (SMALL, Framing.PROVEN)
    assert len(set(used(server, "/plain"))) == 1


# What is behind a response


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_an_answer_nobody_asked_for_is_never_taken_for_another(
    server: f.FaultServer, client: Transport, body: bytes, before: int
) -> None:
    plain = server.route("/plain", f.ok(body))
    for _ in range(before):
        assert ask(client, plain) == (body, Framing.PROVEN)
    url = server.route("/a", f.script(answer(body) + STOLEN))
    assert ask(client, url) == (body, Framing.SURPLUS)
    others = [picture(number, 5000 + number) for number in range(10, 16)]
    for number, other in enumerate(others):
        assert ask(client, server.route(f"/{number}", f.ok(other))) == (other, Framing.PROVEN)
    numbers = [used(server, f"/{number}") for number in range(len(others))]
    assert all(len(each) == 1 for each in numbers), "each is asked for once"
    assert len({each[0] for each in numbers} | set(used(server, "/a"))) == len(others) + 1, "each on its own connection"


@pytest.mark.parametrize("surplus", [1, 2, 700, 5000, 200_000])
def test_surplus_of_any_size_is_seen_behind_a_body_of_any_size(
    faults: f.FaultServer, client: Transport, surplus: int
) -> None:
    for size in (600, 16_384, 16_385, 70_000, 1_000_000):
        body = picture(3, size)
        url = faults.route(f"/{size}", f.script(answer(body) + b"?" * surplus))
        assert ask(client, url) == (body, Framing.SURPLUS), size


@pytest.mark.parametrize("surplus", [5000, 200_000])
def test_surplus_over_tls_is_seen_where_it_is_more_than_tickets_and_records(
    tls_faults: f.FaultServer, client: Transport, surplus: int
) -> None:
    for size in (600, 16_384, 70_000):
        body = picture(3, size)
        url = tls_faults.route(f"/{size}", f.script(answer(body) + b"?" * surplus))
        assert ask(client, url) == (body, Framing.SURPLUS), size


def test_on_a_tls_connection_that_is_used_again_less_is_seen(tls_faults: f.FaultServer, client: Transport) -> None:
    body = picture(3, 30_000)
    assert ask(client, tls_faults.route("/plain", f.ok(body)))[1] is Framing.PROVEN
    assert ask(client, tls_faults.route("/a", f.script(answer(body) + b"?" * 700))) == (body, Framing.SURPLUS)


@pytest.mark.parametrize("kept_before", [False, True])
@pytest.mark.parametrize("how", ["close", "Close", "keep-alive, close"])
def test_surplus_is_seen_where_the_close_is_announced(
    faults: f.FaultServer, client: Transport, how: str, *, kept_before: bool
) -> None:
    if kept_before:
        for _ in range(3):
            ask(client, faults.route("/plain", f.ok(SMALL)))
    assert ask(client, faults.route("/honest", f.script(answer(SMALL, connection=how), f.close)))[1] is Framing.PROVEN
    if kept_before:
        ask(client, faults.url("/plain"))
    url = faults.route("/a", f.script(answer(SMALL, connection=how) + b"more", f.close))
    assert ask(client, url) == (SMALL, Framing.SURPLUS)


@pytest.mark.parametrize("how", ["keep-alive", "Keep-Alive"])
def test_surplus_is_seen_where_a_connection_of_http_1_0_is_kept(
    faults: f.FaultServer, client: Transport, how: str
) -> None:
    def as_1_0(body: bytes) -> bytes:
        return answer(body, connection=how).replace(b"HTTP/1.1", b"HTTP/1.0", 1)

    assert ask(client, faults.route("/honest", f.script(as_1_0(SMALL)))) == (SMALL, Framing.PROVEN)
    for surplus in (1, 700, 5000):
        url = faults.route(f"/{surplus}", f.script(as_1_0(SMALL) + b"?" * surplus))
        assert ask(client, url) == (SMALL, Framing.SURPLUS)


def test_an_unannounced_close_that_ends_a_body_is_held_against_nobody(server: f.FaultServer, client: Transport) -> None:
    unframed = f.script(f.head(200, content_type="image/jpeg") + SMALL, f.close)
    both = f.head(200, content_length=5, transfer_encoding="chunked", connection="close")
    for path, response in (
        ("/unframed", unframed),
        ("/both", f.script(both + answers.chunk(SMALL) + answers.chunk(b""), f.close)),
    ):
        assert ask(client, server.route(path, response))[0] == SMALL
    for _ in range(3):
        assert ask(client, server.route("/plain", f.ok(SMALL))) == (SMALL, Framing.PROVEN)
    assert len(set(used(server, "/plain"))) == 1


def test_honest_responses_are_proven_whatever_came_before_on_their_connection(
    server: f.FaultServer, client: Transport
) -> None:
    honest = {
        "/length": f.ok(SMALL),
        "/chunked": f.chunked(LARGE),
        "/large": f.ok(LARGE),
        "/empty": f.ok(b""),
        "/interim": f.interim(f.ok(SMALL)),
        "/tiny-chunks": f.chunked(SMALL[:600], size=1),
        "/304": f.script(f.head(304, etag='"v1"')),
        "/204": f.script(f.head(204)),
    }
    for _ in range(3):
        for path, response in honest.items():
            assert ask(client, server.route(path, response))[1] in (Framing.PROVEN, Framing.CLOSED), path
    last = server.route("/last", f.script(answer(SMALL, connection="close"), f.close))
    assert ask(client, last) == (SMALL, Framing.PROVEN)
    assert server.connections == 1


def test_small_records_are_no_surplus(tls_faults: f.FaultServer, client: Transport) -> None:
    def dribble(connection: f.Connection, _request: f.Request) -> None:
        whole = answer(SMALL)
        for at in range(0, len(whole), 40):
            connection.send(whole[at : at + 40])

    for _ in range(3):
        assert ask(client, tls_faults.route("/a", dribble)) == (SMALL, Framing.PROVEN)
    assert tls_faults.connections == 1


@pytest.mark.parametrize("size", [0, 5, 300])
def test_a_surplus_answer_too_small_to_be_told_from_records_is_seen_when_it_is_read(
    tls_faults: f.FaultServer, client: Transport, size: int
) -> None:
    """It hides in OpenSSL, and is there before the next request has left."""
    ask(client, tls_faults.route("/plain", f.ok(SMALL)))
    body = picture(4, 100_000)
    hidden = f.head(200, content_length=size) + b"?" * size
    assert ask(client, tls_faults.route("/a", f.script(answer(body) + hidden)))[0] == body
    for number in range(4):
        other = picture(number, 4000)
        assert ask(client, tls_faults.route(f"/{number}", f.ok(other))) == (other, Framing.PROVEN)
    assert len(tls_faults.requests_for("/0")) == 2, "the one that was answered before it was asked is asked again"
    assert {len(tls_faults.requests_for(f"/{number}")) for number in range(1, 4)} == {1}


def test_an_answer_over_a_way_that_has_become_shorter_is_not_too_early(
    server: f.FaultServer, client: Transport
) -> None:
    url = server.route("/a", f.ok(SMALL))
    ask(client, url)
    (connection,) = client._connections.known.values()
    connection._least_rtt, connection.tells = 60.0, True  # as it was while the line was full, say
    for _ in range(2):
        assert ask(client, url) == (SMALL, Framing.PROVEN)
    assert used(server, "/a") == [1, 1, 1]


# What comes between two requests


def late(connection: f.Connection, more: bytes) -> None:
    connection.sock.sendall(more)


def test_what_comes_while_a_connection_is_idle_has_it_dropped(faults: f.FaultServer, client: Transport) -> None:
    connections: list[f.Connection] = []

    def remembered(connection: f.Connection, request: f.Request) -> None:
        connections.append(connection)
        f.ok(SMALL)(connection, request)

    url = faults.route("/a", remembered)
    assert ask(client, url) == (SMALL, Framing.PROVEN)
    late(connections[0], STOLEN)
    wait_for_bytes(client)
    assert ask(client, url) == (SMALL, Framing.PROVEN)
    assert used(faults, "/a") == [1, 2]
    assert ask(client, url) == (SMALL, Framing.PROVEN)
    assert used(faults, "/a") == [1, 2, 3], "a host that was caught gets a connection for each request"


def test_a_408_that_ends_an_idle_connection_is_held_against_nobody(faults: f.FaultServer, client: Transport) -> None:
    def bored(connection: f.Connection, request: f.Request) -> None:
        connections.append(connection)
        f.ok(SMALL)(connection, request)

    connections: list[f.Connection] = []
    url = faults.route("/a", bored)
    ask(client, url)
    late(connections[0], f.head(408, connection="close", content_length=0))
    wait_for_bytes(client)
    for _ in range(3):
        assert ask(client, url) == (SMALL, Framing.PROVEN)
    assert used(faults, "/a") == [1, 2, 2, 2]


def wait_for_bytes(client: Transport) -> None:
    """Return when bytes wait on a connection that is idle."""
    deadline = time.monotonic() + 20
    while not any(waiting(each.fd) for each in client._connections.known.values()):
        assert time.monotonic() < deadline
        gevent.sleep(0.01)


# Garbage


def test_garbage_on_a_connection_that_was_used_costs_nothing(server: f.FaultServer, client: Transport) -> None:
    ask(client, server.route("/plain", f.ok(SMALL)))
    url = server.route("/a", f.script(b"?" * 100), f.ok(SMALL))
    assert ask(client, url) == (SMALL, Framing.PROVEN)
    assert len(used(server, "/a")) == 2


def test_garbage_on_a_new_connection_is_an_error(server: f.FaultServer, client: Transport) -> None:
    with pytest.raises(errors.ProtocolError):
        ask(client, server.route("/a", f.script(b"?" * 100)))
    assert len(used(server, "/a")) == 1


def test_a_repeated_request_has_the_rest_of_its_time(faults: f.FaultServer, client: Transport) -> None:
    ask(client, faults.route("/plain", f.ok(SMALL)))
    url = faults.route("/a", f.script(f.pause(0.5), b"?" * 100), f.hold)
    began = time.monotonic()
    with pytest.raises(errors.TimedOut):
        ask(client, url, deadline=1.0)
    assert time.monotonic() - began < 5
    assert len(used(faults, "/a")) == 2


# The pieces


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        server, _ = listener.accept()
        yield client, stack.enter_context(server)


def ends_of(client: socket.socket) -> tuple[str, str, int, int]:
    (own, own_port), (peer, peer_port) = client.getsockname(), client.getpeername()
    return peer, own, peer_port, own_port


def settled(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_kernel_tells_what_came(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    assert waiting(client.fileno()) == 0
    server.sendall(b"x" * 700)
    settled(lambda: waiting(client.fileno()) == 700)
    info = tcp_info(client.fileno())
    assert info is not None
    assert info.received == 700
    assert 0 <= info.least_rtt < 1
    client.recv(300)
    assert waiting(client.fileno()) == 400
    assert tcp_info(server.fileno()) is not None


def test_what_comes_while_it_is_counted_is_not_too_early(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    connection = Connection(client.fileno(), secure=True)
    pieces, came = 30_000, 0

    def send() -> None:
        for _ in range(pieces):
            server.sendall(bytes(4000))

    thread = threading.Thread(target=send, name="sends", daemon=True)
    thread.start()
    while came < 4000 * pieces:
        came += len(client.recv(1 << 20))
        assert not any(connection.is_early(came) for _ in range(20))
    thread.join()
    assert connection.is_early(came + 17), "an answer that has come before its request has at least that many bytes"


def test_a_socket_that_is_none_of_tcp_tells_nothing() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert tcp_info(one.fileno()) is None


def test_a_connection_is_found_by_its_ends_among_those_that_were_tried(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    connections = Connections(8)
    refused = socket.socket()
    for tried in (client, refused):
        connections.on_socket(tried.fileno(), 0)
    refused.close()
    found = connections.find(ends_of(client), secure=False)
    assert found is not None
    assert found.fd == client.fileno()
    assert not connections.opened
    assert connections.find(ends_of(server), secure=False) is None


def test_ends_that_are_given_again_belong_to_the_new_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    client, _ = pair
    connections = Connections(8)
    connections.on_socket(client.fileno(), 0)
    first = connections.find(ends_of(client), secure=False)
    connections.on_socket(client.fileno(), 0)
    assert connections.find(ends_of(client), secure=False) is not first
    assert len(connections) == 1


def test_no_more_connections_are_remembered_than_there_is_room_for() -> None:
    connections = Connections(2)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for _ in range(4):
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            connections.on_socket(client.fileno(), 0)
            assert connections.find(ends_of(client), secure=False) is not None
    assert len(connections) == 2
