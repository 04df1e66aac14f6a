"""Disks that are full, broken, closed or pulled away: gdl as a process, on real file systems and on calls that fail.

What holds in each case: every URL has one result, no file under its final name is wrong, the exit code and the words
say what happened, and the same command, given again when the trouble is over, finishes and leaves nothing behind.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from support import answers, samples
from support import faults as f
from support.cli import GDL, Completed, RunningGdl, run_gdl, start_gdl
from support.disks import read_only, resize, tmpfs, without_privileges
from support.failing import Call, Failing, Fault, only, read_calls
from support.parts import Film, cut_film, leave_parts
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from support.cli import RunGdl

MEGABYTE = 1024 * 1024
CLIP = samples.mp4(3 * MEGABYTE)
BODIES = {"clip.mp4": CLIP, "a.jpg": samples.picture(1), "b.jpg": samples.picture(2)}
PART = {"clip.mp4.part", "clip.mp4.part.json"}
SMALL = {"a.jpg", "b.jpg"}
ALL = set(BODIES)
TAG = '"v1"'


def served(body: bytes) -> f.Response:
    """An honest server's file, of the type that its bytes have."""
    return f.resource(body, "video/mp4" if body[4:8] == b"ftyp" else "image/jpeg", etag=TAG)


def names(folder: Path) -> set[str]:
    """All files below a folder, by their path in it; none where there is no folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def wrong(folder: Path, bodies: Mapping[str, bytes] = BODIES) -> set[str]:
    """Files under a final name that are not what the server has."""
    return {
        name
        for name in names(folder)
        if not name.endswith((".part", ".part.json", ".gdl.lock")) and (folder / name).read_bytes() != bodies.get(name)
    }


def name_of(result: Mapping[str, Any]) -> str:
    """The last segment of a result's URL."""
    return str(result["url"].rpartition("/")[2])


def outcome(done: Completed) -> dict[str, tuple[str, str | None]]:
    """Status and kind of error by name; each URL has one result, and none of them is a bug."""
    found = {name_of(result): (result["status"], (result["error"] or {}).get("kind")) for result in done.results}
    assert len(found) == len(done.results), done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    assert "gdl has a bug" not in done.stderr, done.stderr
    return found


def with_status(done: Completed, status: str) -> set[str]:
    """The names of the results with a status."""
    return {name for name, (found, _) in outcome(done).items() if found == status}


# Calls that fail


@dataclass(frozen=True)
class Case:
    """A run in which calls fail, and what must come of it."""

    what: str
    faults: tuple[Fault, ...]
    codes: frozenset[int]
    """Exit codes, any of which is right."""
    fails: frozenset[str] = frozenset()
    """Names that fail; with exit code 1 all others are saved."""
    says: str = ""
    """The error in words."""
    kept: bool = False
    """Whether the next run goes on where this one ended."""
    warnings: int | None = None
    """How many lines speak of locks."""
    fsync: bool = False
    folder: bool = True
    """Whether the output folder is there already."""
    nameless: bool = False
    """Whether it is about files without a name, which some file systems do not have."""


def cases(
    what: str,
    calls: str,
    path: str,
    numbers: Sequence[int],
    code: int,
    fails: AbstractSet[str] = frozenset(),
    *,
    when: str = "1+",
    **more: Any,
) -> list[Case]:
    """A case for each errno."""
    return [
        Case(
            f"{what} {errno.errorcode[number]}",
            (Fault(calls, number, path, when),),
            frozenset({code}),
            frozenset(fails),
            os.strerror(number) if code else "",
            **more,
        )
        for number in numbers
    ]


FULL = (errno.ENOSPC, errno.EDQUOT)
STOPS = (*FULL, errno.EROFS, errno.EIO)
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
ONE_ITEM = (errno.EACCES, errno.ENAMETOOLONG)
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
THE_CLIP = {"clip.mp4"}
NAMING = "rename,renameat2,link"

FAILURES = [
    *cases("part made", "create", "clip.mp4.part$", (errno.ENOSPC, errno.EROFS, *NO_DESCRIPTORS), 3, THE_CLIP),
    *cases("part made", "create", "clip.mp4.part$", ONE_ITEM, 1, THE_CLIP),
    *cases("part locked", "flock", "clip.mp4.part$", (errno.EIO,), 3, THE_CLIP),
    *cases("part locked", "flock", "clip.mp4.part$", (errno.EPERM, errno.EACCES), 1, THE_CLIP),
    *cases("part emptied", "truncate", "clip.mp4.part$", (errno.EIO,), 3, THE_CLIP),
    *cases("state made", "create", "clip.mp4.part.json$", (*FULL, errno.EMFILE), 3, THE_CLIP),
    *cases("state made", "create", "clip.mp4.part.json$", ONE_ITEM, 1, THE_CLIP),
    *cases("state written", "write", "clip.mp4.part.json$", (errno.ENOSPC, errno.EIO), 3, THE_CLIP),
    *cases("part written", "write", "clip.mp4.part$", STOPS, 3, THE_CLIP, when="@1700000", kept=True),
    *cases("part begun", "write", "clip.mp4.part$", (errno.ENOSPC,), 3, THE_CLIP),
    *cases("part written", "write", "clip.mp4.part$", (errno.EFBIG,), 1, THE_CLIP, when="@1700000"),
    *cases("part named", NAMING, "clip.mp4$", STOPS, 3, THE_CLIP, kept=True),
    *cases("part named", NAMING, "clip.mp4$", ONE_ITEM, 1, THE_CLIP),
    *cases("nameless made", "tmpfile", "/out$", (errno.EDQUOT, errno.EROFS, errno.EMFILE), 3, SMALL, nameless=True),
    *cases("nameless written", "write", "/#", (*FULL, errno.EIO), 3, SMALL, nameless=True),
    *cases("nameless linked", "link", "a.jpg$", (*FULL, errno.EROFS), 3, {"a.jpg"}, nameless=True),
    *cases("part closed", "close", "clip.mp4.part$", STOPS, 3, THE_CLIP),
    *cases("part closed with fsync", "close", "clip.mp4.part$", FULL, 3, THE_CLIP, fsync=True),
    *cases("part closed", "close", "clip.mp4.part$", (errno.EPERM, errno.EINTR), 1, THE_CLIP),
    *cases("part duplicated", "dup", "clip.mp4.part$", NO_DESCRIPTORS, 3, THE_CLIP),
    *cases("nameless closed", "close", "/#", (*FULL, errno.EIO), 3, SMALL, nameless=True),
    *cases("nameless closed with fsync", "close", "/#", (errno.EDQUOT,), 3, SMALL, fsync=True, nameless=True),
    *cases("nameless closed", "close", "/#", (errno.EPERM,), 1, SMALL, nameless=True),
    *cases("everything closed", "close", "", (errno.EDQUOT, errno.EIO), 3, ALL),
    *cases("everything closed", "close", "", (errno.EPERM,), 1, ALL),
    Case(
        "a write of nothing",
        (Fault("write", "nothing", "clip.mp4.part$", "@1700000"),),
        frozenset({3}),
        frozenset(THE_CLIP),
        os.strerror(errno.EIO),
        kept=True,
    ),
    *cases("folder made", "mkdir", "/out$", (errno.ENOSPC, errno.EROFS, errno.EACCES), 3, ALL, folder=False),
    *cases("part synced", "fsync,fdatasync", "clip.mp4.part$", (errno.EIO, errno.ENOSPC), 3, THE_CLIP, fsync=True),
    *cases("nameless synced", "fsync,fdatasync", "/#", (errno.EIO,), 3, SMALL, fsync=True, nameless=True),
    *cases("folder synced", "fsync,fdatasync", "/out$", (errno.EIO,), 3, fsync=True),
]

