"""The output folder and what is below it: found by descriptors, so that no name and no swap leads out."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cli import REPOSITORY
from support.disks import tmpfs
from support.locales import latin_1

from downloader.errors import FileLost, NameRefused, StopRun
from downloader.folders import MOST_ENTERED, MOST_LINKS, MOST_OPEN, Folders

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.geteuid() == 0
MINE = b"mine, and to stay so"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "mine").write_bytes(MINE)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def folders(out: Path) -> Iterator[Folders]:
    with closing(Folders(str(out))) as folders:
        yield folders


@contextmanager
def closing(folders: Folders) -> Iterator[Folders]:
    try:
        yield folders
    finally:
        folders.close()


def where(folders: Folders, name: str, *, make: bool = False) -> Path | None:
    """The real path at which ``name`` is found."""
    place = folders.make(name) if make else folders.find(name)
    return None if place is None else Path(os.readlink(f"/proc/self/fd/{place[0].fd}")) / os.fsdecode(place[1])


def write(folders: Folders, name: str) -> None:
    """Make a file as downloads do."""

    def make(folder: int, leaf: bytes) -> None:
        os.close(os.open(leaf, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=folder))

    folders.create(name, "", lambda folder, leaf: make(folder.fd, leaf))


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Finding and making


@pytest.mark.parametrize("output", ["out", "out/", "./out", "out/sub/.."])
def test_names_are_found_in_the_output_folder_and_below(
    tmp_path: Path, out: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (out / "sub").mkdir()
    with closing(Folders(output)) as folders:
        assert where(folders, "a.jpg") == out / "a.jpg"
        assert where(folders, "sub/a.jpg") == out / "sub/a.jpg"
        assert where(folders, "sub/none/a.jpg") is None
        assert where(folders, "none/a.jpg") is None
        assert where(folders, "sub/new/deep/a.jpg", make=True) == out / "sub/new/deep/a.jpg"
    assert tree(out) == ["sub", "sub/new", "sub/new/deep"]


@pytest.mark.parametrize(
    ("output", "shown", "path"), [("out", "out", "out/a"), ("out/", "out", "out/a"), (".", ".", "a"), ("", ".", "a")]
)
def test_a_path_for_people_is_as_they_have_written_it(output: str, shown: str, path: str) -> None:
    folders = Folders(output)
    assert (folders.shown, folders.path("a")) == (shown, path)


def test_the_output_folder_is_made_when_it_is_needed_and_not_before(tmp_path: Path) -> None:
    with closing(Folders(str(tmp_path / "a/b/c"))) as folders:
        assert folders.root() is None
        assert folders.find("a.jpg") is None
        assert not folders.is_writable()
        assert tree(tmp_path) == []
        write(folders, "a.jpg")
        assert folders.is_writable()
    assert tree(tmp_path) == ["a", "a/b", "a/b/c", "a/b/c/a.jpg"]


@pytest.mark.parametrize("output", ["file", "file/below", "dangling", "x" * 300, "circle"])
def test_an_output_folder_that_cannot_be_ends_the_run(tmp_path: Path, output: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("missing/missing")
    (tmp_path / "circle").symlink_to("circle")
    folders = Folders(str(tmp_path / output))
    assert folders.find("a") is None
    with pytest.raises(StopRun, match=output):
        folders.make("a")


def test_a_file_in_the_place_of_a_folder_is_refused(folders: Folders, out: Path) -> None:
    (out / "file").touch()
    for name in ("file/a", "file/new/a"):
        for make in (False, True):
            with pytest.raises(NameRefused, match="out/file: Not a directory"):
                where(folders, name, make=make)


def test_a_path_that_others_could_not_open_is_refused(folders: Folders) -> None:
    with pytest.raises(NameRefused, match="too long"):
        folders.make("/".join(["d" * 200] * 21))


def test_no_more_folders_are_kept_open_than_may_be(folders: Folders, out: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5 * MOST_OPEN):
        write(folders, f"{number % 7}/{number}/a")
    for number in range(5 * MOST_OPEN):
        assert where(folders, f"{number % 7}/{number}/a") == out / f"{number % 7}/{number}/a"
    assert len(os.listdir("/proc/self/fd")) - before <= MOST_OPEN + 3
    folders.close()
    assert len(os.listdir("/proc/self/fd")) <= before


# Links


def test_links_are_followed_inside_the_output_folder(folders: Folders, out: Path, tmp_path: Path) -> None:
    (out / "real/deep").mkdir(parents=True)
    (tmp_path / "other-way").symlink_to("out")
    (out / "inside").symlink_to("real")
    (out / "absolute").symlink_to(out / "real")
    (out / "real/up").symlink_to("..")
    (out / "chain").symlink_to("inside/deep")
    (out / "self").symlink_to(".")
    (out / "whole").symlink_to(out)
    (out / "new").symlink_to("made/here")
    (out / "slashes").symlink_to("real//deep/")
    assert where(folders, "inside/a") == out / "real/a"
    assert where(folders, "absolute/deep/a") == out / "real/deep/a"
    assert where(folders, "inside/up/real/a") == out / "real/a"
    assert where(folders, "chain/a") == out / "real/deep/a"
    assert where(folders, "self/whole/self/a") == out / "a"
    assert where(folders, "slashes/a") == out / "real/deep/a"
    assert where(folders, "new/a") is None
    assert where(folders, "new/a", make=True) == out / "made/here/a"
    with closing(Folders(str(tmp_path / "other-way"))) as others:
        assert where(others, "absolute/a") == out / "real/a"
        (out / "as-given").symlink_to(tmp_path / "other-way/real")
        assert where(others, "as-given/a") == out / "real/a"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("{outside}", "link/a"),
        ("../outside", "link/a"),
        ("..", "link/outside/a"),
        ("../out", "link/a"),
        ("/", "link/a"),
        ("{out}x", "link/a"),
        ("{out}/../outside", "link/a"),
        ("sub/../../outside", "link/a"),
        ("sub/out", "link/a"),
        ("sub/out/deep", "link/a"),
        ("{outside}/new", "link/a"),
        ("link", "link/a"),
        ("sub/../link", "link/a"),
    ],
)
def test_links_that_lead_out_or_nowhere_are_refused(
    folders: Folders, out: Path, outside: Path, target: str, name: str
) -> None:
    (out / "sub").mkdir()
    (out / "sub/out").symlink_to("../../outside")
    (outside / "deep").mkdir()
    (out.parent / "outx").mkdir()
    (out / "link").symlink_to(target.format(out=out, outside=outside))
    for make in (False, True):
        with pytest.raises(NameRefused, match=r"is a symbolic link that lea[vd]"):
            where(folders, name, make=make)
    assert tree(outside) == ["deep", "mine"]


def test_so_many_links_are_followed_and_no_more(folders: Folders, out: Path) -> None:
    (out / "0").mkdir()
    for number in range(1, MOST_LINKS + 2):
        (out / str(number)).symlink_to(str(number - 1))
    assert where(folders, f"{MOST_LINKS}/a") == out / "0/a"
    with pytest.raises(NameRefused):
        folders.find(f"{MOST_LINKS + 1}/a")


def test_a_link_leads_through_so_many_folders_and_no_more(folders: Folders, out: Path) -> None:
    for number in range(MOST_ENTERED):
        (out / "sub" / str(number)).mkdir(parents=True)
    turns = MOST_ENTERED - 2
    (out / "link").symlink_to("sub/../" * turns + "sub/1")
    (out / "longer").symlink_to("sub/../" * turns + "sub/../sub/1")
    (out / "wide").symlink_to("sub/" + "/../".join(map(str, range(MOST_ENTERED))))
    assert where(folders, "link/a") == out / "sub/1/a"
    for name in ("longer/a", "wide/a"):
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(NameRefused, match="leads through more than"):
            folders.find(name)
        assert len(os.listdir("/dev/fd")) <= before + MOST_ENTERED


class How(ctypes.Structure):
    """What openat2 is asked (Linux 5.6)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: int, path: str) -> os.stat_result | None:
    """The folder that the kernel finds at ``path`` if it lets no link leave ``root``; None where it does not."""
    libc = ctypes.CDLL(None, use_errno=True)
    how = How(os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, 0x08)
    fd = libc.syscall(437, root, path.encode(), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
    if fd < 0:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


parts = st.sampled_from(["a", "b", "c"])
targets = st.lists(parts | st.sampled_from(["..", "..", "."]), min_size=1, max_size=5).map("/".join)
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)


