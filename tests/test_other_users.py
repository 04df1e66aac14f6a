"""Folders that several users may write to, or read: what belongs to another user is neither used nor touched."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import threading
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support import answers, samples
from support.cli import GDL, RunningGdl, run_gdl
from support.disks import as_user
from support.failing import Failing, Fault, read_calls
from support.parts import Film, cut_film, files, leave_parts, part_path, read_state, state_path
from support.processes import wait_until

from downloader import leftovers
from downloader.files import boot_id
from downloader.folders import Folders
from downloader.resume import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import faults as f
    from support.cli import Completed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")

MIB = 1024 * 1024
BODY = samples.mp4(3 * MIB)
EVIL = (BODY[:32] + b"EVIL" * MIB)[: 2 * MIB]
MINE, THEIRS = 1001, 65534
NAME = "film.mp4"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder that anybody may write to."""
    folder = tmp_path / "out"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def running_as(uid: int, *args: str, cwd: Path, group: int | None = None) -> RunningGdl:
    before = as_user(uid, group)
    program = ("-c", f"import os, sys; os.execv({before[0]!r}, {[*before, sys.executable]!r} + sys.argv[1:])", *GDL)
    return RunningGdl(("--json", "--retries", "0", "-o", "out", *args), program=program, cwd=cwd)


def run_as(uid: int, *args: str, cwd: Path, group: int | None = None) -> Completed:
    with running_as(uid, *args, cwd=cwd, group=group) as running:
        return running.wait()


def plant(path: Path, data: bytes, *, owner: int = THEIRS, mode: int = 0o666) -> None:
    path.write_bytes(data)
    os.chown(path, owner, owner)
    path.chmod(mode)


def state_of(url: str, data: bytes, inode: int, **about: Any) -> bytes:
    """A state that fits ``data`` and would have it continued."""
    state = State(url, len(BODY), '"v1"', done=[(0, len(data))], boot=boot_id(), inode=inode)
    state.tail = zlib.crc32(data[-4096:])
    for key, value in about.items():
        setattr(state, key, value)
    return state.dump()


def check_saved(done: Completed, out: Path, owner: int = MINE) -> None:
    [result] = done.results
    assert (done.returncode, result["status"]) == (0, "saved"), done.stderr
    assert (out / NAME).read_bytes() == BODY
    assert (out / NAME).stat().st_uid == owner


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        name: ((folder / name).read_bytes() if (folder / name).is_file() else b"", found.st_uid, found.st_ino)
        for name in files(folder)
        for found in [(folder / name).lstat()]
    }


@pytest.mark.parametrize("mode", [0o666, 0o644, 0o600, 0o000])
@pytest.mark.parametrize("what", ["part and state", "part", "empty part", "state", "no state"])
def test_a_part_of_another_users_is_neither_continued_nor_touched(
    faults: f.FaultServer, tmp_path: Path, out: Path, what: str, mode: int
) -> None:
    film = Film(BODY)
    url = faults.route(f"/{NAME}", film)
    part, state = part_path(out / NAME), state_path(out / NAME)
    if what != "no state":
        plant(part, EVIL, mode=mode)
        plant(state, state_of(url, EVIL, part.stat().st_ino), mode=mode)
    else:
        plant(state, b'{"theirs": true}', mode=mode)
    if what == "empty part":
        plant(part, b"", mode=mode)
    if what in ("part", "empty part"):
        state.unlink()
    if what == "state":
        part.unlink()
    before = snapshot(out)
    check_saved(run_as(MINE, url, cwd=tmp_path), out)
    after = snapshot(out)
    del after[NAME]
    assert after == before
    assert film.ranges == [None]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/passwd", path)])
@pytest.mark.parametrize("suffix", [".part", ".part.json"])
def test_what_is_no_file_of_another_users_is_not_touched_either(
    faults: f.FaultServer, tmp_path: Path, out: Path, suffix: str, make: Callable[[Path], None]
) -> None:
    url = faults.route(f"/{NAME}", Film(BODY))
    planted = out / f"{NAME}{suffix}"
    make(planted)
    os.chown(planted, THEIRS, THEIRS, follow_symlinks=False)
    before = planted.lstat()
    check_saved(run_as(MINE, url, cwd=tmp_path), out)
    assert planted.lstat().st_ino == before.st_ino
    assert sorted(os.listdir(out)) == [NAME, planted.name]