# Nothing that has another way, or is there for comfort only, keeps a file from being saved.
HARMLESS = [
    Case("every write is short", (Fault("write", "short"),), frozenset({0})),
    *cases("no nameless files", "tmpfile", "", (errno.EOPNOTSUPP, errno.EACCES, errno.EIO), 0),
    *cases("no links to nameless files", "link", "", (errno.ENOENT, errno.EACCES, errno.EIO, errno.ENAMETOOLONG), 0),
    *cases("no renaming without replacing", "renameat2", "", (errno.ENOSYS, errno.EIO, errno.EACCES), 0),
    Case(
        "neither that nor links",
        (Fault("renameat2", errno.EINVAL), Fault("link", errno.EPERM), Fault("tmpfile", errno.EOPNOTSUPP)),
        frozenset({0}),
    ),
    *cases("free space unknown", "statvfs", "", (errno.ENOSYS,), 0),
    *cases("folder cannot be synced", "fsync,fdatasync", "/out$", (errno.EINVAL,), 0, fsync=True),
    *cases("no whole-file locks", "flock", "", NO_LOCKS, 0, warnings=1),
    *cases("no byte-range locks", "lock", "", NO_LOCKS, 0, warnings=1),
    *cases("no locks at all", "flock,lock", "", NO_LOCKS, 0, warnings=1),
    *cases("no locks for writing", "lock", ".gdl.lock$", (errno.EAGAIN, errno.EACCES), 0, when="2+", warnings=1),
    *cases("no lock file", "create", ".gdl.lock$", (errno.EIO, errno.ENOSPC), 0),
    *cases("a lock file of somebody else's", "create", ".gdl.lock$", (errno.EACCES,), 0, warnings=1),
    *cases("a lock file that stays", "unlink", ".gdl.lock$", (errno.EIO,), 0),
]

# Nobody asks again what has been answered, and where nothing is lost nothing is told.
HARMLESS += [
    *cases("lock file closed", "close", ".gdl.lock", (errno.EIO, errno.EDQUOT, errno.EPERM), 0),
    *cases("state closed", "close", "clip.mp4.part.json", (errno.EIO, errno.EDQUOT, errno.EPERM), 0),
    *cases("published file closed", "close", "/out/clip.mp4$", (errno.EIO, errno.EDQUOT), 0),
    *cases("part closed when a signal comes", "close", "clip.mp4.part$", (errno.EINTR,), 0, when="1"),
    *cases(
        "part synced, closed when a signal comes",
        "close",
        "clip.mp4.part$",
        (errno.EINTR,),
        0,
        when="1",
        fsync=True,
    ),
    *cases("lock file made open to others", "chmod", ".gdl.lock$", (errno.EPERM,), 0),
]

NO_NOREPLACE = Fault("renameat2", errno.EINVAL)
KILLED = frozenset({-signal.SIGKILL})
KILLS = [
    Case("part linked, not yet unlinked", (NO_NOREPLACE, Fault("unlink", "kill", "clip.mp4.part$")), KILLED),
    Case(
        "name reserved, not yet taken",
        (NO_NOREPLACE, Fault("link", errno.EPERM), Fault("rename", "kill", "clip.mp4$")),
        KILLED,
    ),
    Case("state in the middle", (Fault("write", "kill", "clip.mp4.part$", "@2500000"),), KILLED, kept=True),
]

# In a run that saves all, in this order or another; which one it is that fails does not matter to what must hold.
OTHERS = "create,open,tmpfile,truncate,fsync,fdatasync,flock,lock,rename,renameat2,link,unlink,mkdir,statvfs"
SWEEP = [
    Case(f"EIO at call {number}", (Fault(OTHERS, errno.EIO, "", str(number)),), frozenset({0, 1, 3}), fsync=True)
    for number in range(2, 36, 4)
] + [
    Case(f"kill at call {number}", (Fault(OTHERS, "kill", "", str(number)),), KILLED | {0}, fsync=True)
    for number in range(3, 36, 4)
]


@dataclass(frozen=True)
class Played:
    """A case that was played: the run in trouble, then the same command without, where anything was left to do."""

    done: Completed
    left: set[str]
    wrong: set[str]
    again: Completed
    left_at_last: set[str]
    wrong_at_last: set[str]
    asked_again: list[str | None]
    """The Range of each request for the clip in the second run."""
    hit: list[Call]
    """The calls that failed."""


