"""The file system's calls that a download needs, each with its errors told in gdl's words.

A file is named by a `Spot`: the descriptor of its folder and its name there, in bytes; `folders` gives them out. So no
path is looked up that somebody could change meanwhile, and no name depends on the locale.

What may take long (waiting for the disk) runs in the hub's threads.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

import gevent
from gevent import monkey
from gevent.lock import Semaphore

from downloader.errors import FileLost, NameRefused, StopRun
from downloader.turns import in_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

Spot: TypeAlias = tuple[int, bytes]
"""A folder's descriptor, and a name in that folder."""

NAMELESS: Final = os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_TMPFILE", os.O_DIRECTORY)

# The patched close makes a detour through the hub for the sake of watchers; no watcher knows these descriptors.
close_aloud: Callable[[int], None] = monkey.get_original("os", "close")
"""Close a descriptor. Raises OSError."""

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors of a disk that takes no more."""
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
_FATAL = FULL | _NO_DESCRIPTORS | {errno.EIO, errno.ESPIPE}
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EXDEV})
_turns: WeakKeyDictionary[Any, Semaphore] = WeakKeyDictionary()
_INTERRUPTED: Final = 100
"""Signals in a row that may cut a wait for the file system short."""


def translate(error: OSError, path: str, folder: int | None = None) -> StopRun | NameRefused | FileLost:
    """Return gdl's error for the system's: `errors.StopRun` where other files would fail likewise.

    ``path`` is for people. ``folder``, the descriptor of the folder in which a name could not be made or removed, is
    asked whether any could.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.ESPIPE:  # pwrite says it of a file only where it is an rclone mount or the like
        reason = "the file system takes the bytes of a file only in their order (rclone: use --vfs-cache-mode writes)"
    if error.errno == errno.ENOSPC and folder is not None and _without_inodes(folder):
        return StopRun(f"cannot write {path}: the file system can hold no more files, it has no inodes left")
    if error.errno in _FATAL:
        return StopRun(f"cannot write {path}: {reason}")
    if error.errno in (errno.EACCES, errno.EPERM) and folder is not None and not is_writable(folder):
        parent = os.path.dirname(path) or "."
        stop = StopRun(f"cannot write to the folder {parent}: {reason}")
        stop.folder = parent
        return stop
    if error.errno == errno.ELOOP:
        return NameRefused(f"{path} is a symbolic link: gdl does not write through it")
    if error.errno in (errno.ENOENT, errno.ESTALE):
        return FileLost(f"{path}, or its folder, was removed while it was written")
    return NameRefused(f"cannot write {path}: {reason}")


@contextmanager
def translated(path: str, folder: int | None = None) -> Iterator[None]:
    """Raise what `translate` makes of an error of the system within the context."""
    try:
        yield
    except OSError as error:
        raise translate(error, path, folder) from error


def is_writable(folder: int) -> bool:
    """Tell whether names may be made in ``folder``."""
    return os.access(b".", os.W_OK, dir_fd=folder)


def create_nameless(folder: int) -> int | None:
    """Open a file without a name in ``folder``; None where the file system refuses to make one.

    Raises OSError where any other file would fail likewise.
    """
    try:
        return os.open(b".", NAMELESS, 0o666, dir_fd=folder)
    except OSError as error:
        if error.errno in FULL or error.errno in _NO_DESCRIPTORS:
            raise
        return None


def write(fd: int, chunks: list[bytes], offset: int) -> int:
    """Write ``chunks``, at most 1024, at ``offset`` and return their size. Raises OSError."""
    size = sum(map(len, chunks)) if len(chunks) != 1 else len(chunks[0])
    written = os.pwritev(fd, chunks, offset) if chunks else 0
    if written < size:
        rest = memoryview(b"".join(chunks))
        while written < size:
            more = os.pwrite(fd, rest[written:], offset + written)
            if not more:  # it would be so for ever
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            written += more
    return size


def close(fd: int) -> None:
    """Close ``fd``. What goes wrong with that was told by `flush` before, or is of no consequence."""
    try:  # noqa: SIM105 suppress takes longer than all else here
        close_aloud(fd)
    except OSError:
        pass


