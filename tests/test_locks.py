"""Names locked between runs: by real processes, killed ones among them, and on folders where nothing can be locked."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cli import environment

from downloader import bytelocks, files, locks
from downloader.folders import Folders
from downloader.locks import LOCK_FILE, NameLocks, complaint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    Choose = Callable[[int], int]

ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> Iterator[None]:
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    yield
    assert (os.listdir("/proc/self/fd") if before else []) == before


def refuse(message: str) -> None:
    raise AssertionError(message)


@contextmanager
def locked(folder: Path, warn: Callable[[str], None] = refuse) -> Iterator[NameLocks]:
    folders = Folders(str(folder))
    names = NameLocks(folders, warn=warn)
    try:
        yield names
    finally:
        names.close()
        folders.close()


# Python starts it with the folder; it answers each line with a line.
ANOTHER = """
import subprocess, sys
from downloader.folders import Folders
from downloader.locks import NameLocks
warned = []
names = NameLocks(Folders(sys.argv[1]), warn=warned.append)
for line in sys.stdin:
    verb, _, key = line.strip().partition(" ")
    if verb == "take":
        print(names.take(key, make=True), flush=True)
    elif verb == "warned":
        print(warned, flush=True)
    elif verb == "spawn":
        child = subprocess.Popen(["sleep", "60"], close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        print(child.pid, flush=True)
names.close()
"""


class Another:
    """Another process with locks in the same folder."""

    def __init__(self, folder: Path, extra: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ANOTHER, str(folder)],
            env=environment(folder, extra),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Let it close its locks and exit."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait() == 0


@contextmanager
def another(folder: Path, extra: dict[str, str] | None = None) -> Iterator[Another]:
    other = Another(folder, extra)
    try:
        yield other
    finally:
        other.kill()
        for pipe in (other.process.stdin, other.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture(params=["open file", "process"])
def _either_owner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """To whom a lock belongs: to the open file, or where there are no such locks, to the process."""
    if request.param == "process":
        monkeypatch.setattr(bytelocks, "OFD", None)


def test_making_the_object_touches_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    NameLocks(Folders(str(folder)), warn=refuse).close()
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("_either_owner")
def test_two_objects_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    with locked(tmp_path) as one, locked(tmp_path) as two:
        assert one.take("a", make=False)
        assert not two.take("a", make=False)
        assert two.take("b", make=False)
        assert not one.take("b", make=True)
        one.drop("a")
        assert two.take("a", make=False)


@pytest.mark.usefixtures("_either_owner")
def test_closing_one_object_leaves_the_other_its_locks_and_the_file(tmp_path: Path) -> None:
    with locked(tmp_path) as one:
        assert one.take("a", make=False)
        with locked(tmp_path) as two, another(tmp_path) as third:
            assert two.take("b", make=False)
            one.close()
            assert (third.ask("take a"), third.ask("take b")) == ("True", "False")
            third.end()
            assert os.listdir(tmp_path) == [LOCK_FILE]
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("_either_owner")
def test_names_are_taken_and_dropped_across_processes(tmp_path: Path) -> None:
    with locked(tmp_path) as names, another(tmp_path) as other:
        assert other.ask("take é/1.jpg") == "True"
        assert not names.take("é/1.jpg", make=False)
        assert names.take("2.jpg", make=False)
        assert other.ask("take 2.jpg") == "False"
        names.drop("2.jpg")
        assert other.ask("take 2.jpg") == "True"
        other.end()
        assert names.take("é/1.jpg", make=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("_either_owner")
def test_a_killed_process_frees_its_names_and_the_next_removes_its_file(tmp_path: Path) -> None:
    with another(tmp_path) as other, locked(tmp_path) as names:
        assert other.ask("take a") == "True"
        assert not names.take("a", make=False)
        names.close()
        other.kill()
        assert os.listdir(tmp_path) == [LOCK_FILE]
        assert names.take("a", make=False)
    assert os.listdir(tmp_path) == []


def test_a_process_started_by_a_holder_inherits_no_lock(tmp_path: Path) -> None:
    with another(tmp_path) as other, locked(tmp_path) as names:
        assert other.ask("take a") == "True"
        child = int(other.ask("spawn"))
        try:
            assert not names.take("a", make=False)
            other.kill()
            assert names.take("a", make=False)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_name_held_is_taken_again_at_once_and_one_not_held_is_dropped_in_peace(tmp_path: Path) -> None:
    with locked(tmp_path) as names, locked(tmp_path) as others:
        names.drop("a")
        assert names.take("a", make=False)
        assert names.take("a", make=True)
        others.drop("a")
        assert not others.take("a", make=False)
        names.drop("a")
        assert others.take("a", make=False)
        names.drop("a")
        assert not names.take("a", make=False)


@pytest.mark.usefixtures("_either_owner")
def test_closing_twice_is_closing_once_and_taking_again_begins_anew(tmp_path: Path) -> None:
    with locked(tmp_path) as names:
        assert names.take("a", make=False)
        names.close()
        names.close()
        assert os.listdir(tmp_path) == []
        with locked(tmp_path) as others:
            assert others.take("a", make=False)
            assert not names.take("a", make=False)


def test_the_folder_is_made_only_when_asked_and_the_name_taken_then(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "new"
    with locked(folder) as names, locked(folder) as others:
        assert names.take("a", make=False)
        assert others.take("a", make=False)
        names.drop("b")
        assert os.listdir(tmp_path) == []
        assert names.take("a", make=True)
        assert os.listdir(folder) == [LOCK_FILE]
        assert not others.take("a", make=True)
    assert os.listdir(folder) == []


def test_a_relative_folder_is_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("", "."):
        folders = Folders(folder)
        names = NameLocks(folders, warn=refuse)
        assert names.take("a", make=True)
        assert os.listdir(tmp_path) == [LOCK_FILE]
        names.close()
        folders.close()
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_file_has_the_permissions_the_user_asks_for(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with locked(tmp_path) as names:
            assert names.take("a", make=False)
            assert stat.S_IMODE(os.stat(tmp_path / LOCK_FILE).st_mode) == mode
    finally:
        os.umask(before)


def test_a_folder_removed_and_made_anew_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with locked(folder) as names:
        assert names.take("a", make=True)
        shutil.rmtree(folder)
        assert names.take("b", make=True)
        names.drop("b")
        with locked(folder) as others:
            assert others.take("c", make=True)
            names.close()
            assert os.listdir(folder) == [LOCK_FILE]
    assert os.listdir(folder) == []


@contextmanager
def read_locked(path: Path) -> Iterator[None]:
    """What whoever may read the file may do: lock all of it for reading."""
    with path.open("rb") as file:
        command = getattr(fcntl, "F_OFD_SETLK", None)
        if command is None or sys.platform != "linux":
            pytest.skip("takes locks of open files")
        fcntl.fcntl(file, command, struct.pack("hhqqi0q", fcntl.F_RDLCK, 0, 0, 0, 0))
        yield


@pytest.mark.usefixtures("_either_owner")
def test_who_only_reads_the_file_keeps_no_name_from_anybody(tmp_path: Path) -> None:
    warnings: list[str] = []
    with locked(tmp_path, warnings.append) as names, another(tmp_path) as other:
        assert names.take("a", make=True)
        assert warnings == []
        names.drop("a")
        with read_locked(tmp_path / LOCK_FILE):
            assert names.take("a", make=True)
            assert names.rules_out("a")
            assert not names.rules_out("b")
            names.drop("a")
            assert not names.rules_out("a")
            assert names.take("a", make=True)
            assert other.ask("take a") == "True"
        [warning] = set(warnings)
        assert warning.startswith(f"{tmp_path}/{LOCK_FILE} is locked by a program that only reads it: two gdl must not")
        assert names.take("b", make=True), "as soon as nobody reads it names are locked again"
        assert names.rules_out("b")
        assert other.ask("take b") == "False"
        assert other.ask("take c") == "True"
        assert names.take("c", make=True) is False
        assert not names.rules_out("c")
        other.end()
    assert os.listdir(tmp_path) == []


def test_a_name_that_is_dropped_just_then_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bytelocks.lock
    with locked(tmp_path) as one, locked(tmp_path) as two:
        assert one.take("a", make=False)

        def refused_once(*_: int) -> bool:
            monkeypatch.setattr(locks, "lock", real)
            one.drop("a")
            return False

        monkeypatch.setattr(locks, "lock", refused_once)
        assert two.take("a", make=False)
        assert not one.take("a", make=False)


def test_who_makes_the_file_is_given_the_time_to_open_it_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusals = locks._open_or_make, [True] * 3

    def refuse_first(spot: files.Spot) -> tuple[int, bool]:
        if refusals:
            refusals.pop()
            raise PermissionError(errno.EACCES, "not yet")
        return real(spot)

    monkeypatch.setattr(locks, "_open_or_make", refuse_first)
    with locked(tmp_path) as names:
        assert names.take("a", make=False)
        assert names.rules_out("a")


def plant_link(path: Path) -> None:
    (path.parent / "target").write_bytes(b"")
    path.symlink_to("target")


def plant_dangling_link(path: Path) -> None:
    path.symlink_to("missing")


def plant_hard_link(path: Path) -> None:
    (path.parent / "target").write_bytes(b"")
    path.hardlink_to(path.parent / "target")


def plant_file(path: Path) -> None:
    path.write_bytes(b"somebody's own")


PLANTS: list[Callable[[Path], None]] = [
    plant_link,
    plant_dangling_link,
    plant_hard_link,
    plant_file,
    os.mkfifo,
    os.mkdir,
]


@pytest.mark.usefixtures("_either_owner")
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_what_is_not_a_lock_file_is_neither_used_nor_touched(plant: Callable[[Path], None], tmp_path: Path) -> None:
    plant(tmp_path / LOCK_FILE)
    before = {name: os.lstat(tmp_path / name) for name in os.listdir(tmp_path)}
    warnings: list[str] = []
    with locked(tmp_path, warnings.append) as names:
        assert names.take("a", make=False)
        assert names.take("b", make=True)
        names.drop("a")
    assert warnings == [
        f"{tmp_path}/{LOCK_FILE} is not a lock file of gdl: two gdl must not work on that folder at the same time"
    ]
    assert {name: os.lstat(tmp_path / name) for name in os.listdir(tmp_path)} == before


@pytest.mark.skipif(ROOT, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_no_matter_of_locks(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with locked(tmp_path) as names:
            assert names.take("a", make=True)
        with locked(tmp_path / "new") as names:
            assert names.take("a", make=True)
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.skipif(ROOT, reason="root may open any file")
def test_a_lock_file_of_somebody_else_is_told_of(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).touch(0o400)
    warnings: list[str] = []
    with locked(tmp_path, warnings.append) as names:
        assert names.take("a", make=True)
        assert names.take("b", make=True)
    assert warnings == [
        f"{tmp_path}/{LOCK_FILE} cannot be locked: two gdl must not work on that folder at the same time"
    ]


@pytest.mark.parametrize("folder", ["file", "file/below", "dangling", "x" * 300, "/proc/none"])
def test_a_folder_that_cannot_be_is_no_matter_of_locks(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("missing/missing")
    with locked(tmp_path / folder) as names:
        assert names.take("a", make=False)
        assert names.take("a", make=True)
        names.drop("a")


def test_without_descriptors_nothing_is_locked_until_there_are_some(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with locked(tmp_path) as names, locked(tmp_path) as others:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            assert names.take("a", make=False)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert others.take("a", make=False)
        assert not names.take("a", make=False)


def test_a_file_that_stays_in_removal_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_TRIES", 5)
    fd = os.open(tmp_path / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    warnings: list[str] = []
    try:
        assert bytelocks.lock(fd, fcntl.F_WRLCK, 0)
        with locked(tmp_path, warnings.append) as names:
            assert names.take("a", make=False)
            assert names.take("b", make=False)
    finally:
        os.close(fd)
    assert [warning.partition(": ")[0] for warning in warnings] == [f"{tmp_path}/{LOCK_FILE} cannot be locked"]


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOLCK, "the output folder has no file locks"),
        (errno.EOPNOTSUPP, "the output folder has no file locks"),
        (errno.ENOSYS, "the output folder has no file locks"),
        (errno.EINVAL, "the output folder has no file locks"),
        (errno.EOVERFLOW, "the output folder has no file locks"),
        (errno.ELOOP, "pics/.gdl.lock is not a lock file of gdl"),
        (errno.EISDIR, "pics/.gdl.lock is not a lock file of gdl"),
        (errno.EBUSY, "pics/.gdl.lock cannot be locked"),
        (errno.ENOSPC, None),
        (errno.EDQUOT, None),
        (errno.EROFS, None),
        (errno.EIO, None),
        (errno.EMFILE, None),
        (errno.ENFILE, None),
        (errno.ENOTDIR, None),
        (errno.ESTALE, None),
    ],
)
def test_only_the_lack_of_locks_is_told(code: int, reason: str | None, writable: bool) -> None:
    expected = reason and f"{reason}: two gdl must not work on that folder at the same time"
    assert complaint(code, "pics/.gdl.lock", writable=writable) == expected


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_a_refusal_is_told_where_files_could_be_written(code: int) -> None:
    assert complaint(code, "pics/.gdl.lock", writable=False) is None
    assert (complaint(code, "pics/.gdl.lock", writable=True) or "").startswith("pics/.gdl.lock cannot be locked: ")


def test_the_place_of_a_name_is_the_same_for_ever() -> None:
    assert locks._offset("a/b.jpg") == (0x67ED673B4D9FCCAE >> 2) + 1
    assert locks._offset("图.jpg") == (0x7F1D0B756B378F85 >> 2) + 1


@given(st.text(st.characters(exclude_categories=())))
def test_the_place_of_a_name_can_be_locked(key: str) -> None:
    assert locks._PRESENCE < locks._offset(key) <= 1 << 62


NO_LOCKS = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Refuses locks with error NO_LOCKS_ERROR from the one numbered NO_LOCKS_AFTER on. */
static int refuse(int fd, int command, void *argument) {
    static int locks;
    if ((command == F_SETLK || command == F_OFD_SETLK) && locks++ >= atoi(getenv("NO_LOCKS_AFTER"))) {
        errno = atoi(getenv("NO_LOCKS_ERROR"));
        return -1;
    }
    return syscall(SYS_fcntl, fd, command, argument);
}

#define WRAP(name) int name(int fd, int command, ...) { \\
    va_list rest; va_start(rest, command); \\
    void *argument = va_arg(rest, void *); va_end(rest); \\
    return refuse(fd, command, argument); }
WRAP(fcntl)
WRAP(fcntl64)
"""


@pytest.fixture(scope="module")
def no_locks(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library to preload, with which no file system has locks."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux" or sys.maxsize < 1 << 32:
        pytest.skip("needs a C compiler on 64-bit Linux")
    folder = tmp_path_factory.mktemp("no-locks")
    (folder / "no_locks.c").write_text(NO_LOCKS)
    library = folder / "no_locks.so"
    built = subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "no_locks.c"], check=False)
    if built.returncode:
        pytest.skip("the C compiler does not work")
    return str(library)


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_told_of_once_and_fails_nothing(
    no_locks: str, code: int, after: int, tmp_path: Path
) -> None:
    extra = {"LD_PRELOAD": no_locks, "NO_LOCKS_ERROR": str(code), "NO_LOCKS_AFTER": str(after)}
    with another(tmp_path, extra) as other:
        assert [other.ask(f"take {key}") for key in "abca"] == ["True"] * 4
        assert other.ask("warned") == str(
            ["the output folder has no file locks: two gdl must not work on that folder at the same time"]
        )
        if after == 0:
            assert os.listdir(tmp_path) == []
        other.end()


