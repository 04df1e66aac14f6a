"""Where bytes wait until all is checked: ``NAME.part`` with its lock and its state, or a file without a name.

A part is opened under an exclusive lock that dies with its process. It never lies there without ``NAME.part.json``,
which says what its bytes are; so one that does is another program's, and is moved aside. The state is written over
in place: that needs no room on a full disk, and is far smaller than a page, so that a kill cannot tear it.

States of a part, and what a kill at any moment leaves::

    open_part ──▶ locked, state as an earlier run left it, or None
                  ├── begin ──▶ empty, a state of its own ──┐
                  └── go on ─▶ as it was ───────────────────┤
                                                            ▼
                       write, save, write, save ... ──▶ publish: marked published ──▶ renamed ──▶ state removed
                                                   └──▶ leave: kept where it can be continued, else removed

A file that needs no continuing is written without a name (O_TMPFILE) and linked to its final path at the end:
cheaper, and nothing is left whatever happens. Where the file system has no such files, it is a part.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Final

from downloader import files, resume
from downloader.errors import FileLost, GdlError
from downloader.files import translate, translated
from downloader.locks import NO_LOCKS, UNSUPPORTED
from downloader.statefile import ASIDE, PART, STATE, create_state, is_at, move_aside, ours_alone, read_state, tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.resume import State

SAVE_EVERY: Final = 2 * 1024 * 1024
"""New bytes after which the state is saved: what a kill may cost, give or take what is on its way."""

_PAD: Final = 1024
# Not blocking matters only where somebody has put a named pipe in the part's place.
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class InProgress(Exception):
    """Another gdl is writing this part right now."""


class Part:
    """One open file that waits to be published, locked for this process where it has a name.

    Made by `open_part` and `open_nameless`. Its methods raise `errors.StopRun`, `errors.NameRefused` or
    `errors.FileLost` as `files.translate` says.
    """

    __slots__ = ("_fd", "_lost", "_named", "_padded", "_state_fd", "_unsaved", "final", "moved_aside", "path", "state")

    def __init__(self, final: str, fd: int, *, path: str | None = None) -> None:
        self.final = final
        """The path it was opened for."""
        self.path = path
        """Its own path; None for one without a name."""
        self.state: State | None = None
        """What its bytes are, where that is known; `save` keeps it."""
        self.moved_aside: str | None = None
        """Where another program's file went that lay in its place."""
        self._fd = fd
        self._state_fd = -1
        self._lost = False
        self._named = False
        self._padded = 0
        self._unsaved = 0

    def lock(self, warn: Callable[[str], None]) -> bool:
        """Lock the part; False where its writer has published it meanwhile: its path is another file's, or none.

        Raises `InProgress` and OSError.
        """
        assert self.path is not None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InProgress(self.path) from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            warn(NO_LOCKS)
        opened = os.fstat(self._fd)
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return False
        if not os.path.samestat(found, opened):
            return False
        if not ours_alone(opened):
            # Its other name must not be emptied.
            os.unlink(self.path)
            return False
        return True

    def identify(self) -> str | None:
        """Find out what the locked part is; return where it went if it was another program's. Raises OSError."""
        assert self.path is not None
        found = os.fstat(self._fd)
        data = read_state(self.final)
        if data is not None and not resume.is_state(data):
            move_aside(self.final + STATE, self.final + ".json" + ASIDE)
            data = None
        if data is None:
            return move_aside(self.path, self.path + ASIDE) if found.st_size else None
        state = resume.parse(data)
        if state is None:
            return None
        known = state.tail == tail(self._fd, state.done)
        if state.inode == found.st_ino:
            self.state = state if known and state.fits(found.st_size) else None
        elif state.inode and found.st_size and not (known and state.done):  # not even a copy of ours
            return move_aside(self.path, self.path + ASIDE)
        return None

    def begin(self, state: State) -> None:
        """Forget what is there and start a file of which ``state`` tells."""
        vouched = self.state is not None and self.state.synced
        self.state = state
        if self.path is None:  # it is empty, and no other run will ever see it
            return
        with translated(self.path):
            state.inode = os.fstat(self._fd).st_ino
            self.save()
            if vouched:  # or a power cut could bring the old state back, for the new bytes
                os.fsync(self._state_fd)
            os.ftruncate(self._fd, 0)

    def go_on(self, boot: str) -> None:
        """Take up the part as its state has it; what is written from now on belongs to ``boot``."""
        assert self.state is not None
        self.state.boot, self.state.synced, self.state.published = boot, False, False
        self.save()

    def write(self, chunks: list[bytes], offset: int) -> int:
        """Write ``chunks``, at most 1024, at ``offset`` and return their size."""
        try:
            size = files.write(self._fd, chunks, offset)
        except OSError as error:
            raise translate(error, self.path or self.final) from error
        self._unsaved += size
        return size

    @property
    def due(self) -> bool:
        """Whether so much has been written that the state had better be saved."""
        return self._unsaved >= SAVE_EVERY

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes at ``offset``."""
        with translated(self.path or self.final):
            return os.pread(self._fd, size, offset)

    def save(self) -> None:
        """Write the state beside the part, so that a later run knows what its bytes are."""
        if self.path is None or self.state is None or self._fd < 0:
            return
        self._unsaved = 0
        path = self.final + STATE
        with translated(self.path):
            self.state.tail = tail(self._fd, self.state.done)
        data = self.state.dump()
        # Never shorter than before: the rest of a longer one would stay behind it.
        self._padded = max(self._padded, -(-len(data) // _PAD) * _PAD)
        try:
            if self._state_fd >= 0 and not os.fstat(self._state_fd).st_nlink:  # somebody has removed it
                files.close(self._state_fd)
                self._state_fd = -1
            if self._state_fd < 0:
                self._state_fd = os.open(path, _FLAGS, 0o666)
                found = os.fstat(self._state_fd)
                if not ours_alone(found):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                self._padded = max(self._padded, found.st_size)
            files.write(self._state_fd, [data.ljust(self._padded)], 0)
        except OSError as error:
            raise translate(error, path) from error

    def duplicate(self) -> int:
        """Return a descriptor of its own for the file, to be read in another thread and closed by the caller."""
        with translated(self.path or self.final):
            return os.dup(self._fd)

    @property
    def occupied(self) -> int:
        """Bytes it takes on the disk, which are free again where it is begun anew."""
        with translated(self.path or self.final):
            return os.fstat(self._fd).st_blocks * 512

    def sync(self) -> None:
        """Wait until the disk has every byte written so far; blocks the calling greenlet only."""
        try:
            files.sync(self._fd)
        except OSError as error:
            self._lost = True  # the system tells of it once: a second call would say that all is well
            raise translate(error, self.path or self.final) from error

    def publish(self, final: str, *, replace: bool = False, fsync: bool = False) -> bool:
        """Give the file its ``final`` path in one step; False, and nothing done, where that exists already.

        With ``replace`` an existing file is replaced. With ``fsync`` the disk has the bytes before and the name
        after. The part stays open until then, and so stays locked.
        """
        if fsync:
            self.sync()
        if self.path is not None and not is_at(self._fd, self.path):
            raise FileLost(f"{self.path} was replaced or removed by another program while it was written")
        if self.state is not None and self.path is not None:
            self.state.published, self.state.synced = True, fsync
            self.save()
        beside = final + STATE if self._save_beside(final) else None
        try:
            done = self._link(final) if self.path is None else self._rename(self.path, final, replace=replace)
        except OSError as error:
            raise translate(error, final) from error
        finally:
            if beside is not None:
                files.unlink(beside)
        if not done:
            return False
        self._named = True
        if self.path is not None:
            self._remove_state()
        if fsync:
            with translated(final):
                files.sync_folder(os.path.dirname(final))
        self.release()
        return True

    def _save_beside(self, final: str) -> bool:
        """Save the state beside another final path than the part's own, where it is to be found after a crash."""
        if self.state is None or self.path is None or final == self.final:
            return False
        try:
            return create_state(final, self.state.dump())
        except OSError:  # a full disk has room for a rename; what is really wrong that will tell
            return False

    def _link(self, final: str) -> bool:
        linked = files.link_nameless(self._fd, final)
        if linked is None:
            raise Unlinkable(final)
        return linked

    @staticmethod
    def _rename(path: str, final: str, *, replace: bool) -> bool:
        if replace:
            os.replace(path, final)
            return True
        return files.rename_noreplace(path, final)

    @property
    def worth_keeping(self) -> bool:
        """Whether it is there for a later try to continue."""
        if self._fd < 0 or self._lost or self.state is None or not self.state.worth_keeping:
            return False
        return self.path is not None and is_at(self._fd, self.path)

    def leave(self) -> bool:
        """End without publishing: keep the part if it can be continued, else remove it; tell which. Idempotent."""
        if self._fd < 0:
            return False
        if self.state is None or self._named or not self.worth_keeping:
            self.discard()
            return False
        try:
            try:
                self.sync()
            except GdlError:
                self.discard()
                raise
            # What another boot wrote and did not sync is not there for certain, however often it is synced now.
            self.state.synced = self.state.synced or self.state.boot == files.boot_id()
            self.state.published = False
            self.save()
        finally:
            self.release()
        return True

    def discard(self) -> None:
        """Remove the file and its state. Idempotent."""
        if self._fd < 0:
            return
        try:
            if self.path is not None:
                in_place = not self._named and is_at(self._fd, self.path)
                if in_place:  # first, as a part without a state would be taken for another program's
                    files.unlink(self.path)
                self._remove_state(sure=in_place)
        finally:
            self.release()

    def _remove_state(self, *, sure: bool = False) -> None:
        """Remove the state, if it is ours: for ``sure``, or because it is the file that was written."""
        path = self.final + STATE
        if sure or (self._state_fd >= 0 and is_at(self._state_fd, path)):
            files.unlink(path)

    def release(self) -> None:
        """Close the file as it is, and so unlock it. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            files.close(fd)
        fd, self._state_fd = self._state_fd, -1
        if fd >= 0:
            files.close(fd)


class Unlinkable(Exception):
    """A file without a name cannot be given one here."""


def open_nameless(final: str) -> Part | None:
    """Open a file without a name that may become ``final``; None where there are none. Raises like `open_part`."""
    try:
        fd = files.create_nameless(os.path.dirname(final) or ".")
    except OSError as error:
        raise translate(error, final) from error
    return None if fd is None else Part(final, fd)


def open_part(final: str, *, warn: Callable[[str], None]) -> Part:
    """Open and lock ``final + ".part"``, making folders as needed; ``state`` tells what an earlier run left there.

    ``warn`` is told of a file system without locks. Raises `InProgress` where another process holds the lock,
    `errors.StopRun` where nothing can be written at all, `errors.NameRefused` where this name cannot be.
    """
    path = final + PART
    moved: str | None = None
    with translated(path):
        while True:
            part = Part(final, files.create(path, _FLAGS), path=path)
            try:
                if part.lock(warn):
                    aside = part.identify()
                    if aside is None:
                        part.moved_aside = moved
                        return part
                    moved = aside
            except BaseException:
                part.release()
                raise
            part.release()
