"""A server that stands so many requests at once and refuses each further one, with 503 and Retry-After, immediately.

``python -m benchmarks.capped --caps 12,4,40 --every 2000``: the next cap holds after each 2,000 pictures served. A
picture takes exactly ``--delay`` seconds, whatever else goes on: asyncio's protocols serve several thousand a second
on one core, so that the cap is what limits and not the server.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.data import JPEG
from benchmarks.serve import BACKLOG, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

RETRY_AFTER = 1
"""Seconds."""
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: capped\r\nContent-Type: text/plain\r\n"
    b"Retry-After: %d\r\nContent-Length: 5\r\n\r\nbusy\n" % RETRY_AFTER
)
HEAD = b"HTTP/1.1 200 OK\r\nServer: capped\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
END = b"\r\n\r\n"
PORT_TRIES = 8


def picture(path: str) -> bytes:
    """What is served for ``path``, which begins with a slash: a small picture unlike all others."""
    return JPEG + path.encode("ascii")


@dataclass(slots=True)
class Gate:
    """How many requests are in flight, how many may be, and what came of all so far."""

    caps: Sequence[int]
    every: int = 0
    """The next cap holds after so many pictures; 0: never."""
    requests: int = 0
    refused: int = 0
    served: int = 0
    in_flight: int = 0
    most: int = 0
    """The most that were in flight, refused ones not counted."""
    first: float = 0.0
    """When the first request came."""
    last: float = 0.0
    """When the last picture was sent."""
    cap: int = field(init=False)

    def __post_init__(self) -> None:
        self.cap = self.caps[0]

    def enter(self, now: float) -> bool:
        """Whether a request that comes ``now`` is taken."""
        if not self.requests:
            self.first = now
        self.requests += 1
        if self.in_flight >= self.cap:
            self.refused += 1
            return False
        self.in_flight += 1
        if self.in_flight > self.most:
            self.most = self.in_flight
        return True

    def leave(self, now: float) -> None:
        """A picture is about to be sent."""
        self.in_flight -= 1
        self.served += 1
        self.last = now
        if self.every and not self.served % self.every:
            self.cap = self.caps[min(self.served // self.every, len(self.caps) - 1)]

    def tell(self) -> dict[str, float]:
        """What was counted since the last call; the caps begin again with the first."""
        counted: dict[str, float] = {
            "requests": self.requests,
            "refused": self.refused,
            "served": self.served,
            "most": self.most,
            "seconds": max(0.0, self.last - self.first),
        }
        self.requests = self.refused = self.served = self.most = 0
        self.first = self.last = 0.0
        self.cap = self.caps[0]
        return counted


class Capped(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_buffer", "_delay", "_due", "_gate", "_loop", "_transport")

    def __init__(self, gate: Gate, delay: float, loop: asyncio.AbstractEventLoop) -> None:
        self._gate, self._delay, self._loop = gate, delay, loop
        self._buffer = b""
        self._due: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        if data.endswith(END) and data.find(END) == len(data) - 4:
            self._buffer = b""
            self._answer(data)
            return
        *heads, self._buffer = data.split(END)
        for head in heads:
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        now = self._loop.time()
        if not self._gate.enter(now):
            self._transport.write(REFUSAL)
            return
        body = JPEG + head[4 : head.index(b" ", 4)]
        self._due.append(HEAD % len(body) + body)
        self._loop.call_at(now + self._delay, self._send)

    def _send(self) -> None:
        # Before the write: whoever sends the next request as soon as this one is answered finds the place free.
        self._gate.leave(self._loop.time())
        response = self._due.popleft()
        if not self._transport.is_closing():
            self._transport.write(response)


async def listen(hosts: Sequence[str], gate: Gate, delay: float) -> int:
    """Listen on one port of all ``hosts`` and return it."""
    loop = asyncio.get_running_loop()
    for attempt in range(PORT_TRIES):
        with socket.socket() as one:
            one.bind((hosts[0], 0))
            port: int = one.getsockname()[1]
        try:
            await loop.create_server(lambda: Capped(gate, delay, loop), hosts, port, backlog=BACKLOG)
        except OSError:
            if attempt == PORT_TRIES - 1:
                raise
        else:
            return port
    raise AssertionError("the last attempt raises")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--caps", required=True, type=lambda text: [int(cap) for cap in text.split(",")])
    parser.add_argument("--every", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--hosts", default="127.0.0.1", type=lambda text: text.split(","))
    options = parser.parse_args()
    gate = Gate(options.caps, options.every)
    serve(lambda: listen(options.hosts, gate, options.delay), gate.tell)


if __name__ == "__main__":
    main()
