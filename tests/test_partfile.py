"""Parts on real file systems: locked while written, published in one step, kept only where they can be continued."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import uuid
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from support.cli import REPOSITORY
from support.failing import Failing, Fault
from support.threads import busy_threads, descriptor

from downloader import files, leftovers, placing, resume, statefile
from downloader.errors import FileLost, Interrupted, NameRefused, StopRun
from downloader.files import boot_id
from downloader.folders import Folders
from downloader.partfile import SAVE_EVERY, Part, open_nameless
from downloader.resume import RESUME_FROM, State
from downloader.takeover import Taken, lock, open_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024
URL = "https://h/a.mp4"
FOREIGN = b"bytes of another program, which are nobody else's business"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 another file system, where there is one
ROOT = os.geteuid() == 0


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty folder, once on the file system of the tests and once on a tmpfs."""
    if request.param == "disk":
        yield tmp_path
        return
    if not os.access(SHARED_MEMORY, os.W_OK):
        pytest.skip("there is no tmpfs")
    path = SHARED_MEMORY / f"gdl-test-{uuid.uuid4().hex}"
    path.mkdir()
    try:
        yield path
    finally:
        subprocess.run(["rm", "-rf", path], check=True)


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> Iterator[None]:
    files.in_thread(os.fstat, descriptor)  # the hub and its thread have their own descriptors
    before = os.listdir("/proc/self/fd")
    yield
    while _OPEN:
        _OPEN.popitem()[1].close()
    assert os.listdir("/proc/self/fd") == before


@pytest.fixture(params=["renameat2", "link"])
def _either_rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a file is renamed without replacing: by one system call, or where there is none."""
    if request.param == "link":
        monkeypatch.setattr(placing, "_renameat2", lambda: None)


either_rename = pytest.mark.usefixtures("_either_rename")


_OPEN: dict[Path, Folders] = {}


def within(folder: Path) -> Folders:
    """``folder`` as the output folder, open until the test is over."""
    return _OPEN.setdefault(folder, Folders(str(folder)))


def opened(final: Path) -> Part:
    """The part of ``final`` on a file system that has locks."""
    part = taken(final)
    assert isinstance(part, Part)
    return part


def taken(final: Path) -> Part | Taken:
    return open_part(within(final.parent), final.name, warn=pytest.fail)


def nameless(final: Path) -> Part:
    part = open_nameless(within(final.parent), final.name)
    if part is None:
        pytest.skip("this file system has no files without names")
    return part


def begun(final: Path, *chunks: bytes, **changes: Any) -> Part:
    """A part begun anew with ``chunks`` in it."""
    part = opened(final)
    part.begin(State(URL, **changes))
    part.write(list(chunks), 0)
    return part


def continuable(**changes: Any) -> dict[str, Any]:
    """What a state needs to be continued, of a file of 3 MiB of which 2 are there."""
    return {"total": 3 * MIB, "etag": '"v1"', "done": [(0, 2 * MIB)], "boot": boot_id(), **changes}


def left_behind(final: Path, **changes: Any) -> None:
    """A part as a run that was killed has left it, with its state."""
    part = begun(final, b"a" * 2 * MIB, **continuable(**changes))
    part.save()
    part.release()


def read_state(final: Path) -> State | None:
    data = raw_state(final)
    return None if data is None else resume.parse(data)


def raw_state(final: Path) -> bytes | None:
    with spot_of(final) as spot:
        found = statefile.read_state(spot)
    return None if found is None else found[0]


@contextmanager
def spot_of(final: Path) -> Iterator[files.Spot]:
    fd = os.open(final.parent, os.O_RDONLY)
    try:
        yield (fd, os.fsencode(final.name))
    finally:
        os.close(fd)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def tiny_file_system(folder: Path, size: str = "64k") -> Iterator[Path]:
    """A small tmpfs, for whom may mount one."""
    mount = folder / "tiny"
    mount.mkdir()
    mounted = (
        ROOT
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "gdl-test", mount], check=False, capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("cannot mount a small tmpfs here")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def fill(folder: Path) -> None:
    """Leave no room at all on the file system of ``folder``."""
    with open(folder / "filler", "wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)


# Writing and publishing


@either_rename
def test_a_part_becomes_the_file_in_one_step(folder: Path) -> None:
    part = opened(folder / "a.jpg")
    assert part.path == str(folder / "a.jpg.part")
    part.begin(State(URL))
    assert part.write([b"one ", b"two "], 0) == 8
    assert part.write([], 8) == 0
    assert part.write([b"", b"three"], 8) == 5
    assert names(folder) == ["a.jpg.part", "a.jpg.part.json"]
    assert part.publish("a.jpg")
    assert names(folder) == ["a.jpg"]
    assert (folder / "a.jpg").read_bytes() == b"one two three"


def test_bytes_may_come_in_any_order(folder: Path) -> None:
    part = begun(folder / "a.jpg")
    part.write([b"three"], 8)
    part.write([b"one "], 0)
    part.write([b"two "], 4)
    assert part.read(4, 6) == b"two th"
    assert part.read(9, 100) == b"hree"
    assert part.read(0, 100) == b"one two three"
    assert part.publish("a.jpg")
    assert (folder / "a.jpg").read_bytes() == b"one two three"


@either_rename
def test_a_part_may_be_published_under_another_name(folder: Path) -> None:
    part = begun(folder / "a.jpg", b"x")
    assert part.publish("a (1).jpg")
    assert names(folder) == ["a (1).jpg"]


PUBLISH_ELSEWHERE = """
import sys
from downloader.folders import Folders
from downloader.resume import State
from downloader.takeover import open_part

