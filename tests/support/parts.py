"""Parts and their states as a real gdl leaves them, and servers that keep account of what they sent.

A part is made by running gdl against a `Film` that cuts its body; a `Film` then tells by the bytes it sent
whether a later run continued that part or began again.
"""

from __future__ import annotations

import json
import random
import re
import socket
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support import samples
from support.answers import Header, head, http_date, message, typed
from support.cli import run_gdl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from support.cli import Argument, Completed
    from support.faultserver import Connection, Request, Response

KIB = 1024
MIB = 1024 * KIB
PIECE = 64 * KIB
"""Bytes a `Film` hands to the system at a time."""
OLD = -86_400
"""Seconds from now of a Last-Modified that tells versions apart (RFC 9110 section 8.8.2.2)."""


def version(number: int, size: int) -> bytes:
    """Version ``number`` (0 to 255) of an MP4 of ``size`` bytes: two versions differ in each byte after its head."""
    noise = random.Random(1).randbytes(size - samples.MP4_HEAD)  # noqa: S311 - it need not be secret
    shifted = bytes((value + number) % 256 for value in range(256))
    return samples.mp4(size)[: samples.MP4_HEAD] + noise.translate(shifted)


# What a server sent


@dataclass(slots=True)
class Answer:
    """One answer of a `Film`."""

    request: Request
    status: int
    start: int
    """Where in the file its body begins."""
    promised: int
    """Bytes of its body."""
    sent: int = 0
    """Bytes of its body that were handed to the system."""

    @property
    def range(self) -> str | None:
        """The Range header of its request."""
        return self.request.header("range")

    @property
    def if_range(self) -> str | None:
        """The If-Range header of its request."""
        return self.request.header("if-range")


class Film:
    """A file as an honest server serves it, with an account of its answers. Itself a response for a route.

    It knows single ranges (RFC 9110 section 14.2) and If-Range with the strong comparison (section 13.1.5), and
    sends a Date. ``cut`` closes the connection after that many body bytes of each answer, ``stall`` goes silent
    there. ``pace`` is the seconds between pieces of 64 KiB; it keeps what is under way small, so that ``sent`` is
    close to what the client took. Once ``gone`` is set, connections close.
    """

    def __init__(
        self,
        body: bytes,
        *,
        etag: str | None = '"v1"',
        last_modified: str | None = None,
        ranges: bool = True,
        cut: int | None = None,
        stall: int | None = None,
        pace: float | None = None,
        media_type: str | None = "video/mp4",
        gone: threading.Event | None = None,
        **headers: Header,
    ) -> None:
        self.body = body
        self.answers: list[Answer] = []
        self._etag = etag
        self._last_modified = last_modified
        self._ranges = ranges
        self._cut = cut
        self._stall = stall
        self._pace = pace
        self._gone = gone or threading.Event()
        self._headers: dict[str, Header] = {**typed(media_type), **headers}
        if etag:
            self._headers["etag"] = etag
        if last_modified:
            self._headers["last_modified"] = last_modified
        if ranges:
            self._headers["accept_ranges"] = "bytes"

    @property
    def sent(self) -> int:
        """Body bytes of all its answers."""
        return sum(answer.sent for answer in self.answers)

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request, in the order they came."""
        return [answer.range for answer in self.answers]

    def __call__(self, connection: Connection, request: Request) -> None:
        size = len(self.body)
        span = wanted_range(request, size) if self._ranges and self._holds(request) else None
        headers = {"date": http_date(), **self._headers}
        if span is None:
            answer = Answer(request, 200, 0, size)
        elif span[0] >= span[1]:
            answer = Answer(request, 416, 0, 0)
            headers["content_range"] = f"bytes */{size}"
        else:
            answer = Answer(request, 206, span[0], span[1] - span[0])
            headers["content_range"] = f"bytes {span[0]}-{span[1] - 1}/{size}"
        self.answers.append(answer)
        connection.send(head(answer.status, content_length=answer.promised, **headers))
        self._send_body(connection, answer)

    def _holds(self, request: Request) -> bool:
        condition = request.header("if-range")
        if condition is None:
            return True
        strong = self._etag is not None and not self._etag.startswith("W/")
        return (strong and condition == self._etag) or (
            self._last_modified is not None and condition == self._last_modified
        )

    def _send_body(self, connection: Connection, answer: Answer) -> None:
        if self._pace is not None:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * PIECE)
        stops = [stop for stop in (self._cut, self._stall) if stop is not None]
        most = min([answer.promised, *stops])
        while answer.sent < most and not self._gone.is_set():
            piece = min(PIECE, most - answer.sent)
            start = answer.start + answer.sent
            last = answer.sent + piece == answer.promised
            (connection.send_last if last else connection.send)(self.body[start : start + piece])
            answer.sent += piece
            if self._pace is not None and not last:
                connection.pause(self._pace)
        if answer.sent == answer.promised:
            return
        if self._stall is not None and not self._gone.is_set():
            connection.hold()
        else:
            connection.close()


def wanted_range(request: Request, size: int) -> tuple[int, int] | None:
    """First byte and byte after the last of the range a request asks for; None where it asks for all."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.header("range") or "")
    if match is None:
        return None
    first, last = match.groups()
    return int(first), min(int(last) + 1, size) if last else size


