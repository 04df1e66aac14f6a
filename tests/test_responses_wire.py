"""Header fields as servers send them, and the files that come of them: repeated, folded, in UTF-8."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support import samples
from support.parts import MIB, files, version

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import RunGdl

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">' + b"<path d='M0 0h9v9z'/>" * 99 + b"</svg>"
JPEG = samples.picture(1, 20_000)
SIZE = 3 * MIB
CUT = 2 * MIB
OLD = version(0, SIZE)
NEW = version(1, SIZE)


def answer(body: bytes, *lines: str | bytes, status: str = "200 OK", length: int | None = None) -> f.Response:
    """A response with these header lines, as they are."""
    promised = f"Content-Length: {len(body) if length is None else length}"
    raw = [
        line if isinstance(line, bytes) else line.encode("latin-1") for line in (f"HTTP/1.1 {status}", *lines, promised)
    ]
    return f.script(b"\r\n".join(raw) + b"\r\n\r\n" + body, *([] if length is None else [f.close]))


@pytest.mark.parametrize("accept", ["image/*", "*/*"])
@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Encoding:", "Content-Encoding: gzip"],
        ["Content-Encoding: gzip", "Content-Encoding: "],
        ["Content-Encoding: identity", "content-encoding: gzip"],
        ["Content-Encoding: ,", "Content-Encoding: , GZip ,"],
        ["Content-Encoding:", " gzip"],
        ["Content-Encoding : gzip"],
        ["Content-Encoding: gzip;q=1.0"],
        ["Content-Encoding: gzip", "Content-Encoding: gzip"],
        ['Content-Encoding: "gzip"'],
        ["Content-Encoding: gzip gzip"],
        ["Content-Encoding: gzip\x0b"],
    ],
)
def test_what_is_encoded_is_undone_however_that_is_said(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, lines: list[str], accept: str
) -> None:
    url = faults.route("/a.svg", answer(gzip.compress(SVG), "Content-Type: image/svg+xml", *lines))
    done = gdl("-o", "out", "--accept", accept, url)
    assert (done.returncode, files(tmp_path)) == (0, ["out/a.svg"])
    assert (tmp_path / "out/a.svg").read_bytes() == SVG


def test_gzip_of_no_picture_is_none_whatever_the_fields_say(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    lines = "Content-Type: image/svg+xml", "Content-Encoding: utf-8"
    page = faults.route("/page.svg", answer(gzip.compress(samples.page()), *lines))
    picture = faults.route("/picture.svg", answer(gzip.compress(SVG), *lines))
    done = gdl("--json", "-o", "out", page, picture)
    assert {result["url"]: result["status"] for result in done.results} == {page: "failed", picture: "saved"}
    assert files(tmp_path) == ["out/picture.svg"]


def test_a_length_with_zeros_before_it_is_a_number(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    lines = "Content-Type: image/jpeg", f"Content-Length: {len(JPEG):050}"
    url = faults.route("/a.jpg", f.script("\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + JPEG))
    assert gdl("-o", "out", url).returncode == 0
    assert (tmp_path / "out/a.jpg").read_bytes() == JPEG


def test_gzip_that_is_said_twice_and_was_applied_twice_is_undone_twice(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    twice = gzip.compress(gzip.compress(JPEG))
    url = faults.route("/a.jpg", answer(twice, "Content-Encoding: gzip", "Content-Encoding: gzip"))
    assert gdl(url).returncode == 0
    assert (tmp_path / "a.jpg").read_bytes() == JPEG


def test_encodings_of_which_one_is_unknown_make_no_file(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url = faults.route("/a.svg", answer(gzip.compress(SVG), "Content-Encoding: gzip", "Content-Encoding: br"))
    done = gdl("--json", "--accept", "*/*", url)
    [result] = done.results
    assert (result["status"], result["attempts"], files(tmp_path)) == ("failed", 1, [])
    assert "encoded as 'gzip, br'" in result["reason"]


@pytest.mark.parametrize(
    ("lines", "if_range"),
    [
        (['ETag: "a"', 'etag: "a"'], '"a"'),
        (["ETag:", 'ETag: "a"'], '"a"'),
        (["ETag:", ' "a"'], '"a"'),
        (['ETag: "a"', 'ETag: "b"'], None),
        (['ETag: "a", "b"'], None),
        ([f"Last-Modified: {f.http_date(-7200)}", f"Last-Modified: {f.http_date(-7201)}"], None),
        ([f"Last-Modified: {f.http_date(-30)}", f"Date: {f.http_date(99)}", f"Date: {f.http_date(0)}"], None),
        (['ETag: "a"', "Accept-Ranges: none", "Accept-Ranges: none"], None),
    ],
)
def test_a_proof_that_contradicts_itself_is_none(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, lines: list[str], if_range: str | None
) -> None:
    first = answer(OLD[:CUT], "Content-Type: video/mp4", *lines, length=SIZE)
    url = faults.route("/film.mp4", first, f.ok(NEW, "video/mp4", etag='"c"'))
    done = gdl("-o", "out", url)
    assert (done.returncode, files(tmp_path)) == (0, ["out/film.mp4"])
    assert (tmp_path / "out/film.mp4").read_bytes() == NEW
    asked = [(request.header("range"), request.header("if-range")) for request in faults.requests]
    assert asked == [(None, None), (f"bytes={CUT}-{SIZE - 1}" if if_range else None, if_range)]


def test_a_range_of_which_two_things_are_said_continues_nothing(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    first = answer(OLD[:CUT], "Content-Type: video/mp4", 'ETag: "a"', length=SIZE)
    ranges = [f"Content-Range: bytes {start}-{start + SIZE - CUT - 1}/{SIZE}" for start in (CUT, 0)]
    rest = answer(OLD[: SIZE - CUT], 'ETag: "a"', *ranges, status="206 Partial Content")
    url = faults.route("/film.mp4", first, rest, f.ok(OLD, "video/mp4", etag='"a"'))
    assert gdl("-o", "out", url).returncode == 0
    assert (tmp_path / "out/film.mp4").read_bytes() == OLD
    assert [request.header("range") is None for request in faults.requests] == [True, False, True]


@pytest.mark.parametrize(
    "lines", [["Retry-After: 1", "Retry-After: 9000"], ["Retry-After: 9000, 1"], ["Retry-After:", " 9000"]]
)
def test_of_two_waits_the_longer_counts(faults: f.FaultServer, gdl: RunGdl, lines: list[str]) -> None:
    url = faults.route("/a.jpg", answer(b"", *lines, status="503 Service Unavailable"), f.ok(JPEG))
    [result] = gdl("--json", url).results
    assert (result["status"], len(faults.requests)) == ("failed", 1)
    assert "2h30m" in result["reason"]


def test_the_last_of_several_types_counts(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    body = b"\0\1\2" * 999
    for name, lines in {
        "/lines": ["Content-Type: text/html", "Content-Type: model/x", "Content-Type: */*", "Content-Type: nonsense"],
        "/joined": ["Content-Type: text/html; charset=utf-8, model/x"],
        "/folded": ["Content-Type:", "\tmodel/x;", " a=b"],
    }.items():
        faults.route(name, answer(body, *lines))
    done = gdl("--json", "--accept", "model/x", *(faults.url(name) for name in ("/lines", "/joined", "/folded")))
    assert [(result["status"], result["content_type"]) for result in done.results] == [("saved", "model/x")] * 3
    assert files(tmp_path) == ["folded", "joined", "lines"]


def test_a_file_keeps_the_letters_that_end_in_a0_or_85(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    proposed = {
        "/1": "attachment; filename=voilà",
        "/2": 'attachment; filename="Š"',
        "/3": "attachment; filename*=UTF-8''успех",
        "/4": "attachment; filename=à la carte.jpg ",
    }
    for path, value in proposed.items():
        faults.route(path, answer(JPEG, b"Content-Disposition: " + value.encode()))
    faults.route("/5", answer(JPEG, "Content-Disposition: inline", b"Content-Disposition: inline; filename=\xd1\x85"))
    done = gdl("-o", "out", *(faults.url(f"/{number}") for number in range(1, 6)))
    assert done.returncode == 0
    names = ["voilà.jpg", "Š.jpg", "успех.jpg", "à la carte.jpg", "х.jpg"]
    assert files(tmp_path) == sorted(f"out/{name}" for name in names)


def test_a_redirect_leads_to_letters_that_end_in_a0_or_85(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    ends = {
        "/1.jpg": "/voil\u00e0",
        "/2.jpg": "/x?q=\u0160",
        "/3.jpg": "/\u0443\u0441\u043f\u0435\u0445",
        "/4.jpg": "\u00a0",
    }
    targets = ["/voil%C3%A0", "/x?q=%C5%A0", "/%D1%83%D1%81%D0%BF%D0%B5%D1%85", "/%C2%A0"]
    for path, location in ends.items():
        faults.route(path, answer(b"", b"Location: \t" + location.encode() + b" ", status="302 Found"))
    for target in targets:
        faults.route(target, f.ok(JPEG))
    done = gdl("-j", "1", *map(faults.url, ends))
    assert (done.returncode, files(tmp_path)) == (0, [path[1:] for path in ends])
    assert [request.target for request in faults.requests if request.path not in ends] == targets


def test_a_redirect_to_two_places_leads_nowhere(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.otherwise(f.ok(JPEG))
    faults.route("/a.jpg", answer(b"", "Location: /b", "Location: /c", status="302 Found"))
    faults.route("/d.jpg", answer(b"", "Location:", "Location: /e", "Location: /e", status="302 Found"))
    done = gdl("--json", "--retries", "0", faults.url("/a.jpg"), faults.url("/d.jpg"))
    assert sorted(result["status"] for result in done.results) == ["failed", "saved"]
    assert files(tmp_path) == ["d.jpg"]
    assert {request.path for request in faults.requests} == {"/a.jpg", "/d.jpg", "/e"}
