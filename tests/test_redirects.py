"""Where redirects may lead, and what goes along: credentials, cookies and headers never leave their host."""

from __future__ import annotations

import base64
import re
import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support import samples
from support.cli import start_gdl
from support.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.certs import Authority
    from support.cli import RunGdl

BODY = samples.picture(1, 20_000)
OK = f.ok(BODY)
SECRETS = ("authorization", "cookie", "x-api-key", "proxy-authorization")
LOGIN = "Basic " + base64.b64encode(b"user:s3cret").decode()


@pytest.fixture
def other(more_faults: f.FaultServer) -> f.FaultServer:
    """Another port of the same machine, which is another host for credentials."""
    more_faults.otherwise(OK)
    return more_faults


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def secrets(request: f.Request) -> dict[str, str]:
    """The headers of a request that could be credentials."""
    return {name.lower(): value for name, value in request.headers if name.lower() in SECRETS}


# Where they lead


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_and_the_file_called_as_the_list_has_it(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, code: int
) -> None:
    url = faults.route("/cat.jpg", f.redirect("/storage/0f3a?x=1", code))
    faults.route("/storage/0f3a", OK)
    done = gdl("--json", url)
    [result] = done.results
    assert (result["status"], result["attempts"], result["http_status"]) == ("saved", 1, 200)
    assert (result["url"], result["final_url"]) == (url, faults.url("/storage/0f3a?x=1"))
    assert (done.returncode, files(tmp_path)) == (0, ["cat.jpg"])
    assert [request.method for request in faults.requests] == ["GET", "GET"]


