"""Fixtures: servers, certificates, and gdl as a process in the test's own folder."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from support.caddy import Caddy, StartCaddy, run_caddy
from support.certs import Authority, make_authority
from support.cli import Argument, Completed, RunGdl, run_gdl
from support.failing import Failing, build_failing
from support.faults import FaultServer
from support.nginx import Nginx, StartNginx, run_nginx
from support.processes import find_program

from benchmarks.resolver import Resolver, build

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# A slow machine is no failure, and on CI the same examples are tried each time.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# A shell that starts us in the background has us ignore SIGINT, and a gdl started from here would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Likewise nohup; a handler that does nothing ignores it as well, but is not passed on.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The tests' certificate authority and its certificates, good and bad."""
    return make_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Failing:
    """Calls of the C library that fail on demand: ``gdl(..., env=failing.environment(Fault(...), within=folder))``."""
    return build_failing(tmp_path_factory.mktemp("failing"))


@pytest.fixture(scope="session")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> Resolver:
    """Names ending in ``.test`` that lead to 127.0.0.1: ``gdl(..., env=resolver.environment(log))``."""
    find_program("cc")
    return build(tmp_path_factory.mktemp("resolver"))


@pytest.fixture
def faults() -> Iterator[FaultServer]:
    """A fault server without TLS."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def more_faults() -> Iterator[FaultServer]:
    """Another fault server: another host to a client."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def tls_faults(ca: Authority) -> Iterator[FaultServer]:
    """A fault server over TLS, with a certificate `ca` signed."""
    with FaultServer(ca.good.context()) as server:
        yield server


@pytest.fixture
def http2_faults(ca: Authority) -> Iterator[FaultServer]:
    """A fault server that speaks HTTP/2, and HTTP/1.1 to those who ask for it."""
    with FaultServer(ca.good.context("h2", "http/1.1")) as server:
        yield server


@pytest.fixture
def nginx(ca: Authority) -> Iterator[StartNginx]:
    """Starts nginx on a folder: ``nginx(root, server="limit_rate 100k;")``."""
    with ExitStack() as stack:

        def start(root: Path, *, http: str = "", server: str = "") -> Nginx:
            return stack.enter_context(run_nginx(root, ca.good, http=http, server=server))

        yield start


@pytest.fixture
def caddy(ca: Authority) -> Iterator[StartCaddy]:
    """Starts caddy on a folder: ``caddy(root, protocols="h3")``."""
    with ExitStack() as stack:

        def start(root: Path, *, protocols: str = "h1 h2 h3", site: str = "") -> Caddy:
            return stack.enter_context(run_caddy(root, ca.good, protocols=protocols, site=site))

        yield start


@pytest.fixture
def gdl(tmp_path: Path) -> RunGdl:
    """Runs gdl in ``tmp_path``, where it finds ``urls.txt`` and leaves what it saves."""

    def run(
        *args: Argument,
        stdin: bytes | str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Completed:
        return run_gdl(*args, stdin=stdin, env=env, cwd=tmp_path, timeout=timeout)

    return run
