"""The file system's calls: errors in gdl's words, nothing replaced, waiting done in threads."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
import uuid
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
    files.in_thread(os.fstat, descriptor())  # the hub and its thread have their own descriptors
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Errors


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StopRun),
        (errno.EDQUOT, StopRun),
        (errno.EROFS, StopRun),
        (errno.EIO, StopRun),
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
    translated = files.translate(error, path)
    assert type(translated) is kind
    assert path in str(translated)


def test_an_error_is_raised_from_the_systems_own(tmp_path: Path) -> None:
    with pytest.raises(FileLost) as caught, files.translated(str(tmp_path / "a")):
        os.stat(tmp_path / "nowhere")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(KeyError), files.translated("a"):
        raise KeyError("what is no error of the system's passes")


def test_a_folder_that_cannot_be_written_to_stops_the_run(tmp_path: Path) -> None:
    missing = files.translate(PermissionError(errno.EACCES, "no"), str(tmp_path / "nowhere" / "a.jpg"))
    assert type(missing) is StopRun
    assert str(tmp_path / "nowhere") in str(missing)


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
        with pytest.raises(StopRun, match="inodes"), files.translated(str(mount / "c")):
            files.create(str(mount / "c"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    files.unlink(str(tmp_path / "a"))
    files.unlink(str(tmp_path / "a"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(GdlError):
        files.unlink(str(tmp_path / "folder"))


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


def test_a_folder_is_made_for_a_file_and_for_one_without_a_name(tmp_path: Path) -> None:
    os.close(files.create(str(tmp_path / "x" / "y" / "a"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC))
    assert names(tmp_path / "x" / "y") == ["a"]
    fd = files.create_nameless(str(tmp_path / "z" / "z"))
    assert (tmp_path / "z" / "z").is_dir()
    if fd is not None:
        os.close(fd)
    with pytest.raises(FileExistsError if fd is None else NotADirectoryError):
        files.create_nameless(str(tmp_path / "x" / "y" / "a"))


# Names that are taken


@pytest.fixture(params=["renameat2", "link", "reservation"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a file is renamed without replacing, on systems and file systems that can do less and less."""
    way: str = request.param
    if way != "renameat2":
        monkeypatch.setattr(files, "_renameat2", lambda: None)
    return way


def rename(way: str, source: Path, target: Path) -> bool:
    function = files._rename_reserved if way == "reservation" else files.rename_noreplace
    return function(str(source), str(target))


