"""Files get their names in whatever way is left, and never replace another."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.cli import REPOSITORY

from downloader import files, placing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = os.geteuid() == 0


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


def refuse(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


# How file systems refuse what they cannot do: FAT, FUSE, rclone's mounts, NFS (524 is its ENOTSUPP), Android, AppArmor.
REFUSALS = (errno.EPERM, errno.EIO, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, 524)
WAYS = ["renameat2", "link", "reservation", "without os.link"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a file is renamed without replacing, on systems and file systems that can do less and less."""
    way: str = request.param
    if way != "renameat2":
        monkeypatch.setattr(placing, "_renameat2", lambda: None)
    if way == "reservation":
        monkeypatch.setattr(placing, "_link", refuse(errno.EPERM))
    elif way == "without os.link":
        monkeypatch.setattr(placing, "_link", None)
    return way


@pytest.mark.usefixtures("way")
def test_renaming_takes_a_free_name_and_no_other(tmp_path: Path, fd: int) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    for taken in (b"b", b"link", b"dangling", b"folder"):
        assert placing.rename_noreplace((fd, b"a"), (fd, taken)) is False
    assert placing.rename_noreplace((fd, b"a"), (fd, b"free")) is True
    assert (tmp_path / "free").read_bytes() == b"a"
    assert (tmp_path / "b").read_bytes() == b"b"
    assert names(tmp_path) == ["b", "c", "dangling", "folder", "free", "link"]


@pytest.mark.usefixtures("way")
def test_renaming_goes_from_folder_to_folder(tmp_path: Path, fd: int) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "sub").mkdir()
    with opened(tmp_path / "sub") as other:
        assert placing.rename_noreplace((fd, b"a"), (other, b"b")) is True
    assert names(tmp_path) == ["sub"]
    assert (tmp_path / "sub/b").read_bytes() == b"a"


@pytest.mark.usefixtures("way")
def test_renaming_what_is_not_there_takes_no_name(tmp_path: Path, fd: int) -> None:
    with pytest.raises(FileNotFoundError):
        placing.rename_noreplace((fd, b"nothing"), (fd, b"a"))
    assert names(tmp_path) == []


@pytest.mark.usefixtures("way")
def test_renaming_to_a_name_that_is_too_long_says_so(tmp_path: Path, fd: int) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        placing.rename_noreplace((fd, b"a"), (fd, b"n" * 300))
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("number", [*REFUSALS, errno.ENOENT])  # to a link of a file of which there are 0
def test_a_file_system_may_refuse_each_way_but_the_last_by_any_error(
    tmp_path: Path, fd: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "_renameat2", lambda: lambda *_: number)
    (tmp_path / "a").write_bytes(b"a")
    assert placing.rename_noreplace((fd, b"a"), (fd, b"linked"))
    monkeypatch.setattr(placing, "_link", refuse(number))
    (tmp_path / "mine").write_bytes(b"mine")
    assert placing.rename_noreplace((fd, b"linked"), (fd, b"mine")) is False
    assert placing.rename_noreplace((fd, b"linked"), (fd, b"reserved"))
    assert (tmp_path / "reserved").read_bytes() == b"a"
    assert names(tmp_path) == ["mine", "reserved"]
    monkeypatch.setattr(os, "replace", refuse(number))
    with pytest.raises(OSError, match=os.strerror(number)):
        placing.rename_noreplace((fd, b"reserved"), (fd, b"last"))
    assert names(tmp_path) == ["mine", "reserved"], "nothing is left of the last way"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_every_way_would_fail_of_is_told_at_once(
    tmp_path: Path, fd: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "_link", refuse(number))
    for rename in (lambda *_: number, lambda *_: errno.EINVAL):
        monkeypatch.setattr(placing, "_renameat2", lambda rename=rename: rename)
        (tmp_path / "a").write_bytes(b"a")
        with pytest.raises(OSError, match=os.strerror(number)):
            placing.rename_noreplace((fd, b"a"), (fd, b"b"))
        assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("source", ["stays", "goes"])
