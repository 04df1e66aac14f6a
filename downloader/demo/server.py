"""The demo's web site: a table of what it shows, and an HTTP server on the loopback interface that behaves so."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Self

SIGN_IN = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Sign in</title></head>
<body>
<h1>Sign in</h1>
<p>This picture is for members. Please sign in to see it.</p>
<form method="post"><input name="user"><input name="password" type="password"><button>Go</button></form>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One URL of the site: what it answers, and the name gdl should save that under."""

    path: str
    """Of the URL, query included."""
    media: str | None
    """The file in the package that is served; None for the page to sign in."""
    media_type: str
    saved_as: str | None = None
    """A regular expression for the whole name; None where nothing should be saved."""
    disposition: str | None = None
    """The Content-Disposition field."""
    seconds: float = 0.0
    """How long the body is drawn out."""
    failures: int = 0
    """How many requests are answered 503 first."""

    def body(self) -> bytes:
        """The bytes it serves."""
        return SIGN_IN if self.media is None else media_bytes(self.media)


EXHIBITS = (
    Exhibit("/pictures/julia.jpg", "julia.jpg", "image/jpeg", r"julia\.jpg"),
    Exhibit("/pictures/rule30.png", "rule30.png", "image/png", r"rule30\.png"),
    Exhibit("/pictures/life.gif", "life.gif", "image/gif", r"life\.gif"),
    Exhibit("/pictures/waves.svg", "waves.svg", "image/svg+xml", r"waves\.svg"),
    Exhibit("/audio/arpeggio.mp3", "arpeggio.mp3", "audio/mpeg", r"arpeggio\.mp3"),
    Exhibit("/video/zoom.mp4", "zoom.mp4", "video/mp4", r"zoom\.mp4", seconds=3.0),
    Exhibit("/busy/aurora.webp", "aurora.webp", "image/webp", r"aurora\.webp", failures=2),
    Exhibit(
        "/download?id=7",
        "mountains.png",
        "image/png",
        "山水\\.png",
        disposition="attachment; filename=\"mountains.png\"; filename*=UTF-8''%E5%B1%B1%E6%B0%B4.png",
    ),
    Exhibit("/photos/1042", "dunes.avif", "image/avif", r"1042\.avif"),
    Exhibit("/monday/cover.jpg", "ripples.jpg", "image/jpeg", r"cover\.jpg"),
    Exhibit("/tuesday/cover.jpg", "seahorses.jpg", "image/jpeg", r"cover~[0-9a-f]{8}\.jpg"),
    Exhibit("/members/portrait.jpg", None, "image/jpeg"),
)

_LIST = """\
# Lines that start with # are comments; every other line is a URL.

# Pictures of several formats, and a sound
{0}
{1}
{2}
{3}
{4}

# A video from a slow server
{5}

# A server that is too busy for the first two requests
{6}

# The server names the file, in Chinese
{7}

# A name without an extension
{8}

# Two different pictures of one name
{9}
{10}

# Not a picture at all: the server answers with a page to sign in
{11}
"""


def media_bytes(name: str) -> bytes:
    """The bytes of one of the package's media files."""
    return resources.files("downloader.demo").joinpath("media", name).read_bytes()


class DemoServer:
    """Serves `EXHIBITS` on a free port of 127.0.0.1 from a thread. A context manager: leaving it stops the server."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="demo server", daemon=True
        )

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def urls_txt(self) -> str:
        """The list of everything it shows, with comments, as a user would write it."""
        return _LIST.format(*(self.url + exhibit.path for exhibit in EXHIBITS))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a connection kept alive must not keep the demo alive
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._left = {exhibit.path: exhibit.failures for exhibit in EXHIBITS}
        self._lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Report what went wrong, but for a client that hung up: gdl does when it has seen that a page came."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def is_busy(self, exhibit: Exhibit) -> bool:
        """Whether this request is one of those that fail; counts it."""
        with self._lock:
            self._left[exhibit.path] -= 1
            return self._left[exhibit.path] >= 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "gdl-demo"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    timeout = 30
    server: _Server

    def do_GET(self) -> None:
        exhibit = next((exhibit for exhibit in EXHIBITS if exhibit.path == self.path), None)
        if exhibit is None:
            self._answer(404, "text/plain", b"There is nothing here.\n")
        elif self.server.is_busy(exhibit):
            self._answer(503, "text/plain", b"Too busy, please come back.\n", retry_after="1")
        else:
            named = {"content_disposition": exhibit.disposition} if exhibit.disposition else {}
            self._answer(200, exhibit.media_type, exhibit.body(), exhibit.seconds, **named)

    def _answer(self, status: int, media_type: str, body: bytes, seconds: float = 0.0, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-").title(), value)
        self.end_headers()
        steps = max(1, round(seconds * 20))
        size = -(-len(body) // steps)
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            self.wfile.flush()
            time.sleep(seconds / steps)

    def log_message(self, *_: object) -> None:
        """Say nothing: the terminal is gdl's."""
