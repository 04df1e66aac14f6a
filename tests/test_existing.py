"""What files are called end to end: collisions, duplicates, what exists already, names that must not be."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support import faults as f
from support import samples
from support.cli import start_gdl
from support.processes import wait_until

from downloader.folders import Folders
from downloader.partfile import Part
from downloader.resume import State
from downloader.takeover import open_part

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Completed, RunGdl
    from support.failing import Failing

BODY = samples.picture(1, 20_000)
LARGE = samples.picture(2, 1_200_000)  # large enough to be written to a part
NEW = samples.picture(3, 30_000)
OK = f.ok(BODY)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def listed(folder: Path, *lines: str) -> None:
    (folder / "urls.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def brief(done: Completed) -> list[tuple[str, str | None, str | None]]:
    """Status, reason and path of the results in the order of their lines."""
    results = sorted(done.results, key=lambda result: result["line"])
    return [
        (result["status"], result["reason"] if result["status"] != "failed" else None, result["path"])
        for result in results
    ]


def paths(done: Completed) -> dict[str, str]:
    """The path each URL was given."""
    return {result["url"]: result["path"] for result in done.results}


# Collisions


@pytest.mark.parametrize("named_by", ["the URL", "the header", "the header, large files"])
def test_urls_that_want_one_name_get_the_same_three_whichever_answers_first(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, named_by: str
) -> None:
    size = 300_000 if "large" in named_by else 5000
    bodies = [samples.picture(number, size) for number in range(3)]
    disposition = {} if named_by == "the URL" else {"content_disposition": 'attachment; filename="cat.jpg"'}
    targets = [f"/{number}/cat.jpg" if named_by == "the URL" else f"/get?id={number}" for number in range(3)]
    urls = [faults.url(target) for target in targets]
    listed(tmp_path, *urls)
    seen = []
    for slow in (0, 2):
        for number, target in enumerate(targets):
            answer = f.ok(bodies[number], **disposition)
            faults.route(target, f.script(f.pause(0.4), answer) if number == slow else answer)
        done = gdl("--json", "-o", f"slow-{slow}", "urls.txt")
        assert (done.returncode, {result["status"] for result in done.results}) == (0, {"saved"})
        found = {url: path.partition("/")[2] for url, path in paths(done).items()}
        assert {url: (tmp_path / f"slow-{slow}" / name).read_bytes() for url, name in found.items()} == dict(
            zip(urls, bodies, strict=True)
        )
        assert files(tmp_path / f"slow-{slow}") == sorted(found.values())
        seen.append(found)
    assert seen[0] == seen[1]
    first, second, third = (seen[0][url] for url in urls)
    assert first == "cat.jpg"
    assert re.fullmatch(r"cat~[0-9a-f]{8}\.jpg", second)
    assert re.fullmatch(r"cat~[0-9a-f]{8}\.jpg", third)
    assert second != third

    before = len(faults.requests)
    again = gdl("--json", "-o", "slow-0", "urls.txt")
    assert again.returncode == 0
    assert brief(again) == [("skipped", "exists", f"slow-0/{name}") for name in (first, second, third)]
    asked = len(faults.requests) - before
    assert asked == 0 if named_by == "the URL" else 3 <= asked <= 6
    assert files(tmp_path / "slow-0") == sorted((first, second, third))


def test_a_name_known_from_the_url_waits_for_one_that_only_the_answer_tells(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    slow = f.script(f.pause(0.6), f.content_disposition(NEW, b'attachment; filename="cat.jpg"'))
    listed(tmp_path, faults.route("/get?id=1", slow), faults.route("/cat.jpg", OK), faults.route("/dog.jpg", OK))
    done = gdl("--json", "-o", "out", "urls.txt")
    first, second, third = (path for _, _, path in brief(done))
    assert (first, third) == ("out/cat.jpg", "out/dog.jpg")
    assert re.fullmatch(r"out/cat~[0-9a-f]{8}\.jpg", second or "")
    assert (tmp_path / "out/cat.jpg").read_bytes() == NEW
    assert (tmp_path / str(second)).read_bytes() == BODY
    assert (done.returncode, len(files(tmp_path / "out"))) == (0, 3)
    assert brief(gdl("--json", "-o", "out", "urls.txt")) == [
        ("skipped", "exists", path) for path in (first, second, third)
    ]


def test_one_of_three_fails_and_the_others_keep_their_names(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    for number in range(3):
        faults.route(f"/{number}/cat.jpg", f.ok(samples.picture(number, 5000)))
    urls = [faults.url(f"/{number}/cat.jpg") for number in range(3)]
    listed(tmp_path, *urls)
    expected = paths(gdl("--json", "-o", "out", "urls.txt"))
    for number in range(3):
        (tmp_path / expected[urls[number]]).unlink()
        faults.route(f"/{number}/cat.jpg", f.status(404))
        failing = gdl("--json", "-o", "out", "urls.txt")
        assert failing.returncode == 1
        assert {url: path for url, path in paths(failing).items() if url != urls[number]} == {
            url: path for url, path in expected.items() if url != urls[number]
        }
        faults.route(f"/{number}/cat.jpg", f.ok(samples.picture(number, 5000)))
        assert paths(gdl("--json", "-o", "out", "urls.txt")) == expected


def test_names_that_differ_only_in_case_or_composition_are_kept_apart(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    """On some file systems they are one file."""
    faults.otherwise(OK)
    names = ("Cat.jpg", "cat.jpg", "CAT.JPG", "é.jpg", "e\u0301.jpg", "ß.jpg", "SS.jpg")
    listed(tmp_path, *(faults.url(f"/{name}") for name in names))
    done = gdl("--json", "-o", "out", "urls.txt")
    got = [str(path).removeprefix("out/") for _, _, path in brief(done)]
    assert [name for name in got if "~" not in name] == ["Cat.jpg", "é.jpg", "ß.jpg"]
    assert len({name.casefold() for name in got}) == len(names)
    assert (done.returncode, files(tmp_path / "out")) == (0, sorted(got))


def test_the_same_url_twice_is_one_request_and_one_duplicate(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    faults.otherwise(f.script(f.pause(0.2), OK))
    url = faults.url("/a.jpg")
    shouted = url.replace("http", "HTTP")
    listed(
        tmp_path, url, "# again", url, f"{url}#fragment", shouted, f"  {url}", f"{url} other.jpg", f"{url} other.jpg"
    )
    done = gdl("--json", "-o", "out", "urls.txt", url)
    found = brief(done)[1:]  # the argument has no line
    assert found[0] == ("saved", None, "out/a.jpg")
    assert [result[:2] for result in found[1:5]] == [("skipped", "duplicate")] * 4
    assert found[5] == ("saved", None, "out/other.jpg")
    assert found[6][:2] == ("skipped", "duplicate")
    assert brief(done)[0][:2] == ("skipped", "duplicate")
    assert (done.returncode, len(faults.requests), files(tmp_path / "out")) == (0, 2, ["a.jpg", "other.jpg"])


# What exists already


def test_skip_asks_nothing_where_the_name_is_known(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.otherwise(OK)
    listed(
        tmp_path,
        faults.url("/a.jpg"),
        faults.url("/b.jpg?size=large#top"),
        f"{faults.url('/c.php')}\tnamed.jpg",
        f"{faults.url('/d')}\tsub/named.jpg",
    )
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    names = ("a.jpg", "b.jpg", "named.jpg", "sub/named.jpg")
    for name in names:
        (out / name).write_bytes(b"mine")
    done = gdl("--json", "-o", "out", "urls.txt")
    assert brief(done) == [("skipped", "exists", f"out/{name}") for name in names]
    assert {result["attempts"] for result in done.results} == {0}
    assert (done.returncode, faults.requests, faults.connections) == (0, [], 0)
    assert {(out / name).read_bytes() for name in names} == {b"mine"}

    (out / "000001.jpg").write_bytes(b"mine")
    done = gdl("--json", "-o", "out", "--name", "{index:06d}.jpg", faults.url("/a.jpg"))
    assert (done.results[0]["reason"], faults.requests) == ("exists", [])


def test_skip_asks_where_only_the_answer_tells_the_name_and_reads_no_further(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    endless = f.endless_body("video/mp4", start=samples.mp4())
    listed(
        tmp_path,
        faults.route("/show?id=1", f.content_disposition(LARGE, b'inline; filename="cat.jpg"')),
        faults.route("/picture", f.ok(samples.png(), "image/png")),
        faults.route("/live", endless),
    )
    for name in ("cat.jpg", "picture.png", "live.mp4"):
        (tmp_path / name).write_bytes(b"mine")
    done = gdl("--json", "--max-time", "15", "urls.txt")
    assert brief(done) == [("skipped", "exists", name) for name in ("cat.jpg", "picture.png", "live.mp4")]
    assert done.returncode == 0
    # Twice where it must be known first which name one before it gets.
    assert 3 <= len(faults.requests) <= 6
    assert files(tmp_path) == ["cat.jpg", "live.mp4", "picture.png", "urls.txt"]
    assert (tmp_path / "cat.jpg").read_bytes() == b"mine"


def test_a_file_that_exists_is_not_downloaded_again_because_its_name_was_settled_late(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    slow = f.script(f.pause(0.5), f.content_disposition(BODY, b'inline; filename="first.jpg"'))
    listed(tmp_path, faults.route("/get?id=1", slow), faults.route("/live", f.endless_body(start=samples.mp4())))
    for name in ("first.jpg", "live.mp4"):
        (tmp_path / name).write_bytes(b"mine")
    done = gdl("--json", "--max-time", "15", "urls.txt")
    assert brief(done) == [("skipped", "exists", "first.jpg"), ("skipped", "exists", "live.mp4")]
    assert files(tmp_path) == ["first.jpg", "live.mp4", "urls.txt"]


@pytest.mark.parametrize("body", [NEW, LARGE], ids=["small", "large"])
def test_overwrite_replaces_only_once_the_new_file_is_whole(faults: f.FaultServer, tmp_path: Path, body: bytes) -> None:
    finish = threading.Event()
    head = f.head(200, content_length=len(body), content_type="image/jpeg")
    half = len(body) // 2
    rest = f.when(finish, lambda connection, _: connection.send_last(body[half:]))
    url = faults.route("/a.jpg", f.script(head + body[:half], rest))
    (tmp_path / "a.jpg").write_bytes(b"old")
    with start_gdl("--json", "--existing", "overwrite", url, cwd=tmp_path) as running:
        faults.wait_for_requests(1)
        if body is LARGE:
            wait_until((tmp_path / "a.jpg.part").exists, "a part")
        assert (tmp_path / "a.jpg").read_bytes() == b"old"
        finish.set()
        done = running.wait()
    assert (done.returncode, brief(done)) == (0, [("saved", None, "a.jpg")])
    assert (tmp_path / "a.jpg").read_bytes() == body
    assert files(tmp_path) == ["a.jpg"]


def test_overwrite_leaves_the_old_file_where_the_new_one_fails(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    failing = {
        "missing": f.status(404),
        "page": f.web_page(),
        "cut-small": f.truncated(BODY, 5000),
        "cut-large": f.truncated(LARGE, 300_000),
        "chunk": f.bad_chunk_size(LARGE),
        "reset": f.reset_mid_body(LARGE, 200_000),
        "too-large": f.chunked(LARGE + LARGE),
    }
    urls = [faults.route(f"/{name}.jpg", response) for name, response in failing.items()]
    urls.append(faults.route("/checksum.jpg", f.ok(LARGE)) + "#sha256=" + "0" * 64)
    names = [*(f"{name}.jpg" for name in failing), "checksum.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(b"old")
    done = gdl("--json", "--retries", "0", "--max-size", "500k", "--existing", "overwrite", *urls)
    assert {result["status"] for result in done.results} == {"failed"}
    assert (done.returncode, files(tmp_path)) == (1, sorted(names))
    assert {(tmp_path / name).read_bytes() for name in names} == {b"old"}


def test_rename_counts_up(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.route("/a.jpg", f.ok(BODY), f.ok(NEW), f.ok(LARGE), OK)
    for _ in range(3):
        assert gdl("--existing", "rename", "-o", "out", faults.url("/a.jpg")).returncode == 0
    assert files(tmp_path) == ["out/a (1).jpg", "out/a (2).jpg", "out/a.jpg"]
    assert [(tmp_path / name).read_bytes() for name in files(tmp_path)] == [NEW, LARGE, BODY]
    (tmp_path / "out/a (3).jpg").mkdir()
    assert gdl("--existing", "rename", "-o", "out", faults.url("/a.jpg")).returncode == 0
    assert (tmp_path / "out/a (4).jpg").read_bytes() == BODY


@pytest.mark.parametrize("existing", ["skip", "rename", "overwrite"])
@pytest.mark.parametrize("body", [NEW, LARGE], ids=["small", "large"])
def test_a_file_that_appears_during_the_download_is_not_clobbered(
    faults: f.FaultServer, tmp_path: Path, existing: str, body: bytes
) -> None:
    finish = threading.Event()
    head = f.head(200, content_length=len(body), content_type="image/jpeg")
    rest = f.when(finish, lambda connection, _: connection.send_last(body[-100:]))
    url = faults.route("/a.jpg", f.script(head + body[:-100], rest))
    with start_gdl("--json", "--existing", existing, url, cwd=tmp_path) as running:
        faults.wait_for_requests(1)
        if body is LARGE:
            wait_until((tmp_path / "a.jpg.part").exists, "a part")
        (tmp_path / "a.jpg").write_bytes(b"mine")
        finish.set()
        done = running.wait()
    expected: dict[str, tuple[Any, list[str]]] = {
        "skip": (("skipped", "exists", "a.jpg"), ["a.jpg"]),
        "rename": (("saved", None, "a (1).jpg"), ["a (1).jpg", "a.jpg"]),
        "overwrite": (("saved", None, "a.jpg"), ["a.jpg"]),
    }
    result, names = expected[existing]
    assert (done.returncode, brief(done), files(tmp_path)) == (0, [result], names)
    assert (tmp_path / "a.jpg").read_bytes() == (body if existing == "overwrite" else b"mine")
    if existing == "rename":
        assert (tmp_path / "a (1).jpg").read_bytes() == body


def test_a_second_gdl_leaves_alone_what_the_first_is_writing(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    finish = threading.Event()
    head = f.head(200, content_length=len(LARGE), content_type="image/jpeg")
    rest = f.when(finish, lambda connection, _: connection.send_last(LARGE[-100:]))
    url = faults.route("/a.jpg", f.script(head + LARGE[:-100], rest), f.ok(LARGE))
    with start_gdl("--json", url, cwd=tmp_path) as first:
        wait_until(lambda: (tmp_path / "a.jpg.part").exists() and (tmp_path / "a.jpg.part").stat().st_size, "a part")
        second = gdl("--json", url)
        assert brief(second) == [("skipped", "in progress", "a.jpg")]
        assert second.returncode == 0
        finish.set()
        done = first.wait()
    assert (done.returncode, brief(done)) == (0, [("saved", None, "a.jpg")])
    assert (tmp_path / "a.jpg").read_bytes() == LARGE
    assert files(tmp_path) == ["a.jpg"]


def test_what_is_no_plain_file_is_not_written_through(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "link.jpg").symlink_to(victim)
    (out / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    (out / "part.jpg.part").symlink_to(victim)
    faults.otherwise(f.ok(LARGE))
    urls = [faults.url(f"/{name}.jpg") for name in ("link", "dangling", "part")]
    done = gdl("--json", "--retries", "0", "-o", "out", *urls)
    results = {result["url"].rpartition("/")[2]: result for result in done.results}
    assert [results[name]["reason"] for name in ("link.jpg", "dangling.jpg")] == ["exists", "exists"]
    assert (results["part.jpg"]["status"], results["part.jpg"]["error"]["kind"]) == ("failed", "name")
    assert "symbolic link" in results["part.jpg"]["reason"]
    replaced = gdl("--existing", "overwrite", "-o", "out", *urls[:2])
    assert replaced.returncode == 0
    assert [(out / name).is_symlink() for name in ("link.jpg", "dangling.jpg")] == [False, False]
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_part_that_is_not_gdls_is_neither_used_nor_lost(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    urls = [faults.route("/small.jpg", OK), faults.route("/large.jpg", f.ok(LARGE))]
    foreign = b"left from something else" * 50_000
    for name in ("small.jpg", "large.jpg"):
        (tmp_path / f"{name}.part").write_bytes(foreign)
    done = gdl("-o", ".", *urls)
    assert done.returncode == 0
    assert "large.jpg.part.old" in done.stderr
    assert (tmp_path / "small.jpg").read_bytes() == BODY
    assert (tmp_path / "large.jpg").read_bytes() == LARGE
    left = {path.name for path in tmp_path.iterdir() if path.is_file() and path.read_bytes() == foreign}
    assert left == {"small.jpg.part", "large.jpg.part.old"}
    assert files(tmp_path) == sorted([*left, "large.jpg", "small.jpg"])


# Names from the list and from templates


def test_names_in_the_list_may_use_folders_below_the_output_and_nothing_above(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    faults.otherwise(OK)
    good = ("sub/b.jpg", "sub/./deeper//c.jpg", "with space.jpg", "no-extension", "画/猫.jpg", "~home.jpg", "-dash.jpg")
    bad = ("/etc/evil.jpg", "../evil.jpg", "sub/../../evil.jpg", r"..\evil.jpg", r"C:\evil.jpg", "sub/..", r"\\host\x")
    names = [name for pair in zip(good, bad, strict=True) for name in pair]
    listed(tmp_path, *(f"{faults.url(f'/{number}.jpg')}\t{name}" for number, name in enumerate(names)))
    done = gdl("--json", "-o", "deep/out", "urls.txt")
    results = {names[result["line"] - 1]: result for result in done.results}
    assert {name: results[name]["status"] for name in names} == {
        name: "saved" if name in good else "failed" for name in names
    }
    assert {results[name]["error"]["kind"] for name in bad} == {"name"}
    assert all(f"urls.txt:{results[name]['line']}" in done.stderr for name in bad)
    assert {results[name]["attempts"] for name in bad} == {0}
    saved = ["sub/b.jpg", "sub/deeper/c.jpg", "with space.jpg", "no-extension", "画/猫.jpg", "~home.jpg", "-dash.jpg"]
    assert files(tmp_path) == sorted([*(f"deep/out/{name}" for name in saved), "urls.txt"])
    assert (done.returncode, len(faults.requests)) == (1, len(good))


def test_templates_name_files_and_folders(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    listed(
        tmp_path,
        faults.route("/set/one.jpg", OK),
        faults.route("/set/two", f.ok(samples.png(), "image/png")),
        f"{faults.route('/set/three.jpg', OK)} listed.jpg",
        faults.route("/set/four", f.content_disposition(BODY, b'inline; filename="server\'s.jpg"')),
    )
    expected = {
        "{index:03d}{ext}": ["001.jpg", "002.png", "listed.jpg", "004.jpg"],
        "{host}/{path}": ["127.0.0.1/set/one.jpg", "127.0.0.1/set/two.png", "listed.jpg", "127.0.0.1/set/four.jpg"],
        "pics/{stem}-{index}{ext}": ["pics/one-1.jpg", "pics/two-2.png", "listed.jpg", "pics/server's-4.jpg"],
        "same{ext}": ["same.jpg", "same.png", "listed.jpg", "same~HEX.jpg"],
        "{hash}{ext}": ["HEX.jpg", "HEX.png", "listed.jpg", "HEX.jpg"],
    }
    for number, (template, names) in enumerate(expected.items()):
        done = gdl("--json", "-o", f"out{number}", "--name", template, "urls.txt")
        got = [str(path).removeprefix(f"out{number}/") for _, _, path in brief(done)]
        assert [re.sub("[0-9a-f]{8,16}", "HEX", name) for name in got] == names, template
        assert (done.returncode, files(tmp_path / f"out{number}")) == (0, sorted(got))
    again = gdl("--json", "-o", "out3", "--name", "same{ext}", "urls.txt")
    assert {(status, reason) for status, reason, _ in brief(again)} == {("skipped", "exists")}
    for template in ("{nothing}", "{index:z}", "../{name}"):
        wrong = gdl("--name", template, "urls.txt")
        assert (wrong.returncode, "--name" in wrong.stderr) == (2, True), template


def test_chinese_names_come_through_whole(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.otherwise(OK)
    faults.route("/get", f.content_disposition(BODY, b"attachment; filename*=UTF-8''%E6%B0%B4%E5%A2%A8.jpg"))
    faults.route("/raw", f.content_disposition(BODY, 'attachment; filename="书法.jpg"'.encode()))
    listed(
        tmp_path,
        faults.url("/图片.jpg"),
        faults.url("/%E7%8C%AB.jpg"),
        f"{faults.url('/x.jpg')} 山水/画 1.jpg",
        faults.url("/get"),
        faults.url("/raw"),
    )
    done = gdl("--json", "-o", "下载", "urls.txt")
    assert [path for _, _, path in brief(done)] == [
        f"下载/{name}" for name in ("图片.jpg", "猫.jpg", "山水/画 1.jpg", "水墨.jpg", "书法.jpg")
    ]
    assert done.returncode == 0
    assert "下载/图片.jpg" in done.stderr
    assert faults.requests[0].target.isascii()
    assert brief(gdl("--json", "-o", "下载", "urls.txt")) == [("skipped", "exists", path) for _, _, path in brief(done)]
    plain = gdl("-v", "-o", "下载", "urls.txt", env={"LANG": "C", "LC_ALL": "C"})
    assert (plain.returncode, "Traceback" in plain.stderr) == (0, False)
    assert len(files(tmp_path / "下载")) == 5


def test_very_long_names_are_cut_and_kept_apart(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.otherwise(f.ok(LARGE))
    listed(
        tmp_path, *(faults.url(f"/{'n' * 400}{number}.jpg") for number in range(3)), faults.url(f"/{'图' * 200}.jpg")
    )
    done = gdl("--json", "-o", "out", "urls.txt")
    names = files(tmp_path / "out")
    assert (done.returncode, len(names)) == (0, 4)
    assert all(name.endswith(".jpg") and len(name.encode()) <= 250 for name in names)
    assert {path.read_bytes() for path in (tmp_path / "out").iterdir()} == {LARGE}


@pytest.mark.parametrize("existing", ["skip", "rename", "overwrite"])
@pytest.mark.parametrize("name_max", [143, 100, 58])
def test_names_are_cut_to_what_the_folder_takes(
    failing: Failing, faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, name_max: int, existing: str
) -> None:
    """eCryptfs takes 143 bytes; some of the files here are collisions, in sub-folders, or need a part and a state."""
    small, large = samples.picture(1, 20_000), samples.mp4(2 << 20)
    long, deep = "l" * 160, "图" * 80
    lines = []
    for number, (path, name, body) in enumerate(
        [
            (f"/1/{long}.jpg", "", small),
            (f"/2/{long}.jpg", "", small),
            (f"/3/{long}x.jpg", "", small),
            (f"/4/{long}.mp4", "", large),
            ("/5/a.jpg", f"{deep}/{long}/{deep}.jpg", small),
            ("/6/ok.jpg", "", small),
            ("/7/none", "", small),
            (f"/8/{long}", "", large),
        ]
    ):
        kind = "video/mp4" if body is large else "image/jpeg"
        lines.append(f"{faults.route(path, f.resource(body, kind, etag=str(number)))} {name}".rstrip() + "\n")
    (tmp_path / "urls.txt").write_text("".join(lines))
    env = failing.environment(within=tmp_path, name_max=name_max)  # in the folder that is made, as where it is made
    args = ("--json", "--retries", "0", "--existing", existing, "-o", "out", "urls.txt")
    first = gdl(*args, env=env)
    assert (first.returncode, {result["status"] for result in first.results}) == (0, {"saved"}), first.stderr
    found = files(tmp_path / "out")
    assert len(found) == len(lines)
    parts = [part for name in found for part in name.split("/")]
    assert max(len(part.encode()) for part in parts) == name_max - len(".part.json")
    assert all(name.endswith((".jpg", ".mp4", ".jpeg")) for name in found)
    assert "ok.jpg" in found
    again = gdl(*args, env=env)
    statuses = {result["status"] for result in again.results}
    assert (again.returncode, statuses) == (0, {"skipped" if existing == "skip" else "saved"}), again.stderr
    assert len(files(tmp_path / "out")) == (2 * len(lines) if existing == "rename" else len(lines))
    if existing == "rename":
        assert sum(" (1)" in name for name in files(tmp_path / "out")) == len(lines)


def cut_off(out: Path, name: str, url: str, body: bytes) -> None:
    """A large file as a machine that went down just after it was published leaves it: its name, and no bytes."""
    part = open_part(Folders(str(out)), name, warn=pytest.fail)
    assert isinstance(part, Part)
    done = [(0, len(body))]
    part.begin(State(url, total=len(body), etag='"v1"', done=done, boot="an earlier one", published=True))
    part.write([body], 0)
    part.save()
    part.release()
    (out / f"{name}.part").rename(out / name)
    os.truncate(out / name, 0)


def test_dry_run_leaves_a_file_that_may_be_damaged_where_it_is(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    url = faults.route("/get", f.content_disposition(LARGE, b'inline; filename="b.jpg"'))
    urls = faults.url("/a.jpg"), url
    (tmp_path / "out").mkdir()
    for name in ("a.jpg", "b.jpg"):
        cut_off(tmp_path / "out", name, faults.url(f"/{name}"), LARGE)
    before = files(tmp_path)
    assert before == ["out/a.jpg", "out/a.jpg.part.json", "out/b.jpg", "out/b.jpg.part.json"]
    done = gdl("--json", "--dry-run", "-o", "out", *urls)
    assert [result["status"] for result in done.results] == ["skipped"] * 2
    assert files(tmp_path) == before


def test_dry_run_writes_nothing(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    url = faults.route("/get", f.content_disposition(LARGE, b'inline; filename="cat.jpg"'))
    done = gdl("--json", "--dry-run", "-o", "out", faults.url("/a.jpg"), url, faults.route("/none", f.status(404)))
    results = {result["url"].rpartition("/")[2]: result for result in done.results}
    assert [(results[name]["reason"], results[name]["path"]) for name in ("get", "a.jpg")] == [
        ("dry run", "out/cat.jpg"),
        ("dry run", "out/a.jpg"),
    ]
    assert results["none"]["status"] == "failed"
    assert (done.returncode, files(tmp_path), (tmp_path / "out").exists()) == (1, [], False)


# Places that cannot be


def test_a_folder_in_the_files_place_fails_that_item(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.otherwise(f.ok(LARGE))
    out = tmp_path / "out"
    (out / "folder.jpg").mkdir(parents=True)
    (out / "part.jpg.part").mkdir()
    (out / "file").write_bytes(b"mine")
    listed(
        tmp_path,
        faults.url("/folder.jpg"),
        faults.url("/part.jpg"),
        f"{faults.url('/x.jpg')} file/x.jpg",
        faults.url("/fine.jpg"),
    )
    for existing in ("skip", "overwrite"):
        done = gdl("--json", "--retries", "0", "--existing", existing, "-o", "out", "urls.txt")
        results = sorted(done.results, key=lambda result: result["line"])
        assert [(result["error"] or {}).get("kind") for result in results] == ["name", "name", "name", None], existing
        assert all(str(result["reason"]).count("out/") for result in results[:3])
        assert (done.returncode, files(tmp_path)) == (1, ["out/file", "out/fine.jpg", "urls.txt"])
    assert (out / "file").read_bytes() == b"mine"


def test_an_output_that_is_a_file_ends_the_run(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    faults.otherwise(OK)
    (tmp_path / "out").write_bytes(b"mine")
    done = gdl("-o", "out", faults.url("/a.jpg"), faults.url("/b.jpg"))
    assert done.returncode in (2, 3)
    assert "out" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out").read_bytes() == b"mine"
    assert files(tmp_path) == ["out"]