def test_a_link_that_was_made_counts_whatever_is_said_of_it_and_of_its_source(
    tmp_path: Path, fd: int, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = os.link, []

    def twice(*args: Any, **options: Any) -> None:
        asked.append(args)
        real(*args, **options)
        real(*args, **options)  # as NFS asks again where an answer was lost

    monkeypatch.setattr(placing, "_renameat2", lambda: None)
    monkeypatch.setattr(placing, "_link", twice)
    (tmp_path / "a").write_bytes(b"a")
    if source == "stays":
        monkeypatch.setattr(os, "unlink", refuse(errno.EBUSY))
    assert placing.rename_noreplace((fd, b"a"), (fd, b"b")) is True
    assert len(asked) == 1
    assert names(tmp_path) == (["a", "b"] if source == "stays" else ["b"])
    assert (tmp_path / "b").read_bytes() == b"a"


NO_LINKS = """
import os, sys
from downloader import placing
folder, user = sys.argv[1], 65534
os.chmod(folder, 0o777)
for name in ("a", "b"):
    with open(f"{folder}/{name}", "w") as file:
        file.write(name)
    os.chmod(f"{folder}/{name}", 0o600)
os.seteuid(user)  # nobody may make a link to a file of somebody else's
placing._renameat2 = lambda: None
try:
    os.link(folder + "/a", folder + "/link")
except PermissionError:
    pass
else:
    sys.exit("links work")
fd = os.open(folder, os.O_RDONLY)
assert placing.rename_noreplace((fd, b"a"), (fd, b"new")) is True
assert placing.rename_noreplace((fd, b"b"), (fd, b"new")) is False
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


@pytest.fixture
def nameless(fd: int) -> Iterator[int]:
    """A file without a name in the test's folder."""
    made = files.create_nameless(fd)
    if made is None:
        pytest.skip("this file system has no files without names")
    yield made
    os.close(made)


def test_a_file_without_a_name_gets_one_that_is_free_and_no_other(tmp_path: Path, fd: int, nameless: int) -> None:
    files.write(nameless, [b"whole"], 0)
    (tmp_path / "taken").write_bytes(b"mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert names(tmp_path) == ["dangling", "taken"]
    assert placing.link_nameless(nameless, (fd, b"taken")) is False
    assert placing.link_nameless(nameless, (fd, b"dangling")) is False
    assert placing.link_nameless(nameless, (fd, b"free")) is True
    assert placing.link_nameless(nameless, (fd, b"free")) is True, "it is there, whoever asks twice"
    assert (tmp_path / "free").read_bytes() == b"whole"
    assert (tmp_path / "taken").read_bytes() == b"mine"
    assert names(tmp_path) == ["dangling", "free", "taken"]


def test_what_cannot_be_linked_says_so(tmp_path: Path, fd: int, nameless: int) -> None:
    assert placing.link_nameless(nameless, (fd, b"n" * 300)) is None
    (tmp_path / "gone").mkdir()
    with opened(tmp_path / "gone") as gone:
        (tmp_path / "gone").rmdir()
        assert placing.link_nameless(nameless, (gone, b"a")) is None
    shared_memory = Path("/dev/shm")  # noqa: S108 another file system
    if os.access(shared_memory, os.W_OK) and shared_memory.stat().st_dev != tmp_path.stat().st_dev:
        name = f"gdl-test-{uuid.uuid4().hex}"
        with opened(shared_memory) as elsewhere:
            assert placing.link_nameless(nameless, (elsewhere, name.encode())) is None
        assert not (shared_memory / name).exists()


@pytest.mark.parametrize("number", [*REFUSALS, errno.ENOENT])
def test_links_to_files_without_names_may_be_refused_by_any_error(
    fd: int, nameless: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "_link", refuse(number))
    assert placing.link_nameless(nameless, (fd, b"a")) is None
    monkeypatch.setattr(placing, "_link", None)
    assert placing.link_nameless(nameless, (fd, b"a")) is None
    monkeypatch.setattr(placing, "_link", refuse(errno.EDQUOT))
    with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
        placing.link_nameless(nameless, (fd, b"a"))
