"""Digests that lists promise and digests that are asked for: of small, large, continued and split files."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support import faults as f
from support import samples
from support.cli import start_gdl
from support.parts import MIB, Film, cut_film, files, leave_parts, ranged, version
from support.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import RunGdl

ALGORITHMS = ("md5", "sha1", "sha256", "sha512")
SMALL = samples.picture(1, 20_000)
LARGE = version(0, 3 * MIB)
OTHER = version(1, 3 * MIB)


def digest(algorithm: str, body: bytes) -> str:
    return hashlib.new(algorithm, body).hexdigest()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def failures(results: list[dict[str, Any]]) -> set[tuple[str, str | None]]:
    return {(result["status"], (result["error"] or {}).get("kind")) for result in results}


# What lists promise


def test_every_form_of_a_checksum_in_a_list_is_verified(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    """Each algorithm in each kind of list, once for the right bytes and once for others."""
    right: dict[str, str] = {}
    wrong: dict[str, str] = {}
    spelled = {"md5": "md5", "sha1": "sha-1", "sha256": "sha-256", "sha512": "sha-512"}
    text, lines = [], []
    for algorithm in ALGORITHMS:
        hexdigest = digest(algorithm, SMALL)
        for word, body, table in (("right", SMALL, right), ("wrong", samples.picture(2, 20_000), wrong)):
            stem = f"{algorithm}-{word}"
            fragment, indented, listed = (f"{kind}-{stem}.jpg" for kind in ("fragment", "aria2", "json"))
            urls = [faults.route(f"/{name}", f.ok(body)) for name in (fragment, indented, listed)]
            text += [f"{urls[0]}#{algorithm}={hexdigest}", urls[1], f"  checksum={spelled[algorithm]}={hexdigest}"]
            lines.append(json.dumps({"url": urls[2], "checksum": f"{algorithm}:{hexdigest.upper()}"}))
            table.update(dict.fromkeys((fragment, indented, listed), f"{algorithm}:{hexdigest}"))
    (tmp_path / "urls.txt").write_text("\n".join(text) + "\n")
    (tmp_path / "urls.jsonl").write_text("\n".join(lines) + "\n")
    done = gdl("--json", "-o", "out", "urls.txt", "urls.jsonl")
    results = {result["url"].rpartition("/")[2].partition("#")[0]: result for result in done.results}
    assert failures([results[name] for name in right]) == {("saved", None)}
    assert failures([results[name] for name in wrong]) == {("failed", "checksum")}
    assert done.returncode == 1
    assert files(tmp_path / "out") == sorted(right)
    assert {(tmp_path / "out" / name).read_bytes() == SMALL for name in right} == {True}
    assert {name: results[name]["checksum"] for name in right} == right
    assert {results[name]["sha256"] for name in right if "sha256" in name} == {sha256(SMALL)}
    assert {len(faults.requests_for(f"/{name}")) for name in right} == {1}
    assert {len(faults.requests_for(f"/{name}")) for name in wrong} == {2}


def test_wrong_bytes_are_asked_for_once_more_from_the_start_and_then_fail(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    films = {"large.mp4": Film(OTHER), "longer.mp4": Film(OTHER + b"more"), "small.mp4": Film(version(1, 20_000))}
    urls = [faults.route(f"/{name}", film) for name, film in films.items()]
    for retries in ("0", "5"):
        done = gdl("--json", "--retries", retries, "-o", "out", *(f"{url}#sha256={sha256(LARGE)}" for url in urls))
        assert failures(done.results) == {("failed", "checksum")}
        assert {result["attempts"] for result in done.results} == {2}
        assert (done.returncode, files(tmp_path)) == (1, [])
        assert {sha256(LARGE) in result["reason"] for result in done.results} == {True}
    assert {name: film.ranges for name, film in films.items()} == dict.fromkeys(films, [None] * 4)


def test_bytes_that_are_right_the_second_time_are_saved(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    large = faults.route("/large.mp4", Film(OTHER), right := Film(LARGE))
    small = faults.route("/small.jpg", f.ok(samples.picture(2, 20_000)), f.ok(SMALL))
    done = gdl("--json", "-o", "out", f"{large}#sha256={sha256(LARGE)}", f"{small}#md5={digest('md5', SMALL)}")
    assert failures(done.results) == {("saved", None)}
    assert ((tmp_path / "out/large.mp4").read_bytes(), (tmp_path / "out/small.jpg").read_bytes()) == (LARGE, SMALL)
    assert files(tmp_path / "out") == ["large.mp4", "small.jpg"]
    assert right.ranges == [None]


def test_a_part_with_wrong_bytes_is_found_out_in_the_end(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    """A server that gives two versions one ETag cannot spoil a file whose digest is known."""
    url = faults.route("/film.mp4", cut_film(OTHER, 2 * MIB))
    line = f"{url}#sha256={sha256(LARGE)}"
    leave_parts(tmp_path, line)
    faults.route("/film.mp4", film := Film(LARGE))
    done = gdl("--json", "--retries", "0", "-o", "out", line)
    assert failures(done.results) == {("saved", None)}
    assert (tmp_path / "out/film.mp4").read_bytes() == LARGE
    assert files(tmp_path) == ["out/film.mp4"]
    assert [(answer.status, answer.start) for answer in film.answers] == [(206, 2 * MIB), (200, 0)]


def test_with_a_digest_a_part_needs_no_validator(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url = faults.route("/film.mp4", cut_film(LARGE, 2 * MIB, etag=None))
    line = f"{url}#sha1={digest('sha1', LARGE)}"
    leave_parts(tmp_path, line)
    faults.route("/film.mp4", film := Film(LARGE, etag=None))
    done = gdl("--json", "--retries", "0", "-o", "out", line)
    assert failures(done.results) == {("saved", None)}
    assert (tmp_path / "out/film.mp4").read_bytes() == LARGE
    assert [(answer.status, answer.start, answer.if_range) for answer in film.answers] == [(206, 2 * MIB, None)]


def test_a_list_that_promises_something_else_now_begins_again(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    url = faults.route("/film.mp4", cut_film(LARGE, 2 * MIB))
    leave_parts(tmp_path, f"{url}#sha256={sha256(LARGE)}")
    faults.route("/film.mp4", film := Film(OTHER, etag='"v2"'))
    done = gdl("--json", "--retries", "0", "-o", "out", f"{url}#sha256={sha256(OTHER)}")
    assert failures(done.results) == {("saved", None)}
    assert (tmp_path / "out/film.mp4").read_bytes() == OTHER
    assert film.sent == len(OTHER)


# What is asked for


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_digest_is_told_of_every_file_however_it_came(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, algorithm: str
) -> None:
    split = version(3, 6 * MIB)
    bodies = {"small.jpg": SMALL, "large.mp4": OTHER, "resumed.mp4": LARGE, "split.mp4": split, "chunked.mp4": OTHER}
    leave_parts(tmp_path, faults.route("/resumed.mp4", cut_film(LARGE, 2 * MIB)))
    resumed, several = Film(LARGE), Film(split, pace=0.008)
    urls = [
        faults.route("/small.jpg", f.ok(SMALL)),
        faults.route("/large.mp4", Film(OTHER)),
        faults.route("/resumed.mp4", resumed),
        faults.route("/split.mp4", several),
        faults.route("/chunked.mp4", f.chunked(OTHER, "video/mp4")),
    ]
    done = gdl("--json", "--split", "3", "--checksum-algorithm", algorithm, "-o", "out", *urls)
    assert failures(done.results) == {("saved", None)}
    found = {result["url"].rpartition("/")[2]: result for result in done.results}
    assert {name: found[name]["checksum"] for name in bodies} == {
        name: f"{algorithm}:{digest(algorithm, body)}" for name, body in bodies.items()
    }
    if algorithm == "sha256":
        assert {name: found[name]["sha256"] for name in bodies} == {name: sha256(body) for name, body in bodies.items()}
    assert {name: (tmp_path / "out" / name).read_bytes() == body for name, body in bodies.items()} == (
        dict.fromkeys(bodies, True)
    )
    assert (resumed.sent, len(several.answers) > 1) == (MIB, True)


def test_while_a_large_file_is_hashed_small_ones_go_on(faults: f.FaultServer, tmp_path: Path) -> None:
    size = 64 * MIB
    body = version(0, size)
    url = faults.route("/large.mp4", cut_film(body, size - 2 * MIB))
    leave_parts(tmp_path, url)
    faults.route("/large.mp4", large := Film(body))
    sent = threading.Event()
    names = [f"small-{number}.jpg" for number in range(30)]
    urls = [faults.route(f"/{name}", f.when(sent, f.ok(SMALL))) for name in names]
    # To a host that has not answered yet there are only a few requests at once.
    urls = [each.replace("127.0.0.1", f"h{number % 5}.localhost") for number, each in enumerate(urls)]
    options = ("--json", "-j", "40", "--checksum-algorithm", "md5", "-o", "out")
    with start_gdl(*options, url, *urls, cwd=tmp_path) as running:
        faults.wait_for_requests(2 + 31)
        wait_until(lambda: large.answers and large.answers[-1].sent == large.answers[-1].promised, "the last byte")
        sent.set()
        done = running.wait()
    order = [result["url"].rpartition("/")[2] for result in done.results]
    assert failures(done.results) == {("saved", None)}
    assert done.by_url[url]["checksum"] == f"md5:{digest('md5', body)}"
    assert order.index("large.mp4") > 0, "no small file was done while the large one was hashed"
    assert large.sent == 2 * MIB


# What goes together with it


def test_a_range_that_is_refused_does_not_spoil_the_digest(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url = faults.route("/film.mp4", cut_film(LARGE, 2 * MIB))
    line = f"{url}#sha512={digest('sha512', LARGE)}"
    leave_parts(tmp_path, line)
    faults.route("/film.mp4", ranged(f.status(416), Film(LARGE)))
    done = gdl("--json", "--retries", "0", "-o", "out", line)
    assert failures(done.results) == {("saved", None)}
    assert (tmp_path / "out/film.mp4").read_bytes() == LARGE
    assert files(tmp_path) == ["out/film.mp4"]
