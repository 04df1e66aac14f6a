"""What runs that were cut off have left beside a final name, and whether the file there is whole."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from downloader import files, placing, resume, spans
from downloader.files import found_at, is_at, translated
from downloader.statefile import ASIDE, PART, STATE, beside, move_aside, ours_alone, read_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from downloader.files import Spot
    from downloader.folders import Folders, Place
    from downloader.resume import State

MOST_READ = 10_000
"""Entries of a folder that are read at most to know what is there: a few milliseconds and 1 MB."""

_UTF_8 = sys.getfilesystemencoding() == "utf-8"


class Listing:
    """What lies in the output folder as a run begins: files, and states beside them, so perhaps parts to be continued.

    Asking the file system for each of many names costs more than reading the folder once, if it is not too large.
    What another run leaves later is not seen: its part is begun again, at worst.
    """

    def __init__(self, folders: Folders, *, most: int = MOST_READ) -> None:
        self._folders = folders
        self._names: set[str] | None = set()
        try:
            for number, name in enumerate(_names_in(folders)):
                if number >= most:
                    self._names = None
                    break
                self._names.add(name)
        except OSError:  # it can be written to perhaps, if not read
            self._names = None

    def may_have(self, name: str) -> bool:
        """Tell whether there may have been a file ``name``."""
        return self._names is None or name in self._names or "/" in name

    def has_state(self, name: str) -> bool:
        """Tell whether there is, or may be, a state beside ``name``. Raises as `folders.Folders`."""
        if self._names is not None and "/" not in name:
            return name + STATE in self._names
        place = self._folders.find(name + STATE)
        return place is not None and os.access(place[1], os.F_OK, dir_fd=place[0].fd)

    def discard_state(self, name: str) -> None:
        """Take note that ``name`` has no state any more."""
        if self._names is not None:
            self._names.discard(name + STATE)

    def add_state(self, name: str) -> None:
        """Take note that ``name`` gets a state."""
        if self._names is not None:
            self._names.add(name + STATE)


def _names_in(folders: Folders) -> Iterator[str]:
    root = folders.root()
    if root is None:
        return
    fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root.fd)
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                yield entry.name if _UTF_8 else os.fsencode(entry.name).decode("utf-8", "surrogateescape")
    finally:
        files.close(fd)


def whole(folders: Folders, name: str, *, boot: str) -> bool:
    """Tell whether the existing file ``name`` is as whole as its writer meant it to be.

    A run that was cut off while it wrote leaves its part, which goes if another has published the file since. One that
    was cut off while it published leaves its state. What the machine's crash may have emptied or cut short is taken
    back into its part, to be downloaded again; ``boot`` is the boot the machine runs in. Raises as `files.translate`.
    """
    place = folders.find(name)
    if place is None:
        return True
    with translated(folders.path(name), place[0].fd):
        found = read_state((place[0].fd, place[1]))
        # What another user has put there would have us take the file away.
        ours = found is not None and ours_alone(found[1]) and place[0].owns(found[1])
        state = resume.parse(found[0]) if found is not None and ours else None
        return state is None or _is_whole(place, state, boot)


def _is_whole(place: Place, state: State, boot: str) -> bool:
    folder, final = place[0], (place[0].fd, place[1])
    part_spot, state_spot = beside(final, PART), beside(final, STATE)
    found, part = found_at(final), found_at(part_spot)
    if found is None or not stat.S_ISREG(found.st_mode) or not folder.owns(found):
        return True
    if part is not None and not folder.owns(part):
        part = None
    if not state.published:
        ours = part is not None and part.st_ino == state.inode and part.st_mtime_ns <= found.st_ctime_ns
        if ours and found.st_size >= spans.covered(state.done):
            _discard_outdated(part_spot, state_spot)
        return True
    if found.st_ino != state.inode:
        # An empty file may be the name that was reserved for the part (`placing.rename_noreplace`).
        reserved = not found.st_size and part is not None and part.st_ino == state.inode and part.st_size > 0
        if reserved:
            _remove(final)
        elif part is None:  # what it tells of was published under another name
            _remove(state_spot)
        return not reserved
    linked = part is not None and os.path.samestat(found, part)
    if linked:  # and not yet unlinked
        _remove(part_spot)
    if found.st_size >= spans.covered(state.done) and (state.synced or state.boot == boot):
        with suppress(OSError):  # the file is whole all the same
            _remove(state_spot)
        return True
    if part is not None and not linked:
        move_aside(part_spot, beside(final, PART + ASIDE))
    if not placing.rename_noreplace(final, part_spot):  # another user's part is there
        move_aside(final, beside(final, PART + ASIDE))
    return False


def _remove(spot: Spot) -> None:
    with suppress(FileNotFoundError):
        os.unlink(spot[1], dir_fd=spot[0])


def _discard_outdated(part: Spot, state: Spot) -> None:
    """Remove a part beside its file and its state, unless somebody writes to it. Raises OSError."""
    fd = os.open(part[1], os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=part[0])
    try:
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(fd, part):
                _remove(part)
                _remove(state)
    finally:
        files.close(fd)
