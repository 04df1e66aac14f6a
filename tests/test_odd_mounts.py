"""A file system with oddities, a real mount: full when files are closed, without links, with counts of its own.

What holds on each: every URL has one result, no file under its final name is wrong, the exit code says what happened,
the run ends, and the next one, where the oddity is gone, finishes and takes no file for whole that is not.
"""

from __future__ import annotations

import errno
import signal
import zlib
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support import samples
from support.cli import run_gdl, start_gdl
from support.oddfs import Oddities, odd
from support.parts import MIB, Film, files, listing, part_path, version
from support.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Completed

BODIES = {
    **{f"{number}.jpg": samples.picture(number) for number in range(8)},
    "new/a.jpg": samples.picture(8),
    "clip.mp4": version(1, 5 * MIB // 2),
}
INVALID = (errno.EINVAL,)
REFUSALS = (
    errno.EIO,
    errno.EPERM,
    errno.EACCES,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EMLINK,
    errno.EINVAL,
    errno.ENOTTY,
)
HARMLESS = [
    Oddities(rename=REFUSALS),
    Oddities(link=REFUSALS, rename=INVALID),
    Oddities(links=0),
    *(Oddities(links=links, rename=INVALID) for links in range(4)),
    Oddities(folder_links=0, link=INVALID, rename=INVALID),
    Oddities(numbers="names"),
    Oddities(numbers="names", rename=INVALID),
    Oddities(forgotten=True),
    Oddities(forgotten=True, numbers="names", links=0, folder_links=0, rename=INVALID),
]
CLOSED = [
    *((Oddities(at_flush=number), 3, ()) for number in (errno.EDQUOT, errno.ENOSPC, errno.EIO)),
    (Oddities(at_flush=errno.EDQUOT, room=MIB), 3, ()),
    (Oddities(at_flush=errno.EDQUOT, link=INVALID, rename=INVALID), 3, ()),
    (Oddities(at_flush=errno.EACCES), 1, ()),
    (Oddities(at_flush=errno.ENOSPC), 3, ("--existing", "overwrite")),
    (Oddities(at_flush=errno.ENOSPC), 3, ("--split", "4")),
    (Oddities(at_flush=errno.EDQUOT), 3, ("--fsync",)),
    *((Oddities(at_fsync=number), 3, ("--fsync",)) for number in (errno.EDQUOT, errno.EIO)),
    (Oddities(at_fsync=errno.ENOSPC, room=MIB), 3, ("--fsync",)),
]


@pytest.fixture
def urls(faults: f.FaultServer) -> str:
    """A list of what there is."""
    for name, body in BODIES.items():
        faults.route(f"/{name}", Film(body, media_type="video/mp4" if name.endswith("mp4") else "image/jpeg"))
    return listing((faults.url(f"/{name}"), name) for name in BODIES)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Length and CRC-32 of all that lies in a folder and below."""
    found = {name: (folder / name).read_bytes() for name in files(folder)}
    return {name: (len(body), zlib.crc32(body)) for name, body in found.items()}


WANTED = {name: (len(body), zlib.crc32(body)) for name, body in BODIES.items()}


def told(done: Completed) -> dict[str, tuple[str, str | None]]:
    """Status and reason by name; each URL has one result, and none of them is a bug of gdl's."""
    assert len(done.by_url) == len(done.results), done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    assert "gdl has a bug" not in done.stderr, done.stderr
    return {url.split("/", 3)[3]: (result["status"], result["reason"]) for url, result in done.by_url.items()}


def whole(folder: Path) -> set[str]:
    """The final names that are there, each of them right."""
    found = {name: about for name, about in contents(folder).items() if not name.endswith((".part", ".json", ".lock"))}
    assert found == {name: WANTED[name] for name in found}
    return set(found)


def finish(urls: str, out: Path, before: set[str]) -> None:
    """A run without oddities: it saves all but what was whole ``before``, and leaves nothing else."""
    done = run_gdl("--json", "-o", out, "-", stdin=urls)
    assert done.returncode == 0, done.stderr
    assert {name for name, about in told(done).items() if about == ("skipped", "exists")} == before
    assert {name for name, (status, _) in told(done).items() if status == "saved"} == WANTED.keys() - before
    assert contents(out) == WANTED


@pytest.mark.parametrize("oddities", HARMLESS, ids=str)
def test_an_oddity_that_there_is_a_way_around_harms_nothing(
    faults: f.FaultServer, urls: str, tmp_path: Path, oddities: Oddities
) -> None:
    kept = tmp_path / "kept"
    with odd(oddities, kept, tmp_path / "mount") as mount:
        done = run_gdl("--json", "-o", mount, "-", stdin=urls)
        assert set(told(done).values()) == {("saved", None)}, done.stderr
        assert done.returncode == 0
        assert contents(kept) == WANTED
        done = run_gdl("--json", "-o", mount, "-", stdin=urls)
        assert set(told(done).values()) == {("skipped", "exists")}, done.stderr
        assert len(faults.requests) == len(BODIES)
    assert contents(kept) == WANTED


@pytest.mark.parametrize(("oddities", "code", "options"), CLOSED, ids=str)
def test_what_is_told_when_a_file_is_closed_is_a_failure_and_no_file(
    urls: str, tmp_path: Path, oddities: Oddities, code: int, options: tuple[str, ...]
) -> None:
    kept = tmp_path / "kept"
    with odd(oddities, kept, tmp_path / "mount") as mount:
        done = run_gdl("--json", *options, "-o", mount, "-", stdin=urls)
        assert done.returncode == code, done.stderr
        saved = {name for name, (status, _) in told(done).items() if status == "saved"}
        there = whole(kept)  # also what was not saved for certain, as its folder was not synced any more
        assert saved == there or (saved < there and "--fsync" in options)
        assert there < WANTED.keys()
    finish(urls, kept, there)


def test_names_are_cut_to_what_the_file_system_takes(faults: f.FaultServer, tmp_path: Path) -> None:
    url = faults.route("/a", f.ok(BODIES["1.jpg"]))
    with odd(Oddities(name_max=143), tmp_path / "kept", tmp_path / "mount") as mount:
        done = run_gdl("--json", "-o", mount, "-", stdin=listing([(url, f"{'长' * 100}/{'长' * 100}.jpg")]))
    assert set(told(done).values()) == {("saved", None)}, done.stderr
    [name] = files(tmp_path / "kept")
    assert [part.strip("长") for part in name.split("/")] == ["", ".jpg"]
    assert (tmp_path / "kept" / name).read_bytes() == BODIES["1.jpg"]


def test_a_name_that_is_too_long_for_a_file_system_that_does_not_say_so_fails_alone(
    urls: str, faults: f.FaultServer, tmp_path: Path
) -> None:
    url = faults.route("/long", f.ok(BODIES["1.jpg"]))
    with odd(Oddities(name_max=143, known=False), tmp_path / "kept", tmp_path / "mount") as mount:
        done = run_gdl("--json", "-o", mount, "-", stdin=listing([(url, f"{'长' * 60}.jpg")]) + urls)
    assert done.returncode == 1
    assert {name for name, (status, _) in told(done).items() if status == "failed"} == {"long"}
    assert contents(tmp_path / "kept") == WANTED


@pytest.mark.parametrize("oddities", [Oddities(rename=INVALID), Oddities(link=INVALID, rename=INVALID)], ids=str)
def test_a_file_that_appears_meanwhile_is_not_replaced(
    faults: f.FaultServer, tmp_path: Path, oddities: Oddities
) -> None:
    kept, body = tmp_path / "kept", BODIES["clip.mp4"]
    final = kept / "clip.mp4"

    def appears(_connection: f.Connection, _request: f.Request) -> None:
        wait_until(lambda: part_path(final).exists(), "a part")
        final.write_bytes(b"somebody's own")

    head = f.head(200, content_length=len(body), content_type="video/mp4")
    url = faults.route("/clip.mp4", f.script(head + body[:MIB], appears, body[MIB:]))
    with odd(oddities, kept, tmp_path / "mount") as mount:
        done = run_gdl("--json", "-o", mount, "-", stdin=f"{url}\n")
    assert told(done) == {"clip.mp4": ("skipped", "exists")}, done.stderr
    assert files(kept) == ["clip.mp4"]
    assert final.read_bytes() == b"somebody's own"


def test_inode_numbers_that_change_all_the_time_end_the_run_and_leave_nothing(urls: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with odd(Oddities(numbers="each time"), kept, tmp_path / "mount") as mount:
        done = run_gdl("--json", "-o", mount, "-", stdin=urls)
        assert done.returncode == 1, done.stderr
        assert {status for status, _ in told(done).values()} == {"failed"}
    finish(urls, kept, set())


@pytest.mark.parametrize(
    "oddities",
    [
        Oddities(),
        Oddities(at_flush=errno.EDQUOT),
        Oddities(at_fsync=errno.EIO),
        Oddities(links=0, link=INVALID, rename=INVALID),
        Oddities(forgotten=True, numbers="names"),
    ],
    ids=str,
)
def test_a_signal_ends_the_run_whatever_the_file_system_says(
    urls: str, faults: f.FaultServer, tmp_path: Path, oddities: Oddities
) -> None:
    kept = tmp_path / "kept"
    faults.route("/clip.mp4", Film(BODIES["clip.mp4"], stall=2 * MIB))
    with odd(oddities, kept, tmp_path / "mount") as mount:
        with start_gdl("--json", "-o", mount, "-", stdin=listing([(faults.url("/clip.mp4"), "clip.mp4")])) as running:
            wait_until(lambda: part_path(kept / "clip.mp4").exists(), "a part")
            wait_until(lambda: part_path(kept / "clip.mp4").stat().st_size > MIB, "bytes in the part")
            running.send_signal(signal.SIGTERM)
            done = running.wait(20)
        assert done.returncode == 143, done.stderr
        assert {status for status, _ in told(done).values()} == {"failed"}
    film = Film(BODIES["clip.mp4"])
    faults.route("/clip.mp4", film)
    finish(urls, kept, set())
    assert len(film.answers) == 1
    goes_on = oddities.at_flush == oddities.at_fsync == 0 and not oddities.numbers  # by which a part is known
    assert (film.answers[0].start > MIB) == goes_on