folder, first, other, boot = sys.argv[1:]
part = open_part(Folders(folder), first, warn=sys.exit)
part.begin(State("https://h/a.mp4", 2 << 20, '"v1"', boot=boot))
part.write([bytes(2 << 20)], 0)
part.state.done = [(0, 2 << 20)]
part.publish(other)
"""


@pytest.mark.parametrize("end", ["whole", "emptied"])
def test_what_a_crash_makes_of_a_file_published_under_another_name_is_noticed(
    folder: Path, failing: Failing, end: str
) -> None:
    first, other = folder / "a.mp4", folder / "a (1).mp4"
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH_ELSEWHERE, folder, first.name, other.name, "this"],
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            **failing.environment(Fault("unlink", "kill", ".part.json$"), within=folder),
        },
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert other.stat().st_size == 2 * MIB
    if end == "whole":
        assert leftovers.whole(within(folder), other.name, boot="this")
        assert names(folder) == ["a (1).mp4", "a.mp4.part.json"]
    else:
        os.truncate(other, 0)
        assert not leftovers.whole(within(folder), other.name, boot="later")
        assert names(folder) == ["a (1).mp4.part", "a (1).mp4.part.json", "a.mp4.part.json"]
        part = opened(other)
        assert (part.state, part.moved_aside) == (None, None), "it is begun again"
        part.discard()
    opened(first).discard()
    assert names(folder) == (["a (1).mp4"] if end == "whole" else [])


def test_a_state_is_made_only_where_nothing_has_its_name(folder: Path) -> None:
    (folder / "there").write_bytes(FOREIGN)
    (folder / "b.part.json").write_bytes(FOREIGN)
    (folder / "c.part.json").symlink_to("there")
    (folder / "d.part.json").symlink_to("nowhere")
    with spot_of(folder / "a") as (fd, _):
        made = {name: statefile.create_state((fd, name.encode()), b"state") for name in "abcd"}
    assert made == {"a": True, "b": False, "c": False, "d": False}
    assert raw_state(folder / "a") == b"state"
    assert {(folder / name).read_bytes() for name in ("b.part.json", "c.part.json")} == {FOREIGN}
    assert not (folder / "nowhere").exists()


@either_rename
def test_publishing_under_another_name_leaves_a_state_there_alone(folder: Path) -> None:
    (folder / "b.jpg.part.json").write_bytes(FOREIGN)
    assert begun(folder / "a.jpg", b"x").publish("b.jpg")
    assert names(folder) == ["b.jpg", "b.jpg.part.json"]
    assert (folder / "b.jpg.part.json").read_bytes() == FOREIGN


@either_rename
def test_an_empty_part_becomes_an_empty_file(folder: Path) -> None:
    assert begun(folder / "a.jpg").publish("a.jpg")
    assert (folder / "a.jpg").read_bytes() == b""


@either_rename
def test_publishing_never_replaces_a_file_that_was_not_meant(folder: Path) -> None:
    part = begun(folder / "a.jpg", b"new")
    (folder / "a.jpg").write_bytes(b"old")
    assert part.publish("a.jpg") is False
    assert (folder / "a.jpg").read_bytes() == b"old"
    assert (folder / "a.jpg.part").read_bytes() == b"new", "nothing was done"
    assert part.publish("b.jpg"), "another name may be tried"
    assert names(folder) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("target", ["there.txt", "nowhere"])
@either_rename
def test_publishing_never_writes_through_a_symbolic_link(folder: Path, target: str) -> None:
    (folder / "there.txt").write_bytes(b"precious")
    (folder / "a.jpg").symlink_to(target)
    for part in (begun(folder / "a.jpg", b"new"), nameless(folder / "a.jpg")):
        assert part.publish("a.jpg") is False
        part.discard()
    assert (folder / "there.txt").read_bytes() == b"precious"
    assert names(folder) == ["a.jpg", "there.txt"]


def test_replacing_replaces_a_file_and_a_link_but_no_folder(folder: Path) -> None:
    (folder / "there.txt").write_bytes(b"precious")
    (folder / "a.jpg").symlink_to("there.txt")
    (folder / "b.jpg").write_bytes(b"old")
    (folder / "c.jpg").mkdir()
    for name in ("a.jpg", "b.jpg"):
        assert begun(folder / name, b"new").publish(name, replace=True)
        assert (folder / name).read_bytes() == b"new"
    part = begun(folder / "c.jpg")
    with pytest.raises(NameRefused, match=r"c\.jpg"):
        part.publish("c.jpg", replace=True)
    part.leave()
    assert (folder / "there.txt").read_bytes() == b"precious"
    assert names(folder) == ["a.jpg", "b.jpg", "c.jpg", "there.txt"]


@either_rename
def test_folders_are_made_when_they_are_needed(folder: Path) -> None:
    part = open_part(within(folder / "new"), "x/y/a.jpg", warn=pytest.fail)
    assert isinstance(part, Part)
    part.begin(State(URL))
    part.write([b"1"], 0)
    assert part.publish("x/y/a.jpg")
    without_a_name = open_nameless(within(folder / "new"), "x/z/b.jpg")
    if without_a_name is not None:
        assert without_a_name.publish("x/z/c/b.jpg")
        assert (folder / "new/x/z/c/b.jpg").read_bytes() == b""
    assert (folder / "new/x/y/a.jpg").read_bytes() == b"1"
    assert names(folder / "new/x/y") == ["a.jpg"]


@pytest.mark.parametrize("fsync", [False, True])
def test_files_have_the_users_own_permissions(folder: Path, fsync: bool) -> None:
    before = os.umask(0o027)
    try:
        begun(folder / "a.jpg").publish("a.jpg", fsync=fsync)
        nameless(folder / "b.jpg").publish("b.jpg", fsync=fsync)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}
    assert names(folder) == ["a.jpg", "b.jpg"]


def test_relative_names_are_taken_from_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert begun(Path("a.jpg"), b"1").publish("a.jpg", fsync=True)
    part = nameless(Path("b.jpg"))
    assert part.publish("b.jpg", fsync=True)
    other = nameless(Path("b.jpg"))
    assert not other.publish("b.jpg")
    other.leave()
    assert names(folder) == ["a.jpg", "b.jpg"]


def test_as_many_chunks_as_promised_are_taken_at_once(folder: Path) -> None:
    chunks = [bytes([number % 256]) * (number % 7) for number in range(1024)]
    part = begun(folder / "a.jpg", *chunks)
    assert part.publish("a.jpg")
    assert (folder / "a.jpg").read_bytes() == b"".join(chunks)


def test_the_state_is_due_after_so_many_new_bytes(folder: Path) -> None:
    part = begun(folder / "a.jpg", b"x" * (SAVE_EVERY - 1))
    due = [part.due]
    part.write([b"x"], SAVE_EVERY - 1)
    due.append(part.due)
    part.save()
    due.append(part.due)
    part.discard()
    assert due == [False, True, False]


def test_what_is_read_in_a_thread_is_open_whatever_becomes_of_the_part(folder: Path) -> None:
    part = begun(folder / "a.jpg", b"all of it")
    started, discarded = threading.Event(), threading.Event()

    def read(fd: int) -> bytes:
        started.set()
        discarded.wait(20)
        return os.pread(fd, 100, 0)

    reading = gevent.spawn(part.in_thread, read)
    while not started.is_set():
        gevent.sleep(0.001)
    part.discard()
    discarded.set()
    assert reading.get(timeout=20) == b"all of it"


def test_a_wait_for_the_disk_that_is_given_up_unlocks_the_part(folder: Path) -> None:
    part = begun(folder / "a.jpg", b"x")
    with busy_threads():
        syncing = gevent.spawn(part.sync)
        gevent.sleep(0)
        syncing.kill()
        part.release()
        opened(folder / "a.jpg").discard()


@pytest.mark.parametrize("kept", [True, False])
def test_who_is_stopped_while_the_disk_is_heard_still_publishes_what_cannot_be_kept(folder: Path, kept: bool) -> None:
    part = begun(folder / "a", b"x" * 2 * MIB, **(continuable() if kept else {}))
    with busy_threads():
        publishing = gevent.spawn(part.publish, "a")
        gevent.sleep(0)
        publishing.kill(Interrupted("stopped"), block=False)
        publishing.join()
        if kept:
            assert isinstance(publishing.exception, Interrupted)
            assert names(folder) == ["a.part", "a.part.json"]
            part.discard()
        else:
            assert publishing.value is True
            assert names(folder) == ["a"]


class ToldOnce:
    """Stands for a file system's call: the first one, once it may go on, fails, and all others are told nothing."""

    def __init__(self) -> None:
        self.called, self.go_on = threading.Event(), threading.Event()

    def __call__(self, _fd: int) -> None:
        if not self.called.is_set():
            self.called.set()
            self.go_on.wait(20)
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def begins(self) -> None:
        while not self.called.is_set():
            gevent.sleep(0.001)