def test_a_part_under_another_name_is_continued_by_the_next_run(
    faults: f.FaultServer, tmp_path: Path, out: Path
) -> None:
    url = faults.route(f"/{NAME}", cut_film(BODY, 2 * MIB))
    plant(part_path(out / NAME), b"theirs")
    assert run_as(MINE, url, cwd=tmp_path).returncode == 1
    assert len([name for name in os.listdir(out) if name.startswith("film~")]) == 2
    film = Film(BODY)
    faults.route(f"/{NAME}", film)
    check_saved(run_as(MINE, url, cwd=tmp_path), out)
    assert film.ranges == [None, f"bytes={2 * MIB}-{len(BODY) - 1}"], "it is found once the file is to be written"
    assert sorted(os.listdir(out)) == [NAME, f"{NAME}.part"]


def test_where_each_name_is_taken_the_item_fails_and_says_why(faults: f.FaultServer, tmp_path: Path, out: Path) -> None:
    from downloader.claims import variants

    url = faults.route(f"/{NAME}", Film(BODY))
    names = [NAME, *(name for _, name in zip(range(20), variants(NAME, url), strict=False))]
    for name in names:
        plant(part_path(out / name), EVIL)
    before = snapshot(out)
    done = run_as(MINE, url, cwd=tmp_path)
    [result] = done.results
    assert (result["status"], result["error"]["kind"], done.returncode) == ("failed", "name", 1)
    assert "out/film.mp4.part is another user's or locked" in done.stderr
    assert snapshot(out) == before


