"""TLS end to end: which certificates are believed, what is said of the others, and the versions of HTTP on top."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pycurl
import pytest
from support import faults as f
from support import samples
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.caddy import StartCaddy
    from support.certs import Authority
    from support.cli import RunGdl
    from support.nginx import StartNginx

BODY = samples.picture(1, 20_000)
OK = f.ok(BODY)
BAD = {
    "self_signed": "self-signed certificate",
    "expired": "certificate has expired",
    "wrong_host": "(?i)subject name|does not match|host name",
}
CURL_VERSION_HTTP3 = 1 << 25


@pytest.fixture
def bad_servers(ca: Authority) -> Iterator[dict[str, f.FaultServer]]:
    """Servers whose certificates must not be believed, by what is wrong with them."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(f.FaultServer(getattr(ca, name).context())) for name in BAD}
        for server in servers.values():
            server.otherwise(OK)
        yield servers


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def warnings(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("warning:")]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_is_checked_against_the_authorities_given(
    tls_faults: f.FaultServer, ca: Authority, gdl: RunGdl, tmp_path: Path, host: str
) -> None:
    tls_faults.otherwise(OK)
    done = gdl("--json", "--cacert", ca.file, tls_faults.url("/a.jpg", host), tls_faults.url("/b.jpg", host))
    assert [(result["status"], result["attempts"]) for result in done.results] == [("saved", 1)] * 2
    assert (done.returncode, files(tmp_path), warnings(done.stderr)) == (0, ["a.jpg", "b.jpg"], [])
    assert (tmp_path / "a.jpg").read_bytes() == BODY


