"""Taking up ``NAME.part``: made, or opened as an earlier run left it, locked, and told from other programs' files.

A part never lies there without its state; so one that does is another program's, and is moved aside. What belongs to
another user is not touched: whoever may write to a part decides what the file begins with. Others may write, publish
or remove a part at the same time: who has locked it looks whether it still is in its place, and if not, begins anew.
"""

from __future__ import annotations

import fcntl
import os
from enum import Enum
from typing import TYPE_CHECKING

from downloader import files, resume
from downloader.bytelocks import UNSUPPORTED
from downloader.errors import NameRefused
from downloader.locks import NO_LOCKS
from downloader.partfile import Part
from downloader.resume import State
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

    from downloader.disk import Folder
    from downloader.files import Spot
    from downloader.folders import Folders, Place


class Taken(Enum):
    """Why a part is not ours to write."""

    IN_PROGRESS = "another program has locked it"
    FOREIGN = "it is another user's, or its state is"


def open_part(folders: Folders, name: str, *, warn: Callable[[str], None]) -> Part | Taken:
    """Open and lock ``name + ".part"``, making folders as needed; ``state`` tells what an earlier run left there.

    ``warn`` is told of a file system without locks. Raises `errors.StopRun` where nothing can be written at all,
    `errors.NameRefused` where this name cannot be.
    """
    shown = folders.path(name) + PART
    moved: str | None = None
    found: State | Taken | bytes | bool | None = None
    ours = False
    for left in reversed(range(TRIES)):
        opened = folders.create(name, PART, _open)
        if isinstance(opened, Taken):
            return opened
        fd, made = opened
        place: Place | None = None
        try:
            place = folders.find(name)
            if place is not None:
                with files.translated(shown, place[0].fd):
                    found = take(fd, place, made=made, warn=warn)
                    ours = ours or made
                    if ours and (isinstance(found, Taken) or (found is False and not left)):
                        files.give_back(beside((place[0].fd, place[1]), PART))
        except BaseException:
            if made and place is not None:
                files.give_back(beside((place[0].fd, place[1]), PART))
            files.close(fd)
            raise
        if found is None or isinstance(found, State):
            part = Part(folders, name, fd)
            part.state, part.moved_aside = found, moved
            return part
        files.close(fd)
        if isinstance(found, Taken):
            return found
        if isinstance(found, bytes):
            moved = os.path.join(os.path.dirname(shown), found.decode("utf-8", "surrogateescape"))
        files.breathe()
    raise NameRefused(f"{shown} is another file whenever it is opened")


def _open(folder: Folder, part: bytes) -> tuple[int, bool] | Taken:
    try:
        return open_or_make(folder.fd, part)
    except FileNotFoundError:
        raise
    except OSError:
        found = files.found_at((folder.fd, part))
        if found is None or folder.owns(found):
            raise
        return Taken.FOREIGN


def take(fd: int, place: Place, *, made: bool, warn: Callable[[str], None]) -> State | Taken | bytes | bool | None:
    """Lock an open part and return what is known of it, None where nothing is, or why it is not ours.

    Else it is to be opened anew: False where its writer has published it meanwhile, or the name it got as it was
    another program's. ``made``: it was made just now. Raises OSError.
    """
    folder, name = place
    if not made and not folder.owns(os.fstat(fd)):
        return Taken.FOREIGN
    locked = lock(fd, (folder.fd, name + PART.encode()), made=made, warn=warn)
    return identify(fd, place) if locked is True else locked


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


def identify(fd: int, place: Place) -> State | Taken | bytes | None:
    """Return what is known of a locked part as `take` does. Raises OSError."""
    folder, name = place
    final = folder.fd, name
    found, beside_it = os.fstat(fd), read_state(final)
    data = None
    if beside_it is not None:
        data, about = beside_it
        if not folder.owns(about):
            return Taken.FOREIGN
        if not resume.is_state(data):
            move_aside(beside(final, STATE), beside(final, ".json" + ASIDE))
            data = None
        elif not ours_alone(about):  # its other name must not be written to
            os.unlink(name + STATE.encode(), dir_fd=folder.fd)
            return None
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
