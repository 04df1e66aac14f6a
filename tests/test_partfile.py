"""Parts on real file systems: locked while written, published in one step, kept only where they can be continued."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cli import REPOSITORY

from downloader import partfile
from downloader.errors import NameRefused, StopRun
from downloader.partfile import InProgress, open_part, publish_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = {"version": 1, "url": "https://h/a.jpg", "etag": '"v1"'}
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
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


@pytest.fixture(params=["renameat2", "link"])
def _either_rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a file is renamed without replacing: by one system call, or where there is none."""
    if request.param == "link":
        monkeypatch.setattr(partfile, "_system_renameat2", None)


either_rename = pytest.mark.usefixtures("_either_rename")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def tiny_file_system(folder: Path) -> Iterator[Path]:
    """A tmpfs of 64 KiB, for whom may mount one."""
    mount = folder / "tiny"
    mount.mkdir()
    mounted = (
        ROOT
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "gdl-test", mount], check=False, capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("cannot mount a small tmpfs here")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


# Writing and publishing


@either_rename
def test_a_part_becomes_the_file_in_one_step(folder: Path) -> None:
    part = open_part(str(folder / "a.jpg"))
    part.write([b"one ", b"two "])
    part.write([])
    part.write([b"", b"three"])
    assert part.size == 13
    assert names(folder) == ["a.jpg.part"]
    part.remember(STATE)
    assert json.loads((folder / "a.jpg.part.json").read_text("utf-8")) == STATE
    assert part.publish(str(folder / "a.jpg"))
    assert names(folder) == ["a.jpg"]
    assert (folder / "a.jpg").read_bytes() == b"one two three"


@either_rename
def test_a_part_may_be_published_under_another_name(folder: Path) -> None:
    part = open_part(str(folder / "a.jpg"))
    part.remember(STATE)
    part.write([b"x"])
    assert part.publish(str(folder / "a (1).jpg"))
    assert names(folder) == ["a (1).jpg"]


@either_rename
def test_an_empty_part_becomes_an_empty_file(folder: Path) -> None:
    part = open_part(str(folder / "a.jpg"))
    assert part.publish(str(folder / "a.jpg"))
    assert (folder / "a.jpg").read_bytes() == b""


@either_rename
def test_publishing_never_replaces_a_file_that_was_not_meant(folder: Path) -> None:
    part = open_part(str(folder / "a.jpg"))
    part.write([b"new"])
    (folder / "a.jpg").write_bytes(b"old")
    assert part.publish(str(folder / "a.jpg")) is False
    assert (folder / "a.jpg").read_bytes() == b"old"
    assert (folder / "a.jpg.part").read_bytes() == b"new", "nothing was done"
    assert part.publish(str(folder / "b.jpg")), "another name may be tried"
    assert names(folder) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("target", ["there.txt", "nowhere"])
@either_rename
def test_publishing_never_writes_through_a_symbolic_link(folder: Path, target: str) -> None:
    (folder / "there.txt").write_bytes(b"precious")
    (folder / "a.jpg").symlink_to(target)
    part = open_part(str(folder / "a.jpg"))
    part.write([b"new"])
    assert part.publish(str(folder / "a.jpg")) is False
    part.discard()
    assert publish_whole(str(folder / "a.jpg"), [b"new"]) is False
    assert (folder / "there.txt").read_bytes() == b"precious"
    assert names(folder) == ["a.jpg", "there.txt"]


def test_replacing_replaces_a_file_and_a_link_but_no_folder(folder: Path) -> None:
    (folder / "there.txt").write_bytes(b"precious")
    (folder / "a.jpg").symlink_to("there.txt")
    (folder / "b.jpg").write_bytes(b"old")
    (folder / "c.jpg").mkdir()
    for name in ("a.jpg", "b.jpg"):
        part = open_part(str(folder / name))
        part.write([b"new"])
        assert part.publish(str(folder / name), replace=True)
        assert (folder / name).read_bytes() == b"new"
    part = open_part(str(folder / "c.jpg"))
    with pytest.raises(NameRefused, match=r"c\.jpg"):
        part.publish(str(folder / "c.jpg"), replace=True)
    part.leave()
    assert (folder / "there.txt").read_bytes() == b"precious"
    assert names(folder) == ["a.jpg", "b.jpg", "c.jpg", "there.txt"]