def play(case: Case, server: f.FaultServer, failing: Failing, folder: Path, number: int) -> Played:
    """Play a case in a folder of its own; the clip comes last in the list, and nothing is tried twice."""
    urls = [server.route(f"/{number}/{name}", served(BODIES[name])) for name in sorted(BODIES)]
    args = ["--json", "--retries", "0", "-o", "out", *(["--fsync"] if case.fsync else []), *urls]
    out = folder / "out"
    if case.folder:
        out.mkdir()
    clip = f"/{number}/clip.mp4"
    log = folder / "calls.log"
    actions = {-signal.SIGKILL, *(fault.action for fault in case.faults)}
    try:
        done = run_gdl(*args, cwd=folder, env=failing.environment(*case.faults, within=folder, log=log))
        left, wrong_before, asked = names(out), wrong(out), len(server.requests_for(clip))
        finished = done.returncode == 0 and left == ALL
        again = done if finished else run_gdl(*args, cwd=folder)
        ranges = [request.header("range") for request in server.requests_for(clip)[asked:]]
        hit = [call for call in read_calls(log) if call.error in actions]
        return Played(done, left, wrong_before, again, names(out), wrong(out), ranges, hit)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def play_case(
    request: pytest.FixtureRequest, failing: Failing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], Played]]:
    """Plays the cases of all tests that were selected at the same time, and hands out what came of each."""
    functions = [item for item in request.session.items if isinstance(item, pytest.Function)]
    parameters = [item.callspec.params.get("case") for item in functions if hasattr(item, "callspec")]
    selected = [case for case in parameters if isinstance(case, Case)]
    base = tmp_path_factory.mktemp("cases")
    with f.FaultServer() as server, ThreadPoolExecutor(max(3, os.cpu_count() or 1)) as pool:
        played = {}
        for number, case in enumerate(selected):
            folder = base / str(number)
            folder.mkdir()
            played[case] = pool.submit(play, case, server, failing, folder, number)
        try:
            yield lambda case: played[case].result()
        finally:
            pool.shutdown(cancel_futures=True)


def identify(case: Case) -> str:
    return case.what.replace(" ", "-")


def check_the_next_run(played: Played) -> None:
    """The same command again finishes everything and leaves nothing but the files."""
    assert played.again.returncode == 0, played.again.stderr
    assert set(outcome(played.again)) == ALL
    assert with_status(played.again, "failed") == set()
    assert played.left_at_last == ALL, played.hit
    assert played.wrong_at_last == set()


def check_goes_on(played: Played) -> None:
    """The next run asks for what is missing, and for nothing else."""
    [asked] = played.asked_again
    assert asked is not None
    assert asked.startswith("bytes=")
    assert int(asked.removeprefix("bytes=").partition("-")[0]) >= MEGABYTE