def ranged(response: Response, whole: Response) -> Response:
    """``response`` for requests with a Range, ``whole`` for those without."""

    def respond(connection: Connection, request: Request) -> None:
        (response if request.header("range") else whole)(connection, request)

    return respond


def in_turn(*responses: Response) -> Response:
    """The first for the first request, and so on; the last for all that follow."""
    lock = threading.Lock()
    left = list(responses)

    def respond(connection: Connection, request: Request) -> None:
        with lock:
            response = left.pop(0) if len(left) > 1 else left[0]
        response(connection, request)

    return respond


def cut_film(body: bytes, at: int, **about: Any) -> Response:
    """A `Film` of which the first request gets ``at`` bytes and a close, and all that follow a 404.

    A try that got on is followed by another whatever ``--retries`` says: the 404 ends the run and leaves the part.
    """
    return in_turn(Film(body, cut=at, **about), message(404, b""))


class Peak:
    """Wraps responses and counts how many are served at once; those whose client has gone do not count."""

    def __init__(self) -> None:
        self.most = 0

    def __call__(self, response: Response) -> Response:
        """``response``, counted."""

        def respond(connection: Connection, request: Request) -> None:
            with connection.server._changed:
                serving = list(connection.server._counts.serving)
            self.most = max(self.most, sum(not _client_gone(other) for other in serving))
            response(connection, request)

        return respond


def _client_gone(connection: Connection) -> bool:
    try:
        return not connection.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


# Files


def files(folder: Path) -> list[str]:
    """All that is in a folder and below but folders, by its path there; none where there is no folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def state_path(final: Path) -> Path:
    """Where the state of the part of ``final`` lies."""
    return final.with_name(final.name + ".part.json")


def part_path(final: Path) -> Path:
    """Where the part of ``final`` lies."""
    return final.with_name(final.name + ".part")


def leave_parts(folder: Path, *args: Argument, listing: str | None = None) -> Completed:
    """Run gdl in ``folder`` with output ``out`` on URLs of `cut_film`: all fail."""
    lists: Sequence[str] = () if listing is None else ("-",)
    done = run_gdl("--json", "--retries", "0", "-o", "out", *args, *lists, stdin=listing, cwd=folder)
    statuses = {result["url"]: result["status"] for result in done.results}
    assert set(statuses.values()) == {"failed"}, (statuses, done.stderr)
    return done


# States

_STYLES: tuple[dict[str, Any], ...] = tuple(
    {"separators": separators, "sort_keys": sort_keys, "ensure_ascii": ensure_ascii}
    for separators in ((",", ":"), (", ", ": "))
    for sort_keys in (False, True)
    for ensure_ascii in (True, False)
)


def read_state(final: Path) -> dict[str, Any]:
    """What is inside the state of the part of ``final``, its checksum verified."""
    outer, _ = _sealed(state_path(final).read_bytes())
    state: dict[str, Any] = outer["state"]
    return state


def write_state(final: Path, state: Mapping[str, object] | str) -> None:
    """Put another state, or text for one, in the place of the one gdl wrote, with a checksum that is right."""
    path = state_path(final)
    raw = path.read_bytes()
    outer, style = _sealed(raw)
    before = json.dumps(outer["state"], **style).encode()
    text = (state if isinstance(state, str) else json.dumps(state, **style)).encode("utf-8", "surrogatepass")
    opening, found, closing = raw.partition(before)
    assert found, raw
    opening = re.sub(rb'("crc32"\s*:\s*)\d+', rb"\g<1>%d" % zlib.crc32(text), opening)
    path.write_bytes((opening + text + closing.rstrip()).ljust(len(raw)))


def change_state(final: Path, **changes: object) -> None:
    """Change entries of the state of the part of ``final``, with a checksum that is right."""
    write_state(final, read_state(final) | changes)


def _sealed(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    outer: dict[str, Any] = json.loads(raw)
    assert outer["gdl-part"] == 1
    for style in _STYLES:
        if zlib.crc32(json.dumps(outer["state"], **style).encode()) == outer["crc32"]:
            return outer, style
    raise AssertionError(f"the checksum of this state is not that of its text: {raw!r}")


def listing(pairs: Iterable[tuple[str, str]]) -> str:
    """List lines of URLs and names."""
    return "".join(f"{url} {name}\n" for url, name in pairs)
