"""Taking up ``NAME.part``: made, or opened as an earlier run left it, locked, and told from other programs' files.

A part never lies there without its state; so one that does is another program's, and is moved aside. Others may write,
publish or remove it at the same time: who has locked it looks whether it still is in its place, and if not, begins
anew.
"""

from __future__ import annotations

import fcntl
import os
from enum import Enum
from typing import TYPE_CHECKING

from downloader import files, resume
from downloader.errors import NameRefused
from downloader.locks import NO_LOCKS, UNSUPPORTED
from downloader.partfile import Part
from downloader.statefile import (
    ASIDE,
    PART,
    STATE,
    TRIES,
    beside,
    move_aside,
    open_or_make,
    ours_alone,
    read_state,
    tail,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.files import Spot
    from downloader.folders import Folders
    from downloader.resume import State


class Taken(Enum):
    """Why a part is not ours to write."""

    IN_PROGRESS = "another gdl is writing it right now"


def open_part(folders: Folders, name: str, *, warn: Callable[[str], None]) -> Part | Taken:
    """Open and lock ``name + ".part"``, making folders as needed; ``state`` tells what an earlier run left there.

    ``warn`` is told of a file system without locks. Raises `errors.StopRun` where nothing can be written at all,
    `errors.NameRefused` where this name cannot be.
    """
    shown = folders.path(name) + PART
    moved: str | None = None
    for _ in range(TRIES):
        fd, made = folders.create(name, PART, lambda folder, part: open_or_make(folder.fd, part))
        try:
            place = folders.find(name)
            if place is not None:
                final = place[0].fd, place[1]
                with files.translated(shown, final[0]):
                    locked = lock(fd, beside(final, PART), made=made, warn=warn)
                    if isinstance(locked, Taken):
                        files.close(fd)
                        return locked
                    if locked:
                        found = identify(fd, final)
                        if not isinstance(found, bytes):
                            part = Part(folders, name, fd)
                            part.state, part.moved_aside = found, moved
                            return part
                        moved = os.path.join(os.path.dirname(shown), found.decode("utf-8", "surrogateescape"))
        except BaseException:
            files.close(fd)
            raise
        files.close(fd)
        files.breathe()
    raise NameRefused(f"{shown} is another file whenever it is opened")


def lock(fd: int, spot: Spot, *, made: bool, warn: Callable[[str], None]) -> Taken | bool:
    """Lock a part; False where its writer has published it meanwhile: ``spot`` has another file, or none.

    ``made``: it was made just now, so it is no other file's second name, whatever its link count says. Raises OSError.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Taken.IN_PROGRESS
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        warn(NO_LOCKS)
    if not files.is_at(fd, spot):
        return False
    if not made and not ours_alone(os.fstat(fd)):
        os.unlink(spot[1], dir_fd=spot[0])  # its other name must not be emptied
        return False
    return True


def identify(fd: int, final: Spot) -> State | bytes | None:
    """Return what is known of a locked part, None where nothing is; or the name it got as it is another program's.

    Raises OSError.
    """
    found = os.fstat(fd)
    data = read_state(final)
    if data is not None and not resume.is_state(data):
        move_aside(beside(final, STATE), beside(final, ".json" + ASIDE))
        data = None
    part, aside = beside(final, PART), beside(final, PART + ASIDE)
    if data is None:
        return move_aside(part, aside) if found.st_size else None
    state = resume.parse(data)
    if state is None:
        return None
    known = state.tail == tail(fd, state.done)
    if state.inode == found.st_ino:
        return state if known and state.fits(found.st_size) else None
    if state.inode and found.st_size and not (known and state.done):  # not even a copy of ours
        return move_aside(part, aside)
    return None
