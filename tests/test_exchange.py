"""One exchange: which header counts, what is progress, and that only what libcurl saw to its end is judged as whole."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import faults as f
from support.samples import picture

from downloader.options import Options
from downloader.request import Request
from downloader.transport import Transport
from downloader.transport.connections import Connections
from downloader.transport.exchange import LOOKS, Exchange, final_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from downloader.responses import Head

BODY = picture(1, 20_000)
HALF = b"HTTP/1.1 200 OK\r\n"
WHOLE = (HALF, b"Content-Length: 5\r\n", b"\r\n")
EARLY = (b"HTTP/1.1 103 Early Hints\r\n", b"Link: </a.css>\r\n", b"\r\n")
USEFUL = 100.0
pytestmark = pytest.mark.timeout(60)


class Kept:
    """A receiver that keeps what comes; with ``most`` it ends the exchange itself when it has that many bytes."""

    def __init__(self, most: int | None = None, *, wanted: bool = True) -> None:
        self.head: Head | None = None
        self.body = b""
        self._most = most
        self._wanted = wanted

    def begin(self, head: Head) -> bool:
        self.head = head
        return self._wanted

    def write(self, chunk: bytes) -> None:
        self.body += chunk
        if self._most is not None and len(self.body) >= self._most:
            raise EnoughError


class EnoughError(Exception):
    """What the receiver raises when it has all it wants."""


# Which header counts


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), None),
        ((HALF,), None),
        (WHOLE[:2], None),
        (WHOLE, WHOLE),
        ((b"HTTP/2 200 \r\n", b"\r\n"), (b"HTTP/2 200 \r\n", b"\r\n")),
        ((HALF, b"\n"), (HALF, b"\n")),
        ((*WHOLE[:2], b" \r\n", *WHOLE[1:]), (*WHOLE[:2], b" \r\n", *WHOLE[1:])),
        ((HALF, b"\v\r\n", b"\r\n"), (HALF, b"\v\r\n", b"\r\n")),
        (EARLY, None),
        ((*EARLY, *EARLY), None),
        ((*EARLY, HALF), None),
        ((*EARLY, *WHOLE), WHOLE),
        ((b"HTTP/1.1  100 Continue\r\n", b"\r\n"), None),
        ((*WHOLE, b"X-Trailer: 1\r\n"), WHOLE),
        ((*WHOLE, b"X-Trailer: 1\r\n", b"\r\n"), WHOLE),
        ((b"\r\n",), None),
        ((b"no status\r\n", b"\r\n"), None),
    ],
)
def test_the_final_header_is_the_last_whole_one_without_its_trailers(
    lines: Sequence[bytes], expected: Sequence[bytes] | None
) -> None:
    assert final_header(list(lines)) == (None if expected is None else list(expected))


def test_an_empty_chunked_body_may_have_trailers_which_change_nothing(client: Transport, faults: f.FaultServer) -> None:
    header = f.head(404, transfer_encoding="chunked")
    url = faults.route("/a", f.script(header + b"0\r\nLocation: /b\r\nContent-Type: image/png\r\n\r\n"))
    got = Kept()
    assert client.perform(Request(url), got).head is got.head
    assert got.head is not None
    assert (got.head.status, got.head.fields) == (404, {"transfer-encoding": "chunked"})


# What is progress


def exchange_of(receiver: Kept) -> Exchange:
    """An exchange that has not begun."""
    return Exchange(receiver, Connections(8), secure=False)


def looks(exchange: Exchange, *, sent: bool = True, times: int = 1) -> int:
    """The verdict of the last of so many looks."""
    return [exchange.look(USEFUL, sent=sent) for _ in range(times)][-1]


def in_body() -> Exchange:
    """An exchange whose header has come and been seen."""
    exchange = exchange_of(Kept())
    exchange.lines.extend(WHOLE)
    assert looks(exchange) == 0
    return exchange


def test_what_has_not_been_sent_is_left_to_libcurl() -> None:
    assert looks(exchange_of(Kept()), sent=False, times=100) == 0


def test_each_stage_has_its_own_time() -> None:
    exchange = exchange_of(Kept())
    assert looks(exchange, times=LOOKS) == LOOKS - 1
    exchange.lines.append(HALF)
    assert looks(exchange, times=LOOKS) == LOOKS - 1
    exchange.lines.append(b"\r\n")
    assert looks(exchange, times=LOOKS) == LOOKS - 1
    exchange.on_data(b"x" * 100)
    assert looks(exchange, times=LOOKS) == LOOKS - 1
    assert looks(exchange) == LOOKS


def test_header_lines_are_no_progress() -> None:
    exchange = exchange_of(Kept())
    exchange.lines.append(HALF)
    for number in range(LOOKS + 1):
        assert looks(exchange) == number
        exchange.lines.append(b"X-Filler: 1\r\n")
    assert str(exchange.silence(30.0)) == "no complete header came in 30 s"


def test_interim_responses_are_no_progress() -> None:
    exchange = exchange_of(Kept())
    for number in range(LOOKS + 1):
        exchange.lines.extend(EARLY)
        assert looks(exchange) == number


def test_trailers_are_no_progress() -> None:
    exchange = in_body()
    exchange.on_data(b"x" * 5)
    for number in range(1, LOOKS + 1):
        exchange.lines.append(b"X-Trailer: 1\r\n")
        assert looks(exchange) == number
    assert str(exchange.silence(1.5)) == "only 5 bytes came in 1.5 s"


def test_silence_in_the_body_is_told_as_such() -> None:
    exchange = in_body()
    assert looks(exchange, times=LOOKS) == LOOKS
    assert str(exchange.silence(30.0)) == "nothing came for 30 s"


@given(st.lists(st.integers(0, 150), max_size=60))
def test_an_exchange_is_silent_where_too_little_came_and_only_there(amounts: list[int]) -> None:
    """``amounts`` are the bytes that come between one look and the next."""
    exchange = in_body()
    for number, amount in enumerate(amounts, 1):
        exchange.on_data(b"x" * amount)
        if looks(exchange) >= LOOKS:
            assert sum(amounts[number - LOOKS : number]) < USEFUL, "a whole --timeout with too little"
            return
    for at in range(len(amounts) - 2 * LOOKS + 1):
        assert sum(amounts[at : at + 2 * LOOKS]) >= USEFUL, "twice the --timeout is always enough to tell"


# Parts of a file


@pytest.fixture
def client() -> Iterator[Transport]:
    with closing(Transport(Options(timeout=10.0), spare=1)) as made:
        yield made


def ask(client: Transport, url: str, got: Kept, span: str = "bytes=1000-") -> Head:
    return client.perform(Request(url, headers=(("Range", span), ("If-Range", '"v1"'))), got).head


def test_parts_come_as_they_are_on_one_connection(client: Transport, faults: f.FaultServer) -> None:
    url = faults.route("/a", f.resource(BODY, etag='"v1"'))
    for span, expected, content_range in (
        ("bytes=1000-", BODY[1000:], "bytes 1000-19999/20000"),
        ("bytes=0-0", BODY[:1], "bytes 0-0/20000"),
        ("bytes=19999-", BODY[-1:], "bytes 19999-19999/20000"),
        ("bytes=30000-", b"", "bytes */20000"),
        ("bytes=5-9", BODY[5:10], "bytes 5-9/20000"),
    ):
        got = Kept()
        head = ask(client, url, got, span)
        assert (head.status, head.get("content-range")) == (206 if expected else 416, content_range)
        assert got.body == expected
    assert faults.connections == 1
    assert {request.header("if-range") for request in faults.requests} == {'"v1"'}


@pytest.mark.parametrize("times", [1, 3], ids=["a new host", "a host that keeps connections"])
def test_a_part_is_framed_by_its_length_whatever_its_content_range_says(
    client: Transport, faults: f.FaultServer, times: int
) -> None:
    for path, promised in (("/short", 500), ("/exact", 1000), ("/long", 1500)):
        url = faults.route(path, f.partial(BODY[:promised], "bytes 1000-1999/20000"))
        for _ in range(times):
            got = Kept()
            head = ask(client, url, got, "bytes=1000-1999")
            assert (head.status, got.body == BODY[:promised]) == (206, True), path
    assert faults.connections == 1


@pytest.mark.parametrize("kept_before", [False, True])
@pytest.mark.parametrize("extra", [0, 1, 5000])
def test_what_a_receiver_ends_itself_is_not_judged(
    client: Transport, faults: f.FaultServer, extra: int, *, kept_before: bool
) -> None:
    """It raises its own error, and what follows on that host is not taken for out of step."""
    good = faults.route("/good", f.resource(BODY, etag='"v1"'))
    header = f.head(206, content_length=1000 + extra, content_range="bytes 1000-1999/20000")
    bad = faults.route("/bad", f.script(header + BODY[: 1000 + extra]))
    if kept_before:
        ask(client, good, Kept())
    for _ in range(3):
        with pytest.raises(EnoughError):
            ask(client, bad, Kept(most=1000), "bytes=1000-1999")
        got = Kept()
        ask(client, good, got)
        assert got.body == BODY[1000:]


def test_a_body_that_does_not_matter_says_nothing_of_its_connection(faults: f.FaultServer) -> None:
    """An exchange given up for good while its body hangs is no sign that the host keeps connections open."""
    moved = faults.route("/moved", f.script(f.head(302, location="/a", content_length=500), f.hold))
    url = faults.route("/a", f.script(f.head(200, content_length=len(BODY)) + BODY, f.close))
    with closing(Transport(Options(timeout=1.0), spare=1)) as client:
        assert client.perform(Request(moved), Kept(wanted=False)).head.status == 302
        got = Kept()
        assert client.perform(Request(url), got).head.status == 200
        assert got.body == BODY