def test_renaming_takes_a_free_name_and_no_other(way: str, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    for taken in ("b", "link", "dangling", "folder"):
        assert rename(way, tmp_path / "a", tmp_path / taken) is False
    assert rename(way, tmp_path / "a", tmp_path / "free") is True
    assert (tmp_path / "free").read_bytes() == b"a"
    assert (tmp_path / "b").read_bytes() == b"b"
    assert names(tmp_path) == ["b", "c", "dangling", "folder", "free", "link"]


def test_renaming_what_is_not_there_takes_no_name(way: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rename(way, tmp_path / "a", tmp_path / "b")
    with pytest.raises(FileNotFoundError):
        rename(way, tmp_path / "a", tmp_path / "nowhere" / "b")
    assert names(tmp_path) == []


def test_renaming_a_file_with_a_name_that_is_too_long_says_so(way: str, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        rename(way, tmp_path / "a", tmp_path / ("n" * 300))
    assert names(tmp_path) == ["a"]


NO_LINKS = """
import os, sys
from downloader import files
folder, user = sys.argv[1], 65534
os.chmod(folder, 0o777)
for name in ("a", "b"):
    with open(f"{folder}/{name}", "w") as file:
        file.write(name)
    os.chmod(f"{folder}/{name}", 0o600)
os.seteuid(user)  # nobody may make a link to a file of somebody else's
files._renameat2 = lambda: None
try:
    os.link(folder + "/a", folder + "/link")
except PermissionError:
    pass
else:
    sys.exit("links work")
assert files.rename_noreplace(folder + "/a", folder + "/new") is True
assert files.rename_noreplace(folder + "/b", folder + "/new") is False
"""


def test_where_there_are_no_links_either_the_name_is_reserved_first() -> None:
    if not ROOT:
        pytest.skip("takes another user's file")
    folder = Path("/tmp") / f"gdl-test-{uuid.uuid4().hex}"  # noqa: S108 where any user can reach it
    folder.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-c", NO_LINKS, folder],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        if "links work" in done.stderr:
            pytest.skip("the system lets anybody link to anything")
        assert done.returncode == 0, done.stderr
        assert {name: (folder / name).read_bytes() for name in names(folder)} == {"b": b"b", "new": b"a"}
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


def test_a_file_without_a_name_gets_one_that_is_free_and_no_other(tmp_path: Path) -> None:
    fd = files.create_nameless(str(tmp_path))
    if fd is None:
        pytest.skip("this file system has no files without names")
    try:
        files.write(fd, [b"whole"], 0)
        (tmp_path / "taken").write_bytes(b"mine")
        (tmp_path / "dangling").symlink_to("nowhere")
        assert names(tmp_path) == ["dangling", "taken"]
        assert files.link_nameless(fd, str(tmp_path / "taken")) is False
        assert files.link_nameless(fd, str(tmp_path / "dangling")) is False
        assert files.link_nameless(fd, str(tmp_path / "free")) is True
        with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
            files.link_nameless(fd, str(tmp_path / ("n" * 300)))
    finally:
        os.close(fd)
    assert (tmp_path / "free").read_bytes() == b"whole"
    assert (tmp_path / "taken").read_bytes() == b"mine"
    assert names(tmp_path) == ["dangling", "free", "taken"]


def test_what_cannot_be_linked_says_so(tmp_path: Path) -> None:
    fd = files.create_nameless(str(tmp_path))
    if fd is None:
        pytest.skip("this file system has no files without names")
    try:
        assert files.link_nameless(fd, str(tmp_path / "nowhere" / "a")) is None
        elsewhere = f"/dev/shm/gdl-test-{uuid.uuid4().hex}"  # noqa: S108 another file system
        if os.access("/dev/shm", os.W_OK) and os.stat("/dev/shm").st_dev != os.stat(tmp_path).st_dev:  # noqa: S108
            assert files.link_nameless(fd, elsewhere) is None
            assert not os.path.lexists(elsewhere)
    finally:
        os.close(fd)


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
    thread, fd, was_open = files.in_thread(function, given)
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
        files.in_thread(function, given)
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
    greenlet = gevent.spawn(files.in_thread, function, given)
    while not started.is_set():
        gevent.sleep(0.001)
    greenlet.kill()
    assert (found, is_open(given)) == ([], True)
    release.set()
    wait_until(lambda: not is_open(given), "the end of the thread")
    assert found == [True]


def test_a_thread_that_never_begins_leaves_no_descriptor(tmp_path: Path) -> None:
    called: list[int] = []
    fd = descriptor()
    before = os.listdir("/proc/self/fd")
    with busy_threads():
        waits: list[Callable[[], None]] = [lambda: files.in_thread(called.append, descriptor())] * 5
        waits += [lambda: files.sync(fd), lambda: files.sync_folder(str(tmp_path))]
        waiting = [gevent.spawn(wait) for wait in waits]
        gevent.sleep(0)
        assert len(os.listdir("/proc/self/fd")) > len(before) + len(waiting)
        gevent.killall(waiting)
    assert called == []
    assert os.listdir("/proc/self/fd") == before
    os.close(fd)


def test_syncing_keeps_the_callers_descriptor_and_tells_errors(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        os.write(fd, b"x")
        files.sync(fd)
        files.sync_folder(str(tmp_path))
        os.write(fd, b"y")
    finally:
        os.close(fd)
    with pytest.raises(FileNotFoundError):
        files.sync_folder(str(tmp_path / "nowhere"))
    with pytest.raises(NotADirectoryError):
        files.sync_folder(str(tmp_path / "a"))
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        files.sync(ours.fileno())


def test_the_current_folder_may_be_meant_by_no_name_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files.sync_folder("")
    found = files.free("")
    assert found is not None
    assert found > 0


# Room


def test_room_is_that_of_the_file_system_a_folder_will_be_on(tmp_path: Path) -> None:
    there = files.free(str(tmp_path))
    assert there is not None
    assert there > 0
    for folder in (tmp_path / "not" / "yet", tmp_path / "x", Path("/nowhere/at/all")):
        assert files.free(str(folder)) is not None
    (tmp_path / "file").touch()
    assert files.free(str(tmp_path / "file" / "below")) is not None


def test_what_counts_no_blocks_has_no_number_of_free_bytes() -> None:
    if not os.statvfs("/proc").f_blocks:
        assert files.free("/proc") is None


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


def test_files_have_the_users_own_permissions(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        fd = files.create_nameless(str(tmp_path))
        if fd is not None:
            files.link_nameless(fd, str(tmp_path / "a"))
            os.close(fd)
        os.close(files.create(str(tmp_path / "b"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
