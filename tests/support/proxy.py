"""A tiny proxy: HTTP with CONNECT, SOCKS 4, 4a and 5 on one port, told apart by a connection's first byte."""

from __future__ import annotations

import base64
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a connection."""

    way: str
    """``http`` (an absolute URL), ``connect``, ``socks4``, ``socks5`` (addresses), ``socks4a``, ``socks5h`` (names)."""
    host: str
    """As the client wrote it."""
    port: int
    login: str | None
    """``user:password``; for SOCKS 4, the user alone."""


class Proxy:
    """A proxy on 127.0.0.1 and a free port that leads every name to 127.0.0.1. A context manager.

    With ``login`` (``user:password``) it serves nobody else; with ``refuses`` it serves nobody at all.
    """

    def __init__(self, *, login: str | None = None, refuses: bool = False) -> None:
        self.asked: list[Asked] = []
        """All that was asked for, in the order it came."""
        self._login = login
        self._refuses = refuses
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def url(self, scheme: str = "http", login: str | None = None) -> str:
        """What to give to ``--proxy``."""
        return f"{scheme}://{f'{login}@' if login else ''}127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)
        for sock in self._open:
            sock.close()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(PATIENCE)
            self._open.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            reader = _Reader(client)
            handle = {b"\x04": self._socks4, b"\x05": self._socks5}.get(reader.peek(), self._http)
            handle(client, reader)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def _welcome(self, login: str | None) -> bool:
        return not self._refuses and self._login in (None, login)

    def _http(self, client: socket.socket, reader: _Reader) -> None:
        while head := reader.until(b"\r\n\r\n"):
            request_line, _, fields = head.partition(b"\r\n")
            method, target, version = request_line.decode("latin-1").split(" ")
            kept = [line for line in fields.split(b"\r\n") if not line.lower().startswith(b"proxy-")]
            login = _basic(fields)
            parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
            port = parts.port or 80
            way = "connect" if method == "CONNECT" else "http"
            self.asked.append(Asked(way, parts.hostname or "", port, login))
            if not self._welcome(login):
                refusal = b"403 Forbidden" if self._refuses else b"407 Proxy Authentication Required"
                client.sendall(b"HTTP/1.1 " + refusal + b"\r\nContent-Length: 0\r\nProxy-Authenticate: Basic\r\n\r\n")
                continue
            with self._connect(port) as server:
                if way == "connect":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    _relay(client, server, reader.rest())
                    return
                path = target.partition("//")[2].partition("/")[2]
                lines = [f"{method} /{path} {version}".encode("latin-1"), b"Connection: close", *kept]
                server.sendall(b"\r\n".join(line for line in lines if line) + b"\r\n\r\n")
                _relay(client, server, b"")
                return

    def _socks4(self, client: socket.socket, reader: _Reader) -> None:
        _, command, *port = reader.take(4)
        address, user = reader.take(4), reader.until(b"\0")[:-1].decode()
        named = address[:3] == b"\0\0\0"
        host = reader.until(b"\0")[:-1].decode() if named else socket.inet_ntoa(address)
        asked = Asked("socks4a" if named else "socks4", host, port[0] << 8 | port[1], user or None)
        self.asked.append(asked)
        granted = command == 1 and self._welcome(user)
        client.sendall(b"\0" + (b"\x5a" if granted else b"\x5b") + bytes(6))
        if granted:
            with self._connect(asked.port) as server:
                _relay(client, server, reader.rest())

    def _socks5(self, client: socket.socket, reader: _Reader) -> None:
        methods = reader.take(reader.take(2)[1])
        login = None
        if self._login is not None and 2 in methods:
            client.sendall(b"\x05\x02")
            user = reader.take(reader.take(2)[1]).decode()
            login = f"{user}:{reader.take(reader.take(1)[0]).decode()}"
            client.sendall(b"\x01" + (b"\0" if self._welcome(login) else b"\x01"))
        else:
            client.sendall(b"\x05" + (b"\0" if self._login is None else b"\xff"))
        kind = reader.take(4)[3]
        if kind == 3:
            host = reader.take(reader.take(1)[0]).decode()
        else:
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            host = socket.inet_ntop(family, reader.take(4 if kind == 1 else 16))
        asked = Asked("socks5h" if kind == 3 else "socks5", host, int.from_bytes(reader.take(2), "big"), login)
        self.asked.append(asked)
        granted = self._welcome(login)
        client.sendall(b"\x05" + (b"\0" if granted else b"\x02") + b"\0\x01" + bytes(6))
        if granted:
            with self._connect(asked.port) as server:
                _relay(client, server, reader.rest())

    def _connect(self, port: int) -> socket.socket:
        server = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._open.append(server)
        return server


class _Reader:
    """Reads a connection by pieces. Raises OSError where it ends too early."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""

    def _more(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            raise ConnectionError("the client has gone")
        self._buffer += data

    def peek(self) -> bytes:
        while not self._buffer:
            self._more()
        return self._buffer[:1]

    def take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._more()
        return self.take(self._buffer.index(end) + len(end))

    def rest(self) -> bytes:
        taken, self._buffer = self._buffer, b""
        return taken


def _basic(fields: bytes) -> str | None:
    for line in fields.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"proxy-authorization":
            return base64.b64decode(value.split()[-1]).decode()
    return None


def _relay(client: socket.socket, server: socket.socket, first: bytes) -> None:
    """Carry bytes both ways until both sides have ended."""
    server.sendall(first)

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=carry, args=(server, client), name="proxy, back", daemon=True)
    back.start()
    carry(client, server)
    back.join(PATIENCE)
