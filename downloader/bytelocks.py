"""Locks on single bytes of a file, taken without waiting."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from typing import Final

UNSUPPORTED: Final = frozenset(
    {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EOVERFLOW}
)
"""Errors of a file system that has no locks."""

# Linux's locks that belong to an open file, not to the process: closing another descriptor does not drop them.
OFD: int | None = getattr(fcntl, "F_OFD_SETLK", None) if sys.platform == "linux" else None
"""None where locks belong to the process."""

_GET_OFD: Final = 36
_TRIES: Final = 10
_LINUX: Final = struct.Struct("hhqqi0q")
"""Linux's struct flock with 64-bit offsets: kind, origin, start, length, process; that must be 0 in questions."""
_pack = _LINUX.pack
_LOCKF: Final = {
    fcntl.F_RDLCK: fcntl.LOCK_SH | fcntl.LOCK_NB,
    fcntl.F_WRLCK: fcntl.LOCK_EX | fcntl.LOCK_NB,
    fcntl.F_UNLCK: fcntl.LOCK_UN,
}


def lock(fd: int, kind: int, start: int) -> bool:
    """Set a lock on one byte; False where it is another's. Raises OSError where there are no locks."""
    try:
        if OFD is not None:
            fcntl.fcntl(fd, OFD, _pack(kind, os.SEEK_SET, start, 1, 0))
        else:
            fcntl.lockf(fd, _LOCKF[kind], 1, start)
    except (BlockingIOError, PermissionError):  # POSIX allows either for a lock that is taken
        return False
    return True


def lock_after_all(fd: int, start: int) -> bool | None:
    """Lock one byte for writing that was refused; None where it is others who only read that have it.

    False where another one writes, or where the system does not tell. Raises OSError where there are no locks, which
    is also where the byte is refused though nobody has it.
    """
    if sys.platform != "linux":
        return False
    for _ in range(_TRIES):
        question = _pack(fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0)
        answer = fcntl.fcntl(fd, fcntl.F_GETLK if OFD is None else _GET_OFD, question)
        kind = _LINUX.unpack(answer)[0]
        if kind != fcntl.F_UNLCK:
            return None if kind == fcntl.F_RDLCK else False
        if lock(fd, fcntl.F_WRLCK, start):  # it is free by now
            return True
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