SYSTEM_CALLS = {"open", "fcntl", "stat", "unlink", "close"}


class Actor:
    """A thread that stops before each system call of the locks until it is told to go on."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.next: str | None = None
        """The call it stopped before; None when it is done."""
        self.opened = 0
        self.error: BaseException | None = None
        self._work = work
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._stopped.acquire()

    def step(self) -> None:
        self._go.release()
        self._stopped.acquire()

    def end(self) -> None:
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        sys.setprofile(self._before_call)
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 for the test's own thread
            self.error = error
        sys.setprofile(None)
        self.next = None
        self._stopped.release()

    def _before_call(self, frame: FrameType, event: str, function: object) -> None:
        if event == "c_call" and frame.f_code.co_filename in (bytelocks.__file__, locks.__file__, files.__file__):
            name = getattr(function, "__name__", "")
            if name in SYSTEM_CALLS:
                self.next = name
                self.opened += name == "open"
                self._stopped.release()
                self._go.acquire()


def interleave(choose: Choose, *works: Callable[[], None]) -> None:
    """Run all at once, one system call at a time: of so many that could go on, ``choose`` says which does."""
    actors = [Actor(work) for work in works]
    while running := [actor for actor in actors if actor.next]:
        # Who waits for a removal would do so for ever in some orders: the others go first then.
        ready = [actor for actor in running if actor.opened < 3] or running
        ready[choose(len(ready))].step()
    for actor in actors:
        actor.end()


def every_order(run: Callable[[Choose], None]) -> int:
    """Run in every order there is, and return how many there are."""
    prefix: list[int] = []
    for orders in count(1):
        taken: list[tuple[int, int]] = []

        def choose(ready: int, prefix: list[int] = prefix, taken: list[tuple[int, int]] = taken) -> int:
            taken.append((prefix[len(taken)] if len(taken) < len(prefix) else 0, ready))
            return taken[-1][0]

        run(choose)
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return orders
        prefix = [choice for choice, _ in taken[:-1]] + [taken[-1][0] + 1]
    raise AssertionError


@pytest.fixture
def _by_open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that exclude threads like processes; the guard, of use only to the others, would stop who holds it."""
    if bytelocks.OFD is None:
        pytest.skip("locks belong to the process here")
    monkeypatch.setattr(locks, "_guard", nullcontext())


