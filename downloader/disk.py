"""One open folder, and what is known of the file system it is on."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from downloader import files
from downloader.safenames import LIMIT, SHORTEST

BEHIND: Final = len(".part.json")
"""Bytes that gdl puts behind a name, at most."""


OPEN: Final = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
"""How a folder is opened."""
ENTER: Final = OPEN | os.O_NOFOLLOW


class Disk:
    """What is known of a file system."""

    __slots__ = ("longest", "nameless", "owner")

    def __init__(self, fd: int) -> None:
        """``fd`` is any of it."""
        self.longest = longest_name(fd)
        """Bytes that a name may have so that there is room for what gdl puts behind it."""
        self.nameless = True
        """Whether files may be made there that have no name at first."""
        self.owner: int | None = None
        """The user to whom what is made there belongs, once that was found out."""


class Folder:
    """An open folder."""

    __slots__ = ("disk", "disks", "fd", "identity", "way")

    def __init__(self, fd: int, way: bytes, disks: dict[int, Disk]) -> None:
        self.fd = fd
        """Its descriptor, by which it can be searched and changed, but perhaps not read; -1 once it is closed."""
        self.way = way
        """How to get there from the output folder, through no links."""
        found = os.fstat(fd)
        self.identity = found.st_dev, found.st_ino
        self.disks = disks
        """What is known of this and other file systems, by the number of their device."""
        self.disk = disks.get(found.st_dev) or disks.setdefault(found.st_dev, Disk(fd))

    def close(self) -> None:
        """Close it."""
        files.close(self.fd)
        self.fd = -1

    def owns(self, found: os.stat_result) -> bool:
        """Tell whether a file belongs to the user to whom one would that is made here now.

        That need not be the user of this process: NFS, sshfs, bindfs and others show users as they are told to.
        """
        if self.disk.owner is None:
            self.disk.owner = _owner_of_new_files(self.fd)
        return found.st_uid == (os.geteuid() if self.disk.owner is None else self.disk.owner)


def longest_name(fd: int) -> int:
    """Return `Disk.longest` of the file system of ``fd``: `safenames.LIMIT`, or less where that takes less."""
    told = []
    with suppress(OSError, ValueError):
        told.append(os.fpathconf(fd, "PC_NAME_MAX"))
    with suppress(OSError):
        told.append(os.statvfs(fd).f_namemax)  # not every C library asks the file system for the former
    # Some network mounts say 0.
    return max(SHORTEST, min([LIMIT, *(most - BEHIND for most in told if most > 0)]))


def _owner_of_new_files(folder: int) -> int | None:
    """Make a file, look whose it is, and remove it; None where none can be made.

    Where there are no files without names it is a folder, of which nothing can be left open.
    """
    with suppress(OSError):
        fd = files.create_nameless(folder)
        if fd is not None:
            try:
                return os.fstat(fd).st_uid
            finally:
                files.close(fd)
        name = f".gdl-{os.urandom(8).hex()}".encode()
        os.mkdir(name, 0o700, dir_fd=folder)
        try:
            return os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid
        finally:
            os.rmdir(name, dir_fd=folder)
    return None
