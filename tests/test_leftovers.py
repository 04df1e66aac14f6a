"""What a run that was cut off while it published has left is told from a file that is whole."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Any

import pytest

from downloader import leftovers
from downloader.folders import Folders
from downloader.partfile import Part
from downloader.resume import State
from downloader.takeover import open_part

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
BODY = b"a" * MIB + b"b" * MIB


def opened(final: Path) -> Part:
    part = open_part(Folders(str(final.parent)), final.name, warn=pytest.fail)
    assert isinstance(part, Part)
    return part


def whole(final: Path, *, boot: str) -> bool:
    return leftovers.whole(Folders(str(final.parent)), final.name, boot=boot)


def cut_off(final: Path, *, renamed: bool = True, **changes: Any) -> None:
    """Publish ``final``, but be killed before the state is removed."""
    about: dict[str, Any] = {"total": len(BODY), "etag": '"v1"', "done": [(0, len(BODY))], "boot": "this"}
    part = opened(final)
    part.begin(State("https://h/a", **about))
    part.write([BODY], 0)
    assert part.state is not None
    part.state.published = True
    for name, value in changes.items():
        setattr(part.state, name, value)
    part.save()
    part.release()
    if renamed:
        os.rename(f"{final}.part", final)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_without_a_state_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "a"
    final.write_bytes(b"mine")
    assert whole(final, boot="this")
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(("boot", "synced"), [("this", False), ("this", True), ("later", True)])
def test_a_file_that_no_crash_can_have_harmed_is_whole_and_its_state_goes(
    tmp_path: Path, boot: str, synced: bool
) -> None:
    final = tmp_path / "a"
    cut_off(final, synced=synced)
    assert leftovers.Listing(Folders(str(tmp_path))).has_state("a")
    assert whole(final, boot=boot)
    assert names(tmp_path) == ["a"]
    assert final.read_bytes() == BODY


def test_a_file_of_an_earlier_boot_that_was_not_synced_goes_back_into_its_part(tmp_path: Path) -> None:
    final = tmp_path / "a"
    cut_off(final)
    assert not whole(final, boot="later")
    assert names(tmp_path) == ["a.part", "a.part.json"]
    part = opened(final)
    assert part.moved_aside is None
    assert part.state is not None
    part.discard()
    assert names(tmp_path) == []


@pytest.mark.parametrize("boot", ["this", "later"])
def test_a_file_shorter_than_its_state_says_is_not_whole(tmp_path: Path, boot: str) -> None:
    final = tmp_path / "a"
    cut_off(final, synced=True)
    os.truncate(final, len(BODY) - 1)
    assert not whole(final, boot=boot)
    assert names(tmp_path) == ["a.part", "a.part.json"]
    part = opened(final)
    assert (part.state, part.moved_aside) == (None, None), "it is begun again"
    part.discard()


def test_a_foreign_part_in_the_way_is_moved_aside(tmp_path: Path) -> None:
    final = tmp_path / "a"
    cut_off(final)
    (tmp_path / "a.part").write_bytes(b"another program's")
    assert not whole(final, boot="later")
    assert names(tmp_path) == ["a.part", "a.part.json", "a.part.old"]
    assert (tmp_path / "a.part").read_bytes() == BODY
    assert (tmp_path / "a.part.old").read_bytes() == b"another program's"


@pytest.mark.parametrize(("boot", "left"), [("this", ["a"]), ("later", ["a.part", "a.part.json"])])
def test_the_second_link_of_a_part_that_was_just_linked_goes(tmp_path: Path, boot: str, left: list[str]) -> None:
    final = tmp_path / "a"
    cut_off(final, renamed=False)
    os.link(tmp_path / "a.part", final)
    assert whole(final, boot=boot) is (boot == "this")
    assert names(tmp_path) == left
    assert (tmp_path / left[0]).stat().st_nlink == 1


@pytest.mark.parametrize("boot", ["this", "later"])
def test_a_name_that_was_only_reserved_is_given_back(tmp_path: Path, boot: str) -> None:
    final = tmp_path / "a"
    cut_off(final, renamed=False)
    final.touch()
    assert not whole(final, boot=boot)
    assert names(tmp_path) == ["a.part", "a.part.json"]


@pytest.mark.parametrize("content", [b"mine", b""])
def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    final = tmp_path / "a"
    cut_off(final, renamed=False)
    os.rename(tmp_path / "a.part", tmp_path / "b")
    final.write_bytes(content)
    assert whole(final, boot="later")
    assert final.read_bytes() == content


def test_a_file_beside_a_part_that_is_still_to_be_published_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "a"
    cut_off(final, renamed=False, published=False)
    for content in (b"mine", b""):
        final.write_bytes(content)
        assert whole(final, boot="later")
        assert final.read_bytes() == content
    assert names(tmp_path) == ["a", "a.part", "a.part.json"]


@pytest.mark.parametrize("damage", [b"", b"\0" * 1024, b'{"gdl-part": 1, "crc', b"{}", b"not ours"])
def test_a_file_beside_a_damaged_or_foreign_state_is_whole(tmp_path: Path, damage: bytes) -> None:
    final = tmp_path / "a"
    cut_off(final)
    (tmp_path / "a.part.json").write_bytes(damage)
    assert whole(final, boot="later")
    assert final.read_bytes() == BODY


def test_a_symbolic_link_or_a_folder_is_never_taken_back(tmp_path: Path) -> None:
    final = tmp_path / "a"
    cut_off(final)
    os.rename(final, tmp_path / "there")
    final.symlink_to("there")
    assert whole(final, boot="later")
    assert (final.is_symlink(), (tmp_path / "there").read_bytes()) == (True, BODY)
    final.unlink()
    final.mkdir()
    assert whole(final, boot="later")
    assert final.is_dir()


@pytest.mark.parametrize(
    ("case", "gone"), [("outdated", True), ("newer", False), ("written", False), ("copied", False)]
)
def test_a_part_goes_if_its_file_was_published_by_another_run_since(tmp_path: Path, case: str, gone: bool) -> None:
    final = tmp_path / "a"
    cut_off(final, renamed=False, published=False)
    final.write_bytes(BODY)
    part = tmp_path / "a.part"
    if case == "newer":
        found = final.stat().st_ctime
        os.utime(part, (found + 10, found + 10))
    if case == "copied":
        part.rename(tmp_path / "b")
        part.write_bytes(BODY)
        os.utime(part, (1, 1))
    with part.open("rb") as holder:
        if case == "written":
            fcntl.flock(holder, fcntl.LOCK_EX)
        assert whole(final, boot="this")
    assert final.read_bytes() == BODY
    assert part.exists() is not gone
    assert (tmp_path / "a.part.json").exists() is not gone


@pytest.mark.parametrize("most", [0, 2, 100])
def test_states_are_known_whether_the_folder_is_read_or_asked(tmp_path: Path, most: int) -> None:
    for name in ("a.part.json", "b", "sub/c.part.json", "d.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listing = leftovers.Listing(Folders(str(tmp_path)), most=most)
    found = {name: listing.has_state(name) for name in ("a", "b", "d", "sub/c", "sub/d", "missing/e")}
    assert found == {"a": True, "b": False, "d": False, "sub/c": True, "sub/d": False, "missing/e": False}
    listing.add_state("b")
    assert listing.has_state("b") or most < 100, "what this run begins is known without asking"
    (tmp_path / "a.part.json").unlink()
    listing.discard_state("a")
    listing.discard_state("never there")
    assert not listing.has_state("a")


@pytest.mark.parametrize(("most", "sure"), [(0, False), (100, True)])
def test_only_a_folder_that_was_read_whole_rules_a_file_out(tmp_path: Path, most: int, sure: bool) -> None:
    (tmp_path / "a").touch()
    listing = leftovers.Listing(Folders(str(tmp_path)), most=most)
    (tmp_path / "later").touch()
    assert listing.may_have("a")
    assert listing.may_have("sub/a"), "a sub-folder is not read"
    assert listing.may_have("later") is not sure


def test_a_folder_that_is_not_there_has_no_states(tmp_path: Path) -> None:
    assert not leftovers.Listing(Folders(str(tmp_path / "none"))).has_state("a")