@either_rename
def test_folders_are_made_when_they_are_needed(folder: Path) -> None:
    part = open_part(str(folder / "x" / "y" / "a.jpg"))
    part.write([b"1"])
    assert part.publish(str(folder / "x" / "y" / "a.jpg"))
    assert publish_whole(str(folder / "x" / "z" / "b.jpg"), [b"2"]) in (True, None)


def test_files_have_the_users_own_permissions(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        part = open_part(str(folder / "a.jpg"))
        part.publish(str(folder / "a.jpg"))
        publish_whole(str(folder / "b.jpg"), [b"x"])
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}


def test_relative_names_are_taken_from_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    part = open_part("a.jpg")
    part.write([b"1"])
    assert part.publish("a.jpg")
    assert publish_whole("b.jpg", [b"2"]) in (True, None)
    assert publish_whole("b.jpg", [b"3"]) in (False, None)
    assert "a.jpg" in names(folder)


def test_as_many_chunks_as_promised_are_taken_at_once(folder: Path) -> None:
    chunks = [bytes([number % 256]) * (number % 7) for number in range(1024)]
    part = open_part(str(folder / "a.jpg"))
    part.write(chunks)
    assert part.publish(str(folder / "a.jpg"))
    assert (folder / "a.jpg").read_bytes() == b"".join(chunks)


# Ending without publishing


def test_a_part_is_left_only_with_a_state_and_bytes(folder: Path) -> None:
    for name, state, data, kept in (
        ("a", True, True, ["a.part", "a.part.json"]),
        ("b", True, False, []),
        ("c", False, True, []),
        ("d", False, False, []),
    ):
        part = open_part(str(folder / name))
        if state:
            part.remember(STATE)
        if data:
            part.write([b"x"])
        part.leave()
        part.leave()
        assert [found for found in names(folder) if found.startswith(name)] == kept


def test_discarding_leaves_nothing(folder: Path) -> None:
    part = open_part(str(folder / "a.jpg"))
    part.remember(STATE)
    part.write([b"x"])
    part.discard()
    part.discard()
    part.leave()
    assert names(folder) == []


def test_discarding_what_somebody_has_deleted_is_no_error(folder: Path) -> None:
    part = open_part(str(folder / "a.jpg"))
    part.remember(STATE)
    for name in names(folder):
        (folder / name).unlink()
    part.discard()
    assert names(folder) == []


@either_rename
def test_a_deleted_part_cannot_be_published(folder: Path) -> None:
    part = open_part(str(folder / "a.jpg"))
    (folder / "a.jpg.part").unlink()
    with pytest.raises(NameRefused):
        part.publish(str(folder / "a.jpg"))
    part.leave()
    assert names(folder) == []


# What is there already


def test_a_stale_part_is_begun_anew(folder: Path) -> None:
    (folder / "a.jpg.part").write_bytes(b"stale bytes, more than come now")
    (folder / "a.jpg.part.json").write_text("{}")
    part = open_part(str(folder / "a.jpg"))
    part.write([b"new"])
    assert part.publish(str(folder / "a.jpg"))
    assert (folder / "a.jpg").read_bytes() == b"new"
    assert names(folder) == ["a.jpg"]


