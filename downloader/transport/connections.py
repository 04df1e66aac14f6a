"""Connections that have brought an HTTP/1 response, and whether they may be asked again.

A response ends where its framing says (RFC 9112 section 6.3). Bytes that wait behind it would be taken for the answer
to the next request on the connection, and each later answer for the one before: whole files, but the wrong ones.
libcurl looks for such bytes once in a second at most. So a connection on which bytes wait is never asked again:

- When an exchange is complete, `Connection.end` looks at what waits in the socket, and over TLS also at what was read
  from it: more than the response and its records account for waits in OpenSSL.
- Before a request goes out on a connection that was used before, `Connection.begin` looks at the socket again.
- A response on such a connection whose first bytes had come before the request left is no answer to it
  (`Connection.is_early`): over TLS, fewer bytes were read from the socket since than the response has; and anywhere, it
  came within the least round trip that the kernel has seen.

A connection that is refused is shut down, and the request is sent again on another one. What comes later than the next
request cannot be told from its answer. HTTP/2 and HTTP/3 name the request with each frame, and need none of this.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import sys
import termios
import time
from _socket import socket as plain_socket  # gevent's is made for waiting, which libcurl does by itself
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pycurl
from gevent import monkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.transport.exchange import Exchange

RECORD: Final = 85
"""Most bytes that TLS adds to a record: AES-CBC with SHA-384, explicit IV and padding (RFC 5246 section 6.2.3.2)."""
TICKETS: Final = 2048
"""Most bytes that the session tickets behind a handshake are taken to have (RFC 8446 section 4.6.1)."""

EARLY: Final = 0.8
"""The part of the least round trip within which no answer can come; some kernels measure in milliseconds."""
SHORTEST: Final = 0.001
"""Seconds of a round trip below which it is our own delays that decide how soon a response is seen."""

_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
# Offsets in the kernel's struct tcp_info (linux/tcp.h), which only ever grows at its end.
_RECEIVED: Final = struct.Struct("@Q"), 128
_LEAST_RTT: Final = struct.Struct("@I"), 148
_INFO_BYTES: Final = 152
_ESTABLISHED: Final = 1  # the state, at offset 0
_NO_SAMPLE: Final = 0xFFFFFFFF
_count = bytearray(4)  # of immutable bytes, ioctl takes 5,000 instructions to find that it cannot write to them
_Poll: Final = monkey.get_original("select", "poll")
_READABLE: Final = 1

Ends = tuple[str, str, int, int]
"""A connection's remote and local addresses, remote and local ports, as libcurl tells them before each request."""


class OutOfStep(Exception):
    """The connection is not fit for another request, which is to be sent again on another one.

    ``proven``: its server has sent what nobody asked for.
    """

    def __init__(self, *, proven: bool) -> None:
        super().__init__("the connection was out of step with its server")
        self.proven = proven


class TcpInfo(NamedTuple):
    """What the kernel knows of a connection."""

    received: int
    """Bytes that came in order."""
    least_rtt: float
    """Seconds of the quickest round trip; 0 where there was none."""


class Connection:
    """A connection, and the exchange that has it. ``secure``: it may be of TLS."""

    __slots__ = ("_asked_at", "_least_rtt", "_poll", "_read", "_secure", "_used", "fd", "tells", "user")

    def __init__(self, fd: int, *, secure: bool) -> None:
        self.fd = fd
        poll = _Poll()
        poll.register(fd, _READABLE)
        self._poll: Callable[[int], list[Any]] = poll.poll
        self._secure = secure
        self._used = False  # whether it has brought an HTTP/1 response
        self._least_rtt = 0.0  # seconds; 0 where it is too short to tell anything
        self._asked_at = 0.0
        # Bytes that had been read when the request of the exchange left; None where that is not known.
        self._read = _read_by_now(fd) if secure else 0
        self.tells = False
        """Whether `is_early` may find anything."""
        self.user: Exchange | None = None
        """The exchange that has it, as far as is known; one of those, where they share it (HTTP/2)."""

    def begin(self, user: Exchange) -> OutOfStep | None:
        """Take note that ``user`` is about to send its request; return why it must not. Called by libcurl."""
        self.user = user
        if self._used and self._poll(0) and (refusal := self._refusal()) is not None:
            return refusal
        if self.tells:
            self._asked_at = time.perf_counter()
            if self._secure:
                self._read = _read_by_now(self.fd)
        if self._read is None:  # behind chunks
            self._read = _read_by_now(self.fd)
        return None

    def _refusal(self) -> OutOfStep | None:
        if self.fd < 0:
            return OutOfStep(proven=False)
        if not waiting(self.fd):  # the server has closed it, which libcurl sees
            return None
        refusal = OutOfStep(proven=not (self._secure or _is_farewell(self.fd)))
        self.shut_down()
        return refusal

    def is_early(self, size: int) -> bool:
        """Tell whether any of what has come of the response, ``size`` bytes, had come before its request left."""
        waited = time.perf_counter() - self._asked_at
        if waited < EARLY * self._least_rtt:
            # The way may have become shorter. An answer acknowledges its request, so that the kernel knows by now.
            self._least_rtt = _least_rtt(self.fd)
            if waited < EARLY * self._least_rtt:
                return True
        if self._read is None:
            return False
        left = waiting(self.fd)  # first, so that what comes between the two looks counts as read rather than as early
        info = tcp_info(self.fd)
        # One byte too few says nothing: a connection that was reset looks like one whose end has come.
        return info is not None and info.received - left - self._read < size - 1

    def end(self, exchange: Exchange) -> bool:
        """Take note that an HTTP/1 response is complete; tell whether more came than its bytes.

        To be called before another request is sent.
        """
        self.user = None
        if self.fd < 0:
            return False
        waits = bool(self._poll(0)) and waiting(self.fd) > 0
        if self._secure:  # a ticket or a farewell of TLS is no surplus
            surplus = self.exceeds(exchange)
        else:
            surplus = waits
            if exchange.begun is not None and exchange.begun.is_chunked:
                self._read = None  # how much the framing of the chunks has taken is not known
            elif self._read is not None:
                self._read += exchange.received + sum(map(len, exchange.lines))
        if waits or surplus or exchange.fresh:  # libcurl's own way to forbid reuse closes before anybody can look
            self.shut_down()
        elif not self._used:
            self._used = True
            self._least_rtt = _least_rtt(self.fd)
            self.tells = self._secure or self._least_rtt > 0
        return surplus

    def shut_down(self) -> None:
        """End it for both sides, so that no request is sent over it any more; libcurl finds it dead and closes it."""
        if self.fd >= 0:
            with suppress(OSError):
                _borrow(self.fd, "shutdown", socket.SHUT_RDWR)
            self.fd = -1

    def exceeds(self, exchange: Exchange) -> bool:
        """Tell whether more has come since the request of ``exchange`` than its response, as far as that is known."""
        if self._read is None or (info := tcp_info(self.fd)) is None:
            return False
        overhead = 0
        if self._secure:
            overhead = RECORD * exchange.records + (0 if self._used else TICKETS)
        return info.received - self._read - exchange.size > overhead


