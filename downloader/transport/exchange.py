"""One request and its response under way: header lines collected, the rest handed to a receiver."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

import pycurl
from gevent.hub import Waiter

from downloader.errors import ConnectError, TimedOut
from downloader.responses import Head
from downloader.transport.connections import OutOfStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.transport.connections import Connection, Connections, Ends
    from downloader.transport.throttle import Flow


USEFUL = 100
"""Bytes per second of body, on average over ``--timeout``, below which an exchange counts as silent."""
LOOKS = 16
"""How often in ``--timeout`` a running exchange is looked at for progress."""


class Superseded(ConnectError):
    """The server broke the response off within its body, to be asked again over HTTP/1.1."""

    def __init__(self) -> None:
        super().__init__("the stream was reset within the body: the server asks for HTTP/1.1")


class Receiver(Protocol):
    """What takes a response as it comes. Both methods run inside libcurl on the hub: no switching."""

    def begin(self, head: Head) -> bool:
        """Take the final response's head, with its first body byte or at the end of an empty body.

        False where the body does not matter, so that it need not be waited for.
        """

    def write(self, chunk: bytes) -> None:
        """Take the next body bytes, in the server's content encoding if it uses one."""


_SEND: Final[int] = pycurl.PREREQFUNC_OK
_DROP: Final[int] = pycurl.PREREQFUNC_ABORT
_CLOSED: Final[int] = pycurl.SOCKET_BAD
_ASKING, _SENT, _HEADER, _BODY = range(4)  # how far an exchange has come; never back


