"""HTTP over libcurl's multi interface, driven by gevent's hub. Knows nothing of files.

A greenlet calls `Transport.perform` and sleeps until its exchange is over; libcurl's sockets and its timer are
watchers of the hub, so thousands of exchanges need no thread and no polling. Data flows like this::

    greenlet: perform() ── add_handle ──▶ libcurl ── timer 0 ──▶ hub: socket_action ──▶ connect, send
    hub: fd readable ──▶ socket_action ──▶ receiver.begin(head), receiver.write(chunk) ... ──▶ done
    hub: after the drain ──▶ switch into the greenlet ──▶ perform() returns or raises

Rules that keep it alive: callbacks run inside libcurl, so they never call libcurl, block, switch or raise; an
exception of the receiver is kept, libcurl told to stop, and the exception raised again in the greenlet.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from typing import TYPE_CHECKING, Any

import certifi
import gevent
import pycurl

from downloader import errors
from downloader.addresses import is_public
from downloader.transport.exchange import LOOKS, USEFUL, Exchange
from downloader.transport.gate import Gate
from downloader.transport.handles import Handles
from downloader.transport.translation import translate
from downloader.urls import host_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.options import Options
    from downloader.request import Request
    from downloader.responses import Head
    from downloader.transport.exchange import Receiver

KEEPING_HOSTS = 4096
"""Hosts remembered for keeping connections open."""


class Unheard(errors.BodyError):
    """The body is as long as was promised, but nobody listened whether there was more: asking again will tell."""


_forgotten: list[Any] = []
"""Multi handles that could not be closed without waiting."""


class Transport:
    """Performs requests for the greenlets of the current hub; close it when they are done.

    ``spare`` bounds how many idle easy handles are kept for reuse. ``cainfo`` is a PEM file with the trusted
    certificates (a path, so that libcurl parses it once for all connections). ``allowed`` judges each address before
    it is connected to, and no proxy is used then; by default that is what ``--public-only`` asks for.
    """

    def __init__(
        self,
        options: Options,
        *,
        cainfo: str | None = None,
        spare: int = 64,
        allowed: Callable[[str], bool] | None = None,
    ) -> None:
        self._allowed = allowed or (is_public if options.public_only else None)
        direct = self._allowed is not None
        self._handles = Handles(options, cainfo or certifi.where(), spare=spare, direct=direct)
        self._active: dict[Any, Exchange] = {}
        self._keeping: set[str] = set()
        self._timeout = options.timeout
        self._watch: Any = None
        self._watchers: dict[int, tuple[Any, int]] = {}
        self._timer: Any = None
        self._due = 0.0
        self._kicked = False
        self._looking_up = False
        self._closed = False
        self._loop = gevent.get_hub().loop
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max(64, 2 * options.jobs))

    def perform(self, request: Request, receiver: Receiver) -> Head:
        """Send ``request``, give the response to ``receiver``, and return its head when the body is complete.

        Blocks the calling greenlet only. Raises what the receiver raised, or a `errors.TransferError` in
        libcurl's place; when the greenlet is killed, the exchange is cancelled and its connection dropped.
        """
        if self._closed:
            raise RuntimeError("the transport is closed")
        origin = host_key(request.url)
        listens = origin not in self._keeping
        plain = not listens and self._handles.is_plain(request)
        easy = self._handles.take(plain=plain)
        exchange = Exchange(receiver)
        gate = None
        try:
            if listens:
                easy.setopt(pycurl.VERBOSE, 1)
                easy.setopt(pycurl.DEBUGFUNCTION, exchange.on_debug)
            self._handles.configure(easy, request, plain=plain)
            easy.setopt(pycurl.HEADERFUNCTION, exchange.lines.append)
            easy.setopt(pycurl.WRITEFUNCTION, exchange.on_data)
            if self._allowed is not None:
                gate = Gate(self._allowed)
                easy.setopt(pycurl.OPENSOCKETFUNCTION, gate.open)
            self._active[easy] = exchange
            if self._watch is None:
                self._watch = self._loop.timer(self._timeout / LOOKS, self._timeout / LOOKS)
                self._watch.start(self._on_watch)
            self._multi.add_handle(easy)
            code, message = exchange.waiter.get()
            if code or exchange.failure is not None:
                exchange.tell_head()
            if exchange.failure is not None:
                raise exchange.failure
            if code:
                if gate is not None and (refusal := gate.failure or gate.refusal) is not None:
                    raise refusal
                reused = not easy.getinfo(pycurl.NUM_CONNECTS)
                raise translate(code, message, easy.getinfo(pycurl.OS_ERRNO), reused=reused)
            head = exchange.finish()
            if exchange.complete:
                self._check_end(origin, exchange, head, listened=listens)
            return head
        finally:
            if self._active.pop(easy, None) is not None and not self._closed:
                self._multi.remove_handle(easy)
            if not exchange.lines and not easy.getinfo(pycurl.NAMELOOKUP_TIME):
                self._looking_up = True
            exchange.forget()
            self._handles.give_back(easy, plain=plain)

    def close(self) -> None:
        """Cancel what is running (its greenlets get `errors.Interrupted`) and free everything. Idempotent."""
        if self._closed:
            return
        self._fail_all(errors.Interrupted("the run was stopped"))
        self._closed = True
        for timer in (self._timer, self._watch):
            if timer is not None:
                timer.close()
        self._timer = self._watch = None
        if self._looking_up:
            # Closing would wait for the resolver's threads, for as long as its servers keep silent.
            _forgotten.append(self._multi)
        else:
            self._multi.close()
        for watcher, _ in self._watchers.values():
            watcher.stop()
            watcher.close()
        self._watchers.clear()
        self._handles.close()

    def _check_end(self, origin: str, exchange: Exchange, head: Head, *, listened: bool) -> None:
        """Raise `errors.BodyError` where more bytes came than were promised (RFC 9112 section 6.3).

        libcurl takes the promised ones, closes the connection and tells nobody but its log. So the log is listened
        to while a host has not kept a connection open; once it has, a connection that is closed against the head's
        word gives the surplus away for nothing. A close that was announced says nothing: that is `Unheard`. Behind
        longer bodies libcurl does not read: there it counts what waits in the socket, where that is kept.
        """
        if exchange.excess:
            raise errors.BodyError("the server sent more bytes than it promised")
        if exchange.kept:
            if len(self._keeping) >= KEEPING_HOSTS:
                self._keeping.clear()
            self._keeping.add(origin)
        elif not listened:
            self._keeping.discard(origin)
            if head.keeps_connection and head.content_length is not None:
                raise errors.BodyError("the connection was out of step: more bytes than promised, or a close too early")
            if head.content_length is not None and head.version.startswith("1"):
                raise Unheard("the server closed the connection, it may have had more bytes than it promised")

    # Called by libcurl.

    def _on_socket(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        known = self._watchers.get(fd)
        if known is not None:
            watcher, events = known
            if events == what:
                return
            watcher.stop()
            watcher.close()
            del self._watchers[fd]
        if what in (pycurl.POLL_IN, pycurl.POLL_OUT, pycurl.POLL_INOUT) and not self._closed:
            # POLL_IN, POLL_OUT, CSELECT_IN, CSELECT_OUT and libev's READ, WRITE all are 1 and 2.
            watcher = self._loop.io(fd, what)
            self._watchers[fd] = watcher, what
            watcher.start(self._on_ready, fd, pass_events=True)

    def _on_timer(self, milliseconds: int) -> None:
        if milliseconds < 0:
            if self._timer is not None:
                self._timer.close()
                self._timer = None
        elif milliseconds == 0:
            # Deferred: libcurl must not be entered again from its own callback.
            if not self._kicked and not self._closed:
                self._kicked = True
                self._loop.run_callback(self._on_kick)
        else:
            # A timer that fires too early costs one empty call; moving it each time costs more.
            due = self._loop.now() + milliseconds / 1000
            if self._timer is not None:
                if self._due <= due:
                    return
                self._timer.close()
            self._arm(due)

    # Called by the hub.

    def _arm(self, due: float) -> None:
        self._due = due
        self._timer = self._loop.timer(max(0.0, due - self._loop.now()))
        self._timer.start(self._on_due)

    def _on_due(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._drive(pycurl.SOCKET_TIMEOUT, 0)
        if self._timer is None and not self._closed:
            # libcurl repeats its timer only when it changes: keep the one it believes in.
            milliseconds = self._multi.timeout()
            if milliseconds >= 0:
                self._arm(self._loop.now() + max(milliseconds, 1) / 1000)

    def _on_kick(self) -> None:
        self._kicked = False
        self._drive(pycurl.SOCKET_TIMEOUT, 0)

    def _on_ready(self, events: int, fd: int) -> None:
        self._drive(fd, events)

    def _drive(self, fd: int, events: int) -> None:
        if self._closed:
            return
        try:
            _, running = self._multi.socket_action(fd, events)
        except pycurl.error as error:
            self._fail_all(errors.ConnectError(f"libcurl failed: {error}"))
            return
        if running == len(self._active):
            return
        done: list[tuple[Exchange, int, str]] = []
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            for easy in succeeded:
                self._detach(easy, 0, "", done, complete=True)
            for easy, code, message in failed:
                self._detach(easy, code, message, done)
        _wake(done)

    def _detach(
        self, easy: Any, code: int, message: str, done: list[tuple[Exchange, int, str]], *, complete: bool = False
    ) -> None:
        exchange = self._active.pop(easy, None)
        if exchange is not None:
            if complete:
                exchange.complete = True
                fd = easy.getinfo(pycurl.ACTIVESOCKET)
                exchange.kept = fd != pycurl.SOCKET_BAD
                # Over TLS what waits may be anything, such as a new session's ticket.
                if exchange.kept and exchange.long and easy.getinfo(pycurl.EFFECTIVE_URL).startswith("http:"):
                    exchange.excess = _pending(fd) and not self._reused(fd)
            self._multi.remove_handle(easy)
            done.append((exchange, code, message))

    def _reused(self, fd: int) -> bool:
        """Tell whether libcurl has given a connection to the next exchange before this one's end was told."""
        return any(easy.getinfo(pycurl.ACTIVESOCKET) == fd for easy in self._active)

    def _on_watch(self) -> None:
        """Fail what has gone silent: libcurl's own watch takes means over several seconds."""
        if not self._active:
            self._watch.close()
            self._watch = None
            return
        done: list[tuple[Exchange, int, str]] = []
        for easy, exchange in list(self._active.items()):
            sent = bool(exchange.lines) or easy.getinfo(pycurl.PRETRANSFER_TIME) > 0
            looks = exchange.look(USEFUL * self._timeout, sent=sent)
            if looks:
                exchange.tell_head()
            if looks >= LOOKS and exchange.failure is None:
                exchange.failure = exchange.silence(self._timeout)
            if exchange.failure is not None or exchange.settled:
                self._detach(easy, 0, "", done)
        _wake(done)

    def _fail_all(self, error: errors.ItemError) -> None:
        for easy, exchange in list(self._active.items()):
            del self._active[easy]
            self._multi.remove_handle(easy)
            exchange.failure = exchange.failure or error
            self._loop.run_callback(exchange.waiter.switch, (0, ""))


def _pending(fd: int) -> bool:
    """Tell whether there are bytes in a socket that nobody has read."""
    return bool(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])


def _wake(done: list[tuple[Exchange, int, str]]) -> None:
    """Let the greenlets of detached exchanges run; never from inside libcurl, which they call."""
    for exchange, code, message in done:
        exchange.waiter.switch((code, message))
