"""Answers for `FaultServer` routes, good ones and what goes wrong on the web, each made by a function.

Keywords that no function names are headers: ``ok(body, etag='"v1"', cache_control="no-store")``.
Steps such as `pause`, `hold`, `close` and `reset` are responses too: `script` strings them together.
"""

from __future__ import annotations

import gzip
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from support.answers import (
    Header,
    chunk,
    chunked,
    close,
    content_disposition,
    head,
    hold,
    http_date,
    interim,
    message,
    ok,
    pause,
    reset,
    resource,
    script,
    typed,
    until_close,
    when,
)
from support.faultserver import Connection, FaultServer, Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Connection",
    "FaultServer",
    "Header",
    "Request",
    "Response",
    "at_most",
    "bad_chunk_size",
    "chunked",
    "close",
    "content_disposition",
    "drip",
    "empty",
    "endless_body",
    "endless_header",
    "garbage",
    "gzipped",
    "head",
    "hold",
    "http_date",
    "interim",
    "long_header",
    "missing_last_chunk",
    "ok",
    "overlong",
    "partial",
    "pause",
    "redirect",
    "refused_port",
    "reset",
    "reset_mid_body",
    "resource",
    "script",
    "slow_header",
    "stalled",
    "status",
    "truncated",
    "unanswering_port",
    "until_close",
    "web_page",
    "when",
]

# Other statuses


def status(code: int, body: bytes = b"", *, retry_after: int | str | None = None, **headers: Header) -> Response:
    """Any status; ``retry_after`` in seconds, or as an HTTP date (see `http_date`)."""
    if retry_after is not None:
        headers["retry_after"] = retry_after
    return message(code, body, **headers)


def redirect(location: str | bytes, code: int = 302, body: bytes = b"moved") -> Response:
    """A redirect; to its own path, a loop."""
    return message(code, body, location=location, content_type="text/html")


def web_page(title: str = "Sign in", media_type: str = "text/html; charset=utf-8", code: int = 200) -> Response:
    """An HTML page, whatever ``media_type`` claims."""
    page = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><p>Sorry.</p></body></html>\n"
    return message(code, page.encode(), content_type=media_type)


def empty(media_type: str | None = "image/jpeg", **headers: Header) -> Response:
    """200 with Content-Length: 0."""
    return ok(b"", media_type, **headers)


def gzipped(body: bytes, media_type: str | None = "image/jpeg", **headers: Header) -> Response:
    """The body in a Content-Encoding nobody asked for."""
    return ok(gzip.compress(body, mtime=0), media_type, content_encoding="gzip", **headers)


def partial(body: bytes, content_range: str, media_type: str | None = "image/jpeg", **headers: Header) -> Response:
    """206 with this body and Content-Range, whatever was asked: unasked, shifted, or of another size."""
    return message(206, body, content_range=content_range, **typed(media_type), **headers)


def at_most(limit: int, response: Response, refusal: Response) -> Response:
    """The response while the whole server serves at most ``limit`` requests, else the refusal."""

    def respond(connection: Connection, request: Request) -> None:
        (response if connection.server.serving <= limit else refusal)(connection, request)

    return respond


# Broken bodies


def truncated(body: bytes, at: int, media_type: str | None = "image/jpeg", **headers: Header) -> Response:
    """The length of all, ``at`` bytes, and a close."""
    return script(_promise(len(body), media_type, headers) + body[:at], close)


def overlong(
    body: bytes,
    promised: int,
    media_type: str | None = "image/jpeg",
    *,
    keep_alive: bool = False,
    **headers: Header,
) -> Response:
    """More bytes than Content-Length says; with ``keep_alive`` they poison what follows on the connection."""
    headers = {"connection": "keep-alive" if keep_alive else "close", **headers}
    return script(_promise(promised, media_type, headers) + body, *(() if keep_alive else (close,)))


def reset_mid_body(body: bytes, at: int, media_type: str | None = "image/jpeg", **headers: Header) -> Response:
    """``at`` bytes, a moment for them to arrive, and a TCP reset."""
    return script(_promise(len(body), media_type, headers) + body[:at], pause(0.05), reset)


def stalled(body: bytes, at: int, media_type: str | None = "image/jpeg", **headers: Header) -> Response:
    """``at`` bytes, then silence on an open connection."""
    return script(_promise(len(body), media_type, headers) + body[:at], hold)


def drip(
    body: bytes, interval: float, piece: int = 1, media_type: str | None = "image/jpeg", **headers: Header
) -> Response:
    """``piece`` bytes every ``interval`` seconds."""

    def respond(connection: Connection, _request: Request) -> None:
        connection.send(_promise(len(body), media_type, headers))
        for at in range(0, len(body), piece):
            connection.pause(interval)
            (connection.send if at + piece < len(body) else connection.send_last)(body[at : at + piece])

    return respond


def endless_body(media_type: str | None = "video/mp4", start: bytes = b"", interval: float = 0) -> Response:
    """A body without length and end: ``start``, then 64 kB blocks, with a pause between them if told."""

    def respond(connection: Connection, _request: Request) -> None:
        connection.send(head(200, connection="close", **typed(media_type)) + start)
        while True:
            connection.send(bytes(65536))
            connection.pause(interval)

    return respond


def bad_chunk_size(body: bytes, media_type: str | None = "image/jpeg", **headers: Header) -> Response:
    """A good chunk, then a size line that is no number; the connection stays open."""
    header = head(200, transfer_encoding="chunked", **typed(media_type), **headers)
    return script(header + chunk(body) + b"zebra\r\n", hold)


def missing_last_chunk(body: bytes, media_type: str | None = "image/jpeg", **headers: Header) -> Response:
    """All of the body in one chunk, and a close without the last, empty chunk."""
    header = head(200, transfer_encoding="chunked", **typed(media_type), **headers)
    return script(header + chunk(body), close)


def _promise(length: int, media_type: str | None, headers: dict[str, Header]) -> bytes:
    return head(200, content_length=length, **typed(media_type), **headers)


# Broken headers


def slow_header(interval: float, body: bytes, media_type: str | None = "image/jpeg") -> Response:
    """The header one byte every ``interval`` seconds, then the body."""

    def respond(connection: Connection, _request: Request) -> None:
        for byte in _promise(len(body), media_type, {}):
            connection.pause(interval)
            connection.send(bytes([byte]))
        connection.send_last(body)

    return respond


def endless_header(line: bytes = b"X-Filler: " + b"x" * 1000) -> Response:
    """Header lines without end."""

    def respond(connection: Connection, _request: Request) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.send((line + b"\r\n") * 50)

    return respond


def long_header(size: int, body: bytes, media_type: str | None = "image/jpeg") -> Response:
    """A good answer with one header line of ``size`` bytes."""
    return ok(body, media_type, x_filler="x" * (size - len("X-Filler: ")))


def garbage(data: bytes = b"\x00\x01SSH-2.0-not-http\r\n" * 3) -> Response:
    """Bytes that are no HTTP, and a close."""
    return script(data, close)


# Ports without a server


@contextmanager
def refused_port() -> Iterator[int]:
    """A port that refuses connections, for as long as the context lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def unanswering_port() -> Iterator[int]:
    """A port on which connecting takes for ever: its queue is full and nobody accepts (Linux)."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port: int = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                with suppress(BlockingIOError):
                    filler.connect(("127.0.0.1", port))
            yield port
        finally:
            for filler in fillers:
                filler.close()