@pytest.mark.parametrize("call", ["flush", "sync"])
def test_an_error_that_only_a_thread_heard_for_which_nobody_waits_counts(
    folder: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = begun(folder / "a", b"x" * 2 * MIB, **continuable())
    told = ToldOnce()
    monkeypatch.setattr(files, call, told)
    asking = gevent.spawn(getattr(part, call))
    told.begins()
    asking.kill(Interrupted("stopped"))
    threading.Timer(0.05, told.go_on.set).start()
    with pytest.raises(StopRun, match=os.strerror(errno.EDQUOT)):
        part.leave()
    gevent.get_hub().threadpool.join()
    assert names(folder) == []


def test_a_file_is_not_published_whose_error_only_a_thread_heard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, told = begun(folder / "a", b"x"), ToldOnce()
    monkeypatch.setattr(files, "flush", told)
    publishing = gevent.spawn(part.publish, "a")
    told.begins()
    threading.Timer(0.05, told.go_on.set).start()
    publishing.kill(Interrupted("stopped"), block=False)
    with pytest.raises(StopRun, match=os.strerror(errno.EDQUOT)):
        publishing.get()
    part.discard()
    assert names(folder) == []


def test_an_error_counts_that_is_told_to_a_copy_which_is_not_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, told, release = begun(folder / "a", b"x"), ToldOnce(), threading.Event()
    told.go_on.set()

    def close(fd: int) -> None:
        os.close(fd)
        told(fd)

    pool = gevent.get_hub().threadpool
    for _ in range(pool.maxsize):
        pool.spawn(release.wait, 20)
    publishing = gevent.spawn(part.publish, "a")
    gevent.sleep(0)  # it has a copy by now, and waits for a thread
    monkeypatch.setattr(files, "close_aloud", close)
    publishing.kill(Interrupted("stopped"), block=False)
    with pytest.raises(StopRun, match=os.strerror(errno.EDQUOT)):
        publishing.get()
    release.set()
    pool.join()
    part.discard()
    assert names(folder) == []


# Ending without publishing


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, True),
        ({"etag": None, "last_modified": "Wed, 01 May 2024 12:00:00 GMT"}, True),
        ({"etag": None, "checksum": "sha256:" + "a" * 64}, True),
        ({"done": [(MIB, 2 * MIB)]}, True),
        ({"etag": None}, False),
        ({"total": None}, False),
        ({"total": RESUME_FROM - 1, "done": [(0, 9)]}, False),
        ({"done": []}, False),
        ({"done": [(0, RESUME_FROM - 1)]}, False),
    ],
)
def test_a_part_is_left_only_where_it_can_be_continued(folder: Path, changes: dict[str, Any], kept: bool) -> None:
    part = begun(folder / "a", b"x" * 2 * MIB, **continuable(**changes))
    part.leave()
    part.leave()
    part.discard()
    part.save()
    assert names(folder) == (["a.part", "a.part.json"] if kept else [])
    if kept:
        found = read_state(folder / "a")
        assert found is not None
        assert (found.synced, found.published) == (True, False)