@pytest.mark.parametrize("part_exists", [True, False], ids=["empty part", "no part"])
def test_a_stale_state_never_lies_beside_new_bytes(folder: Path, part_exists: bool) -> None:
    if part_exists:
        (folder / "a.jpg.part").touch()
    (folder / "a.jpg.part.json").write_text(json.dumps(STATE))
    part = open_part(str(folder / "a.jpg"))
    part.write([b"of another resource"])
    found = names(folder)
    part.publish(str(folder / "a.jpg"))
    assert found == ["a.jpg.part"]
    assert names(folder) == ["a.jpg"]


def test_a_symbolic_link_in_the_parts_place_is_refused(folder: Path) -> None:
    (folder / "there.txt").write_bytes(b"precious")
    (folder / "a.jpg.part").symlink_to("there.txt")
    with pytest.raises(NameRefused, match="symbolic link"):
        open_part(str(folder / "a.jpg"))
    assert (folder / "there.txt").read_bytes() == b"precious"
    assert names(folder) == ["a.jpg.part", "there.txt"]


def test_a_folder_in_the_parts_place_is_refused(folder: Path) -> None:
    (folder / "a.jpg.part").mkdir()
    with pytest.raises(NameRefused):
        open_part(str(folder / "a.jpg"))


def test_a_file_in_a_folders_place_is_that_items_failure(folder: Path) -> None:
    (folder / "x").write_bytes(b"")
    with pytest.raises(NameRefused):
        open_part(str(folder / "x" / "a.jpg"))
    with pytest.raises(NameRefused):
        publish_whole(str(folder / "x" / "a.jpg"), [b""])


def test_a_name_that_is_too_long_is_that_items_failure(folder: Path) -> None:
    with pytest.raises(NameRefused):
        open_part(str(folder / ("n" * 300)))


# The lock


HOLDER = """
import sys
from downloader.partfile import open_part
part = open_part(sys.argv[1])
part.write([b"half"])
part.remember({"version": 1})
print("locked", flush=True)
if sys.stdin.readline() == "publish\\n":
    part.publish(sys.argv[1])
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
        with pytest.raises(InProgress):
            open_part(str(final))
        assert (folder / "a.jpg.part").read_bytes() == b"half"
        assert (folder / "a.jpg.part.json").exists()
        process.communicate("publish\n", timeout=30)
    assert final.read_bytes() == b"half"
    part = open_part(str(final))
    part.leave()


def test_the_lock_dies_with_its_process(folder: Path) -> None:
    final = folder / "a.jpg"
    with another_process(final) as process:
        process.kill()
        process.wait(30)
        part = open_part(str(final))
        part.write([b"new"])
        assert part.publish(str(final))
    assert final.read_bytes() == b"new"
    assert "a.jpg.part" not in names(folder)


def test_a_part_is_locked_against_its_own_process_too(folder: Path) -> None:
    part = open_part(str(folder / "a.jpg"))
    with pytest.raises(InProgress):
        open_part(str(folder / "a.jpg"))
    part.discard()
    again = open_part(str(folder / "a.jpg"))
    again.discard()


# Whole files


def test_a_whole_file_appears_at_once_and_never_replaces_another(folder: Path) -> None:
    final = str(folder / "new" / "a.jpg")
    if publish_whole(final, [b"one ", b"two"]) is None:
        pytest.skip("this file system has no files without names")
    assert publish_whole(final, [b"other"]) is False
    assert (folder / "new" / "a.jpg").read_bytes() == b"one two"
    assert names(folder / "new") == ["a.jpg"]
    assert publish_whole(str(folder / "empty.jpg"), []) is True
    assert (folder / "empty.jpg").read_bytes() == b""


def test_without_nameless_files_nothing_is_done_and_none_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is left of the flag where the system does not have it.
    monkeypatch.setattr(partfile, "_NAMELESS", os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    assert publish_whole(str(folder / "a.jpg"), [b"x"]) is None
    assert names(folder) == []


NO_LINKS = """
import os, sys
from downloader import partfile
folder, user = sys.argv[1], 65534
os.chown(folder, user, user)
os.seteuid(user)
partfile._system_renameat2 = None
part = partfile.open_part(folder + "/a.jpg")
part.write([b"new"])
os.seteuid(0)
os.chown(part.path, 0, 0)  # nobody may make a link to a file of somebody else's
os.chmod(part.path, 0o600)
os.seteuid(user)
try:
    os.link(part.path, folder + "/link")
