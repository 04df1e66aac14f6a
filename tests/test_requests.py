"""What a request looks like and what is taken: headers, credentials, proxies, versions, sizes and types."""

from __future__ import annotations

import base64
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support import samples
from support.cli import start_gdl
from support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.certs import Authority
    from support.cli import Completed, RunGdl

BODY = samples.picture(1, 20_000)
OK = f.ok(BODY)


@pytest.fixture
def server(faults: f.FaultServer) -> f.FaultServer:
    """A server that has the picture everywhere."""
    faults.otherwise(OK)
    return faults


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as running:
        yield running


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


def each(folder: Path, *runs: tuple[str, ...]) -> list[Completed]:
    """What came of several runs at once."""
    with ExitStack() as stack:
        running = [stack.enter_context(start_gdl(*arguments, cwd=folder)) for arguments in runs]
        return [one.wait() for one in running]


def kinds(done: Completed) -> dict[str, str | None]:
    """The kind of error of each URL, None where there is none, by the last part of its path."""
    return {result["url"].rpartition("/")[2]: (result["error"] or {}).get("kind") for result in done.results}


# Headers


def test_a_plain_request_is_honest_and_short(server: f.FaultServer, gdl: RunGdl) -> None:
    assert gdl(server.url("/a.jpg")).returncode == 0
    [request] = server.requests
    headers = {name.lower(): value for name, value in request.headers}
    assert (request.method, request.version, request.target) == ("GET", "HTTP/1.1", "/a.jpg")
    assert headers.pop("host") == f"127.0.0.1:{server.port}"
    assert re.fullmatch(r"gdl/\d+(\.\d+)+", headers.pop("user-agent"))
    assert headers.pop("accept-encoding", "identity") == "identity"
    assert set(headers) <= {"accept"}


def test_headers_agent_and_referer_are_sent_and_the_list_wins(
    server: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    (tmp_path / "urls.txt").write_text(
        f"{server.url('/plain.jpg')}\n"
        f"{server.url('/own.jpg')}\n header=X-Token: own\n header=X-More: 1\n"
        " referer=http://own.test/\n user-agent=own/1\n"
        f'{{"url": "{server.url("/json.jpg")}", "headers": {{"X-Token": "json"}}, "referer": "http://json.test/"}}\n'
    )
    options = ("-H", "X-Token: all", "--header", "X-Empty:", "-A", "Agent 7 (图)", "--referer", "http://all.test/")
    assert gdl("urls.txt", *options).returncode == 0
    names = ("x-token", "x-empty", "x-more", "referer", "user-agent")
    seen = {request.path: [request.header(name) for name in names] for request in server.requests}
    agent = "Agent 7 (图)".encode().decode("latin-1")
    assert seen == {
        "/plain.jpg": ["all", "", None, "http://all.test/", agent],
        "/own.jpg": ["own", "", "1", "http://own.test/", "own/1"],
        "/json.jpg": ["json", "", None, "http://json.test/", agent],
    }
    assert [len([name for name, _ in request.headers if name == "X-Token"]) for request in server.requests] == [1] * 3


def test_headers_gdl_sets_itself_can_be_replaced(server: f.FaultServer, gdl: RunGdl) -> None:
    options = ("-H", "User-Agent: mine", "-H", "Accept: image/webp", "-H", "Host: other.test")
    assert gdl(server.url("/a.jpg"), *options).returncode == 0
    [request] = server.requests
    values = {name: [v for n, v in request.headers if n.lower() == name] for name in ("user-agent", "accept", "host")}
    assert values == {"user-agent": ["mine"], "accept": ["image/webp"], "host": ["other.test"]}


def test_a_value_that_is_no_header_is_refused_before_anything_is_sent(server: f.FaultServer, tmp_path: Path) -> None:
    headers = ("no colon", ": no name", "Bad Name: x", "X-Split: a\r\nX-Injected: b", "X-Nul: a\x01b", "X\r\nY: z")
    wrong = [("-H", header) for header in headers]
    wrong += [(option, "a\r\nX-Injected: b") for option in ("-A", "--referer")]
    for options, done in zip(wrong, each(tmp_path, *((*one, server.url("/a.jpg")) for one in wrong)), strict=True):
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), options
    assert server.requests == []


