"""--public-only: whatever a URL, a name or a redirect says, nothing that is not public is connected to."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gevent
import pycurl
import pytest
from support import faults as f
from support.processes import wait_until
from support.samples import picture

from downloader import errors
from downloader.items import Address
from downloader.options import Options
from downloader.request import Request, follow
from downloader.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.caddy import StartCaddy
    from support.certs import Authority
    from support.cli import RunGdl

    from downloader.responses import Head

BODY = picture(1, 20_000)
CURL_VERSION_HTTP3 = 1 << 25
pytestmark = pytest.mark.timeout(120)

# Hosts that lead to this machine or its network, and the address that is refused.
SPELLINGS = {
    "127.0.0.1": "127.0.0.1",
    "127.0.0.1.": "127.0.0.1",
    "127.1": "127.0.0.1",
    "127.0.1": "127.0.0.1",
    "127.8.9.10": "127.8.9.10",
    "0x7f000001": "127.0.0.1",
    "0x7f.1": "127.0.0.1",
    "2130706433": "127.0.0.1",
    "017700000001": "127.0.0.1",
    "0": "0.0.0.0",  # noqa: S104 nothing binds to it
    "[::]": "::",
    "[::1]": "::1",
    "[0:0:0:0:0:0:0:1]": "::1",
    "[::ffff:127.0.0.1]": "::ffff:127.0.0.1",
    "[::ffff:7f00:1]": "::ffff:127.0.0.1",
    "[64:ff9b::7f00:1]": "64:ff9b::7f00:1",
    "[2002:7f00:1::]": "2002:7f00:1::",
    "[fe80::1]": "fe80::1",
    "[fe80::1%25lo]": "fe80::1",
    "[fd00:ec2::254]": "fd00:ec2::254",
    "169.254.169.254": "169.254.169.254",
    "10.0.0.1": "10.0.0.1",
    "100.64.0.1": "100.64.0.1",
    "192.168.0.1": "192.168.0.1",
    "255.255.255.255": "255.255.255.255",
    "localhost": "127.0.0.1",
    "LOCALHOST.": "127.0.0.1",
    "cat.localhost": "127.0.0.1",
}


@dataclass
class Collected:
    """A receiver that keeps what came."""

    heads: list[Head] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)

    def begin(self, head: Head) -> bool:
        self.heads.append(head)
        return True

    def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)


def get(client: Transport, url: str, **more: Any) -> bytes:
    got = Collected()
    client.perform(Request(url, **more), got)
    return b"".join(got.chunks)


def only(*addresses: str) -> Callable[[str], bool]:
    """Allows these addresses, which stand for the public ones."""
    return lambda address: address in addresses


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def both() -> Iterator[tuple[str, f.FaultServer, socket.socket]]:
    """A URL by name, the server behind its IPv4 address, and a listener on the same port of the IPv6 one."""
    with ExitStack() as stack:
        for _ in range(10):
            server = stack.enter_context(f.FaultServer())
            with suppress(OSError):
                listener = stack.enter_context(socket.create_server(("::1", server.port), family=socket.AF_INET6))
                listener.setblocking(False)
                yield server.route("/a", f.ok(BODY)).replace("127.0.0.1", "localhost"), server, listener
                return
        pytest.skip("there is no IPv6 here")


def connected(listener: socket.socket) -> bool:
    """Whether somebody has connected, or is about to."""
    with suppress(BlockingIOError):
        listener.accept()[0].close()
        return True
    return False


# By gdl


def test_no_spelling_of_a_local_address_gets_through(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.otherwise(f.ok(BODY))
    urls = [f"http://{host}:{faults.port}/{number}.jpg" for number, host in enumerate(SPELLINGS)]
    done = gdl("--json", "--public-only", "--retries", "3", "--timeout", "20", *urls)
    by_path = {result["url"].rpartition("/")[2]: result for result in done.results}
    assert len(by_path) == len(SPELLINGS)
    for number, (host, address) in enumerate(SPELLINGS.items()):
        result = by_path[f"{number}.jpg"]
        found = (result["status"], result["error"]["kind"], result["attempts"])
        assert found == ("failed", "address", 1), (host, result["reason"])
        assert address in result["reason"].split(), host
        assert result["reason"].endswith(("is not a public address (--public-only)", "addresses (--public-only)")), host
    assert faults.connections == 0
    assert (done.returncode, list(tmp_path.rglob("*.jpg*"))) == (1, [])


def test_without_the_option_they_are_hosts_like_any_other(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url = faults.route("/a.jpg", f.ok(BODY))
    assert gdl("--json", url).returncode == 0
    assert (tmp_path / "a.jpg").read_bytes() == BODY


def test_the_environments_proxies_are_not_used(more_faults: f.FaultServer, gdl: RunGdl) -> None:
    more_faults.otherwise(f.ok(BODY))
    names = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    env = dict.fromkeys(names, more_faults.url())
    without = ("--json", "--public-only", "--retries", "0", "--timeout", "20")
    urls = ["http://127.0.0.1:1/a.jpg", "https://127.0.0.1:1/b.jpg", "http://name.invalid/c.jpg"]
    through = gdl("--json", "--retries", "0", "http://127.0.0.1:1/through.jpg", env=env)
    assert (through.returncode, more_faults.connections) == (0, 1)
    for value in (more_faults.url(), more_faults.url().replace("http", "socks5h")):
        done = gdl(*without, *urls, env=dict.fromkeys(names, value))
        kinds = {result["url"]: result["error"]["kind"] for result in done.results}
        assert kinds.pop(urls[2]) in ("connection", "timeout")
        assert kinds == dict.fromkeys(urls[:2], "address")
    assert more_faults.connections == 1


def test_quic_is_refused_as_well(gdl: RunGdl) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        url = f"https://127.0.0.1:{udp.getsockname()[1]}/a.jpg"
        done = gdl("--json", "--public-only", "--http-version", "3", "--retries", "0", url)
        assert [result["error"]["kind"] for result in done.results] == ["address"]
        with pytest.raises(BlockingIOError):
            udp.recv(1)


# By the transport, whose idea of a public address is a parameter


def test_the_option_decides_unless_told_otherwise(faults: f.FaultServer) -> None:
    url = faults.route("/a", f.ok(BODY))
    with closing(Transport(Options())) as client:
        assert get(client, url) == BODY
    with closing(Transport(Options(public_only=True), allowed=only("127.0.0.1"))) as client:
        assert get(client, url) == BODY
    for client in (Transport(Options(public_only=True)), Transport(Options(), allowed=only())):
        with (
            closing(client),
            pytest.raises(errors.AddressRefused, match=r"^127\.0\.0\.1 is not") as caught,
        ):
            get(client, url)
        assert not caught.value.retryable


def test_each_hop_of_a_redirect_is_judged(faults: f.FaultServer) -> None:
    with closing(Transport(Options(), allowed=only("127.0.0.1"))) as client:
        for number, (place, address) in enumerate(
            {
                f"http://127.0.0.2:{faults.port}/private": "127.0.0.2",
                f"http://[::1]:{faults.port}/private": "::1",
                f"http://[::ffff:127.0.0.1]:{faults.port}/private": "::ffff:127.0.0.1",
                "http://169.254.169.254/latest/meta-data": "169.254.169.254",
            }.items()
        ):
            url = faults.route(f"/{number}", f.redirect(place))
            first = Collected()
            assert client.perform(Request(url), first).head.status == 302
            target = follow(Address(url), first.heads[0].get("location") or "", insecure=False)
            with pytest.raises(errors.AddressRefused, match=rf"^{address} is not"):
                get(client, target.url)
        assert faults.connections == 1
        assert get(client, faults.route("/public", f.ok(BODY))) == BODY


def test_of_a_names_addresses_only_the_allowed_are_used(both: tuple[str, f.FaultServer, socket.socket]) -> None:
    url, server, listener = both
    with closing(Transport(Options(), allowed=only("127.0.0.1"))) as client:
        assert get(client, url) == BODY
    assert not connected(listener)
    before = server.connections
    with closing(Transport(Options(timeout=1.0), allowed=only("::1"))) as client, pytest.raises(errors.TimedOut):
        get(client, url)
    assert connected(listener)
    assert server.connections == before
    with closing(Transport(Options(), allowed=only())) as client:
        with pytest.raises(errors.AddressRefused) as caught:
            get(client, url)
        assert {"127.0.0.1", "::1"} <= set(str(caught.value).split())
        assert "are not public addresses" in str(caught.value)
    assert not connected(listener)


def test_an_allowed_address_that_fails_is_a_failure_to_connect() -> None:
    with f.refused_port() as port, closing(Transport(Options(), allowed=only("127.0.0.1"))) as client:
        with pytest.raises(errors.ConnectError, match=r"(?i)refused") as caught:
            get(client, f"http://localhost:{port}/")
        assert caught.value.retryable


def test_a_connection_that_was_let_through_is_used_again(faults: f.FaultServer) -> None:
    asked: list[str] = []

    def allowed(address: str) -> bool:
        asked.append(address)
        return True

    url = faults.route("/a", f.ok(BODY))
    with closing(Transport(Options(), allowed=allowed, spare=1)) as client:
        for _ in range(5):
            assert get(client, url) == BODY
    assert (asked, faults.connections) == (["127.0.0.1"], 1)


def test_a_handle_that_is_used_again_asks_for_its_own_request(faults: f.FaultServer) -> None:
    good = faults.route("/a", f.ok(BODY, connection="close"))
    bad = faults.url("/a", "127.0.0.2")
    with closing(Transport(Options(), allowed=only("127.0.0.1"), spare=1)) as client:
        for headers in ((), (("X-One", "1"),), ()):
            with pytest.raises(errors.AddressRefused):
                get(client, bad, headers=headers)
            assert get(client, good, headers=headers) == BODY


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_the_decision_raises_comes_out_and_nothing_is_connected_to(
    faults: f.FaultServer, kind: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    def allowed(address: str) -> bool:
        raise kind(address)

    with closing(Transport(Options(), allowed=allowed)) as client, pytest.raises(kind, match=r"127\.0\.0\.1"):
        get(client, faults.url("/a"))
    assert faults.connections == 0
    assert capfd.readouterr() == ("", "")


def test_no_proxy_is_used_where_addresses_are_judged(
    faults: f.FaultServer, more_faults: f.FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = faults.route("/a", f.ok(BODY))
    monkeypatch.setenv("http_proxy", more_faults.url())
    monkeypatch.delenv("no_proxy", raising=False)
    with closing(Transport(Options(), allowed=only("127.0.0.1"))) as client:
        assert get(client, url) == BODY
    assert more_faults.connections == 0


@pytest.mark.parametrize("version", ["auto", "3"])
def test_over_tls_and_quic_an_allowed_address_works(
    caddy: StartCaddy, ca: Authority, tmp_path: Path, version: Any
) -> None:
    if version == "3" and not pycurl.version_info()[4] & CURL_VERSION_HTTP3:
        pytest.skip("this libcurl has no HTTP/3")
    (tmp_path / "a.jpg").write_bytes(BODY)
    url = caddy(tmp_path).https("/a.jpg")
    asked: list[str] = []

    def allowed(address: str) -> bool:
        asked.append(address)
        return address == "127.0.0.1"

    options = Options(http_version=version)
    with closing(Transport(options, cainfo=str(ca.file), allowed=allowed)) as client:
        got = Collected()
        head = client.perform(Request(url), got).head
        assert b"".join(got.chunks) == BODY
        assert head.version in ("2", "3")
        assert "127.0.0.1" in asked
    client = Transport(options, cainfo=str(ca.file), allowed=only())
    with closing(client), pytest.raises(errors.AddressRefused):
        get(client, url)


def test_no_descriptor_is_left(faults: f.FaultServer) -> None:
    good = faults.route("/a", f.ok(BODY, connection="close"))
    bad = faults.url("/a", "127.0.0.2")
    client = Transport(Options(), allowed=only("127.0.0.1"))

    def ask(url: str) -> type[BaseException] | None:
        try:
            get(client, url)
        except errors.AddressRefused as error:
            return type(error)
        return None

    def round_of(count: int) -> list[type[BaseException] | None]:
        greenlets = [gevent.spawn(ask, url) for _ in range(count) for url in (good, bad)]
        gevent.joinall(greenlets, raise_error=True)
        return [greenlet.value for greenlet in greenlets]

    def settled() -> int:
        """The descriptors once the server's side of all connections, in this process too, is closed."""

        def over() -> bool:
            gevent.sleep(0.01)
            return not faults.open_connections

        wait_until(over, "the end of all connections")
        time.sleep(0.05)
        return descriptors()

    with closing(client):
        round_of(5)
        before = settled()
        for _ in range(10):
            assert round_of(20) == [None, errors.AddressRefused] * 20
        assert faults.connections == 205
        after = settled()
    assert after <= before + 2