def flush(fd: int) -> None:
    """Have the file system say what it would say when ``fd`` is closed, and keep it open. Raises OSError.

    NFS, CIFS and FUSE write what they hold back when a descriptor is closed, any one of the open file's, and tell only
    then of a quota or a full disk.
    """
    try:
        close_aloud(os.dup(fd))
    except InterruptedError as error:
        _flush_again(fd, error)


def _flush_again(fd: int, error: OSError) -> None:
    """Do as `flush` where a signal has cut that short. Raises OSError."""
    for _ in range(_INTERRUPTED):
        try:
            close_aloud(os.dup(fd))
        except InterruptedError as again:
            error = again
        else:
            return
    raise error


def unlink(spot: Spot, path: str) -> None:
    """Remove the file at ``spot``, ``path`` for people, if it is there. Raises as `translate` says."""
    folder, name = spot
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise translate(error, path, folder) from error


def give_back(spot: Spot) -> None:
    """Remove what was made at ``spot`` if nothing was written to it; nothing happens where that cannot be."""
    with suppress(OSError):
        found = found_at(spot)
        if found is not None and stat.S_ISREG(found.st_mode) and not found.st_size:
            os.unlink(spot[1], dir_fd=spot[0])


def found_at(spot: Spot) -> os.stat_result | None:
    """Return what is at ``spot``, a link itself; None where nothing is. Raises OSError."""
    try:
        return os.stat(spot[1], dir_fd=spot[0], follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_at(fd: int, spot: Spot) -> bool:
    """Tell whether ``spot`` still is the open file: others may remove or replace it, lock or no lock."""
    try:
        return os.path.samestat(os.stat(spot[1], dir_fd=spot[0], follow_symlinks=False), os.fstat(fd))
    except OSError:
        return False


def breathe() -> None:
    """Give others their turn in a loop that the file system may keep going, unless it is the hub that is in it."""
    if gevent.getcurrent() is not gevent.get_hub():
        gevent.sleep(0)


def in_thread(function: Callable[[int], T], opening: Callable[[], int], closing: Callable[[int], None] = close) -> T:
    """Call ``function`` in a thread of the hub's; blocks the calling greenlet only, raises what it raises.

    It gets the descriptor that ``opening`` gives once there is a thread for it, so that those who wait hold none.
    ``closing`` gets it afterwards. Where the greenlet is killed meanwhile, the thread goes on, or never begins.
    """
    hub = gevent.get_hub()
    turns = _turns.get(hub)
    if turns is None:
        turns = _turns[hub] = Semaphore(hub.threadpool.maxsize)
    with turns:
        return _in_thread(function, opening(), closing)


def _in_thread(function: Callable[[int], T], fd: int, closing: Callable[[int], None]) -> T:
    owned = [fd]  # whoever takes it out closes it

    def call() -> T | None:
        try:
            mine = owned.pop()
        except IndexError:  # the greenlet was killed, and has closed it
            return None
        try:
            return function(mine)
        finally:
            closing(mine)

    try:
        return cast("T", in_pool(call))
    except BaseException:
        with suppress(IndexError):
            closing(owned.pop())
        raise


def sync(fd: int) -> None:
    """Wait until the disk has a file's bytes; blocks the thread. Raises OSError."""
    getattr(os, "fdatasync", os.fsync)(fd)
    flush(fd)  # some file systems have nothing to say before


def sync_folder(folder: int) -> None:
    """Wait until the disk has the names in ``folder``; blocks the calling greenlet only. Raises OSError."""
    fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        in_thread(os.fsync, partial(os.dup, fd))
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # some file systems keep names in order without being asked
            raise
    finally:
        close(fd)


def free(fd: int) -> int | None:
    """Return the bytes that may be written to the file system of ``fd``; None where nobody can tell."""
    try:
        found = os.statvfs(fd)
    except OSError:
        return None
    # File systems that do not count, such as some network mounts, say 0 blocks in all.
    return found.f_bavail * found.f_frsize if found.f_blocks else None


def _without_inodes(fd: int) -> bool:
    try:
        found = os.statvfs(fd)
    except OSError:
        return False
    return bool(found.f_files) and not found.f_favail


@cache
def boot_id() -> str:
    """Return what tells this boot of the machine from all others; where the system does not, about when it was."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return f"{(time.time() - time.monotonic()) / 60:.0f}"
