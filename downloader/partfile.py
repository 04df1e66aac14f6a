"""``NAME.part``: where bytes wait until all is checked; its lock, its state, and the one step to the final name.

A part is opened under an exclusive lock that dies with its process, written from the start, and then published
(renamed without ever replacing a file that was not meant), kept with its state ``NAME.part.json`` where it may be
continued from, or discarded. A file that is small enough to be whole in memory needs no part: `publish_whole` writes
it without a name and then gives it one, which costs half as much and leaves nothing behind whatever happens.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import stat
from typing import TYPE_CHECKING, Final

from gevent import monkey

from downloader.errors import NameRefused, StopRun

if TYPE_CHECKING:
    from collections.abc import Mapping

PART: Final = ".part"
STATE: Final = ".part.json"

# The patched close makes a detour through the hub for the sake of watchers; no watcher knows these descriptors.
_close = monkey.get_original("os", "close")

_FATAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE})
# Not blocking matters only where somebody has put a named pipe in the part's place.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NAMELESS = os.O_WRONLY | os.O_CLOEXEC | getattr(os, "O_TMPFILE", os.O_DIRECTORY)
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100


_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EXDEV})


class InProgress(Exception):
    """Another gdl is writing this part right now."""


class Part:
    """One open part file, locked for this process. Made by `open_part`."""

    __slots__ = ("_fd", "_state", "path", "size")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._state = False
        self.size = 0
        """Bytes written so far."""

    def write(self, chunks: list[bytes]) -> None:
        """Append ``chunks``, at most 1024. Raises `errors.StopRun` or `errors.NameRefused` as `translate` says."""
        try:
            self.size += _write_all(self._fd, chunks)
        except OSError as error:
            raise translate(error, self.path) from error

    def remember(self, state: Mapping[str, object]) -> None:
        """Write ``state`` (plain JSON data) beside the part, so that a later run knows what its bytes are."""
        path = self.path.removesuffix(PART) + STATE
        try:
            with open(path, "w", encoding="utf-8") as file:
                json.dump(state, file)
        except OSError as error:
            _unlink(path)  # half a state is worse than none
            raise translate(error, path) from error
        self._state = True

    def publish(self, final: str, *, replace: bool = False) -> bool:
        """Give the part its ``final`` path in one step; False, and nothing done, where that exists already.

        With ``replace`` an existing file is replaced. The part stays open until then, and so stays locked.
        """
        try:
            if replace:
                os.replace(self.path, final)
            elif not _rename_noreplace(self.path, final):
                return False
        except OSError as error:
            raise translate(error, final) from error
        self._forget_state()
        self._release()
        return True

    def leave(self) -> None:
        """End without publishing: keep the part if its state was remembered and it holds bytes, else remove it."""
        if self._fd < 0:
            return
        if self._state and self.size:
            self._release()
        else:
            self.discard()

    def discard(self) -> None:
        """Remove the part and its state. Idempotent."""
        if self._fd < 0:
            return
        _unlink(self.path)
        self._forget_state()
        self._release()

    def _forget_state(self) -> None:
        if self._state:
            _unlink(self.path.removesuffix(PART) + STATE)
            self._state = False

    def _release(self) -> None:
        fd, self._fd = self._fd, -1
        _close(fd)


def publish_whole(final: str, chunks: list[bytes]) -> bool | None:
    """Write ``chunks``, at most 1024, as the file ``final`` in one step; False where that exists already.

    None, and nothing done, where the file system has no files without names. Raises like `open_part`.
    """
    folder = os.path.dirname(final) or "."
    try:
        fd = _open(folder, _NAMELESS)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        raise translate(error, final) from error
    try:
        _write_all(fd, chunks)
        # With a folder's descriptor, unused as the path is absolute, Python calls linkat, which can follow the link.
        os.link(f"/proc/self/fd/{fd}", final, src_dir_fd=fd, follow_symlinks=True)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED or error.errno == errno.ENOENT:  # no /proc, or no folder any more
            return None
        raise translate(error, final) from error
    finally:
        _close(fd)
    return True


def _write_all(fd: int, chunks: list[bytes]) -> int:
    """Write ``chunks`` and return their size."""
    size = sum(map(len, chunks))
    written = os.writev(fd, chunks) if chunks else 0
    if written < size:
        rest = memoryview(b"".join(chunks))
        while written < size:
            written += os.write(fd, rest[written:])
    return size


def open_part(final: str) -> Part:
    """Open and lock ``final + ".part"``, empty, making folders as needed.

    Raises `InProgress` where another process holds its lock, `errors.StopRun` where nothing can be written at all,
    `errors.NameRefused` where this name cannot be.
    """
    path = final + PART
    try:
        while True:
            fd = _open(path, _FLAGS)
            try:
                if _lock(fd, path):
                    os.ftruncate(fd, 0)
                    _unlink(final + STATE)
                    return Part(path, fd)
            except BaseException:
                _close(fd)
                raise
            _close(fd)
    except OSError as error:
        raise translate(error, path) from error


def _open(path: str, flags: int) -> int:
    """Open ``path``, making the folder it names or lies in where that is missing."""
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(path if flags == _NAMELESS else os.path.dirname(path) or ".", exist_ok=True)
        return os.open(path, flags, 0o666)


def _lock(fd: int, path: str) -> bool:
    """Lock ``fd``; False where its writer has published it meanwhile, so that the path is another file's or none."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InProgress(path) from None
    except OSError as error:
        # A file system without locks (some network mounts): work without rather than not at all.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
    opened = os.fstat(fd)
    if opened.st_nlink > 1 or not stat.S_ISREG(opened.st_mode):
        # Not ours alone: its other name must not be emptied.
        os.unlink(path)
        return False
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return found.st_ino == opened.st_ino and found.st_dev == opened.st_dev


def translate(error: OSError, path: str) -> StopRun | NameRefused:
    """Return gdl's error for the system's: `errors.StopRun` where other files would fail likewise."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FATAL:
        return StopRun(f"cannot write {path}: {reason}")
    if error.errno in (errno.EACCES, errno.EPERM) and not os.access(os.path.dirname(path) or ".", os.W_OK):
        return StopRun(f"cannot write to the folder {os.path.dirname(path) or '.'}: {reason}")
    if error.errno == errno.ELOOP:
        return NameRefused(f"{path} is a symbolic link: gdl does not write through it")
    return NameRefused(f"cannot write {path}: {reason}")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise translate(error, path) from error


def _renameat2() -> ctypes._NamedFuncPointer | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function


_system_renameat2 = _renameat2()


def _rename_noreplace(source: str, target: str) -> bool:
    """Rename without replacing: one system call where there is one, a link otherwise; False where target exists."""
    if _system_renameat2 is not None:
        if not _system_renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE):
            return True
        code = ctypes.get_errno()
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
        # No hard links either (FAT and the like): reserve the name first, then replace the reservation.
        try:
            _close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            return False
        os.replace(source, target)
        return True
    os.unlink(source)
    return True
