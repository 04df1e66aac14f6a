"""Real servers as child processes: started on free ports, waited for, always stopped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

T = TypeVar("T")

PORT_TRIES = 4
START_SECONDS = 30.0
STOP_SECONDS = 10.0


class PortTakenError(Exception):
    """Another process took a port between its choice and its use."""


def find_program(name: str) -> str:
    """The program's path. Not installed, the test is skipped; with ``CI`` in the environment it fails."""
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    path = shutil.which(name, path=search)
    if path is not None:
        return path
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and CI is set")
    pytest.skip(f"{name} is not installed")


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1, free for TCP and UDP a moment ago."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            tcp = stack.enter_context(socket.socket())
            tcp.bind(("127.0.0.1", 0))
            udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            with suppress(OSError):
                udp.bind(("127.0.0.1", tcp.getsockname()[1]))
                ports.append(tcp.getsockname()[1])
        return ports


def wait_until(condition: Callable[[], T], what: str, timeout: float = 20) -> T:
    """The condition's value once it is true. Raises TimeoutError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen in {timeout:g} seconds")
        time.sleep(0.01)
    return value


def on_free_ports(count: int, start: Callable[[list[int]], None]) -> list[int]:
    """Call ``start`` with free ports, and again with others if one is taken meanwhile; the ports it took."""
    for _ in range(PORT_TRIES - 1):
        ports = free_ports(count)
        with suppress(PortTakenError):
            start(ports)
            return ports
    ports = free_ports(count)
    start(ports)
    return ports


def accepts(port: int) -> bool:
    """Whether somebody accepts connections on that port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a child that leads its own session, and kill what is left of its process group."""
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def serving(
    command: Sequence[str], ports: Sequence[int], log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process while the context lasts, from when all ``ports`` accept; what it prints is in ``log``.

    Raises PortTakenError if it ended because of a port, RuntimeError with the log if for another reason.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        # A taken port accepts as well: that of ours being alive is asked last.
        while not all(accepts(port) for port in ports) or process.poll() is not None:
            printed = log.read_text(errors="replace")
            if process.poll() is not None:
                reason = PortTakenError if "address already in use" in printed.lower() else RuntimeError
                raise reason(f"{command[0]} ended with {process.returncode}:\n{printed}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not accept connections:\n{printed}")
            time.sleep(0.01)
        yield process
    finally:
        end(process)
