"""The torture's server, a process of its own: ``python -m torture.server SEED FILES CHAIN KEY``.

It prints its port for each protocol, answers each line it reads with a line of counts as JSON, and ends with its
standard input.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from support.certs import ServerCertificate
from support.cli import REPOSITORY
from support.faults import FaultServer, status
from support.processes import end

from torture.answers import answer
from torture.exchange import Exchange
from torture.plan import decide
from torture.world import DECOY, World

if TYPE_CHECKING:
    import ssl

    from support.faults import Connection, Request

    from torture.plan import Decision
    from torture.world import File, Protocol


class TortureServer:
    """The running server, as the torture sees it. A context manager."""

    def __init__(self, seed: int, count: int, certificate: ServerCertificate) -> None:
        path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))
        with ExitStack() as stack:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "torture.server", str(seed), str(count), certificate.chain, certificate.key],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
            stack.callback(self._end)
            self.ports: dict[Protocol, int] = json.loads(self._read())
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def counts(self) -> dict[str, Any]:
        """What it has done so far: ``behaviours``, ``requests``, ``bytes``, ``errors`` and so on."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self._read())
        return found

    def _read(self) -> bytes:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the torture's server ended with {self.process.wait()}")
        return line

    def _end(self) -> None:
        end(self.process)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@dataclass(slots=True)
class _Standing:
    """What has become of a file by now."""

    requests: int = 0
    version: int = 0
    faults_left: int = 0
    doubted: bool = False
    """Whether only a good answer to the next request can show that the last body was cut."""


class Service:
    """Answers the requests of a `FaultServer`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._lock = threading.Lock()
        self._standing = {file.index: _Standing(faults_left=file.faults) for file in world.files}
        self._behaviours: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def __call__(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        found = self.world.find(request.path)
        if found is None:
            status(404)(connection, request)
            return
        file, where = found
        wanted = request.header("range")
        ranged, rests = span(wanted, 1) is not None, where.endswith("rest/")
        standing, decision = self._decide(file, ranged=ranged, rests=rests)
        older = max(0, standing.version - 1)
        view = self.world.view(file, standing.version, where)
        exchange = Exchange(
            connection=connection,
            file=file,
            where=where,
            view=view,
            other=self._other(file, decision.behaviour),
            older=self.world.view(file, older, where) if "older" in decision.behaviour else view,
            decision=decision,
            span=span(wanted, len(view.content)),
            exact=span(wanted, len(view.content)) == span(wanted, len(view.content) + 1),
            condition=request.header("if-range"),
        )
        try:
            answer(exchange)
        finally:
            with self._lock:
                self._counts["bytes"] += exchange.sent
                self._counts["ranges"] += wanted is not None
                self._counts["ranges without If-Range"] += wanted is not None and exchange.condition is None

    def _other(self, file: File, behaviour: str) -> bytes:
        if "decoy" in behaviour:
            return self.world.content(file, DECOY)
        return self.world.stray(file) if "surplus answer" in behaviour else b""

    def _decide(self, file: File, *, ranged: bool, rests: bool = False) -> tuple[_Standing, Decision]:
        with self._lock:
            now = self._standing[file.index]
            left = 0 if now.doubted else now.faults_left
            decision = decide(self.world.seed, file, now.requests, ranged=ranged, faults_left=left, rests=rests)
            now.requests += 1
            now.faults_left -= decision.fault > 0
            now.doubted = decision.leaves_doubt(file)
            # Whoever ignores If-Range does harm only where the file has changed.
            changes = decision.changes or decision.behaviour.startswith("If-Range ignored")
            if changes and now.version + 1 < len(file.sizes):
                now.version += 1
            self._counts["requests"] += 1
            self._behaviours[decision.behaviour] += 1
            return _Standing(now.requests, now.version, now.faults_left), decision

    def counts(self) -> dict[str, Any]:
        """What has been done so far."""
        with self._lock:
            return {**self._counts, "behaviours": dict(self._behaviours)}


def span(wanted: str | None, size: int) -> tuple[int, int] | None:
    """A Range of one part (RFC 9110 section 14.1.2) as offsets of its first byte and behind its last."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


def main(seed: int, count: int, certificate: ServerCertificate) -> None:
    """Serve until standard input ends."""
    service = Service(World(seed, count))
    contexts: dict[Protocol, ssl.SSLContext | None] = {
        "http": None,
        "https": certificate.context(),
        "h2": certificate.context("h2", "http/1.1"),
    }
    with ExitStack() as stack:
        servers = {protocol: stack.enter_context(FaultServer(context)) for protocol, context in contexts.items()}
        for server in servers.values():
            server.otherwise(service)
        print(json.dumps({protocol: server.port for protocol, server in servers.items()}), flush=True)
        for _ in sys.stdin:
            errors = [repr(error) for server in servers.values() for error in server.errors]
            connections = sum(server.connections for server in servers.values())
            print(json.dumps({"errors": errors, "connections": connections, **service.counts()}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), ServerCertificate(Path(sys.argv[3]), Path(sys.argv[4])))
