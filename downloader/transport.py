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

from typing import TYPE_CHECKING, Any

import certifi
import gevent
import pycurl

from downloader import errors
from downloader.curlerrors import translate
from downloader.exchange import Exchange

if TYPE_CHECKING:
    from downloader.exchange import Receiver
    from downloader.options import Options
    from downloader.request import Request
    from downloader.responses import Head

LEAST_LIBCURL = (8, 1, 0)
"""Older ones lack what the options below rely on."""
BROKEN_LIBCURL = frozenset({(8, 20, 0)})
"""Releases that spin on their wake-up descriptor."""

BUFFER = 256 * 1024
"""Receive buffer in bytes: fewer, larger chunks mean less Python per byte."""

_SUPPRESS_CONNECT_HEADERS = 265
"""CURLOPT_SUPPRESS_CONNECT_HEADERS: part of libcurl's ABI, not named by pycurl."""

_HTTP_VERSIONS = {
    "auto": pycurl.CURL_HTTP_VERSION_2TLS,
    "1.0": pycurl.CURL_HTTP_VERSION_1_0,
    "1.1": pycurl.CURL_HTTP_VERSION_1_1,
    "2": pycurl.CURL_HTTP_VERSION_2TLS,
    "3": pycurl.CURL_HTTP_VERSION_3,
}


def check_libcurl() -> None:
    """Raise `errors.UsageError` when the installed libcurl cannot do the work."""
    text = pycurl.version_info()[1]
    version = tuple(int(part) for part in text.split("-")[0].split(".")[:3])
    if version < LEAST_LIBCURL or version in BROKEN_LIBCURL:
        least = ".".join(map(str, LEAST_LIBCURL))
        raise errors.UsageError(f"libcurl {text} cannot be used; install a pycurl with libcurl {least} or newer")


class Transport:
    """Performs requests for the greenlets of the current hub; close it when they are done.

    ``spare`` bounds how many idle easy handles are kept for reuse. ``cainfo`` is a PEM file with the trusted
    certificates (a path, so that libcurl parses it once for all connections).
    """

    def __init__(self, options: Options, *, cainfo: str | None = None, spare: int = 64) -> None:
        check_libcurl()
        self._base = _base_options(options, cainfo or certifi.where())
        self._user_agent = options.user_agent
        self._referer = options.referer
        self._spare = spare
        self._idle: list[Any] = []
        self._plain: list[Any] = []
        self._active: dict[Any, Exchange] = {}
        self._watchers: dict[int, tuple[Any, int]] = {}
        self._timer: Any = None
        self._due = 0.0
        self._kicked = False
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
        # A handle that has only ever had the run's own options and a URL needs no more than another URL. Every
        # other one is reset before it is used again, so that no option leaks from one request to the next.
        plain = request.plain and request.user_agent == self._user_agent and request.referer == self._referer
        easy = self._take(plain=plain)
        exchange = Exchange(receiver)
        try:
            if plain:
                easy.setopt(pycurl.URL, request.url)
            else:
                _configure(easy, request)
            easy.setopt(pycurl.HEADERFUNCTION, exchange.lines.append)
            easy.setopt(pycurl.WRITEFUNCTION, exchange.on_data)
            self._active[easy] = exchange
            self._multi.add_handle(easy)
            code, message = exchange.waiter.get()
            if exchange.failure is not None:
                raise exchange.failure
            if code:
                raise translate(code, message, easy.getinfo(pycurl.OS_ERRNO))
            return exchange.finish()
        finally:
            if self._active.pop(easy, None) is not None and not self._closed:
                self._multi.remove_handle(easy)
            exchange.forget()
            self._give_back(easy, plain=plain)

    def close(self) -> None:
        """Cancel what is running (its greenlets get `errors.Interrupted`) and free everything. Idempotent."""
        if self._closed:
            return
        self._fail_all(errors.Interrupted("the run was stopped"))
        self._closed = True
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._multi.close()
        for watcher, _ in self._watchers.values():
            watcher.stop()
            watcher.close()
        self._watchers.clear()
        for easy in (*self._idle, *self._plain):
            easy.close()
        self._idle.clear()
        self._plain.clear()

    def _take(self, *, plain: bool) -> Any:
        if plain and self._plain:
            return self._plain.pop()
        if self._idle:
            easy = self._idle.pop()
        elif self._plain:
            easy = self._plain.pop()
            easy.reset()
        else:
            easy = pycurl.Curl()
        for option, value in self._base:
            easy.setopt(option, value)
        if plain:
            easy.setopt(pycurl.USERAGENT, self._user_agent)
            if self._referer is not None:
                easy.setopt(pycurl.REFERER, self._referer)
        return easy

    def _give_back(self, easy: Any, *, plain: bool) -> None:
        if self._closed or len(self._idle) + len(self._plain) >= self._spare:
            easy.close()
        elif plain:
            self._plain.append(easy)
        else:
            easy.reset()
            self._idle.append(easy)

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
                self._detach(easy, 0, "", done)
            for easy, code, message in failed:
                self._detach(easy, code, message, done)
        # Only now may greenlets run: they call libcurl.
        for exchange, code, message in done:
            exchange.waiter.switch((code, message))

    def _detach(self, easy: Any, code: int, message: str, done: list[tuple[Exchange, int, str]]) -> None:
        exchange = self._active.pop(easy, None)
        if exchange is not None:
            self._multi.remove_handle(easy)
            done.append((exchange, code, message))

    def _fail_all(self, error: errors.ItemError) -> None:
        for easy, exchange in list(self._active.items()):
            del self._active[easy]
            self._multi.remove_handle(easy)
            exchange.failure = exchange.failure or error
            self._loop.run_callback(exchange.waiter.switch, (0, ""))


