"""All transfers together stay within a rate, share it evenly whatever they are, and none is stalled by a pause."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import faults as f
from support.samples import picture

from downloader import errors
from downloader.options import Options
from downloader.request import Request
from downloader.transport import Transport
from downloader.transport.throttle import BURST, Flow, Throttle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.caddy import StartCaddy
    from support.certs import Authority
    from support.cli import RunGdl
    from support.nginx import StartNginx

    from downloader.responses import Head

pytestmark = pytest.mark.timeout(120)


# Decisions


class World:
    """Transfers with endless bodies that come in chunks, on a clock of its own."""

    def __init__(self, rate: int, quantum: int, chunks: list[int]) -> None:
        self.now = 0.0
        self.throttle = Throttle(rate, quantum=quantum, now=0.0)
        self.flows = {Flow(): size for size in chunks}
        self.taken = dict.fromkeys(self.flows, 0)

    def run(self, seconds: float) -> None:
        for flow in self.flows:
            self.take(flow)
        while (delay := self.throttle.delay(self.now)) is not None and self.now + delay <= seconds:
            self.now += max(delay, 1e-6)
            while (resumed := self.throttle.next(self.now)) is not None:
                self.take(resumed)

    def take(self, flow: Flow) -> None:
        """As libcurl does: one chunk after the other until one is declined."""
        while self.throttle.admit(flow, self.flows[flow], self.now):
            self.taken[flow] += self.flows[flow]


def test_without_tokens_a_chunk_waits_until_there_are_some() -> None:
    throttle = Throttle(1000, quantum=100, now=0.0)
    flow = Flow()
    assert throttle.admit(flow, 300, 0.0), "a chunk may leave a debt"
    assert not throttle.admit(flow, 1, 0.0)
    assert throttle.next(0.1) is None
    delay = throttle.delay(0.1)
    assert delay is not None
    assert throttle.next(0.1 + delay + 1e-9) is flow
    assert throttle.delay(1.0) is None


def test_little_is_saved_up() -> None:
    throttle = Throttle(1000, quantum=100, now=0.0)
    flow = Flow()
    taken = 0
    while throttle.admit(flow, 10, 3600.0):
        taken += 10
    assert taken == 1000 * BURST


def test_who_leaves_the_line_is_not_resumed() -> None:
    throttle = Throttle(1000, quantum=100, now=0.0)
    first, second = Flow(), Flow()
    throttle.admit(first, 200, 0.0)
    assert not throttle.admit(first, 1, 0.0)
    assert not throttle.admit(second, 1, 0.0)
    throttle.leave(first)
    throttle.leave(first)
    assert throttle.next(10.0) is second
    assert throttle.next(10.0) is None


@settings(max_examples=30)
@given(
    st.integers(1000, 10**9),
    st.integers(1024, 262_144),
    st.lists(st.integers(1, 262_144), min_size=1, max_size=20),
)
def test_the_rate_is_kept_and_shared_evenly_whatever_the_chunks(rate: int, quantum: int, chunks: list[int]) -> None:
    world = World(rate, quantum, [max(size, rate // 2000) for size in chunks])
    largest = max(world.flows.values())
    seconds = 4 * max(1.0, len(chunks) * (quantum + largest) / rate)
    world.run(seconds)
    total = sum(world.taken.values())
    assert total <= rate * (seconds + BURST) + largest, "no more than the rate"
    assert total >= rate * (seconds - 2 * BURST) - largest, "and no less"
    assert max(world.taken.values()) - min(world.taken.values()) <= rate * BURST + 3 * (quantum + largest)


# For real


class Got:
    """A receiver that counts, and notes how far all of them are whenever it is asked."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()

    def begin(self, head: Head) -> bool:
        self.status = head.status
        return True

    def write(self, chunk: bytes) -> None:
        self.body += chunk


