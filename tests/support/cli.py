"""gdl as its users run it: a child process in a clean environment.

`run_gdl` for a whole run, `start_gdl` for signals and lists that grow; for a terminal see `support.terminal`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]

Argument = str | os.PathLike[str]


GDL = ("-m", "downloader")
"""What Python is told to run."""


def command(args: Sequence[Argument], program: Sequence[str] = GDL) -> list[str]:
    """The command line that runs gdl from this checkout with these arguments."""
    return [sys.executable, *program, *(os.fspath(arg) for arg in args)]


def environment(home: Argument, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A predictable environment: UTF-8, no proxies, no user's settings, Python's warnings are errors."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONWARNINGS": "error",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HOME": os.fspath(home),
        **(extra or {}),
    }


@dataclass(frozen=True, slots=True)
class Completed:
    """A run that is over."""

    returncode: int
    """The exit code; negative where a signal killed it."""
    stdout: str
    stderr: str

    @property
    def results(self) -> list[dict[str, Any]]:
        """What ``--json`` printed, in the order it came."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def by_url(self) -> dict[str, dict[str, Any]]:
        """What ``--json`` printed, by URL."""
        return {result["url"]: result for result in self.results}


class RunningGdl:
    """A gdl that runs. A context manager: leaving it kills what is left.

    Its output goes to files, so that it never waits for the test to read, and can be looked at meanwhile.
    """

    def __init__(
        self,
        args: Sequence[Argument],
        *,
        stdin: bytes | str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Argument | None = None,
        feed: bool = False,
        program: Sequence[str] = GDL,
    ) -> None:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gdl-test-")))
            self._stdout = folder / "stdout"
            self._stderr = folder / "stderr"
            given = folder / "stdin"
            given.write_bytes(stdin.encode() if isinstance(stdin, str) else stdin or b"")
            with given.open("rb") as source, self._stdout.open("wb") as out, self._stderr.open("wb") as err:
                self.process = subprocess.Popen(
                    command(args, program),
                    stdin=subprocess.PIPE if feed else source,
                    stdout=out,
                    stderr=err,
                    env=environment(folder, env),
                    cwd=cwd or folder,
                    start_new_session=True,
                )
            stack.callback(self._kill)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def stdout(self) -> str:
        """What it has printed by now."""
        return self._stdout.read_text("utf-8", "surrogateescape")

    @property
    def stderr(self) -> str:
        """What it has printed by now."""
        return self._stderr.read_text("utf-8", "surrogateescape")

    def feed(self, lines: bytes | str) -> None:
        """Write to its standard input, if it was started with ``feed=True``."""
        assert self.process.stdin is not None
        self.process.stdin.write(lines.encode() if isinstance(lines, str) else lines)
        self.process.stdin.flush()

    def end_input(self) -> None:
        """Close its standard input, if it was started with ``feed=True``."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def send_signal(self, number: int) -> None:
        """Send a signal to gdl itself."""
        self.process.send_signal(number)

    def wait_for_stderr(self, text: str, timeout: float = 20) -> None:
        """Return when it has printed this. Raises TimeoutError after ``timeout`` seconds."""
        wait_until(lambda: text in self.stderr, f"{text!r} on stderr", timeout)

    def wait(self, timeout: float = 60) -> Completed:
        """What came of it. Kills it and raises AssertionError with its output after ``timeout`` seconds."""
        try:
            returncode = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._kill()
            output = f"stdout:\n{self.stdout}\nstderr:\n{self.stderr}"
            raise AssertionError(f"gdl still runs after {timeout:g} seconds\n{output}") from None
        return Completed(returncode, self.stdout, self.stderr)

    def _kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()


def start_gdl(
    *args: Argument,
    stdin: bytes | str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
    feed: bool = False,
) -> RunningGdl:
    """Start gdl; use it in a ``with``. With ``feed`` its standard input is a pipe to write to.

    Standard input is empty unless given; HOME is a fresh folder unless in ``env``, and so is ``cwd``.
    """
    return RunningGdl(args, stdin=stdin, env=env, cwd=cwd, feed=feed)


def run_gdl(
    *args: Argument,
    stdin: bytes | str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
    timeout: float = 60,
) -> Completed:
    """Run gdl to its end; see `start_gdl`. Raises AssertionError after ``timeout`` seconds."""
    with start_gdl(*args, stdin=stdin, env=env, cwd=cwd) as running:
        return running.wait(timeout)


class RunGdl(Protocol):
    """`run_gdl` with the test's folder as ``cwd``."""

    def __call__(
        self,
        *args: Argument,
        stdin: bytes | str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Completed:
        """Run gdl to its end."""
