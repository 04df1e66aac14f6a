"""One request for a file and the means to answer it, well or badly."""

from __future__ import annotations

import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from h2.errors import ErrorCodes
from support.answers import chunk, head
from support.http2 import Stream
from support.sized import KINDS

from torture.world import MOST_FAULTS

if TYPE_CHECKING:
    from support.answers import Header
    from support.faultserver import Connection

    from torture.plan import Decision
    from torture.world import File, Framing, View, Where

PIECE = 64 << 10
"""Bytes that are sent at a time."""
DRIP = 4 << 10
TAIL = 2 << 10
"""Bytes of a body that travel in one piece with what follows it: one TLS record holds all of that."""
CODES = tuple(code for code in ErrorCodes if code is not ErrorCodes.NO_ERROR)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a body is sent."""

    wait: float = 0.0
    """Seconds of silence somewhere in it."""
    stop: Literal["close", "reset", "code", "gone"] | None = None
    """What happens somewhere in it; None for a body that is sent to its end. ``code`` and ``gone`` are HTTP/2's: the
    stream is reset with any code, or the connection ends with a GOAWAY. Over HTTP/1.1 both are a reset."""
    drips: bool = False
    """Whether it begins slowly."""
    framing: Framing | None = None
    garbage: bytes = b""
    """Sent where it stops."""
    stray: bool = False
    """Whether another answer, which nobody asked for, follows in one piece with its end."""


WHOLE = Manner()


@dataclass(slots=True)
class Exchange:
    """One request for a file, what has been decided about it, and the means to answer it."""

    connection: Connection
    file: File
    where: Where
    view: View
    other: bytes
    """What is no version of the file: a decoy, or a file that nobody asked for; empty where none is needed."""
    older: View
    """The version before, or the same one where there is none."""
    decision: Decision
    span: tuple[int, int] | None
    """The range asked for, as offsets of its first byte and behind its last; None without a usable Range."""
    exact: bool
    """Whether the file has all of that range."""
    condition: str | None
    """If-Range."""
    sent: int = 0
    """Body bytes sent."""

    @property
    def stream(self) -> Stream | None:
        """The stream that it has, where the request came over HTTP/2."""
        return self.connection if isinstance(self.connection, Stream) else None

    def fields(self, **others: Header | None) -> dict[str, Header]:
        """The header of a response; None takes a field away."""
        disposition = f'inline; filename="{self.file.name}"' if self.file.style == "server-named" else None
        found: dict[str, Header | None] = {
            "date": self.view.date,
            "content_type": KINDS[self.file.kind].type,
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

    def place(self, size: int) -> int:
        """Where in a body of ``size`` bytes something happens to it.

        No two faults of one file happen at one place: bodies that end with their connection twice at the same one are
        taken for whole.
        """
        at = int(size * self.decision.fraction)
        at += self.decision.fault - at % MOST_FAULTS
        return max(0, at if at < size else at - MOST_FAULTS)

    def send(self, status: int, data: bytes, manner: Manner = WHOLE, **others: Header | None) -> None:
        """A response with this body. Its length is told unless ``others`` does or its framing is another."""
        framing = manner.framing or ("length" if status != 200 else self.file.framing)
        opening = head(status, **self.fields(**_framed(framing, len(data), others)))
        at = len(data)
        if manner.stop or manner.wait:
            at = self.place(len(data))
        elif manner.stray:
            at = max(0, at - TAIL)
        self._pour(data[:at], manner, framing, opening)
        if manner.wait:
            self.connection.pause(manner.wait)
        if manner.stop:
            self._stop(manner)
            return
        last = b"0\r\n\r\n" if framing == "chunked" else b""
        if manner.stray:
            self.sent += len(data) - at
            rest = data[at:]
            self.connection.send((chunk(rest) if framing == "chunked" and rest else rest) + last + self.stray(framing))
            return
        self._pour(data[at:], manner, framing)
        if last:
            self.connection.send(last)
        if framing == "close" or others.get("connection") == "close":
            self.connection.close()

    def stray(self, framing: Framing) -> bytes:
        """A complete answer, of another file."""
        body = chunk(self.other) + b"0\r\n\r\n" if framing == "chunked" else self.other
        return head(200, **self.fields(**_framed(framing, len(self.other), {}))) + body

    def is_idle(self) -> bool:
        """Whether nothing has come from the client since the request, not even the end of its connection."""
        return not select.select([self.connection.sock], [], [], 0)[0]

    def _stop(self, manner: Manner) -> None:
        if manner.garbage:
            self.connection.send(manner.garbage)
        self.connection.pause(0.02)  # a reset takes back what is still on its way
        stream, code = self.stream, CODES[self.decision.fault % len(CODES)]
        if manner.stop == "close":
            self.connection.close()
        elif stream is not None and manner.stop == "code":
            stream.reset(code)
        elif stream is not None and manner.stop == "gone":
            stream.go_away(code)
            stream.drop()
        else:
            self.connection.reset()

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


def _framed(framing: Framing, size: int, others: dict[str, Header | None]) -> dict[str, Header | None]:
    """The fields that tell where a body of ``size`` bytes ends, and ``others``, which count more."""
    if framing == "length":
        return {"content_length": size, **others}
    return {**others, **({"transfer_encoding": "chunked"} if framing == "chunked" else {"connection": "close"})}