@given(links=st.lists(st.tuples(paths, targets), max_size=8), kept=st.lists(paths, max_size=6), asked=paths)
def test_the_kernel_finds_the_same_folders_beneath(links: list[tuple[str, str]], kept: list[str], asked: str) -> None:
    with tempfile.TemporaryDirectory() as base:
        root = Path(base, "a/b/out")  # names of its parents, so that what leads out leads somewhere
        root.mkdir(parents=True)
        for path in kept:
            (root / path).mkdir(parents=True, exist_ok=True)
        for path, target in links:
            if not os.path.lexists(root / path) and (root / path).parent.is_dir():
                (root / path).symlink_to(target)
        fd = os.open(root, os.O_PATH)
        try:
            if open_beneath(fd, ".") is None:
                pytest.skip("the kernel has no openat2")
            expected = open_beneath(fd, asked)
        finally:
            os.close(fd)
        with closing(Folders(str(root))) as folders:
            for _ in range(2):  # and so they are when they are open already
                try:
                    place = folders.find(f"{asked}/x")
                except NameRefused:
                    place = None
                found = None if place is None else os.fstat(place[0].fd)
                assert (found and (found.st_dev, found.st_ino)) == (expected and (expected.st_dev, expected.st_ino))


# What others do meanwhile


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_folder_that_became_a_link_leads_nowhere(folders: Folders, out: Path, outside: Path, depth: int) -> None:
    name = "sub/deep/deeper/a"
    write(folders, name)
    swapped = out / "/".join(name.split("/")[:depth])
    rest = "/".join(name.split("/")[depth:-1])
    (outside / rest).mkdir(parents=True, exist_ok=True)
    for move_to in (out / "moved", outside / "moved"):
        swapped.rename(move_to)
        for target in (outside, move_to):
            swapped.symlink_to(target)
            if target.is_relative_to(out):
                assert where(folders, name) == move_to / rest / "a"
            else:
                with pytest.raises(NameRefused):
                    folders.find(name)
                with pytest.raises(NameRefused):
                    write(folders, name + "2")
            swapped.unlink()
        move_to.rename(swapped)
    assert where(folders, name) == out / name
    assert (outside / rest / "a").exists() is False


