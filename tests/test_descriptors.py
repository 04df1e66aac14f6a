"""A run makes do with the file descriptors it may have: it asks for more, and does less at once where it gets none."""

from __future__ import annotations

import resource
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import faults as f
from support.cli import RunningGdl
from support.samples import picture

from downloader import download
from downloader.descriptors import MOST_HANGING, MOST_NAMELESS, RAISED, Room, needed, share_out
from downloader.folders import MOST_OPEN
from downloader.options import JOBS, MOST_JOBS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.cli import Completed

PICTURE = picture(1, 20_000)
BODY = PICTURE + bytes(280_000)  # large enough for a part and its state
FEW = 256
"""What macOS gives to a process that does not ask."""


# Decisions


@pytest.mark.parametrize(
    ("jobs", "free", "expected"),
    [
        (128, None, Room(128, 256, MOST_HANGING, MOST_NAMELESS)),
        (16, None, Room(16, 64, MOST_HANGING, MOST_NAMELESS)),
        (2000, None, Room(2000, 2256, MOST_HANGING, MOST_NAMELESS)),
        (128, 100_000, Room(128, 256, MOST_HANGING, MOST_NAMELESS)),
        (128, 1000, Room(128, 256, 136, 68)),
        (128, 240, Room(24, 48, 16, 8)),
        (16, 240, Room(16, 64, 20, 10)),
        (16, 190, Room(14, 28, 16, 8)),
        (2000, 1000, Room(176, 352, 16, 8)),
        (128, 100, Room(1, 1, 16, 8)),
        (128, 0, Room(1, 1, 16, 8)),
    ],
)
def test_transfers_come_first_and_there_is_always_one(jobs: int, free: int | None, expected: Room) -> None:
    assert share_out(jobs, free) == expected


jobs_given = st.integers(1, MOST_JOBS)


@given(jobs_given, st.integers(0, 100_000))
def test_no_more_is_opened_than_may_be(jobs: int, free: int) -> None:
    room = share_out(jobs, free)
    assert 1 <= room.transfers <= min(jobs, room.connections)
    if room.transfers > 1:
        # A connection and one that is being tried, the part and its state; those of one that waits for its name; the
        # output folder, for itself and for its locks, and sub-folders.
        others = room.hanging + 2 * room.nameless + 2 + MOST_OPEN
        assert room.connections + 3 * room.transfers + others + 32 <= free


@given(jobs_given, st.integers(0, 100_000), st.integers(0, 1000))
def test_more_descriptors_are_never_worse(jobs: int, free: int, more: int) -> None:
    assert share_out(jobs, free).transfers <= share_out(jobs, free + more).transfers


@given(jobs_given)
def test_what_is_asked_for_is_enough_for_everything(jobs: int) -> None:
    assert share_out(jobs, needed(jobs)) == share_out(jobs, None)


def test_the_default_makes_full_use_of_what_the_command_asks_for() -> None:
    assert needed(JOBS) < RAISED


# For real


def limited(soft: int, hard: int) -> Sequence[str]:
    """What Python is told to run so that gdl may open no more."""
    program = f"""
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
runpy.run_module("downloader", run_name="__main__", alter_sys=True)
"""
    return "-c", program


def run(folder: Path, *args: str, soft: int = FEW, hard: int = FEW) -> Completed:
    with RunningGdl((*args, "-o", "out", "urls.txt"), program=limited(soft, hard), cwd=folder) as running:
        return running.wait()


@contextmanager
def hosts(count: int) -> Iterator[list[f.FaultServer]]:
    """Servers that send half of each file, and the rest a moment later."""
    head = f.head(200, content_type="image/jpeg", content_length=str(len(BODY)))
    with ExitStack() as stack:
        servers = [stack.enter_context(f.FaultServer()) for _ in range(count)]
        for server in servers:
            server.otherwise(f.script(head, BODY[:200_000], f.pause(0.1), BODY[200_000:]))
        yield servers


def addresses(servers: list[f.FaultServer], each: int) -> list[str]:
    return [server.url(f"/{place}-{turn}.jpg") for turn in range(each) for place, server in enumerate(servers)]


def saved(folder: Path) -> int:
    return len([path for path in (folder / "out").iterdir() if path.read_bytes() == BODY])


def test_a_low_limit_costs_time_and_no_files(tmp_path: Path) -> None:
    with hosts(40) as servers:
        (tmp_path / "urls.txt").write_text("\n".join(addresses(servers, 8)))
        done = run(tmp_path, "-v")
    assert done.returncode == 0, done.stderr[-2000:]
    assert saved(tmp_path) == 320
    assert "transfers at once: the limit of open files (ulimit -n) is too low for 128\n" in done.stderr


def test_files_that_wait_for_their_names_do_so_only_as_far_as_they_may_be_open(tmp_path: Path) -> None:
    with hosts(10) as servers:
        # Until this one is answered none of the others gets the name that all of them want.
        first = servers[0].url("/first/")
        head = f.head(200, content_type="image/jpeg", content_length=str(len(BODY)))
        servers[0].route("/first/", f.script(f.pause(2), head, BODY))
        others = [server.url(f"/{turn}/a.jpg") for turn in range(30) for server in servers]
        (tmp_path / "urls.txt").write_text("\n".join([first, *others]))
        done = run(tmp_path, "--per-host", "20")
    assert done.returncode == 0, done.stderr[-2000:]
    assert saved(tmp_path) == 301


@pytest.mark.parametrize(("jobs", "told"), [("100", True), ("4", False)])
def test_who_asks_for_more_than_can_be_is_warned(tmp_path: Path, jobs: str, told: bool) -> None:
    with hosts(1) as servers:
        (tmp_path / "urls.txt").write_text("\n".join(addresses(servers, 2)))
        done = run(tmp_path, "-j", jobs)
    assert done.returncode == 0, done.stderr
    assert ("the limit of open files (ulimit -n) is too low for 100" in done.stderr) is told


@pytest.mark.skipif(
    0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] < RAISED, reason="this process may not raise its limit either"
)
def test_the_command_raises_a_limit_that_may_be_raised(tmp_path: Path) -> None:
    with hosts(1) as servers:
        (tmp_path / "urls.txt").write_text("\n".join(addresses(servers, 2)))
        done = run(tmp_path, "-v", hard=RAISED)
    assert done.returncode == 0, done.stderr
    assert "ulimit" not in done.stderr


def test_the_library_leaves_the_limit_alone(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with hosts(1) as servers:
        results = list(download(addresses(servers, 2), output=str(tmp_path / "out")))
    assert [result.status for result in results] == ["saved", "saved"]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
