"""Giving a file its name without ever replacing another.

There are three ways: one system call, a hard link, and a reservation of the name. A file system may refuse each by
whatever error it likes, and then the next is tried, unless that would fail of the same: the name is taken, the file or
its folder has gone, or the disk takes no more.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from downloader.files import FULL, Spot, close, found_at, give_back, is_at

if TYPE_CHECKING:
    from collections.abc import Callable

_link = getattr(os, "link", None)  # Python on Android has none
_RENAME_NOREPLACE = 1
_SETTLED = FULL | {errno.EEXIST}


def link_nameless(fd: int, target: Spot) -> bool | None:
    """Give a nameless file its name; False where ``target`` exists, None where it cannot be done. Raises OSError."""
    if _link is None:
        return None
    folder, name = target
    try:
        # Only with a folder's descriptor does Python call linkat, which can follow the link.
        _link(f"/proc/self/fd/{fd}", name, src_dir_fd=fd, dst_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        return is_at(fd, target)  # NFS asks twice where the first answer got lost
    except OSError as error:
        if error.errno in FULL:
            raise
        return None  # without /proc, or without the folder, it is ENOENT
    return True


def rename_noreplace(source: Spot, target: Spot) -> bool:
    """Rename without replacing; False where ``target`` exists.

    Where it is done by a link ``source`` may be left as another name of the file. Raises OSError.
    """
    for rename in (_by_system_call, _by_link):
        try:
            return rename(source, target)
        except OSError as error:
            # ENOENT may mean that there is nothing to rename, but it is also what Linux says to a link of a file of
            # which the file system counts 0.
            if error.errno in _SETTLED or (error.errno == errno.ENOENT and found_at(source) is None):
                raise
    return _by_reservation(source, target)


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes], int] | None:
    """Return the system's rename without replacing, which gives its error number or 0; None where there is none."""
    import ctypes  # takes 4 ms, and most runs need none of it

    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)

    def rename(folder: int, name: bytes, new_folder: int, new_name: bytes) -> int:
        failed = function(folder, name, new_folder, new_name, _RENAME_NOREPLACE)
        return ctypes.get_errno() if failed else 0

    return rename


def _by_system_call(source: Spot, target: Spot) -> bool:
    rename = _renameat2()
    code = errno.ENOSYS if rename is None else rename(*source, *target)
    if code and code != errno.EEXIST:
        raise OSError(code, os.strerror(code))
    return not code


def _by_link(source: Spot, target: Spot) -> bool:
    if _link is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    try:
        _link(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0], follow_symlinks=False)
    except FileExistsError:
        there, new = found_at(source), found_at(target)
        if there is None or new is None or not os.path.samestat(there, new):  # as in `link_nameless`
            return False
    with suppress(OSError):
        os.unlink(source[1], dir_fd=source[0])
    return True


def _by_reservation(source: Spot, target: Spot) -> bool:
    """Rename on a file system without hard links either (FAT and the like): reserve the name, then replace it."""
    folder, name = target
    try:
        close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder))
    except FileExistsError:
        return False
    try:
        os.replace(source[1], name, src_dir_fd=source[0], dst_dir_fd=folder)
    except OSError:
        give_back(target)  # an empty file must not look like a finished one
        raise
    return True
