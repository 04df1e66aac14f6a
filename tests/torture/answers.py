"""What each behaviour of `torture.plan` sends.

One rule holds for all of them: the body bytes of a response are those of one version, at the places that its header
claims for them, and validators in the header are that version's or none it ever had. So a client that checks what
it is told can always avoid a mixture. Decoys break the rule, for files that the list has a checksum of.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from support.answers import chunk, head
from support.samples import page

from torture.world import MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.answers import Header
    from support.faultserver import Connection

    from torture.plan import Decision
    from torture.world import File, Framing, View, Where

PIECE = 64 << 10
"""Bytes that are sent at a time."""
DRIP = 4 << 10
STALL_SECONDS = 3.5
"""Longer than gdl's ``--timeout``."""
BOUNDARY = "torture-boundary"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a body is sent."""

    wait: float = 0.0
    """Seconds of silence somewhere in it."""
    stop: Literal["close", "reset"] | None = None
    """How the connection ends somewhere in it; None for a body that is sent to its end."""
    drips: bool = False
    """Whether it begins slowly."""
    framing: Framing | None = None
    garbage: bytes = b""
    """Sent where it stops."""


WHOLE = Manner()


@dataclass(slots=True)
class Exchange:
    """One request for a file, what has been decided about it, and the means to answer it."""

    connection: Connection
    file: File
    where: Where
    view: View
    decoy: bytes
    older: View
    """The version before, or the same one where there is none."""
    decision: Decision
    span: tuple[int, int] | None
    """The range asked for, as offsets of its first byte and behind its last; None without a usable Range."""
    condition: str | None
    """If-Range."""
    sent: int = 0
    """Body bytes sent."""

    def fields(self, **others: Header | None) -> dict[str, Header]:
        """The header of a response; None takes a field away."""
        disposition = f'inline; filename="{self.file.name}"' if self.file.style == "server-named" else None
        found: dict[str, Header | None] = {
            "date": self.view.date,
            "content_type": MAGIC[self.file.kind][1],
            "etag": self.view.etag,
            "last_modified": self.view.modified,
            "accept_ranges": "bytes" if self.file.announced else None,
            "content_disposition": disposition,
        } | others
        return {name: value for name, value in found.items() if value is not None}

    def honest(self, manner: Manner = WHOLE, data: bytes | None = None) -> None:
        """What a server should answer (RFC 9110 section 14.2), in whatever manner."""
        data = self.view.content if data is None else data
        if self.span is None or not self.file.ranges or not self.unchanged():
            self.send(200, data, manner)
        elif self.span[0] >= len(data):
            self.send(416, b"", content_range=f"bytes */{len(data)}", content_type=None)
        else:
            self.part(*self.span, manner=manner, data=data)

    def unchanged(self) -> bool:
        """Whether If-Range lets a range through (RFC 9110 section 13.1.5), weak tags compared as if strong."""
        return self.condition is None or self.condition in (self.view.etag, self.view.modified)

    def part(
        self, start: int, stop: int, *, manner: Manner = WHOLE, data: bytes | None = None, **others: Header | None
    ) -> None:
        """A 206 with these bytes of the file."""
        data = self.view.content if data is None else data
        start, stop = min(start, len(data) - 1), min(stop, len(data))
        others = {"content_range": f"bytes {start}-{stop - 1}/{len(data)}", **others}
        self.send(206, data[start:stop], manner, **others)

    def asked(self) -> tuple[int, int]:
        """The range asked for, cut to what there is; a server that ignores conditions looks at nothing else."""
        assert self.span is not None
        size = len(self.view.content)
        start = min(self.span[0], size - 1)
        return start, max(start + 1, min(self.span[1], size))

    def send(self, status: int, data: bytes, manner: Manner = WHOLE, **others: Header | None) -> None:
        """A response with this body. Its length is told unless ``others`` does or its framing is another."""
        framing = manner.framing or ("length" if status != 200 else self.file.framing)
        if framing == "length":
            others = {"content_length": len(data), **others}
        else:
            others |= {"transfer_encoding": "chunked"} if framing == "chunked" else {"connection": "close"}
        at = len(data)
        if manner.stop or manner.wait:
            at = min(at - 1, int(at * self.decision.fraction))
        opening = head(status, **self.fields(**others))
        self._pour(data[:at], manner, framing, opening)
        if manner.wait:
            self.connection.pause(manner.wait)
        if manner.stop:
            self._stop(manner)
            return
        self._pour(data[at:], manner, framing)
        if framing == "chunked":
            self.connection.send(b"0\r\n\r\n")
        if framing == "close" or others.get("connection") == "close":
            self.connection.close()

    def _stop(self, manner: Manner) -> None:
        if manner.garbage:
            self.connection.send(manner.garbage)
        self.connection.pause(0.02)  # a reset takes back what is still on its way
        (self.connection.close if manner.stop == "close" else self.connection.reset)()

    def _pour(self, data: bytes, manner: Manner, framing: Framing, opening: bytes = b"") -> None:
        """Send body bytes at the pace decided on; the first of them in one piece with the header."""
        pace = self.decision.pace
        size = PIECE if pace is None else max(DRIP, min(PIECE, pace // 20))
        view, at = memoryview(data), 0
        while opening or at < len(data):
            slow = manner.drips and at < 24 * DRIP
            piece = bytes(view[at : at + (DRIP if slow else size)])
            self.connection.send(opening + (chunk(piece) if framing == "chunked" and piece else piece))
            opening = b""
            at += len(piece)
            self.sent += len(piece)
            if slow or pace:
                self.connection.pause(0.05 if slow or pace is None else len(piece) / pace)


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


def _wrong_length(exchange: Exchange, by: int) -> None:
    data = exchange.view.content
    told = len(data) + (by if by > 0 else -min(-by, len(data) // 2))
    exchange.send(200, data, Manner(framing="length"), content_length=told, connection="close")


def _gzip(exchange: Exchange) -> None:
    exchange.send(200, gzip.compress(exchange.view.content, 0), Manner(framing="length"), content_encoding="gzip")


def _broken_gzip(exchange: Exchange) -> None:
    packed = gzip.compress(exchange.view.content, 0)
    cut = packed[: int(len(packed) * exchange.decision.fraction)] + b"zebra"
    exchange.send(200, cut, Manner(framing="length"), content_encoding="gzip", connection="close")


def _redirect(exchange: Exchange) -> None:
    location = exchange.file.path("mirror-alias/" if exchange.where.startswith("mirror") else "alias/")
    exchange.connection.send(head(302, location=location, content_length=0))


def _older(exchange: Exchange) -> None:
    exchange.view = exchange.older
    exchange.honest()


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
    opening = f"--{BOUNDARY}\r\nContent-Type: {MAGIC[exchange.file.kind][1]}\r\n"
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
    packed = gzip.compress(exchange.view.content, 0)[start:stop]
    exchange.send(206, packed, content_range=f"bytes {start}-{stop - 1}/{size}", content_encoding="gzip")


def _part_decoy(exchange: Exchange) -> None:
    exchange.part(*exchange.asked(), data=exchange.decoy)


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
    "length too long": lambda exchange: _wrong_length(exchange, 777),
    "length too short": lambda exchange: _wrong_length(exchange, -777),
    "broken chunk": _in(Manner(framing="chunked", stop="close", garbage=b"zebra\r\n")),
    "no last chunk": _in(Manner(framing="chunked", stop="close")),
    "chunked": _in(Manner(framing="chunked")),
    "gzip": _gzip,
    "broken gzip": _broken_gzip,
    "503": _status(503),
    "503 retry after": _status(503, retry_after=1),
    "500": _status(500),
    "429": _status(429, retry_after=0),
    "404": _status(404),
    "closed": lambda exchange: exchange.connection.close(),
    "reset at once": lambda exchange: exchange.connection.reset(),
    "web page": _status(200),
    "redirect": _redirect,
    "an older version": _older,
    "decoy": lambda exchange: exchange.honest(data=exchange.decoy),
    "200 to a range": lambda exchange: exchange.send(200, exchange.view.content),
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
