"""Folders prepared by somebody with ill will, and servers that lie: nothing is written elsewhere, nothing is wrong."""

from __future__ import annotations

import json
import os
import stat
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from support import faults as f
from support import samples
from support.parts import (
    KIB,
    MIB,
    Film,
    cut_film,
    files,
    leave_parts,
    part_path,
    ranged,
    read_state,
    state_path,
    version,
    wanted_range,
    write_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.cli import Completed, RunGdl

SIZE = 3 * MIB
CUT = 2 * MIB
A = version(0, SIZE)
SMALL = samples.picture(1, 20_000)
RUN = ("--json", "--retries", "1", "--timeout", "5", "-o", "out")
BODIES = {"small.jpg": SMALL, "large.mp4": A}
MINE = b"mine, and to stay so"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output folder, there already."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that gdl was not told of, with a file."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "mine").write_bytes(MINE)
    return folder


def serve(server: f.FaultServer, prefix: str = "") -> dict[str, str]:
    """The URLs of a small and of a large file, by name."""
    return {name: server.route(f"/{prefix}{name}", Film(body, media_type=None)) for name, body in BODIES.items()}


def assert_sound(done: Completed, out: Path, bodies: dict[str, bytes]) -> dict[str, str]:
    """Check that what is saved is right and the rest failed with a reason; the status of each name."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1), done.stderr
    statuses: dict[str, str] = {}
    for result in done.results:
        name = result["url"].rpartition("/")[2]
        statuses[name] = result["status"]
        if result["status"] == "saved":
            path = out.parent / result["path"]
            assert stat.S_ISREG(path.lstat().st_mode), name
            assert path.read_bytes() == bodies[name], name
        elif result["status"] == "failed":
            assert result["error"]["kind"] != "internal", result["error"]
            assert not (out / name).exists() or (out / name).is_symlink(), name
    assert set(statuses) == set(bodies)
    return statuses


def only_mine(outside: Path) -> bool:
    return {path.name: path.read_bytes() for path in outside.iterdir()} == {"mine": MINE}


# Links


@pytest.mark.parametrize("existing", ["skip", "overwrite"])
def test_nothing_is_written_through_a_symbolic_link(
    faults: f.FaultServer, gdl: RunGdl, out: Path, outside: Path, existing: str
) -> None:
    bodies: dict[str, bytes] = {}
    replaced: dict[str, str] = {}
    for suffix in (".part", ".part.json", "", ".part.old", ".part.json.old"):
        for target in ("mine", "new"):
            for name, body in BODIES.items():
                stem = f"{target}{suffix}-{name}"
                bodies[stem] = body
                (out / f"{stem}{suffix}").symlink_to(outside / target)
                if not suffix:
                    replaced[stem] = target
    urls = [faults.route(f"/{name}", Film(body, media_type=None)) for name, body in bodies.items()]
    done = gdl(*RUN, "--existing", existing, *urls)
    statuses = assert_sound(done, out, bodies)
    assert only_mine(outside)
    for name, target in replaced.items():
        if existing == "overwrite":
            assert statuses[name] == "saved", "the link itself is replaced"
        elif target == "mine":
            assert statuses[name] == "skipped"
        else:
            assert statuses[name] != "saved"
    if existing == "skip":
        small = [name for name, body in bodies.items() if body is SMALL and name not in replaced]
        assert {statuses[name] for name in small} == {"saved"}, "they need no part"


def test_a_lock_that_is_a_link_is_not_followed(
    faults: f.FaultServer, gdl: RunGdl, out: Path, outside: Path, tmp_path: Path
) -> None:
    for target in ("mine", "new"):
        lock = out / ".gdl.lock"
        lock.unlink(missing_ok=True)
        lock.symlink_to(outside / target)
        serve(faults)
        done = gdl(*RUN, *(faults.url(f"/{name}") for name in BODIES))
        assert_sound(done, out, BODIES)
        assert only_mine(outside), target
        for name in BODIES:
            (tmp_path / "out" / name).unlink(missing_ok=True)


def test_a_sub_folder_that_leads_outside_is_refused_and_one_that_stays_inside_is_not(
    faults: f.FaultServer, gdl: RunGdl, out: Path, outside: Path, tmp_path: Path
) -> None:
    (out / "real").mkdir()
    (outside / "deep").mkdir()
    (out / "away").symlink_to(outside)
    (out / "away-relative").symlink_to("../outside")
    (out / "real/away").symlink_to(outside)
    (out / "around").symlink_to("real/away")
    (out / "inside").symlink_to("real")
    (out / "inside-absolute").symlink_to(out / "real")
    (out / "dangling").symlink_to(outside / "not-there")
    away = ("away", "away-relative", "real/away", "around", "away/deep", "away/new", "inside/away", "dangling")
    inside = ("inside", "inside-absolute", "inside/new", "real")
    lines: list[str] = []
    bodies: dict[str, tuple[str, bytes]] = {}
    for folder in (*away, *inside):
        for name, body in BODIES.items():
            url = faults.route(f"/{len(bodies)}-{name}", Film(body, media_type=None))
            bodies[url] = (f"{folder}/{len(bodies)}-{name}", body)
            lines.append(f"{url} {bodies[url][0]}\n")
    (tmp_path / "urls.txt").write_text("".join(lines))
    done = gdl(*RUN, "-j", "4", "urls.txt")
    assert "Traceback" not in done.stderr
    kinds = {bodies[result["url"]][0]: (result["error"] or {}).get("kind") for result in done.results}
    assert kinds == {path: "name" if path.rpartition("/")[0] in away else None for path, _ in bodies.values()}
    assert (sorted(path.name for path in outside.iterdir()), list((outside / "deep").iterdir())) == (
        ["deep", "mine"],
        [],
    )
    for path, body in bodies.values():
        if path.rpartition("/")[0] in inside:
            assert (out / path).read_bytes() == body, path


def test_the_output_folder_itself_may_be_a_link(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    done = gdl(*RUN, *serve(faults).values())
    assert {result["status"] for result in done.results} == {"saved"}
    assert files(tmp_path / "real") == ["large.mp4", "small.jpg"]


@pytest.mark.parametrize("suffix", [".part", ".part.json"])
def test_a_hard_link_in_a_parts_place_does_not_cost_its_other_name(
    faults: f.FaultServer, gdl: RunGdl, out: Path, outside: Path, suffix: str
) -> None:
    urls = serve(faults)
    for name in urls:
        (out / f"{name}{suffix}").hardlink_to(outside / "mine")
    done = gdl(*RUN, *urls.values())
    statuses = assert_sound(done, out, BODIES)
    assert only_mine(outside)
    assert statuses["small.jpg"] == "saved"


def test_a_hard_link_to_a_real_part_is_not_continued_in_place(
    faults: f.FaultServer, gdl: RunGdl, out: Path, outside: Path, tmp_path: Path
) -> None:
    url = faults.route("/large.mp4", cut_film(A, CUT))
    leave_parts(tmp_path, url)
    (outside / "other").hardlink_to(part_path(out / "large.mp4"))
    faults.route("/large.mp4", Film(A))
    done = gdl(*RUN, url)
    assert assert_sound(done, out, {"large.mp4": A}) == {"large.mp4": "saved"}
    assert (outside / "other").read_bytes() == A[:CUT]


# Things that are no files


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_full_folder(path: Path) -> None:
    path.mkdir()
    (path / "mine").write_bytes(MINE)


def make_device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero: it gives bytes without end


def make_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o666)


def kinds_of_things() -> dict[str, Callable[[Path], None]]:
    """How to make each kind of thing that is no file, by a word for it; devices only where that is allowed."""
    kinds: dict[str, Callable[[Path], None]] = {
        "pipe": make_pipe,
        "folder": make_folder,
        "full": make_full_folder,
        "socket": make_socket,
    }
    return kinds | ({"device": make_device} if os.geteuid() == 0 and sys.platform == "linux" else {})


@pytest.mark.parametrize("suffix", [".part", ".part.json", ""])
def test_what_is_no_file_stops_nothing(faults: f.FaultServer, gdl: RunGdl, out: Path, suffix: str) -> None:
    bodies = {"other.jpg": SMALL}
    for kind, make in kinds_of_things().items():
        for name, body in BODIES.items():
            bodies[f"{kind}-{name}"] = body
            make(out / f"{kind}-{name}{suffix}")
    urls = [faults.route(f"/{name}", Film(body, media_type=None)) for name, body in bodies.items()]
    done = gdl(*RUN, *urls, timeout=30)
    assert "Traceback" not in done.stderr
    results = {result["url"].rpartition("/")[2]: result for result in done.results}
    assert set(results) == set(bodies)
    assert results.pop("other.jpg")["status"] == "saved"
    wrong = [
        name for name in results if results[name]["status"] == "saved" and (out / name).read_bytes() != bodies[name]
    ]
    assert wrong == []
    kinds = {name: (result["error"] or {}).get("kind") for name, result in results.items()}
    assert {name: kind for name, kind in kinds.items() if kind in ("internal", "disk", "interrupted")} == {}
    assert [path.read_bytes() for path in out.rglob("mine")] == [MINE, MINE]
    if suffix:
        assert {result["status"] for name, result in results.items() if "small" in name} == {"saved"}
    else:
        assert {result["status"] for result in results.values()} <= {"skipped", "failed"}


@pytest.mark.parametrize("kind", list(kinds_of_things()))
def test_a_lock_that_is_no_file_stops_nothing(faults: f.FaultServer, gdl: RunGdl, out: Path, kind: str) -> None:
    kinds_of_things()[kind](out / ".gdl.lock")
    done = gdl(*RUN, *serve(faults).values(), timeout=30)
    assert set(assert_sound(done, out, BODIES).values()) == {"saved"}


# Names


def test_names_that_differ_only_in_case_or_normal_form_are_two_files(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    names = ["a.jpg", "A.jpg", "a.JPG", "ä.jpg", "a\u0308.jpg", "Ä.jpg", "ſ.jpg", "s.jpg", "K.jpg", "\u212a.jpg"]
    sizes = {"small": 20_000, "large": 2 * MIB}
    lines, expected = [], {}
    for size_name, size in sizes.items():
        for number, name in enumerate(names):
            kind, body = ("jpg", samples.picture(number, size)) if size < MIB else ("mp4", version(number, size))
            url = faults.route(f"/{size_name}/{number}", Film(body, media_type=None))
            expected[url] = body
            lines.append(json.dumps({"url": url, "name": f"{size_name}/{name.rpartition('.')[0]}.{kind}"}))
    (tmp_path / "list.jsonl").write_text("\n".join(lines) + "\n")
    done = gdl("--json", "-j", "8", "-o", "out", "list.jsonl")
    assert {result["status"] for result in done.results} == {"saved"}
    paths = {result["url"]: result["path"] for result in done.results}
    assert {url: (tmp_path / path).read_bytes() == expected[url] for url, path in paths.items()} == (
        dict.fromkeys(expected, True)
    )
    folded = {unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold()) for path in paths.values()}
    assert len(folded) == len(expected), "on a file system that folds names they stay apart too"
    assert len(files(tmp_path / "out")) == len(expected)


# Servers that lie


def test_a_206_nobody_asked_for_is_saved_only_where_it_is_the_whole_file(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    def unasked(content_range: str | None, body: bytes = A) -> f.Response:
        headers = {} if content_range is None else {"content_range": content_range}
        return f.status(206, body, content_type="video/mp4", etag='"v1"', **headers)

    last = SIZE - 1
    wrong = {
        "later": unasked(f"bytes 1-{last}/{SIZE}", A[1:]),
        "shifted": unasked(f"bytes 1-{SIZE}/{SIZE + 1}"),
        "first-half": unasked(f"bytes 0-{MIB - 1}/{SIZE}", A[:MIB]),
        "one-less": unasked(f"bytes 0-{last - 1}/{SIZE}", A[:-1]),
        "more-to-come": unasked(f"bytes 0-{last}/{SIZE + 1}"),
        "unknown-total": unasked(f"bytes 0-{last}/*"),
        "no-content-range": unasked(None),
        "nonsense": unasked("bytes all of them"),
        "other-unit": unasked(f"pieces 0-{last}/{SIZE}"),
        "too-long-for-its-range": unasked(f"bytes 0-{last - 9}/{SIZE - 9}"),
        "too-short-for-its-range": unasked(f"bytes 0-{last + 9}/{SIZE + 9}"),
        "multipart": f.status(206, A, content_type="multipart/byteranges; boundary=x"),
        "small": f.partial(SMALL[:9000], f"bytes 0-8999/{len(SMALL)}"),
    }
    right = {"whole": unasked(f"bytes 0-{last}/{SIZE}")}
    urls = {name: faults.route(f"/{name}.mp4", response) for name, response in (wrong | right).items()}
    done = gdl("--json", "--retries", "0", "-o", "out", *urls.values())
    statuses = {result["url"]: result["status"] for result in done.results}
    assert {name: statuses[urls[name]] for name in wrong} == dict.fromkeys(wrong, "failed")
    assert "Traceback" not in done.stderr
    left = [name for name in files(tmp_path) if not name.endswith((".part", ".part.json"))]
    assert left == (["out/whole.mp4"] if statuses[urls["whole"]] == "saved" else [])
    assert [(tmp_path / name).read_bytes() == A for name in left] == [True] * len(left)


def test_content_ranges_made_to_break_a_parser_begin_the_file_again(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    start, last = CUT, SIZE - 1
    arabic = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
    lies: dict[str, list[bytes]] = {
        "huge-total": [f"bytes {start}-{last}/{10**30}".encode()],
        "huge-start": [f"bytes {10**30}-{10**30 + MIB - 1}/{SIZE}".encode()],
        "huge-end": [f"bytes {start}-{10**30}/{SIZE}".encode()],
        "more-digits-than-python-converts": [b"bytes %b-%d/%d" % (b"9" * 5000, last, SIZE)],
        "leading-zeros": [b"bytes %b%d-%d/%d" % (b"0" * 5000, start, last, SIZE - 1)],
        "negative": [f"bytes -{start}-{last}/{SIZE}".encode()],
        "negative-total": [f"bytes {start}-{last}/-{SIZE}".encode()],
        "plus": [f"bytes +{start + 1}-{last}/{SIZE}".encode()],
        "foreign-digits": [f"bytes {start}-{last}/{SIZE - 1}".translate(arabic).encode()],
        "superscript": ["bytes ²-³/⁴".encode()],
        "latin-superscript": [b"bytes \xb2-\xb3/\xb9"],
        "float": [f"bytes {start}.5-{last}/{SIZE}".encode()],
        "exponent": [b"bytes 2e6-3e6/3e6"],
        "hexadecimal": [f"bytes 0x{start:x}-0x{last:x}/0x{SIZE:x}".encode()],
        "underscore": [f"bytes {start + 1:_}-{last:_}/{SIZE:_}".encode()],
        "reversed": [f"bytes {last}-{start}/{SIZE}".encode()],
        "two-in-one": [f"bytes {start + 1}-{last}/{SIZE}, bytes {start}-{last}/{SIZE}".encode()],
        "empty": [b""],
        "unit-only": [b"bytes"],
        "no-total": [f"bytes {start}-{last}".encode()],
        "nul": [f"bytes {start + 1}-{last}/{SIZE}\0".encode()],
        "long": [b"bytes " + b" " * 20_000 + f"{start + 1}-{last}/{SIZE}".encode()],
    }

    def lie(values: list[bytes]) -> f.Response:
        def respond(connection: f.Connection, request: f.Request) -> None:
            span = wanted_range(request, SIZE)
            assert span is not None
            piece = version(9, SIZE)[span[0] : span[1]]
            lines = b"".join(b"Content-Range: " + value + b"\r\n" for value in values)
            header = f.head(206, content_length=len(piece), content_type="video/mp4", etag='"v1"')
            connection.send_last(header.removesuffix(b"\r\n") + lines + b"\r\n" + piece)

        return respond

    urls = {name: faults.route(f"/{name}.mp4", cut_film(A, CUT)) for name in lies}
    leave_parts(tmp_path, *urls.values())
    films = {name: Film(A) for name in lies}
    for name, values in lies.items():
        faults.route(f"/{name}.mp4", ranged(lie(values), films[name]))
    done = gdl("--json", "--retries", "2", "-o", "out", *urls.values())
    assert "Traceback" not in done.stderr
    # One that libcurl itself refuses may fail; none is ever glued to the part.
    found = {name: tmp_path / f"out/{name}.mp4" for name in lies}
    assert [name for name, path in found.items() if path.exists() and path.read_bytes() != A] == []
    statuses = {result["url"]: (result["status"], (result["error"] or {}).get("kind")) for result in done.results}
    bad = {name: statuses[url] for name, url in urls.items() if statuses[url][0] != "saved"}
    assert {name: why for name, why in bad.items() if why != ("failed", "protocol")} == {}
    assert set(bad) <= {"nul", "long"}


# States that somebody else has written


def forged(true: dict[str, Any]) -> dict[str, dict[str, Any] | str]:
    """States with a checksum that is right and content that is not; ``true`` is the one that gdl wrote."""
    spans: dict[str, object] = {
        "beyond-total": [[0, SIZE * 10]],
        "beyond-the-part": [[0, SIZE - 10]],
        "far-beyond": [[0, 10**30]],
        "negative": [[-MIB, CUT]],
        "negative-end": [[0, -1]],
        "reversed": [[CUT, 0]],
        "overlapping": [[0, CUT], [MIB, CUT]],
        "unsorted": [[MIB + 5, CUT], [0, MIB]],
        "empty-range": [[0, 0], [0, CUT]],
        "floats": [[0.0, float(CUT)]],
        "fractions": [[0.5, CUT - 0.5]],
        "not-a-number": [[0, float("nan")]],
        "infinite": [[0, float("inf")]],
        "texts": [["0", str(CUT)]],
        "truth-values": [[False, True]],
        "nothing": [[None, None]],
        "triples": [[0, CUT, 1]],
        "singles": [[CUT]],
        "flat": [0, CUT],
        "object": {"0": CUT},
        "text": "0-2097152",
        "number": CUT,
        "null": None,
        "very-many": [[2 * number, 2 * number + 1] for number in range(200_000)],
    }
    found: dict[str, dict[str, Any] | str] = {f"done-{name}": true | {"done": value} for name, value in spans.items()}
    for name, total in {
        "huge": 10**30,
        "negative": -1,
        "zero": 0,
        "less-than-done": MIB,
        "float": float(SIZE),
        "not-a-number": float("nan"),
        "text": str(SIZE),
        "true": True,
        "null": None,
        "list": [SIZE],
    }.items():
        found[f"total-{name}"] = true | {"total": total}
    for name, etag in {
        "header": '"v1"\r\nX-Evil: 1',
        "newline": '"v1"\nX-Evil: 1',
        "nul": '"v1\0"',
        "long": '"' + "x" * 100_000 + '"',
        "number": 1,
        "list": ['"v1"'],
        "surrogate": '"\ud800"',
        "wide": '"世界"',
        "weak": 'W/"v1"',
        "empty": "",
    }.items():
        found[f"etag-{name}"] = true | {"etag": etag}
        found[f"date-{name}"] = true | {"etag": None, "last_modified": etag}
    for name, value in {"number": 1, "list": [], "header": "http://127.0.0.1/\r\nX-Evil: 1", "null": None}.items():
        found[f"url-{name}"] = true | {"url": value}
        found[f"boot-{name}"] = true | {"boot": value}
        found[f"checksum-{name}"] = true | {"checksum": value}
        found[f"synced-{name}"] = true | {"synced": value}
        found[f"published-{name}"] = true | {"published": value}
    found |= {
        "published": true | {"published": True, "done": [[0, SIZE]]},
        "missing-keys": {"url": true["url"]},
        "more-keys": true | {"command": "rm", "__class__": "State"},
        "no-object": "[]",
        "null": "null",
        "number": "1",
        "deep": "[" * 100_000 + "]" * 100_000,
        "deep-object": '{"a":' * 50_000 + "1" + "}" * 50_000,
        "digits": '{"total": ' + "9" * 10_000 + "}",
        "not-json": "{",
    }
    return found


def raw_states() -> dict[str, bytes]:
    """State files that are none."""
    return {
        "raw-empty": b"",
        "raw-blank": b" " * 4096,
        "raw-zeros": bytes(4096),
        "raw-noise": version(5, 4096),
        "raw-null": b"null",
        "raw-list": b"[]",
        "raw-deep": b"[" * 200_000,
        "raw-deep-marked": b'{"gdl-part": 1, "crc32": 0, "state": ' + b"[" * 200_000,
        "raw-huge": b'{"gdl-part": 1, "crc32": 0, "state": {"url": "' + b"x" * 8_000_000,
        "raw-other-version": b'{"gdl-part": 2, "crc32": 0, "state": {}}',
        "raw-true-version": b'{"gdl-part": true, "crc32": 0, "state": {}}',
        "raw-no-checksum": b'{"gdl-part": 1, "state": {}}',
        "raw-not-utf-8": b'{"gdl-part": 1, "crc32": 0, "state": {"url": "\xff"}}',
        "raw-utf-16": '{"gdl-part": 1, "crc32": 0, "state": {}}'.encode("utf-16"),
        "raw-twice": b'{"gdl-part": 1, "crc32": 0, "state": {}}' * 2,
        "raw-page": b"<!DOCTYPE html>",
    }


def test_a_state_made_by_somebody_else_never_makes_a_wrong_file(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    final = tmp_path / "out/film.mp4"
    leave_parts(tmp_path, faults.route("/film.mp4", cut_film(A, CUT)))
    true, template = read_state(final), state_path(final).read_bytes()
    states = forged(true)
    names = [*states, *raw_states()]
    for name in names:
        path = tmp_path / f"out/{name}.mp4"
        part_path(path).write_bytes(A[:CUT])
        state_path(path).write_bytes(template)
    for name, state in states.items():
        url = {"url": faults.url(f"/{name}.mp4")} if isinstance(state, dict) and state.get("url") == true["url"] else {}
        write_state(tmp_path / f"out/{name}.mp4", state if isinstance(state, str) else state | url)
    for name, data in raw_states().items():
        state_path(tmp_path / f"out/{name}.mp4").write_bytes(data)
    urls = [faults.route(f"/{name}.mp4", Film(A)) for name in names]
    (tmp_path / "urls.txt").write_text("\n".join(urls) + "\n")
    done = gdl("--json", "--retries", "1", "--timeout", "5", "-o", "out", "urls.txt")
    assert "Traceback" not in done.stderr
    assert {result["url"]: (result["status"], result["reason"]) for result in done.results} == (
        dict.fromkeys(urls, ("saved", None))
    )
    assert [name for name in names if (tmp_path / f"out/{name}.mp4").read_bytes() != A] == []
    assert [request.path for request in faults.requests if request.header("x-evil")] == []
    long = [request.path for request in faults.requests if sum(len(value) for _, value in request.headers) > 10 * KIB]
    assert long == []


def test_a_state_without_its_part_is_cleared_away(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    final = tmp_path / "out/film.mp4"
    url = faults.route("/film.mp4", cut_film(A, CUT))
    leave_parts(tmp_path, url)
    part_path(final).unlink()
    faults.route("/film.mp4", film := Film(A))
    done = gdl(*RUN, url)
    assert [result["status"] for result in done.results] == ["saved"]
    assert final.read_bytes() == A
    assert (files(tmp_path), film.ranges) == (["out/film.mp4"], [None])
