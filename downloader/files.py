"""The file system's calls that a download needs, each with its errors told in gdl's words.

Publishing here never replaces a file that was not meant: one system call where there is one, a hard link or a
reservation of the name otherwise. What may take long (waiting for the disk) runs in the hub's threads.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar, cast

import gevent
from gevent import monkey

from downloader.errors import FileLost, NameRefused, StopRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# The patched close makes a detour through the hub for the sake of watchers; no watcher knows these descriptors.
close = monkey.get_original("os", "close")

NAMELESS: Final = os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_TMPFILE", os.O_DIRECTORY)

_FATAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE})
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EXDEV})
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100


def translate(error: OSError, path: str) -> StopRun | NameRefused | FileLost:
    """Return gdl's error for the system's: `errors.StopRun` where other files would fail likewise."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    folder = os.path.dirname(path) or "."
    if error.errno == errno.ENOSPC and _without_inodes(folder):
        return StopRun(f"cannot write {path}: the file system can hold no more files, it has no inodes left")
    if error.errno in _FATAL:
        return StopRun(f"cannot write {path}: {reason}")
    if error.errno in (errno.EACCES, errno.EPERM) and not os.access(folder, os.W_OK):
        stop = StopRun(f"cannot write to the folder {folder}: {reason}")
        stop.folder = folder
        return stop
    if error.errno == errno.ELOOP:
        return NameRefused(f"{path} is a symbolic link: gdl does not write through it")
    if error.errno in (errno.ENOENT, errno.ESTALE):
        return FileLost(f"{path}, or its folder, was removed while it was written")
    return NameRefused(f"cannot write {path}: {reason}")


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise what `translate` makes of an error of the system within the context."""
    try:
        yield
    except OSError as error:
        raise translate(error, path) from error


def create(path: str, flags: int) -> int:
    """Open ``path``, making the folder it names or lies in where that is missing. Raises OSError."""
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(path if flags == NAMELESS else os.path.dirname(path) or ".", exist_ok=True)
        return os.open(path, flags, 0o666)


def create_nameless(folder: str) -> int | None:
    """Open a file without a name in ``folder``; None where the file system has none. Raises OSError."""
    try:
        return os.open(folder, NAMELESS, 0o666)
    except FileNotFoundError:
        return create(folder, NAMELESS)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        raise


def write(fd: int, chunks: list[bytes], offset: int) -> int:
    """Write ``chunks``, at most 1024, at ``offset`` and return their size. Raises OSError."""
    size = sum(map(len, chunks)) if len(chunks) != 1 else len(chunks[0])
    written = os.pwritev(fd, chunks, offset) if chunks else 0
    if written < size:
        rest = memoryview(b"".join(chunks))
        while written < size:
            written += os.pwrite(fd, rest[written:], offset + written)
    return size


def link_nameless(fd: int, path: str) -> bool | None:
    """Give a nameless file its ``path``; False where that exists, None where it cannot be done. Raises OSError."""
    try:
        # With a folder's descriptor, unused as the path is absolute, Python calls linkat, which can follow the link.
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED or error.errno == errno.ENOENT:  # no /proc, or no folder any more
            return None
        raise
    return True


def unlink(path: str) -> None:
    """Remove ``path`` if it is there. Raises as `translate` says."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise translate(error, path) from error


def in_thread(function: Callable[[int], T], fd: int) -> T:
    """Call ``function`` with ``fd`` in a thread of the hub's; blocks the calling greenlet only, raises what it raises.

    The descriptor is closed afterwards. Where the greenlet is killed meanwhile, the thread goes on, or never begins.
    """
    owned = [fd]  # whoever takes it out closes it

    def call() -> tuple[T | None, BaseException | None]:
        try:
            mine = owned.pop()
        except IndexError:
            return None, None
        try:
            return function(mine), None
        except BaseException as error:  # noqa: BLE001 raised again in the greenlet; gevent would print it
            return None, error
        finally:
            close(mine)

    try:
        value, error = gevent.get_hub().threadpool.apply(call)
    except BaseException:
        with suppress(IndexError):
            close(owned.pop())
        raise
    if error is not None:
        raise error
    return cast("T", value)


def sync(fd: int) -> None:
    """Wait until the disk has the bytes of ``fd``; blocks the calling greenlet only. Raises OSError."""
    in_thread(getattr(os, "fdatasync", os.fsync), os.dup(fd))


def missing_folders(folder: str) -> list[str]:
    """Return what `create` would have to make for a file in ``folder``, the innermost first."""
    missing = []
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing


def sync_folder(folder: str) -> None:
    """Wait until the disk has the names in ``folder``; blocks the calling greenlet only. Raises OSError."""
    try:
        in_thread(os.fsync, os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # some file systems keep names in order without being asked
            raise


def free(folder: str) -> int | None:
    """Return the bytes that may be written in ``folder``, made or not; None where nobody can tell."""
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    try:
        found = os.statvfs(folder or ".")
    except OSError:
        return None
    # File systems that do not count, such as some network mounts, say 0 blocks in all.
    return found.f_bavail * found.f_frsize if found.f_blocks else None


def _without_inodes(folder: str) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return bool(found.f_files) and not found.f_favail


@cache
def _renameat2() -> Callable[[bytes, bytes], int] | None:
    """Return the system's rename without replacing, which gives its error number or 0; None where there is none."""
    import ctypes  # takes 4 ms, and most runs need none of it

    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)

    def rename(source: bytes, target: bytes) -> int:
        failed = function(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE)
        return ctypes.get_errno() if failed else 0

    return rename


def rename_noreplace(source: str, target: str) -> bool:
    """Rename without replacing; False where ``target`` exists. Raises OSError."""
    rename = _renameat2()
    if rename is not None:
        code = rename(os.fsencode(source), os.fsencode(target))
        if not code:
            return True
        if code == errno.EEXIST:
            return False
        if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(code, os.strerror(code), target)
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        return _rename_reserved(source, target)
    os.unlink(source)
    return True


def _rename_reserved(source: str, target: str) -> bool:
    """Rename on a file system without hard links either (FAT and the like): reserve the name, then replace it."""
    try:
        close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        return False
    try:
        os.replace(source, target)
    except OSError:
        os.unlink(target)  # an empty file must not look like a finished one
        raise
    return True


@cache
def boot_id() -> str:
    """Return what tells this boot of the machine from all others; where the system does not, about when it was."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return f"{(time.time() - time.monotonic()) / 60:.0f}"