@pytest.mark.usefixtures("_by_open_file")
def test_who_comes_while_the_last_leaves_has_the_lock_that_others_see(tmp_path: Path) -> None:
    def run(choose: Choose) -> None:
        with locked(tmp_path) as old, locked(tmp_path) as new, locked(tmp_path) as third:
            assert old.take("a", make=False)
            interleave(choose, old.close, lambda: no_matter(new.take("b", make=False)))
            assert third.take("a", make=False)
            assert not third.take("b", make=False)
        assert os.listdir(tmp_path) == []

    assert every_order(run) > 100


@pytest.mark.usefixtures("_by_open_file")
def test_when_the_last_two_leave_together_one_removes_the_file(tmp_path: Path) -> None:
    def run(choose: Choose) -> None:
        with locked(tmp_path) as one, locked(tmp_path) as two:
            assert one.take("a", make=False)
            assert two.take("b", make=False)
            interleave(choose, one.close, two.close)
            assert os.listdir(tmp_path) == []

    assert every_order(run) > 100


@pytest.mark.usefixtures("_by_open_file")
def test_three_that_come_and_go_in_any_order_never_hold_one_name_together(tmp_path: Path) -> None:
    holders: list[NameLocks] = []

    def work() -> None:
        for _ in range(2):
            with locked(tmp_path) as names:
                if names.take("a", make=False):
                    holders.append(names)
                    names.take(f"a stop {id(names)}", make=False)
                    assert holders == [names]
                    holders.remove(names)
                    names.drop("a")

    for seed in range(200):
        interleave(random.Random(seed).randrange, work, work, work)  # noqa: S311 not for secrets
        assert os.listdir(tmp_path) == [], f"with seed {seed}"


