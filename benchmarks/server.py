"""A real nginx on free ports of 127.0.0.1: HTTP, HTTPS, HTTP/2, a picture for every path, and 404 for every path."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 20.0
PORT_TRIES = 4
GIF_BYTES = 43
"""What nginx answers under ``/gif/``."""

CONFIG = """
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 4096;
worker_shutdown_timeout 1s;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 2048; }}
http {{
    types {{ image/jpeg jpg; video/mp4 mp4; }}
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 60s;
    server {{
        listen 127.0.0.1:{ports[0]};
        listen 127.0.0.1:{ports[1]} ssl;
        listen 127.0.0.1:{ports[2]} ssl http2;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        root {root};
        location /gif/ {{ empty_gif; }}
        location /gone/ {{ return 404; }}
    }}
}}
"""


class Unavailable(Exception):
    """A program that a case needs is not installed."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens; no URL has a slash at its end."""

    http: str
    https: str
    http2: str
    certificate: Path
    """To be trusted for ``https`` and ``http2``."""


@contextmanager
def serving(root: Path, folder: Path) -> Iterator[Server]:
    """nginx serving ``root`` while the context lasts; ``folder`` is for its own files.

    Raises `Unavailable` without nginx or something that makes certificates, RuntimeError if it does not start.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")
    if program is None:
        raise Unavailable("nginx is not installed (Debian and Ubuntu: apt-get install nginx-light)")
    _make_certificate(folder)
    with ExitStack() as stack:
        ports = _start(program, root, folder, stack)
        yield Server(
            f"http://127.0.0.1:{ports[0]}",
            f"https://127.0.0.1:{ports[1]}",
            f"https://127.0.0.1:{ports[2]}",
            folder / "certificate.pem",
        )


def _start(program: str, root: Path, folder: Path, stack: ExitStack) -> list[int]:
    # Started as root, the workers would become a user who cannot read the data.
    user = "user root;" if os.geteuid() == 0 else ""
    log = folder / "nginx.log"
    for _ in range(PORT_TRIES):
        ports = _free_ports(3)
        (folder / "nginx.conf").write_text(CONFIG.format(user=user, folder=folder, root=root, ports=ports))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        stack.callback(_end, process)
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if all(map(_accepts, ports)):
                return ports
            time.sleep(0.02)
        if "address already in use" not in log.read_text(errors="replace").lower():
            break
    raise RuntimeError(f"nginx does not start:\n{log.read_text(errors='replace')}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _make_certificate(folder: Path) -> None:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    openssl = shutil.which("openssl")
    if openssl is not None:
        command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        return
    try:
        import trustme
    except ImportError:
        raise Unavailable("neither openssl nor trustme is installed, and TLS needs a certificate") from None
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(key))
    for blob in (*issued.cert_chain_pems, authority.cert_pem):
        blob.write_to_path(str(certificate), append=True)