def test_a_part_of_which_nothing_is_known_is_not_left(folder: Path) -> None:
    opened(folder / "a").leave()
    assert names(folder) == []


@either_rename
def test_a_part_that_could_not_be_published_is_not_left_as_if_it_had_been(folder: Path) -> None:
    (folder / "a").write_bytes(b"mine")
    part = begun(folder / "a", b"x" * 2 * MIB, **continuable())
    assert not part.publish("a")
    part.leave()
    found = read_state(folder / "a")
    assert found is not None
    assert not found.published
    assert names(folder) == ["a", "a.part", "a.part.json"]


def test_discarding_leaves_nothing(folder: Path) -> None:
    part = begun(folder / "a.jpg", b"x" * 2 * MIB, **continuable())
    part.discard()
    part.discard()
    part.leave()
    part.save()
    assert names(folder) == []


def test_discarding_what_somebody_has_deleted_is_no_error(folder: Path) -> None:
    part = begun(folder / "a.jpg", b"x")
    for name in names(folder):
        (folder / name).unlink()
    part.discard()
    assert names(folder) == []


@either_rename
def test_a_deleted_part_cannot_be_published(folder: Path) -> None:
    part = begun(folder / "a.jpg", b"x")
    (folder / "a.jpg.part").unlink()
    with pytest.raises(FileLost):
        part.publish("a.jpg")
    part.leave()
    assert names(folder) == []


def put_in_place_of(part: Path) -> None:
    """Another program's file, where the part was."""
    other = part.with_name("other")
    other.write_bytes(FOREIGN)
    other.replace(part)


@pytest.mark.parametrize("replace", [False, True])
@either_rename
def test_what_somebody_has_put_in_the_parts_place_is_not_published(folder: Path, replace: bool) -> None:
    part = begun(folder / "a.jpg", b"x")
    put_in_place_of(folder / "a.jpg.part")
    with pytest.raises(FileLost, match=r"a\.jpg\.part was replaced"):
        part.publish("a.jpg", replace=replace)
    part.discard()
    assert (folder / "a.jpg.part").read_bytes() == FOREIGN
    assert not (folder / "a.jpg").exists()


@pytest.mark.parametrize("end", [Part.leave, Part.discard])
@pytest.mark.parametrize("worth_keeping", [True, False])
def test_what_somebody_has_put_in_the_parts_place_is_not_removed(
    folder: Path, end: Callable[[Part], object], worth_keeping: bool
) -> None:
    part = begun(folder / "a.jpg", b"x" * 2 * MIB, **(continuable() if worth_keeping else {}))
    put_in_place_of(folder / "a.jpg.part")
    end(part)
    assert (folder / "a.jpg.part").read_bytes() == FOREIGN


def test_nothing_is_left_of_a_published_part_whatever_is_asked_of_it(folder: Path) -> None:
    part = begun(folder / "a.jpg", b"x" * 2 * MIB, **continuable())
    assert part.publish("a.jpg")
    part.save()
    part.leave()
    part.discard()
    part.release()
    assert names(folder) == ["a.jpg"]


# What gdl has left there


def test_a_part_that_was_left_is_found_with_its_state(folder: Path) -> None:
    left_behind(folder / "a.mp4")
    part = opened(folder / "a.mp4")
    assert part.moved_aside is None
    identity = {"inode": (folder / "a.mp4.part").stat().st_ino, "tail": zlib.crc32(b"a" * statefile.TAIL)}
    assert part.state == State(URL, **continuable(**identity))
    assert part.read(2 * MIB - 2, 9) == b"aa"
    part.go_on("another boot")
    part.write([b"b" * MIB], 2 * MIB)
    assert part.publish("a.mp4")
    assert (folder / "a.mp4").read_bytes() == b"a" * 2 * MIB + b"b" * MIB
    assert names(folder) == ["a.mp4"]


def test_leaving_tells_whether_the_part_was_kept(folder: Path) -> None:
    kept = begun(folder / "a", b"x" * 2 * MIB, **continuable())
    assert [kept.leave(), kept.leave()] == [True, False]
    assert begun(folder / "b").leave() is False
    published = begun(folder / "c", b"x" * 2 * MIB, **continuable())
    assert published.publish("c")
    assert published.leave() is False


def test_what_a_part_takes_on_the_disk_is_known(folder: Path) -> None:
    left_behind(folder / "a")
    part = opened(folder / "a")
    assert part.occupied >= 2 * MIB
    part.begin(State(URL))
    assert part.occupied < MIB
    part.discard()


def test_what_is_written_from_now_on_belongs_to_this_boot_and_is_not_synced(folder: Path) -> None:
    left_behind(folder / "a", boot="before", synced=True, published=True)
    part = opened(folder / "a")
    part.go_on("now")
    found = read_state(folder / "a")
    assert found is not None
    assert (found.boot, found.synced, found.published) == ("now", False, False)
    assert found.done == [(0, 2 * MIB)]
    part.release()


def test_a_part_that_is_begun_again_has_none_of_the_old_bytes(folder: Path) -> None:
    left_behind(folder / "a")
    part = opened(folder / "a")
    part.begin(State("https://h/other"))
    part.write([b"new"], 0)
    assert read_state(folder / "a") == part.state
    assert part.publish("a")
    assert (folder / "a").read_bytes() == b"new"
    assert names(folder) == ["a"]


