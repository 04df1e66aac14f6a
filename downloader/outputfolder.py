"""The output folder itself: the one folder that is found by a path, and only once.

Its path is the user's choice, links and all. From when it was opened on its descriptor is meant, also where something
else has its path by now. Only when the folder itself was deleted is it made anew, in the same place and through no
link.
"""

from __future__ import annotations

import os
from contextlib import suppress

from downloader import files
from downloader.disk import BEHIND, ENTER, OPEN, Disk, Folder, longest_name
from downloader.errors import StopRun
from downloader.safenames import LIMIT


class OutputFolder:
    """The folder ``output``, opened when it is first asked for."""

    def __init__(self, output: str) -> None:
        try:
            self._path = os.fsencode(output) or b"."  # as the command line had it
        except UnicodeEncodeError:  # it is a program's, and the locale has no such letters
            self._path = output.encode("utf-8", "surrogateescape")
        shown = self._path.decode("utf-8", "surrogateescape")
        self.prefix = "" if shown == "." else os.path.join(shown, "")
        """What people find before a name."""
        self.shown = os.path.dirname(self.prefix) or "."
        """Its path for people."""
        self.room = os.pathconf("/", "PC_PATH_MAX") - len(self._path) - len("/") - BEHIND - 1
        """Bytes that a name may have, sub-folders included, so that other programs can open its path."""
        self.folder: Folder | None = None
        """The open folder."""
        self.absolute: tuple[bytes, ...] = ()
        """Its paths from the root of all: the real one, and the one that was given."""
        self._new: list[bytes] = []

    def open(self) -> Folder | None:
        """Open it; None where it cannot be opened. What is wrong is told when it is to be made."""
        try:
            return self._open()
        except OSError:
            return None

    def make(self) -> Folder:
        """Make it and open it. Raises `errors.StopRun`."""
        try:
            self._make(self._path)
            return self._open()
        except OSError as error:
            raise self._refused(error) from error

    def remake(self) -> Folder:
        """Return it, and if it was deleted, make it in the same place and open that. Raises `errors.StopRun`."""
        folder = self.folder
        assert folder is not None
        real = self.absolute[0]
        if not _is_deleted(folder.fd, real):
            return folder
        here, path = os.open(b"/", OPEN), b"/"
        try:
            for part in filter(None, real.split(b"/")):
                path = os.path.join(path, part)
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here)
                    self._new.append(path)
                above, here = here, os.open(part, ENTER, dir_fd=here)
                files.close(above)
        except OSError as error:
            files.close(here)
            raise self._refused(error) from error
        folder.close()
        self.folder = Folder(here, b"", folder.disks)
        return self.folder

    def elsewhere(self) -> str | None:
        """Return where the open folder is by now, if its path leads to it no more; empty where no other path does."""
        folder = self.folder
        if folder is None or _leads_to(self.absolute[1], folder.fd):
            return None
        try:
            if not os.fstat(folder.fd).st_nlink:
                return None  # what was in a deleted folder is gone as well
            place = os.readlink(b"/proc/self/fd/%d" % folder.fd)
        except OSError:  # its mount does not answer any more, or there is no /proc
            return ""
        return place.decode("utf-8", "surrogateescape") if _leads_to(place, folder.fd) else ""

    def close(self) -> None:
        """Close it. Idempotent."""
        folder, self.folder = self.folder, None
        if folder is not None:
            folder.close()

    def longest(self) -> int:
        """Return how many bytes names may have in it when it is made, as `disk.Disk.longest`."""
        path = self._path
        while True:
            with suppress(OSError):
                fd = os.open(path, OPEN)
                try:
                    return longest_name(fd)
                finally:
                    files.close(fd)
            above = os.path.dirname(path) or b"."
            if above == path:
                return LIMIT
            path = above

    def sync_new(self) -> None:
        """Wait until the disk knows what folders were made for it; blocks the calling greenlet only. Raises OSError."""
        for path in self._new[::-1]:
            fd = os.open(os.path.dirname(path) or b".", OPEN)
            try:
                files.sync_folder(fd)
            finally:
                files.close(fd)
            if path in self._new:
                self._new.remove(path)

    def _open(self) -> Folder:
        disks: dict[int, Disk] = {}
        folder = Folder(os.open(self._path, OPEN), b"", disks)
        try:
            self.absolute = os.path.realpath(self._path), os.path.abspath(self._path)
        except OSError:  # the current folder was removed
            folder.close()
            raise
        self.folder = folder
        return folder

    def _make(self, path: bytes) -> None:
        try:
            os.mkdir(path)
        except FileExistsError:
            return
        except FileNotFoundError:
            above = os.path.dirname(path)
            if above in (path, b""):
                raise
            self._make(above)
            with suppress(FileExistsError):
                os.mkdir(path)
        self._new.append(path)

    def _refused(self, error: OSError) -> StopRun:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return StopRun(f"cannot write to the folder {self.shown}: {reason}")


def _leads_to(path: bytes, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False


def _is_deleted(fd: int, path: bytes) -> bool:
    """Tell whether a folder in which nothing can be made any more was deleted, from ``path``."""
    try:
        if not os.fstat(fd).st_nlink:
            return True
        os.lstat(path)
    except OSError:
        return True
    return False
