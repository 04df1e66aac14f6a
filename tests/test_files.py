"""The file system's calls: errors in gdl's words, nothing replaced, waiting done in threads."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
import pytest
from support.cli import REPOSITORY
from support.processes import wait_until
from support.threads import busy_threads, descriptor

from downloader import files
from downloader.errors import FileLost, GdlError, NameRefused, StopRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> Iterator[None]:
    files.in_thread(os.fstat, descriptor)  # the hub and its thread have their own descriptors
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A descriptor of ``folder``."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """A descriptor of the test's folder."""
    with opened(tmp_path) as fd:
        yield fd


# Errors


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StopRun),
        (errno.EDQUOT, StopRun),
        (errno.EROFS, StopRun),
        (errno.EIO, StopRun),
        (errno.ESPIPE, StopRun),
        (errno.EMFILE, StopRun),
        (errno.ENFILE, StopRun),
        (errno.ENOENT, FileLost),
        (errno.ESTALE, FileLost),
        (errno.ELOOP, NameRefused),
        (errno.ENAMETOOLONG, NameRefused),
        (errno.EISDIR, NameRefused),
        (errno.ENOTDIR, NameRefused),
        (errno.EILSEQ, NameRefused),
        (errno.EINVAL, NameRefused),
        (errno.EFBIG, NameRefused),
        (errno.EACCES, NameRefused),
        (errno.EPERM, NameRefused),
        (None, NameRefused),
    ],
    ids=lambda value: errno.errorcode.get(value, "none") if isinstance(value, int) else str(value),
)
def test_an_error_is_the_runs_where_other_files_would_fail_likewise(
    number: int | None, kind: type[GdlError], tmp_path: Path
) -> None:
    path = str(tmp_path / "a.jpg")
    error = OSError("no number") if number is None else OSError(number, os.strerror(number))
    with opened(tmp_path) as folder:
        for translated in (files.translate(error, path), files.translate(error, path, folder)):
            assert type(translated) is kind
            assert path in str(translated)


def test_an_error_is_raised_from_the_systems_own(tmp_path: Path) -> None:
    with pytest.raises(FileLost) as caught, files.translated(str(tmp_path / "a")):
        os.stat(tmp_path / "nowhere")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(KeyError), files.translated("a"):
        raise KeyError("what is no error of the system's passes")


def test_a_folder_that_cannot_be_written_to_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # in which not even root can make names
    with opened(tmp_path / "file") as folder:
        closed = files.translate(PermissionError(errno.EACCES, "no"), "pics/gone/a.jpg", folder)
    assert type(closed) is StopRun
    assert str(closed) == "cannot write to the folder pics/gone: Permission denied"
    assert closed.folder == "pics/gone"