@pytest.fixture(scope="session")
def nameless(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether the tests' file system has files without a name."""
    try:
        os.close(os.open(tmp_path_factory.getbasetemp(), os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("case", FAILURES, ids=identify)
def test_a_failing_call_is_told_and_costs_no_more_than_it_must(
    case: Case, play_case: Callable[[Case], Played], nameless: bool
) -> None:
    if case.nameless and not nameless:
        pytest.skip("this file system has no files without a name")
    played = play_case(case)
    done = played.done
    assert played.hit or case.faults[0].action == "nothing"
    assert done.returncode in case.codes, done.stderr
    results = outcome(done)
    assert set(results) == ALL
    failed = with_status(done, "failed")
    assert not case.fails or case.fails & failed
    if done.returncode == 1:
        assert failed == case.fails
        assert all(kind == "name" for status, kind in results.values() if status == "failed"), results
    else:
        assert {kind for status, kind in results.values() if status == "failed"} <= {"disk", "interrupted"}
        assert "disk" in {kind for _, kind in results.values()}
    told = [line for line in done.stderr.splitlines() if case.says in line]
    places = {*(case.fails & failed), f"{os.sep}out" if not case.fails else "out"}
    assert any(place in line for line in told for place in places), done.stderr
    assert played.wrong == set()
    assert played.left - ALL in (set(), PART), "a part lies beside its state or not at all"
    check_the_next_run(played)
    if case.kept:
        assert played.left >= PART
        check_goes_on(played)


@pytest.mark.parametrize("case", HARMLESS, ids=identify)
def test_what_the_system_lacks_keeps_no_file_from_being_saved(case: Case, play_case: Callable[[Case], Played]) -> None:
    played = play_case(case)
    assert played.hit or case.faults[0].action == "short" or "chmod" in case.faults[0].calls
    assert played.done.returncode == 0, played.done.stderr
    assert outcome(played.done) == dict.fromkeys(ALL, ("saved", None))
    assert played.wrong == set()
    assert played.left - {".gdl.lock"} == ALL
    warnings = [line for line in played.done.stderr.splitlines() if "lock" in line]
    if case.warnings is not None:
        assert len(warnings) == case.warnings, played.done.stderr
    check_the_next_run(played)
    assert played.asked_again == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EIO, errno.ESTALE])
def test_a_state_that_cannot_be_removed_keeps_no_file_from_being_saved_nor_found(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path, number: int
) -> None:
    faults.route("/clip.mp4", served(CLIP))
    env = failing.environment(Fault("unlink", number, ".part.json$"), within=tmp_path / "out")
    for status in ("saved", "skipped"):
        done = gdl("--json", "-o", "out", faults.url("/clip.mp4"), env=env)
        assert done.returncode == 0, done.stderr
        assert outcome(done) == {"clip.mp4": (status, None)}
        assert names(tmp_path / "out") == {"clip.mp4", "clip.mp4.part.json"}
    assert gdl("--json", "-o", "out", faults.url("/clip.mp4")).returncode == 0
    assert names(tmp_path / "out") == {"clip.mp4"}
    assert wrong(tmp_path / "out") == set()


@pytest.mark.parametrize("case", KILLS, ids=identify)
def test_a_run_that_is_killed_at_the_worst_moment_is_finished_by_the_next(
    case: Case, play_case: Callable[[Case], Played]
) -> None:
    played = play_case(case)
    assert played.done.returncode == -signal.SIGKILL
    check_the_next_run(played)
    if case.kept:
        check_goes_on(played)


@pytest.mark.parametrize("case", SWEEP, ids=identify)
def test_whichever_call_fails_no_file_is_wrong_and_the_next_run_finishes(
    case: Case, play_case: Callable[[Case], Played]
) -> None:
    played = play_case(case)
    assert played.done.returncode in case.codes, played.done.stderr
    assert played.wrong == set()
    if played.done.returncode >= 0:
        assert set(outcome(played.done)) == ALL
        assert (with_status(played.done, "failed") == set()) == (played.done.returncode == 0)
    check_the_next_run(played)


# What file systems tell of files


def in_a_run(gdl: RunGdl, faults: f.FaultServer, env: dict[str, str]) -> Completed:
    urls = [faults.route(f"/{name}", served(body)) for name, body in BODIES.items()]
    return gdl("--json", "--retries", "1", "-o", "out", *urls, env=env)


NO_NAMELESS = Fault("tmpfile", errno.EOPNOTSUPP)


@pytest.mark.parametrize("faulty", [(), (NO_NAMELESS,), (NO_NAMELESS, NO_NOREPLACE)], ids=["", "named", "linked"])
@pytest.mark.parametrize("links", [0, 2, 7])
def test_a_count_of_links_that_means_nothing_keeps_no_file_from_being_saved(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path, links: int, faulty: tuple[Fault, ...]
) -> None:
    env = failing.environment(*faulty, within=tmp_path / "out", stat=f"links:{links}")
    for status in ("saved", "skipped"):
        done = in_a_run(gdl, faults, env)
        assert (done.returncode, outcome(done)) == (0, dict.fromkeys(ALL, (status, None))), done.stderr
        assert "warning" not in done.stderr
        assert (names(tmp_path / "out"), wrong(tmp_path / "out")) == (ALL, set())


@pytest.mark.parametrize("links", [0, 2, 7])
def test_a_part_is_continued_or_begun_again_whatever_its_links_are_counted_as(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path, links: int
) -> None:
    url = faults.route("/clip.mp4", cut_film(CLIP, 2 * MEGABYTE))
    leave_parts(tmp_path, url)
    assert names(tmp_path / "out") == PART
    film = Film(CLIP)
    faults.route("/clip.mp4", film)
    env = failing.environment(within=tmp_path / "out", stat=f"links:{links}")
    done = gdl("--json", "-o", "out", url, env=env)
    assert (done.returncode, outcome(done)) == (0, {"clip.mp4": ("saved", None)}), done.stderr
    assert (names(tmp_path / "out"), wrong(tmp_path / "out")) == ({"clip.mp4"}, set())
    assert (film.ranges[0] is None) == (links > 1), "what may be another file's name is not written to"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("faulty", [(), (NO_NAMELESS,), (NO_NAMELESS, NO_NOREPLACE)], ids=["", "named", "linked"])
def test_files_whose_numbers_change_are_failures_that_end(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path, faulty: tuple[Fault, ...]
) -> None:
    done = in_a_run(gdl, faults, failing.environment(*faulty, within=tmp_path / "out", stat="numbers"))
    assert done.returncode == 1
    failed = ALL if faulty else THE_CLIP
    assert outcome(done) == {name: ("failed", "name") if name in failed else ("saved", None) for name in ALL}
    assert "out/clip.mp4.part is another file whenever it is opened" in done.stderr
    assert (names(tmp_path / "out"), wrong(tmp_path / "out")) == (ALL - failed, set())


# What the disk has been told to keep


def calls_of_a_run(failing: Failing, gdl: RunGdl, faults: f.FaultServer, folder: Path, *args: str) -> list[Call]:
    """The calls of a run that saves everything, on paths in its folder."""
    log = folder / "calls.log"
    urls = [faults.route(f"/{name}", served(body)) for name, body in BODIES.items()]
    done = gdl("--json", "-o", "out", *args, *urls, env=failing.environment(within=folder / "out", log=log))
    assert outcome(done) == dict.fromkeys(ALL, ("saved", None))
    assert wrong(folder / "out") == set()
    return read_calls(log)


def test_with_fsync_the_bytes_are_on_the_disk_before_the_name_and_the_name_after(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path
) -> None:
    calls = calls_of_a_run(failing, gdl, faults, tmp_path, "--fsync")
    syncs = only(calls, "fsync,fdatasync")
    for name in BODIES:
        [named] = [call for call in only(calls, NAMING, f"/out/{name}") if not call.error]
        file = named.path
        assert any(sync.path == file and sync.end < named.start for sync in syncs), f"{name} is synced first"
        last_write = max(call.end for call in calls if call.kind == "write" and call.path == file)
        assert any(sync.path == file and sync.start > last_write for sync in syncs), f"all of {name} is synced"
        assert any(sync.path.endswith("/out") and sync.start > named.end for sync in syncs), f"and its name {name}"


def test_with_fsync_the_names_of_new_folders_are_on_the_disk_too(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path
) -> None:
    faults.route("/a.jpg", served(BODIES["a.jpg"]))
    listed, log = f"{faults.url('/a.jpg')} new/sub/a.jpg\n", tmp_path / "calls.log"
    done = gdl("--fsync", "-o", "out", "-", stdin=listed, env=failing.environment(within=tmp_path, log=log))
    assert (done.returncode, names(tmp_path)) == (0, {"calls.log", "out/new/sub/a.jpg"}), done.stderr
    calls = read_calls(log)
    made = [call for call in only(calls, "mkdir") if not call.error]
    assert {call.path for call in made} == {f"{tmp_path}/out", f"{tmp_path}/out/new", f"{tmp_path}/out/new/sub"}
    for folder in made:
        parent = os.path.dirname(folder.path)
        assert any(sync.path == parent and sync.start > folder.end for sync in only(calls, "fsync,fdatasync")), parent


def test_without_fsync_nothing_waits_for_the_disk(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path
) -> None:
    calls = calls_of_a_run(failing, gdl, faults, tmp_path)
    assert only(calls, "fsync,fdatasync,syncfs") == []
    assert only(calls, "write", "/clip.mp4.part")


def state_of(folder: Path) -> dict[str, Any]:
    """The state beside the clip's part."""
    state: dict[str, Any] = json.loads((folder / "clip.mp4.part.json").read_text("utf-8"))["state"]
    return state


def test_a_part_that_a_stopped_run_keeps_is_on_the_disk(
    failing: Failing, faults: f.FaultServer, tmp_path: Path
) -> None:
    faults.route("/clip.mp4", f.stalled(CLIP, 2 * MEGABYTE, "video/mp4", etag=TAG, accept_ranges="bytes"))
    log = tmp_path / "calls.log"
    env = failing.environment(within=tmp_path / "out", log=log)
    with start_gdl("-o", "out", faults.url("/clip.mp4"), cwd=tmp_path, env=env) as running:
        part = tmp_path / "out/clip.mp4.part"
        wait_until(lambda: part.exists() and part.stat().st_size > MEGABYTE, "a part of more than 1 MiB")
        running.send_signal(signal.SIGINT)
        assert running.wait().returncode == 130
    calls = read_calls(log)
    last_write = max(call.end for call in only(calls, "write", "/clip.mp4.part"))
    assert any(sync.start > last_write for sync in only(calls, "fsync,fdatasync", "/clip.mp4.part"))
    assert state_of(tmp_path / "out")["synced"] is True


def test_a_part_that_the_disk_once_failed_to_take_is_begun_again(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path
) -> None:
    """A system tells of a lost write once: the next fsync of the same file works, and proves nothing."""
    faults.route("/clip.mp4", served(CLIP))
    once = Fault("fsync,fdatasync", errno.EIO, "clip.mp4.part$", "1")
    args = ("--json", "--fsync", "-o", "out", faults.url("/clip.mp4"))
    done = gdl(*args, env=failing.environment(once, within=tmp_path))
    assert (done.returncode, outcome(done)) == (3, {"clip.mp4": ("failed", "disk")}), done.stderr
    assert (gdl(*args).returncode, names(tmp_path / "out"), wrong(tmp_path / "out")) == (0, {"clip.mp4"}, set())
    assert [request.header("range") for request in faults.requests] == [None, None]


@pytest.mark.parametrize("calls", ["create,open", "write", "truncate"])
def test_a_small_file_whose_part_cannot_be_begun_is_a_failure(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path, calls: str
) -> None:
    """It is all in memory by then; its part is there from a run that was cut off before its first byte."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.jpg.part").touch()
    (tmp_path / "out/a.jpg.part.json").touch()
    faults.route("/a.jpg", served(BODIES["a.jpg"]))
    rule = Fault(
        calls, errno.EPERM, ".part$" if calls == "truncate" else ".part.json$", "1+" if calls != "create,open" else "2+"
    )
    done = gdl("--json", "-o", "out", faults.url("/a.jpg"), env=failing.environment(rule, within=tmp_path))
    assert (done.returncode, outcome(done)) == (1, {"a.jpg": ("failed", "name")}), done.stderr
    assert wrong(tmp_path / "out") == set()


def test_what_is_said_when_a_file_was_read_again_counts(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path
) -> None:
    """A part that is continued is hashed in a thread; what closing says there is not said a second time."""
    url = faults.route("/clip.mp4", cut_film(CLIP, 2 * MEGABYTE))
    leave_parts(tmp_path, url)
    faults.route("/clip.mp4", Film(CLIP))
    args = ("--json", "--checksum-algorithm", "sha256", "-o", "out", url)
    once = Fault("close", errno.EDQUOT, "clip.mp4.part$", "1")
    done = gdl(*args, env=failing.environment(once, within=tmp_path))
    assert (done.returncode, outcome(done)) == (3, {"clip.mp4": ("failed", "disk")}), done.stderr
    assert names(tmp_path / "out") == set()
    assert (gdl(*args).returncode, wrong(tmp_path / "out")) == (0, set())


@pytest.mark.parametrize("closed", ["clip.mp4.part$", "clip.mp4.part.json$", ""])
def test_a_part_that_the_disk_does_not_keep_is_not_left(
    failing: Failing, faults: f.FaultServer, tmp_path: Path, closed: str
) -> None:
    faults.route("/clip.mp4", f.stalled(CLIP, 2 * MEGABYTE, "video/mp4", etag=TAG, accept_ranges="bytes"))
    env = failing.environment(Fault("close", errno.EDQUOT, closed), within=tmp_path / "out")
    with start_gdl("--json", "-o", "out", faults.url("/clip.mp4"), cwd=tmp_path, env=env) as running:
        part = tmp_path / "out/clip.mp4.part"
        wait_until(lambda: part.exists() and part.stat().st_size > MEGABYTE, "a part of more than 1 MiB")
        running.send_signal(signal.SIGINT)
        done = running.wait()
    assert done.returncode == 130
    assert outcome(done) == {"clip.mp4": ("failed", "disk")}, "which is more than that it was stopped"
    assert names(tmp_path / "out") == set()


WRITES = """
import errno, os, sys
def close(fd):
    try:
        os.close(fd)
    except OSError as error:
        print(errno.errorcode[error.errno], end=" ")
fd = os.open("a", os.O_WRONLY | os.O_CREAT)
os.write(fd, b"x" * 1000)
if "well before" in sys.argv:
    close(os.dup(fd))
if "more behind it" in sys.argv:
    os.write(fd, b"x" * 1000)
close(fd)
print(os.path.getsize("a"))
"""


@pytest.mark.parametrize(
    ("steps", "number", "said"),
    [
        ((), "1", "EDQUOT 500"),
        ((), "2", "1000"),
        (("well before",), "2", "EDQUOT 1000"),
        (("well before",), "1", "EDQUOT 500"),
        (("well before",), "1+", "EDQUOT EDQUOT 500"),
        (("well before", "more behind it"), "2", "EDQUOT 1000"),
    ],
)
def test_a_disk_that_fails_late_loses_what_it_had_not_been_asked_to_keep(
    failing: Failing, tmp_path: Path, steps: tuple[str, ...], number: str, said: str
) -> None:
    env = failing.environment(Fault("close", errno.EDQUOT, when=number), within=tmp_path, loses=True)
    command = [sys.executable, "-c", WRITES, *steps]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said


@pytest.mark.parametrize("more", [(), ("--fsync",), ("--checksum-algorithm", "sha256")], ids=" ".join)
def test_nothing_that_a_disk_lost_late_is_under_a_final_name(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path, more: tuple[str, ...]
) -> None:
    urls = [faults.route(f"/{name}", served(body)) for name, body in BODIES.items()]
    ends = []
    for number in range(1, 16):
        env = failing.environment(Fault("close", errno.EDQUOT, when=f"{number}+"), within=tmp_path / "out", loses=True)
        ends.append(gdl("--json", "-o", "out", *more, *urls, env=env).returncode)
        assert wrong(tmp_path / "out") == set()
    assert ends[0] == 3
    assert ends[-1] == 0, "there are no more files to close than that"
    assert (gdl("-o", "out", *urls).returncode, names(tmp_path / "out")) == (0, ALL)


@pytest.mark.parametrize("option", ["--failed", "--log-file"])
def test_a_record_on_a_disk_that_says_so_late_is_told_of(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path, option: str
) -> None:
    (tmp_path / "notes").mkdir()
    faults.route("/gone.jpg", f.status(404))
    env = failing.environment(Fault("close", errno.EDQUOT), within=tmp_path / "notes")
    done = gdl("--json", option, "notes/file", "-o", "out", faults.url("/gone.jpg"), env=env)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert f"{option}: cannot write notes/file: {os.strerror(errno.EDQUOT)}" in done.stderr


@pytest.mark.parametrize("there", [True, False])
def test_a_list_of_failures_is_not_written_through_a_link_that_the_system_does_not_follow(
    failing: Failing, gdl: RunGdl, faults: f.FaultServer, tmp_path: Path, there: bool
) -> None:
    """As Linux does with another user's link in a sticky folder (fs.protected_symlinks)."""
    target = tmp_path / "target"
    if there:
        target.write_bytes(b"mine")
    (tmp_path / "link").symlink_to(target)
    env = failing.environment(Fault("create", errno.EACCES, f"{tmp_path}/link$"), within=tmp_path)
    done = gdl("--failed", tmp_path / "link", "-o", "out", faults.url("/gone.jpg"), env=env)
    assert done.returncode == 2
    assert f"--failed: cannot write {tmp_path}/link: {os.strerror(errno.EACCES)}" in done.stderr
    assert names(tmp_path) == ({"link", "target"} if there else {"link"})
    assert not there or target.read_bytes() == b"mine"


# Real file systems


def test_a_file_larger_than_the_disk_is_refused_before_it_is_begun(
    gdl: RunGdl, faults: f.FaultServer, tmp_path: Path
) -> None:
    bodies = {"huge.mp4": samples.mp4(8 * MEGABYTE), **{f"{n}.jpg": samples.picture(n) for n in range(6)}}
    urls = [faults.route(f"/{name}", served(body)) for name, body in bodies.items()]
    with tmpfs(tmp_path / "out", "4m") as out:
        done = gdl("--json", "-o", "out", *urls)
        assert outcome(done) == {
            name: ("failed", "space") if name == "huge.mp4" else ("saved", None) for name in bodies
        }
        assert done.returncode == 1
        assert len(faults.requests_for("/huge.mp4")) == 1, "waiting makes no room"
        assert (names(out), wrong(out, bodies)) == (set(bodies) - {"huge.mp4"}, set())
        [line] = [line for line in done.stderr.splitlines() if "huge.mp4" in line and "failed" in line]
        assert "8.4 MB" in line, "it says how much would be needed"
        resize(out, "16m")
        again = gdl("--json", "-o", "out", *urls)
        assert (again.returncode, names(out), wrong(out, bodies)) == (0, set(bodies), set())


def test_the_room_of_a_part_that_is_begun_again_counts_as_free(
    gdl: RunGdl, faults: f.FaultServer, tmp_path: Path
) -> None:
    old, new = samples.mp4(8 * MEGABYTE), samples.mp4(8 * MEGABYTE + 1)
    url = faults.route("/clip.mp4", cut_film(old, 6 * MEGABYTE, etag='"old"'))
    with tmpfs(tmp_path / "out", "10m") as out:
        leave_parts(tmp_path, url)
        assert names(out) == PART
        faults.route("/clip.mp4", served(new))
        done = gdl("--json", "--retries", "0", "-o", "out", url)
        assert outcome(done) == {"clip.mp4": ("saved", None)}
        assert (names(out), wrong(out, {"clip.mp4": new})) == ({"clip.mp4"}, set())


def test_a_disk_that_fills_up_stops_the_run_and_keeps_what_can_be_continued(
    faults: f.FaultServer, tmp_path: Path
) -> None:
    """Somebody else takes the room that was free when the file was begun."""
    taken = threading.Event()
    held = f.head(200, content_length=len(CLIP), content_type="video/mp4", etag=TAG, accept_ranges="bytes")
    first = f.script(held + CLIP[: 2 * MEGABYTE], f.when(taken, f.script(CLIP[2 * MEGABYTE :], f.hold)))
    args = ["--json", "-o", "out", faults.route("/clip.mp4", first, served(CLIP))]
    with tmpfs(tmp_path / "out", "4m") as out:
        with start_gdl(*args, cwd=tmp_path) as running:
            part = out / "clip.mp4.part"
            wait_until(lambda: part.exists() and part.stat().st_size > 3 * MEGABYTE // 2, "half of the file")
            fill(out / "filler")
            taken.set()
            done = running.wait()
        assert (done.returncode, outcome(done)) == (3, {"clip.mp4": ("failed", "disk")})
        assert "No space left on device" in done.stderr
        assert names(out) == {"filler", *PART}
        (out / "filler").unlink()
        again = run_gdl(*args, cwd=tmp_path)
        assert (again.returncode, names(out), wrong(out)) == (0, {"clip.mp4"}, set())
        [asked] = [request.header("range") for request in faults.requests_for("/clip.mp4")[1:]]
        assert asked is not None
        assert int(asked.removeprefix("bytes=").partition("-")[0]) >= MEGABYTE


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 512, 1):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def test_a_body_of_unknown_length_that_fills_the_disk_leaves_no_wrong_file(
    gdl: RunGdl, faults: f.FaultServer, tmp_path: Path
) -> None:
    bodies = {"a.jpg": samples.picture(1), "live.mp4": samples.mp4(6 * MEGABYTE), "b.jpg": samples.picture(2)}
    urls = [faults.route(f"/{name}", f.until_close(body, None)) for name, body in bodies.items()]
    with tmpfs(tmp_path / "out", "4m") as out:
        done = gdl("--json", "-j", "1", "-o", "out", *urls)
        assert done.returncode == 3, done.stderr
        assert outcome(done) == {
            "a.jpg": ("saved", None),
            "live.mp4": ("failed", "disk"),
            "b.jpg": ("failed", "interrupted"),
        }
        assert "live.mp4.part: No space left on device" in done.stderr
        assert (names(out), wrong(out, bodies)) == ({"a.jpg"}, set()), "what cannot be continued takes no room"
        resize(out, "16m")
        again = gdl("--json", "-o", "out", *urls)
        assert (again.returncode, names(out), wrong(out, bodies)) == (0, set(bodies), set())


def test_a_disk_without_inodes_is_told_as_such(gdl: RunGdl, faults: f.FaultServer, tmp_path: Path) -> None:
    bodies = {f"{number}.jpg": samples.picture(number) for number in range(12)}
    urls = [faults.route(f"/{name}", served(body)) for name, body in bodies.items()]
    with tmpfs(tmp_path / "out", "4m", inodes=6) as out:
        done = gdl("--json", "-o", "out", *urls)
        assert done.returncode == 3, done.stderr
        assert set(outcome(done)) == set(bodies)
        assert {kind for _, kind in outcome(done).values()} <= {None, "disk", "interrupted"}
        assert "inodes" in done.stderr
        assert wrong(out, bodies) == set()
        resize(out, "4m", inodes=100)
        again = gdl("--json", "-o", "out", *urls)
        assert (again.returncode, names(out), wrong(out, bodies)) == (0, set(bodies), set())


def test_a_read_only_disk_stops_the_run_unless_all_is_there(gdl: RunGdl, faults: f.FaultServer, tmp_path: Path) -> None:
    urls = [faults.route(f"/{name}", served(body)) for name, body in BODIES.items()]
    args = ("--json", "-o", "out", *urls)
    out = tmp_path / "out"
    out.mkdir()
    with read_only(out):
        done = gdl(*args)
        assert done.returncode == 3, done.stderr
        assert set(outcome(done)) == with_status(done, "failed") == ALL
        assert "Read-only file system" in done.stderr
        assert "out/" in done.stderr
    assert names(out) == set()
    assert (gdl(*args).returncode, names(out), wrong(out)) == (0, ALL, set())
    asked = len(faults.requests)
    with read_only(out):
        done = gdl(*args)
        assert (done.returncode, with_status(done, "skipped")) == (0, ALL)
    assert len(faults.requests) == asked


def run_unprivileged(args: Sequence[str], folder: Path, stdin: str | None = None) -> Completed:
    """Run gdl so that permissions count for it."""
    before = without_privileges()
    program = ("-c", f"import os, sys; os.execv({before[0]!r}, {[*before, sys.executable]!r} + sys.argv[1:])", *GDL)
    with RunningGdl(args, program=program if before else GDL, cwd=folder, stdin=stdin) as running:
        return running.wait()


def test_a_folder_without_write_permission_stops_the_run(faults: f.FaultServer, tmp_path: Path) -> None:
    args = ["--json", "-o", "out", *(faults.route(f"/{name}", served(body)) for name, body in BODIES.items())]
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    done = run_unprivileged(args, tmp_path)
    assert done.returncode == 3, done.stderr
    assert set(outcome(done)) == with_status(done, "failed") == ALL
    assert "cannot write to the folder out: Permission denied" in done.stderr
    assert names(out) == set()
    out.chmod(0o755)
    assert (run_gdl(*args, cwd=tmp_path).returncode, names(out), wrong(out)) == (0, ALL, set())


def test_a_sub_folder_without_write_permission_costs_only_what_is_for_it(faults: f.FaultServer, tmp_path: Path) -> None:
    closed, out = tmp_path / "out/closed", tmp_path / "out"
    closed.mkdir(parents=True)
    into = {"clip.mp4": "closed/clip.mp4", "a.jpg": "closed/new/a.jpg", "b.jpg": "b.jpg"}
    # One after the other: what fails comes first.
    text = "".join(f"{faults.route(f'/{name}', served(BODIES[name]))} {path}\n" for name, path in into.items())
    args = ["--json", "--retries", "0", "-j", "1", "-o", "out", "-"]
    closed.chmod(0o555)
    done = run_unprivileged(args, tmp_path, text)
    closed.chmod(0o755)
    assert outcome(done) == {
        "clip.mp4": ("failed", "disk"),
        "a.jpg": ("failed", "disk"),
        "b.jpg": ("saved", None),
    }
    assert "cannot write to the folder out/closed: Permission denied" in done.stderr
    assert (done.returncode, names(out)) == (1, {"b.jpg"})
    assert run_gdl(*args, stdin=text, cwd=tmp_path).returncode == 0
    assert {path: (out / path).read_bytes() == BODIES[name] for name, path in into.items()} == dict.fromkeys(
        into.values(), True
    )


# Folders that others change meanwhile


def in_two_halves(body: bytes, go_on: threading.Event) -> f.Response:
    """A body that comes to its end when the test says so."""
    header = f.head(200, content_length=len(body), content_type="video/mp4", etag=TAG, accept_ranges="bytes")
    half = 2 * len(body) // 3
    return f.script(header + body[:half], f.when(go_on, answers.script(body[half:])))


def test_a_folder_that_is_removed_meanwhile_is_made_anew(faults: f.FaultServer, tmp_path: Path) -> None:
    go_on = threading.Event()
    faults.route("/clip.mp4", in_two_halves(CLIP, go_on), served(CLIP))
    others = [faults.route(f"/{name}", f.when(go_on, served(BODIES[name]))) for name in sorted(SMALL)]
    with start_gdl("--json", "--retries", "2", "-o", "out", faults.url("/clip.mp4"), *others, cwd=tmp_path) as running:
        out = tmp_path / "out"
        wait_until((out / "clip.mp4.part").exists, "a part")
        faults.wait_for_requests(3)
        out.rename(tmp_path / "removed")  # in one step, whatever is being written
        shutil.rmtree(tmp_path / "removed")
        go_on.set()
        done = running.wait()
    assert outcome(done) == dict.fromkeys(ALL, ("saved", None)), done.stderr
    assert (done.returncode, names(out), wrong(out)) == (0, ALL, set())
    assert {name_of(result): result["attempts"] for result in done.results}["clip.mp4"] == 2


def test_a_part_that_is_removed_meanwhile_is_downloaded_again(faults: f.FaultServer, tmp_path: Path) -> None:
    go_on = threading.Event()
    url = faults.route("/clip.mp4", in_two_halves(CLIP, go_on), served(CLIP))
    with start_gdl("--json", "--retries", "2", "-o", "out", url, cwd=tmp_path) as running:
        out = tmp_path / "out"
        wait_until((out / "clip.mp4.part.json").exists, "a part and its state")
        (out / "clip.mp4.part").unlink()
        go_on.set()
        done = running.wait()
    assert outcome(done) == {"clip.mp4": ("saved", None)}, done.stderr
    assert (names(out), wrong(out)) == ({"clip.mp4"}, set())


def test_a_file_that_takes_the_parts_place_meanwhile_is_not_published(faults: f.FaultServer, tmp_path: Path) -> None:
    go_on = threading.Event()
    url = faults.route("/clip.mp4", in_two_halves(CLIP, go_on))
    with start_gdl("--json", "--retries", "0", "-o", "out", url, cwd=tmp_path) as running:
        part = tmp_path / "out/clip.mp4.part"
        wait_until((tmp_path / "out/clip.mp4.part.json").exists, "a part and its state")
        part.unlink()
        part.write_bytes(b"precious")
        go_on.set()
        done = running.wait()
    assert outcome(done) == {"clip.mp4": ("failed", "lost")}, done.stderr
    assert "replaced" in done.stderr
    assert part.read_bytes() == b"precious"
    assert not (tmp_path / "out/clip.mp4").exists()


def test_a_folder_that_becomes_a_file_meanwhile_fails_its_items_and_no_others(
    faults: f.FaultServer, tmp_path: Path
) -> None:
    go_on = threading.Event()
    clip = faults.route("/clip.mp4", in_two_halves(CLIP, go_on), served(CLIP))
    other = faults.route("/a.jpg", f.when(go_on, served(BODIES["a.jpg"])))
    listed = f"{clip} sub/clip.mp4\n{other} a.jpg\n"
    with start_gdl("--json", "--retries", "1", "-o", "out", "-", stdin=listed, cwd=tmp_path) as running:
        out = tmp_path / "out"
        wait_until((out / "sub/clip.mp4.part").exists, "a part")
        (out / "sub").rename(tmp_path / "moved")
        (out / "sub").write_bytes(b"precious")
        go_on.set()
        done = running.wait()
    found = outcome(done)
    assert done.returncode == 1, done.stderr
    assert found["a.jpg"] == ("saved", None)
    assert found["clip.mp4"] in [("failed", "name"), ("failed", "lost")]
    assert "sub" in done.stderr
    assert (out / "sub").read_bytes() == b"precious"
    assert names(out) == {"sub", "a.jpg"}
    assert not (tmp_path / "moved/clip.mp4").exists()


def test_a_path_that_is_too_long_fails_its_item_and_no_other(
    gdl: RunGdl, faults: f.FaultServer, tmp_path: Path
) -> None:
    most = os.pathconf("/", "PC_PATH_MAX") - 1
    deep = tmp_path / "deep"
    for _ in count():
        room = most - len(os.fsencode(deep)) - len("/a.jpg.part.json")
        if room < 2:
            break
        deep /= "d" * min(200, room - 1)
    short, long = "/a.jpg", f"/{'b' * 100}.jpg"
    urls = [faults.route(path, served(BODIES["a.jpg"])) for path in (short, long)]
    try:
        done = gdl("--json", "-o", deep, *urls)
        assert outcome(done) == {short[1:]: ("saved", None), long[1:]: ("failed", "name")}, done.stderr
        assert done.returncode == 1
        assert "File name too long" in done.stderr
        assert "b" * 50 in done.stderr
        assert names(tmp_path / "deep") == {str((deep / "a.jpg").relative_to(tmp_path / "deep"))}
        done = gdl("--json", "-o", deep / ("e" * 200), *urls)
        assert with_status(done, "failed") == {short[1:], long[1:]}
        assert done.returncode in (1, 3)
        assert "File name too long" in done.stderr
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)
