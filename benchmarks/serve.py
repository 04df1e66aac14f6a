"""What the servers and proxies of the cases share: a process of their own, precise timers, counters told on request.

Such a process says one line of JSON when it is ready, with the port it listens on, and another one for each line that
it reads from standard input: what it counted since the last. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import selectors
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from benchmarks.measure import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

BACKLOG = 2048
END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Helper:
    """A process of ours that serves or relays while a case runs."""

    port: int
    process: subprocess.Popen[bytes]

    def tell(self) -> dict[str, float]:
        """What it counted since it was last asked."""
        stdin, stdout = _pipes(self.process)
        stdin.write(b"tell\n")
        stdin.flush()
        counted: dict[str, float] = json.loads(stdout.readline())
        return counted


@contextmanager
def started(module: str, *arguments: str) -> Iterator[Helper]:
    """Run ``benchmarks.MODULE`` while the context lasts. Raises RuntimeError if it does not start."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    stdin, stdout = _pipes(process)
    try:
        ready = stdout.readline()
        if not ready:
            raise RuntimeError(f"benchmarks.{module} does not start")
        yield Helper(json.loads(ready)["port"], process)
    finally:
        stdin.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        stdout.close()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers are late by microseconds; epoll's are by up to one millisecond."""
    if not hasattr(select, "epoll"):
        return asyncio.SelectorEventLoop()  # kqueue counts nanoseconds

    class Precise(selectors.EpollSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select([self.fileno()], (), (), timeout)
                timeout = 0
            return super().select(timeout)

    return asyncio.SelectorEventLoop(Precise())


def serve(start: Callable[[], Coroutine[Any, Any, int]], tell: Callable[[], dict[str, float]]) -> None:
    """Serve until standard input ends; ``start`` returns the port."""
    loop = new_loop()

    def read_request() -> None:
        received = os.read(0, 4096)
        if not received:
            loop.stop()
        for _ in range(received.count(b"\n")):
            print(json.dumps(tell()), flush=True)

    print(json.dumps({"port": loop.run_until_complete(start())}), flush=True)
    loop.add_reader(0, read_request)
    loop.run_forever()
