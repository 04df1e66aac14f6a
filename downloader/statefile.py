"""The files beside a final name: what they are called, reading a state that anybody may have put there, keeping one.

A state is written over in place: that needs no room on a full disk, and is far smaller than a page, so that a kill
cannot tear it.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from downloader import files, placing, resume
from downloader.errors import FileLost, GdlError, NameRefused
from downloader.files import translate, translated

if TYPE_CHECKING:
    from downloader.disk import Folder
    from downloader.files import Spot
    from downloader.folders import Folders, Place
    from downloader.spans import Span

PART: Final = ".part"
STATE: Final = ".part.json"
ASIDE: Final = ".old"

TAIL: Final = 4096
"""Bytes at the end of what is there by which a part is known again."""
MOST_ASIDE: Final = 1000
"""Files of other programs that are moved aside at most, for one name."""

OPEN: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""How a file of ours is opened. Not blocking matters only where somebody has put a named pipe in its place."""
TRIES: Final = 20
"""Most times a file is opened anew because it was another one, or none, by the time it was open."""

_NO_STATE: Final = b"?"
_PAD: Final = 1024


def beside(spot: Spot, suffix: str) -> Spot:
    """Return the spot of the file that has ``suffix`` behind its name."""
    return spot[0], spot[1] + suffix.encode()


def ours_alone(found: os.stat_result) -> bool:
    """Tell whether a file is a regular one with one name, so that writing to it changes nobody else's.

    A file system that counts no names says 0.
    """
    return found.st_nlink <= 1 and stat.S_ISREG(found.st_mode)


def open_or_make(folder: int, name: bytes) -> tuple[int, bool]:
    """Return a descriptor of a file to write to, and whether it was made for that. Raises OSError."""
    try:
        return os.open(name, OPEN | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder), True
    except FileExistsError:
        return os.open(name, OPEN, dir_fd=folder), False


def read_state(final: Spot) -> tuple[bytes, os.stat_result] | None:
    """Return what the state of ``final`` has, and of what file; None where there is none.

    What cannot be a state of gdl's, as it is no plain file, has bytes that are none. Raises OSError.
    """
    spot = beside(final, STATE)
    try:
        fd = os.open(spot[1], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=spot[0])
    except FileNotFoundError:
        return None
    except OSError as error:
        found = files.found_at(spot)
        # A symbolic link, or a socket; or somebody else's.
        if error.errno not in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EACCES, errno.EPERM) or found is None:
            raise
        return _NO_STATE, found
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > resume.LARGEST_STATE:
            return _NO_STATE, found
        return os.pread(fd, resume.LARGEST_STATE, 0), found
    finally:
        files.close(fd)


def create_state(final: Spot, data: bytes) -> bool:
    """Write the state of ``final``; False, and nothing done, where there is one. Raises OSError."""
    folder, name = beside(final, STATE)
    try:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
    except FileExistsError:
        return False
    try:
        files.write(fd, [data], 0)
        files.flush(fd)
    except OSError:
        os.unlink(name, dir_fd=folder)
        raise
    finally:
        files.close(fd)
    return True


def _beside(place: Place) -> Spot:
    return beside((place[0].fd, place[1]), STATE)


class StateFile:
    """The state beside the part of ``name``, as far as this process has written it.

    Its methods raise `errors.StopRun`, `errors.NameRefused` or `errors.FileLost` as `files.translate` says.
    """

    __slots__ = ("_fd", "_folders", "_name", "_padded", "_path")

    def __init__(self, folders: Folders, name: str) -> None:
        self._folders = folders
        self._name = name
        self._path = folders.path(name) + STATE
        self._fd = -1
        self._padded = 0

    def write(self, data: bytes) -> None:
        """Have the file hold ``data``."""
        place = self._folders.find(self._name)
        if place is None:
            raise FileLost(f"the folder of {self._path} was removed while it was written to")
        spot = _beside(place)
        # Never shorter than before: the rest of a longer one would stay behind it.
        self._padded = max(self._padded, -(-len(data) // _PAD) * _PAD)
        try:
            if self._fd >= 0 and not files.is_at(self._fd, spot):  # somebody has removed it
                self.close()
            if self._fd < 0:
                self._open(place[0], spot)
            files.write(self._fd, [data.ljust(self._padded)], 0)
        except OSError as error:
            raise translate(error, self._path, spot[0]) from error

    def sync(self) -> None:
        """Wait until the disk has it; blocks the whole process, but for no longer than so little takes."""
        with translated(self._path):
            os.fsync(self._fd)

    def flush(self) -> None:
        """Hear what the file system has to say of what was written."""
        with translated(self._path):
            files.flush(self._fd)

    def remove(self, *, sure: bool = False) -> None:
        """Remove what is there, if it is this file, or in any case where it is ``sure`` to be a state of gdl's."""
        spot = None
        if sure or self._fd >= 0:
            with suppress(GdlError):  # the folder may lead out by now
                place = self._folders.find(self._name)
                spot = None if place is None else _beside(place)
        if spot is not None and (sure or files.is_at(self._fd, spot)):
            files.unlink(spot, self._path)

    def close(self) -> None:
        """Close it as it is. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            files.close(fd)

    def _open(self, folder: Folder, spot: Spot) -> None:
        for _ in range(TRIES):
            fd, made = open_or_make(*spot)
            found = os.fstat(fd)
            if made or (ours_alone(found) and folder.owns(found)):
                self._fd = fd
                self._padded = max(self._padded, found.st_size)
                return
            files.close(fd)
            if not folder.owns(found):
                raise NameRefused(f"{self._path} is another user's: gdl does not write to it")
            files.unlink(spot, self._path)  # its other name must not be written to
        raise NameRefused(f"{self._path} is there again whenever it is removed")


def move_aside(source: Spot, aside: Spot) -> bytes:
    """Rename ``source`` to ``aside``, or that with a number where it exists; return its new name. Raises OSError."""
    for number in range(1, MOST_ASIDE):
        target = aside if number == 1 else beside(aside, str(number))
        if placing.rename_noreplace(source, target):
            return target[1]
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def tail(fd: int, done: list[Span]) -> int:
    """Return the CRC-32 of the last `TAIL` bytes of the last range; 0 of none. Raises OSError."""
    if not done:
        return 0
    start, end = done[-1]
    return zlib.crc32(os.pread(fd, min(TAIL, end - start), max(start, end - TAIL)))