def test_a_file_system_without_inodes_is_not_said_to_be_full_of_bytes(tmp_path: Path) -> None:
    mount = tmp_path / "tiny"
    mount.mkdir()
    options = "size=1m,nr_inodes=3"
    command = ["mount", "-t", "tmpfs", "-o", options, "gdl-test", str(mount)]
    if not ROOT or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small tmpfs here")
    try:
        (mount / "a").touch()
        (mount / "b").touch()
        with opened(mount) as folder, pytest.raises(StopRun, match="inodes"), files.translated("c", folder):
            os.open("c", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, dir_fd=folder)
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def test_removing_what_is_not_there_is_no_error(tmp_path: Path, fd: int) -> None:
    (tmp_path / "a").touch()
    files.unlink((fd, b"a"), "pics/a")
    assert names(tmp_path) == []
    files.unlink((fd, b"a"), "pics/a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(GdlError, match="pics/folder"):
        files.unlink((fd, b"folder"), "pics/folder")


def test_what_is_at_a_spot_is_told_by_the_file_not_by_its_name(tmp_path: Path, fd: int) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    with (tmp_path / "a").open("rb") as file:
        assert files.is_at(file.fileno(), (fd, b"a"))
        assert not files.is_at(file.fileno(), (fd, b"link"))
        assert not files.is_at(file.fileno(), (fd, b"nothing"))
        (tmp_path / "b").touch()
        (tmp_path / "b").rename(tmp_path / "a")
        assert not files.is_at(file.fileno(), (fd, b"a"))
    assert files.found_at((fd, b"nothing")) is None
    found = files.found_at((fd, b"link"))
    assert found is not None
    assert stat.S_ISLNK(found.st_mode)


# Writing


def test_chunks_are_written_one_behind_the_other(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        assert files.write(fd, [b"cd", b"", b"ef"], 2) == 4
        assert files.write(fd, [b"ab"], 0) == 2
        assert files.write(fd, [], 100) == 0
        assert os.pread(fd, 100, 0) == b"abcdef"
    finally:
        os.close(fd)


def test_a_write_that_is_cut_short_goes_on_until_the_system_says_why(tmp_path: Path) -> None:
    program = """
import errno, os, resource, signal, sys
from downloader import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
try:
    files.write(fd, [b"12345", b"67890", b"more"], 0)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("EFBIG\n", "")
    assert (tmp_path / "a").read_bytes() == b"1234567890"


# Threads


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_a_thread_returns_what_its_function_does_while_others_go_on() -> None:
    here, release = threading.get_ident(), threading.Event()
    turns: list[int] = []

    def function(fd: int) -> tuple[int, int, bool]:
        release.wait(20)
        return threading.get_ident(), fd, is_open(fd)

    def others() -> None:
        for number in range(3):
            turns.append(number)
            gevent.sleep(0)
        release.set()

    other = gevent.spawn(others)
    given = descriptor()
    thread, fd, was_open = files.in_thread(function, lambda: given)
    other.join()
    assert (thread != here, fd, was_open, turns) == (True, given, True, [0, 1, 2])
    assert not is_open(given)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "disk"), ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_an_exception_in_a_thread_is_the_callers_and_is_not_printed(
    error: BaseException, capfd: pytest.CaptureFixture[str]
) -> None:
    def function(_fd: int) -> None:
        raise error

    given = descriptor()
    with pytest.raises(type(error)) as caught:
        files.in_thread(function, lambda: given)
    assert caught.value is error
    assert not is_open(given)
    gevent.sleep(0)
    assert capfd.readouterr() == ("", "")


def test_a_thread_goes_on_when_its_greenlet_is_killed_and_closes_its_descriptor() -> None:
    started, release = threading.Event(), threading.Event()
    found: list[bool] = []

    def function(fd: int) -> None:
        started.set()
        release.wait(20)
        found.append(is_open(fd))

    given = descriptor()
    greenlet = gevent.spawn(files.in_thread, function, lambda: given)
    while not started.is_set():
        gevent.sleep(0.001)
    greenlet.kill()
    assert (found, is_open(given)) == ([], True)
    release.set()
    wait_until(lambda: not is_open(given), "the end of the thread")
    assert found == [True]


def test_a_thread_that_never_begins_leaves_no_descriptor(tmp_path: Path) -> None:
    called: list[int] = []
    fd, folder = descriptor(), os.open(tmp_path, os.O_RDONLY)
    before = os.listdir("/proc/self/fd")
    count = gevent.get_hub().threadpool.maxsize
    with busy_threads():
        waits: list[Callable[[], None]] = [lambda: files.in_thread(called.append, descriptor)] * 5
        waits += [lambda: files.in_thread(files.sync, lambda: os.dup(fd)), lambda: files.sync_folder(folder)]
        waiting = [gevent.spawn(wait) for wait in waits]
        gevent.sleep(0)
        assert len(os.listdir("/proc/self/fd")) <= len(before) + count + 1, (
            "who waits holds no descriptor, but a folder's"
        )
        gevent.killall(waiting)
    assert called == []
    assert os.listdir("/proc/self/fd") == before
    os.close(fd)
    os.close(folder)


def test_syncing_keeps_the_callers_descriptor_and_tells_errors(tmp_path: Path, fd: int) -> None:
    file = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        os.write(file, b"x")
        files.sync(file)
        files.sync_folder(fd)
        os.write(file, b"y")
        with pytest.raises(NotADirectoryError):
            files.sync_folder(file)
    finally:
        os.close(file)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        files.sync(ours.fileno())


def test_others_get_their_turn_unless_it_is_the_hub_that_would_wait() -> None:
    turns: list[str] = []

    def on_the_hub() -> None:
        files.breathe()
        turns.append("hub")

    gevent.spawn(turns.append, "other")
    gevent.get_hub().loop.run_callback(on_the_hub)
    files.breathe()
    assert sorted(turns) == ["hub", "other"]


# Room


def test_room_is_that_of_the_file_system_a_file_is_on(fd: int) -> None:
    there = files.free(fd)
    assert there is not None
    assert there > 0
    if not os.statvfs("/proc").f_blocks:
        with opened(Path("/proc")) as uncounted:
            assert files.free(uncounted) is None


# The boot


def test_the_boot_is_the_same_for_all_processes() -> None:
    program = "from downloader.files import boot_id; print(boot_id())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
    )
    assert done.stdout.strip() == files.boot_id()
    assert len(files.boot_id()) > 5