def _base_options(options: Options, cainfo: str) -> list[tuple[int, Any]]:
    """The libcurl options every request of a run shares."""
    base: list[tuple[int, Any]] = [
        (pycurl.NOSIGNAL, 1),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.HTTP_VERSION, _HTTP_VERSIONS[options.http_version]),
        (pycurl.BUFFERSIZE, BUFFER),
        # Asks for the bytes as they are, and has libcurl undo an encoding that comes all the same.
        (pycurl.ACCEPT_ENCODING, "identity"),
        (pycurl.CAINFO, cainfo),
        (pycurl.CONNECTTIMEOUT_MS, int(options.timeout * 1000) or 1),
        (pycurl.LOW_SPEED_LIMIT, 1),
        (pycurl.LOW_SPEED_TIME, max(1, round(options.timeout))),
        (_SUPPRESS_CONNECT_HEADERS, 1),
    ]
    if options.insecure:
        base += [(pycurl.SSL_VERIFYPEER, 0), (pycurl.SSL_VERIFYHOST, 0)]
    if options.proxy is not None:
        base.append((pycurl.PROXY, options.proxy))
    if options.netrc:
        base.append((pycurl.NETRC, pycurl.NETRC_OPTIONAL))
    return base


def _configure(easy: Any, request: Request) -> None:
    easy.setopt(pycurl.URL, request.url)
    if request.user_agent is not None:
        easy.setopt(pycurl.USERAGENT, request.user_agent)
    if request.referer is not None:
        easy.setopt(pycurl.REFERER, request.referer)
    if request.headers:
        # "Name;" is libcurl's way to say: send it with an empty value.
        easy.setopt(
            pycurl.HTTPHEADER,
            [f"{name}: {value}" if value else f"{name};" for name, value in request.headers],
        )
    if request.username is not None:
        easy.setopt(pycurl.USERNAME, request.username)
        easy.setopt(pycurl.PASSWORD, request.password or "")
    if request.cookie is not None:
        easy.setopt(pycurl.COOKIE, request.cookie)
    if request.deadline is not None:
        easy.setopt(pycurl.TIMEOUT_MS, max(1, int(request.deadline * 1000)))