def test_another_folder_in_its_place_is_the_one_that_is_meant(folders: Folders, out: Path) -> None:
    write(folders, "sub/a")
    (out / "sub").rename(out / "old")
    (out / "sub").mkdir()
    assert where(folders, "sub/b") == out / "sub/b"
    shutil.rmtree(out / "sub")
    write(folders, "sub/c")
    assert tree(out) == ["old", "old/a", "sub", "sub/c"]


def test_a_link_in_the_place_of_the_output_folder_leads_nowhere(folders: Folders, out: Path, outside: Path) -> None:
    write(folders, "a")
    out.rename(out.parent / "moved")
    out.symlink_to(outside)
    write(folders, "b")
    write(folders, "sub/c")
    assert tree(out.parent / "moved") == ["a", "b", "sub", "sub/c"]
    assert tree(outside) == ["mine"]


@pytest.mark.parametrize("in_its_place", ["nothing", "folder", "not even its parent"])
def test_an_output_folder_that_was_deleted_is_made_anew(tmp_path: Path, in_its_place: str) -> None:
    out = tmp_path / "parent/out"
    with closing(Folders(str(out))) as folders:
        write(folders, "sub/a")
        shutil.rmtree(out.parent if in_its_place == "not even its parent" else out)
        if in_its_place == "folder":
            out.mkdir()
        write(folders, "b")
        write(folders, "sub/c")
        shutil.rmtree(out)
        write(folders, "sub/d")
        assert tree(out) == ["sub", "sub/d"]


@pytest.mark.parametrize("swapped", ["out", "parent"])
def test_an_output_folder_that_was_deleted_is_not_made_anew_through_a_link(
    tmp_path: Path, outside: Path, swapped: str
) -> None:
    parent = tmp_path / "parent"
    with closing(Folders(str(parent / "out"))) as folders:
        write(folders, "a")
        shutil.rmtree(parent)
        (outside / "out").mkdir()
        if swapped == "out":
            parent.mkdir()
            (parent / "out").symlink_to(outside)
        else:
            parent.symlink_to(outside)
        for _ in range(2):
            with pytest.raises(StopRun, match="parent/out: Not a directory"):
                write(folders, "b")
        assert tree(outside) == ["mine", "out"]
        (parent / "out" if swapped == "out" else parent).unlink()
        write(folders, "c")
        assert tree(parent) == ["out", "out/c"]


def test_who_removes_each_folder_that_is_made_is_told_of(folders: Folders, out: Path) -> None:
    def remove(_folder: object, _leaf: bytes) -> None:
        (out / "sub").rmdir()
        os.stat(out / "sub")

    with pytest.raises(FileLost, match=r"sub/a\.part"):
        folders.create("sub/a", ".part", remove)


def test_a_folder_that_must_not_be_written_to_is_named() -> None:
    program = f"""
import os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from downloader.errors import StopRun
from downloader.folders import Folders
if os.geteuid() == 0:
    os.setuid(65534)
folders = Folders("out")
for name in ("closed/new/a", "open/a"):
    try:
        folders.make(name)
    except StopRun as error:
        print(error, error.folder, sep="|")
"""
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        (folder / "out").mkdir()
        (folder / "out").chmod(0o777)
        (folder / "out/closed").mkdir(mode=0o555)
        done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
        assert done.stdout == "cannot write to the folder out/closed: Permission denied|out/closed\n", done.stderr
        assert (folder / "out/open").is_dir()
    finally:
        shutil.rmtree(folder)


