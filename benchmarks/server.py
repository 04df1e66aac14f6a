"""A real nginx on free ports of 127.0.0.1: HTTP, HTTPS, HTTP/2, a picture for every path, 404 for every path, and files
at a limited rate, with a log of what was sent of them.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 20.0
IDLE_SECONDS = 20.0
PORT_TRIES = 4
GIF_BYTES = 43
"""What nginx answers under ``/gif/``."""
STEPS = {"slowly": 64, "quickly": 1024}
"""Names of limits, and the KiB that a response is then sent in at once: few, because the last of them come without a
wait, but not so few that the waits between them are too short for nginx's timer of milliseconds."""
PLAINLY = "plainly"
"""Name of the limit that has nginx's own step."""
DEFAULT_STEP = 2048
"""KiB of that, since nginx 1.21.4; before, it was what the rate gives in a second."""
SLOWLY = 8192
"""Up to this many KiB/s the smaller step is used."""

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
    log_format sent "$tag $connection $bytes_sent";
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
        location = /connections {{ stub_status; }}
{limited}
    }}
}}
"""
LIMITED = """
        location ~ "^/{name}/(?<rate>[0-9]+k)/(?<tag>[a-z0-9-]+)/(?<file>.+)$" {{
            alias {root}/$file;
            limit_rate $rate;
            {step}
            access_log {folder}/sent.log sent;
        }}
"""


class Unavailable(Exception):
    """A program that a case needs is not installed."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One response, as far as it went before its connection was lost."""

    tag: str
    connection: int
    """The number of its connection, which other responses may share."""
    size: int
    """Bytes with the head, those included that the client was killed too early to read."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens; no URL has a slash at its end."""

    http: str
    https: str
    http2: str
    certificate: Path
    """To be trusted for ``https`` and ``http2``."""
    log: Path = field(repr=False)

    def limited(self, rate: int, tag: str, *, plainly: bool = False) -> str:
        """What stands for ``http`` in URLs of files that each response brings at ``rate`` KiB/s.

        ``tag`` (of small letters, digits and hyphens) is what these responses are called in `sent`. The limit holds for
        short responses too, unless it is to be what ``limit_rate`` plainly does.
        """
        name = PLAINLY if plainly else "slowly" if rate <= SLOWLY else "quickly"
        return f"{self.http}/{name}/{rate}k/{tag}"

    def sent(self, tag: str) -> list[Sent]:
        """All responses of ``tag`` so far, once every connection has ended and all of them are in the log.

        Raises TimeoutError if one does not end.
        """
        deadline = time.monotonic() + IDLE_SECONDS
        while (count := self._connections()) > 1:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nginx still has {count - 1} connections")
            time.sleep(0.05)
        found = parse_log(self.log.read_text()) if self.log.exists() else []
        return [one for one in found if one.tag == tag]

    def _connections(self) -> int:
        """How many are open, that of this question among them."""
        asking = http.client.HTTPConnection(self.http.removeprefix("http://"), timeout=5)
        try:
            asking.request("GET", "/connections")
            found = re.match(rb"Active connections: (\d+)", asking.getresponse().read())
        finally:
            asking.close()
        assert found is not None
        return int(found[1])


def parse_log(text: str) -> list[Sent]:
    """Parse lines of the log format ``sent``."""
    return [Sent(tag, int(connection), int(size)) for tag, connection, size in map(str.split, text.splitlines())]


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
            folder / "sent.log",
        )


def _start(program: str, root: Path, folder: Path, stack: ExitStack) -> list[int]:
    # Started as root, the workers would become a user who cannot read the data.
    user = "user root;" if os.geteuid() == 0 else ""
    log = folder / "nginx.log"
    steps = {name: f"sendfile_max_chunk {step}k;" for name, step in STEPS.items()} | {PLAINLY: ""}
    limited = "".join(
        LIMITED.format(name=name, step=step, root=root, folder=folder).rstrip() for name, step in steps.items()
    ).lstrip("\n")
    for _ in range(PORT_TRIES):
        ports = _free_ports(3)
        config = CONFIG.format(user=user, folder=folder, root=root, ports=ports, limited=limited)
        (folder / "nginx.conf").write_text(config)
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