def test_a_header_in_a_list_cannot_smuggle_another(server: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text(
        f'{{"url": "{server.url("/a.jpg")}", "headers": {{"X-A": "1\\r\\nX-Injected: 2"}}}}\n'
        f'{{"url": "{server.url("/b.jpg")}", "referer": "http://x/\\r\\nX-Injected: 2"}}\n'
        f'{{"url": "{server.url("/c.jpg")}\\r\\nX-Injected: 2"}}\n'
        f'{{"url": "{server.url("/d.jpg")}", "headers": {{"X-B\\nX-Injected": "2"}}}}\n'
        f"{server.url('/fine.jpg')}\n"
    )
    done = gdl("--json", "--retries", "0", "urls.txt")
    assert "/fine.jpg" in {request.path for request in server.requests}
    assert {request.header("x-injected") for request in server.requests} == {None}
    assert len(done.results) == 5
    assert "Traceback" not in done.stderr


# Credentials


def test_credentials_come_from_the_url_and_from_netrc(server: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login net password s3cret\nmachine elsewhere.test login no password no\n")
    netrc.chmod(0o600)
    home = {"HOME": str(tmp_path)}
    with_login = server.url("/login.jpg").replace("//", "//us%40er:p%3Aw%2F@")
    urls = [with_login, server.url("/netrc.jpg"), server.url("/none.jpg", "localhost")]
    done = gdl("--json", "--netrc", *urls, env=home)
    assert (done.returncode, kinds(done)) == (0, {"login.jpg": None, "netrc.jpg": None, "none.jpg": None})
    assert {request.path: request.header("authorization") for request in server.requests} == {
        "/login.jpg": basic("us@er:p:w/"),
        "/netrc.jpg": basic("net:s3cret"),
        "/none.jpg": None,
    }
    assert gdl("--existing", "overwrite", server.url("/unasked.jpg"), env=home).returncode == 0
    assert server.requests_for("/unasked.jpg")[0].header("authorization") is None
    assert not re.search("p:w|p%3Aw|s3cret", done.stdout + done.stderr)


def test_netrc_follows_no_redirect_to_another_host(
    server: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login net password s3cret\n")
    more_faults.otherwise(OK)
    server.route("/a.jpg", f.redirect(more_faults.url("/b.jpg", "localhost")))
    assert gdl("--netrc", server.url("/a.jpg"), env={"HOME": str(tmp_path)}).returncode == 0
    assert server.requests[0].header("authorization") == basic("net:s3cret")
    assert more_faults.requests[0].header("authorization") is None


def test_netrc_that_is_missing_is_no_failure(server: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    assert gdl("--netrc", server.url("/a.jpg"), env={"HOME": str(tmp_path / "nowhere")}).returncode == 0


@pytest.mark.parametrize(
    "content", [None, b"127.0.0.1\tTRUE\n", b"\xff\xfe", b"127.0.0.1\tFALSE\t/\tFALSE\t0\ta\tb\x01\n"]
)
def test_a_cookie_file_that_cannot_be_used_is_said_before_anything_is_asked(
    server: f.FaultServer, gdl: RunGdl, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "cookies.txt").write_bytes(content)
    done = gdl("--cookies", "cookies.txt", server.url("/a.jpg"))
    assert (done.returncode, server.requests) == (2, [])
    assert "cookies.txt" in done.stderr
    assert "Traceback" not in done.stderr


# Proxies


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks4a", "socks5", "socks5h"])
def test_every_kind_of_proxy_is_gone_through(
    server: f.FaultServer,
    tls_faults: f.FaultServer,
    proxy: Proxy,
    ca: Authority,
    gdl: RunGdl,
    tmp_path: Path,
    scheme: str,
) -> None:
    tls_faults.otherwise(OK)
    urls = (server.url("/a.jpg", "localhost"), tls_faults.url("/b.jpg", "localhost"))
    done = gdl("--json", "--cacert", ca.file, "--proxy", proxy.url(scheme), *urls)
    assert (done.returncode, kinds(done)) == (0, {"a.jpg": None, "b.jpg": None})
    # Who resolves the name itself may take either address.
    hosts = ("127.0.0.1", "::1") if scheme in ("socks4", "socks5") else ("localhost",)
    assert {asked.host for asked in proxy.asked} <= set(hosts)
    ways = ("http", "connect") if scheme == "http" else (scheme, scheme)
    assert {(asked.way, asked.port, asked.login) for asked in proxy.asked} == {
        (ways[0], server.port, None),
        (ways[1], tls_faults.port, None),
    }
    assert {(tmp_path / name).read_bytes() for name in ("a.jpg", "b.jpg")} == {BODY}
    assert {request.header("proxy-authorization") for request in (*server.requests, *tls_faults.requests)} == {None}


def test_proxies_that_resolve_names_are_given_the_name(server: f.FaultServer, proxy: Proxy, gdl: RunGdl) -> None:
    url = f"http://pictures.invalid:{server.port}/a.jpg"
    for scheme in ("http", "socks4a", "socks5h"):
        assert gdl("--existing", "overwrite", "--proxy", proxy.url(scheme), url).returncode == 0
    assert [(asked.way, asked.host) for asked in proxy.asked] == [
        (scheme, "pictures.invalid") for scheme in ("http", "socks4a", "socks5h")
    ]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_wants_a_login_gets_it_and_nobody_else_does(
    server: f.FaultServer, gdl: RunGdl, tmp_path: Path, scheme: str
) -> None:
    with Proxy(login="pro:x:y") as proxy:
        done = gdl("--json", "--proxy", proxy.url(scheme, "pro:x%3Ay"), server.url("/a.jpg"))
        assert (done.returncode, proxy.asked[-1].login) == (0, "pro:x:y")
        assert {name.lower() for name, _ in server.requests[0].headers} & {
            "authorization",
            "proxy-authorization",
        } == set()
        assert "x%3Ay" not in done.stdout + done.stderr
        without = gdl("--json", "--retries", "0", "--proxy", proxy.url(scheme), server.url("/b.jpg"))
    [result] = without.results
    assert (result["status"], without.returncode, files(tmp_path)) == ("failed", 1, ["a.jpg"])
    assert re.search("(?i)proxy|socks", result["reason"])
    if scheme == "http":
        assert (result["http_status"], result["error"]["kind"]) == (407, "http")
        assert "--proxy" in result["reason"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5"])
def test_a_proxy_that_refuses_or_is_not_there_fails_and_is_not_gone_round(
    server: f.FaultServer, tls_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, scheme: str
) -> None:
    urls = (server.url("/a.jpg"), tls_faults.url("/b.jpg"))
    with Proxy(refuses=True) as proxy:
        refused = gdl("--json", "--retries", "0", "-k", "--proxy", proxy.url(scheme, "u:s3cret"), *urls)
    with f.refused_port() as port:
        missing = gdl("--json", "--retries", "0", "-k", "--proxy", f"{scheme}://u:s3cret@127.0.0.1:{port}", *urls)
    for done in (refused, missing):
        assert (done.returncode, [result["status"] for result in done.results]) == (1, ["failed"] * 2)
        assert set(kinds(done).values()) <= {"connection", "http"}
        assert "s3cret" not in done.stdout + done.stderr
    assert (server.requests, tls_faults.requests, files(tmp_path)) == ([], [], [])


def test_the_environment_names_proxies_and_exceptions(
    server: f.FaultServer, tls_faults: f.FaultServer, proxy: Proxy, ca: Authority, gdl: RunGdl
) -> None:
    tls_faults.otherwise(OK)

    def ways(env: dict[str, str], *options: str) -> list[str]:
        proxy.asked.clear()
        done = gdl(
            "--existing",
            "overwrite",
            "--cacert",
            ca.file,
            *options,
            server.url("/a.jpg"),
            tls_faults.url("/b.jpg"),
            env=env,
        )
        assert done.returncode == 0, done.stderr
        return sorted(asked.way for asked in proxy.asked)

    assert ways({"http_proxy": proxy.url()}) == ["http"]
    assert ways({"https_proxy": proxy.url()}) == ["connect"]
    assert ways({"HTTPS_PROXY": proxy.url()}) == ["connect"]
    assert ways({"HTTP_PROXY": proxy.url()}) == [], "a CGI's header of that name is no setting"
    assert ways({"all_proxy": proxy.url("socks5")}) == ["socks5", "socks5"]
    assert ways({"ALL_PROXY": proxy.url(), "no_proxy": "127.0.0.1"}) == []
    assert ways({"all_proxy": proxy.url(), "NO_PROXY": "*"}) == []
    assert ways({"all_proxy": proxy.url(), "no_proxy": "elsewhere.test"}) == ["connect", "http"]
    assert ways({"all_proxy": proxy.url()}, "--proxy", "") == []
    with f.refused_port() as port:
        env = {"all_proxy": f"http://127.0.0.1:{port}"}
        assert ways(env, "--proxy", proxy.url()) == ["connect", "http"]


@pytest.mark.parametrize("value", ["nonsense", "ftp://127.0.0.1:1", "http://", "http://127.0.0.1:99999", "://x"])
def test_a_proxy_that_cannot_be_one_is_said_without_a_trace(server: f.FaultServer, gdl: RunGdl, value: str) -> None:
    done = gdl("--retries", "0", "--timeout", "5", "--proxy", value, server.url("/a.jpg"))
    assert done.returncode in (1, 2)
    assert "proxy" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    assert server.requests == []


def test_the_way_to_a_proxy_may_be_over_tls_and_is_checked_as_any_other(
    tls_faults: f.FaultServer, ca: Authority, tmp_path: Path
) -> None:
    tls_faults.otherwise(OK)  # it takes what a proxy is asked: an absolute URL
    common = ("--json", "--retries", "0", "--proxy", tls_faults.url("", "localhost"))
    trusted, unchecked, untrusted = each(
        tmp_path,
        (*common, "--cacert", str(ca.file), "http://pictures.test/trusted.jpg"),
        (*common, "-k", "http://pictures.test/unchecked.jpg"),
        (*common, "http://pictures.test/untrusted.jpg"),
    )
    assert (trusted.returncode, unchecked.returncode, untrusted.returncode) == (0, 0, 1)
    assert sorted(request.target for request in tls_faults.requests) == [
        "http://pictures.test/trusted.jpg",
        "http://pictures.test/unchecked.jpg",
    ]
    assert kinds(untrusted) == {"untrusted.jpg": "tls"}
    assert files(tmp_path) == ["trusted.jpg", "unchecked.jpg"]


def test_redirects_and_retries_go_through_the_proxy_too(server: f.FaultServer, proxy: Proxy, gdl: RunGdl) -> None:
    url = server.route("/a.jpg", f.status(503), f.redirect("/b.jpg"))
    assert gdl("--proxy", proxy.url(), url).returncode == 0
    assert [asked.way for asked in proxy.asked] == ["http"] * 3
    assert [request.path for request in server.requests] == ["/a.jpg", "/a.jpg", "/b.jpg"]


# Versions


@pytest.mark.parametrize(("version", "expected"), [("1.0", "HTTP/1.0"), ("1.1", "HTTP/1.1"), ("2", "HTTP/1.1")])
def test_plain_http_is_asked_in_the_version_wanted(
    server: f.FaultServer, gdl: RunGdl, tmp_path: Path, version: str, expected: str
) -> None:
    server.route("/b.jpg", f.until_close(BODY))
    done = gdl("--http-version", version, server.url("/a.jpg"), server.url("/b.jpg"))
    assert {request.version for request in server.requests} == {expected}
    assert (done.returncode, files(tmp_path)) == (0, ["a.jpg", "b.jpg"])


def test_connections_are_used_again(server: f.FaultServer, gdl: RunGdl) -> None:
    assert gdl("-j", "2", stdin="\n".join(server.url(f"/{number}.jpg") for number in range(50))).returncode == 0
    assert (len(server.requests), server.connections <= 4, server.peak <= 2) == (50, True, True)


# Sizes and types


def test_sizes_outside_the_bounds_are_refused_as_early_as_can_be(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    small, fitting, large = (samples.picture(number, size) for number, size in ((1, 4_999), (2, 5_000), (3, 10_001)))
    exact = samples.picture(4, 10_000)
    huge = samples.picture(5, 300_000)
    answers = {
        "small.jpg": f.ok(small),
        "small-chunked.jpg": f.chunked(small),
        "fitting.jpg": f.ok(fitting),
        "exact-chunked.jpg": f.chunked(exact),
        "exact-gzip.jpg": f.gzipped(exact),
        "large.jpg": f.ok(large),
        "large-chunked.jpg": f.chunked(large),
        "large-gzip.jpg": f.gzipped(huge),
        # The rest of its body never comes: the length is enough to tell.
        "announced.jpg": f.stalled(huge, 100),
        "open.jpg": f.script(f.head(200, connection="close", content_type="image/jpeg") + huge, f.hold),
    }
    urls = [faults.route(f"/{name}", response) for name, response in answers.items()]
    done = gdl("--json", "--min-size", "5k", "--max-size", "10k", "--timeout", "20", "-o", "out", *urls)
    fitting_names = {"fitting.jpg", "exact-chunked.jpg", "exact-gzip.jpg"}
    assert kinds(done) == {name: None if name in fitting_names else "size" for name in answers}
    says = {result["url"].rpartition("/")[2]: result["reason"] for result in done.results}
    assert all(
        ("--min-size" if name.startswith("small") else "--max-size") in says[name] for name in says if says[name]
    )
    assert {result["attempts"] for result in done.results} == {1}
    assert max(result["elapsed"] for result in done.results) < 10
    assert (done.returncode, files(tmp_path)) == (1, sorted(f"out/{name}" for name in fitting_names))


ACCEPTED = {
    None: {"a.jpg", "b.png", "c.mp4", "d.mp3", "e"},
    "image/*": {"a.jpg", "b.png", "e"},
    "image/png, VIDEO/MP4": {"b.png", "c.mp4"},
    "audio/*": {"d.mp3"},
    "application/json": {"f.json"},
    "text/*,image/jpeg": {"a.jpg", "f.json", "g.html", "h.txt"},
    "*/*": {"a.jpg", "b.png", "c.mp4", "d.mp3", "e", "f.json", "g.html", "h.txt", "i.zip", "j.jpg"},
}


def test_accept_says_what_is_taken(faults: f.FaultServer, tmp_path: Path) -> None:
    answers = {
        "a.jpg": f.ok(samples.jpeg(), "image/jpeg"),
        "b.png": f.ok(samples.png(), "image/png"),
        "c.mp4": f.ok(samples.mp4(), "video/mp4"),
        "d.mp3": f.ok(samples.mp3(), "audio/mpeg"),
        "e": f.ok(samples.gif(), "text/plain"),
        "f.json": f.ok(b'{"a": 1}', "application/json"),
        "g.html": f.web_page(),
        "h.txt": f.ok(b"hello\n", "text/plain"),
        "i.zip": f.ok(b"PK\x03\x04" + bytes(100), "application/zip"),
        "j.jpg": f.empty(),
    }
    urls = [faults.route(f"/{name}", response) for name, response in answers.items()]
    options = [
        ("-o", f"out{number}", *(("--accept", accept) if accept else ())) for number, accept in enumerate(ACCEPTED)
    ]
    for number, done in enumerate(each(tmp_path, *(("--json", *one, *urls) for one in options))):
        taken = list(ACCEPTED.values())[number]
        assert kinds(done) == {name: None if name in taken else "not-media" for name in answers}, options[number]
        assert len(files(tmp_path / f"out{number}")) == len(taken)
        assert done.returncode == (0 if len(taken) == len(answers) else 1)


WRONG_OPTIONS = [
    ("--accept", "pictures"),
    ("--accept", ""),
    ("--max-size", "many"),
    ("--min-size", "-1"),
    ("--min-size", "2M", "--max-size", "1M"),
    ("--timeout", "0"),
    ("--timeout", "-3"),
    ("--max-time", "0"),
    ("--retries", "-1"),
    ("-j", "0"),
    ("--per-host", "0"),
    ("--http-version", "4"),
    ("--existing", "perhaps"),
    ("-q", "-v"),
    ("--no-such-option",),
]


def test_options_that_make_no_sense_are_a_usage_error(server: f.FaultServer, tmp_path: Path) -> None:
    runs = each(tmp_path, *((*options, server.url("/a.jpg")) for options in WRONG_OPTIONS))
    for options, done in zip(WRONG_OPTIONS, runs, strict=True):
        assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False), options
        assert options[0].strip("-") in done.stderr, options
    assert (server.requests, files(tmp_path)) == ([], [])


def test_per_host_bounds_the_requests_at_once(server: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl) -> None:
    slow = f.script(f.pause(0.05), OK)
    server.otherwise(slow)
    more_faults.otherwise(slow)
    urls = [each.url(f"/{number}-{each.port}.jpg") for number in range(12) for each in (server, more_faults)]
    assert gdl("-j", "8", "--per-host", "3", stdin="\n".join(urls)).returncode == 0
    assert (len(server.requests), len(more_faults.requests)) == (12, 12)
    assert max(server.peak, more_faults.peak) <= 3
