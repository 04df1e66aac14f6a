"""Whether a response that libcurl calls complete has ended where it said it would."""

from __future__ import annotations

import fcntl
import struct
import termios
from typing import TYPE_CHECKING

from downloader.errors import BodyError

if TYPE_CHECKING:
    from downloader.responses import Head
    from downloader.transport.exchange import Exchange
    from downloader.transport.origins import Origin


class Unheard(BodyError):
    """The body is as long as was promised, but nobody listened whether there was more: asking again will tell."""


def check_end(origin: Origin, exchange: Exchange, head: Head, *, listened: bool) -> None:
    """Raise `BodyError` where more bytes came than were promised (RFC 9112 section 6.3).

    libcurl takes the promised ones, closes the connection and tells nobody but its log. So the log is listened
    to while a host has not kept a connection open; once it has, a connection that is closed against the head's
    word gives the surplus away for nothing. A close that was announced says nothing: that is `Unheard`. Behind
    longer bodies libcurl does not read: there it counts what waits in the socket, where that is kept.
    """
    if exchange.excess:
        raise BodyError("the server sent more bytes than it promised")
    if exchange.kept:
        origin.keeps = True
    elif not listened:
        origin.keeps = False
        if head.keeps_connection and head.content_length is not None:
            raise BodyError("the connection was out of step: more bytes than promised, or a close too early")
        if head.content_length is not None and head.version.startswith("1"):
            raise Unheard("the server closed the connection, it may have had more bytes than it promised")


def pending(fd: int) -> bool:
    """Tell whether there are bytes in a socket that nobody has read."""
    return bool(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])
