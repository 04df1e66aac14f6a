"""The honest answers of `FaultServer` routes, and the steps that scripts are made of."""

from __future__ import annotations

import datetime as dt
import email.utils
import http
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

    from support.faultserver import Connection, Request, Response

Header = str | int | bytes
"""A header's value; bytes go out as they are, text as Latin-1."""


def http_date(seconds: float = 0) -> str:
    """An HTTP date (RFC 9110 section 5.6.7) that many seconds from now."""
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    return email.utils.format_datetime(moment, usegmt=True)


def head(code: int = 200, **headers: Header) -> bytes:
    """A status line and header with the empty line; ``_`` in a keyword stands for ``-``."""
    lines = [f"HTTP/1.1 {code} {http.HTTPStatus(code).phrase}".encode()]
    for name, value in headers.items():
        raw = value if isinstance(value, bytes) else str(value).encode("latin-1")
        lines.append(name.replace("_", "-").title().encode() + b": " + raw)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def message(code: int, body: bytes, **headers: Header) -> Response:
    """Any status with a body and its length, on a connection that stays open."""

    def respond(connection: Connection, request: Request) -> None:
        header = head(code, content_length=len(body), **headers)
        connection.send_last(header if request.method == "HEAD" else header + body)

    return respond


# Steps


def script(*steps: bytes | Response) -> Response:
    """One step after the other: bytes are sent, responses run. Then the connection stays open for more."""

    def respond(connection: Connection, request: Request) -> None:
        for step in steps:
            if connection.closed:
                return
            if isinstance(step, bytes):
                connection.send(step)
            else:
                step(connection, request)

    return respond


def pause(seconds: float) -> Response:
    """Do nothing for so long."""
    return lambda connection, _request: connection.pause(seconds)


def when(event: threading.Event, response: Response) -> Response:
    """The response, once the test sets ``event``."""

    def respond(connection: Connection, request: Request) -> None:
        while not event.is_set():
            connection.pause(0.01)
        response(connection, request)

    return respond


def hold(connection: Connection, _request: Request) -> None:
    """Say nothing until the client closes or the server stops; alone, a stall before the header."""
    connection.hold()


def close(connection: Connection, _request: Request) -> None:
    """Close; alone, a connection closed without an answer."""
    connection.close()


def reset(connection: Connection, _request: Request) -> None:
    """Reset the connection; alone, instead of an answer."""
    connection.reset()


# Honest answers


def ok(body: bytes, media_type: str | None = "image/jpeg", **headers: Header) -> Response:
    """200 with a length, on a connection that stays open."""
    return message(200, body, **typed(media_type), **headers)


def chunked(body: bytes, media_type: str | None = "image/jpeg", size: int = 4096, **headers: Header) -> Response:
    """200 in chunks of ``size`` bytes (RFC 9112 section 7.1)."""
    framed = b"".join(chunk(body[at : at + size]) for at in range(0, len(body), size))
    header = head(200, transfer_encoding="chunked", **typed(media_type), **headers)
    return lambda connection, _request: connection.send_last(header + framed + b"0\r\n\r\n")


def until_close(body: bytes, media_type: str | None = "image/jpeg", **headers: Header) -> Response:
    """200 without a length: the end of the connection is the end of the body."""
    return script(head(200, connection="close", **typed(media_type), **headers) + body, close)


def resource(
    body: bytes,
    media_type: str | None = "image/jpeg",
    *,
    etag: str | None = None,
    last_modified: str | None = None,
    cut: int | None = None,
    **headers: Header,
) -> Response:
    """A file as an honest server serves it: one range, If-Range, If-None-Match, If-Modified-Since.

    With ``cut`` the connection closes after that many body bytes of each answer.
    """
    validators = {name: value for name, value in (("etag", etag), ("last_modified", last_modified)) if value}
    common: dict[str, Header] = {"accept_ranges": "bytes", **validators, **typed(media_type), **headers}

    def respond(connection: Connection, request: Request) -> None:
        unchanged = (request.header("if-none-match"), request.header("if-modified-since"))
        if (etag and unchanged[0] == etag) or (
            unchanged[0] is None and last_modified and unchanged[1] == last_modified
        ):
            connection.send_last(head(304, **validators))
            return
        wanted = request.header("range")
        condition = request.header("if-range")
        if condition is not None and condition not in validators.values():
            wanted = None
        span = _span(wanted, len(body))
        if span is None:
            code, piece = 200, body
            extra: dict[str, Header] = {}
        elif span[0] >= len(body):
            code, piece = 416, b""
            extra = {"content_range": f"bytes */{len(body)}"}
        else:
            code, piece = 206, body[span[0] : span[1] + 1]
            extra = {"content_range": f"bytes {span[0]}-{span[1]}/{len(body)}"}
        header = head(code, content_length=len(piece), **common, **extra)
        if request.method == "HEAD":
            connection.send_last(header)
        elif cut is None or cut >= len(piece):
            connection.send_last(header + piece)
        else:
            connection.send(header + piece[:cut])
            connection.close()

    return respond


def _span(wanted: str | None, size: int) -> tuple[int, int] | None:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1


def typed(media_type: str | None) -> dict[str, Header]:
    """The Content-Type header, if there is to be one."""
    return {} if media_type is None else {"content_type": media_type}


def chunk(data: bytes) -> bytes:
    """One chunk with its size line (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def content_disposition(body: bytes, value: bytes, media_type: str | None = "image/jpeg") -> Response:
    """200 with exactly these bytes as Content-Disposition."""
    return ok(body, media_type, content_disposition=value)


def interim(response: Response, *codes: int) -> Response:
    """The response after 1xx ones (RFC 9110 section 15.2); 100 and 103 unless told."""
    return script(*(head(code) for code in codes or (100, 103)), response)
