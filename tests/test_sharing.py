"""Who may use the lock file: those who may write to its folder, by mode and by access control list."""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import sharing

if TYPE_CHECKING:
    from pathlib import Path

ROOT = os.geteuid() == 0
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
OWNER, USER, GROUP, OTHER_GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
ALL = 0xFFFFFFFF

Entry = tuple[int, int, int]


def packed(*entries: Entry) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def unpacked(data: bytes) -> list[Entry]:
    return list(struct.iter_unpack("<HHI", data[4:]))


@pytest.mark.parametrize(
    ("folder", "mode", "expected"),
    [
        (0o755, 0o644, 0o644),
        (0o700, 0o600, 0o600),
        (0o755, 0o400, 0o600),
        (0o775, 0o644, 0o664),
        (0o2775, 0o600, 0o660),
        (0o777, 0o644, 0o666),
        (0o1777, 0o600, 0o666),
        (0o757, 0o600, 0o606),
        (0o722, 0o600, 0o600),
        (0o773, 0o640, 0o666),
        (0o765, 0o644, 0o644),
    ],
)
def test_the_file_may_be_written_by_whoever_may_write_to_its_folder(folder: int, mode: int, expected: int) -> None:
    assert sharing.mode_like(stat.S_IFDIR | folder, mode, of_its_group=True) == expected
    assert sharing.mode_like(folder, mode, of_its_group=False) == (expected & 0o707) | (mode & 0o070)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([(OWNER, 7, ALL), (GROUP, 5, ALL), (OTHERS, 5, ALL)], [6, 4, 4]),
        ([(OWNER, 5, ALL), (GROUP, 7, ALL), (OTHERS, 0, ALL)], [6, 6, 0]),
        (
            [
                (OWNER, 7, ALL),
                (USER, 7, 12),
                (USER, 4, 13),
                (GROUP, 5, ALL),
                (MASK, 7, ALL),
                (OTHERS, 0, ALL),
            ],
            [6, 6, 4, 4, 6, 0],
        ),
        (
            [
                (OWNER, 7, ALL),
                (USER, 7, 12),
                (GROUP, 7, ALL),
                (OTHER_GROUP, 7, 9),
                (MASK, 5, ALL),
                (OTHERS, 7, 0),
            ],
            [6, 4, 4, 4, 6, 6],
        ),
        ([(OWNER, 7, ALL), (USER, 2, 12), (GROUP, 1, ALL), (MASK, 7, ALL), (OTHERS, 2, 0)], [6, 0, 0, 6, 0]),
    ],
)
def test_a_list_gives_the_file_to_whom_the_folders_list_gives_the_folder(
    entries: list[Entry], expected: list[int]
) -> None:
    made = sharing.list_like(packed(*entries), of_its_group=True)
    assert made is not None
    assert [permissions for _, permissions, _ in unpacked(made)] == expected
    assert [(tag, who) for tag, _, who in unpacked(made)] == [(tag, who) for tag, _, who in entries]
    of_another = sharing.list_like(packed(*entries), of_its_group=False)
    assert of_another is not None
    assert {permissions for tag, permissions, _ in unpacked(of_another) if tag == GROUP} == {0}


@given(st.binary(max_size=60))
def test_what_is_no_list_makes_none(data: bytes) -> None:
    made = sharing.list_like(data, of_its_group=True)
    assert made is None or (len(made) == len(data) and made[:4] == data[:4])


def shared(folder: Path, mode: int = 0o600) -> Path:
    """A file in ``folder`` after it was shared."""
    path = folder / "file"
    fd, above = os.open(path, os.O_RDWR | os.O_CREAT, mode), os.open(folder, os.O_PATH)
    sharing.share(fd, above)
    os.close(fd)
    os.close(above)
    return path


@pytest.mark.parametrize(("folder_mode", "mode"), [(0o755, 0o600), (0o775, 0o660), (0o777, 0o666)])
def test_no_umask_keeps_a_file_from_those_who_share_its_folder(tmp_path: Path, folder_mode: int, mode: int) -> None:
    tmp_path.chmod(folder_mode)
    before = os.umask(0o077)
    try:
        assert stat.S_IMODE(shared(tmp_path).stat().st_mode) == mode
    finally:
        os.umask(before)


@pytest.mark.skipif(not ROOT, reason="only root may give files away")
def test_what_root_has_made_belongs_to_the_folders_owner_and_group(tmp_path: Path) -> None:
    os.chown(tmp_path, 1001, 1002)
    found = shared(tmp_path).stat()
    assert (found.st_uid, found.st_gid) == (1001, 1002)


def test_a_list_of_the_folder_is_copied(tmp_path: Path) -> None:
    entries = [(OWNER, 7, ALL), (USER, 7, 12), (GROUP, 5, ALL), (MASK, 7, ALL), (OTHERS, 0, ALL)]
    try:
        os.setxattr(tmp_path, ACCESS, packed(*entries))
    except OSError:
        pytest.skip("this file system has no access control lists")
    path = shared(tmp_path)
    assert [permissions for _, permissions, _ in unpacked(os.getxattr(path, ACCESS))] == [6, 6, 4, 6, 0]


def test_a_file_that_cannot_be_shared_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    for name in ("fchmod", "fchown", "setxattr"):
        monkeypatch.setattr(os, name, refuse)
    tmp_path.chmod(0o777)
    before = os.umask(0)
    try:
        assert stat.S_IMODE(shared(tmp_path).stat().st_mode) == 0o600
    finally:
        os.umask(before)