@pytest.mark.parametrize("boot", ["this", "another"])
@pytest.mark.parametrize("size", [8, 2 * MIB])
@pytest.mark.parametrize("sticky", [True, False])
@pytest.mark.parametrize("served", [True, False])
def test_a_forged_state_never_takes_a_finished_file_away(
    faults: f.FaultServer, tmp_path: Path, out: Path, boot: str, size: int, sticky: bool, served: bool
) -> None:
    mine = b"precious" * (MIB // 8)
    url = faults.route(f"/{NAME}", Film(BODY)) if served else faults.url(f"/{NAME}")
    plant(out / NAME, mine, owner=MINE, mode=0o644)
    about = {"published": True, "boot": boot_id() if boot == "this" else boot}
    forged = state_of(url, mine[:8], (out / NAME).stat().st_ino, done=[(0, size)], **about)
    plant(state_path(out / NAME), forged)
    out.chmod(0o1777 if sticky else 0o777)
    before = snapshot(out)
    done = run_as(MINE, url, cwd=tmp_path)
    assert [result["reason"] for result in done.results] == ["exists"]
    assert snapshot(out) == before


def test_a_file_of_another_users_is_never_taken_back(out: Path) -> None:
    plant(out / NAME, b"theirs", mode=0o644)
    plant(
        state_path(out / NAME), state_of("https://h/a", b"theirs", (out / NAME).stat().st_ino, published=True), owner=0
    )
    folders = Folders(str(out))
    assert leftovers.whole(folders, NAME, boot="another")
    folders.close()
    assert files(out) == [NAME, f"{NAME}.part.json"]


def test_a_part_of_another_users_is_in_nobodys_way(out: Path) -> None:
    """The machine went down while ours was published, and since then another user's part has taken its place."""
    plant(out / NAME, b"cut short", owner=0, mode=0o644)
    inode = (out / NAME).stat().st_ino
    about = {"published": True, "boot": "another", "done": [(0, MIB)]}
    plant(state_path(out / NAME), state_of("https://h/a", b"", inode, **about), owner=0)
    plant(part_path(out / NAME), b"theirs")
    folders = Folders(str(out))
    assert not leftovers.whole(folders, NAME, boot=boot_id())
    folders.close()
    assert (out / f"{NAME}.part").read_bytes() == b"theirs"
    assert (out / f"{NAME}.part.old").stat().st_ino == inode
    assert not (out / NAME).exists()


def test_own_parts_are_continued_by_whoever_runs_gdl(faults: f.FaultServer, tmp_path: Path, out: Path) -> None:
    url = faults.route(f"/{NAME}", cut_film(BODY, 2 * MIB))
    assert run_as(MINE, url, cwd=tmp_path).returncode == 1
    assert read_state(out / NAME)["done"]
    film = Film(BODY)
    faults.route(f"/{NAME}", film)
    check_saved(run_as(MINE, url, cwd=tmp_path), out)
    assert film.sent < 2 * MIB
    assert files(out) == [NAME]


@pytest.mark.parametrize("nameless", [True, False])
def test_whose_a_file_is_is_found_out_only_where_it_matters_and_leaves_nothing(
    failing: Failing, faults: f.FaultServer, tmp_path: Path, out: Path, nameless: bool
) -> None:
    log = tmp_path / "calls.log"
    no_nameless = () if nameless else (Fault("tmpfile", 95),)
    env = failing.environment(*no_nameless, within=out, log=log)
    url = faults.route(f"/{NAME}", cut_film(BODY, 2 * MIB))
    leave_parts(tmp_path, url)
    faults.route(f"/{NAME}", Film(BODY))
    other = faults.route("/other.mp4", Film(BODY))
    assert run_gdl("-o", "out", other, cwd=tmp_path, env=env).returncode == 0
    assert [call for call in read_calls(log) if ".gdl-" in call.path or call.kind == "tmpfile"] == []
    log.unlink()
    assert run_gdl("-o", "out", url, cwd=tmp_path, env=env).returncode == 0
    probes = [call.kind for call in read_calls(log) if ".gdl-" in call.path or call.kind == "tmpfile"]
    assert probes == (["tmpfile"] if nameless else ["tmpfile", "mkdir", "unlink"])
    assert files(out) == [NAME, "other.mp4"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize(
    ("mode", "group", "shared"), [(0o2775, MINE, True), (0o775, MINE, True), (0o777, 0, True), (0o755, MINE, False)]
)
def test_users_who_share_a_folder_share_its_locks(
    faults: f.FaultServer, tmp_path: Path, out: Path, mode: int, group: int, umask: int, shared: bool
) -> None:
    """The first is slow; who comes meanwhile leaves its file alone, if he could have written to the folder at all."""
    go_on = threading.Event()
    url = faults.route(f"/{NAME}", answers.when(go_on, Film(BODY)))
    os.chown(out, 1002, group)
    out.chmod(mode)
    before = os.umask(umask)
    try:
        with running_as(1002, url, cwd=tmp_path, group=group) as first:
            faults.wait_for_requests(1)
            wait_until((out / ".gdl.lock").exists, "the lock")
            done = run_as(1003, url, cwd=tmp_path, group=group) if shared else None
            found = (out / ".gdl.lock").stat()
            go_on.set()
            assert first.wait().returncode == 0
    finally:
        os.umask(before)
    if done is not None:
        assert [result["reason"] for result in done.results] == ["in progress"], done.stderr
        assert "warning" not in done.stderr
    assert not (found.st_mode & 0o022) or shared
    assert files(out) == [NAME]
    assert len(faults.requests) == 1


def test_who_may_only_read_a_folder_keeps_nothing_in_it_from_being_saved(
    faults: f.FaultServer, tmp_path: Path, out: Path
) -> None:
    """He locks names and the part, both for as long as he likes."""
    url = faults.route(f"/{NAME}", cut_film(BODY, 2 * MIB))
    leave_parts(tmp_path, url)
    faults.route(f"/{NAME}", Film(BODY))
    (out / ".gdl.lock").touch()
    with locked(part_path(out / NAME)), (out / ".gdl.lock").open("rb") as lock:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", fcntl.F_RDLCK, 0, 0, 0, 0))
        done = run_gdl("--json", "-q", "--retries", "0", "-o", "out", url, cwd=tmp_path)
        check_saved(done, out, owner=0)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """What anybody may do who can read a file."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_who_locks_a_part_that_he_may_only_read_keeps_nothing_from_being_saved(
    faults: f.FaultServer, tmp_path: Path, out: Path
) -> None:
    url = faults.route(f"/{NAME}", cut_film(BODY, 2 * MIB))
    leave_parts(tmp_path, url)
    faults.route(f"/{NAME}", Film(BODY))
    args = ("--json", "--retries", "0", "-o", "out", url)
    with locked(part_path(out / NAME)):
        check_saved(run_gdl(*args, cwd=tmp_path), out, owner=0)
        assert files(out) == [NAME, f"{NAME}.part", f"{NAME}.part.json"]
    done = run_gdl(*args, cwd=tmp_path)
    assert [result["reason"] for result in done.results] == ["exists"]
    assert files(out) == [NAME], "what it left is cleared away when it can be"
