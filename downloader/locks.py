"""One gdl per file: a lock for each name in flight, seen by every gdl that works on the same output folder.

The locks are byte ranges of ``.gdl.lock`` in that folder, one byte for each name at an offset that is the name's hash,
so the file stays empty. They save requests and bytes, no more: two writers of one part are kept apart by the part's
own lock. So nothing that goes wrong here fails an item. No name in a list can start with a dot: none is this file's.

Whoever may write to the folder may lock names (`sharing`). Whoever may read the file can lock it too, but only for
reading, which no gdl does with a name: such a lock is nobody's work, and keeps names from being locked, not saved.

Who comes and who goes, so that the file vanishes with its last user and nobody is left with a lock on a lost one:

- From opening to closing each user holds a shared lock on the presence byte. It is refused only while somebody removes
  the file. Who has it looks whether the path is still this file, and otherwise opens anew.
- Who leaves gives its shared lock up, then asks for the exclusive one without waiting. All who leave do it in this
  order, so the last of them gets it, and removes the file before letting go. Who was killed left the file to the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gevent import monkey

from downloader import bytelocks, files
from downloader.bytelocks import UNSUPPORTED, lock, lock_after_all
from downloader.errors import GdlError
from downloader.files import close
from downloader.hashes import digest
from downloader.sharing import share

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.disk import Folder
    from downloader.files import Spot
    from downloader.folders import Folders

LOCK_FILE: Final = ".gdl.lock"
_NAME: Final = LOCK_FILE.encode()

# Unpatched: the hub must not be entered here, as the others would find the work half done.
_sleep = monkey.get_original("time", "sleep")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")

# Not blocking matters only where somebody has put a named pipe in the file's place.
_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_PRESENCE: Final = 0
_TRIES: Final = 40
"""Most times the file is opened anew because it is just being removed; a millisecond passes between most of them."""

_REFUSALS: Final = 5
"""Most times it is opened anew because it is not to be opened."""

NO_LOCKS: Final = "the output folder has no file locks: two gdl must not work on that folder at the same time"
_NOT_OURS: Final = frozenset({errno.EEXIST, errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO})


class NameLocks:
    """The names that one run is downloading, locked in its output folder against all other runs.

    Take a name before its request with ``make=False``, so that no folder is made for what may fail, and again with
    ``make=True`` when its body has come: where the folder was there the first time, the second costs nothing. Look for
    an existing file after taking its name, as it may have been published just before. Drop the name when the item has
    its result or waits for another try, and close when the run is over. No method raises.

    ``warn`` is told, once, where names cannot be locked though files could be written.
    """

    __slots__ = ("_file", "_folders", "_free", "_held", "_wanted", "_warn", "_warned")

    def __init__(self, folders: Folders, *, warn: Callable[[str], None]) -> None:
        self._folders = folders
        self._warn = warn
        self._warned = False
        self._file: _LockFile | None = None
        self._held: dict[str, int] = {}
        self._free: set[str] = set()
        self._wanted: set[str] = set()

    @property
    def entered(self) -> bool:
        """Whether names are being locked, so that taking one again is needless."""
        return self._file is not None

    def take(self, key: str, *, make: bool) -> bool:
        """Lock ``key``, the file's path within the folder; False where another run (or object) holds it.

        True where it is held now, was held already, or cannot be locked: because the folder is not there and not to be
        made (``make``), has no locks, or somebody reads the file under a lock. What was not locked is locked as soon as
        the folder is there, and tried again at the next call for the same key.
        """
        if key in self._held:
            return True
        file = self._file or self._enter(make=make)
        if file is None:
            self._wanted.add(key)
            return True
        if key in self._held:  # by entering
            return True
        start = _offset(key)
        try:
            locked = file.lock(start)
        except OSError as error:
            self._explain(error)
            return True
        if locked:
            self._held[key] = start
        elif locked is None:
            self._free.add(key)
            self._warn(
                f"{self._folders.path(LOCK_FILE)} is locked by a program that only reads it: "
                "two gdl must not work on that folder at the same time"
            )
        return locked is not False

    def rules_out(self, key: str) -> bool:
        """Tell whether no other gdl that can lock names was at ``key`` when it was taken."""
        return key in self._held or key in self._free

    def drop(self, key: str) -> None:
        """Unlock ``key``; nothing happens where it is not held."""
        self._wanted.discard(key)
        if self._free:
            self._free.discard(key)
        start = self._held.pop(key, None)
        if start is not None and self._file is not None:
            self._file.unlock(start)

    def close(self) -> None:
        """Drop all, and remove the lock file unless others use it: also one that a killed run has left.

        Idempotent; a later `take` begins anew.
        """
        for key in (*self._held, *self._wanted):
            self.drop(key)
        root = self._folders.root() if self._file is None else None
        if root is not None:
            with suppress(OSError):
                if files.found_at((root.fd, _NAME)) is not None:
                    self._enter(make=False)
        file, self._file = self._file, None
        if file is not None:
            file.leave()

    def _enter(self, *, make: bool) -> _LockFile | None:
        """Open the lock file, once the folder exists; None where that cannot be."""
        if self._warned:
            return None
        try:
            if make:
                self._file = self._folders.create(LOCK_FILE, "", lambda folder, _: _open(folder))
            elif (root := self._folders.root()) is not None:
                self._file = _open(root)
        except OSError as error:
            self._explain(error)
        except GdlError as error:  # the download itself will say it
            if isinstance(error.__cause__, OSError):
                self._explain(error.__cause__)
        if self._file is not None:
            # What was taken before the folder was there is in flight now.
            wanted, self._wanted = self._wanted, set()
            for key in wanted:
                self.take(key, make=False)
        return self._file

    def _explain(self, error: OSError) -> None:
        path = self._folders.path(LOCK_FILE)
        problem = complaint(error.errno or 0, path, writable=self._folders.is_writable())
        if problem is not None and not self._warned:
            self._warned = True
            self._warn(problem)


def complaint(code: int, path: str, *, writable: bool) -> str | None:
    """Return what to tell of error number ``code`` from locking ``path``; None where downloads will fail of it.

    ``writable`` tells whether its folder is.
    """
    if code in UNSUPPORTED:
        return NO_LOCKS
    if code in _NOT_OURS:
        reason = f"{path} is not a lock file of gdl"
    elif code == errno.EBUSY or (code in (errno.EACCES, errno.EPERM) and writable):
        reason = f"{path} cannot be locked"
    else:
        return None
    return f"{reason}: two gdl must not work on that folder at the same time"


class _LockFile:
    """The open lock file in ``folder``. Its user counts itself in ``users``, and leaves once."""

    __slots__ = ("_fd", "_identity", "_locked", "_spot", "users")

    def __init__(self, folder: Folder) -> None:
        self._identity = folder.identity
        self._spot = os.dup(folder.fd), _NAME  # of its own, as the folder may be removed, and another made
        try:
            self._fd = _open_present(self._spot)
        except BaseException:
            close(self._spot[0])
            raise
        self._locked: set[int] = set()
        self.users = 1

    def lock(self, start: int) -> bool | None:
        """Lock the byte at ``start``; False where it is locked already, None where only for reading.

        Raises OSError where there are no locks.
        """
        # Locks that belong to the process would let another object in the same process have it too.
        if start in self._locked:
            return False
        locked = lock(self._fd, fcntl.F_WRLCK, start) or lock_after_all(self._fd, start)
        if locked:
            self._locked.add(start)
        return locked

    def unlock(self, start: int) -> None:
        self._locked.discard(start)
        try:  # noqa: SIM105 suppress takes longer than all else here
            lock(self._fd, fcntl.F_UNLCK, start)
        except OSError:
            pass

    def leave(self) -> None:
        """Close the file, if this was its last user here, and remove it, if this was the last anywhere."""
        with _guard:
            self.users -= 1
            if self.users:
                return
            _shared.pop(self._identity, None)
            try:
                lock(self._fd, fcntl.F_UNLCK, _PRESENCE)
                if lock(self._fd, fcntl.F_WRLCK, _PRESENCE) and _is_at(self._spot, os.fstat(self._fd)):
                    _unlink(self._spot)
            except OSError:
                pass  # an empty file stays; the next user removes it
            finally:
                close(self._fd)
                close(self._spot[0])


# Where locks belong to the process, closing any descriptor of the file drops them all: its users share one.
_shared: dict[tuple[int, int], _LockFile] = {}
_guard = _allocate_lock()


def _open(folder: Folder) -> _LockFile:
    """Open the lock file of ``folder``. Raises OSError where there is none to be had."""
    if bytelocks.OFD is not None:
        return _LockFile(folder)
    with _guard:
        file = _shared.get(folder.identity)
        if file is None:
            file = _shared[folder.identity] = _LockFile(folder)
        else:
            file.users += 1
        return file


def _open_present(spot: Spot) -> int:
    """Return a descriptor of the file at ``spot`` that holds the shared lock on its presence byte."""
    ours = False
    for tries in range(_TRIES):
        try:
            fd, made = _open_or_make(spot)
        except PermissionError:
            # Who has just made it may not have opened it to others yet.
            if tries >= _REFUSALS or not files.is_writable(spot[0]):
                raise
            _sleep(0.001)
            continue
        try:
            if fd >= 0 and _is_present(fd, spot, made=made):
                return fd
        except BaseException:
            close(fd)
            raise
        close(fd)
        ours = ours or made
        if tries > 2:
            _sleep(0.001)
    if ours:
        files.give_back(spot)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _open_or_make(spot: Spot) -> tuple[int, bool]:
    """Return a descriptor of the file, -1 where it was just removed, and whether it was made. Raises OSError."""
    folder, name = spot
    try:
        return os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder), True
    except FileExistsError:
        pass
    try:
        return os.open(name, _FLAGS, dir_fd=folder), False
    except FileNotFoundError:
        return -1, False


def _is_present(fd: int, spot: Spot, *, made: bool) -> bool:
    """Lock the presence byte; False where the file is being removed or was."""
    found = os.fstat(fd)
    # A file of ours is empty and has one name: anything else was planted, or is somebody's own.
    if not made and (not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    if found.st_uid == os.geteuid():
        share(fd, spot[0])
    try:
        return lock(fd, fcntl.F_RDLCK, _PRESENCE) and _is_at(spot, found)
    except OSError as error:
        if error.errno in UNSUPPORTED and _is_at(spot, found):
            _unlink(spot)  # of use to nobody here
        raise


def _unlink(spot: Spot) -> None:
    os.unlink(spot[1], dir_fd=spot[0])


def _is_at(spot: Spot, found: os.stat_result) -> bool:
    there = files.found_at(spot)
    return there is not None and os.path.samestat(there, found)


def _offset(key: str) -> int:
    """Return where the lock of ``key`` is: the same in every process, from 1 to 2^62."""
    return (int.from_bytes(digest(key, 8), "big") >> 2) + 1