except PermissionError:
    pass
else:
    sys.exit("links work")
assert part.publish(folder + "/a.jpg") is True
again = partfile.open_part(folder + "/a.jpg")
assert again.publish(folder + "/a.jpg") is False
again.discard()
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
        assert names(folder) == ["a.jpg"]
        assert (folder / "a.jpg").read_bytes() == b"new"
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


# Disks that are full, folders that are closed


def test_a_full_disk_stops_the_run_and_leaves_no_wrong_file(tmp_path: Path) -> None:
    with tiny_file_system(tmp_path) as folder:
        part = open_part(str(folder / "a.jpg"))
        part.remember(STATE)
        part.write([b"x" * 4096])
        with pytest.raises(StopRun, match="No space left"):
            part.write([b"x" * 70_000])
        part.discard()
        with pytest.raises(StopRun, match=r"b\.jpg.*No space left"):
            publish_whole(str(folder / "b.jpg"), [b"x" * 40_000, b"x" * 40_000])
        assert names(folder) == []
        assert publish_whole(str(folder / "c.jpg"), [b"x" * 40_000]) is True, "the room is free again"


def test_a_full_disk_leaves_a_part_that_can_be_continued(tmp_path: Path) -> None:
    with tiny_file_system(tmp_path) as folder:
        part = open_part(str(folder / "a.jpg"))
        part.remember(STATE)
        part.write([b"x" * 4096])
        with pytest.raises(StopRun):
            part.write([b"x" * 70_000])
        part.leave()
        assert names(folder) == ["a.jpg.part", "a.jpg.part.json"]
        assert (folder / "a.jpg.part").read_bytes()[:4096] == b"x" * 4096


def test_a_state_that_does_not_fit_stops_the_run(tmp_path: Path) -> None:
    with tiny_file_system(tmp_path) as folder:
        part = open_part(str(folder / "a.jpg"))
        with suppress(StopRun):
            part.write([b"x" * 70_000])
        with pytest.raises(StopRun):
            part.remember(STATE)
        part.discard()
        assert names(folder) == []


def test_a_read_only_file_system_stops_the_run(tmp_path: Path) -> None:
    with tiny_file_system(tmp_path) as folder:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        for write in (lambda: open_part(str(folder / "a.jpg")), lambda: publish_whole(str(folder / "a.jpg"), [b""])):
            with pytest.raises(StopRun, match="Read-only"):
                write()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StopRun),
        (errno.EDQUOT, StopRun),
        (errno.EROFS, StopRun),
        (errno.EIO, StopRun),
        (errno.EMFILE, StopRun),
        (errno.ELOOP, NameRefused),
        (errno.ENAMETOOLONG, NameRefused),
        (errno.EISDIR, NameRefused),
        (errno.ENOTDIR, NameRefused),
        (errno.EILSEQ, NameRefused),
    ],
)
def test_an_error_is_the_runs_where_other_files_would_fail_likewise(
    number: int, kind: type[Exception], tmp_path: Path
) -> None:
    path = str(tmp_path / "a.jpg")
    error = partfile.translate(OSError(number, os.strerror(number)), path)
    assert type(error) is kind
    assert path in str(error)


def test_a_closed_folder_stops_the_run_an_open_one_with_a_closed_file_does_not(tmp_path: Path) -> None:
    refused = partfile.translate(PermissionError(errno.EACCES, "no"), str(tmp_path / "a.jpg"))
    assert type(refused) is NameRefused
    missing = partfile.translate(PermissionError(errno.EACCES, "no"), str(tmp_path / "nowhere" / "a.jpg"))
    assert type(missing) is StopRun
