"""What is on disk and what the server says, put together: the file is one version, whole, and no byte is wasted.

Each scenario has its part from a real run that was cut short. Whether a later run continued it is told by the
requests and by the bytes that the server sent, not by what gdl says.
"""

from __future__ import annotations

import gzip
import itertools
import re
import signal
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support.answers import chunk
from support.cli import run_gdl, start_gdl
from support.parts import (
    KIB,
    MIB,
    OLD,
    Film,
    change_state,
    cut_film,
    files,
    in_turn,
    leave_parts,
    part_path,
    ranged,
    read_state,
    state_path,
    version,
    wanted_range,
    write_state,
)
from support.processes import wait_until

from downloader.resume import OVERLAP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.answers import Header
    from support.certs import Authority
    from support.cli import Completed, RunGdl, RunningGdl
    from support.nginx import StartNginx

SIZE = 3 * MIB
CUT = 2 * MIB
A = version(0, SIZE)
B = version(1, SIZE)
LONGER = version(2, SIZE + 1)
SHORTER = version(3, CUT - 1)
OLD_DATE = f.http_date(OLD)
NEXT = ("--json", "--retries", "2", "-o", "out")


def test_two_mebibytes_of_one_version_and_a_new_version_on_the_server_give_the_new_one(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    size = 4 * MIB
    old, new = version(0, size), Film(version(1, size), etag='"b"')
    url = faults.route("/film.mp4", cut_film(old, CUT, etag='"a"'))
    leave_parts(tmp_path, url)
    assert part_path(tmp_path / "out/film.mp4").read_bytes() == old[:CUT]
    faults.route("/film.mp4", new)
    done = gdl(*NEXT, url)
    assert (tmp_path / "out/film.mp4").read_bytes() == new.body
    assert files(tmp_path) == ["out/film.mp4"]
    assert (done.returncode, [result["status"] for result in done.results]) == (0, ["saved"])
    assert (new.answers[0].if_range, new.answers[0].status) == ('"a"', 200)


@pytest.mark.parametrize(
    ("etag", "said"), [('"a"', ["2.1 MB are there"]), ('"b"', ["2.1 MB are there", "the server sends all of it"])]
)
def test_what_is_continued_or_begun_again_is_told_to_who_wants_to_know(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, etag: str, said: list[str]
) -> None:
    url = faults.route("/film.mp4", cut_film(A, CUT, etag='"a"'))
    leave_parts(tmp_path, url)
    faults.route("/film.mp4", Film(A, etag=etag))
    done = gdl(*NEXT, "-v", url)
    assert [text for text in ("2.1 MB are there", "the server sends all of it") if text in done.stderr] == said
    assert (tmp_path / "out/film.mp4").read_bytes() == A


# What is on disk, against an honest server


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What a part is like, and what comes of it."""

    continued: bool
    if_range: str | None = None
    """Expected with the Range."""
    etag: str | None = '"v1"'
    last_modified: str | None = None
    tamper: Callable[[Path], None] = lambda _final: None
    """Done to the final path's part or state between the runs."""
    cut: int = CUT
    left: bool = True
    """Whether the first run leaves a part."""
    also: tuple[str, ...] = ()
    """Files that lie there afterwards besides the whole one."""


def remove_state(final: Path) -> None:
    state_path(final).unlink()


def break_state(final: Path) -> None:
    path = state_path(final)
    raw = path.read_bytes()
    broken = raw.replace(b'"total":', b'"total":1', 1)
    assert broken != raw
    path.write_bytes(broken)


def cut_state(final: Path) -> None:
    path = state_path(final)
    path.write_bytes(path.read_bytes().rstrip()[:-10])


def other_total(final: Path) -> None:
    change_state(final, total=SIZE + 5)


def other_url(final: Path) -> None:
    change_state(final, url=read_state(final)["url"] + "-other")


def other_boot_unsynced(final: Path) -> None:
    change_state(final, boot="0" * 8, synced=False)


def other_boot_synced(final: Path) -> None:
    change_state(final, boot="0" * 8, synced=True)


def make_complete(final: Path) -> None:
    with part_path(final).open("r+b") as part:
        part.write(A)
    change_state(final, done=[[0, SIZE]], tail=zlib.crc32(A[-4 * KIB :]))


def make_shorter_than_it_says(final: Path) -> None:
    with part_path(final).open("r+b") as part:
        part.truncate(CUT - MIB // 2)


ODD = '"a b!#\\\'(),%"'
ON_DISK = {
    "strong-etag": OnDisk(True, '"v1"'),
    "odd-etag": OnDisk(True, ODD, ODD),
    "both": OnDisk(True, '"v1"', last_modified=OLD_DATE),
    "old-date": OnDisk(True, OLD_DATE, None, OLD_DATE),
    "weak-etag-and-old-date": OnDisk(True, OLD_DATE, 'W/"v1"', OLD_DATE),
    "weak-etag": OnDisk(False, etag='W/"v1"', left=False),
    # Younger than Date less a minute, however long ago this module was imported.
    "young-date": OnDisk(False, etag=None, last_modified=f.http_date(3000), left=False),
    "future-date": OnDisk(False, etag=None, last_modified=f.http_date(86_400), left=False),
    "senseless-date": OnDisk(False, etag=None, last_modified="yesterday", left=False),
    "no-validator": OnDisk(False, etag=None, left=False),
    "empty-etag": OnDisk(False, etag='""', left=False),
    "bare-etag": OnDisk(False, etag="v1", left=False),
    "no-state": OnDisk(False, tamper=remove_state, also=("no-state.mp4.part.old",)),
    "bad-crc": OnDisk(False, tamper=break_state),
    "cut-state": OnDisk(False, tamper=cut_state),
    "other-total": OnDisk(False, tamper=other_total),
    "other-url": OnDisk(False, tamper=other_url),
    "other-boot-unsynced": OnDisk(False, tamper=other_boot_unsynced),
    "other-boot-synced": OnDisk(True, '"v1"', tamper=other_boot_synced),
    "complete": OnDisk(True, '"v1"', tamper=make_complete),
    "shorter-than-it-says": OnDisk(False, tamper=make_shorter_than_it_says),
    "under-one-mebibyte": OnDisk(False, cut=MIB - 64 * KIB, left=False),
}


def test_only_a_part_that_is_provably_of_the_same_file_is_continued(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    urls = [
        faults.route(f"/{name}.mp4", cut_film(A, case.cut, etag=case.etag, last_modified=case.last_modified))
        for name, case in ON_DISK.items()
    ]
    leave_parts(tmp_path, *urls)
    assert {name for name in ON_DISK if part_path(out / f"{name}.mp4").exists()} == {
        name for name, case in ON_DISK.items() if case.left
    }
    assert {name for name in ON_DISK if state_path(out / f"{name}.mp4").exists()} == {
        name for name, case in ON_DISK.items() if case.left
    }
    begun = dict.fromkeys(ON_DISK, 0)
    for name, case in ON_DISK.items():
        if case.left:
            case.tamper(out / f"{name}.mp4")
        if case.continued:
            begun[name] = read_state(out / f"{name}.mp4")["done"][0][1]
    begun["complete"] = SIZE - 1

    films = {name: Film(A, etag=case.etag, last_modified=case.last_modified) for name, case in ON_DISK.items()}
    for name, film in films.items():
        faults.route(f"/{name}.mp4", film)
    done = gdl(*NEXT, *urls)
    assert {result["url"]: result["status"] for result in done.results} == dict.fromkeys(urls, "saved")
    assert [name for name in ON_DISK if (out / f"{name}.mp4").read_bytes() != A] == []
    assert files(out) == sorted(
        itertools.chain((f"{name}.mp4" for name in ON_DISK), *(case.also for case in ON_DISK.values()))
    )
    assert {name: film.sent == SIZE - begun[name] for name, film in films.items() if ON_DISK[name].continued} == {
        name: True for name, case in ON_DISK.items() if case.continued
    }
    # The server itself refuses what it can, so that the whole file is sent once at most.
    assert {name for name, film in films.items() if film.sent > SIZE} <= {"other-total"}
    for name, case in ON_DISK.items():
        first = films[name].answers[0]
        if case.continued:
            assert re.fullmatch(rf"bytes={begun[name]}-({SIZE - 1})?", first.range or ""), (name, first.range)
            assert first.if_range == case.if_range, name
            assert first.request.header("accept-encoding") == "identity", name
        elif name != "other-total":
            assert films[name].ranges == [None], name
    assert (out / "no-state.mp4.part.old").read_bytes() == A[:CUT]


# A good part, against every answer


def ranged_206(
    first: int = 0,
    last: int = 0,
    total: int | str = SIZE,
    *,
    body: bytes = A,
    longer: int = 0,
    drop: tuple[str, ...] = (),
    **headers: Header,
) -> f.Response:
    """A 206 to a request for the rest, with what it says shifted by so much and its body ``longer``."""

    def respond(connection: f.Connection, request: f.Request) -> None:
        span = wanted_range(request, SIZE)
        assert span is not None
        piece = body[span[0] : span[1] + longer].ljust(span[1] - span[0] + longer, b"?")
        fields: dict[str, Header] = {
            "content_type": "video/mp4",
            "etag": '"v1"',
            "date": f.http_date(),
            "content_range": f"bytes {span[0] + first}-{span[1] - 1 + last}/{total}",
            "content_length": len(piece),
            **headers,
        }
        kept = {name: value for name, value in fields.items() if name not in drop}
        connection.send_last(f.head(206, **kept) + piece)

    return respond


def multipart(connection: f.Connection, request: f.Request) -> None:
    """The range as the only part of a multipart/byteranges body (RFC 9110 section 14.6)."""
    span = wanted_range(request, SIZE)
    assert span is not None
    opening = f"--x\r\nContent-Type: video/mp4\r\nContent-Range: bytes {span[0]}-{span[1] - 1}/{SIZE}\r\n\r\n"
    body = opening.encode() + A[span[0] : span[1]] + b"\r\n--x--\r\n"
    f.status(206, body, content_type="multipart/byteranges; boundary=x", etag='"v1"')(connection, request)


def encoded(connection: f.Connection, request: f.Request) -> None:
    """A range of the file, compressed."""
    span = wanted_range(request, SIZE)
    assert span is not None
    body = gzip.compress(A[span[0] : span[1]], 1, mtime=0)
    response = f.status(
        206,
        body,
        content_type="video/mp4",
        content_range=f"bytes {span[0]}-{span[1] - 1}/{SIZE}",
        content_encoding="gzip",
        etag='"v1"',
    )
    response(connection, request)


def only_the_rest(*, content_range: bool, **headers: Header) -> f.Response:
    """A 200 that brings the range that was asked for, and calls it all."""

    def respond(connection: f.Connection, request: f.Request) -> None:
        span = wanted_range(request, SIZE)
        assert span is not None
        told = {"content_range": f"bytes {span[0]}-{span[1] - 1}/{SIZE}"} if content_range else {}
        f.ok(A[slice(*span)], "video/mp4", **told, **headers)(connection, request)

    return respond


def the_rest_in_chunks(connection: f.Connection, request: f.Request) -> None:
    """As `only_the_rest`, and nothing tells its length before its end."""
    span = wanted_range(request, SIZE)
    assert span is not None
    f.chunked(A[slice(*span)], "video/mp4", etag='"v1"')(connection, request)


def shorter_range(connection: f.Connection, request: f.Request) -> None:
    """An honest 206 for less than what was asked for (RFC 9110 section 15.3.7)."""
    span = wanted_range(request, SIZE)
    assert span is not None
    end = min(span[1], span[0] + 300 * KIB)
    f.partial(A[span[0] : end], f"bytes {span[0]}-{end - 1}/{SIZE}", "video/mp4", etag='"v1"')(connection, request)


def surplus(more: bytes, size: int = SIZE) -> f.Response:
    """A 206 for ``size`` bytes at most, without a Content-Length, and ``more`` behind them."""

    def respond(connection: f.Connection, request: f.Request) -> None:
        span = wanted_range(request, SIZE)
        assert span is not None
        end = min(span[1], span[0] + size)
        header = f.head(
            206,
            content_type="video/mp4",
            content_range=f"bytes {span[0]}-{end - 1}/{SIZE}",
            etag='"v1"',
            transfer_encoding="chunked",
        )
        connection.send_last(header + chunk(A[span[0] : end]) + chunk(more) + b"0\r\n\r\n")

    return respond


@dataclass(slots=True)
class Answered:
    """What a server answers to the request for the rest."""

    response: f.Response
    """To the first request with a Range."""
    whole: Film
    """To the requests without, and to later ones with a Range."""
    begun_again: bool | None
    """Whether gdl asks for all of it; None where both are right."""


def refused_range(response: f.Response, whole: bytes = A) -> Answered:
    """The answer to a range begins the file again."""
    return Answered(response, Film(whole, etag='"v1"' if whole is A else '"v2"'), True)


def answers() -> dict[str, Answered]:
    """Every answer to the request for the rest, made anew for a test."""
    new = Film(B, etag='"v2"')
    elsewhere = Film(A)
    return {
        "fitting": Answered(elsewhere, elsewhere, False),
        "wrong-start": refused_range(ranged_206(first=-1)),
        "from-zero": refused_range(f.partial(A, f"bytes 0-{SIZE - 1}/{SIZE}", "video/mp4", etag='"v1"')),
        "later-start": refused_range(ranged_206(first=1)),
        "wrong-total": refused_range(ranged_206(total=SIZE + 1)),
        "smaller-total": refused_range(ranged_206(total=SIZE - 1)),
        "unknown-total": Answered(ranged_206(total="*"), Film(A), None),
        "end-beyond": refused_range(ranged_206(last=1, total=SIZE + 1, longer=1)),
        "end-beyond-total": refused_range(ranged_206(last=1, longer=1)),
        "end-before-start": refused_range(ranged_206(last=-2 * MIB)),
        "no-content-range": refused_range(ranged_206(drop=("content_range",))),
        "other-unit": refused_range(ranged_206(content_range=f"seconds {CUT}-{SIZE - 1}/{SIZE}")),
        "unsatisfied-range": refused_range(ranged_206(content_range=f"bytes */{SIZE}")),
        "multipart": refused_range(multipart),
        "other-etag": refused_range(ranged_206(body=B, etag='"v2"'), B),
        "weak-etag": refused_range(ranged_206(body=B, etag='W/"v1"'), B),
        "no-validator": refused_range(ranged_206(body=B, drop=("etag",)), B),
        "gzip": refused_range(encoded),
        "short-body": Answered(ranged_206(longer=-1000), Film(A), None),
        "long-body": Answered(ranged_206(longer=1000), Film(A), None),
        "shorter-end": Answered(shorter_range, Film(A), False),
        "surplus-within-the-file": Answered(surplus(b"?" * 200 * KIB, 300 * KIB), Film(A), True),
        "surplus-of-a-byte": Answered(surplus(b"?", 300 * KIB), Film(A), True),
        "surplus-behind-the-file": Answered(surplus(b"?" * 1000), Film(A), True),
        "200-same": Answered(Film(A, ranges=False), Film(A), None),
        "200-changed": Answered(new, new, None),
        "200-longer": Answered(Film(LONGER, etag='"v2"'), Film(LONGER, etag='"v2"'), None),
        "200-shorter": Answered(Film(SHORTER, etag='"v2"'), Film(SHORTER, etag='"v2"'), None),
        "200-longer-same-etag": Answered(Film(LONGER, ranges=False), Film(LONGER), None),
        "200-of-the-rest": refused_range(only_the_rest(content_range=True)),
        "200-of-the-rest-untold": refused_range(only_the_rest(content_range=False)),
        "200-of-the-rest-same-etag": refused_range(only_the_rest(content_range=False, etag='"v1"')),
        "200-of-the-rest-other-etag": refused_range(only_the_rest(content_range=False, etag='"v2"')),
        "200-of-the-rest-in-chunks": refused_range(the_rest_in_chunks),
        "200-of-something-same-etag": refused_range(f.ok(A[CUT - 7 : SIZE - 9], "video/mp4", etag='"v1"')),
        "redirect-to-a-200-of-the-rest": Answered(f.redirect("/elsewhere/rest.mp4"), Film(A), None),
        "416": refused_range(f.status(416)),
        "416-same-length": refused_range(f.status(416, content_range=f"bytes */{SIZE}")),
        "416-shorter": refused_range(f.status(416, content_range=f"bytes */{len(SHORTER)}"), SHORTER),
        "416-shorter-same-etag": Answered(
            f.status(416, content_range=f"bytes */{len(SHORTER)}", etag='"v1"'), Film(SHORTER), True
        ),
        "redirect-to-the-same": Answered(f.redirect("/elsewhere/same.mp4"), Film(A), False),
        "redirect-to-another-version": Answered(f.redirect("/elsewhere/new.mp4"), Film(A), None),
        "redirect-to-another-file": Answered(f.redirect("/elsewhere/other.mp4"), Film(A), None),
    }


def test_every_answer_to_the_request_for_the_rest_ends_in_one_whole_version(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    table = answers()
    urls = {name: faults.route(f"/{name}.mp4", cut_film(A, CUT)) for name in table}
    leave_parts(tmp_path, *urls.values())
    same, new = Film(A), Film(B, etag='"v2"')
    faults.route("/elsewhere/same.mp4", same)
    faults.route("/elsewhere/new.mp4", new)
    faults.route("/elsewhere/other.mp4", Film(B))
    faults.route("/elsewhere/rest.mp4", ranged(only_the_rest(content_range=False), Film(A)))
    for name, case in table.items():
        faults.route(f"/{name}.mp4", ranged(in_turn(case.response, case.whole), case.whole))
    before = len(faults.requests)
    done = gdl(*NEXT, *urls.values())

    results = {result["url"]: (result["status"], (result["error"] or {}).get("message")) for result in done.results}
    assert {name: results[url] for name, url in urls.items()} == dict.fromkeys(table, ("saved", None))
    out = tmp_path / "out"
    saved = {name: (out / f"{name}.mp4").read_bytes() for name in table}
    expected = {name: case.whole.body for name, case in table.items()} | {
        "redirect-to-another-version": B,
        "redirect-to-another-file": B,
    }
    assert [name for name in table if saved[name] != expected[name]] == []
    assert files(tmp_path) == sorted(f"out/{name}.mp4" for name in table)
    assert done.returncode == 0

    asked = {name: [each for each in faults.requests[before:] if each.path == f"/{name}.mp4"] for name in table}
    firsts = {name: found[0].header("range") for name, found in asked.items()}
    assert {
        name: wanted for name, wanted in firsts.items() if not re.fullmatch(rf"bytes={CUT}-\d*", wanted or "")
    } == {}
    assert {found[0].header("if-range") for found in asked.values()} == {'"v1"'}
    assert {found[0].header("accept-encoding") for found in asked.values()} == {"identity"}
    again = {name: any(each.header("range") is None for each in found) for name, found in asked.items()}
    assert {name: again[name] for name, case in table.items() if case.begun_again is not None} == {
        name: case.begun_again for name, case in table.items() if case.begun_again is not None
    }
    # What was continued cost the rest only, what was begun again the whole file once.
    assert (table["fitting"].whole.sent, same.sent) == (SIZE - CUT, SIZE - CUT + OVERLAP)
    assert table["shorter-end"].whole.sent == SIZE - CUT - 300 * KIB
    assert {name: case.whole.sent for name, case in table.items() if case.whole.sent > len(case.whole.body)} == {}


def test_a_part_survives_refusals_and_is_continued_when_the_server_is_well_again(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    refusals = {
        "403": f.status(403),
        "404": f.status(404),
        "410": f.status(410),
        "429": f.status(429),
        "500": f.status(500),
        "503": f.status(503),
        "closed": f.close,
        "reset": f.reset,
        "garbage": f.garbage(),
        "page": f.web_page(),
        "page-206": f.partial(b"<!DOCTYPE html><html></html>", f"bytes {CUT}-{CUT + 27}/{SIZE}", "text/html"),
        "loop": f.redirect("/loop.mp4"),
        "bad-redirect": f.redirect("ftp://127.0.0.1/film.mp4"),
        "refused-redirect": f.redirect("http://127.0.0.1:1/film.mp4"),
    }
    urls = [faults.route(f"/{name}.mp4", cut_film(A, CUT)) for name in refusals]
    leave_parts(tmp_path, *urls)
    for name, response in refusals.items():
        faults.route(f"/{name}.mp4", response)
    leave_parts(tmp_path, *urls)
    kept = set(refusals) - {"page", "page-206"}  # these say that the file is another one now, if it is one
    missing = [name for name in kept if not part_path(tmp_path / f"out/{name}.mp4").exists()]
    assert missing == []
    films = {name: Film(A) for name in refusals}
    for name, film in films.items():
        faults.route(f"/{name}.mp4", film)
    done = gdl(*NEXT, *urls)
    assert {result["url"]: result["status"] for result in done.results} == dict.fromkeys(urls, "saved")
    assert {(tmp_path / f"out/{name}.mp4").read_bytes() == A for name in refusals} == {True}
    assert files(tmp_path / "out") == sorted(f"{name}.mp4" for name in refusals)
    assert {name: films[name].sent for name in kept} == dict.fromkeys(kept, SIZE - CUT)
    assert {name: films[name].answers[0].if_range for name in kept} == dict.fromkeys(kept, '"v1"')


def test_across_redirects_validators_decide_and_bytes_that_are_there(
    faults: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    same, changed, unmarked = Film(A), Film(B, etag='"v2"'), Film(A, etag=None)
    almost = A[: CUT - 1] + b"?" + A[CUT:]
    targets = {"same": same, "changed": changed, "unmarked": unmarked, "other": Film(B), "almost": Film(almost)}
    urls = []
    for name, film in targets.items():
        urls.append(faults.route(f"/{name}.mp4", f.redirect(faults.url(f"/cdn/{name}?signed=1"))))
        faults.route(f"/cdn/{name}", cut_film(A, CUT))
        more_faults.route(f"/other-cdn/{name}", film)
    leave_parts(tmp_path, *urls)
    for name in targets:
        faults.route(f"/{name}.mp4", f.redirect(more_faults.url(f"/other-cdn/{name}?signed=2")))
    done = gdl(*NEXT, *urls)
    assert {result["status"] for result in done.results} == {"saved"}
    for name, film in targets.items():
        assert (tmp_path / f"out/{name}.mp4").read_bytes() == film.body, name
    assert files(tmp_path / "out") == sorted(f"{name}.mp4" for name in targets)
    assert [film.sent for film in (same, changed, unmarked)] == [SIZE - CUT + OVERLAP, SIZE, SIZE]
    assert same.answers[0].if_range == '"v1"'
    for name in ("other", "almost"):
        first, second = targets[name].ranges
        assert (first, second) == (f"bytes={CUT - OVERLAP}-{SIZE - 1}", None)


def test_a_header_that_both_have_does_not_prove_that_another_resource_has_the_same_file(
    faults: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    """What a split file has before its first gap may be little, and the same in many files."""
    url = faults.route("/film.mp4", cut_film(A, CUT))
    leave_parts(tmp_path, url)
    change_state(tmp_path / "out/film.mp4", done=[[0, 5000], [100_000, CUT]])
    other = Film(A[:5000] + B[5000:])
    faults.route("/film.mp4", f.redirect(more_faults.route("/other.mp4", other)))
    assert [result["status"] for result in gdl(*NEXT, url).results] == ["saved"]
    assert (tmp_path / "out/film.mp4").read_bytes() == other.body
    assert other.ranges == [None]


def test_another_query_is_the_same_resource(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url = faults.route("/film.mp4", f.redirect("/cdn/film?signed=1"))
    faults.route("/cdn/film", cut_film(A, CUT))
    leave_parts(tmp_path, url)
    film = Film(A)
    faults.route("/film.mp4", f.redirect("/cdn/film?signed=2"))
    faults.route("/cdn/film", film)
    assert [result["status"] for result in gdl(*NEXT, url).results] == ["saved"]
    assert film.sent == SIZE - CUT
    assert (tmp_path / "out/film.mp4").read_bytes() == A


def test_a_try_that_is_led_to_another_file_never_mixes_the_two(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    """Within one run: the URL leads to another day's file when it is asked again, with the same tag and length."""
    url = faults.route("/latest.mp4", f.redirect("/day1.mp4"), f.redirect("/day2.mp4"))
    faults.route("/day1.mp4", cut_film(A, CUT))
    second = faults.route("/day2.mp4", Film(B))
    [result] = gdl("--json", "--retries", "3", "-o", "out", url).results
    assert (result["status"], result["final_url"]) == ("saved", second)
    assert (tmp_path / "out/latest.mp4").read_bytes() == B


def test_replicas_behind_a_redirector_finish_a_file_together(
    faults: f.FaultServer, more_faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    """Each replica breaks off after a while, and each request is led to the next one."""
    step = MIB + 256 * KIB
    films = [Film(A, cut=step) for _ in range(4)]
    hosts = [(faults, more_faults)[number % 2] for number in range(len(films))]
    leads = [
        f.redirect(host.route(f"/replica{number}.mp4", film))
        for number, (host, film) in enumerate(zip(hosts, films, strict=True))
    ]
    url = faults.route("/film.mp4", *leads)
    [result] = gdl("--json", "--retries", "6", "-o", "out", url).results
    assert result["status"] == "saved"
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert [film.sent for film in films] == [step, step, SIZE - 2 * step + 2 * OVERLAP, 0]


def test_an_empty_answer_where_a_part_lies_is_an_empty_file(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url = faults.route("/film.mp4", cut_film(A, CUT))
    leave_parts(tmp_path, url)
    faults.route("/film.mp4", f.empty("video/mp4"))
    done = gdl(*NEXT, "--accept", "*/*", url)
    assert [(result["status"], result["bytes"]) for result in done.results] == [("saved", 0)], done.stderr
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == {"out/film.mp4": b""}


def test_a_server_that_gives_a_byte_at_a_time_is_not_asked_without_end(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    url = faults.route("/film.mp4", cut_film(A, CUT))
    leave_parts(tmp_path, url)
    film = Film(A)
    asked: list[f.Request] = []

    def respond(connection: f.Connection, request: f.Request) -> None:
        span = wanted_range(request, SIZE)
        asked.append(request)
        if span is None or len(asked) > 300:  # enough to tell
            film(connection, request)
            return
        answer = f.partial(A[span[0] : span[0] + 1], f"bytes {span[0]}-{span[0]}/{SIZE}", "video/mp4", etag='"v1"')
        answer(connection, request)

    faults.route("/film.mp4", respond)
    done = gdl(*NEXT, url)
    assert len(asked) < 50
    saved = [result["status"] for result in done.results] == ["saved"]
    assert not saved or (tmp_path / "out/film.mp4").read_bytes() == A


# Within a run


def test_retries_continue_and_those_that_get_on_do_not_count(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    body = version(0, 8 * MIB)
    getting_on, never = Film(body, cut=MIB + MIB // 2), Film(body, cut=200 * KIB)
    urls = [faults.route("/getting-on.mp4", getting_on), faults.route("/never.mp4", never)]
    done = gdl("--json", "--retries", "1", "-o", "out", *urls)
    results = done.by_url
    assert (results[urls[0]]["status"], results[urls[1]]["status"]) == ("saved", "failed")
    assert (results[urls[1]]["error"]["kind"], done.returncode) == ("body", 1)
    assert (tmp_path / "out/getting-on.mp4").read_bytes() == body
    assert files(tmp_path) == ["out/getting-on.mp4"]
    assert len(never.answers) == 2
    assert getting_on.sent == len(body)
    assert [answer.status for answer in getting_on.answers] == [200, 206, 206, 206, 206, 206]


def test_a_file_that_changes_between_two_tries_is_begun_again(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    films = {
        "strong.mp4": (Film(A, etag='"a"', cut=CUT), Film(B, etag='"b"')),
        "date.mp4": (
            Film(A, etag=None, last_modified=OLD_DATE, cut=CUT),
            Film(B, etag=None, last_modified=f.http_date(OLD + 100)),
        ),
        "none.mp4": (Film(A, etag=None, cut=CUT), Film(B, etag=None)),
    }
    names = list(films)
    urls = [faults.route(f"/{name}", *pair) for name, pair in films.items()]
    done = gdl(*NEXT, *urls)
    assert {result["status"] for result in done.results} == {"saved"}
    assert [(tmp_path / "out" / name).read_bytes() == B for name in names] == [True] * 3
    assert files(tmp_path / "out") == sorted(names)


# Interruptions

LARGE = version(0, 10 * MIB)
LARGE_STALL = 7 * MIB


def interrupted_at(running: RunningGdl, film: Film, final: Path, size: int) -> None:
    """Wait until the part has nearly as much as the server sends."""
    part = part_path(final)
    wait_until(lambda: film.sent >= size and part.exists() and part.stat().st_size >= size - 256 * KIB, "the part")
    assert running.process.poll() is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_after_any_interruption_the_same_command_continues(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, how: signal.Signals
) -> None:
    first, second = Film(LARGE, stall=LARGE_STALL), Film(LARGE)
    url = faults.route("/film.mp4", first, second)
    final = tmp_path / "out/film.mp4"
    with start_gdl(*NEXT, url, cwd=tmp_path) as running:
        interrupted_at(running, first, final, LARGE_STALL)
        running.send_signal(how)
        stopped = running.wait()
    assert stopped.returncode == (-how if how == signal.SIGKILL else 128 + how)
    assert not final.exists()
    [[start, end]] = read_state(final)["done"]
    # A kill loses what the state had not told yet, a stop nothing but what was on its way.
    assert start == 0
    assert end >= LARGE_STALL - (4 * MIB if how == signal.SIGKILL else 128 * KIB)
    assert part_path(final).read_bytes()[:end] == LARGE[:end]
    done = gdl(*NEXT, url)
    assert ([result["status"] for result in done.results], done.returncode) == (["saved"], 0)
    assert final.read_bytes() == LARGE
    assert files(tmp_path) == ["out/film.mp4"]
    assert [answer.start for answer in second.answers] == [end]
    assert first.sent + second.sent < 1.5 * len(LARGE)


def test_what_ran_out_of_time_is_continued(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    first, second = Film(LARGE, stall=LARGE_STALL), Film(LARGE)
    silent, heard = Film(LARGE, stall=LARGE_STALL), Film(LARGE)
    urls = [faults.route("/late.mp4", first, second), faults.route("/silent.mp4", silent, f.status(404), heard)]
    late = gdl("--json", "--max-time", "1.5", "-o", "out", urls[0])
    quiet = gdl("--json", "--timeout", "1", "--retries", "0", "-o", "out", urls[1])
    assert [each.results[0]["error"]["kind"] for each in (late, quiet)] == ["max-time", "http"]
    assert files(tmp_path) == [f"out/{name}.mp4.part{end}" for name in ("late", "silent") for end in ("", ".json")]
    done = gdl(*NEXT, *urls)
    assert {result["status"] for result in done.results} == {"saved"}
    assert [(tmp_path / f"out/{name}.mp4").read_bytes() == LARGE for name in ("late", "silent")] == [True, True]
    assert [second.sent, heard.sent] == [len(LARGE) - LARGE_STALL] * 2
    assert files(tmp_path) == ["out/late.mp4", "out/silent.mp4"]


def test_a_part_that_is_killed_time_and_again_gets_done(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    film = Film(LARGE, stall=5 * MIB)
    url = faults.route("/film.mp4", film)
    final = tmp_path / "out/film.mp4"
    for number in (1, 2):
        with start_gdl(*NEXT, url, cwd=tmp_path) as running:
            wait_until(lambda number=number: len(film.answers) == number, "the request")  # type: ignore[misc]
            answer = film.answers[-1]
            most = min(5 * MIB, answer.promised)
            wait_until(lambda answer=answer, most=most: answer.sent == most, "the bytes")  # type: ignore[misc]
            size = answer.start + most - 256 * KIB
            wait_until(lambda size=size: part_path(final).stat().st_size >= size, "the part")  # type: ignore[misc]
            running.send_signal(signal.SIGKILL)
            running.wait()
        assert read_state(final)["done"][0][1] > answer.start
    faults.route("/film.mp4", last := Film(LARGE))
    done = gdl(*NEXT, url)
    assert done.returncode == 0
    assert final.read_bytes() == LARGE
    assert files(tmp_path) == ["out/film.mp4"]
    assert film.sent + last.sent < 2 * len(LARGE)


def test_a_real_server_continues_over_http_1_and_http_2(nginx: StartNginx, tmp_path: Path, ca: Authority) -> None:
    site = tmp_path / "site"
    site.mkdir()
    body = version(0, 12 * MIB)
    (site / "one.mp4").write_bytes(body)
    (site / "two.mp4").write_bytes(body)
    server = nginx(site, server="limit_rate 6m;")
    urls = [server.http("/one.mp4"), server.http2("/two.mp4")]
    command = [*NEXT, "--cacert", str(ca.file), *urls]
    finals = [tmp_path / "out/one.mp4", tmp_path / "out/two.mp4"]
    with start_gdl(*command, cwd=tmp_path) as running:
        wait_until(
            lambda: all(part_path(final).exists() and part_path(final).stat().st_size > 5 * MIB for final in finals),
            "two parts",
        )
        running.send_signal(signal.SIGKILL)
        running.wait()
    ends = [read_state(final)["done"][0][1] for final in finals]
    assert min(ends) >= MIB
    done = run_gdl(*command, cwd=tmp_path)
    assert [result["status"] for result in done.results] == ["saved"] * 2
    assert [final.read_bytes() == body for final in finals] == [True, True]
    assert files(tmp_path / "out") == ["one.mp4", "two.mp4"]
    wait_until(lambda: len(server.log()) >= 4, "the log")
    answered = {(line[3], line[1], line[4], line[6]) for line in server.log() if line[6] != "-"}
    for path, protocol, end in (("/one.mp4", "HTTP/1.1", ends[0]), ("/two.mp4", "HTTP/2.0", ends[1])):
        assert any(
            line[:3] == (path, protocol, "206") and re.fullmatch(rf"bytes={end}-\d*", line[3]) for line in answered
        ), (path, end, answered)


# Names that only the response tells


def test_a_name_that_only_the_response_tells_is_continued_too(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    disposition = 'attachment; filename="film.mp4"'
    named = Film(A, pace=0.01, content_disposition=disposition)
    typed, listed = Film(A, pace=0.01), Film(A, pace=0.01)
    urls = [
        faults.route("/download?id=1", cut_film(A, CUT, content_disposition=disposition)),
        faults.route("/clip", cut_film(A, CUT)),
        faults.route("/elsewhere", cut_film(A, CUT)),
    ]
    (tmp_path / "urls.txt").write_text(f"{urls[0]}\n{urls[1]}\n{urls[2]} sub/given.mp4\n")
    leave_parts(tmp_path, "urls.txt")
    for path, film in (("/download?id=1", named), ("/clip", typed), ("/elsewhere", listed)):
        faults.route(path, film)
    names = ["clip.mp4", "film.mp4", "sub/given.mp4"]
    assert [name for name in names if not part_path(tmp_path / "out" / name).exists()] == []
    done = gdl(*NEXT, "urls.txt")
    assert {result["status"] for result in done.results} == {"saved"}
    assert files(tmp_path / "out") == names
    assert {(tmp_path / "out" / name).read_bytes() == A for name in names} == {True}
    for film in (named, typed, listed):
        assert any(re.fullmatch(rf"bytes={CUT}-\d*", wanted or "") for wanted in film.ranges), film.ranges
        assert film.sent < 0.75 * SIZE
    assert listed.sent == SIZE - CUT


# Files that are there


@pytest.mark.parametrize("existing", ["overwrite", "rename"])
def test_a_part_is_continued_beside_an_existing_file(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, existing: str
) -> None:
    film = Film(A)
    url = faults.route("/film.mp4", Film(A, cut=CUT), f.status(404), film)
    out = tmp_path / "out"
    out.mkdir()
    (out / "film.mp4").write_bytes(b"mine")
    leave_parts(tmp_path, "--existing", existing, url)
    assert (out / "film.mp4").read_bytes() == b"mine"
    done = gdl(*NEXT, "--existing", existing, url)
    assert [result["status"] for result in done.results] == ["saved"]
    if existing == "overwrite":
        assert files(out) == ["film.mp4"]
        assert (out / "film.mp4").read_bytes() == A
    else:
        assert files(out) == ["film (1).mp4", "film.mp4"]
        assert ((out / "film.mp4").read_bytes(), (out / "film (1).mp4").read_bytes()) == (b"mine", A)
    assert film.sent == SIZE - CUT


def test_with_a_file_there_and_nothing_to_do_the_part_stays_as_it_is(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    url = faults.route("/film.mp4", cut_film(A, CUT))
    leave_parts(tmp_path, url)
    out = tmp_path / "out"
    (out / "film.mp4").write_bytes(b"mine")
    before = {name: (out / name).read_bytes() for name in files(out)}
    done = gdl(*NEXT, url)
    assert [(result["status"], result["reason"]) for result in done.results] == [("skipped", "exists")]
    assert {name: (out / name).read_bytes() for name in files(out)} == before
    assert len(faults.requests) == 2


def test_bytes_of_unknown_origin_are_neither_used_nor_lost(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    foreign = {"large.mp4": B[:CUT], "empty.mp4": b"", "twice.mp4": b"first", "aria2.mp4": b"of aria2"}
    for name, data in foreign.items():
        (out / f"{name}.part").write_bytes(data)
    (out / "twice.mp4.part.old").write_bytes(b"older")
    (out / "aria2.mp4.aria2").write_bytes(b"control")
    (out / "aria2.mp4.part.aria2").write_bytes(b"control too")
    films = {name: Film(A) for name in foreign}
    done = gdl(*NEXT, *(faults.route(f"/{name}", film) for name, film in films.items()))
    assert {result["status"] for result in done.results} == {"saved"}
    found = {name: (out / name).read_bytes() for name in files(out)}
    assert found == {
        **dict.fromkeys(foreign, A),
        "large.mp4.part.old": B[:CUT],
        "twice.mp4.part.old": b"older",
        "twice.mp4.part.old2": b"first",
        "aria2.mp4.part.old": b"of aria2",
        "aria2.mp4.aria2": b"control",
        "aria2.mp4.part.aria2": b"control too",
    }
    assert {name: film.ranges for name, film in films.items()} == {name: [None] for name in foreign}


def test_what_has_taken_a_parts_place_is_not_continued(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url, film = faults.route("/film.mp4", cut_film(A, CUT)), Film(A)
    leave_parts(tmp_path, url)
    part = part_path(tmp_path / "out/film.mp4")
    other = tmp_path / "other"
    other.write_bytes(B[: part.stat().st_size])
    other.replace(part)
    faults.route("/film.mp4", film)
    done = gdl(*NEXT, url)
    assert [result["status"] for result in done.results] == ["saved"]
    assert (tmp_path / "out/film.mp4").read_bytes() == A
    assert film.ranges == [None]


def test_a_file_published_by_a_run_that_was_cut_off_is_checked(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    """The state outlives its part for a moment; what it says of size and boot tells whether the file is whole."""
    names = ("whole", "short", "lost", "synced")
    urls = {name: faults.route(f"/{name}.mp4", Film(A, cut=CUT), f.status(404), Film(A)) for name in names}
    leave_parts(tmp_path, *urls.values())
    out = tmp_path / "out"
    for name in names:
        final = out / f"{name}.mp4"
        with part_path(final).open("r+b") as part:
            part.write(A[: SIZE - 1000] if name == "short" else A)
        changes: dict[str, object] = {"done": [[0, SIZE]], "published": True}
        if name in ("lost", "synced"):
            changes |= {"boot": "another", "synced": name == "synced"}
        write_state(final, read_state(final) | changes)
        part_path(final).rename(final)
    done = gdl(*NEXT, *urls.values())
    reasons = {name: (done.by_url[url]["status"], done.by_url[url]["reason"]) for name, url in urls.items()}
    assert (reasons["whole"], reasons["synced"]) == (("skipped", "exists"), ("skipped", "exists"))
    assert (reasons["short"][0], reasons["lost"][0]) == ("saved", "saved")
    assert {(out / f"{name}.mp4").read_bytes() == A for name in names} == {True}
    assert files(out) == sorted(f"{name}.mp4" for name in names)


def test_the_results_tell_the_whole_size_of_what_was_continued(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    url = faults.route("/film.mp4", Film(A, cut=CUT), f.status(404), Film(A))
    leave_parts(tmp_path, url)
    done: Completed = gdl(*NEXT, url)
    [result] = done.results
    assert (result["bytes"], result["content_type"], result["attempts"]) == (SIZE, "video/mp4", 1)
    assert (result["path"], result["final_url"]) == ("out/film.mp4", url)
