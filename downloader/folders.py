"""What is below the output folder, by descriptors, so that nothing is written outside whatever is swapped for a link.

A sub-folder is entered part by part from the output folder (`outputfolder`). A symbolic link on the way is read and
followed by hand, part by part too, so that it may lead to another sub-folder but never out of the output folder. What
is open stays open for a while, and is used again only while the way still leads to it. So a descriptor is good for the
call at hand; whoever needs the folder later asks again.

Names are text here and UTF-8 on the disk, whatever the locale.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from downloader import files
from downloader.disk import ENTER, Folder
from downloader.errors import FileLost, NameRefused, StopRun
from downloader.outputfolder import OutputFolder
from downloader.safenames import shortened

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST_OPEN: Final = 16
"""Sub-folders that are kept open from one use to the next."""
MOST_KNOWN: Final = 1000
"""Sub-folders of which is kept how long their names may be."""
MOST_LINKS: Final = 40
"""Symbolic links on one way, as many as Linux follows."""
MOST_ENTERED: Final = 128
"""Folders that are entered on one way, those that links lead through and out of again among them: each takes a
descriptor, and whoever may make links could otherwise use them up."""
_TRIES: Final = 20
"""Most times that one folder is entered anew because somebody removes it as soon as it was made."""

Place: TypeAlias = tuple[Folder, bytes]
"""A folder and a name in it."""


class Folders:
    """The folder ``output`` and what is below it.

    Names are relative to it, ``/`` is between folders, and none is ``..``. Methods raise `errors.NameRefused` where
    a folder on the way leads out or is none, and `errors.StopRun` where nothing can be written.
    """

    def __init__(self, output: str) -> None:
        self._output = OutputFolder(output)
        self._below: OrderedDict[bytes, Folder] = OrderedDict()
        self._longest: dict[str, int] = {}
        self.shown = self._output.shown
        """The output folder's path for people."""
        self.new: set[bytes] | None = None
        """Ways of the sub-folders that were made and that the disk may not know yet; None where nobody asks."""

    def path(self, name: str) -> str:
        """Return the path of ``name`` for people."""
        return self._output.prefix + name

    def close(self) -> None:
        """Close all. What is asked for later is opened again."""
        self._output.close()
        self._close_below(0)

    def astray(self) -> StopRun | None:
        """Return what to tell where the output folder's path does not lead to it any more."""
        if (place := self._output.elsewhere()) is None:
            return None
        where = f"in {place}" if place else "on a disk that was unmounted or mounted over"
        return StopRun(f"{self.shown} is not the folder any more that was written to: what was saved is {where}")

    # Finding.

    def root(self) -> Folder | None:
        """Return the output folder itself; None where it is not there."""
        return self._output.folder or self._output.open()

    def find(self, name: str) -> Place | None:
        """Return the place of ``name``; None where there is no such folder."""
        root = self._output.folder or self._output.open()
        if root is None:
            return None
        if "/" not in name:
            return root, name.encode()
        folder, _, leaf = name.encode().rpartition(b"/")
        way, whole = self._walk(root, folder, make=False)
        return (way[-1], leaf) if whole else None

    def make(self, name: str) -> Place:
        """Return the place of ``name``, whose folder is made where it is missing."""
        root = self._output.folder or self._output.open() or self._output.make()
        leaf = name.encode()
        if len(leaf) > self._output.room:
            raise NameRefused(f"cannot write {self.path(name)}: {os.strerror(errno.ENAMETOOLONG)}")
        if "/" not in name:
            return root, leaf
        folder, _, leaf = leaf.rpartition(b"/")
        way, whole = self._walk(root, folder, make=True)
        if not whole:
            way, whole = self._walk(self._remade(), folder, make=True)
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
                if folder is self._output.folder:
                    self._remade()
        raise AssertionError("the second time it has returned or raised")

    def is_writable(self) -> bool:
        """Tell whether the output folder is there and can be written to."""
        root = self._output.folder
        return root is not None and files.is_writable(root.fd)

    def _remade(self) -> Folder:
        """Return the output folder, which was made anew if it was deleted."""
        before, folder = self._output.folder, self._output.remake()
        if folder is not before:
            self._close_below(0)
        return folder

    # Sub-folders.

    def _walk(self, root: Folder, folder: bytes, *, make: bool) -> tuple[list[Folder], bool]:
        """Return the folders on the way to ``folder``, and whether the last of them is that."""
        self._close_below(MOST_OPEN)
        way, left, links, link, count = [root], folder.split(b"/")[::-1], 0, folder, 0
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
                count += 1
                if count > MOST_ENTERED:
                    raise NameRefused(f"{self._shown_way(link)} leads through more than {MOST_ENTERED} folders")
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
                    fd = os.open(part, ENTER, dir_fd=here.fd)
                except FileNotFoundError:
                    if not make or not self._make_below(here, part):
                        return None
                else:
                    folder = self._below[way] = Folder(fd, way, here.disks)
                    return folder
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG and not make:
                return None
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
        for path in self._output.absolute:
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

    def longest(self, name: str) -> int:
        """Return how many bytes each part of ``name`` may have, by the folders that are there already."""
        folder = name.rpartition("/")[0] if "/" in name else ""
        known = self._longest.get(folder)
        if not known:
            if len(self._longest) >= MOST_KNOWN:
                self._longest.clear()
            known = self._longest[folder] = self._find_longest(folder)
        return known

    def _find_longest(self, folder: str) -> int:
        root = self.root()
        if root is None:
            return self._output.longest()
        way, _ = self._walk(root, shortened(folder, root.disk.longest).encode(), make=False)
        return min(entered.disk.longest for entered in way)

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
            above = self.find(os.path.join(parent, b"x").decode())
            if above is not None:
                files.sync_folder(above[0].fd)
            self.new.discard(way)
            way = parent
        self._output.sync_new()
