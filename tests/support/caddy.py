"""A real caddy: HTTP/1.1 in the clear, and HTTP/1.1, 2 and 3 over TLS, from a folder."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from support.processes import find_program, on_free_ports, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certs import ServerCertificate

CONFIG = """
{{
    admin off
    auto_https off
    default_sni localhost
    grace_period 1s
    servers {{
        protocols {protocols}
    }}
}}
http://:{ports[0]} {{
    bind 127.0.0.1
    root * {root}
    {site}
    file_server
}}
https://:{ports[1]} {{
    bind 127.0.0.1
    tls {certificate.chain} {certificate.key}
    root * {root}
    {site}
    file_server
}}
"""


@dataclass(frozen=True, slots=True)
class Caddy:
    """A running caddy: where it listens."""

    root: Path
    """The folder it serves; files may be added at any time."""
    http_port: int
    https_port: int
    """TCP for HTTP/1.1 and 2, UDP for HTTP/3."""

    def http(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """The plain URL of a path."""
        return f"http://{host}:{self.http_port}{path}"

    def https(self, path: str = "/", host: str = "localhost") -> str:
        """The URL of a path over TLS or QUIC."""
        return f"https://{host}:{self.https_port}{path}"


@contextmanager
def run_caddy(
    root: Path, certificate: ServerCertificate, *, protocols: str = "h1 h2 h3", site: str = ""
) -> Iterator[Caddy]:
    """caddy serving ``root`` while the context lasts; ``site`` is Caddyfile text for both sites."""
    program = find_program("caddy")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gdl-caddy-")))
        config = folder / "Caddyfile"
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
        env |= {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")}

        def start(ports: list[int]) -> None:
            values = {"protocols": protocols, "root": root, "certificate": certificate, "site": site}
            config.write_text(CONFIG.format(**values, ports=ports))
            command = [program, "run", "--adapter", "caddyfile", "--config", str(config)]
            stack.enter_context(serving(command, ports, folder / "output.log", env))

        plain, https = on_free_ports(2, start)
        yield Caddy(root, plain, https)


class StartCaddy(Protocol):
    """Starts a caddy that is stopped with the test."""

    def __call__(self, root: Path, *, protocols: str = "h1 h2 h3", site: str = "") -> Caddy:
        """Serve ``root``; see `run_caddy`."""
