"""One request and its response under way: header lines collected, the rest handed to a receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gevent.hub import Waiter

from downloader.responses import Head

if TYPE_CHECKING:
    from collections.abc import Callable


class Receiver(Protocol):
    """What takes a response as it comes. Both methods run inside libcurl on the hub: no switching."""

    def begin(self, head: Head) -> None:
        """Take the final response's head, before its first body byte (or at the end of an empty body)."""

    def write(self, chunk: bytes) -> None:
        """Take the next body bytes, content encoding undone."""


class Exchange:
    """One request and its response. ``waiter`` wakes the greenlet that waits for its end."""

    __slots__ = ("begun", "failure", "lines", "receiver", "waiter", "write")

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.write: Callable[[bytes], None] = receiver.write
        self.waiter: Any = Waiter()
        self.lines: list[bytes] = []
        """Header lines; trailers come here too, after the head has been read. libcurl bounds them to 6 MB."""
        self.begun: Head | None = None
        self.failure: BaseException | None = None

    def on_data(self, chunk: bytes) -> int | None:
        """Take body bytes from libcurl; -1 tells it to stop because of `failure`."""
        try:
            if self.begun is None:
                self._begin()
            self.write(chunk)
        except BaseException as error:  # noqa: BLE001 raised again by perform(); must not enter libcurl
            self.failure = error
            return -1
        return None

    def forget(self) -> None:
        """Drop what would live on in an idle handle."""
        del self.receiver, self.write, self.lines

    def finish(self) -> Head:
        """Return the head of a response that is complete, telling the receiver of it if its body was empty."""
        return self.begun or self._begin()

    def _begin(self) -> Head:
        self.begun = head = Head.parse(self.lines)
        self.receiver.begin(head)
        return head
