"""One open folder, and what is known of the file system it is on."""

from __future__ import annotations

import os

from downloader import files


class Disk:
    """What is known of a file system."""

    __slots__ = ("nameless", "owner")

    def __init__(self) -> None:
        self.nameless = True
        """Whether files may be made there that have no name at first."""
        self.owner: int | None = None
        """The user to whom what is made there belongs, once that was found out."""


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

    def owns(self, found: os.stat_result) -> bool:
        """Tell whether a file belongs to the user to whom one would that is made here now.

        That need not be the user of this process: NFS, sshfs, bindfs and others show users as they are told to.
        """
        if self.disk.owner is None:
            self.disk.owner = _owner_of_new_files(self.fd)
        return found.st_uid == (os.geteuid() if self.disk.owner is None else self.disk.owner)


def _owner_of_new_files(folder: int) -> int | None:
    """Make a file, look whose it is, and remove it; None where none can be made."""
    name = f".gdl-{os.urandom(8).hex()}".encode()
    try:
        fd = files.create_nameless(folder)
        named = fd is None
        if fd is None:
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError:
        return None
    try:
        return os.fstat(fd).st_uid
    finally:
        files.close(fd)
        if named:
            files.give_back((folder, name))
