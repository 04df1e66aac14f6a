"""A real nginx: HTTP/1.1, HTTPS and HTTP/2 from a folder."""

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
{user}
daemon off;
master_process on;
worker_processes 1;
worker_shutdown_timeout 1s;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    types {{
        image/jpeg jpg jpeg; image/png png; image/gif gif; image/webp webp;
        audio/mpeg mp3; audio/flac flac; video/mp4 mp4; video/webm webm;
        text/html html; text/plain txt; application/json json;
    }}
    default_type application/octet-stream;
    log_format plain '$connection $server_protocol $request_method $request_uri $status '
                     '$body_bytes_sent "$http_range"';
    access_log {folder}/access.log plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    {http}
    server {{
        listen 127.0.0.1:{ports[0]};
        listen 127.0.0.1:{ports[1]} ssl;
        listen 127.0.0.1:{ports[2]} ssl http2;
        server_name localhost;
        ssl_certificate {certificate.chain};
        ssl_certificate_key {certificate.key};
        root {root};
        {server}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx: where it listens and what it wrote."""

    root: Path
    """The folder it serves; files may be added at any time."""
    http_port: int
    https_port: int
    http2_port: int
    folder: Path

    def http(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """The plain URL of a path."""
        return f"http://{host}:{self.http_port}{path}"

    def https(self, path: str = "/", host: str = "localhost") -> str:
        """The URL of a path over TLS with HTTP/1.1."""
        return f"https://{host}:{self.https_port}{path}"

    def http2(self, path: str = "/", host: str = "localhost") -> str:
        """The URL of a path where TLS offers HTTP/2."""
        return f"https://{host}:{self.http2_port}{path}"

    def log(self) -> list[list[str]]:
        """Answered requests: connection, protocol, method, target, status, body bytes sent, Range."""
        path = self.folder / "access.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [[*line.split(" ", 6)[:6], line.split(" ", 6)[6].strip('"')] for line in lines]


@contextmanager
def run_nginx(root: Path, certificate: ServerCertificate, *, http: str = "", server: str = "") -> Iterator[Nginx]:
    """nginx serving ``root`` while the context lasts.

    ``http`` and ``server`` are configuration for those blocks, such as ``limit_rate 100k;``.
    """
    program = find_program("nginx")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gdl-nginx-")))
        config = folder / "nginx.conf"
        # As root, workers would drop to a user who cannot read pytest's folders.
        user = "user root;" if os.geteuid() == 0 else ""

        def start(ports: list[int]) -> None:
            values = {"user": user, "folder": folder, "root": root, "certificate": certificate}
            config.write_text(CONFIG.format(**values, ports=ports, http=http, server=server))
            command = [program, "-p", str(folder), "-e", "stderr", "-c", str(config)]
            stack.enter_context(serving(command, ports, folder / "output.log"))

        plain, https, http2 = on_free_ports(3, start)
        yield Nginx(root, plain, https, http2, folder)


class StartNginx(Protocol):
    """Starts an nginx that is stopped with the test."""

    def __call__(self, root: Path, *, http: str = "", server: str = "") -> Nginx:
        """Serve ``root``; see `run_nginx`."""
