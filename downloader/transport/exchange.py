"""One request and its response under way: header lines collected, the rest handed to a receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gevent.hub import Waiter

from downloader.errors import ConnectError, TimedOut
from downloader.responses import Head

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.transport.throttle import Flow


USEFUL = 100
"""Bytes per second of body, on average over ``--timeout``, below which an exchange counts as silent."""
LOOKS = 16
"""How often in ``--timeout`` a running exchange is looked at for progress."""


HEARD = 64 * 1024
"""Bytes of a body up to which libcurl's log tells of a surplus: behind longer ones it does not read."""


class Receiver(Protocol):
    """What takes a response as it comes. Both methods run inside libcurl on the hub: no switching."""

    def begin(self, head: Head) -> bool:
        """Take the final response's head, with its first body byte or at the end of an empty body.

        False where the body does not matter, so that it need not be waited for.
        """

    def write(self, chunk: bytes) -> None:
        """Take the next body bytes, in the server's content encoding if it uses one."""


_ASKING, _SENT, _HEADER, _BODY = range(4)  # how far an exchange has come; never back


class Exchange:
    """One request and its response. ``waiter`` wakes the greenlet that waits for its end."""

    __slots__ = (
        "_mark",
        "_quiet",
        "_stage",
        "_wanted",
        "begun",
        "complete",
        "excess",
        "failure",
        "held",
        "kept",
        "lines",
        "paced",
        "received",
        "receiver",
        "waiter",
        "write",
    )

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.write: Callable[[bytes], None] = receiver.write
        self.waiter: Any = Waiter()
        self.lines: list[bytes] = []
        """Header lines, interim responses' and trailers too. libcurl bounds their size and number."""
        self.begun: Head | None = None
        self.failure: BaseException | None = None
        self.excess = False
        """Whether libcurl saw bytes behind the promised ones."""
        self.complete = False
        """Whether libcurl has seen the response to its end."""
        self.kept = False
        """Whether the connection was still open then."""
        self.received = 0
        """Bytes of body so far."""
        self.paced: Flow | None = None
        """The share of ``--limit-rate``, where there is one."""
        self.held = False
        """Whether that has held it back since the last `look`."""
        self._stage = _ASKING
        self._mark = 0
        self._quiet = 0
        self._wanted = True

    def on_data(self, chunk: bytes) -> int | None:
        """Take body bytes from libcurl; -1 tells it to stop because of `failure`."""
        self.received += len(chunk)
        try:
            if self.begun is None:
                self._begin(self.lines)
            self.write(chunk)
        except BaseException as error:  # noqa: BLE001 raised again by perform(); must not enter libcurl
            self.failure = error
            return -1
        return None

    def tell_head(self) -> None:
        """Tell the receiver of a head that came whole though its body did not: it may be all that counts.

        What it raises becomes the `failure`, as in `on_data`: this too is called on the hub.
        """
        if self.begun is None and (lines := final_header(self.lines)) is not None:
            try:
                self._begin(lines)
            except BaseException as error:  # noqa: BLE001 raised again by perform()
                self.failure = error

    @property
    def long(self) -> bool:
        """Whether the body was too long for libcurl's log to tell of a surplus."""
        return self.received > HEARD

    @property
    def settled(self) -> bool:
        """Whether the receiver has said that it can do without the body."""
        return self.begun is not None and not self._wanted

    def on_debug(self, kind: int, text: bytes) -> None:
        """Take a line of libcurl's log (kind 0; the others are the wire's bytes)."""
        if kind == 0 and text.startswith(b"Excess found"):
            self.excess = True

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
        self.lines.clear()
        del self.receiver, self.write

    def finish(self) -> Head:
        """Return the head of a response that is complete, telling the receiver of it if its body was empty."""
        if self.begun is not None:
            return self.begun
        lines = final_header(self.lines)
        if lines is None:  # libcurl takes a header that breaks off for a whole one
            raise ConnectError("the server closed the connection within the header")
        return self._begin(lines)

    def _begin(self, lines: list[bytes]) -> Head:
        self.begun = head = Head.parse(lines)
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
        if not line.strip():
            end = at + 1
        elif line.startswith(b"HTTP/"):
            interim = line.partition(b" ")[2].lstrip().startswith(b"1")
            return None if interim or end is None else lines[at:end]
    return None
