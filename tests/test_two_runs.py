"""Several gdl on one folder: nothing comes twice, nothing is spoiled, nobody waits for the dead."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from support import faults as f
from support import samples
from support.cli import start_gdl
from support.parts import MIB, Film, cut_film, files, version
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from support.cli import Completed, RunGdl

SMALL = 300
LARGE = 4
OPTIONS = ("--json", "-j", "8", "-o", "out")
LOCK = ".gdl.lock"


def collection(server: f.FaultServer, folder: Path) -> dict[str, bytes]:
    """The files of a list, ``urls.txt``: many small ones that take their time, and a few that last."""
    bodies = {f"{number:03}.jpg": samples.picture(number, 6000 + number) for number in range(SMALL)}
    for name, body in bodies.items():
        server.route(f"/{name}", f.script(f.pause(0.01), f.ok(body, etag='"v1"')))
    for number in range(LARGE):
        name = f"{number * 70:03}-film.mp4"
        bodies[name] = version(number, 3 * MIB)
        server.route(f"/{name}", Film(bodies[name], pace=0.01))
    (folder / "urls.txt").write_text("".join(f"{server.url('/' + name)}\n" for name in sorted(bodies)))
    (folder / "out").mkdir()  # without a folder there is nothing to lock in yet
    return bodies


def assert_each_once(
    server: f.FaultServer, folder: Path, bodies: Mapping[str, bytes], runs: Sequence[Completed]
) -> None:
    """Check that the runs together asked for each file once, told so, and left nothing but the files."""
    assert [run.returncode for run in runs] == [0] * len(runs), [run.stderr[-500:] for run in runs]
    assert {name: body == (folder / "out" / name).read_bytes() for name, body in bodies.items()} == (
        dict.fromkeys(bodies, True)
    )
    assert files(folder / "out") == sorted(bodies)
    asked = Counter(request.path for request in server.requests)
    assert {path: count for path, count in asked.items() if count != 1} == {}
    assert len(asked) == len(bodies)
    outcomes = Counter((result["status"], result["reason"]) for run in runs for result in run.results)
    assert outcomes[("saved", None)] == len(bodies)
    assert set(outcomes) <= {("saved", None), ("skipped", "exists"), ("skipped", "in progress")}
    assert sum(outcomes.values()) == len(bodies) * len(runs)
    saved = Counter(result["url"] for run in runs for result in run.results if result["status"] == "saved")
    assert set(saved.values()) == {1}
    assert [run.stderr for run in runs if "Traceback" in run.stderr] == []


def test_two_runs_at_once_download_every_file_once(faults: f.FaultServer, tmp_path: Path) -> None:
    bodies = collection(faults, tmp_path)
    with start_gdl(*OPTIONS, "urls.txt", cwd=tmp_path) as one, start_gdl(*OPTIONS, "urls.txt", cwd=tmp_path) as other:
        runs = [one.wait(), other.wait()]
    assert_each_once(faults, tmp_path, bodies, runs)


def test_two_runs_at_once_on_a_folder_that_is_not_there_yet_lose_and_spoil_nothing(
    faults: f.FaultServer, tmp_path: Path
) -> None:
    """The first requests are made before there is a folder to lock in, so some may be made twice."""
    bodies = collection(faults, tmp_path)
    (tmp_path / "out").rmdir()
    with start_gdl(*OPTIONS, "urls.txt", cwd=tmp_path) as one, start_gdl(*OPTIONS, "urls.txt", cwd=tmp_path) as other:
        runs = [one.wait(), other.wait()]
    assert [run.returncode for run in runs] == [0, 0]
    assert files(tmp_path / "out") == sorted(bodies)
    assert [name for name, body in bodies.items() if (tmp_path / "out" / name).read_bytes() != body] == []
    saved = Counter(result["url"] for run in runs for result in run.results if result["status"] == "saved")
    assert (len(saved), set(saved.values())) == (len(bodies), {1})
    twice = [path for path, count in Counter(request.path for request in faults.requests).items() if count > 1]
    assert len(twice) <= 2 * 8


def test_three_runs_that_start_one_after_the_other_download_every_file_once(
    faults: f.FaultServer, tmp_path: Path
) -> None:
    bodies = collection(faults, tmp_path)
    with ExitStack() as stack:
        running = [stack.enter_context(start_gdl(*OPTIONS, "urls.txt", cwd=tmp_path))]
        for requests in (40, 120):
            faults.wait_for_requests(requests)
            running.append(stack.enter_context(start_gdl(*OPTIONS, "--split", "2", "urls.txt", cwd=tmp_path)))
        runs = [each.wait() for each in running]
    for number in range(LARGE):  # a split file is asked for in ranges, by one run
        path = f"/{number * 70:03}-film.mp4"
        assert len([each for each in faults.requests_for(path) if not each.header("range")]) == 1
    faults.requests[:] = [request for request in faults.requests if not request.header("range")]
    assert_each_once(faults, tmp_path, bodies, runs)


def test_two_runs_in_opposite_order_download_every_file_once(faults: f.FaultServer, tmp_path: Path) -> None:
    bodies = collection(faults, tmp_path)
    lines = (tmp_path / "urls.txt").read_text().splitlines(keepends=True)
    (tmp_path / "backwards.txt").write_text("".join(reversed(lines)))
    with (
        start_gdl(*OPTIONS, "urls.txt", cwd=tmp_path) as one,
        start_gdl(*OPTIONS, "backwards.txt", cwd=tmp_path) as other,
    ):
        runs = [one.wait(), other.wait()]
    assert_each_once(faults, tmp_path, bodies, runs)
    assert all(any(result["status"] == "saved" for result in run.results) for run in runs)


def test_one_list_twice_in_one_command_is_downloaded_once(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    bodies = collection(faults, tmp_path)
    done = gdl(*OPTIONS, "urls.txt", "urls.txt")
    reasons = Counter((result["status"], result["reason"]) for result in done.results)
    assert (reasons["saved", None], sum(reasons.values())) == (len(bodies), 2 * len(bodies))
    assert set(reasons) <= {("saved", None), ("skipped", "duplicate")}
    assert set(Counter(request.path for request in faults.requests).values()) == {1}
    assert {name: body == (tmp_path / "out" / name).read_bytes() for name, body in bodies.items()} == (
        dict.fromkeys(bodies, True)
    )
    assert files(tmp_path / "out") == sorted(bodies)


def test_two_runs_whose_files_get_their_names_from_the_response_spoil_nothing(
    faults: f.FaultServer, tmp_path: Path
) -> None:
    names = [f"{number}.mp4" for number in range(8)]
    bodies = {name: version(number, 2 * MIB) for number, name in enumerate(names)}
    for name, body in bodies.items():
        film = Film(body, pace=0.005, content_disposition=f'attachment; filename="{name}"')
        faults.route(f"/get?{name}", film)
    urls = [faults.url(f"/get?{name}") for name in names]
    with start_gdl(*OPTIONS, *urls, cwd=tmp_path) as one, start_gdl(*OPTIONS, *urls, cwd=tmp_path) as other:
        runs = [one.wait(), other.wait()]
    assert [run.returncode for run in runs] == [0, 0]
    assert {name: body == (tmp_path / "out" / name).read_bytes() for name, body in bodies.items()} == (
        dict.fromkeys(bodies, True)
    )
    assert files(tmp_path / "out") == names
    outcomes = Counter((result["status"], result["reason"]) for run in runs for result in run.results)
    assert outcomes["saved", None] == len(names)
    assert set(outcomes) <= {("saved", None), ("skipped", "exists"), ("skipped", "in progress")}


def test_what_another_run_holds_is_in_progress_and_not_even_asked_for(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    small, large = samples.picture(1, 20_000), version(0, 6 * MIB)
    paths: dict[str, f.Response] = {
        "/silent.jpg": f.hold,
        "/small.jpg": f.stalled(small, 9000),
        "/large.mp4": Film(large, stall=5 * MIB),
    }
    urls = [faults.route(path, response) for path, response in paths.items()]
    free = faults.route("/free.jpg", f.ok(small))
    with start_gdl(*OPTIONS, *urls, cwd=tmp_path) as holder:
        faults.wait_for_requests(3)
        wait_until((tmp_path / "out" / LOCK).exists, "the lock")
        part = tmp_path / "out/large.mp4.part"
        wait_until(lambda: part.exists() and part.stat().st_size > 4 * MIB, "the part")
        for number in (1, 2):
            done = gdl(*OPTIONS, *urls, free)
            assert done.returncode == 0
            assert {result["url"]: (result["status"], result["reason"]) for result in done.results} == {
                **dict.fromkeys(urls, ("skipped", "in progress")),
                free: ("saved", None) if number == 1 else ("skipped", "exists"),
            }
            assert (tmp_path / "out" / LOCK).exists(), "the first one is still there"
        assert [len(faults.requests_for(path)) for path in (*paths, "/free.jpg")] == [1, 1, 1, 1]
        for path, body in (("/silent.jpg", small), ("/small.jpg", small), ("/large.mp4", large)):
            faults.route(path, Film(body, media_type=None))
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    # The dead hold nothing: what it had is continued, and its lock is cleared away.
    before = len(faults.requests)
    done = gdl(*OPTIONS, *urls, free)
    assert Counter(result["status"] for result in done.results) == {"saved": 3, "skipped": 1}
    assert files(tmp_path) == ["out/free.jpg", "out/large.mp4", "out/silent.jpg", "out/small.jpg"]
    assert (tmp_path / "out/large.mp4").read_bytes() == large
    ranges = {request.path: request.header("range") is not None for request in faults.requests[before:]}
    assert ranges == {"/silent.jpg": False, "/small.jpg": False, "/large.mp4": True}


def test_a_stopped_run_gives_its_files_to_one_that_starts_then(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    body = version(0, 3 * MIB)
    url = faults.route("/film.mp4", Film(body, stall=2 * MIB), film := Film(body))
    with start_gdl(*OPTIONS, url, cwd=tmp_path) as holder:
        part = tmp_path / "out/film.mp4.part"
        wait_until(lambda: part.exists() and part.stat().st_size > MIB, "the part")
        holder.send_signal(signal.SIGINT)
        assert holder.wait().returncode == 130
    assert files(tmp_path / "out") == ["film.mp4.part", "film.mp4.part.json"], "no lock is left"
    done = gdl(*OPTIONS, url)
    assert [result["status"] for result in done.results] == ["saved"]
    assert (tmp_path / "out/film.mp4").read_bytes() == body
    assert film.answers[0].status == 206


def test_two_runs_on_two_lists_that_want_one_name_lose_neither_file(faults: f.FaultServer, tmp_path: Path) -> None:
    """Each run has a name for its own; that of the other run is taken, and never written over."""
    one_body, other_body = version(0, 2 * MIB), version(1, 2 * MIB)
    one_url = faults.route("/one/film.mp4", Film(one_body, pace=0.01))
    other_url = faults.route("/other/film.mp4", Film(other_body, pace=0.01))
    with start_gdl(*OPTIONS, one_url, cwd=tmp_path) as one, start_gdl(*OPTIONS, other_url, cwd=tmp_path) as other:
        runs = [one.wait(), other.wait()]
    [first], [second] = runs[0].results, runs[1].results
    assert sorted([first["status"], second["status"]]) == ["saved", "skipped"]
    saved = one_body if first["status"] == "saved" else other_body
    assert files(tmp_path / "out") == ["film.mp4"]
    assert (tmp_path / "out/film.mp4").read_bytes() == saved


def test_no_lock_is_left_by_any_kind_of_run(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    body = samples.picture(1, 20_000)
    good, bad = faults.route("/good.jpg", f.ok(body)), faults.route("/bad.jpg", f.status(404))
    part = faults.route("/part.mp4", cut_film(version(0, 3 * MIB), 2 * MIB))
    (tmp_path / "urls.txt").write_text(f"{good} sub/folder/good.jpg\n{bad}\n{part} --retries\n")
    gdl(*OPTIONS, "--retries", "0", "urls.txt", good)
    gdl(*OPTIONS, "--dry-run", "urls.txt")
    assert [name for name in files(tmp_path) if name.endswith(LOCK)] == []
