"""The server behind `support.faults`: plain sockets, one thread per connection, answers that are scripts.

It runs in threads of the test's process while gdl runs in a child, so nothing gdl patches reaches it.
A response is a callable that takes the connection and the request and does to them what it likes.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

JOIN_SECONDS = 10.0
HEADER_BOUND = 1 << 20


def now() -> float:
    """Monotonic seconds."""
    return time.monotonic()


class StoppedError(Exception):
    """The server is stopping, so the script ends here."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    target: str
    """As on the request line: path and query, or an absolute URL where the client takes us for a proxy."""
    version: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    time: float
    """Monotonic seconds at which the header was complete."""
    connection: int
    """Which connection it came on, counted from 1."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first header of that name, in whatever case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Connection:
    """One client's connection: what a script sends on, stalls, closes or resets."""

    def __init__(self, server: FaultServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self.keep_alive = True
        """Whether another request is read when the script ends."""
        self.closed = False
        self._buffer = b""
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError once the client has gone."""
        if self.server.stopping.is_set():
            raise StoppedError
        self.sock.sendall(data)

    def send_last(self, data: bytes) -> None:
        """Send what completes the response.

        The request stops counting as being served just before its last byte leaves: a client that then sends
        its next request can never be seen to run more at once than it does.
        """
        self.send(data[:-1])
        self.server.served(self)
        self.send(data[-1:])

    def pause(self, seconds: float) -> None:
        """Do nothing for a while; stopping the server ends it."""
        if self.server.stopping.wait(seconds):
            raise StoppedError

    def hold(self) -> None:
        """Say nothing more until the client closes or the server stops."""
        while self.sock.recv(65536):
            pass
        self.close()

    def close(self) -> None:
        """Close in an orderly way, over TLS with a close_notify."""
        self.server.served(self)
        with suppress(OSError, ValueError):
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.settimeout(0)  # or unwrap would wait for the client's close_notify
                self.sock.unwrap()
        self._close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.server.served(self)
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def _close(self) -> None:
        with self._lock:
            self.closed = True
            self.server.forget(self)
            self.sock.close()

    def abort(self) -> None:
        """From another thread: make whatever this connection's thread waits in return at once."""
        with self._lock, suppress(OSError):
            # Not the SSLSocket's own method: that one takes the TLS layer away from under the other thread.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def secure(self, context: ssl.SSLContext) -> None:
        """Become TLS. Raises OSError if the client does not agree."""
        with self._lock:
            self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        assert isinstance(self.sock, ssl.SSLSocket)
        self.sock.do_handshake()

    def read_request(self) -> Request | None:
        """The next request, None where the client closed instead."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.sock.recv(65536)
            if not data or len(self._buffer) > HEADER_BOUND:
                return None
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        request_line, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = request_line.split(" ", 2)
        headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        while len(self._buffer) < length:
            data = self.sock.recv(65536)
            if not data:
                return None
            self._buffer += data
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Request(method, target, version, headers, body, time.monotonic(), self.number)


Response = Callable[[Connection, Request], None]
"""A script: it sends what it wants, and may pause, close, reset or clear ``keep_alive``."""


@dataclass(slots=True)
class _Route:
    responses: tuple[Response, ...]
    taken: int = 0

    def take(self) -> Response:
        response = self.responses[min(self.taken, len(self.responses) - 1)]
        self.taken += 1
        return response


@dataclass(slots=True)
class _Counts:
    serving: set[Connection] = field(default_factory=set)
    open: set[Connection] = field(default_factory=set)
    peak: int = 0
    peak_connections: int = 0


class FaultServer:
    """A scripted server on 127.0.0.1 and a free port. A context manager.

    It speaks HTTP/1.1, and HTTP/2 where its ``tls`` has that negotiated (see `support.http2`).

    >>> with FaultServer() as server:
    ...     url = server.route("/a.jpg", status(503, retry_after=1), ok(picture(1, 20_000)))
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        """All requests so far, in the order they came."""
        self.errors: list[BaseException] = []
        """What went wrong in scripts: bugs of the test, so `stop` raises the first."""
        self.failed_handshakes: list[OSError] = []
        self.connections = 0
        """Connections accepted so far."""
        self.at_connect: Callable[[Connection], None] | None = None
        """Done to each connection before a byte is read, TLS handshake included."""
        self.stopping = threading.Event()
        self._tls = tls
        self._routes: dict[str, _Route] = {}
        self._otherwise: _Route | None = None
        self._counts = _Counts()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """The URL of a path; ``host="localhost"`` makes it another host for the client."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def route(self, path: str, *responses: Response) -> str:
        """Answer ``path`` (or an exact target with its query) and return its URL.

        Consecutive requests take consecutive responses; the last one repeats.
        """
        if not responses:
            raise ValueError("a route needs a response")
        self._routes[path] = _Route(responses)
        return self.url(path)

    def otherwise(self, *responses: Response) -> None:
        """Answer everything that has no route, instead of with 404."""
        self._otherwise = _Route(responses) if responses else None

    def requests_for(self, path: str) -> list[Request]:
        """The requests for one path, whatever their query."""
        return [request for request in list(self.requests) if path in (request.path, request.target)]

    @property
    def serving(self) -> int:
        """Requests being served now."""
        return len(self._counts.serving)

    @property
    def peak(self) -> int:
        """Most requests that were being served at the same time."""
        return self._counts.peak

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return len(self._counts.open)

    @property
    def peak_connections(self) -> int:
        """Most connections open at the same time; a client's close is noticed a moment late."""
        return self._counts.peak_connections

    def wait_for_requests(self, count: int, path: str | None = None, timeout: float = 20) -> None:
        """Return when ``count`` requests have come. Raises TimeoutError after ``timeout`` seconds."""

        def enough() -> bool:
            return len(self.requests if path is None else self.requests_for(path)) >= count

        with self._changed:
            if not self._changed.wait_for(enough, timeout):
                raise TimeoutError(f"{len(self.requests)} requests came, not {count}: {self.requests}")

    def wait_until_idle(self, timeout: float = 20) -> None:
        """Return when no request is being served. Raises TimeoutError after ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._counts.serving, timeout):
                raise TimeoutError(f"{self.serving} requests are still being served")

    def stop(self) -> None:
        """Close everything at once; raise what a script raised, if one did."""
        self.stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + JOIN_SECONDS
        self._threads[0].join(JOIN_SECONDS)  # after it no connection is added
        for connection in list(self._counts.open):
            connection.abort()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._listener.close()
        if stuck := sum(thread.is_alive() for thread in self._threads):
            raise RuntimeError(f"{stuck} threads of the fault server did not end")
        if self.errors:
            raise self.errors.pop(0)

    def served(self, connection: Connection) -> None:
        """Take note that the request on ``connection`` is answered."""
        with self._changed:
            self._counts.serving.discard(connection)
            self._changed.notify_all()

    def forget(self, connection: Connection) -> None:
        """Take note that ``connection`` closes."""
        with self._changed:
            self._counts.open.discard(connection)
            self._changed.notify_all()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="fault server", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        self._listener.settimeout(0.2)  # where a shutdown does not wake accept, this does
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            connection = Connection(self, sock, self.connections)
            with self._changed:
                self._counts.open.add(connection)
                self._counts.peak_connections = max(self._counts.peak_connections, len(self._counts.open))
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._start(self._serve, connection)

    def _serve(self, connection: Connection) -> None:
        try:
            if self.at_connect is not None:
                self.at_connect(connection)
            if self._tls is not None and not connection.closed:
                self._handshake(connection, self._tls)
            if isinstance(connection.sock, ssl.SSLSocket) and connection.sock.selected_alpn_protocol() == "h2":
                from support.http2 import Session  # which subclasses what is here

                Session(self, connection).run()
                return
            while not connection.closed and connection.keep_alive:
                request = connection.read_request()
                if request is None:
                    break
                self.answer(connection, request)
        except (OSError, StoppedError):
            pass
        except Exception as error:  # noqa: BLE001 - stop() raises it in the test
            self.errors.append(error)
        finally:
            if not connection.closed:
                connection.close()

    def _handshake(self, connection: Connection, tls: ssl.SSLContext) -> None:
        try:
            connection.secure(tls)
        except OSError as error:
            self.failed_handshakes.append(error)
            raise

    def answer(self, connection: Connection, request: Request) -> None:
        """Answer a request as its route says."""
        asked_to_close = (request.header("connection") or "").lower() == "close" or request.version == "HTTP/1.0"
        connection.keep_alive = not asked_to_close
        with self._changed:
            self._counts.serving.add(connection)
            self._counts.peak = max(self._counts.peak, len(self._counts.serving))
            self.requests.append(request)
            route = self._routes.get(request.target) or self._routes.get(request.path) or self._otherwise
            response = route.take() if route else _not_found
            self._changed.notify_all()
        try:
            response(connection, request)
        finally:
            self.served(connection)


def _not_found(connection: Connection, _request: Request) -> None:
    connection.send_last(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
