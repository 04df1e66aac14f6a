"""What each behaviour of `torture.plan` sends.

One rule holds for all of them: the body bytes of a response are those of one version, at the places that its header
claims for them, and validators in the header are that version's or none it ever had. So a client that checks what
it is told can always avoid a mixture. It holds for each resource by itself: a mirror has its own bytes under the same
validators. Decoys break the rule, for files that the list has a checksum of. Answers that nobody asked for are those of
other files, and come before the next request on their connection leaves: later ones could be told by nobody.
"""

from __future__ import annotations

import gzip
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from support.answers import head
from support.samples import page
from support.sized import KINDS

from torture.exchange import Exchange, Manner
from torture.world import http_date

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.answers import Header

    from torture.world import Where

STALL_SECONDS = 3.5
"""Longer than gdl's ``--timeout``."""
HELD = 0.5
"""Seconds for which a host is to be left alone that sends an answer nobody asked for."""
LATER = 0.2
"""Seconds from its refusal to that answer."""
BOUNDARY = "torture-boundary"


def answer(exchange: Exchange) -> None:
    """Answer as decided."""
    _ANSWERS[exchange.decision.behaviour](exchange)


def _in(manner: Manner) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.honest(manner)


def _status(code: int, **fields: Header) -> Callable[[Exchange], None]:
    def respond(exchange: Exchange) -> None:
        body = page(f"Error {code}")
        exchange.connection.send(head(code, content_type="text/html", content_length=len(body), **fields) + body)

    return respond


def _too_long(exchange: Exchange) -> None:
    data = exchange.view.content
    exchange.send(200, data, Manner(framing="length"), content_length=len(data) + 777, connection="close")