# Names and locales


def test_names_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    locale = {**os.environ, **latin_1(tmp_path)}
    program = f"""
import os, sys
assert sys.getfilesystemencoding() == "iso8859-1", sys.getfilesystemencoding()
sys.path.insert(0, {str(REPOSITORY)!r})
from downloader.folders import Folders
from downloader.leftovers import Listing
for output in (sys.argv[1], "\\u56fe"):
    folders = Folders(output)
    for name in ("\\u56fe.png", "M\\xfcller/\\u56fe.png", "ok.png"):
        folders.create(name, "", lambda folder, leaf: os.mknod(leaf, dir_fd=folder.fd))
    listing = Listing(folders)
    assert listing.may_have("\\u56fe.png") and listing.may_have("ok.png") and not listing.may_have("no.png")
    sys.stdout.buffer.write(folders.path("\\u56fe.png").encode() + b"\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "Bücher"], cwd=tmp_path, capture_output=True, check=False, env=locale
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == "Bücher/图.png\n图/图.png\n"
    for output in ("Bücher", "图"):
        assert tree(tmp_path / output) == ["Müller", "Müller/图.png", "ok.png", "图.png"]


def test_a_byte_of_the_output_path_that_is_no_utf_8_is_kept(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9")
    with closing(Folders(path)) as folders:
        write(folders, "a")
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xe9"]
    assert stat.S_ISREG(os.stat(os.path.join(path, "a")).st_mode)


# How long names may be


@pytest.mark.parametrize(
    ("told", "longest"),
    [((255, 255), 245), ((143, 255), 133), ((255, 143), 133), ((-1, 0), 245), ((1530, 1530), 245), ((12, 12), 48)],
)
def test_a_name_leaves_room_for_what_is_put_behind_it(
    out: Path, told: tuple[int, int], longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Found:
        f_namemax = told[1]

    monkeypatch.setattr(os, "fpathconf", lambda *_: told[0])
    monkeypatch.setattr(os, "statvfs", lambda _: Found)
    for output in (out, out / "new/below"):
        with closing(Folders(str(output))) as folders:
            assert folders.longest("a.jpg") == longest
            assert folders.longest("sub/a.jpg") == longest
            assert tree(out) == []


def test_a_system_that_does_not_tell_takes_the_usual_names(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "fpathconf", refuse)
    monkeypatch.setattr(os, "statvfs", refuse)
    with closing(Folders(str(out))) as folders:
        assert folders.longest("a.jpg") == 245


def test_each_file_system_is_asked_once_and_the_shortest_on_the_way_counts(
    out: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def told(fd: int) -> int:
        asked.append(Path(os.readlink(f"/proc/self/fd/{fd}")))
        return 100 if asked[-1] == out / "mount" else 245

    monkeypatch.setattr("downloader.disk.longest_name", told)
    with tmpfs(out / "mount", "1m"):
        (out / "mount/deep").mkdir()
        (out / "plain").mkdir()
        names = ["a", "plain/a", "mount/a", "mount/deep/a", f"mount/{'n' * 300}/deep/a", "mount/new/a", "none/a"]
        assert [folders.longest(name) for name in names] == [245, 245, 100, 100, 100, 100, 245]
        assert asked == [out, out / "mount"]
        folders.close()


# What the disk is told


def test_the_disk_is_told_of_each_new_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def sync(fd: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path))

    monkeypatch.setattr("downloader.files.sync_folder", sync)
    with closing(Folders(str(tmp_path / "a/out"))) as folders:
        folders.new = set()
        write(folders, "x/y/1")
        folders.sync_new("x/y/1")
        assert synced == ["a/out/x", "a/out", "a", "."]
        write(folders, "x/z/2")
        write(folders, "x/y/3")
        folders.sync_new("x/y/3")
        assert len(synced) == 4
        folders.sync_new("x/z/2")
        assert synced[4:] == ["a/out/x"]
        assert not folders.new


def test_where_the_output_folder_is_by_now_is_told_once_its_path_leads_elsewhere(folders: Folders, out: Path) -> None:
    assert folders.root() is not None
    assert folders.astray() is None
    moved = out.rename(out.with_name("moved"))
    assert str(moved) in str(folders.astray())
    moved.rmdir()
    assert folders.astray() is None


def test_a_folder_whose_disk_does_not_answer_any_more_is_told_of(folders: Folders) -> None:
    root = folders.root()
    assert root is not None
    kept = os.dup(root.fd)
    os.close(root.fd)  # calls with it fail, as on a FUSE mount whose program has ended
    try:
        assert "unmounted" in str(folders.astray())
    finally:
        os.dup2(kept, root.fd)
        os.close(kept)
