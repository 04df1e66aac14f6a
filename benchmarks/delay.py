"""A proxy that gives connections on loopback the round trip of a real link: ``python -m benchmarks.delay PORT TIME``.

It relays to PORT of 127.0.0.1. What either side sends arrives half a round trip of TIME seconds later, in order, and a
connection takes one round trip before its first byte is on its way, as the SYN and its answer do. Bandwidth is not
limited and no packet is lost; windows do not grow slowly, as they do over a real link.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

from benchmarks.serve import BACKLOG, serve


class Counters:
    """What passed since it was last told."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.most = 0
        """Connections at once."""
        self.to_client = 0
        """Bytes."""

    def tell(self) -> dict[str, float]:
        counted: dict[str, float] = {"connections": self.connections, "most": self.most, "to_client": self.to_client}
        self.connections = self.to_client = 0
        self.most = self.open
        return counted


class Direction:
    """One way through the proxy: what is put in comes out later, in order, then the end."""

    def __init__(self, delay: float, loop: asyncio.AbstractEventLoop) -> None:
        self._delay, self._loop = delay, loop
        self._due: deque[tuple[float, bytes]] = deque()
        self._waiting = False
        self.not_before = 0.0
        """Nothing sets out before this time."""
        self.target: asyncio.Transport | None = None

    def put(self, data: bytes) -> None:
        """Take ``data``; an empty one is the end."""
        self._due.append((max(self._loop.time(), self.not_before) + self._delay, data))
        self.wake()

    def wake(self) -> None:
        """Wait for what is due next, if there is somewhere to send it."""
        if self._due and not self._waiting and self.target is not None:
            self._waiting = True
            self._loop.call_at(self._due[0][0], self._send)

    def _send(self) -> None:
        self._waiting = False
        assert self.target is not None
        # A timer may come a clock tick early.
        now = self._loop.time() + 1e-5
        while self._due and self._due[0][0] <= now:
            data = self._due.popleft()[1]
            if self.target.is_closing():
                self._due.clear()
            elif data:
                self.target.write(data)
            else:
                self.target.close()
        self.wake()


class Side(asyncio.Protocol):
    """The client's side of a connection, or the server's."""

    def __init__(self, outgoing: Direction, incoming: Direction, counters: Counters, loop: Loop, link: Link) -> None:
        self._outgoing, self._incoming = outgoing, incoming
        self._counters, self._loop, self._link = counters, loop, link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._incoming.target = transport
        self._incoming.wake()

    def data_received(self, data: bytes) -> None:
        self._outgoing.put(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 either way it is over
        self._outgoing.put(b"")


class Upstream(Side):
    def data_received(self, data: bytes) -> None:
        self._counters.to_client += len(data)
        self._outgoing.put(data)


class Client(Side):
    """Opens the way to the server as soon as it is there itself."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._counters.connections += 1
        self._counters.open += 1
        self._counters.most = max(self._counters.most, self._counters.open)
        self._outgoing.not_before = self._loop.time() + self._link[1]
        self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        upstream = Upstream(self._incoming, self._outgoing, self._counters, self._loop, self._link)
        try:
            await self._loop.create_connection(lambda: upstream, "127.0.0.1", self._link[0])
        except OSError:
            self._incoming.put(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._counters.open -= 1
        super().connection_lost(exc)


Loop = asyncio.AbstractEventLoop
Link = tuple[int, float]
"""The port that is relayed to, and the seconds of a round trip."""


async def listen(link: Link, counters: Counters) -> int:
    loop = asyncio.get_running_loop()

    def accept() -> Client:
        there, back = Direction(link[1] / 2, loop), Direction(link[1] / 2, loop)
        return Client(there, back, counters, loop, link)

    server = await loop.create_server(accept, "127.0.0.1", 0, backlog=BACKLOG)
    port: int = server.sockets[0].getsockname()[1]
    return port


def main() -> None:
    link = int(sys.argv[1]), float(sys.argv[2])
    counters = Counters()
    serve(lambda: listen(link, counters), counters.tell)


if __name__ == "__main__":
    main()