def _too_short(exchange: Exchange) -> None:
    """A length that is too small; over TLS the connection stays open, as closing would hide the bytes behind it."""
    data = exchange.view.content
    told = len(data) - min(777, len(data) // 2)
    closes = exchange.file.protocol == "http" and exchange.decision.fraction < 0.5
    exchange.send(
        200, data, Manner(framing="length"), content_length=told, connection="close" if closes else "keep-alive"
    )


def _gzip(exchange: Exchange) -> None:
    exchange.send(
        200, gzip.compress(exchange.view.content, 0, mtime=0), Manner(framing="length"), content_encoding="gzip"
    )


def _broken_gzip(exchange: Exchange) -> None:
    packed = gzip.compress(exchange.view.content, 0, mtime=0)
    cut = packed[: int(len(packed) * exchange.decision.fraction)] + b"zebra"
    exchange.send(200, cut, Manner(framing="length"), content_encoding="gzip", connection="close")


def _goes_away(exchange: Exchange) -> None:
    """An announcement that the connection takes no further streams, and the whole response."""
    if exchange.stream is not None:
        exchange.stream.go_away()
    exchange.honest()


def _redirect(own: Where, mirrors: Where) -> Callable[[Exchange], None]:
    """A redirect to the first of these paths, or from one of the mirror's to the second."""

    def respond(exchange: Exchange) -> None:
        location = exchange.file.path(mirrors if exchange.where.startswith("mirror") else own)
        exchange.connection.send(head(302, location=location, content_length=0))

    return respond


def _stray_later(exchange: Exchange) -> None:
    """A refusal, and an answer that nobody asked for while the host is left alone (RFC 9110 section 10.2.3).

    That is for half a second, which only a date can say: libcurl looks at idle connections once in a second.
    """
    exchange.connection.pause(1 - (time.time() + HELD) % 1)
    until = datetime.fromtimestamp(round(time.time() + HELD), UTC)
    _status(503, retry_after=http_date(until))(exchange)
    exchange.connection.pause(LATER)
    if exchange.is_idle():
        exchange.connection.send(exchange.stray("length"))


def _older(exchange: Exchange) -> None:
    exchange.view = exchange.older
    exchange.honest()


def _rest(exchange: Exchange, *, told: bool) -> None:
    """The range that was asked for, called all of the file; ``told``: with its Content-Range."""
    start, stop = exchange.asked()
    size = len(exchange.view.content)
    if (start, stop) == (0, size) or not (told or exchange.exact):  # which looks like another version
        exchange.honest()
        return
    others = {"content_range": f"bytes {start}-{stop - 1}/{size}"} if told else {}
    exchange.send(200, exchange.view.content[start:stop], Manner(framing="length"), **others)


def _other_length(exchange: Exchange) -> None:
    """Some of the file, called all of it, beside the validator that the client has of all of it."""
    if exchange.condition is None or not exchange.unchanged():  # nothing would tell
        exchange.honest()
        return
    (start, stop), cut = exchange.asked(), 1 + int(exchange.decision.fraction * 1000)
    start = start if exchange.decision.fraction < 0.6 else 0
    exchange.send(200, exchange.view.content[start : max(start + 1, stop - cut)], Manner(framing="length"))


def _ignoring_if_range(exchange: Exchange) -> None:
    exchange.part(*exchange.asked())


def _other_start(exchange: Exchange) -> None:
    start, stop = exchange.asked()
    off = 1 + int(exchange.decision.fraction * 5000)
    exchange.part(max(0, start - off) if start and exchange.decision.fraction < 0.6 else start + off, stop + off)


def _beyond_the_end(exchange: Exchange) -> None:
    """More than was asked for, or to the end of an open range and beyond it."""
    start, stop = exchange.asked()
    size = len(exchange.view.content)
    if stop < size:
        exchange.part(start, stop + 1 + int(exchange.decision.fraction * 70_000))
    else:
        exchange.part(start, stop, content_range=f"bytes {start}-{stop + 99}/{size}")


def _ends_early(exchange: Exchange) -> None:
    start, stop = exchange.asked()
    exchange.part(start, max(start + 1, start + int((stop - start) * exchange.decision.fraction)))


def _other_total(exchange: Exchange) -> None:
    start, stop = exchange.asked()
    other = len(exchange.view.content) + 1 + int(exchange.decision.fraction * 1000)
    exchange.part(start, stop, content_range=f"bytes {start}-{stop - 1}/{other}")


def _content_range(value: str | None) -> Callable[[Exchange], None]:
    """A 206 with a Content-Range made from the right start, last and total."""

    def respond(exchange: Exchange) -> None:
        start, stop = exchange.asked()
        values = {"start": start, "last": stop - 1, "total": len(exchange.view.content)}
        exchange.part(start, stop, content_range=value and value.format_map(values))

    return respond


def _multipart(exchange: Exchange) -> None:
    start, stop = exchange.asked()
    data = exchange.view.content
    opening = f"--{BOUNDARY}\r\nContent-Type: {KINDS[exchange.file.kind].type}\r\n"
    opening += f"Content-Range: bytes {start}-{stop - 1}/{len(data)}\r\n\r\n"
    body = opening.encode() + data[start:stop] + f"\r\n--{BOUNDARY}--\r\n".encode()
    exchange.send(206, body, content_type=f"multipart/byteranges; boundary={BOUNDARY}")


def _other_validators(exchange: Exchange) -> None:
    other = exchange.view.etag and exchange.view.etag[:-1] + '-other"'
    exchange.part(*exchange.asked(), etag=other or '"other"', last_modified=None)


def _no_validators(exchange: Exchange) -> None:
    exchange.part(*exchange.asked(), etag=None, last_modified=None)


def _part_gzip(exchange: Exchange) -> None:
    """A range of the encoded bytes, as RFC 9110 section 14.4 has it, and in all else as it was asked for."""
    start, stop = exchange.asked()
    size = len(exchange.view.content)
    packed = gzip.compress(exchange.view.content, 0, mtime=0)[start:stop]
    exchange.send(206, packed, content_range=f"bytes {start}-{stop - 1}/{size}", content_encoding="gzip")


def _part_decoy(exchange: Exchange) -> None:
    exchange.part(*exchange.asked(), data=exchange.other)


def _refused_range(exchange: Exchange) -> None:
    size = len(exchange.view.content)
    total = size if exchange.decision.fraction < 0.5 else int(size * exchange.decision.fraction)
    exchange.send(416, b"", content_range=f"bytes */{total}", content_type=None)


def _unasked(low: float, high: float) -> Callable[[Exchange], None]:
    """A 206 without a Range, of what lies between these shares of the file; a half stands for anywhere."""

    def respond(exchange: Exchange) -> None:
        size, fraction = len(exchange.view.content), 0.1 + exchange.decision.fraction * 0.8
        start, stop = (int(size * (fraction if share == 0.5 else share)) for share in (low, high))
        exchange.part(start, stop)

    return respond


_ANSWERS: dict[str, Callable[[Exchange], None]] = {
    "honest": Exchange.honest,
    "truncated": _in(Manner(stop="close")),
    "reset": _in(Manner(stop="reset")),
    "stall": lambda exchange: exchange.honest(Manner(stop="reset", wait=STALL_SECONDS)),
    "pause": _in(Manner(wait=0.6)),
    "slow": _in(Manner(drips=True)),
    "length too long": _too_long,
    "length too short": _too_short,
    "broken chunk": _in(Manner(framing="chunked", stop="close", garbage=b"zebra\r\n")),
    "no last chunk": _in(Manner(framing="chunked", stop="close")),
    "chunked": _in(Manner(framing="chunked")),
    "gzip": _gzip,
    "broken gzip": _broken_gzip,
    "stream ends early": lambda exchange: exchange.honest(
        Manner(framing="close" if exchange.stream else "chunked", stop="close")
    ),
    "stream reset, NO_ERROR": _in(Manner(framing="chunked", stop="close")),
    "stream reset": _in(Manner(stop="code")),
    "stream reset, no length": _in(Manner(framing="chunked", stop="code")),
    "stream without a length": _in(Manner(framing="chunked")),
    "GOAWAY": _goes_away,
    "GOAWAY and gone": _in(Manner(stop="gone")),
    "GOAWAY and gone, no length": _in(Manner(framing="chunked", stop="gone")),
    "surplus answer": _in(Manner(stray=True)),
    "surplus answer, later": _stray_later,
    "503": _status(503),
    "503 retry after": _status(503, retry_after=1),
    "500": _status(500),
    "429": _status(429, retry_after=0),
    "404": _status(404),
    "closed": lambda exchange: exchange.connection.close(),
    "reset at once": lambda exchange: exchange.connection.reset(),
    "web page": _status(200),
    "redirect": _redirect("alias/", "mirror-alias/"),
    "redirect elsewhere": _redirect("mirror-alias/", "alias/"),
    "an older version": _older,
    "decoy": lambda exchange: exchange.honest(data=exchange.other),
    "200 to a range": lambda exchange: exchange.send(200, exchange.view.content),
    "200 with the rest": lambda exchange: _rest(exchange, told=False),
    "200 with the rest, Content-Range": lambda exchange: _rest(exchange, told=True),
    "200 with the rest, redirected": _redirect("rest/", "mirror-rest/"),
    "200 of another length": _other_length,
    "If-Range ignored": _ignoring_if_range,
    "If-Range ignored, no validator": _no_validators,
    "206 other start": _other_start,
    "206 beyond the end": _beyond_the_end,
    "206 ends early": _ends_early,
    "206 other total": _other_total,
    "206 unknown total": _content_range("bytes {start}-{last}/*"),
    "206 no Content-Range": _content_range(None),
    "206 garbled Content-Range": _content_range("bytes={start}-{last},{total}"),
    "206 multipart": _multipart,
    "206 other ETag": _other_validators,
    "206 no validator": _no_validators,
    "206 gzip": _part_gzip,
    "206 decoy": _part_decoy,
    "416": lambda exchange: exchange.send(416, b"", content_type=None),
    "416 Content-Range": _refused_range,
    "206 unasked, all": _unasked(0.0, 1.0),
    "206 unasked, start": _unasked(0.0, 0.5),
    "206 unasked, end": _unasked(0.5, 1.0),
}
