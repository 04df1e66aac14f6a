"""Who may open the lock file: whoever may write to its folder, whatever the umask of who has made it.

Permissions are made from the folder's, by mode and by access control list (POSIX 1003.1e, as Linux stores it). The
file is empty: there is nothing in it to be kept from anybody.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from typing import Final

from downloader import files

_READABLE: Final = 0o4
_WRITABLE: Final = 0o3
"""Writing to a folder takes the permission to search it too."""
_USE: Final = 0o6
_LIST: Final = "system.posix_acl_access"
_HEAD: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_VERSION: Final = 2
_OWNER, _USER, _GROUP, _OTHER_GROUP, _MASK = 0x01, 0x02, 0x04, 0x08, 0x10
_MASKED: Final = frozenset({_USER, _GROUP, _OTHER_GROUP})
"""Entries that the mask bounds."""


def mode_like(folder: int, mode: int, *, of_its_group: bool) -> int:
    """Return a file's ``mode`` with what it lacks, so that who may write to a folder of that mode may use the file.

    ``of_its_group`` tells whether the file's group is the folder's.
    """
    mode |= _USE << 6
    for shift in (3, 0) if of_its_group else (0,):
        if folder >> shift & _WRITABLE == _WRITABLE:
            mode |= _USE << shift
    return mode


def list_like(folder: bytes, *, of_its_group: bool) -> bytes | None:
    """Return the access control list for a file in a folder with the list ``folder``; None where that is odd."""
    if len(folder) < _HEAD.size or (len(folder) - _HEAD.size) % _ENTRY.size:
        return None
    if _HEAD.unpack_from(folder)[0] != _VERSION:
        return None
    entries = list(_ENTRY.iter_unpack(folder[_HEAD.size :]))
    mask = next((permissions for tag, permissions, _ in entries if tag == _MASK), 0o7)
    made = _HEAD.pack(_VERSION)
    for tag, permissions, who in entries:
        bounded = permissions & mask if tag in _MASKED else permissions
        use = _USE if bounded & _WRITABLE == _WRITABLE else bounded & _READABLE
        if tag in (_OWNER, _MASK):
            use = _USE
        elif tag == _GROUP and not of_its_group:
            use = 0
        made += _ENTRY.pack(tag, use, who)
    return made


def share(fd: int, folder: int) -> None:
    """Have those use the file ``fd`` who may write to the folder of that descriptor, as far as that can be.

    Never raises: a file system without permissions stays as it is.
    """
    with suppress(OSError):
        above, found = os.fstat(folder), os.fstat(fd)
        if (found.st_uid, found.st_gid) != (above.st_uid, above.st_gid):
            _hand_over(fd, above)
            found = os.fstat(fd)
        of_its_group = found.st_gid == above.st_gid
        wanted = _list_for(folder, of_its_group=of_its_group)
        if wanted is not None:
            os.setxattr(fd, _LIST, wanted)
            return
        before = stat.S_IMODE(found.st_mode)
        mode = mode_like(above.st_mode, before, of_its_group=of_its_group)
        if mode != before:
            os.fchmod(fd, mode)


def _hand_over(fd: int, folder: os.stat_result) -> None:
    """Give the file to the folder's group, and what root has made to its owner, who could not open it else."""
    for owner in (folder.st_uid, -1):
        try:
            os.fchown(fd, owner, folder.st_gid)
        except OSError:
            continue
        return


def _list_for(folder: int, *, of_its_group: bool) -> bytes | None:
    if not hasattr(os, "getxattr"):
        return None
    with suppress(OSError):
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            return list_like(os.getxattr(fd, _LIST), of_its_group=of_its_group)
        finally:
            files.close(fd)
    return None
