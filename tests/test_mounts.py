"""Real mounts: what bindfs, ntfs-3g, mergerfs, sshfs, gocryptfs and rclone make of a run.

On each of them files are saved whole, known again, continued, replaced or kept, and shared out among two gdl.
"""

from __future__ import annotations

import os
import signal
import zlib
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support import samples
from support.cli import run_gdl, start_gdl
from support.mounts import IN_ORDER, KINDS, WRITES, mounted
from support.parts import MIB, Film, cut_film, files, leave_parts, listing, part_path, read_state, version
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.cli import Completed
    from support.mounts import Kind

CHINESE = "图片/雪山 之 一.jpg"
LONG = "长" * 100 + ".jpg"
"""Has 304 bytes: more than any name may have."""
PICTURES = ["a.jpg", "b.jpg", "new/c.jpg", "new/and deep/d.jpg", CHINESE, LONG]
FILMS = {"film.mp4": 3 * MIB, "new/large.mp4": 8 * MIB}

each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


@pytest.fixture
def bodies(faults: f.FaultServer) -> dict[str, bytes]:
    """The files of a list by the names there, each served at its number."""
    found = {name: samples.picture(number) for number, name in enumerate(PICTURES)}
    found |= {name: version(number, size) for number, (name, size) in enumerate(FILMS.items())}
    for number, (name, body) in enumerate(found.items()):
        faults.route(f"/{number}", Film(body, media_type="video/mp4" if name in FILMS else "image/jpeg"))
    return found


def lines(faults: f.FaultServer, bodies: Mapping[str, bytes]) -> str:
    return listing((faults.url(f"/{number}"), name) for number, name in enumerate(bodies))


def sums(bodies: Mapping[str, bytes]) -> dict[str, tuple[int, int]]:
    """Lengths and CRC-32 of what names stand for: short enough to be read where they differ."""
    return {name: (len(body), zlib.crc32(body)) for name, body in bodies.items()}


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """The same of all that lies in a folder and below."""
    return sums({name: (folder / name).read_bytes() for name in files(folder)})


def told(done: Completed) -> set[tuple[str, str | None]]:
    """Status and reason of all results, of which each URL has one; nothing else was to be told."""
    assert len(done.by_url) == len(done.results), done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr
    return {(result["status"], result["reason"]) for result in done.results}


def has_more(final: Path, done: int) -> bool:
    """Whether the state of a part tells of more bytes than ``done``."""
    return bool(read_state(final)["done"][0][1] > done)


@each_kind
def test_a_list_is_saved_and_known_again_when_it_is_mounted_anew(
    kind: Kind, faults: f.FaultServer, bodies: dict[str, bytes], tmp_path: Path
) -> None:
    store, out = tmp_path / "store", tmp_path / "mount" / "out"
    command = ("--json", "--split", "4", "-o", out, "-")
    with mounted(kind, store, tmp_path / "mount"):
        done = run_gdl(*command, stdin=lines(faults, bodies))
        assert told(done) == {("saved", None)}, done.stderr
        assert done.returncode == 0
        cut = os.path.basename(done.by_url[faults.url(f"/{PICTURES.index(LONG)}")]["path"])
        assert cut.startswith("长长长")
        assert cut.endswith(".jpg")
        wanted = sums({cut if name == LONG else name: body for name, body in bodies.items()})
        assert contents(out) == wanted
    with mounted(kind, store, tmp_path / "mount"):
        assert contents(out) == wanted
        asked = len(faults.requests)
        done = run_gdl(*command, stdin=lines(faults, bodies))
        assert told(done) == {("skipped", "exists")}
        assert (done.returncode, len(faults.requests)) == (0, asked)
        assert contents(out) == wanted


@each_kind
def test_a_file_goes_on_after_its_server_broke_off_and_after_signals(
    kind: Kind, faults: f.FaultServer, tmp_path: Path
) -> None:
    body, name = version(1, 10 * MIB), "new/film.mp4"
    got = 5 * MIB // 2
    with mounted(kind, tmp_path / "store", tmp_path / "mount") as mount:
        out = mount / "out"
        url = faults.route("/film", cut_film(body, got))
        leave_parts(mount, listing=f"{url} {name}\n")
        before = 0
        for number in (signal.SIGTERM, signal.SIGKILL):
            assert files(out) == [f"{name}.part", f"{name}.part.json"]
            before, least = part_path(out / name).stat().st_size, before
            assert before > least + MIB
            film = Film(body, stall=got)
            faults.route("/film", film)
            with start_gdl("--json", "-o", out, "-", stdin=f"{url} {name}\n") as running:
                wait_until(partial(has_more, out / name, before), "a state of more bytes")
                running.send_signal(number)
                done = running.wait(20)
            assert done.returncode == (143 if number == signal.SIGTERM else -number), done.stderr
            assert [answer.start for answer in film.answers] == [before]
        film = Film(body)
        faults.route("/film", film)
        done = run_gdl("--json", "-o", out, "-", stdin=f"{url} {name}\n")
        assert told(done) == {("saved", None)}, done.stderr
        assert film.answers[0].start > before
        assert contents(out) == sums({name: body})


