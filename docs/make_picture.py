"""Makes gdl.svg, the picture in the README, from a real run: ``python docs/make_picture.py`` in the test environment.

A small slow web site stands in for several hosts (as an HTTP proxy, so that their names look like names), gdl runs
on a terminal of its own, and what is on its screen after a while is drawn.
"""  # noqa: INP001 a folder of documents

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import pyte

from downloader.demo.server import SIGN_IN, media_bytes

if TYPE_CHECKING:
    from pyte.screens import Char

COLUMNS, ROWS = 104, 14
MOMENT = 5.0
"""Seconds after the start at which the picture is taken."""
CELL, LINE, MARGIN, TITLE = 8.2, 19, 16, 34
"""Width and height of a character, the border and the title bar, in pixels."""
COLOURS = {"default": "#d7dce2", "red": "#ff7b72", "green": "#7ee787", "brightblack": "#8b949e"}
BACKGROUND, BAR = "#0f141a", "#202830"
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
EIGHTHS = {"█": 8, "▉": 7, "▊": 6, "▋": 5, "▌": 4, "▍": 3, "▎": 2, "▏": 1}
"""Characters drawn as rectangles, which join in every font, by their width in eighths."""


@dataclass(frozen=True)
class File:
    """What one URL of the site answers."""

    url: str
    sample: str | None
    """The demo's file it begins with; None for a page to sign in."""
    size: int = 0
    """Bytes."""
    rate: int = 0
    """Bytes per second."""


def _pictures() -> list[File]:
    names = [f"http://art.example/plates/{plate:04d}.jpg" for plate in range(1, 1601)]
    return [File(name, "seahorses.jpg", 90_000 + 9_000 * (n % 9), 700_000) for n, name in enumerate(names)]


SITE = [
    *_pictures()[:6],
    File("http://art.example/portrait.jpg", None),
    File("http://film.example/tide-pools-1080p.mp4", "zoom.mp4", 61_000_000, 7_100_000),
    File("http://film.example/northern-lights.mp4", "zoom.mp4", 24_700_000, 3_200_000),
    File("http://radio.example/episode-12-the-lighthouse.mp3", "arpeggio.mp3", 18_400_000, 1_300_000),
    File("http://radio.example/episode-13-winter-birds.mp3", "arpeggio.mp3", 15_900_000, 2_400_000),
    File("http://space.example/earthrise-full-resolution.png", "mountains.png", 12_600_000, 1_700_000),
    File("http://space.example/%E6%9C%88%E9%9D%A2-%E5%85%A8%E6%99%AF.png", "mountains.png", 9_300_000, 1_400_000),
    *_pictures()[6:],
]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        file = next(file for file in SITE if file.url == self.path)
        start = SIGN_IN if file.sample is None else media_bytes(file.sample)
        size = file.size or len(start)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(start[:size])
        sent = len(start)
        while sent < size:
            time.sleep(0.05)
            piece = min(size - sent, file.rate // 20)
            self.wfile.write(bytes(piece))
            sent += piece

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore that gdl is gone when the picture is taken."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def shoot() -> pyte.Screen:
    """Run gdl on a terminal and return its screen at the chosen moment."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    command = ["gdl", "urls.txt", "-o", "~/Desktop"]
    stream.feed(f"\x1b[32m$\x1b[0m {' '.join(command)}\r\n".encode())
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        Path(home, "urls.txt").write_text("".join(f"{file.url}\n" for file in SITE))
        proxy = f"http://127.0.0.1:{server.server_port}"
        environment = {**os.environ, "HOME": home, "http_proxy": proxy, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        for name in ("NO_COLOR", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
            environment.pop(name, None)
        arguments = [sys.executable, "-m", "downloader", *command[1:-1], os.path.join(home, "Desktop")]
        master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        with subprocess.Popen(arguments, cwd=home, env=environment, stdin=terminal, stderr=terminal) as process:  # noqa: S603
            os.close(terminal)
            reader = threading.Thread(target=_read, args=(master, stream), daemon=True)
            reader.start()
            time.sleep(MOMENT)
            process.kill()  # no farewell: what is on the screen stays there
        reader.join()
    server.shutdown()
    return screen


def _read(master: int, stream: pyte.ByteStream) -> None:
    while True:
        try:
            data = os.read(master, 65_536)
        except OSError:  # the other side is closed
            return
        stream.feed(data)


def draw(screen: pyte.Screen) -> str:
    """Draw the rows of a screen that hold anything as an SVG image."""
    used = max(row for row in range(ROWS) if screen.display[row].strip()) + 1
    width, height = round(2 * MARGIN + COLUMNS * CELL), round(TITLE + 2 * MARGIN + used * LINE)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        "<title>gdl downloading a list of URLs in a terminal</title>",
        f'<rect width="{width}" height="{height}" rx="9" fill="{BACKGROUND}"/>',
        f'<path d="M0 {TITLE}V9a9 9 0 0 1 9-9H{width - 9}a9 9 0 0 1 9 9V{TITLE}z" fill="{BAR}"/>',
        *(
            f'<circle cx="{20 + 20 * n}" cy="{TITLE / 2:g}" r="6" fill="{colour}"/>'
            for n, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
        ),
        f'<g font-family="{FONT}" font-size="13.5" xml:space="preserve">',
    ]
    for row in range(used):
        cells = [(column, screen.buffer[row][column]) for column in range(COLUMNS)]
        for _, run in groupby(cells, key=lambda cell: (cell[1].fg, cell[1].data in EIGHTHS, cell[1].data == " ")):
            parts += _run(list(run), TITLE + MARGIN + row * LINE)
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"


def _run(cells: list[tuple[int, Char]], top: float) -> list[str]:
    """Draw neighbours of one colour: blocks as one rectangle, other characters as text of fixed width."""
    text = "".join(char.data for _, char in cells)
    left, colour = MARGIN + cells[0][0] * CELL, COLOURS[cells[0][1].fg]
    if not text.strip():
        return []
    if text[0] in EIGHTHS:
        filled = sum(EIGHTHS[char] for char in text) / 8 * CELL
        return [f'<rect x="{left:.1f}" y="{top + 2:g}" width="{filled:.1f}" height="{LINE - 5}" fill="{colour}"/>']
    length = f'textLength="{len(cells) * CELL:.1f}" lengthAdjust="spacingAndGlyphs"'
    return [f'<text x="{left:.1f}" y="{top + 14:g}" fill="{colour}" {length}>{escape(text)}</text>']


if __name__ == "__main__":
    picture = Path(__file__).with_name("gdl.svg")
    picture.write_text(draw(shoot()), encoding="utf-8")