class Exchange:
    """One request and its response. ``waiter`` wakes the greenlet that waits for its end.

    ``secure``: its connection may be of TLS. ``fresh``: it has one of its own. ``on_send`` is called from inside
    libcurl when the request is about to go out.
    """

    __slots__ = (
        *(
            "_chunks",
            "_connection",
            "_connections",
            "_ends",
            "fresh",
            "_last",
            "_mark",
            "_quiet",
            "_secure",
            "_sought",
            "_stage",
            "_told",
            "_wanted",
        ),
        *(
            "begun",
            "complete",
            "failure",
            "held",
            "in_peace",
            "kept",
            "lines",
            "on_send",
            "paced",
            "received",
            "receiver",
        ),
        *("surplus", "waiter", "write"),
    )

    _ends: Ends

    def __init__(self, receiver: Receiver, connections: Connections, *, secure: bool, fresh: bool = False) -> None:
        self.receiver = receiver
        self.write: Callable[[bytes], None] = receiver.write
        self.waiter: Any = Waiter()
        self.lines: list[bytes] = []
        """Header lines, interim responses' and trailers too. libcurl bounds their size and number."""
        self.begun: Head | None = None
        self.failure: BaseException | None = None
        self.surplus = False
        """Whether bytes came behind those of the response."""
        self.complete = False
        """Whether libcurl has seen the response to its end."""
        self.kept = False
        """Whether the connection was still open then."""
        self.in_peace = False
        """Whether no other request can have had it closed."""
        self.received = 0
        """Bytes of body so far."""
        self.paced: Flow | None = None
        """The share of ``--limit-rate``, where there is one."""
        self.held = False
        """Whether that has held it back since the last `look`."""
        self.on_send: Callable[[], None] | None = None
        self._connections = connections
        self._connection: Connection | None = None
        self._secure = secure
        self.fresh = fresh
        self._chunks = 0
        self._last = sys.maxsize  # bytes of body behind which the connection is looked at before libcurl closes it
        self._sought = 0
        self._told = 0  # header lines when the response began
        self._stage = _ASKING
        self._mark = 0
        self._quiet = 0
        self._wanted = True

    def on_data(self, chunk: bytes) -> int | None:
        """Take body bytes from libcurl; -1 tells it to stop because of `failure`."""
        self.received += len(chunk)
        self._chunks += 1
        try:
            if self.begun is None:
                if self._connection is not None and self._connection.tells:
                    self._check_order(self._connection)
                self._begin(self.lines)
            elif len(self.lines) > self._told and self.is_superseded():
                raise Superseded
            self.write(chunk)
            if self.received >= self._last:
                self._look_behind()
        except BaseException as error:  # noqa: BLE001 raised again by perform(); must not enter libcurl
            self.failure = error
            return -1
        return None

    def tell_head(self, *, broken: bool = False) -> None:
        """Tell the receiver of a head that came whole though its body did not: it may be all that counts.

        Not where the connection is ``broken`` and it can no longer be told whether the head is of this response. What
        the receiver raises becomes the `failure`, as in `on_data`: this too is called on the hub.
        """
        doubtful = self._connection if self._connection is not None and self._connection.tells else None
        if self.begun is not None or (broken and doubtful is not None) or isinstance(self.failure, OutOfStep):
            return
        if (lines := final_header(self.lines)) is not None:
            try:
                if doubtful is not None:
                    self._check_order(doubtful)
                self._begin(lines)
            except BaseException as error:  # noqa: BLE001 raised again by perform()
                self.failure = error

    def is_superseded(self) -> bool:
        """Tell whether another response has begun behind this one.

        libcurl asks again by itself where a stream is reset with HTTP_1_1_REQUIRED (RFC 9113 section 7), even within
        a body. What else follows a body are trailers.
        """
        if self.begun is None or len(self.lines) == self._told:
            return False
        return any(line.startswith(b"HTTP/") for line in self.lines[self._told :])

    @property
    def settled(self) -> bool:
        """Whether the receiver has said that it can do without the body."""
        return self.begun is not None and not self._wanted

    def on_request(self, *ends: Any) -> int:
        """Decide whether the request may go out on the connection between ``ends``; libcurl asks."""
        connections = self._connections
        connections.sought += 1
        self._sought = connections.sought
        if self.on_send is not None:
            self.on_send()
        if self._connection is not None:  # libcurl has found that one dead
            connections.drop(self._ends)
        self._ends = ends
        connection = connections.find(ends, secure=self._secure) if connections.opened else connections.known.get(ends)
        if connection is None:
            return _SEND
        if (user := connection.user) is not None and user.is_http1():
            user.end_on(connection)  # libcurl gives a connection on before it tells that a response is complete
        self._connection = connection
        self.failure = connection.begin(self)
        return _SEND if self.failure is None else _DROP

    def end(self, fd: int, *, sought: int) -> None:
        """Take note that the response is complete and its connection is socket ``fd``, if it is still open.

        ``sought`` is what `Connections.sought` was when libcurl was entered.
        """
        self.complete = True
        self.kept = fd != _CLOSED
        self.in_peace = self._connections.sought == max(sought, self._sought)
        connection, begun = self._connection, self.begun
        if connection is not None and connection.user is self:
            if begun is None:
                self._end_without_body(connection)
            elif self.kept and begun.version < "2":
                self.surplus = connection.end(self)

    def end_on(self, connection: Connection) -> None:
        """Take note that the response is complete on an HTTP/1 connection that is kept."""
        if self.begun is None and connection.tells and connection.is_early(self.size):
            self.failure = OutOfStep(proven=True)
            connection.shut_down()
        self.surplus = connection.end(self)

    def _end_without_body(self, connection: Connection) -> None:
        if not self.kept:
            if connection.tells:  # closed before anybody could look
                self.failure = OutOfStep(proven=False)
        elif self.is_http1():
            self.end_on(connection)

    def _check_order(self, connection: Connection) -> None:
        """Raise `OutOfStep` where what has come cannot be an answer to this request."""
        if connection.is_early(self.size):
            raise OutOfStep(proven=True)

    def _look_behind(self) -> None:
        if self._connection is not None:
            self.surplus = self._connection.exceeds(self)

    @property
    def size(self) -> int:
        """Bytes of head and body so far."""
        return sum(map(len, self.lines)) + self.received

    @property
    def records(self) -> int:
        """Records of TLS that the response came in, at most: OpenSSL hands out one at a time, or less."""
        return self._chunks + 2  # those of the head need hold nothing of the body

    def is_http1(self) -> bool:
        """Tell whether the response has come over HTTP/1, as far as it has come."""
        if self.begun is not None:
            return self.begun.version.startswith("1")
        return any(line.startswith(b"HTTP/1") for line in self.lines)

    def look(self, useful: float, *, sent: bool) -> int:
        """Return how many looks in a row have found too little; `LOOKS` of them are a silence.

        Too little is: no header line since the request was ``sent`` (before that libcurl's own watch applies), no
        complete final header since the first line, fewer than ``useful`` body bytes since that. What ``--limit-rate``
        holds back is not silent.
        """
        stage = self._reached(sent=sent)
        if stage != self._stage or stage == _ASKING or self.held or self.received - self._mark >= useful:
            self.held = self.paced is not None and self.paced.waits
            self._stage, self._mark, self._quiet = stage, self.received, 0
        else:
            self._quiet += 1
        return self._quiet

    def silence(self, timeout: float) -> TimedOut:
        """Return the error for what `look` has found too little of for ``timeout`` seconds."""
        came = self.received - self._mark
        if self._stage == _HEADER:
            return TimedOut(f"no complete header came in {timeout:g} s")
        return TimedOut(f"only {came:,} bytes came in {timeout:g} s" if came else f"nothing came for {timeout:g} s")

    def _reached(self, *, sent: bool) -> int:
        if self._stage == _BODY or self.begun is not None or final_header(self.lines) is not None:
            return _BODY
        if self.lines:
            return _HEADER
        return _SENT if sent else _ASKING

    def forget(self) -> None:
        """Drop what would live on in an idle handle."""
        if self._connection is not None and self._connection.user is self:
            self._connection.user = None
            if not self.kept:
                self._connections.drop(self._ends)
        self.lines.clear()
        del self.receiver, self.write

    def finish(self) -> Head:
        """Return the head of a response that is complete and had no body, telling the receiver of it."""
        lines = final_header(self.lines)
        if lines is None:  # libcurl takes a header that breaks off for a whole one
            raise ConnectError("the server closed the connection within the header")
        return self._begin(lines)

    def _begin(self, lines: list[bytes]) -> Head:
        self.begun = head = Head.parse(lines)
        self._told = len(self.lines)
        # A connection that is to be closed is gone when the response is complete, with what libcurl has read of it.
        said = head.fields.get("connection")
        if (said is not None or head.version == "1.0") and said != "keep-alive" and head.closes_connection:
            self._last = sys.maxsize if head.is_chunked else head.content_length or sys.maxsize
        self._wanted = self.receiver.begin(head)
        return head


def final_header(lines: list[bytes]) -> list[bytes] | None:
    """Return the lines of the complete header in ``lines`` that is no interim one (RFC 9110 section 15.2), or None.

    The last status line counts. What follows its header are trailers, which say nothing of a response's meaning
    (RFC 9110 section 6.5.1).
    """
    end = None
    for at in range(len(lines) - 1, -1, -1):
        line = lines[at]
        if not line.strip(b"\r\n"):  # one of blanks continues a field (RFC 9112 section 5.2)
            end = at + 1
        elif line.startswith(b"HTTP/"):
            interim = line.partition(b" ")[2].lstrip(b" \t").startswith(b"1")
            return None if interim or end is None else lines[at:end]
    return None