SERVERS = ["http", "https", "http2"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def make(ca: Authority) -> Iterator[Any]:
    with ExitStack() as stack:

        def start(**choices: Any) -> Transport:
            made = Transport(Options(**{"timeout": 20.0, **choices}), cainfo=str(ca.file))
            return stack.enter_context(closing(made))

        yield start


def fetch(client: Transport, url: str, got: Got, **more: Any) -> None:
    client.perform(Request(url, **more), got)


@pytest.mark.parametrize("scheme", SERVERS)
@pytest.mark.parametrize(("count", "size"), [(1, 2_000_000), (8, 250_000), (50, 40_000), (50, 1000)])
def test_all_bytes_arrive_no_faster_than_the_rate(
    make: Any, nginx: StartNginx, site: Path, scheme: str, count: int, size: int
) -> None:
    bodies = {f"/{number}.jpg": picture(number, size) for number in range(count)}
    for path, body in bodies.items():
        (site / path[1:]).write_bytes(body)
    server = nginx(site)
    rate = 2_000_000
    client = make(limit_rate=rate, jobs=64)
    results = {path: Got() for path in bodies}
    begun = time.monotonic()
    running = [gevent.spawn(fetch, client, getattr(server, scheme)(path), got) for path, got in results.items()]
    gevent.joinall(running, timeout=60, raise_error=True)
    took = time.monotonic() - begun
    assert {path: bytes(got.body) for path, got in results.items()} == bodies
    assert took >= 0.8 * (count * size - BURST * rate) / rate
    assert not client._active


@pytest.mark.parametrize("scheme", SERVERS)
def test_transfers_under_way_share_evenly(make: Any, nginx: StartNginx, site: Path, scheme: str) -> None:
    (site / "a.jpg").write_bytes(picture(1, 4_000_000))
    server = nginx(site)
    client = make(limit_rate=1_000_000)
    results = [Got() for _ in range(8)]
    running = [gevent.spawn(fetch, client, getattr(server, scheme)("/a.jpg"), got) for got in results]
    while not all(got.body for got in results):
        gevent.sleep(0.01)
    before = [len(got.body) for got in results]
    while sum(len(got.body) for got in results) < sum(before) + 1_200_000:
        gevent.sleep(0.01)
    sizes = sorted(len(got.body) - had for got, had in zip(results, before, strict=True))
    gevent.killall(running)
    assert sizes[0] >= 0.6 * sizes[-1] > 0, sizes
    assert not client._active


def test_http3_is_limited_too(make: Any, caddy: StartCaddy, site: Path) -> None:
    (site / "a.jpg").write_bytes(body := picture(1, 300_000))
    server = caddy(site)
    client = make(limit_rate=1_000_000, http_version="3")
    results = [Got() for _ in range(4)]
    running = [gevent.spawn(fetch, client, server.https("/a.jpg"), got) for got in results]
    gevent.joinall(running, timeout=60, raise_error=True)
    assert {bytes(got.body) for got in results} == {body}


def test_a_transfer_held_back_is_not_silent(make: Any, faults: f.FaultServer) -> None:
    body = picture(1, 11_000)
    url = faults.route("/a.jpg", f.ok(body))
    client = make(limit_rate=10_000, timeout=0.5)
    results = [Got() for _ in range(2)]
    running = [gevent.spawn(fetch, client, url, got) for got in results]
    gevent.joinall(running, timeout=60, raise_error=True)
    assert {bytes(got.body) for got in results} == {body}


def test_one_that_is_silent_is_told_from_one_held_back(make: Any, faults: f.FaultServer) -> None:
    good = faults.route("/a.jpg", f.ok(picture(1, 15_000)))
    stalled = faults.route("/stalled.jpg", f.stalled(picture(2, 20_000), 100))
    client = make(limit_rate=10_000, timeout=0.5)
    running = gevent.spawn(fetch, client, good, Got())
    with pytest.raises(errors.TimedOut):
        fetch(client, stalled, Got())
    running.get(timeout=60)


@pytest.mark.parametrize("scheme", SERVERS)
def test_a_transfer_may_be_killed_while_it_is_held_back(make: Any, nginx: StartNginx, site: Path, scheme: str) -> None:
    (site / "a.jpg").write_bytes(body := picture(1, 200_000))
    server = nginx(site)
    url = getattr(server, scheme)("/a.jpg")
    client = make(limit_rate=400_000)
    victims = [gevent.spawn(fetch, client, url, Got()) for _ in range(4)]
    last = Got()
    survivor = gevent.spawn(fetch, client, url, last)
    while len(client._pacer.throttle._line) < 4:
        gevent.sleep(0.001)
    gevent.killall(victims, timeout=20)
    survivor.get(timeout=60)
    assert bytes(last.body) == body
    assert not client._active
    assert not client._pacer.throttle._line


def test_a_connection_that_is_closed_meanwhile_is_noticed(make: Any, faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.truncated(picture(1, 60_000), 30_000))
    client = make(limit_rate=30_000)
    got = Got()
    with pytest.raises(errors.BodyError):
        fetch(client, url, got)
    assert len(got.body) == 30_000


def test_the_time_a_request_may_take_ends_one_held_back(make: Any, faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.ok(picture(1, 1_000_000)))
    with pytest.raises(errors.TimedOut):
        fetch(make(limit_rate=10_000), url, Got(), deadline=0.5)


@pytest.mark.parametrize("framing", [f.ok, f.chunked, f.until_close], ids=["length", "chunked", "close"])
def test_a_body_may_end_at_any_point_of_a_pause(make: Any, faults: f.FaultServer, framing: Any) -> None:
    client = make(limit_rate=100_000, jobs=32)  # received by 1024 bytes
    bodies = {faults.route(f"/{size}", framing(picture(size, size))): picture(size, size) for size in range(1010, 1040)}
    results = {url: Got() for url in bodies}
    gevent.joinall([gevent.spawn(fetch, client, url, got) for url, got in results.items()], 60, raise_error=True)
    assert {url: bytes(got.body) for url, got in results.items()} == bodies


def test_what_a_receiver_raises_on_being_resumed_comes_out(make: Any, faults: f.FaultServer) -> None:
    class Full(Got):
        def write(self, chunk: bytes) -> None:
            super().write(chunk)
            if len(self.body) > 15_000:
                raise errors.NoRoom("full")

    url = faults.route("/a.jpg", f.ok(picture(1, 1_000_000)))
    client = make(limit_rate=50_000)
    with pytest.raises(errors.NoRoom, match="full"):
        fetch(client, url, Full())
    assert not client._active


def test_closing_ends_what_is_held_back(make: Any, faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.ok(picture(1, 1_000_000)))
    client = make(limit_rate=10_000)
    running = [gevent.spawn(partial(fetch, client, url, Got())) for _ in range(3)]
    while len(client._pacer.throttle._line) < 3:
        gevent.sleep(0.001)
    client.close()
    gevent.joinall(running, timeout=20)
    assert {type(greenlet.exception) for greenlet in running} == {errors.Interrupted}


def test_the_option_limits_all_that_gdl_receives(gdl: RunGdl, faults: f.FaultServer) -> None:
    urls = [faults.route(f"/{number}.jpg", f.ok(picture(number, 100_000))) for number in range(10)]
    begun = time.monotonic()
    done = gdl("--json", "--limit-rate", "1M", "-o", "out", *urls)
    assert time.monotonic() - begun >= 0.7
    assert [result["status"] for result in done.results] == ["saved"] * 10, done.stderr