class Connections:
    """The connections of a run, by their ends; of more than ``most`` the oldest are forgotten without harm."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.known: dict[Ends, Connection] = {}
        self.opened: deque[int] = deque(maxlen=most)  # sockets of connections that nothing was sent over yet
        self.sought = 0
        """How often libcurl has looked for a connection, for which it may have closed another."""

    def __len__(self) -> int:
        return len(self.known)

    def on_socket(self, fd: int, _purpose: int) -> int:
        """Take note that libcurl, which calls this, connects with socket ``fd``."""
        self.sought += 1
        if fd in self.opened:
            self.opened.remove(fd)
        self.opened.append(fd)
        return int(pycurl.SOCKOPT_OK)

    def find(self, ends: Ends, *, secure: bool) -> Connection | None:
        """Return the connection between ``ends``; None for a new one whose socket cannot be told."""
        if self.opened and (fd := self._socket_between(ends)) is not None:  # ends are given again after a while
            if len(self.known) >= self._most:
                del self.known[next(iter(self.known))]
            self.known[ends] = Connection(fd, secure=secure)
        return self.known.get(ends)

    def drop(self, ends: Ends) -> None:
        """Forget the connection between ``ends``: it is being closed."""
        self.known.pop(ends, None)

    def _socket_between(self, ends: Ends) -> int | None:
        for fd in reversed(list(self.opened)):
            try:
                own, peer = _borrow(fd, "getsockname"), _borrow(fd, "getpeername")
            except OSError as error:
                if error.errno != errno.ENOTCONN:  # it was given up, and is closed by now
                    self.opened.remove(fd)
                continue
            if (own[1], peer[1], own[0], peer[0]) == (ends[3], ends[2], ends[1], ends[0]):
                self.opened.remove(fd)
                return fd
        return None


def _is_farewell(fd: int) -> bool:
    """Tell whether what waits on an idle connection is a 408, with which some servers close those that are idle."""
    try:
        start: bytes = _borrow(fd, "recv", 12, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return False
    return start.startswith(b"HTTP/1.") and start.endswith(b" 408")


def waiting(fd: int) -> int:
    """Return how many bytes there are in a socket that nobody has read; 0 where it is closed."""
    try:
        fcntl.ioctl(fd, termios.FIONREAD, _count)
    except (OSError, ValueError):
        return 0
    return int.from_bytes(_count, sys.byteorder)


def _read_by_now(fd: int) -> int | None:
    """Return how many bytes of a TCP connection have been read; None where the system does not tell."""
    info = tcp_info(fd)
    return None if info is None else info.received - waiting(fd)


def _least_rtt(fd: int) -> float:
    """Return the seconds of the quickest round trip of a connection; 0 where that is too short to tell anything."""
    info = tcp_info(fd)
    return info.least_rtt if info is not None and info.least_rtt >= SHORTEST else 0.0


def tcp_info(fd: int) -> TcpInfo | None:
    """Return what the kernel knows of a TCP connection; None where it does not tell, or that is closed."""
    if _TCP_INFO is None:
        return None
    try:
        found: bytes = _borrow(fd, "getsockopt", socket.IPPROTO_TCP, _TCP_INFO, _INFO_BYTES)
    except (OSError, ValueError):  # no TCP, or closed
        return None
    if len(found) < _INFO_BYTES:  # before Linux 4.6
        return None
    (received,) = _RECEIVED[0].unpack_from(found, _RECEIVED[1])
    received -= (
        found[0] != _ESTABLISHED
    )  # the server's word that it has closed counts like a byte (RFC 9293 section 3.4)
    (least,) = _LEAST_RTT[0].unpack_from(found, _LEAST_RTT[1])
    return TcpInfo(received, 0.0 if least == _NO_SAMPLE else least / 1e6)


def _borrow(fd: int, method: str, *args: Any) -> Any:
    """Call a socket method of a descriptor that is libcurl's, and leave it open. Raises OSError."""
    wrapped = plain_socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd)  # of an IPv6 one, these calls are the same
    try:
        return getattr(wrapped, method)(*args)
    finally:
        wrapped.detach()
