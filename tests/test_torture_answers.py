"""What each behaviour of the torture's server sends is what its name says, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import gzip
import re
import socket
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from hpack import Decoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame
from support import faults as f
from test_torture_parts import CHANGING, STREAMED, SUMMED, WORLD, exchange_of
from torture import answers
from torture.answers import answer
from torture.exchange import CODES
from torture.plan import BEHAVIOURS, CUT, HONEST, REST, Decision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certs import Authority
    from torture.world import File, Framing, Protocol

# Over HTTP/1.1


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes
    ended: bool
    """Whether the connection ended in an orderly way."""


class Client:
    """Asks a server that does with each request what the test says."""

    def __init__(self, faults: f.FaultServer) -> None:
        self._faults = faults

    def __call__(
        self,
        behaviour: str,
        file: File = CHANGING,
        *,
        wanted: str | None = None,
        fraction: float = 0.5,
        **more: Any,
    ) -> Answer:
        """What comes for one request until the connection ends; ``more``: a condition, a version, a path."""

        def respond(connection: f.Connection, _request: f.Request) -> None:
            decision = Decision(behaviour, fraction, None, changes=False, fault=5)
            answer(exchange_of(decision, file, connection=connection, wanted=wanted, **more))
            connection.keep_alive = False

        self._faults.otherwise(respond)
        fields = f"Range: {wanted}\r\n" if wanted else ""
        received, ended = b"", True
        with socket.create_connection(("127.0.0.1", self._faults.port), timeout=20) as client:
            client.sendall(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
            try:
                while data := client.recv(1 << 20):
                    received += data
            except ConnectionResetError:
                ended = False
        return parsed(received, ended=ended)


def parsed(received: bytes, *, ended: bool = True) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    named = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]) if first else 0, named, body, ended)


@pytest.fixture(scope="module")
def ask() -> Iterator[Client]:
    with f.FaultServer() as faults:
        yield Client(faults)


STATUSES = {
    **dict.fromkeys([one.name for one in BEHAVIOURS if one.name.startswith("206")], 206),
    **dict.fromkeys(("If-Range ignored", "If-Range ignored, no validator"), 206),
    **dict.fromkeys(["416", "416 Content-Range"], 416),
    **dict.fromkeys([one.name for one in BEHAVIOURS if one.name.startswith("200")], 200),
    "200 with the rest, redirected": 302,
    "redirect elsewhere": 302,
    "surplus answer, later": 503,
    "503": 503,
    "503 retry after": 503,
    "500": 500,
    "429": 429,
    "404": 404,
    "redirect": 302,
    **dict.fromkeys(["closed", "reset at once"], 0),
}
LIES = {"206 multipart", "206 gzip", "206 decoy", "206 no Content-Range", "206 garbled Content-Range"}
LIES |= {REST, "200 with the rest, Content-Range", "200 of another length", "surplus answer"}
"""Whose bodies or claims are no plain range; see their own tests."""


@pytest.mark.parametrize("behaviour", [HONEST, *(one.name for one in BEHAVIOURS)])
@pytest.mark.parametrize("wanted", [None, "bytes=1000-50999", "bytes=300000-"])
def test_body_bytes_are_of_one_version_and_where_the_header_says(
    ask: Client, monkeypatch: pytest.MonkeyPatch, behaviour: str, wanted: str | None
) -> None:
    if wanted is None and any(one.ranged and one.name == behaviour for one in BEHAVIOURS):
        return
    monkeypatch.setattr(answers, "STALL_SECONDS", 0.1)
    whole = WORLD.content(CHANGING, 0 if behaviour == "an older version" else 1)
    came = ask(behaviour, wanted=wanted)
    expected = STATUSES.get(behaviour, 206 if wanted else 200)
    if behaviour in ("length too long", "length too short", "gzip", "broken gzip", "web page", "200 to a range"):
        expected = 200
    if behaviour in (REST, "200 of another length"):
        expected = came.status  # see their own tests
    assert came.status == (expected if behaviour != "decoy" else came.status)
    if expected not in (200, 206) or behaviour in LIES | {"web page", "decoy"}:
        return
    body = came.body
    if came.fields.get("transfer-encoding"):
        body = b"".join(chunks(body))
    if behaviour == "gzip":
        body = gzip.decompress(body)
    elif behaviour == "broken gzip":
        assert gzip.compress(whole, 0, mtime=0).startswith(body[:-5])
        return
    start = 0
    if came.status == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", came.fields["content-range"])
        assert match is not None
        start = int(match[1])
    assert body
    assert whole.startswith(body, start)
    if "content-length" in came.fields and came.fields.get("content-encoding") is None:
        promised = int(came.fields["content-length"])
        assert (len(body) == promised) == (behaviour not in {"length too long", "length too short"} | CUT)


def chunks(framed: bytes) -> list[bytes]:
    """The chunks that are whole."""
    found: list[bytes] = []
    while True:
        size, _, framed = framed.partition(b"\r\n")
        if not re.fullmatch(rb"[0-9a-f]+", size) or int(size, 16) == 0:
            return found
        found.append(framed[: int(size, 16)])
        framed = framed[int(size, 16) + 2 :]


def test_a_rest_is_called_all_of_the_file_only_where_its_length_or_its_range_tell(ask: Client) -> None:
    whole = WORLD.content(CHANGING, 1)
    wanted = f"bytes=300000-{len(whole) - 1}"
    came = ask(REST, wanted=wanted)
    assert (came.status, came.body, came.fields["content-length"]) == (200, whole[300_000:], str(len(whole) - 300_000))
    assert "content-range" not in came.fields
    shrunk = ask(REST, wanted=f"bytes=300000-{len(whole)}")
    assert (shrunk.status, shrunk.body) == (206, whole[300_000:])
    told = ask("200 with the rest, Content-Range", wanted=f"bytes=300000-{len(whole)}")
    assert (told.status, told.body) == (200, whole[300_000:])
    assert told.fields["content-range"] == f"bytes 300000-{len(whole) - 1}/{len(whole)}"
    assert ask(REST, wanted="bytes=0-").body == whole
    away = [ask("200 with the rest, redirected", wanted=wanted, where=where) for where in ("", "mirror/")]
    assert [one.fields["location"].partition("file")[0] for one in away] == ["/rest/", "/mirror-rest/"]


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.6, 0.99])
def test_another_length_is_sent_only_beside_the_validator_of_the_whole(ask: Client, fraction: float) -> None:
    view, other = WORLD.view(CHANGING, 1), WORLD.view(CHANGING, 0)
    for condition in (view.etag, view.modified):
        came = ask("200 of another length", wanted="bytes=300000-", condition=condition, fraction=fraction)
        assert (came.status, came.fields["etag"]) == (200, view.etag)
        assert came.body in view.content
        assert len(came.body) < len(view.content) - (300_000 if fraction < 0.6 else 0)
        assert len(came.body) == int(came.fields["content-length"])
    for condition in (None, other.etag):
        came = ask("200 of another length", wanted="bytes=300000-", condition=condition, fraction=fraction)
        assert (came.status, came.body == view.content) == ((206, False) if condition is None else (200, True))


def test_a_length_that_is_too_short_has_the_rest_behind_it(ask: Client) -> None:
    whole = WORLD.content(CHANGING, 1)
    cases: list[tuple[float, Protocol, str]] = [(0.2, "http", "close"), (0.7, "http", "keep-alive")]
    for fraction, protocol, said in [*cases, (0.2, "https", "keep-alive")]:
        came = ask("length too short", replace(CHANGING, protocol=protocol), fraction=fraction)
        assert (came.body, came.fields["connection"]) == (whole, said)
        assert int(came.fields["content-length"]) == len(whole) - 777


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [3000, 200_000])
def test_a_surplus_answer_is_complete_and_of_another_file(ask: Client, framing: Framing, size: int) -> None:
    file = replace(CHANGING, framing=framing, sizes=(size, size))
    came = ask("surplus answer", file)
    body, _, second = came.body.partition(b"HTTP/1.1 200 OK\r\n")
    stray = parsed(b"HTTP/1.1 200 OK\r\n" + second)
    if framing == "chunked":
        body, stray = b"".join(chunks(body)), stray._replace(body=b"".join(chunks(stray.body)))
    assert (body, stray.body) == (WORLD.content(file, 1), WORLD.stray(file))
    assert ("content-length" in stray.fields) == (framing == "length")
    assert stray.fields["content-type"] == came.fields["content-type"]


def test_a_surplus_answer_and_the_end_of_a_body_travel_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f.Connection, "send", lambda _self, data: pieces.append(data))
    for framing in ("length", "chunked"):
        pieces: list[bytes] = []
        file = replace(CHANGING, framing=framing)
        left, right = socket.socketpair()
        with left, right, f.FaultServer() as faults:
            decision = Decision("surplus answer", 0.5, None, changes=False)
            answer(exchange_of(decision, file, connection=f.Connection(faults, left, 0)))
        whole, stray = WORLD.content(file, 1), WORLD.stray(file)
        assert whole[-1000:] in pieces[-1]
        assert stray in pieces[-1]
        assert len(pieces[-1]) < 16 << 10, "one record of TLS, one segment of the loopback"


@pytest.mark.parametrize("asks", [False, True])
def test_a_later_surplus_answer_comes_before_the_next_request_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    monkeypatch.setattr(answers, "LATER", 0.1 if asks else 0.0)

    def respond(connection: f.Connection, request: f.Request) -> None:
        if request.path == "/second":
            connection.keep_alive = False
            connection.send(b"the second")
            return
        if asks:
            client.sendall(b"GET /second HTTP/1.1\r\n\r\n")
        answer(exchange_of(Decision("surplus answer, later", 0.5, None, changes=False), connection=connection))
        connection.keep_alive = asks

    with f.FaultServer() as faults:
        faults.otherwise(respond)
        with socket.create_connection(("127.0.0.1", faults.port), timeout=20) as client:
            client.sendall(b"GET /first HTTP/1.1\r\n\r\n")
            received, answered = client.recv(1 << 20), time.time()
            while data := client.recv(1 << 20):
                received += data
    first, _, second = received.partition(b"</html>\n")
    refused = parsed(first)
    assert (refused.status, "date" in refused.fields) == (503, False)
    assert abs(parsedate_to_datetime(refused.fields["retry-after"]).timestamp() - answered - answers.HELD) < 0.3
    if asks:
        assert second == b"the second"
    else:
        assert parsed(second).body == WORLD.stray(CHANGING)


def test_a_redirect_elsewhere_leads_to_the_other_resource(ask: Client) -> None:
    away = [ask("redirect elsewhere", where=where) for where in ("", "alias/", "mirror/")]
    assert [one.fields["location"].partition("file")[0] for one in away] == ["/mirror-alias/"] * 2 + ["/alias/"]
    near = [ask("redirect", where=where) for where in ("", "mirror/")]
    assert [one.fields["location"].partition("file")[0] for one in near] == ["/alias/", "/mirror-alias/"]


def test_an_honest_server_heeds_if_range(ask: Client) -> None:
    now, before = WORLD.view(CHANGING, 1), WORLD.view(CHANGING, 0)
    assert ask(HONEST, wanted="bytes=5-", condition=now.etag).status == 206
    assert ask(HONEST, wanted="bytes=5-", condition=now.modified).status == 206
    assert ask(HONEST, wanted="bytes=5-", condition=before.etag).status == 200
    assert ask(HONEST, wanted=f"bytes={len(now.content)}-").status == 416
    assert ask("If-Range ignored", wanted="bytes=5-", condition=before.etag).fields["etag"] == now.etag
    assert "etag" not in ask("If-Range ignored, no validator", wanted="bytes=5-", condition=before.etag).fields


def test_a_decoy_has_the_right_validators_and_other_bytes(ask: Client) -> None:
    right, decoy = ask(HONEST, SUMMED, version=0), ask("decoy", SUMMED, version=0)
    assert {**right.fields, "date": ""} == {**decoy.fields, "date": ""}
    assert (len(right.body), right.body == decoy.body) == (len(decoy.body), False)


def test_a_reset_is_no_orderly_end(ask: Client) -> None:
    endless = replace(CHANGING, framing="close")
    assert not ask("reset", endless).ended
    assert not ask("reset at once").ended
    assert ask("closed").ended
    assert ask("truncated").ended
    whole = ask(HONEST, endless)
    assert (whole.ended, whole.body == WORLD.content(CHANGING, 1)) == (True, True)


def test_a_multipart_answer_and_a_range_of_a_gzip_are_what_they_say(ask: Client) -> None:
    whole = WORLD.content(CHANGING, 1)
    parts = ask("206 multipart", wanted="bytes=10-19")
    assert parts.fields["content-type"].startswith("multipart/byteranges")
    assert whole[10:20] in parts.body
    packed = ask("206 gzip", wanted="bytes=10-19")
    assert (packed.body, packed.fields["content-encoding"]) == (gzip.compress(whole, 0, mtime=0)[10:20], "gzip")


# Over HTTP/2


class Streamed(NamedTuple):
    """What came of a stream."""

    fields: dict[str, str]
    body: bytes
    ended: str
    """``whole``, ``gone``, or the name of the code that it was reset with."""
    farewell: int | None
    """The code of a GOAWAY."""


class StreamClient:
    """Asks a server that does with each request over HTTP/2 what the test says."""

    def __init__(self, faults: f.FaultServer, ca: Authority) -> None:
        self._faults, self._ca = faults, ca

    def __call__(self, behaviour: str, file: File = STREAMED, *, fault: int = 5) -> Streamed:
        """What comes until the stream ends."""

        def respond(connection: f.Connection, _request: f.Request) -> None:
            decision = Decision(behaviour, 0.5, None, changes=False, fault=fault)
            answer(exchange_of(decision, file, connection=connection))

        self._faults.otherwise(respond)
        context = self._ca.client_context()
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", self._faults.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            return _fetch(client)


def _fetch(client: socket.socket) -> Streamed:
    begin = H2Connection(H2Configuration(header_encoding="utf-8"))
    begin.initiate_connection()
    begin.increment_flow_control_window(1 << 24)
    fields = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "localhost")]
    begin.send_headers(1, fields, end_stream=True)
    begin.increment_flow_control_window(1 << 24, 1)
    client.sendall(begin.data_to_send())
    told: dict[str, str] = {}
    body, ended, farewell = b"", "gone", None
    for frame in _frames(client):
        if isinstance(frame, GoAwayFrame):
            farewell = frame.error_code
        elif isinstance(frame, HeadersFrame):
            told = {str(name): str(value) for name, value in Decoder().decode(frame.data)}
        elif isinstance(frame, DataFrame):
            body += frame.data
        elif isinstance(frame, RstStreamFrame):
            ended = ErrorCodes(frame.error_code).name
            break
        if frame.stream_id and "END_STREAM" in frame.flags:
            ended = "whole"
            break
    return Streamed(told, body, ended, farewell)


def _frames(client: socket.socket) -> Iterator[Frame]:
    received = b""
    while True:
        while len(received) >= 9:
            frame, size = Frame.parse_frame_header(memoryview(received[:9]))
            if len(received) < 9 + size:
                break
            frame.parse_body(memoryview(received[9 : 9 + size]))
            received = received[9 + size :]
            yield frame
        try:
            data = client.recv(1 << 20)
        except OSError:  # the connection ended without TLS's own farewell
            return
        if not data:
            return
        received += data


@pytest.fixture
def stream(http2_faults: f.FaultServer, ca: Authority) -> StreamClient:
    return StreamClient(http2_faults, ca)


WHOLE = WORLD.content(STREAMED, 1)


def test_a_stream_without_a_length_ends_in_its_middle(stream: StreamClient) -> None:
    came = stream("stream ends early")
    assert (came.ended, len(came.body), "content-length" in came.fields) == ("whole", cut(came), False)


def test_a_stream_without_a_length_is_reset_in_its_middle_as_if_nothing_were_wrong(stream: StreamClient) -> None:
    came = stream("stream reset, NO_ERROR")
    assert (came.ended, len(came.body), "content-length" in came.fields) == ("NO_ERROR", cut(came), False)


@pytest.mark.parametrize(("behaviour", "told"), [("stream reset", True), ("stream reset, no length", False)])
def test_a_stream_is_reset_with_any_other_code(stream: StreamClient, behaviour: str, told: bool) -> None:
    for fault in range(len(CODES)):
        came = stream(behaviour, fault=fault)
        assert (came.ended, "content-length" in came.fields) == (CODES[fault % len(CODES)].name, told)
        assert len(came.body) == cut(came, fault)
    assert ErrorCodes.NO_ERROR not in CODES


def test_an_honest_stream_may_have_no_length(stream: StreamClient) -> None:
    came = stream("stream without a length")
    assert (came.ended, came.body == WHOLE, "content-length" in came.fields) == ("whole", True, False)


def test_a_stream_goes_on_behind_an_announcement_that_there_will_be_no_more(stream: StreamClient) -> None:
    came = stream("GOAWAY")
    assert (came.ended, came.body == WHOLE, came.farewell) == ("whole", True, ErrorCodes.NO_ERROR)


@pytest.mark.parametrize(("behaviour", "told"), [("GOAWAY and gone", True), ("GOAWAY and gone, no length", False)])
def test_a_connection_says_that_it_goes_and_is_gone(stream: StreamClient, behaviour: str, told: bool) -> None:
    came = stream(behaviour)
    assert (came.ended, came.farewell, "content-length" in came.fields) == ("gone", CODES[5], told)
    assert len(came.body) == cut(came)


def cut(came: Streamed, fault: int = 5) -> int:
    """Where the body ends that has come."""
    assert WHOLE.startswith(came.body)
    return exchange_of(Decision("truncated", 0.5, None, changes=False, fault=fault)).place(len(WHOLE))


@pytest.mark.parametrize("behaviour", [one.name for one in BEHAVIOURS if one.fits(STREAMED) and not one.ranged])
def test_no_behaviour_breaks_the_server_over_http2(
    stream: StreamClient, http2_faults: f.FaultServer, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    monkeypatch.setattr(answers, "STALL_SECONDS", 0.1)
    came = stream(behaviour)
    assert http2_faults.errors == []
    broken = CUT - {"stream ends early"} | {"closed", "reset at once", "length too long"}
    assert (came.ended == "whole") == (behaviour not in broken)