def test_every_form_of_location_is_understood(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.route("/deep/b.jpg", OK)
    faults.route("/deep/%E5%9B%BE%201.jpg", OK)
    port = faults.port
    locations: dict[str, str | bytes] = {
        "/deep/absolute": f"http://127.0.0.1:{port}/deep/b.jpg",
        "/deep/no-scheme": f"//127.0.0.1:{port}/deep/b.jpg",
        "/deep/path": "/deep/b.jpg",
        "/deep/relative": "b.jpg",
        "/deep/dots": "../x/../deep/./b.jpg",
        "/deep/fragment": "b.jpg#top",
        "/deep/scheme-in-capitals": f"HTTP://127.0.0.1:{port}/deep/b.jpg",
        "/deep/utf-8": "图 1.jpg".encode(),
        "/deep/escaped": "%E5%9B%BE%201.jpg",
        "/deep/login": f"http://someone:else@127.0.0.1:{port}/deep/b.jpg",
    }
    for path, location in locations.items():
        faults.route(path, f.redirect(location))
    faults.route("/deep/query", f.redirect("?really"))
    faults.route("/deep/query?really", OK)
    faults.route("/deep/long-page", f.redirect("b.jpg", body=b"moved" * 100_000))
    faults.route("/deep/cut-short", f.script(f.head(302, location="b.jpg", content_length=500) + b"mo", f.close))
    faults.route("/deep/chain", f.redirect("path"))
    faults.route("/deep/ten", f.redirect("?1"))
    for number in range(1, 10):
        faults.route(f"/deep/ten?{number}", f.redirect(f"?{number + 1}" if number < 9 else "b.jpg"))
    paths = [*locations, *(f"/deep/{name}" for name in ("query", "long-page", "cut-short", "chain", "ten"))]
    done = gdl("--json", "-o", "out", *(faults.url(path) for path in paths))
    assert {(result["url"], result["status"]) for result in done.results} == {
        (faults.url(path), "saved") for path in paths
    }
    assert {path.read_bytes() for path in (tmp_path / "out").iterdir()} == {BODY}
    assert files(tmp_path) == sorted(f"out/{path.rpartition('/')[2]}.jpg" for path in paths)
    assert done.returncode == 0
    assert "else@" not in done.stdout + done.stderr


def test_redirects_that_lead_nowhere_fail_once(
    faults: f.FaultServer, other: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(BODY)
    refused = {
        "/loop.jpg": ("/loop.jpg", "more than 10 redirects"),
        "/ping.jpg": ("/pong.jpg", "more than 10 redirects"),
        "/file.jpg": (f"file://{secret}", "file"),
        "/ftp.jpg": (f"ftp://127.0.0.1:{other.port}/a.jpg", "ftp"),
        "/gopher.jpg": (f"gopher://127.0.0.1:{other.port}/a.jpg", "gopher"),
        "/data.jpg": ("data:image/gif;base64,R0lGODlhAQABAAAAACw=", "data"),
        "/javascript.jpg": ("javascript:alert(1)", "javascript"),
        "/no-host.jpg": ("http://", ""),
        "/bad-port.jpg": ("http://127.0.0.1:99999/a.jpg", ""),
        "/bad-host.jpg": ("http://exa mple\t/a.jpg", ""),
    }
    for path, (location, _) in refused.items():
        faults.route(path, f.redirect(location))
    faults.route("/pong.jpg", f.redirect("/ping.jpg"))
    faults.route("/without.jpg", f.status(302))
    faults.route("/empty.jpg", f.redirect(""))
    paths = [*refused, "/without.jpg", "/empty.jpg"]
    done = gdl("--json", "-o", "out", *(faults.url(path) for path in paths))
    by_path = {"/" + url.rpartition("/")[2]: result for url, result in done.by_url.items()}
    assert {path: (result["status"], result["attempts"]) for path, result in by_path.items()} == dict.fromkeys(
        paths, ("failed", 1)
    )
    kinds = {path: result["error"]["kind"] for path, result in by_path.items()}
    assert {kinds.pop("/without.jpg"), kinds.pop("/empty.jpg")} <= {"http", "redirect"}
    assert kinds == dict.fromkeys(refused, "redirect")
    for path, (_, word) in refused.items():
        assert word in by_path[path]["reason"], path
    assert len(faults.requests_for("/loop.jpg")) == 11
    assert other.requests == []
    assert (done.returncode, files(tmp_path)) == (1, ["secret.jpg"])


def test_an_answer_counts_though_its_body_never_comes(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.route("/moved.jpg", f.script(f.head(302, location="/b.jpg", content_length=500), f.hold))
    faults.route("/gone.jpg", f.script(f.head(404, content_length=500), f.hold))
    faults.route("/b.jpg", OK)
    urls = [faults.url("/moved.jpg"), faults.url("/gone.jpg")]
    done = gdl("--json", "--retries", "1", "--timeout", "1", *urls)
    assert [done.by_url[url]["status"] for url in urls] == ["saved", "failed"]
    assert done.by_url[urls[1]]["error"]["kind"] == "http"
    assert [request.path for request in faults.requests if request.path != "/b.jpg"].count("/gone.jpg") == 1
    assert files(tmp_path) == ["moved.jpg"]


def test_a_redirect_to_a_page_names_the_page(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url = faults.route("/cat.jpg", f.redirect("/login"))
    faults.route("/login", f.web_page("Sign in"))
    done = gdl("--json", url)
    [result] = done.results
    assert (result["status"], result["error"]["kind"], result["final_url"]) == (
        "failed",
        "not-media",
        faults.url("/login"),
    )
    assert 'titled "Sign in"' in result["reason"]
    assert (done.returncode, files(tmp_path)) == (1, [])


def test_from_https_to_http_only_with_insecure(
    tls_faults: f.FaultServer, other: f.FaultServer, ca: Authority, gdl: RunGdl, tmp_path: Path
) -> None:
    url = tls_faults.route("/a.jpg", f.redirect(other.url("/b.jpg")))
    refused = gdl("--json", "--cacert", ca.file, url)
    [result] = refused.results
    assert (result["status"], result["error"]["kind"], result["attempts"]) == ("failed", "redirect", 1)
    assert re.search("https to http.*--insecure", result["reason"])
    assert (refused.returncode, other.requests, files(tmp_path)) == (1, [], [])
    allowed = gdl("--json", "--insecure", url)
    assert (allowed.returncode, len(other.requests), files(tmp_path)) == (0, 1, ["a.jpg"])
    assert (tmp_path / "a.jpg").read_bytes() == BODY


def test_from_http_to_https_and_on(
    faults: f.FaultServer, tls_faults: f.FaultServer, ca: Authority, gdl: RunGdl, tmp_path: Path
) -> None:
    url = faults.route("/a.jpg", f.redirect(tls_faults.url("/b.jpg")))
    tls_faults.route("/b.jpg", f.redirect("/c.jpg"))
    tls_faults.route("/c.jpg", OK)
    done = gdl("--json", "--cacert", ca.file, url)
    assert (done.returncode, files(tmp_path)) == (0, ["a.jpg"])
    assert done.results[0]["final_url"] == tls_faults.url("/c.jpg")


# What goes along

ALL_SECRETS = ("-H", "Authorization: Bearer t0ken", "-H", "Cookie: session=s3cret", "-H", "X-Api-Key: k3y")


@pytest.mark.parametrize("where", ["other port", "other name", "other name, other port", "https"])
def test_credentials_and_cookies_stay_with_their_host(
    faults: f.FaultServer,
    other: f.FaultServer,
    tls_faults: f.FaultServer,
    ca: Authority,
    gdl: RunGdl,
    tmp_path: Path,
    where: str,
) -> None:
    tls_faults.otherwise(OK)
    faults.route("/theirs.jpg", OK)
    server, host = {
        "other port": (other, "127.0.0.1"),
        "other name": (faults, "localhost"),
        "other name, other port": (other, "localhost"),
        "https": (tls_faults, "127.0.0.1"),
    }[where]
    there = server.url("/theirs.jpg", host)
    faults.route("/header.jpg", f.redirect(there))
    faults.route("/login.jpg", f.redirect(there + "?login"))
    faults.route("/theirs.jpg?login", OK)
    faults.route("/in-the-list.jpg", f.redirect(there + "?list"))
    faults.route("/theirs.jpg?list", OK)
    with_login = faults.url("/login.jpg").replace("//", "//user:s3cret@")
    (tmp_path / "urls.txt").write_text(
        f"{with_login}\n{faults.url('/in-the-list.jpg')}\n header=Authorization: Bearer own\n header=X-Token: own\n"
    )
    done = gdl("--json", "--cacert", ca.file, "-o", "out", faults.url("/header.jpg"), "urls.txt", *ALL_SECRETS)
    assert {result["status"] for result in done.results} == {"saved"}
    assert done.returncode == 0
    [first] = faults.requests_for("/header.jpg")
    assert secrets(first) == {"authorization": "Bearer t0ken", "cookie": "session=s3cret", "x-api-key": "k3y"}
    [listed] = faults.requests_for("/in-the-list.jpg")
    assert (secrets(listed)["authorization"], listed.header("x-token")) == ("Bearer own", "own")
    arrived = [request for request in server.requests if request.path == "/theirs.jpg"]
    assert len(arrived) == 3
    assert [secrets(request) for request in arrived] == [{}, {}, {}]
    assert {request.header("x-token") for request in arrived} == {None}
    assert [word for word in ("s3cret", "t0ken", "k3y") if word in done.stdout + done.stderr] == []


def test_harmless_headers_go_along(faults: f.FaultServer, other: f.FaultServer, gdl: RunGdl) -> None:
    url = faults.route("/a.jpg", f.redirect(other.url("/b.jpg")))
    args = ("-A", "agent/1", "--referer", "http://page.test/", "-H", "Accept-Language: zh", "-H", "X-Key: k")
    assert gdl(url, *args).returncode == 0
    [there] = other.requests
    assert [there.header(name) for name in ("user-agent", "referer", "accept-language", "x-key")] == [
        "agent/1",
        "http://page.test/",
        "zh",
        None,
    ]


def test_credentials_stay_on_redirects_within_their_host(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.route("/a.jpg", f.redirect("/b.jpg"))
    faults.route("/b.jpg", f.redirect(faults.url("/c.jpg")))
    faults.route("/c.jpg", OK)
    faults.route("/k.jpg", f.redirect("/l.jpg"))
    faults.route("/l.jpg", OK)
    login = faults.url("/a.jpg").replace("//", "//user:s3cret@")
    done = gdl("--json", login, faults.url("/k.jpg"), "-H", "X-Api-Key: k3y", "-H", "Cookie: a=1")
    assert [result["status"] for result in done.results] == ["saved"] * 2
    for path in ("/a.jpg", "/b.jpg", "/c.jpg"):
        [request] = faults.requests_for(path)
        assert secrets(request) == {"authorization": LOGIN, "x-api-key": "k3y", "cookie": "a=1"}, path
    for path in ("/k.jpg", "/l.jpg"):
        [request] = faults.requests_for(path)
        assert secrets(request) == {"x-api-key": "k3y", "cookie": "a=1"}, path
    assert "s3cret" not in done.stdout + done.stderr
    assert all("user" not in (result["url"] + result["final_url"]) for result in done.results)
    assert (done.returncode, files(tmp_path)) == (0, ["a.jpg", "k.jpg"])


def test_credentials_do_not_come_back_with_a_detour(faults: f.FaultServer, other: f.FaultServer, gdl: RunGdl) -> None:
    """Away and back: what arrives at home again may be home's, what passed the other host is clean."""
    faults.route("/a.jpg", f.redirect(other.url("/b.jpg")))
    other.route("/b.jpg", f.redirect(other.url("/c.jpg")))
    assert gdl(faults.url("/a.jpg").replace("//", "//user:s3cret@"), *ALL_SECRETS).returncode == 0
    assert [request.path for request in other.requests] == ["/b.jpg", "/c.jpg"]
    assert [secrets(request) for request in other.requests] == [{}, {}]


def test_credentials_in_a_location_are_for_that_url_alone(
    faults: f.FaultServer, other: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    faults.route("/a.jpg", f.redirect(other.url("/b.jpg").replace("//", "//user:s3cret@")))
    done = gdl("--json", faults.url("/a.jpg"), faults.route("/plain.jpg", OK), other.url("/plain-there.jpg"))
    assert done.returncode == 0
    assert [secrets(request) for request in faults.requests] == [{}, {}]
    [there] = other.requests_for("/b.jpg")
    assert secrets(there) in ({"authorization": LOGIN}, {})
    [plain] = other.requests_for("/plain-there.jpg")
    assert secrets(plain) == {}
    assert "s3cret" not in done.stdout + done.stderr
    assert len(files(tmp_path)) == 3


def test_cookies_of_the_file_go_to_their_hosts_only(
    faults: f.FaultServer, other: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    # RFC 6265 knows no ports: a cookie of 127.0.0.1 is one of all its ports, and none of localhost.
    (tmp_path / "cookies.txt").write_text(
        "# Netscape HTTP Cookie File\n"
        "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tone\n"
        "#HttpOnly_127.0.0.1\tFALSE\t/private/\tFALSE\t0\thidden\ttwo\n"
        "127.0.0.1\tFALSE\t/\tTRUE\t0\tsecure\tthree\n"
        "127.0.0.1\tFALSE\t/\tFALSE\t1\texpired\tfour\n"
        ".localhost\tTRUE\t/\tFALSE\t0\ttheirs\tfive\n"
    )
    faults.route("/a.jpg", f.redirect(other.url("/b.jpg", "localhost")))
    faults.route("/home.jpg", f.redirect("/private/home.jpg"))
    faults.route("/private/home.jpg", OK)
    done = gdl("--json", "--cookies", "cookies.txt", faults.url("/a.jpg"), faults.url("/home.jpg"))
    assert done.returncode == 0
    seen = {request.path: request.header("cookie") for request in (*faults.requests, *other.requests)}
    assert seen == {
        "/a.jpg": "session=one",
        "/b.jpg": "theirs=five",
        "/home.jpg": "session=one",
        "/private/home.jpg": "hidden=two; session=one",
    }
    assert [word for word in ("one", "two", "five") if re.search(rf"={word}\b", done.stdout + done.stderr)] == []


def test_a_cookie_a_server_sets_goes_to_no_other_host_and_no_other_item(
    faults: f.FaultServer, other: f.FaultServer, gdl: RunGdl
) -> None:
    faults.route("/a.jpg", f.status(302, b"moved", location=other.url("/b.jpg"), set_cookie="tracker=1; Path=/"))
    faults.route("/later.jpg", OK)
    assert gdl("-j", "1", faults.url("/a.jpg"), faults.url("/later.jpg"), other.url("/c.jpg")).returncode == 0
    assert [secrets(request) for request in other.requests] == [{}, {}]
    assert secrets(faults.requests_for("/later.jpg")[0]) == {}


def test_no_option_of_one_item_leaks_into_another_on_the_same_connection(faults: f.FaultServer, gdl: RunGdl) -> None:
    faults.otherwise(OK)
    lines = []
    for number in range(0, 20, 2):
        login = faults.url(f"/{number}.jpg").replace("//", "//user:s3cret@")
        lines += [login, f" header=X-Api-Key: {number}", f" referer=http://page.test/{number}", " user-agent=own/1"]
        lines += [faults.url(f"/{number + 1}.jpg")]
    assert gdl("-j", "1", stdin="\n".join(lines)).returncode == 0
    assert len(faults.requests) == 20
    for request in faults.requests:
        number = int(request.path[1:-4])
        if number % 2:
            assert secrets(request) == {}
            assert request.header("referer") is None
            assert (request.header("user-agent") or "").startswith("gdl/")
        else:
            assert secrets(request) == {"authorization": LOGIN, "x-api-key": str(number)}
            assert request.header("referer") == f"http://page.test/{number}"
            assert request.header("user-agent") == "own/1"


# Whose slots they take, and whose fault it is


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
def test_a_dead_host_that_a_host_redirects_to_is_no_fault_of_the_latter(
    faults: f.FaultServer, gdl: RunGdl, hangs: bool
) -> None:
    faults.otherwise(f.script(f.pause(0.01), OK))
    with f.unanswering_port() if hangs else f.refused_port() as port:
        for number in range(0, 120, 4):
            faults.route(f"/{number}.jpg", f.redirect(f"http://127.0.0.1:{port}/{number}.jpg"))
        urls = "\n".join(faults.url(f"/{number}.jpg") for number in range(120))
        done = gdl("--json", "-v", "--timeout", "2", "--retries", "1", stdin=urls)
    results = {result["url"]: result for result in done.results}
    failed = [result for result in results.values() if result["status"] == "failed"]
    assert (len(results), len(failed)) == (120, 30)
    assert {result["error"]["kind"] for result in failed} <= {"unreachable", "connection", "timeout"}
    assert "asked to slow down" not in done.stderr
    assert re.search(rf"^127\.0\.0\.1:{port}: down \(", done.stderr, re.MULTILINE)


def test_a_ceiling_for_each_host_holds_for_those_that_are_redirected_to(
    faults: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl
) -> None:
    more_faults.otherwise(f.script(f.pause(0.05), OK))
    urls = []
    for number in range(30):
        # "localhost" is another host than the address, for gdl as for the rules of HTTP.
        url = faults.route(f"/{number}.jpg", f.redirect(more_faults.url(f"/{number}.jpg")))
        urls.append(url if number % 2 else url.replace("127.0.0.1", "localhost"))
    done = gdl("--per-host", "2", stdin="\n".join(urls))
    assert done.returncode == 0
    assert len(more_faults.requests) == 30
    assert more_faults.peak == 2


def redirecting_to_busy(faults: f.FaultServer, target: f.FaultServer) -> str:
    """The list of files that a server redirects to one that wants to be left alone for a minute."""
    target.otherwise(f.status(503, retry_after=60))
    faults.otherwise(lambda connection, request: f.redirect(target.url(request.path))(connection, request))
    return "\n".join(faults.url(f"/{number}.jpg") for number in range(20))


def test_the_time_of_a_url_is_up_also_while_another_host_wants_to_be_left_alone(
    faults: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl
) -> None:
    urls = redirecting_to_busy(faults, more_faults)
    begun = time.monotonic()
    done = gdl("--json", "--max-time", "2", stdin=urls)
    assert time.monotonic() - begun < 30
    assert len(done.results) == 20
    assert {result["error"]["kind"] for result in done.results} <= {"max-time", "http"}


def test_who_is_interrupted_on_the_way_to_another_host_ends_with_the_run(
    faults: f.FaultServer, more_faults: f.FaultServer, tmp_path: Path
) -> None:
    urls = redirecting_to_busy(faults, more_faults)
    with start_gdl("--json", stdin=urls, cwd=tmp_path) as running:
        wait_until(lambda: len(faults.requests) >= 20 and more_faults.requests, "the redirects")
        running.send_signal(signal.SIGINT)
        done = running.wait()
    assert done.returncode == 130
    assert len(done.results) == 20


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-host", "other-host"])
def test_the_delay_between_requests_holds_for_redirects(
    faults: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl, elsewhere: bool
) -> None:
    at: dict[f.FaultServer, list[float]] = {faults: [], more_faults: []}

    def timed(server: f.FaultServer, response: f.Response) -> f.Response:
        def respond(connection: f.Connection, request: f.Request) -> None:
            at[server].append(time.monotonic())
            response(connection, request)

        return respond

    target = more_faults if elsewhere else faults
    for number in range(3):
        faults.route(f"/{number}.jpg", timed(faults, f.redirect(target.url(f"/to/{number}.jpg"))))
        target.route(f"/to/{number}.jpg", timed(target, OK))
    assert gdl("--delay", "0.3", stdin="\n".join(faults.url(f"/{number}.jpg") for number in range(3))).returncode == 0
    for times in at.values():
        assert all(later - earlier > 0.2 for earlier, later in pairwise(times))
    assert sum(map(len, at.values())) == 6
