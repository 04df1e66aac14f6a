"""One open folder, and what is known of the file system it is on."""

from __future__ import annotations

import os

from downloader import files


class Disk:
    """What is known of a file system."""

    __slots__ = ("nameless",)

    def __init__(self) -> None:
        self.nameless = True
        """Whether files may be made there that have no name at first."""


class Folder:
    """An open folder."""

    __slots__ = ("disk", "fd", "identity", "way")

    def __init__(self, fd: int, way: bytes, disks: dict[int, Disk]) -> None:
        self.fd = fd
        """Its descriptor, by which it can be searched and changed, but perhaps not read; -1 once it is closed."""
        self.way = way
        """How to get there from the output folder, through no links."""
        found = os.fstat(fd)
        self.identity = found.st_dev, found.st_ino
        self.disk = disks.get(found.st_dev) or disks.setdefault(found.st_dev, Disk())

    def close(self) -> None:
        """Close it."""
        files.close(self.fd)
        self.fd = -1