@each_kind
def test_what_exists_is_replaced_or_kept_as_it_was_said(
    kind: Kind, faults: f.FaultServer, bodies: dict[str, bytes], tmp_path: Path
) -> None:
    names = ["a.jpg", "new/c.jpg", "film.mp4"]
    urls = listing((faults.url(f"/{list(bodies).index(name)}"), name) for name in names)
    new = {name: bodies[name] for name in names}
    with mounted(kind, tmp_path / "store", tmp_path / "mount") as mount:
        out = mount / "out"
        (out / "new").mkdir(parents=True)
        old = {"a.jpg": b"old", "film.mp4": bytes(MIB)}
        for name, body in old.items():
            (out / name).write_bytes(body)
        done = run_gdl("--json", "--fsync", "--existing", "rename", "-o", out, "-", stdin=urls)
        assert told(done) == {("saved", None)}, done.stderr
        numbered = {"a (1).jpg": new["a.jpg"], "film (1).mp4": new["film.mp4"]}
        assert contents(out) == sums(old | numbered | {"new/c.jpg": new["new/c.jpg"]})
        done = run_gdl("--json", "--fsync", "--existing", "overwrite", "-o", out, "-", stdin=urls)
        assert told(done) == {("saved", None)}, done.stderr
        assert contents(out) == sums(new | numbered)


def test_where_bytes_are_taken_only_in_their_order_the_run_stops_and_says_so(
    faults: f.FaultServer, bodies: dict[str, bytes], tmp_path: Path
) -> None:
    store, out = tmp_path / "store", tmp_path / "mount" / "out"
    command = ("--json", "-j", "1", "-o", out, "-")
    with mounted(IN_ORDER, store, tmp_path / "mount"):
        done = run_gdl(*command, stdin=lines(faults, bodies))
        assert done.returncode == 3
        assert {status for status, _ in told(done)} == {"failed"}
        assert "only in their order" in done.stderr
        assert [name for name in files(out) if not name.endswith((".part", ".part.json", ".gdl.lock"))] == []
    with mounted(WRITES, store, tmp_path / "mount"):
        done = run_gdl(*command, stdin=lines(faults, bodies))
        assert told(done) == {("saved", None)}, done.stderr
        assert len(contents(out)) == len(bodies)


@each_kind
def test_two_runs_at_once_share_the_work(kind: Kind, faults: f.FaultServer, tmp_path: Path) -> None:
    bodies = {f"{number:02}.jpg": samples.picture(number) for number in range(40)}
    for name, body in bodies.items():
        faults.route(f"/{name}", f.script(f.pause(0.02), f.ok(body)))
    for name in ("10-film.mp4", "30-film.mp4"):
        bodies[name] = version(len(bodies), 2 * MIB)
        faults.route(f"/{name}", Film(bodies[name], pace=0.01))
    urls = "".join(f"{faults.url(f'/{name}')}\n" for name in sorted(bodies))
    with mounted(kind, tmp_path / "store", tmp_path / "mount") as mount:
        out = mount / "out"
        out.mkdir()  # there is something to lock in from the beginning
        command = ("--json", "-j", "4", "-o", out, "-")
        with start_gdl(*command, stdin=urls) as one, start_gdl(*command, stdin=urls) as other:
            runs = [one.wait(), other.wait()]
        assert contents(out) == sums(bodies)
    assert [run.returncode for run in runs] == [0, 0]
    assert told(runs[0]) | told(runs[1]) <= {("saved", None), ("skipped", "exists"), ("skipped", "in progress")}
    saved = Counter(result["url"] for run in runs for result in run.results if result["status"] == "saved")
    assert saved == Counter(urls.split())
    assert Counter(request.path for request in faults.requests) == Counter(f"/{name}" for name in bodies)