def test_a_part_that_was_not_begun_is_left_as_it_was(folder: Path) -> None:
    left_behind(folder / "a", synced=True)
    before = (folder / "a.part").read_bytes()
    part = opened(folder / "a")
    part.leave()
    assert (folder / "a.part").read_bytes() == before
    assert read_state(folder / "a") is not None


@pytest.mark.parametrize(
    ("boot", "synced", "vouched"), [("before", False, False), ("before", True, True), (boot_id(), False, True)]
)
def test_leaving_a_part_vouches_only_for_bytes_of_this_boot(
    folder: Path, boot: str, synced: bool, vouched: bool
) -> None:
    left_behind(folder / "a", boot=boot, synced=synced)
    opened(folder / "a").leave()
    found = read_state(folder / "a")
    assert found is not None
    assert (found.boot, found.synced) == (boot, vouched)
    assert found.done == [(0, 2 * MIB)]


DAMAGES: dict[str, bytes] = {
    "empty": b"",
    "zeros": b"\0" * 1024,
    "cut short": State(URL, 3 * MIB, done=[(0, 2 * MIB)]).dump()[:60],
    "a wrong checksum": State(URL, 3 * MIB, '"v1"').dump().replace(b"v1", b"v2"),
    "of another version": b'{"gdl-part": 2, "state": {}}',
    "of a longer part": State(URL, 3 * MIB, '"v1"', done=[(0, 2 * MIB + 1)]).dump(),
    "of a shorter file": State(URL, 2 * MIB - 1, '"v1"', done=[(0, 2 * MIB - 1)]).dump(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_part_whose_state_is_damaged_is_begun_again(folder: Path, damage: str) -> None:
    left_behind(folder / "a")
    (folder / "a.part.json").write_bytes(DAMAGES[damage])
    part = opened(folder / "a")
    assert (part.state, part.moved_aside) == (None, None)
    part.begin(State(URL))
    part.write([b"new"], 0)
    assert read_state(folder / "a") == part.state
    assert part.publish("a")
    assert (folder / "a").read_bytes() == b"new"
    assert names(folder) == ["a"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_part_with_a_damaged_state_that_is_not_needed_is_removed(folder: Path, damage: str) -> None:
    left_behind(folder / "a")
    (folder / "a.part.json").write_bytes(DAMAGES[damage])
    opened(folder / "a").leave()
    assert names(folder) == []


def test_a_state_without_its_part_is_of_no_use(folder: Path) -> None:
    left_behind(folder / "a")
    (folder / "a.part").unlink()
    part = opened(folder / "a")
    assert part.state is None
    part.leave()
    assert names(folder) == []


def test_a_file_that_took_the_parts_place_is_not_continued_from_its_state(folder: Path) -> None:
    left_behind(folder / "a")
    (folder / "other").write_bytes(b"b" * MIB + b"a" * MIB)
    (folder / "other").replace(folder / "a.part")
    part = opened(folder / "a")
    assert part.state is None
    part.discard()


def test_a_file_that_took_the_parts_place_is_moved_aside_untouched(folder: Path) -> None:
    left_behind(folder / "a")
    put_in_place_of(folder / "a.part")
    part = opened(folder / "a")
    part.begin(State(URL))
    part.discard()
    assert {name: (folder / name).read_bytes() for name in names(folder)} == {"a.part.old": FOREIGN}


def test_a_file_that_took_the_parts_place_and_number_is_not_continued(folder: Path) -> None:
    left_behind(folder / "a")
    # The same file to the system, as one is that got the number of the part when that was deleted.
    (folder / "a.part").write_bytes(b"b" * 2 * MIB)
    part = opened(folder / "a")
    found = part.state
    part.discard()
    assert found is None


def test_an_empty_part_without_a_state_is_nobodys(folder: Path) -> None:
    (folder / "a.part").touch()
    part = opened(folder / "a")
    assert (part.state, part.moved_aside) == (None, None)
    part.discard()
    assert names(folder) == []


# What other programs have left there


def test_a_part_of_another_program_is_moved_aside_untouched(folder: Path) -> None:
    for number in (1, 2, 3):
        (folder / "a.part").write_bytes(FOREIGN + bytes([number]))
        inode = (folder / "a.part").stat().st_ino
        part = opened(folder / "a")
        target = folder / ("a.part.old" if number == 1 else f"a.part.old{number}")
        assert (part.state, part.moved_aside) == (None, str(target))
        assert target.read_bytes() == FOREIGN + bytes([number])
        assert target.stat().st_ino == inode
        assert (folder / "a.part").read_bytes() == b""
        part.discard()
    assert names(folder) == ["a.part.old", "a.part.old2", "a.part.old3"]


@pytest.mark.parametrize("content", [b"{}", b'{"url": "https://h/a", "etag": "x"}', b"no JSON", b"x" * 300_000])
def test_another_programs_state_is_moved_aside_with_its_part(folder: Path, content: bytes) -> None:
    (folder / "a.part").write_bytes(FOREIGN)
    (folder / "a.part.json").write_bytes(content)
    part = opened(folder / "a")
    assert part.state is None
    assert part.moved_aside == str(folder / "a.part.old")
    part.begin(State(URL))
    part.write([b"new"], 0)
    assert part.publish("a")
    left = {name: (folder / name).read_bytes() for name in names(folder)}
    assert left == {"a": b"new", "a.part.old": FOREIGN, "a.json.old": content}


def test_another_programs_state_without_a_part_is_moved_aside(folder: Path) -> None:
    for number in (1, 2):
        (folder / "a.part.json").write_bytes(b'{"mine": %d}' % number)
        part = opened(folder / "a")
        part.begin(State(URL))
        part.discard()
    left = {name: (folder / name).read_bytes() for name in names(folder)}
    assert left == {"a.json.old": b'{"mine": 1}', "a.json.old2": b'{"mine": 2}'}


def test_a_state_that_is_no_plain_file_is_not_written_to(folder: Path) -> None:
    (folder / "there.txt").write_bytes(b"precious")
    (folder / "a.part.json").symlink_to("there.txt")
    (folder / "b.part.json").symlink_to("nowhere")
    (folder / "c.part.json").mkdir()
    (folder / "c.part.json" / "inside").touch()
    os.mkfifo(folder / "d.part.json")
    for name in "abcd":
        assert begun(folder / name, b"new").publish(name)
    assert (folder / "there.txt").read_bytes() == b"precious"
    assert (folder / "a.json.old").readlink() == Path("there.txt")
    assert names(folder / "c.json.old") == ["inside"]
    assert stat.S_ISFIFO((folder / "d.json.old").stat().st_mode)
    assert names(folder) == sorted([*"abcd", *(f"{name}.json.old" for name in "abcd"), "there.txt"])


def test_a_link_that_takes_the_states_place_meanwhile_is_not_written_through(folder: Path) -> None:
    (folder / "there.txt").write_bytes(b"precious")
    part = opened(folder / "a")
    (folder / "a.part.json").symlink_to("there.txt")
    with pytest.raises(NameRefused, match="symbolic link"):
        part.begin(State(URL))
    part.discard()
    part = opened(folder / "a")
    os.link(folder / "there.txt", folder / "a.part.json")
    part.begin(State(URL))
    assert read_state(folder / "a") == part.state
    part.discard()
    assert (folder / "there.txt").read_bytes() == b"precious"
    assert names(folder) == ["there.txt"]


def test_a_state_with_another_name_is_not_written_to(folder: Path) -> None:
    left_behind(folder / "a")
    os.link(folder / "a.part.json", folder / "mine.json")
    before = (folder / "mine.json").read_bytes()
    part = begun(folder / "a", b"new")
    assert part.publish("a")
    assert (folder / "mine.json").read_bytes() == before


def test_a_symbolic_link_in_the_parts_place_is_refused(folder: Path) -> None:
    (folder / "there.txt").write_bytes(b"precious")
    (folder / "a.jpg.part").symlink_to("there.txt")
    with pytest.raises(NameRefused, match="symbolic link"):
        opened(folder / "a.jpg")
    assert (folder / "there.txt").read_bytes() == b"precious"
    assert names(folder) == ["a.jpg.part", "there.txt"]


@pytest.mark.parametrize("known", [True, False], ids=["with a state", "without a state"])
def test_a_part_with_another_name_is_not_emptied(folder: Path, known: bool) -> None:
    left_behind(folder / "a")
    if not known:
        (folder / "a.part.json").unlink()
    os.link(folder / "a.part", folder / "mine")
    part = opened(folder / "a")
    assert (part.state, part.moved_aside) == (None, None)
    part.begin(State(URL))
    part.write([b"new"], 0)
    assert part.publish("a")
    assert (folder / "mine").read_bytes() == b"a" * 2 * MIB
    assert names(folder) == ["a", "mine"]


def test_a_named_pipe_in_the_parts_place_blocks_nobody(folder: Path) -> None:
    os.mkfifo(folder / "a.part")
    assert begun(folder / "a", b"new").publish("a")
    assert (folder / "a").read_bytes() == b"new"
    assert names(folder) == ["a"]


def test_a_folder_in_the_parts_place_is_refused(folder: Path) -> None:
    (folder / "a.jpg.part").mkdir()
    with pytest.raises(NameRefused):
        opened(folder / "a.jpg")


def test_a_file_in_a_folders_place_is_that_items_failure(folder: Path) -> None:
    (folder / "x").write_bytes(b"")
    with pytest.raises(NameRefused, match="Not a directory"):
        open_part(within(folder), "x/a.jpg", warn=pytest.fail)
    with pytest.raises(NameRefused, match="Not a directory"):
        open_nameless(within(folder), "x/a.jpg")


def test_a_name_that_is_too_long_is_that_items_failure(folder: Path) -> None:
    with pytest.raises(NameRefused):
        opened(folder / ("n" * 300))
    part = nameless(folder / ("n" * 300))
    assert part.publish("n" * 300) is None, "it is for the part to say why"
    part.leave()


# The state file


def test_a_state_is_written_over_in_place(folder: Path) -> None:
    part = begun(folder / "a")
    assert part.state is not None
    inode = (folder / "a.part.json").stat().st_ino
    for done in ([(0, 5)], [(index, index + 1) for index in range(0, 2000, 2)], [(0, 7)], []):
        part.state.done = done
        part.save()
        assert read_state(folder / "a") == part.state
    assert (folder / "a.part.json").stat().st_ino == inode
    part.release()
    again = opened(folder / "a")
    assert again.state is not None
    again.begin(State("https://h/short"))
    assert read_state(folder / "a") == State("https://h/short", inode=again.state.inode)
    again.discard()


def test_a_shorter_state_leaves_nothing_of_a_longer_one_behind_it(folder: Path) -> None:
    for length in (9000, 3000, 1, 5000):
        part = opened(folder / "a")
        part.begin(State("https://h/" + "long" * length))
        part.release()
        found = read_state(folder / "a")
        assert found is not None
        assert len(found.url) == 10 + 4 * length
        assert (folder / "a.part.json").stat().st_size % 1024 == 0


def test_a_state_on_a_full_disk_needs_no_room(tmp_path: Path) -> None:
    with tiny_file_system(tmp_path) as folder:
        part = begun(folder / "a", b"x" * 4096, total=9 * MIB, etag='"v1"')
        fill(folder)
        assert part.state is not None
        part.state.done = [(0, 4096)]
        part.save()
        assert read_state(folder / "a") == part.state
        with pytest.raises(StopRun, match="No space left"):
            part.write([b"x" * 4096], 4096)
        part.release()


def test_a_state_that_outgrows_a_full_disk_stops_the_run_and_is_never_a_wrong_one(tmp_path: Path) -> None:
    with tiny_file_system(tmp_path) as folder:
        part = begun(folder / "a", b"x" * 4096)
        fill(folder)
        assert part.state is not None
        part.state.done = [(index, index + 1) for index in range(0, 4000, 2)]
        with pytest.raises(StopRun, match="No space left"):
            part.save()
        part.release()
        assert read_state(folder / "a") is None
        again = opened(folder / "a")
        assert (again.state, again.moved_aside) == (None, None)
        again.discard()
        assert names(folder) == ["filler"]


# The lock


HOLDER = """
import os, sys
from downloader.folders import Folders
from downloader.resume import State
from downloader.takeover import open_part
folder, name = os.path.split(sys.argv[1])
part = open_part(Folders(folder), name, warn=sys.exit)
part.begin(State("https://h/a"))
part.write([b"half"], 0)
print("locked", flush=True)
if sys.stdin.readline() == "publish\\n":
    part.publish(name)
else:
    part.leave()
"""


@contextmanager
def another_process(final: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the part of ``final`` until it is told what to do."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, final],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            with suppress(BrokenPipeError):
                process.communicate(timeout=30)


def test_a_part_that_another_process_writes_is_left_alone(folder: Path) -> None:
    final = folder / "a.jpg"
    with another_process(final) as process:
        assert taken(final) is Taken.IN_PROGRESS
        assert (folder / "a.jpg.part").read_bytes() == b"half"
        assert (folder / "a.jpg.part.json").exists()
        process.communicate("publish\n", timeout=30)
    assert final.read_bytes() == b"half"
    opened(final).leave()
    assert names(folder) == ["a.jpg"]


def test_the_lock_dies_with_its_process(folder: Path) -> None:
    final = folder / "a.jpg"
    with another_process(final) as process:
        process.kill()
        process.wait(30)
        part = opened(final)
        assert part.moved_aside is None
        part.begin(State(URL))
        part.write([b"new"], 0)
        assert part.publish(final.name)
    assert final.read_bytes() == b"new"
    assert names(folder) == ["a.jpg"]


def test_a_part_is_locked_against_its_own_process_too(folder: Path) -> None:
    part = opened(folder / "a.jpg")
    assert taken(folder / "a.jpg") is Taken.IN_PROGRESS
    part.discard()
    opened(folder / "a.jpg").discard()


@pytest.mark.parametrize("end", ["publish", "discard"])
@pytest.mark.parametrize("next_one", [True, False], ids=["a third has come", "nobody else"])
def test_who_opens_a_part_just_before_its_writer_ends_does_no_harm(folder: Path, end: str, next_one: bool) -> None:
    final = folder / "a"
    writer = begun(final, b"of the writer")
    late = os.open(folder / "a.part", os.O_RDWR | os.O_CLOEXEC)
    assert writer.publish("a") if end == "publish" else not writer.discard()  # type: ignore[func-returns-value]
    third = begun(final, b"of the third") if next_one else None
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    with spot_of(folder / "a.part") as spot:
        assert lock(late, spot, made=False, warn=pytest.fail) is False
    os.close(late)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before
    if third is not None:
        assert third.publish("b")
        assert (folder / "b").read_bytes() == b"of the third"


# Files without a name


def test_a_file_without_a_name_appears_at_once_and_never_replaces_another(folder: Path) -> None:
    final = folder / "new" / "a.jpg"
    part, late = nameless(final), nameless(final)
    part.begin(State(URL, **continuable()))
    part.write([b"one ", b"two"], 0)
    part.save()
    assert names(folder / "new") == []
    assert part.publish("a.jpg")
    assert (folder / "new" / "a.jpg").read_bytes() == b"one two"
    assert late.publish("a.jpg") is False
    late.leave()
    assert (folder / "new" / "a.jpg").read_bytes() == b"one two"
    assert names(folder / "new") == ["a.jpg"]


def test_of_a_file_without_a_name_nothing_is_left(folder: Path) -> None:
    for end in (Part.leave, Part.discard, Part.release):
        part = nameless(folder / "a")
        part.begin(State(URL, **continuable()))
        part.write([b"x" * 2 * MIB], 0)
        end(part)
        end(part)
        assert names(folder) == []


def test_without_nameless_files_nothing_is_done_and_none_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is left of the flag where the system does not have it.
    monkeypatch.setattr(files, "NAMELESS", os.O_RDWR | os.O_CLOEXEC | os.O_DIRECTORY)
    assert open_nameless(within(folder), "a.jpg") is None
    assert names(folder) == []


def test_a_file_whose_folder_has_gone_cannot_be_linked_there(folder: Path) -> None:
    part = nameless(folder / "x" / "a")
    (folder / "x").rmdir()
    assert part.publish("a") is None
    part.release()
    assert names(folder) == []


def test_a_sub_folder_that_has_gone_is_made_again(folder: Path) -> None:
    part = open_nameless(within(folder), "x/y/a")
    if part is None:
        pytest.skip("this file system has no files without names")
    part.write([b"whole"], 0)
    (folder / "x/y").rmdir()
    (folder / "x").rmdir()
    assert part.publish("x/y/a")
    assert (folder / "x/y/a").read_bytes() == b"whole"


# Disks that are full, folders that are closed


def test_a_full_disk_stops_the_run_and_leaves_no_wrong_file(tmp_path: Path) -> None:
    with tiny_file_system(tmp_path) as folder:
        for part in (begun(folder / "a.jpg"), nameless(folder / "b.jpg")):
            part.write([b"x" * 4096], 0)
            with pytest.raises(StopRun, match=r"[ab]\.jpg.*No space left"):
                part.write([b"x" * 40_000, b"x" * 30_000], 4096)
            part.leave()
            assert names(folder) == []
        part = nameless(folder / "c.jpg")
        part.write([b"x" * 40_000], 0)
        assert part.publish("c.jpg"), "the room is free again"


def test_a_full_disk_leaves_a_part_that_can_be_continued(tmp_path: Path) -> None:
    with tiny_file_system(tmp_path, "2200k") as folder:
        part = begun(folder / "a.jpg", b"x" * 2 * MIB, **continuable())
        with pytest.raises(StopRun):
            part.write([b"y" * MIB], 2 * MIB)
        part.leave()
        assert names(folder) == ["a.jpg.part", "a.jpg.part.json"]
        again = opened(folder / "a.jpg")
        assert again.state is not None
        assert again.read(0, 2 * MIB) == b"x" * 2 * MIB
        again.discard()


def test_a_state_for_which_there_is_no_room_stops_the_run_before_the_first_byte(tmp_path: Path) -> None:
    with tiny_file_system(tmp_path) as folder:
        fill(folder)
        part = opened(folder / "a.jpg")
        with pytest.raises(StopRun):
            part.begin(State(URL))
        part.leave()
        assert names(folder) == ["filler"]


def test_a_read_only_file_system_stops_the_run(tmp_path: Path) -> None:
    with tiny_file_system(tmp_path) as folder:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        with pytest.raises(StopRun, match="Read-only"):
            opened(folder / "a.jpg")
        with pytest.raises(StopRun, match="Read-only"):
            open_nameless(within(folder), "a.jpg")


# Kills

# Forks a process for each line of code that runs in the modules named; each kills itself before its line.
STEPPER = """
import os, signal, sys
from downloader import files, partfile, placing, statefile, takeover
from downloader.files import boot_id
from downloader.folders import Folders
from downloader.resume import State

MIB = 1024 * 1024
folder, story, way = sys.argv[1:]
modules = {module.__file__ for module in (partfile, placing, statefile, files, takeover)}
if way == "link":
    placing._renameat2 = lambda: None
boot_id()

def state():
    return State("https://h/a.mp4", 3 * MIB, '"v1"', boot=boot_id())

def opened(final):
    return takeover.open_part(Folders(os.path.dirname(final)), "a.mp4", warn=sys.exit)

def run(final):
    part = opened(final)
    if story == "publish":
        part.begin(state())
        for number in range(3):
            part.write([bytes([number + 1]) * MIB], number * MIB)
            part.state.done = [(0, (number + 1) * MIB)]
            part.save()
        assert part.publish("a.mp4")
    elif story == "go on":
        part.go_on(boot_id())
        part.write([b"\\3" * MIB], 2 * MIB)
        part.state.done = [(0, 3 * MIB)]
        assert part.publish("a.mp4", fsync=True)
    elif story == "leave":
        part.go_on(boot_id())
        part.write([b"\\3" * (MIB // 2)], 2 * MIB)
        part.state.done = [(0, 2 * MIB + MIB // 2)]
        part.save()
        part.leave()
    elif story == "begin again":
        part.begin(state())
        part.write([b"\\1" * MIB], 0)
        part.state.done = [(0, MIB)]
        part.save()
        part.discard()

def prepare(final):
    os.mkdir(os.path.dirname(final))
    if story != "publish":
        part = opened(final)
        part.begin(state())
        part.write([b"\\1" * MIB, b"\\2" * MIB], 0)
        part.state.done = [(0, 2 * MIB)]
        part.save()
        part.release()

number = 0
while True:
    number += 1
    final = f"{folder}/{number}/a.mp4"
    pid = os.fork()
    if not pid:
        prepare(final)
        left = number
        def trace(frame, event, argument):
            global left
            if frame.f_code.co_filename not in modules:
                return None
            if event == "line":
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace
        sys.settrace(trace)
        run(final)
        sys.settrace(None)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if status == 0:
        break
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
print(number)
"""
WHOLE = b"".join(bytes([number]) * MIB for number in (1, 2, 3))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["renameat2", "link"])
@pytest.mark.parametrize("story", ["publish", "go on", "leave", "begin again"])
def test_what_a_kill_leaves_before_any_line_is_understood_by_the_next_run(tmp_path: Path, story: str, way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEPPER, tmp_path, story, way],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40
    for number in range(1, int(done.stdout) + 1):
        _check_next_run(tmp_path / str(number), f"{story}, killed before line {number}")


def _check_next_run(folder: Path, when: str) -> None:
    final = folder / "a.mp4"
    if final.exists():
        assert final.read_bytes() == WHOLE, when
        assert leftovers.whole(within(folder), final.name, boot=boot_id()), when
        assert names(folder) == ["a.mp4"], when
        return
    part = opened(final)
    assert part.moved_aside is None, when
    plan = None
    if part.state is not None:
        for start, end in part.state.done:
            assert part.read(start, end - start) == WHOLE[start:end], when
        plan = resume.plan(part.state, url=URL, checksum=None, boot=boot_id())
    if plan is None:
        part.begin(State(URL))
        part.write([WHOLE], 0)
    else:
        part.go_on(boot_id())
        part.write([WHOLE[plan.ask.start :]], plan.ask.start)
    assert part.publish(final.name), when
    assert final.read_bytes() == WHOLE, when
    assert names(folder) == ["a.mp4"], when
