"""Where bytes wait until all is checked: ``NAME.part`` with its lock and its state, or a file without a name.

A part is opened under an exclusive lock that dies with its process (`takeover`). It never lies there without
``NAME.part.json``, which says what its bytes are (`statefile`).

States of a part, and what a kill at any moment leaves::

    open_part ──▶ locked, state as an earlier run left it, or None
                  ├── begin ──▶ empty, a state of its own ──┐
                  └── go on ─▶ as it was ───────────────────┤
                                                            ▼
                       write, save, write, save ... ──▶ publish: marked published ──▶ renamed ──▶ state removed
                                                   └──▶ leave: kept where it can be continued, else removed

A file that needs no continuing is written without a name (O_TMPFILE) and linked to its final name at the end:
cheaper, and nothing is left whatever happens. Where the file system has no such files, it is a part.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from downloader import files, placing
from downloader.errors import FileLost, GdlError, Interrupted
from downloader.files import is_at, translate, translated
from downloader.statefile import PART, STATE, StateFile, beside, create_state, tail
from downloader.writeback import WritebackError

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.files import Spot
    from downloader.folders import Folders
    from downloader.resume import State

T = TypeVar("T")

SAVE_EVERY: Final = 2 * 1024 * 1024
"""New bytes after which the state is saved: what a kill may cost, give or take what is on its way."""


class Part:
    """One open file that waits to be published, locked for this process where it has a name.

    Made by `open_part` and `open_nameless`. Its methods raise `errors.StopRun`, `errors.NameRefused` or
    `errors.FileLost` as `files.translate` says, and `errors.NameRefused` where its folder leads out by now.
    """

    __slots__ = (
        "_beside",
        "_error",
        "_fd",
        "_folders",
        "_named",
        "_unsaved",
        "moved_aside",
        "name",
        "path",
        "state",
    )

    def __init__(self, folders: Folders, name: str, fd: int, *, nameless: bool = False) -> None:
        self.name = name
        """The final name it was opened for."""
        self.path = None if nameless else folders.path(name) + PART
        """Its own path, for people; None for one without a name."""
        self.state: State | None = None
        """What its bytes are, where that is known; `save` keeps it."""
        self.moved_aside: str | None = None
        """Where another program's file went that lay in its place."""
        self._folders = folders
        self._fd = fd
        self._beside = None if nameless else StateFile(folders, name)
        # Whoever is stopped while it waits for one without a name never publishes it.
        self._error = None if nameless else WritebackError()
        self._named = False
        self._unsaved = 0

    @property
    def shown(self) -> str:
        """What to call it."""
        return self.path or self._folders.path(self.name)

    def _final(self) -> Spot:
        """Return where its final name is or will be, while nobody else gets a turn."""
        place = self._folders.find(self.name)
        if place is None:
            raise FileLost(f"{self.shown}, or its folder, was removed while it was written")
        return place[0].fd, place[1]

    def _is_in_place(self) -> bool:
        try:
            return self.path is not None and is_at(self._fd, beside(self._final(), PART))
        except GdlError:  # not even its folder is
            return False

    def begin(self, state: State) -> None:
        """Forget what is there and start a file of which ``state`` tells."""
        vouched = self.state is not None and self.state.synced
        self.state = state
        if self._beside is None:  # it is empty, and no other run will ever see it
            return
        with translated(self.shown):
            state.inode = os.fstat(self._fd).st_ino
            self.save()
            if vouched:  # or a power cut could bring the old state back, for the new bytes
                self._beside.sync()
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
            raise translate(error, self.shown) from error
        self._unsaved += size
        return size

    @property
    def due(self) -> bool:
        """Whether so much has been written that the state had better be saved."""
        return self._unsaved >= SAVE_EVERY

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes at ``offset``."""
        with translated(self.shown):
            return os.pread(self._fd, size, offset)

    def save(self) -> None:
        """Write the state beside the part, so that a later run knows what its bytes are."""
        if self._beside is None or self.state is None or self._fd < 0:
            return
        self._unsaved = 0
        with translated(self.shown):
            self.state.tail = tail(self._fd, self.state.done)
        self._beside.write(self.state.dump())

    def in_thread(self, function: Callable[[int], T]) -> T:
        """Call ``function`` with a descriptor of the file in another thread; blocks the calling greenlet only.

        That is closed afterwards, and what the file system says then counts as in `flush`.
        """

        def call(fd: int) -> T:
            value = function(fd)
            self._ask(files.flush, fd)
            return value

        try:
            return self._in_thread(call)
        except OSError as error:
            if self._error is not None:
                self._error.note(error)  # what cannot be read is not worth keeping either
            raise translate(error, self.shown) from error

    def _in_thread(self, function: Callable[[int], T]) -> T:
        return files.in_thread(function, self._copy, files.close if self._error is None else self._error.close)

    def _ask(self, call: Callable[[int], None], fd: int) -> None:
        if self._error is None:
            call(fd)
        else:
            self._error.ask(call, fd)

    def _copy(self) -> int:
        return os.dup(self._fd)

    @property
    def occupied(self) -> int:
        """Bytes it takes on the disk, which are free again where it is begun anew."""
        with translated(self.shown):
            return os.fstat(self._fd).st_blocks * 512

    @property
    def room(self) -> int | None:
        """Bytes that are free where it is; None where nobody can tell."""
        return files.free(self._fd)

    def sync(self) -> None:
        """Wait until the disk has every byte written so far; blocks the calling greenlet only."""
        with translated(self.shown):
            self._in_thread(partial(self._ask, files.sync))

    def flush(self) -> None:
        """Hear what the file system has to say of the bytes written so far, which may be that it has not kept them.

        Blocks the calling greenlet only, but for the few bytes of a file without a name, and where the run is stopped.
        """
        try:
            if self._error is None:
                files.flush(self._fd)
                return
            try:
                self._in_thread(partial(self._error.ask, files.flush))
            except Interrupted:  # a whole file had better be saved than be lost
                if self.worth_keeping:
                    raise
                self._error.ask(files.flush, self._fd)
        except OSError as error:
            raise translate(error, self.shown) from error

    def publish(self, final: str, *, replace: bool = False, fsync: bool = False) -> bool | None:
        """Give the file its ``final`` name in one step; False, and nothing done, where that exists already.

        None where a file without a name cannot be given one here. With ``replace`` an existing file is replaced. With
        ``fsync`` the disk has the bytes before and the name after. The part stays open until then, and so stays locked.
        """
        if fsync:
            self.sync()
        else:
            self.flush()
        if self.path is not None and self.state is not None:
            self.state.published, self.state.synced = True, fsync
            self.save()
        own = None if self.path is None else self._folders.find(self.name)
        folder, name = self._folders.make(final)
        target = folder.fd, name
        try:
            if self.path is None:
                done = placing.link_nameless(self._fd, target)
            else:
                source = (-1, b"") if own is None else beside((own[0].fd, own[1]), PART)
                if not is_at(self._fd, source):
                    raise FileLost(f"{self.path} was replaced or removed by another program while it was written")
                done = self._rename(source, target, final, replace=replace)
            if not done:
                return done
            self._named = True
            if fsync:
                files.sync_folder(folder.fd)
        except OSError as error:
            raise translate(error, self._folders.path(final), target[0]) from error
        # A link may have left it under both names: then the state tells the next run of it.
        if self._beside is not None and not self._is_in_place():
            with suppress(GdlError):  # the file is whole and has its name; the next run removes the state
                self._beside.remove()
        self.release()
        return True

    def _rename(self, source: Spot, target: Spot, final: str, *, replace: bool) -> bool:
        # A crash may find the part under another name than its own: its state is there, too.
        saved = final != self.name and self.state is not None and _create_state(target, self.state)
        try:
            if replace:
                os.replace(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])
                return True
            return placing.rename_noreplace(source, target)
        finally:
            if saved:
                files.unlink(beside(target, STATE), self._folders.path(final) + STATE)

    @property
    def worth_keeping(self) -> bool:
        """Whether it is there for a later try to continue."""
        if self._fd < 0 or self._error is None or self._error.code:
            return False
        return self.state is not None and self.state.worth_keeping and self._is_in_place()

    def leave(self) -> bool:
        """End without publishing: keep the part if it can be continued, else remove it; tell which. Idempotent."""
        if self._fd < 0:
            return False
        if self._beside is None or self.state is None or self._named or not self.worth_keeping:
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
            try:
                self._beside.flush()
            except GdlError:
                self.discard()
                raise
        finally:
            self.release()
        return True

    def discard(self) -> None:
        """Remove the file and its state. Idempotent."""
        if self._fd < 0:
            return
        try:
            in_place = not self._named and self._is_in_place()
            if in_place:  # first, as a part without a state would be taken for another program's
                files.unlink(beside(self._final(), PART), self.shown)
            if self._beside is not None:
                self._beside.remove(sure=in_place)
        finally:
            self.release()

    def release(self) -> None:
        """Close the file as it is, and so unlock it. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            files.close(fd)
        if self._beside is not None:
            self._beside.close()


def _create_state(final: Spot, state: State) -> bool:
    try:
        return create_state(final, state.dump())
    except OSError:  # a full disk has room for a rename; what is really wrong that will tell
        return False


class PartAside(NamedTuple):
    """A part that is kept while another one is written for the same file."""

    part: Part | None
    working: str | None
    kept: str | None
    wanted: str | None
    """What its response called the file."""


def open_nameless(folders: Folders, name: str) -> Part | None:
    """Open a file without a name that may become ``name``, making folders as needed; None where there are none.

    Raises as `Part`.
    """
    folder, _ = folders.make(name)
    if not folder.disk.nameless:
        return None
    try:
        fd = files.create_nameless(folder.fd)
    except OSError as error:
        raise translate(error, folders.path(name), folder.fd) from error
    return None if fd is None else Part(folders, name, fd, nameless=True)
