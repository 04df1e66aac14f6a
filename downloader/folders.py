"""The output folder and its sub-folders as open descriptors, so that nothing is written outside whatever is swapped.

The output folder's own path is the user's choice, links and all. It is looked up once; from then on its descriptor is
meant, also where something else has its path by now. Only when the folder itself was deleted is it made anew, in the
same place and through no link.

A sub-folder is entered part by part from there. A symbolic link on the way is read and followed by hand, part by part
too, so that it may lead to another sub-folder but never out of the output folder. What is open stays open for a while,
and is used again only while the way still leads to it. So a descriptor is good for the call at hand; whoever needs the
folder later asks again.

Names are text here and UTF-8 on the disk, whatever the locale; a byte of the output folder's path that is no UTF-8
stands as a lone surrogate.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from downloader import files
from downloader.disk import Disk, Folder
from downloader.errors import FileLost, NameRefused, StopRun

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST_OPEN: Final = 16
"""Sub-folders that are kept open from one use to the next."""
MOST_LINKS: Final = 40
"""Symbolic links on one way, as many as Linux follows."""
_TRIES: Final = 20
"""Most times that one folder is entered anew because somebody removes it as soon as it was made."""

_OPEN: Final = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_ENTER: Final = _OPEN | os.O_NOFOLLOW


Place: TypeAlias = tuple[Folder, bytes]
"""A folder and a name in it."""


def encode(name: str) -> bytes:
    """Return a name as it is on the disk."""
    return name.encode("utf-8", "surrogateescape")


class Folders:
    """The folder ``output`` and what is below it.

    Names are relative to it, ``/`` is between folders, and none is ``..``. Methods raise `errors.NameRefused` where
    a folder on the way leads out or is none, and `errors.StopRun` where nothing can be written.
    """

    def __init__(self, output: str) -> None:
        try:
            self._output = os.fsencode(output) or b"."  # as the command line had it
        except UnicodeEncodeError:  # it is a program's, and the locale has no such letters
            self._output = encode(output)
        shown = self._output.decode("utf-8", "surrogateescape")
        self._prefix = "" if shown == "." else os.path.join(shown, "")
        self.shown = os.path.dirname(self._prefix) or "."
        """The output folder's path for people."""
        self._absolute: tuple[bytes, ...] = ()
        # Of bytes in a name: a longer path could not be opened by other programs.
        self._most = os.pathconf("/", "PC_PATH_MAX") - len(self._output) - len("/.part.json") - 1
        self._root: Folder | None = None
        self._below: OrderedDict[bytes, Folder] = OrderedDict()
        self._disks: dict[int, Disk] = {}
        self.new: set[bytes] | None = None
        """Ways of the folders that were made and that the disk may not know yet; None where nobody wants to know."""
        self._new_above: list[bytes] = []

    def path(self, name: str) -> str:
        """Return the path of ``name`` for people."""
        return self._prefix + name

    def close(self) -> None:
        """Close all. What is asked for later is opened again."""
        root, self._root = self._root, None
        if root is not None:
            root.close()
        self._close_below(0)

    # Finding.

    def root(self) -> Folder | None:
        """Return the output folder itself; None where it is not there."""
        return self._root or self._open()

    def find(self, name: str) -> Place | None:
        """Return the place of ``name``; None where there is no such folder."""
        root = self._root or self._open()
        if root is None:
            return None
        if "/" not in name:
            return root, name.encode("utf-8", "surrogateescape")
        folder, _, leaf = encode(name).rpartition(b"/")
        way, whole = self._walk(root, folder, make=False)
        return (way[-1], leaf) if whole else None

    def make(self, name: str) -> Place:
        """Return the place of ``name``, whose folder is made where it is missing."""
        root = self._root or self._open() or self._make_root()
        leaf = encode(name)
        if len(leaf) > self._most:
            raise NameRefused(f"cannot write {self.path(name)}: {os.strerror(errno.ENAMETOOLONG)}")
        if "/" not in name:
            return root, leaf
        folder, _, leaf = leaf.rpartition(b"/")
        way, whole = self._walk(root, folder, make=True)
        if not whole:
            way, whole = self._walk(self._anew(), folder, make=True)
        if not whole:
            raise FileLost(f"the folder of {self.path(name)} is removed as soon as it is made")
        return way[-1], leaf

    def create(self, name: str, suffix: str, function: Callable[[Folder, bytes], T]) -> T:
        """Call ``function`` with the folder of ``name`` and the name in it with ``suffix``.

        The folder is made where it is missing, and the function is called again where the folder has gone meanwhile,
        which shows by FileNotFoundError. What it raises is translated as `files.translate` says.
        """
        for again in (True, False):
            folder, leaf = self.make(name)
            try:
                return function(folder, leaf + suffix.encode())
            except OSError as error:
                if not (again and isinstance(error, FileNotFoundError)):
                    raise files.translate(error, self.path(name) + suffix, folder.fd) from error
                if folder is self._root:
                    self._anew()
        raise AssertionError("the second time it has returned or raised")

    # The output folder.

    def is_writable(self) -> bool:
        """Tell whether the output folder is there and can be written to."""
        return self._root is not None and files.is_writable(self._root.fd)

    def _open(self) -> Folder | None:
        try:
            return self._open_root()
        except OSError:  # what is wrong is told when it is to be made
            return None

    def _make_root(self) -> Folder:
        try:
            self._make_above(self._output)
            return self._open_root()
        except OSError as error:
            raise self._closed_to_us(error) from error

    def _open_root(self) -> Folder:
        root = Folder(os.open(self._output, _OPEN), b"", self._disks)
        try:
            self._absolute = os.path.realpath(self._output), os.path.abspath(self._output)
        except OSError:  # the current folder was removed
            root.close()
            raise
        self._root = root
        return root

    def _make_above(self, path: bytes) -> None:
        try:
            os.mkdir(path)
        except FileExistsError:
            return
        except FileNotFoundError:
            parent = os.path.dirname(path)
            if parent in (path, b""):
                raise
            self._make_above(parent)
            os.mkdir(path)
        if self.new is not None:
            self._new_above.append(path)

    def _closed_to_us(self, error: OSError) -> StopRun:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return StopRun(f"cannot write to the folder {self.shown}: {reason}")

    def _anew(self) -> Folder:
        """Return the output folder, and if it was deleted, make it in the same place and open that."""
        root = self._root
        assert root is not None
        real = self._absolute[0]
        if not _is_deleted(root.fd, real):
            return root
        here = os.open(b"/", _OPEN)
        try:
            for part in filter(None, real.split(b"/")):
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here)
                above, here = here, os.open(part, _ENTER, dir_fd=here)
                files.close(above)
        except OSError as error:
            files.close(here)
            raise self._closed_to_us(error) from error
        self.close()
        self._root = Folder(here, b"", self._disks)
        return self._root

    # Sub-folders.

    def _walk(self, root: Folder, folder: bytes, *, make: bool) -> tuple[list[Folder], bool]:
        """Return the folders on the way to ``folder``, and whether the last of them is that."""
        self._close_below(MOST_OPEN)
        way, left, links, link = [root], folder.split(b"/")[::-1], 0, folder
        while left:
            part = left.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if len(way) == 1:
                    raise self._leads_out(link)
                way.pop()
                continue
            entered = self._enter(way[-1], part, make=make)
            if entered is None:
                return way, False
            if isinstance(entered, Folder):
                way.append(entered)
                continue
            links, link = links + 1, os.path.join(way[-1].way, part)
            if links > MOST_LINKS:
                raise NameRefused(f"{self._shown_way(link)} is a symbolic link that leads in a circle")
            if entered.startswith(b"/"):
                del way[1:]
                entered = self._inside(entered, link)
            left += entered.split(b"/")[::-1]
        return way, True

    def _enter(self, here: Folder, part: bytes, *, make: bool) -> Folder | bytes | None:
        """Enter the folder ``part`` of ``here``; return where a link there leads, None where nothing is or can be."""
        way = os.path.join(here.way, part)
        known = self._below.get(way)
        if known is not None:
            with suppress(OSError):
                found = os.stat(part, dir_fd=here.fd, follow_symlinks=False)
                if (found.st_dev, found.st_ino) == known.identity:
                    self._below.move_to_end(way)
                    return known
            self._below.pop(way).close()
        try:
            for _ in range(_TRIES):
                try:
                    fd = os.open(part, _ENTER, dir_fd=here.fd)
                except FileNotFoundError:
                    if not make or not self._make_below(here, part):
                        return None
                else:
                    folder = self._below[way] = Folder(fd, way, self._disks)
                    return folder
        except OSError as error:
            with suppress(OSError):
                return os.readlink(part, dir_fd=here.fd)
            raise files.translate(error, self._shown_way(way), here.fd) from error
        return None

    def _make_below(self, here: Folder, part: bytes) -> bool:
        """Make a folder, or find that somebody has; False where ``here`` has gone."""
        try:
            os.mkdir(part, dir_fd=here.fd)
        except FileExistsError:
            return True
        except FileNotFoundError:
            return False
        if self.new is not None:
            self.new.add(os.path.join(here.way, part))
        return True

    def _inside(self, target: bytes, link: bytes) -> bytes:
        """Return where an absolute ``target`` is in the output folder."""
        for path in self._absolute:
            base = os.path.join(path, b"")
            if os.path.join(target, b"").startswith(base):
                return target[len(base) :]
        raise self._leads_out(link)

    def _leads_out(self, link: bytes) -> NameRefused:
        return NameRefused(f"{self._shown_way(link)} is a symbolic link that leaves the output folder")

    def _shown_way(self, way: bytes) -> str:
        return self.path(way.decode("utf-8", "surrogateescape"))

    def _close_below(self, most: int) -> None:
        while len(self._below) > most:
            self._below.popitem(last=False)[1].close()

    # The disk.

    def learn_no_nameless(self, name: str) -> None:
        """Take note that where ``name`` is files cannot be made without a name."""
        place = self.find(name)
        if place is not None:
            place[0].disk.nameless = False

    def sync_new(self, name: str) -> None:
        """Wait until the disk knows the folders that were made for ``name``; blocks the calling greenlet only.

        Raises OSError.
        """
        place = self.find(name)
        way = b"" if place is None else place[0].way
        while self.new and way in self.new:
            parent = way.rpartition(b"/")[0]
            above = self.find(os.path.join(parent, b"x").decode("utf-8", "surrogateescape"))
            if above is not None:
                files.sync_folder(above[0].fd)
            self.new.discard(way)
            way = parent
        for path in self._new_above[::-1]:
            fd = os.open(os.path.dirname(path) or b".", _OPEN)
            try:
                files.sync_folder(fd)
            finally:
                files.close(fd)
            if path in self._new_above:
                self._new_above.remove(path)


def _is_deleted(fd: int, path: bytes) -> bool:
    """Tell whether a folder in which nothing can be made any more was deleted, from ``path``."""
    try:
        if not os.fstat(fd).st_nlink:
            return True
        os.lstat(path)
    except OSError:
        return True
    return False
