"""gdl on a terminal: a pty whose raw output is kept and shown as the screens a user sees."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyte

from support.cli import GDL, Argument, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# A session leader takes the terminal only when it asks: then Ctrl-C and resizing reach it as signals.
_ON_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@dataclass(frozen=True, slots=True)
class TerminalRun:
    """A run on a terminal that is over."""

    returncode: int
    chunks: tuple[tuple[float, bytes], ...]
    """What came at once, with seconds since the start."""
    columns: int
    rows: int

    @property
    def output(self) -> bytes:
        """All that was written to the terminal, control sequences included."""
        return b"".join(data for _, data in self.chunks)

    @property
    def screen(self) -> list[str]:
        """The rows of the final screen, without trailing spaces."""
        *_, last = self.screens()
        return last

    def screens(self) -> Iterator[list[str]]:
        """The screen after each chunk, the empty one first."""
        screen = pyte.Screen(self.columns, self.rows)
        stream = pyte.ByteStream(screen)
        yield _shown(screen)
        for _, data in self.chunks:
            stream.feed(data)
            yield _shown(screen)

    @property
    def scrollback(self) -> list[str]:
        """Every row that was on the screen to stay: what scrolled off, then the final screen."""
        tall = pyte.Screen(self.columns, max(self.rows, self.output.count(b"\n") + 1))
        pyte.ByteStream(tall).feed(self.output)
        return [row for row in _shown(tall) if row]


def _shown(screen: pyte.Screen) -> list[str]:
    return [row.rstrip() for row in screen.display]


class TerminalGdl:
    """A gdl that runs on a terminal. A context manager: leaving it kills what is left."""

    def __init__(
        self,
        args: Sequence[Argument],
        *,
        columns: int = 80,
        rows: int = 24,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Argument | None = None,
        program: Sequence[str] = GDL,
    ) -> None:
        self._size = columns, rows
        self._chunks: list[tuple[float, bytes]] = []
        self._ended = False
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gdl-test-")))
            self._master, slave = pty.openpty()
            stack.callback(os.close, self._master)
            try:
                self.resize(columns, rows)
                source = stack.enter_context(tempfile.TemporaryFile()) if stdin is not None else None
                if source is not None:
                    source.write(stdin or b"")
                    source.seek(0)
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _ON_TERMINAL, *program, *(os.fspath(arg) for arg in args)],
                    stdin=slave if source is None else source,
                    stdout=slave,
                    stderr=slave,
                    env=environment(folder, {"TERM": "xterm-256color", **(env or {})}),
                    cwd=cwd or folder,
                    start_new_session=True,
                )
            finally:
                os.close(slave)
            self._started = time.monotonic()
            stack.callback(self._kill)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size; gdl is told by SIGWINCH. Screens keep the size at the start."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Type: ``b"\\x03"`` is Ctrl-C."""
        os.write(self._master, keys)

    @property
    def so_far(self) -> TerminalRun:
        """What has been read by now, as if it had ended with 0."""
        return TerminalRun(0, tuple(self._chunks), *self._size)

    def wait_for(self, condition: Callable[[list[str]], object], what: str, timeout: float = 20) -> list[str]:
        """Read until the screen fulfils the condition; that screen. Raises AssertionError otherwise."""
        deadline = time.monotonic() + timeout
        while not condition(self.so_far.screen):
            if self._ended or time.monotonic() > deadline:
                raise AssertionError(f"{what} was not shown\n" + "\n".join(self.so_far.screen))
            self._read(deadline)
        return self.so_far.screen

    def wait(self, timeout: float = 60) -> TerminalRun:
        """Read to the end. Kills it and raises AssertionError with the screen after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not self._ended:
            if time.monotonic() > deadline:
                self._kill()
                screen = "\n".join(self.so_far.screen)
                raise AssertionError(f"gdl still runs after {timeout:g} seconds\n{screen}")
            self._read(deadline)
        return TerminalRun(self.process.wait(timeout), tuple(self._chunks), *self._size)

    def _read(self, deadline: float) -> None:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return
        try:
            data = os.read(self._master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # Linux's way to say that the other side is closed
                raise
            data = b""
        if data:
            self._chunks.append((time.monotonic() - self._started, data))
        else:
            self._ended = True

    def _kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def run_gdl_pty(
    *args: Argument,
    columns: int = 80,
    rows: int = 24,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
    timeout: float = 60,
) -> TerminalRun:
    """Run gdl on a terminal to its end. With ``stdin`` only its output is the terminal."""
    with TerminalGdl(args, columns=columns, rows=rows, stdin=stdin, env=env, cwd=cwd) as running:
        return running.wait(timeout)
