"""One request and its response under way: header lines collected, the rest handed to a receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gevent.hub import Waiter

from downloader.errors import ConnectError
from downloader.responses import Head

if TYPE_CHECKING:
    from collections.abc import Callable


class Receiver(Protocol):
    """What takes a response as it comes. Both methods run inside libcurl on the hub: no switching."""

    def begin(self, head: Head) -> bool:
        """Take the final response's head, with its first body byte or at the end of an empty body.

        False where the body does not matter, so that it need not be waited for.
        """

    def write(self, chunk: bytes) -> None:
        """Take the next body bytes, content encoding undone."""


class Exchange:
    """One request and its response. ``waiter`` wakes the greenlet that waits for its end."""

    __slots__ = (
        "_chunks",
        "_quiet",
        "_seen",
        "_wanted",
        "begun",
        "excess",
        "failure",
        "kept",
        "lines",
        "receiver",
        "waiter",
        "write",
    )

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.write: Callable[[bytes], None] = receiver.write
        self.waiter: Any = Waiter()
        self.lines: list[bytes] = []
        """Header lines; trailers come here too, after the head has been read. libcurl bounds them to 6 MB."""
        self.begun: Head | None = None
        self.failure: BaseException | None = None
        self.excess = False
        """Whether libcurl saw bytes behind the promised ones."""
        self.kept = False
        """Whether the connection was still open when the response was complete."""
        self._chunks = 0
        self._seen = 0
        self._quiet = 0
        self._wanted = True

    def on_data(self, chunk: bytes) -> int | None:
        """Take body bytes from libcurl; -1 tells it to stop because of `failure`."""
        self._chunks += 1
        try:
            if self.begun is None:
                self._begin()
            self.write(chunk)
        except BaseException as error:  # noqa: BLE001 raised again by perform(); must not enter libcurl
            self.failure = error
            return -1
        return None

    def tell_head(self) -> None:
        """Tell the receiver of a head that came whole though its body did not: it may be all that counts.

        What it raises becomes the `failure`, as in `on_data`: this too is called on the hub.
        """
        if self.begun is None and self.lines and not self.lines[-1].strip() and Head.parse(self.lines).status >= 200:
            try:
                self._begin()
            except BaseException as error:  # noqa: BLE001 raised again by perform()
                self.failure = error

    @property
    def settled(self) -> bool:
        """Whether the receiver has said that it can do without the body."""
        return self.begun is not None and not self._wanted

    def on_debug(self, kind: int, text: bytes) -> None:
        """Take a line of libcurl's log (kind 0; the others are the wire's bytes)."""
        if kind == 0 and text.startswith(b"Excess found"):
            self.excess = True

    def looks_silent(self) -> int:
        """Return how many looks in a row have found nothing new; 0 before the first header, libcurl's own watch."""
        progress = self._chunks + len(self.lines)
        if progress != self._seen or not progress:
            self._seen = progress
            self._quiet = 0
        else:
            self._quiet += 1
        return self._quiet

    def forget(self) -> None:
        """Drop what would live on in an idle handle."""
        self.lines.clear()
        del self.receiver, self.write

    def finish(self) -> Head:
        """Return the head of a response that is complete, telling the receiver of it if its body was empty."""
        if self.begun is not None:
            return self.begun
        if not self.lines or self.lines[-1].strip():  # libcurl takes a header that breaks off for a whole one
            raise ConnectError("the server closed the connection within the header")
        return self._begin()

    def _begin(self) -> Head:
        self.begun = head = Head.parse(self.lines)
        self._wanted = self.receiver.begin(head)
        return head
