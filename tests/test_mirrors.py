"""Other addresses of the same file: when they are asked, what they are told, and whose bytes may go together."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from support import faults as f
from support import samples
from support.parts import MIB, Film, cut_film, files, in_turn, leave_parts, version

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import RunGdl

SMALL = samples.picture(1, 20_000)
OK = f.ok(SMALL)
LARGE = version(0, 3 * MIB)
OTHER = version(1, 3 * MIB)


@pytest.fixture
def mirror(more_faults: f.FaultServer) -> f.FaultServer:
    """Where the mirrors are."""
    return more_faults


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def line(*urls: str, **more: object) -> str:
    """A line of a JSON list."""
    return json.dumps({"url": list(urls), **more}) + "\n"


def outcome(result: dict[str, Any]) -> tuple[str, str | None]:
    return result["status"], (result["error"] or {}).get("kind")


# When a mirror is asked


def test_whatever_is_wrong_with_the_first_address_the_mirror_is_asked(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    wrong = {
        "404": f.status(404),
        "403": f.status(403),
        "500": f.status(500),
        "503": f.status(503, retry_after=1),
        "page": f.web_page(),
        "empty": f.empty(),
        "truncated": f.truncated(SMALL, 9000),
        "overlong": f.overlong(SMALL, 9000),
        "unasked-206": f.partial(SMALL[5:], f"bytes 5-{len(SMALL) - 1}/{len(SMALL)}"),
        "other-bytes": f.ok(samples.picture(2, 20_000)),
        "closed": f.close,
        "garbage": f.garbage(),
        "loop": f.redirect("/loop.jpg"),
        "to-https": f.redirect("https://127.0.0.1:1/a.jpg"),
        "vast": f.script(
            f.head(200, content_length=10**16, content_type="image/jpeg") + samples.picture(3, MIB), f.hold
        ),
    }
    with f.refused_port() as refused:
        first = {name: faults.route(f"/{name}.jpg", response) for name, response in wrong.items()}
        first["refused"] = f"http://127.0.0.1:{refused}/refused.jpg"
        first["no-such-host"] = "http://no-such-host.invalid/no-such-host.jpg"
        second = {name: mirror.route(f"/{name}.jpg", OK) for name in first}
        text = [f"{first[name]}\t{second[name]}" for name in first if name not in ("other-bytes", "page")]
        (tmp_path / "urls.txt").write_text("\n".join(text) + "\n")
        lines = [
            line(first[name], second[name], checksum=f"sha256:{sha256(SMALL)}") for name in ("other-bytes", "page")
        ]
        (tmp_path / "urls.jsonl").write_text("".join(lines))
        done = gdl("--json", "--retries", "0", "-o", "out", "urls.txt", "urls.jsonl")
    assert len(done.results) == len(first)
    assert {result["url"]: outcome(result) for result in done.results} == dict.fromkeys(first.values(), ("saved", None))
    assert {result["url"]: result["final_url"] for result in done.results} == {
        first[name]: second[name] for name in first
    }
    assert files(tmp_path / "out") == sorted(f"{name}.jpg" for name in first)
    assert {(tmp_path / f"out/{name}.jpg").read_bytes() == SMALL for name in first} == {True}
    assert {len(mirror.requests_for(f"/{name}.jpg")) for name in first} == {1}
    assert done.returncode == 0


def test_a_good_first_address_is_the_only_one_that_is_asked(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    mirror.otherwise(OK)
    urls = [faults.route(f"/{number}.jpg", OK) for number in range(5)]
    (tmp_path / "urls.txt").write_text("".join(f"{url}\t{mirror.url('/m.jpg')}\n" for url in urls))
    done = gdl("--json", "-o", "out", "urls.txt")
    assert {outcome(result) for result in done.results} == {("saved", None)}
    assert {result["final_url"] for result in done.results} == set(urls)
    assert mirror.requests == []


def test_mirrors_are_asked_in_the_order_of_the_list(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    urls = [
        faults.route("/a.jpg", f.status(404)),
        mirror.route("/b.jpg", f.web_page()),
        faults.route("/c.jpg", f.status(503)),
        mirror.route("/d.jpg", OK),
        mirror.route("/e.jpg", OK),
    ]
    (tmp_path / "urls.txt").write_text("\t".join(urls) + "\n")
    [result] = gdl("--json", "--retries", "0", "-o", "out", "urls.txt").results
    assert (*outcome(result), result["url"], result["final_url"]) == ("saved", None, urls[0], urls[3])
    asked = sorted([*faults.requests, *mirror.requests], key=lambda request: request.time)
    assert [request.path for request in asked] == ["/a.jpg", "/b.jpg", "/c.jpg", "/d.jpg"]
    assert result["attempts"] == 4
    assert files(tmp_path / "out") == ["a.jpg"], "the name is the list's, whoever gave the bytes"


def test_when_all_fail_there_is_one_failure_that_says_so(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    faults.otherwise(f.status(404))
    mirror.route("/page.jpg", f.web_page())
    (tmp_path / "urls.txt").write_text(
        f"{faults.url('/a.jpg')}\t{mirror.url('/page.jpg')}\t{mirror.url('/gone.jpg')}\n{faults.url('/alone.jpg')}\n"
    )
    done = gdl("--json", "--retries", "3", "-o", "out", "--failed", "failed.txt", "urls.txt")
    results = done.by_url
    assert len(done.results) == 2
    assert [result["status"] for result in done.results] == ["failed", "failed"]
    assert re.search("mirror|addresses", results[faults.url("/a.jpg")]["reason"])
    assert not re.search("mirror|addresses", results[faults.url("/alone.jpg")]["reason"])
    assert (done.returncode, files(tmp_path)) == (1, ["failed.txt", "urls.txt"])
    assert sorted((tmp_path / "failed.txt").read_text().splitlines()) == sorted(
        (tmp_path / "urls.txt").read_text().splitlines()
    )
    assert (len(faults.requests), len(mirror.requests)) == (2, 2)


def test_another_round_is_made_of_what_may_pass_and_uses_up_a_retry(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    faults.route("/well-again.jpg", f.status(503), OK)
    mirror.route("/well-again.jpg", f.status(404))
    faults.route("/never.jpg", f.status(404))
    mirror.route("/never.jpg", f.status(503))
    names = ("well-again.jpg", "never.jpg")
    (tmp_path / "urls.txt").write_text("".join(f"{faults.url('/' + n)}\t{mirror.url('/' + n)}\n" for n in names))
    done = gdl("--json", "--retries", "1", "-o", "out", "urls.txt")
    assert [outcome(done.by_url[faults.url("/" + name)]) for name in names] == [("saved", None), ("failed", "http")]
    assert (tmp_path / "out/well-again.jpg").read_bytes() == SMALL
    counts = [len(server.requests_for(f"/{name}")) for name in names for server in (faults, mirror)]
    assert counts[0] == 2
    assert counts[3] >= 2, "more often for nothing, where the server goes on with others"
    assert max(counts[:3]) == 2


def test_wrong_bytes_everywhere_fail_for_their_checksum(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    urls = [faults.route("/a.mp4", Film(OTHER)), mirror.route("/a.mp4", Film(version(2, 3 * MIB)))]
    (tmp_path / "a.jsonl").write_text(line(*urls, checksum=f"sha256:{sha256(LARGE)}"))
    done = gdl("--json", "-o", "out", "a.jsonl")
    assert [outcome(result) for result in done.results] == [("failed", "checksum")]
    assert files(tmp_path) == ["a.jsonl"]
    assert {request.header("range") for request in [*faults.requests, *mirror.requests]} == {None}
    assert 2 <= len(faults.requests) + len(mirror.requests) <= 3


# What a mirror is told


def test_a_mirror_whose_right_bytes_broke_off_goes_on_after_the_wrong_ones_of_another(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    broken, rest = Film(LARGE, cut=2 * MIB, etag='"m"'), Film(LARGE, etag='"m"')
    urls = faults.route("/a.mp4", Film(OTHER)), mirror.route("/a.mp4", in_turn(broken, rest))
    text = line(*urls, checksum=f"sha256:{sha256(LARGE)}")
    [result] = gdl("--json", "--retries", "0", "-o", "out", "-", stdin=text).results
    assert (outcome(result), result["final_url"]) == (("saved", None), urls[1])
    assert (tmp_path / "out/a.mp4").read_bytes() == LARGE
    assert (len(faults.requests), broken.ranges, rest.ranges) == (1, [None], [f"bytes={2 * MIB}-{3 * MIB - 1}"])


def test_headers_and_credentials_of_one_host_are_not_for_its_mirror(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    faults.otherwise(f.status(404))
    mirror.otherwise(OK)
    (tmp_path / "cookies.txt").write_text(
        "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tsecret\n"
    )
    own = faults.url("/a.jpg").replace("://", "://user:secret@")
    (tmp_path / "a.jsonl").write_text(
        line(own, mirror.url("/a.jpg", "localhost"), headers={"Authorization": "Bearer secret", "X-Key": "secret"})
        + line(faults.url("/b.jpg").replace("://", "://user:secret@"), mirror.url("/b.jpg", "localhost"))
        + line(faults.url("/c.jpg"), mirror.url("/c.jpg", "localhost").replace("://", "://mirror:its-own@"))
    )
    options = ("-H", "X-Token: secret", "-H", "Accept-Language: de", "--cookies", "cookies.txt")
    done = gdl("--json", "--retries", "0", "-o", "out", *options, "a.jsonl")
    assert {outcome(result) for result in done.results} == {("saved", None)}
    assert len(faults.requests) == 3
    assert faults.requests_for("/b.jpg")[0].header("authorization") == "Basic dXNlcjpzZWNyZXQ="
    first = {name.lower(): value for name, value in faults.requests_for("/a.jpg")[0].headers}
    assert (first["x-token"], first["x-key"], first["cookie"]) == ("secret", "secret", "session=secret")
    told = [f"{name}: {value}" for request in mirror.requests for name, value in request.headers]
    assert [header for header in told if "secret" in header] == []
    assert [request.path for request in mirror.requests if request.header("authorization")] == ["/c.jpg"]
    assert "its-own" not in done.stdout + done.stderr
    assert "user:secret" not in done.stdout + done.stderr


# Whose bytes may go together


def test_with_a_digest_and_the_same_length_a_mirror_continues_what_another_began(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    second = {
        "promised": Film(LARGE, etag='"of the mirror"'),
        "unmarked": Film(LARGE, etag=None),
        "unpromised": Film(LARGE, etag='"of the mirror"'),
        "same-etag": Film(LARGE),
    }
    digest = f"sha256:{sha256(LARGE)}"
    lines = []
    for name, film in second.items():
        urls = faults.route(f"/{name}.mp4", cut_film(LARGE, 2 * MIB)), mirror.route(f"/{name}.mp4", film)
        lines.append(line(*urls, **({"checksum": digest} if name in ("promised", "unmarked") else {})))
    (tmp_path / "a.jsonl").write_text("".join(lines))
    done = gdl("--json", "--retries", "0", "-o", "out", "a.jsonl")
    assert {outcome(result) for result in done.results} == {("saved", None)}
    assert {name: (tmp_path / f"out/{name}.mp4").read_bytes() == LARGE for name in second} == dict.fromkeys(
        second, True
    )
    assert files(tmp_path / "out") == sorted(f"{name}.mp4" for name in second)
    assert {name: film.sent for name, film in second.items()} == {
        "promised": MIB,
        "unmarked": MIB,
        "unpromised": 3 * MIB,
        "same-etag": 3 * MIB,
    }


def test_a_mirror_with_another_length_or_other_bytes_gives_the_file_from_its_start(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    began = {"longer": version(1, 3 * MIB + 7), "shorter": version(1, 3 * MIB - 7), "other": OTHER}
    films = {name: Film(LARGE, etag=f'"{name}"') for name in began}
    lines = []
    for name, body in began.items():
        urls = faults.route(f"/{name}.mp4", cut_film(body, 2 * MIB)), mirror.route(f"/{name}.mp4", films[name])
        lines.append(line(*urls, checksum=f"sha256:{sha256(LARGE)}"))
    (tmp_path / "a.jsonl").write_text("".join(lines))
    done = gdl("--json", "--retries", "1", "-o", "out", "a.jsonl")
    assert {result["url"].rpartition("/")[2]: outcome(result) for result in done.results} == {
        f"{name}.mp4": ("saved", None) for name in began
    }
    assert {name: (tmp_path / f"out/{name}.mp4").read_bytes() == LARGE for name in began} == dict.fromkeys(began, True)
    assert files(tmp_path / "out") == sorted(f"{name}.mp4" for name in began)
    assert {name: film.answers[-1].status for name, film in films.items()} == dict.fromkeys(films, 200)
    # A range of a file with another length may have been looked at, but was not taken.
    assert {name: film.sent for name, film in films.items() if film.sent > 4 * MIB} == {}


def test_a_later_run_continues_from_a_mirror_under_the_same_conditions(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    films = {"promised": Film(LARGE, etag='"m"'), "unpromised": Film(LARGE, etag='"m"')}
    lines = {}
    for name in films:
        checksum = {"checksum": f"sha256:{sha256(LARGE)}"} if name == "promised" else {}
        urls = faults.route(f"/{name}.mp4", cut_film(LARGE, 2 * MIB)), mirror.url(f"/{name}.mp4")
        lines[name] = line(*urls, **checksum)
    (tmp_path / "a.jsonl").write_text("".join(lines.values()))
    leave_parts(tmp_path, "a.jsonl")
    assert files(tmp_path / "out") == [f"{name}.mp4.part{end}" for name in films for end in ("", ".json")]
    for name, film in films.items():
        mirror.route(f"/{name}.mp4", film)
    done = gdl("--json", "--retries", "0", "-o", "out", "a.jsonl")
    assert {outcome(result) for result in done.results} == {("saved", None)}
    assert {(tmp_path / f"out/{name}.mp4").read_bytes() == LARGE for name in films} == {True}
    assert files(tmp_path / "out") == [f"{name}.mp4" for name in films]
    assert {name: film.sent for name, film in films.items()} == {"promised": MIB, "unpromised": 3 * MIB}


def test_what_a_digest_of_a_later_run_made_a_mixture_is_continued_once_more(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    body = version(0, 4 * MIB)
    url = faults.route("/a.mp4", cut_film(body, 3 * MIB // 2))
    leave_parts(tmp_path, url)
    text = line(
        url, mirror.route("/a.mp4", cut_film(body, 3 * MIB // 2, etag='"m"')), checksum=f"sha256:{sha256(body)}"
    )
    leave_parts(tmp_path, listing=text)
    assert files(tmp_path / "out") == ["a.mp4.part", "a.mp4.part.json"]
    mirror.route("/a.mp4", film := Film(body, etag='"m"'))
    done = gdl("--json", "--retries", "0", "-o", "out", "-", stdin=text)
    assert [outcome(result) for result in done.results] == [("saved", None)]
    assert (tmp_path / "out/a.mp4").read_bytes() == body
    assert film.ranges == [f"bytes={3 * MIB}-{4 * MIB - 1}"]


def test_a_part_that_the_first_address_can_continue_is_not_thrown_away_for_a_mirror(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    """Without a digest a mirror would begin again; a try that got on goes on where it was."""
    faults.route("/a.mp4", Film(LARGE, cut=2 * MIB), first := Film(LARGE))
    mirror.route("/a.mp4", other := Film(LARGE, etag='"m"'))
    (tmp_path / "urls.txt").write_text(f"{faults.url('/a.mp4')}\t{mirror.url('/a.mp4')}\n")
    done = gdl("--json", "--retries", "0", "-o", "out", "urls.txt")
    assert [outcome(result) for result in done.results] == [("saved", None)]
    assert (tmp_path / "out/a.mp4").read_bytes() == LARGE
    assert (first.sent, other.sent) == (MIB, 0)


def test_the_failure_of_several_addresses_says_which_is_meant(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    urls = faults.route("/a.jpg", f.status(404)), mirror.route("/a.jpg", f.status(410))
    (tmp_path / "urls.txt").write_text("\t".join(urls) + "\n")
    done = gdl("-v", "--retries", "0", "-o", "out", "urls.txt")
    assert f"{urls[0]} in 0 s: HTTP 404 Not Found" in done.stderr
    assert f"{urls[0]}: {urls[1]}: HTTP 410 Gone (and another address failed, too)" in done.stderr
    assert f"{urls[0]}: {urls[0]}" not in done.stderr


def test_an_address_that_was_not_asked_has_not_failed(
    faults: f.FaultServer, mirror: f.FaultServer, gdl: RunGdl
) -> None:
    urls = faults.route("/a.mp4", Film(LARGE, stall=100_000)), mirror.url("/a.mp4")
    [result] = gdl("--json", "--max-time", "1", "--timeout", "30", "-o", "out", "-", stdin=line(*urls)).results
    assert outcome(result) == ("failed", "max-time")
    assert mirror.requests == []
    assert ("failed, too" in result["reason"], "http" in result["reason"]) == (False, False)