def no_matter(_: object) -> None:
    """For work whose answer is looked at later."""


# Takes and drops, comes and goes, and dies now and then. The marker is another kind of lock, to check the first.
STRESS = """
import os, random, signal, sys, time
from downloader import bytelocks
from downloader.folders import Folders
from downloader.locks import NameLocks

def refuse(message):
    raise AssertionError(message)

folder, markers, seed, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
if seed % 3 == 0:
    bytelocks.OFD = None  # this one's locks belong to the process
chance = random.Random(seed)
counts = dict(taken=0, refused=0, closed=0, killed=0)
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + seconds
while time.monotonic() < end:
    folders = Folders(folder)
    names = NameLocks(folders, warn=refuse)
    for _ in range(chance.randrange(1, 6)):
        key = chance.choice("abc")
        if not names.take(key, make=True):
            counts["refused"] += 1
            continue
        marker = os.path.join(markers, key)
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        if chance.random() < 0.3:
            time.sleep(chance.random() / 500)
        os.unlink(marker)
        names.drop(key)
        counts["taken"] += 1
    names.close()
    folders.close()
    counts["closed"] += 1
    if chance.random() < 0.02:
        child = os.fork()
        if not child:
            names.take(chance.choice("abc"), make=True)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        counts["killed"] += 1
print(counts, flush=True)
"""


def stress(folder: Path, markers: Path, seed: int) -> subprocess.Popen[str]:
    arguments = [str(folder), str(markers), str(seed), "1.2"]
    return subprocess.Popen(
        [sys.executable, "-c", STRESS, *arguments],
        env=environment(markers),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_many_that_come_go_and_die_at_random_never_hold_one_name_together(tmp_path: Path) -> None:
    folder, markers = tmp_path / "out", tmp_path / "markers"
    markers.mkdir()
    seed = time.time_ns() % 100_000
    processes = [stress(folder, markers, seed + number) for number in range(6)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [(process.returncode, errors) for process, (_, errors) in zip(processes, ended, strict=True)] == [
        (0, "")
    ] * len(processes), f"with seed {seed}"
    print(f"seed {seed}", *(counts.strip() for counts, _ in ended), sep="\n")
    with locked(folder) as names:
        assert all(names.take(key, make=False) for key in "abc")  # the last may have been killed
    assert (os.listdir(folder), os.listdir(markers)) == ([], [])