def test_an_unknown_authority_is_refused(tls_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    tls_faults.otherwise(OK)
    done = gdl("--json", tls_faults.url("/a.jpg", "localhost"))
    [result] = done.results
    assert (result["status"], result["error"]["kind"], result["attempts"]) == ("failed", "tls", 1)
    assert re.search("unable to get local issuer certificate.*--cacert.*--insecure", result["reason"])
    assert (done.returncode, tls_faults.requests, files(tmp_path)) == (1, [], [])


def test_a_bad_certificate_is_refused_once_naming_the_check_and_the_way_out(
    bad_servers: dict[str, f.FaultServer], ca: Authority, gdl: RunGdl, tmp_path: Path
) -> None:
    urls = {server.url(f"/{name}.jpg", "localhost"): name for name, server in bad_servers.items()}
    done = gdl("--json", "--cacert", ca.file, "-o", "out", *urls)
    assert {urls[result["url"]]: (result["error"]["kind"], result["attempts"]) for result in done.results} == (
        dict.fromkeys(BAD, ("tls", 1))
    )
    for result in done.results:
        message = result["reason"]
        assert re.search(BAD[urls[result["url"]]], message), message
        assert all(word in message for word in ("TLS certificate check failed", "--cacert", "--insecure")), message
        assert message in done.stderr
    assert [server.connections for server in bad_servers.values()] == [1, 1, 1]
    assert [server.requests for server in bad_servers.values()] == [[], [], []]
    assert (done.returncode, files(tmp_path)) == (1, [])


@pytest.mark.parametrize("flag", ["-k", "--insecure"])
def test_insecure_takes_any_certificate_and_warns_exactly_once(
    bad_servers: dict[str, f.FaultServer], gdl: RunGdl, tmp_path: Path, flag: str
) -> None:
    urls = [server.url(f"/{name}{number}.jpg") for name, server in bad_servers.items() for number in range(3)]
    done = gdl("--json", flag, "-o", "out", *urls)
    assert {result["status"] for result in done.results} == {"saved"}
    assert (done.returncode, len(files(tmp_path))) == (0, 9)
    [warning] = warnings(done.stderr)
    assert "--insecure" in warning
    assert done.stderr.count("insecure") == 1


def test_insecure_is_quiet_with_quiet(bad_servers: dict[str, f.FaultServer], gdl: RunGdl) -> None:
    done = gdl("-q", "-k", bad_servers["expired"].url("/a.jpg"))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_a_pinned_self_signed_certificate_is_believed(
    bad_servers: dict[str, f.FaultServer], ca: Authority, gdl: RunGdl, tmp_path: Path
) -> None:
    done = gdl("--cacert", ca.self_signed.chain, bad_servers["self_signed"].url("/a.jpg", "localhost"))
    assert (done.returncode, files(tmp_path)) == (0, ["a.jpg"])


@pytest.mark.parametrize("content", [None, b"", b"no certificate\n", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_cacert_that_cannot_be_used_is_said_before_anything_is_asked(
    tls_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    before = files(tmp_path)
    done = gdl("--cacert", "ca.pem", tls_faults.url("/a.jpg"))
    assert done.returncode == 2
    assert "--cacert" in done.stderr
    assert "ca.pem" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tls_faults.requests, files(tmp_path)) == ([], before)


def test_tls_faults_that_may_pass_are_tried_again(
    tls_faults: f.FaultServer, faults: f.FaultServer, ca: Authority, gdl: RunGdl, tmp_path: Path
) -> None:
    """A connection that breaks in the handshake is no word about the certificate; plain HTTP on a TLS port is."""
    tls_faults.otherwise(OK)
    broken = iter([True])

    def breaks_once(connection: f.Connection) -> None:
        if next(broken, False):
            connection.sock.recv(100)
            connection.reset()

    def speaks_first(connection: f.Connection) -> None:
        connection.sock.recv(100)
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    tls_faults.at_connect, faults.at_connect = breaks_once, speaks_first
    plain = faults.url("/b.jpg").replace("http:", "https:")
    done = gdl("--json", "--cacert", ca.file, tls_faults.url("/a.jpg"), plain)
    results = {result["url"].rpartition("/")[2]: result for result in done.results}
    assert (results["a.jpg"]["status"], results["a.jpg"]["attempts"]) == ("saved", 2)
    assert (results["b.jpg"]["error"]["kind"], results["b.jpg"]["attempts"]) == ("tls", 1)
    assert (done.returncode, files(tmp_path)) == (1, ["a.jpg"])


def test_a_body_cut_short_over_tls_fails(tls_faults: f.FaultServer, ca: Authority, gdl: RunGdl, tmp_path: Path) -> None:
    """Without a close_notify, an end is no end (RFC 8446 section 6.1): not even where the length is open."""

    def cut(connection: f.Connection, _request: f.Request) -> None:
        connection.send(f.head(200, connection="close", content_type="image/jpeg") + BODY[:15_000])
        connection.reset()

    urls = [
        tls_faults.route("/promised.jpg", f.truncated(BODY, 15_000)),
        tls_faults.route("/open.jpg", cut),
        tls_faults.route("/honest.jpg", f.until_close(BODY)),
    ]
    done = gdl("--json", "--retries", "0", "--cacert", ca.file, *urls)
    kinds = {result["url"].rpartition("/")[2]: (result["error"] or {}).get("kind") for result in done.results}
    assert kinds.pop("open.jpg") in ("body", "connection")
    assert kinds == {"promised.jpg": "body", "honest.jpg": None}
    assert (done.returncode, files(tmp_path)) == (1, ["honest.jpg"])


# HTTP/2 and 3


def media(folder: Path, count: int) -> dict[str, bytes]:
    """Files to serve, one of them large."""
    bodies = {f"{number}.jpg": samples.picture(number, 9000) for number in range(count)}
    bodies["large.jpg"] = samples.picture(999, 3_000_000)
    folder.mkdir()
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    return bodies


def saved_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("version", "expected"),
    [("auto", "HTTP/2.0"), ("2", "HTTP/2.0"), ("1.1", "HTTP/1.1"), ("1.0", "HTTP/1.0"), ("3", "HTTP/2.0|HTTP/1.1")],
)
def test_nginx_is_spoken_to_in_the_version_asked_for(
    nginx: StartNginx, ca: Authority, gdl: RunGdl, tmp_path: Path, version: str, expected: str
) -> None:
    bodies = media(tmp_path / "site", 30)
    server = nginx(tmp_path / "site")
    urls = [server.http2(f"/{name}") for name in bodies]
    done = gdl("--json", "--cacert", ca.file, "--http-version", version, "-o", "out", *urls, server.http2("/none.jpg"))
    assert done.returncode == 1
    failed = [result for result in done.results if result["status"] == "failed"]
    assert [(result["http_status"], result["reason"]) for result in failed] == [(404, "HTTP 404 Not Found")]
    assert saved_in(tmp_path / "out") == bodies
    log = wait_until(lambda: [entry for entry in [server.log()] if len(entry) >= 32], "32 requests in the log")[0]
    assert len(log) == 32
    assert {entry[1] for entry in log if not re.fullmatch(expected, entry[1])} == set()


@pytest.mark.parametrize("version", ["auto", "2", "3"])
def test_caddy_is_spoken_to_in_the_version_asked_for(
    caddy: StartCaddy, ca: Authority, gdl: RunGdl, tmp_path: Path, version: str
) -> None:
    bodies = media(tmp_path / "site", 30)
    log = tmp_path / "access.log"
    server = caddy(tmp_path / "site", site=f"log {{\n output file {log}\n format json\n }}")
    done = gdl(
        "--json",
        *("--cacert", ca.file, "--http-version", version, "-o", "out"),
        *(server.https(f"/{name}") for name in bodies),
    )
    assert {result["status"] for result in done.results} == {"saved"}, done.stderr
    assert (done.returncode, saved_in(tmp_path / "out")) == (0, bodies)
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) >= 31, "31 requests in the log")
    spoken = {json.loads(line)["request"]["proto"] for line in log.read_text().splitlines()}
    has_http3 = pycurl.version_info()[4] & CURL_VERSION_HTTP3
    if version != "3" or not has_http3:
        assert spoken == {"HTTP/2.0"}
    else:
        assert "HTTP/3.0" in spoken


@pytest.mark.parametrize("version", ["auto", "3"])
def test_certificates_are_checked_in_every_version(
    caddy: StartCaddy, gdl: RunGdl, tmp_path: Path, version: str
) -> None:
    media(tmp_path / "site", 1)
    server = caddy(tmp_path / "site")
    done = gdl("--json", "--retries", "1", "--http-version", version, "-o", "out", server.https("/0.jpg"))
    [result] = done.results
    assert (result["status"], result["error"]["kind"]) == ("failed", "tls")
    assert "--cacert" in result["reason"]
    assert done.returncode == 1
    assert not (tmp_path / "out").exists()
