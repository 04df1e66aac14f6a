"""What runs that were cut off have left beside a final path, and whether the file there is whole."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress

from downloader import files, resume, spans
from downloader.files import translated
from downloader.statefile import ASIDE, PART, STATE, is_at, move_aside, read_state

MOST_READ = 10_000
"""Entries of a folder that are read at most to know what is there: a few milliseconds and 1 MB."""


class Listing:
    """What lies in ``folder`` as a run begins: files, and states beside them, so perhaps parts to be continued.

    Asking the file system for each of many names costs more than reading the folder once, if it is not too large.
    What another run leaves later is not seen: its part is begun again, at worst.
    """

    def __init__(self, folder: str, *, most: int = MOST_READ) -> None:
        self._folder = folder
        self._names: set[str] | None = set()
        try:
            with os.scandir(folder or ".") as entries:
                for number, entry in enumerate(entries):
                    if number >= most:
                        self._names = None
                        break
                    self._names.add(entry.name)
        except FileNotFoundError:
            pass
        except OSError:  # it can be written to perhaps, if not read
            self._names = None

    def may_have(self, name: str) -> bool:
        """Tell whether there may have been a file ``name``."""
        return self._names is None or name in self._names or "/" in name

    def has_state(self, name: str) -> bool:
        """Tell whether there is, or may be, a state beside ``name``."""
        if self._names is None or "/" in name:
            return os.access(os.path.join(self._folder, name + STATE), os.F_OK)
        return name + STATE in self._names

    def discard_state(self, name: str) -> None:
        """Take note that ``name`` has no state any more."""
        if self._names is not None:
            self._names.discard(name + STATE)

    def add_state(self, name: str) -> None:
        """Take note that ``name`` gets a state."""
        if self._names is not None:
            self._names.add(name + STATE)


def whole(final: str, *, boot: str) -> bool:
    """Tell whether the existing file ``final`` is as whole as its writer meant it to be.

    A run that was cut off while it wrote leaves its part, which goes if another has published the file since. One that
    was cut off while it published leaves its state. What the machine's crash may have emptied or cut
    short is taken back into its part, to be downloaded again; ``boot`` is the boot the machine runs in.
    """
    with translated(final):
        data = read_state(final)
        state = None if data is None else resume.parse(data)
        if state is None:
            return True
        found, part = os.lstat(final), _lstat(final + PART)
        if not stat.S_ISREG(found.st_mode):
            return True
        if not state.published:
            ours = part is not None and part.st_ino == state.inode and part.st_mtime_ns <= found.st_ctime_ns
            if ours and found.st_size >= spans.covered(state.done):
                _discard_outdated(final)
            return True
        if found.st_ino != state.inode:
            # An empty file may be the name that was reserved for the part (`files.rename_noreplace`).
            reserved = not found.st_size and part is not None and part.st_ino == state.inode and part.st_size > 0
            if reserved:
                files.unlink(final)
            elif part is None:  # what it tells of was published under another name
                files.unlink(final + STATE)
            return not reserved
        if part is not None and os.path.samestat(found, part):  # linked, and not yet unlinked
            files.unlink(final + PART)
        complete = found.st_size >= spans.covered(state.done)
        if complete and (state.synced or state.boot == boot):
            files.unlink(final + STATE)
            return True
        if part is not None and not os.path.samestat(found, part):
            move_aside(final + PART, final + PART + ASIDE)
        files.rename_noreplace(final, final + PART)
        return False


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _discard_outdated(final: str) -> None:
    """Remove the part beside ``final`` and its state, unless somebody writes to it. Raises OSError."""
    fd = os.open(final + PART, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(fd, final + PART):
                files.unlink(final + PART)
                files.unlink(final + STATE)
    finally:
        files.close(fd)
